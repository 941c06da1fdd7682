"""The sktime forecaster as its users see it: arguments, attributes, tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sktime.datatypes import convert_to
from sktime.forecasting.base import BaseForecaster

from sktime_alm.atomic import fitted_attribute
from sktime_alm.averaging import joined
from sktime_alm.fitted import check_complete
from sktime_alm.hooks import NetworkHooks
from sktime_alm.penalties import Candidate
from sktime_alm.solver import ALMSettings, SafeguardedSettings
from sktime_alm.solver.activations import Activation
from sktime_alm.solver.datafits import Datafit
from sktime_alm.solver.result import Callback


class ALMElmanForecaster(NetworkHooks):
    r"""Elman recurrent network trained by an augmented Lagrangian method.

    .. math:: u_t = W h_{t-1} + V x_t + b, \; h_t = \sigma(u_t), \; \hat y_t = A h_t + D x_t + c

    The inputs x_t are past values of y (``lags``), averages (``window_means``) and exogenous X
    (``exog_lags``). The weights are found by an augmented Lagrangian method [1]_: hidden states
    are variables of their own, and the readout is the best one at every step. With D alone it is
    a ridge regression; hidden units are used only where, within the training window, they
    forecast better. y and X are standardised.

    Parameters
    ----------
    hidden_size : int, default=8
        Number r of hidden units.
    activation : {"relu", "leaky_relu", "elu", "tanh"} or Activation, default="relu"
    lags : int or sequence of int, optional
        Past values of y: the last ``lags`` values, by default 1, or exactly those of a sequence.
    window_means : sequence of int, "har", or dict of them, optional
        Averages of so many last values of y; a dict names "y" and columns of X. "har" is a week
        and a month of days, a month and a quarter of weeks, a quarter and a year of months.
    half_lives : sequence of float, "ladder", or dict of them, optional
        Averages whose weights halve every so many rows; "ladder" is 1, 2, 5, 12, 30 and 80 days.
    exog_lags : int, sequence of int, or dict of them, optional
        Past values of X: as ``lags``, but 0 is X of the time that is forecast, the default. A dict
        holds them for each column of X.
    calendar_inputs : bool, optional
        Whether the weekday and the days since the row before are inputs, of daily data.
    loss : {"squared", "qlike"} or Datafit, default="squared"
        "qlike", the gamma deviance of the root of y, is for variances: y, which must not be below
        0, is forecast through its logarithm, and forecasts are right in the mean. Unless the
        arguments above say otherwise, y and X then enter by ladders of half-lives, X of the row
        before, and daily data with their calendar. Others are objects, as ``QLIKE(power=1.0)``.
    alpha, skip_alpha : float or "auto", default="auto"
        Strengths of the l2 penalties of the network and of D, in rows of prior, whatever their
        number. "auto" chooses them by forecasts within the training window, of the steps of
        ``fh`` if ``fit`` is passed one, and averages the network with the regression, with the
        weight that it earns there. With a number for ``alpha`` the network forecasts alone; an
        infinite one leaves the regression, an infinite ``skip_alpha`` the paper's network, no D.
    max_iter : int, optional
        Outer iterations, in place of those of ``solver_options`` (300).
    n_init : int, default=1
        Number of random starts. The forecast is the mean of those of all networks, but for
        those that failed, at four times the objective of the best or more.
    interval_method : {"bootstrap", "conformal"}, default="bootstrap"
        Quantiles from simulated paths, or from errors so many steps ahead.
    random_state : int, numpy Generator or RandomState, optional
    n_jobs : int, optional
        Number of starts that train at a time, in threads; the outcome does not depend on it.
    verbose : int, default=0
        1 shows a progress bar, 2 a line an iteration.
    callback : callable, optional
        Called with the record of each iteration of the training, which ends when it returns True.
    solver_options : SafeguardedSettings, dict of its fields, or ALMSettings, optional
        Such as ``{"max_recurrence": 0.9}``; ``ALMSettings`` of the solver is the paper's method.
        That bound is 0.98; unless it is given it becomes 1.2 where ``alpha`` is chosen for a
        network without inputs from y and errors within the rows halve, as with light damping.

    Attributes
    ----------
    parameters_ : ElmanParameters
        The weights of the best network as trained, in standardised units; ``networks_`` are
        those that forecast, averaged with the regression where the penalties were chosen: one
        for each start, or six and more stopped early where their mean forecasts better.
    result_, n_iter_, objective_, certificate_
        Of the training: all that :class:`~sktime_alm.solver.ALMResult` holds, and parts of it.
    alpha_, skip_alpha_ : float
        The strengths chosen or passed; ``alpha_`` is infinite where the regression is used alone.
    alpha_path_ : pandas.DataFrame
        What was tried for "auto": for each pair the weight of the network in its average with
        the regression, the loss of that, its excess over the best, and the standard error of it.
    seed_spread_ : numpy array of shape (m,)
        How much the starts differ, in units of y; NaN with a single one.

    Raises
    ------
    ValueError, TypeError
        With the argument, the time and the remedy; the forecaster is left as it was.

    References
    ----------
    .. [1] Wang, Y., Zhang, C. and Chen, X. (2024). An augmented Lagrangian method for
       training recurrent neural networks. arXiv:2402.13687.

    Examples
    --------
    >>> from sktime_alm import ALMElmanForecaster
    >>> from sktime_alm.datasets import load_sp500_volatility
    >>> y, X = load_sp500_volatility()
    >>> forecaster = ALMElmanForecaster(hidden_size=4, exog_lags=1, random_state=0).fit(y, X)
    >>> forecaster.predict(fh=1).index[0]
    Period('2009-07', 'M')
    """

    _tags = {  # noqa: RUF012  # sktime reads it from the class
        "authors": ["sktime-alm developers"],
        "maintainers": ["sktime-alm developers"],
        "python_dependencies": None,
        "y_inner_mtype": "pd.DataFrame",
        "X_inner_mtype": "pd.DataFrame",
        "capability:multivariate": True,
        "capability:exogenous": True,
        # in y; in X only where it is not needed, which sktime cannot know: we check
        "capability:missing_values": True,
        "capability:categorical_in_X": False,
        "capability:insample": True,
        "capability:pred_int": True,
        "capability:pred_int:insample": True,
        "capability:update": True,
        "capability:pretrain": True,
        "capability:non_contiguous_X": False,
        "capability:unequal_length": True,
        "capability:random_state": True,
        "property:randomness": "derandomized",
        "requires-fh-in-fit": False,
        "X-y-must-have-same-index": False,
        "enforce_index_type": None,
        "fit_is_empty": False,
    }

    parameters_ = fitted_attribute(lambda fitted: fitted.result.parameters)
    networks_ = fitted_attribute(lambda fitted: fitted.model.networks)
    result_ = fitted_attribute(lambda fitted: fitted.result)
    n_iter_ = fitted_attribute(lambda fitted: fitted.result.n_iter)
    objective_ = fitted_attribute(lambda fitted: fitted.result.objective)
    certificate_ = fitted_attribute(lambda fitted: fitted.result.certificate)
    alpha_ = fitted_attribute(lambda fitted: fitted.penalties.alpha)
    skip_alpha_ = fitted_attribute(lambda fitted: fitted.penalties.skip_alpha)
    alpha_path_ = fitted_attribute(
        lambda fitted: pd.DataFrame(
            list(fitted.penalties.path), columns=Candidate._fields, dtype=float
        )
    )
    seed_spread_ = fitted_attribute(lambda fitted: fitted.seed_spread)

    def __init__(
        self,
        hidden_size: int = 8,
        activation: str | Activation = "relu",
        lags: int | Sequence[int] | None = None,
        window_means: str | Sequence[int] | Mapping[Any, str | Sequence[int]] | None = None,
        half_lives: str | Sequence[float] | Mapping[Any, str | Sequence[float]] | None = None,
        exog_lags: int | Sequence[int] | Mapping[Any, int | Sequence[int]] | None = None,
        calendar_inputs: bool | None = None,
        loss: str | Datafit = "squared",
        alpha: float | str = "auto",
        skip_alpha: float | str = "auto",
        max_iter: int | None = None,
        n_init: int = 1,
        interval_method: str = "bootstrap",
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        callback: Callback | None = None,
        solver_options: SafeguardedSettings | ALMSettings | Mapping[str, Any] | None = None,
    ) -> None:
        self.hidden_size = hidden_size
        self.activation = activation
        self.lags = lags
        self.window_means = window_means
        self.half_lives = half_lives
        self.exog_lags = exog_lags
        self.calendar_inputs = calendar_inputs
        self.loss = loss
        self.alpha = alpha
        self.skip_alpha = skip_alpha
        self.max_iter = max_iter
        self.n_init = n_init
        self.interval_method = interval_method
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.callback = callback
        self.solver_options = solver_options
        super().__init__()

    def predict_residuals(self, y: Any = None, X: Any = None) -> Any:
        """y less fitted values, of the rows seen if no y is passed; see the base class."""
        # a forecaster of its own, so that what is asked on the way leaves nothing behind
        twin = self._twin()
        if y is not None:
            return BaseForecaster.predict_residuals(twin, y, X)
        twin.check_is_fitted()
        if twin._is_vectorized:
            each = twin.forecasters_["forecasters"]
            parts = {key: one.predict_residuals() for key, one in each.items()}
            return pd.concat(parts, names=twin._yvec.X_mi_index.names[:-1])
        history, series = twin._history, twin._history.series
        check_complete(series, "predict_residuals() without y")
        rows = np.arange(len(series.y))
        values = twin._fitted.forecasts(series, rows, rows[:0], series.X[:0])
        fitted = pd.DataFrame(values, history.times, history.y_columns)
        errors = history.frame() - fitted
        store = {"store": twin._converter_store_y, "store_behaviour": "freeze"}
        return convert_to(errors, twin._y_metadata["mtype"], **store)

    def to_torch(self) -> Any:
        """The network as a PyTorch module in the units of y and X; of several, one of all units.

        Returns
        -------
        torch.nn.Module
            In double precision. Called with inputs of shape (T, n), and optionally the hidden
            state of shape (r,) before them, it returns outputs of shape (T, m) and the state
            after them. The columns of the inputs are the lags of y (all columns of y at the
            first lag, then at the next), its window means, and the inputs from X.

        Raises
        ------
        ImportError
            If PyTorch is not installed.
        ValueError
            If the activation has no PyTorch counterpart.
        """
        from sktime_alm.torch_module import elman_module

        self.check_is_fitted()
        if self._is_vectorized:
            raise ValueError(
                "to_torch is for single series, found a panel: use one of forecasters_"
            )
        fitted = self._fitted
        weights = fitted.model.in_original_units(joined(fitted.model.networks))
        return elman_module(weights, fitted.model.sigma)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Parameters for sktime's estimator checks: small and quick to fit."""
        options = {"max_inner_iter": 2, "active_set": False, "n_relaxations": 0}
        quick = {"max_iter": 2, "solver_options": options, "random_state": 0}
        return [
            {"hidden_size": 2, "alpha": 1.0, "skip_alpha": 0.1, **quick},
            {
                "hidden_size": 3,
                "activation": "elu",
                "lags": [2],
                "window_means": (1, 3),
                "skip_alpha": float("inf"),
                "alpha": 0.1,
                "n_init": 2,
                **quick,
            },
        ]
