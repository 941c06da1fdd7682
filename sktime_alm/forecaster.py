"""The sktime forecaster: arguments, tags, and hooks that hand on to history and estimator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sktime.datatypes import convert_to
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon

from sktime_alm.arguments import CONTEMPORANEOUS, advice_on, check_arguments, layout_of, settings_of
from sktime_alm.atomic import AtomicForecaster, fitted_attribute
from sktime_alm.engines import engine_of
from sktime_alm.estimator import Estimator
from sktime_alm.fitted import Fitted, check_complete
from sktime_alm.history import History, HoleInX
from sktime_alm.inputs import Series
from sktime_alm.intervals import quantiles
from sktime_alm.panel import PanelNetwork, histories
from sktime_alm.partitions import Partitions, is_dask
from sktime_alm.penalties import Candidate
from sktime_alm.progress import watching
from sktime_alm.solver import ALMSettings, SafeguardedSettings
from sktime_alm.solver._typing import Array, IntArray
from sktime_alm.solver.activations import Activation, get_activation
from sktime_alm.solver.datafits import Datafit, get_datafit
from sktime_alm.solver.result import Callback
from sktime_alm.spreading import fit_blocks


class ALMElmanForecaster(AtomicForecaster):
    r"""Elman recurrent network trained by an augmented Lagrangian method.

    .. math:: u_t = W h_{t-1} + V x_t + b, \; h_t = \sigma(u_t), \; \hat y_t = A h_t + D x_t + c

    The inputs x_t are past values of y (``lags``), averages (``window_means``) and exogenous X
    (``exog_lags``). The weights are found without backpropagation, by an augmented Lagrangian
    method whose subproblems are minimised block by block in closed form [1]_. With D alone it is
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

    Attributes
    ----------
    parameters_ : ElmanParameters
        The weights of the best network as trained, in standardised units; ``networks_`` are
        those that forecast, averaged with the regression where the penalties were chosen: one
        for each start, or six stopped early where their mean forecasts held-out rows better.
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

    # the rows that forecasts and updates need are kept here, not by the base class
    _config = {"remember_data": False}  # noqa: RUF012
    _y = None
    _X = None

    # the rows seen, and what was fitted to them; each hook assigns the next pair as its last act
    _history: History
    _fitted: Fitted

    parameters_ = fitted_attribute(lambda fitted: fitted.result.parameters)
    networks_ = fitted_attribute(lambda fitted: fitted.model.networks)
    result_ = fitted_attribute(lambda fitted: fitted.result)
    n_iter_ = fitted_attribute(lambda fitted: fitted.result.n_iter)
    objective_ = fitted_attribute(lambda fitted: fitted.result.objective)
    certificate_ = fitted_attribute(lambda fitted: fitted.result.certificate)
    alpha_ = fitted_attribute(lambda fitted: fitted.penalties.alpha)
    skip_alpha_ = fitted_attribute(lambda fitted: fitted.penalties.skip_alpha)
    alpha_path_ = fitted_attribute(
        lambda fitted: pd.DataFrame(list(fitted.penalties.path), columns=Candidate._fields)
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
        twin = self._twin()
        if y is not None:
            return BaseForecaster.predict_residuals(twin, y, X)
        twin.check_is_fitted()
        if twin._is_vectorized:
            each = twin.forecasters_["forecasters"]
            parts = {key: one.predict_residuals() for key, one in each.items()}
            return pd.concat(parts, names=twin._yvec.X_mi_index.names[:-1])
        check_complete(twin._history.series, "predict_residuals() without y")
        history = twin._history
        seen = history.steps - history.steps[history.present]
        times, asked = twin._question(ForecastingHorizon(seen, is_relative=True), None)
        fitted = pd.DataFrame(twin._fitted.forecasts(*asked), history.times, history.y_columns)
        errors = history.frame() - fitted
        store = {"store": twin._converter_store_y, "store_behaviour": "freeze"}
        return convert_to(errors, twin._y_metadata["mtype"], **store)

    def to_torch(self) -> Any:
        """The network as a PyTorch module in the units of y and X; of several, the best.

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
        networks = fitted.model.networks
        network = networks[0] if len(networks) == 1 else fitted.result.parameters
        weights = fitted.model.in_original_units(network)
        return elman_module(weights, fitted.model.sigma)

    def _fit(
        self, y: pd.DataFrame, X: pd.DataFrame | None, fh: ForecastingHorizon | None
    ) -> ALMElmanForecaster:
        if not self.__dict__.get("__is_clone", False):
            self._told().clear()
        panel: PanelNetwork | None = getattr(self, "pretrained_", None)
        X_columns = y.columns[:0] if X is None else X.columns
        if panel is not None:
            X_columns = panel.checked_columns(y, X)
        history = History.of(y, X, X_columns, panel.calendar if panel else None)
        estimator = self._estimator(history)
        history = history.seen_by(estimator.layout)
        if panel is not None:
            panel.check_layout(estimator.layout)
        self._tell(history.gaps())
        self._tell(history.zeros() if estimator.loss.is_log else None)
        if X is not None and self.exog_lags is None and not estimator.loss.is_log:
            self._tell(CONTEMPORANEOUS)
        steps: tuple[int, ...] = ()
        if fh is not None:
            ahead = history.steps_ahead(fh.to_pandas(), fh.is_relative)
            steps = tuple(int(step) for step in ahead if step > 0)
        if panel is not None:
            return self._become(history, estimator.adopt(panel.pretrained, history.series))
        with watching(self.verbose, self.callback) as progress:
            fitted = estimator.fit(history.series, progress, steps or (1,))
        if not fitted.penalties.is_mean:
            self._tell(advice_on(fitted.result, estimator.settings), ConvergenceWarning)
        return self._become(history, fitted)

    def _pretrain(
        self, y: pd.DataFrame, X: pd.DataFrame | None = None, fh: ForecastingHorizon | None = None
    ) -> ALMElmanForecaster:
        with self._parts(y, X) as parts:
            if parts is not None:
                y, X = parts.sample()
            self.pretrained_ = self._panel_network(y, X, parts)
        result = self.pretrained_.pretrained.trained.result
        self._tell(
            advice_on(result, settings_of(self.solver_options, self.max_iter)), ConvergenceWarning
        )
        return self

    def _panel_network(
        self, y: pd.DataFrame, X: pd.DataFrame | None, parts: Partitions | None
    ) -> PanelNetwork:
        """Train on a panel, or on parts of which it is a sample."""
        before: PanelNetwork | None = getattr(self, "pretrained_", None)
        # the same columns in every series, and in the order of the first panel
        X_columns = y.columns[:0] if X is None else X.columns
        if before is not None:
            X_columns = before.checked_columns(y, X)
        panel = list(histories(y, X, X_columns, before.calendar if before else None))
        estimator = self._estimator(panel[0])
        if before is not None:
            before.check_layout(estimator.layout)
        panel = [history.seen_by(estimator.layout) for history in panel]
        for history in panel if estimator.loss.is_log else ():
            self._tell(history.zeros())
        calendar = panel[0].calendar if before is None else before.calendar
        series = [history.series for history in panel]
        pretrained = before.pretrained if before else None
        with watching(self.verbose, self.callback) as progress:
            if parts is None or parts.is_small:
                trained = estimator.fit_panel(series, progress, pretrained)
            else:
                with parts.loaded(estimator, X_columns, calendar) as blocks:
                    trained = fit_blocks(estimator, series, blocks, progress, pretrained)
        return PanelNetwork(trained, y.columns, X_columns, calendar)

    @contextmanager
    def _parts(self, y: Any, X: Any) -> Iterator[Partitions | None]:
        """The panel in parts, where sktime's config names a backend or it is a Dask frame."""
        config = self.get_config()
        backend = config["backend:parallel"]
        if backend in (None, "None"):
            backend = "dask" if is_dask(y) else None
        if backend is None:
            yield None
            return
        with engine_of(backend, config["backend:parallel:params"]) as engine:
            yield Partitions.of(y, X, engine)

    def _predict(self, fh: ForecastingHorizon, X: pd.DataFrame | None) -> pd.DataFrame:
        times, asked = self._question(fh, X)
        return pd.DataFrame(self._fitted.forecasts(*asked), times, self._history.y_columns)

    def _predict_quantiles(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, alpha: list[float]
    ) -> pd.DataFrame:
        levels, (times, asked) = np.array(alpha, dtype=float), self._question(fh, X)
        # the columns are those of sktime: all levels of the first variable, then of the next
        rows = [quantiles(sample, levels).T.ravel() for sample in self._fitted.outcomes(*asked)]
        columns = self._named_columns("predict_quantiles", alpha=alpha)
        return pd.DataFrame(rows, times, columns)

    def _predict_var(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, cov: bool = False
    ) -> pd.DataFrame:
        times, asked = self._question(fh, X)
        columns = self._named_columns("predict_var")
        if cov:
            values = self._fitted.covariances(*asked)
            return pd.DataFrame(values, times, pd.MultiIndex.from_product([columns, times]))
        rows = [sample.var(axis=0) for sample in self._fitted.outcomes(*asked)]
        return pd.DataFrame(rows, times, columns)

    def _predict_proba(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, marginal: bool = True
    ) -> Any:
        if not marginal:
            raise NotImplementedError("marginal must be True: each time has a sample of its own")
        try:
            from skpro.distributions import Empirical
        except ImportError as error:
            # sktime's answer without skpro is a normal, which these samples are not
            raise NotImplementedError(
                "predict_proba needs skpro for its distributions: pip install skpro"
            ) from error
        times, asked = self._question(fh, X)
        samples = self._fitted.outcomes(*asked)
        columns = self._named_columns("predict_var")
        # draws are from all times at once: smaller samples are repeated, and weigh less
        n = max(map(len, samples))
        drawn = [np.arange(n) % len(sample) for sample in samples]
        values = [sample[rows] for sample, rows in zip(samples, drawn, strict=True)]
        weights = np.concatenate([1.0 / np.bincount(rows)[rows] for rows in drawn])
        index = pd.MultiIndex.from_arrays([np.tile(np.arange(n), len(times)), times.repeat(n)])
        return Empirical(
            pd.DataFrame(np.vstack(values), index, columns),
            None if (weights == 1.0).all() else pd.Series(weights, index),
        )

    def _named_columns(self, method: str, **arguments: Any) -> pd.Index:
        """sktime's columns, with the name that those of y have."""
        columns = self._get_columns(method=method, **arguments)
        if not isinstance(columns, pd.MultiIndex):
            return pd.Index(columns, name=self._history.y_columns.name)
        return columns.set_names(self._history.y_columns.name, level=0)

    def _update(
        self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True
    ) -> ALMElmanForecaster:
        before, fitted = self._history, self._fitted
        if update_params:
            check_complete(before.series, "update(update_params=True)")
        history, n_before = before.extended(y, X), len(before.times)
        if len(history.times) == n_before:
            return self._become(history, fitted)
        self._tell(history.gaps(n_before))
        if fitted.model.y_scaler.is_log:
            self._tell(history.zeros(n_before))
        if not update_params:
            return self._become(history, fitted.advanced(history.series, n_before))
        estimator = self._estimator(history)
        panel: PanelNetwork | None = getattr(self, "pretrained_", None)
        if panel is not None:
            before_rows = fitted, n_before
            adopted = estimator.adopt(panel.pretrained, history.series, *before_rows)
            return self._become(history, adopted)
        with watching(self.verbose, self.callback) as progress:
            fitted = estimator.fit(history.series, progress, previous=fitted, n_before=n_before)
        if not (fitted.penalties.is_mean or estimator.is_brief(n_before, len(history.times))):
            self._tell(advice_on(fitted.result, estimator.settings), ConvergenceWarning)
        return self._become(history, fitted)

    def _update_predict_single(
        self,
        y: pd.DataFrame,
        fh: ForecastingHorizon,
        X: pd.DataFrame | None = None,
        update_params: bool = True,
    ) -> pd.DataFrame:
        # the default calls the public update with the inner frame, which then passes for the
        # type of the user's y: a series would come back as a frame
        return self._update(y, X, update_params)._predict(fh, X)

    def _become(self, history: History, fitted: Fitted) -> ALMElmanForecaster:
        self._set_cutoff(history.cutoff)
        self._history, self._fitted = history, fitted
        return self

    def _estimator(self, history: History) -> Estimator:
        """What fits, from the arguments."""
        arguments = self.get_params(deep=False)
        check_arguments(arguments)
        loss = get_datafit(self.loss)
        columns = list(history.X_columns)
        layout = layout_of(arguments, history.calendar, columns, loss.is_log)
        settings = settings_of(self.solver_options, self.max_iter)
        kept = {item.name for item in fields(Estimator)} & set(arguments) - {"loss"}
        return Estimator(
            layout=layout,
            sigma=get_activation(self.activation),
            loss=loss,
            settings=settings,
            **{name: arguments[name] for name in kept},
        )

    def _question(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None
    ) -> tuple[pd.Index, tuple[Series, IntArray, IntArray, Array]]:
        """The times of a horizon, and what the networks are asked about them."""
        history, horizon = self._history, fh.to_pandas()
        if X is not None:
            history = history.foreseeing(X.index, "X")
        if not fh.is_relative:
            history = history.foreseeing(horizon, "fh")
        # those of 0 and less are in-sample
        steps = history.steps_ahead(horizon, fh.is_relative)
        ahead = steps[steps > 0]
        reach = self._fitted.model.layout.reach
        if len(ahead) < len(steps):
            check_complete(history.series, "an in-sample prediction")
        try:
            future = history.future_X(X, int(ahead.max(initial=0)), reach)
        except HoleInX as error:
            # evaluate passes X of the times of fh alone, and keeps to itself what then fails
            self._tell(str(error))
            raise
        rows = history.rows_at(steps[steps <= 0])
        return history.times_at(steps), (history.series, rows, ahead, future)

    def _without_training_rows(self) -> ALMElmanForecaster:
        """A copy that forecasts alike and is small."""
        kept = self._twin()
        if hasattr(kept, "pretrained_"):
            kept.pretrained_ = kept.pretrained_.without_rows()
        if getattr(kept, "_is_vectorized", False):
            kept.forecasters_ = kept.forecasters_.map(ALMElmanForecaster._without_training_rows)
        elif kept.is_fitted:
            # one row more than inputs reach back, lest the sequence seem to begin there
            kept._history = kept._history.shortened(kept._fitted.model.layout.span + 1)
            kept._fitted = kept._fitted.without_rows()
        return kept

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Parameters for sktime's estimator checks: small and quick to fit."""
        quick = {"max_iter": 2, "solver_options": {"max_inner_iter": 2}, "random_state": 0}
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
