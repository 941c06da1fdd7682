"""The sktime forecaster: pandas and forecasting horizons around the array core."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon

from sktime_alm.features import (
    InputLayout,
    Standardizer,
    carried_forward,
    change_units,
    lag_matrix,
)
from sktime_alm.fitting import Fit, Penalties, Rows, Trainer
from sktime_alm.frames import (
    after_gaps,
    as_floats,
    check_columns,
    check_times,
    frequency_of,
    instances,
    listed,
    warn_of_gaps,
)
from sktime_alm.intervals import (
    MAX_STEPS,
    MIN_ERRORS,
    as_independent,
    draw_noise,
    quantiles,
    stretched,
)
from sktime_alm.model import COMBINATIONS, Model, bounds_of, widened
from sktime_alm.progress import watching
from sktime_alm.selection import Candidate, Origin
from sktime_alm.solver import ALMResult, ALMSettings, Certificate, ElmanParameters, Status
from sktime_alm.solver._typing import Array, IntArray
from sktime_alm.solver._validation import (
    check_choice,
    check_count,
    check_nonnegative,
    check_number,
)
from sktime_alm.solver.activations import Activation, get_activation
from sktime_alm.solver.initialization import initialize
from sktime_alm.solver.result import Callback
from sktime_alm.solver.multistart import n_threads, seed_sequence

# an update by a smaller share of the rows goes on for so many outer iterations at most: the
# networks hardly change, and the next one goes on from there
_SMALL_UPDATE, _BRIEF_ITERATIONS = 0.1, 3


class ALMElmanForecaster(BaseForecaster):
    r"""Elman recurrent network trained by an augmented Lagrangian method.

    .. math:: u_t = W h_{t-1} + V x_t + b, \quad h_t = \sigma(u_t), \quad
              \hat y_t = A h_t + D x_t + c

    The inputs x_t are past values of y (``lags``), averages of them (``window_means``)
    and exogenous X (``exog_lags``). The weights are not found by backpropagation: training
    is written as a constrained problem in the weights, the hidden states and the
    pre-activations, and solved by an augmented Lagrangian method whose subproblems are
    minimised block by block in closed form [1]_.

    Its worst case is a linear model: with D alone it is a ridge regression on the same
    inputs (ARX, or HAR with ``window_means``). By default the penalties are chosen by
    forecasts within the training window, and hidden units are used only where they forecast
    better than the regression does.

    **Which X a forecast needs.** Let L be the smallest of ``exog_lags``. To forecast h
    steps ahead, with or without the steps between, ``predict`` needs X of *all* times
    after the cutoff up to cutoff + h - L, found by their index labels; X up to the cutoff
    is known from ``fit`` and ``update``. So steps 1 to L need no X at all. Other rows may
    hold anything or be missing; they are not read.

    By default L is 0: X of time t is an input of the forecast *of* time t, as in the
    paper. This leaks the future into a backtest unless X is known at forecast time, like a
    calendar or a plan. Use ``exog_lags=1`` for a variable that is only observed with y.

    Parameters
    ----------
    hidden_size : int, default=8
        Number r of hidden units.
    activation : {"relu", "leaky_relu", "elu"} or Activation, default="relu"
    lags : int or sequence of int, default=1
        Past values of y among the inputs: the last ``lags`` values, or exactly those of a
        sequence, such as [1, 12]. 0 or [] is none; with X alone it is the paper's model.
        Beyond one step ahead, forecasts take the place of values not yet seen.
    window_means : sequence of int, optional
        Averages of the last values of y among the inputs, one for each number of values:
        (1, 3, 12) are those of a heterogeneous autoregression (HAR) on monthly data.
        Forecasts take the place of values not yet seen.
    exog_lags : int or sequence of int, optional
        Lags of X among the inputs. Unlike ``lags``, an integer is exactly that one lag:
        1 is X of the time before. By default 0, X of the time that is forecast.
    linear_skip : bool, default=True
        Whether the outputs have the term D x. The paper's network has none.
    alpha : float or "auto", default="auto"
        Strength of the l2 penalties of the network, spread over the weights as in the
        paper's Table 2 (its tau): each matrix is penalised by alpha over its number of
        entries. "auto" chooses it by forecasts within the training window; see Notes.
        Infinity leaves the ridge regression alone.
    skip_alpha : float or "auto", default="auto"
        Strength of the l2 penalty of D, spread over its entries likewise. The bias c is then
        not penalised. "auto" chooses it for the ridge regression, before alpha.
    alpha_rule : {"one_se", "best"}, default="one_se"
        With ``alpha="auto"``: the largest strength whose loss is within one standard error
        (of the difference) of the smallest, or that of the smallest.
    method : {"safeguarded", "paper"}, default="safeguarded"
        "safeguarded" never raises the objective and needs no penalty to be chosen. "paper"
        is Algorithm 3.1 of [1]_, which mostly ends far higher.
    initialization : {"he", "glorot", "lecun", "normal"} or float, default="normal"
        Distribution of the initial weights; "normal" is N(0, 0.1), a number is the
        standard deviation of another normal distribution.
    max_iter : int, default=100
        Outer iterations of the augmented Lagrangian method.
    tol : float, default=1e-5
        Training has converged when the relative KKT residuals are at most this.
    n_init : int, default=1
        Number of random starts; the best is kept, or all of them by ``ensemble``.
    ensemble : {"mean", "median"}, optional
        Forecast by the mean or the median of the networks of all starts. By default the
        best one forecasts alone.
    early_stopping : bool, default=False
        Hold the last rows out of training, and keep the network that forecasts them best one
        step ahead.
    validation_fraction : float, default=0.1
        The share of the rows that ``early_stopping`` holds out.
    n_iter_no_change : int, default=5
        ``early_stopping`` ends training after so many outer iterations without a smaller loss
        on the rows held out.
    standardize : bool, default=True
        Scale y and X to mean 0 and variance 1 on the training window. Constant columns
        are only centred.
    interval_method : {"bootstrap", "conformal"}, default="bootstrap"
        Where quantiles, intervals and variances come from; see Notes.
    random_state : int, numpy Generator or RandomState, optional
        Seed of the initial weights and of the simulated paths, drawn in ``fit``.
    n_jobs : int, optional
        Number of starts that train at a time, in threads; -1 uses all cores. The outcome
        does not depend on it. A fit with one start is single-threaded.
    verbose : int, default=0
        1 shows a progress bar, 2 logs a line an iteration at level INFO to the logger
        "sktime_alm".
    callback : callable, optional
        Called with the record of each outer iteration; training stops when it returns
        True.
    solver_options : dict, optional
        Further fields of :class:`sktime_alm.solver.ALMSettings`, such as
        ``{"max_inner_iter": 50, "initial_penalty": 0.1}``.

    Attributes
    ----------
    parameters_ : ElmanParameters
        The trained weights, in standardised units if ``standardize``; of the best network.
    networks_ : tuple of ElmanParameters
        The networks that forecast: several with an ``ensemble``.
    result_ : ALMResult
        History, status, certificate and last iterate of the training.
    n_iter_ : int
        Outer iterations of the training.
    objective_ : float
        The penalised training objective (2.6) of ``parameters_``.
    certificate_ : Certificate
        How far training ended from an optimal (KKT) point: stationarity and feasibility.
    alpha_, skip_alpha_ : float
        The strengths of the penalties, as chosen or as passed. ``alpha_`` is infinite where
        the ridge regression is used alone, ``skip_alpha_`` NaN without a linear skip.
    alpha_path_ : pandas.DataFrame
        What was tried for "auto": ``alpha``, ``skip_alpha``, the mean ``loss`` of the
        forecasts (of standardised y), its ``excess`` over the best of the same path, and the
        ``standard_error`` of that. Empty where nothing was to choose.
    seed_spread_ : numpy array of shape (m,)
        How much the starts differ: the root mean square, over the rows, of the standard
        deviation of their fitted values, in units of y. NaN where a single network was trained.

    Raises
    ------
    ValueError, TypeError
        In ``fit``: a parameter out of its range, y infinite or nowhere observed, X of the times
        of y not finite, fewer rows than the longest lag or window + 2 (or, to calibrate
        ``interval_method="conformal"``, + 57), ``exog_lags``
        without X, or no inputs (``lags=0`` without window means and X). In ``predict`` and
        ``update``: X missing or not finite at a time needed (for ``update``, at all times
        of y), or with other columns than in ``fit``.

    Warns
    -----
    ConvergenceWarning
        If training ended before the KKT residuals reached ``tol`` although it could have
        gone on; it says what to change.

    Notes
    -----
    An interrupt (Ctrl-C) during training ends it with the best network so far, fitted
    and usable, and a warning. While penalties are being chosen it ends ``fit`` itself.

    ``update(update_params=False)`` runs the hidden state over the new rows.
    ``update(update_params=True)`` trains on all rows seen, from the present weights and with
    the penalties of ``fit``, until its steps come to rest, or for three outer iterations if
    the new rows are less than a tenth of all; by default it leaves out the ``polish`` of
    ``solver_options``, which costs more than it gains there. Rows of times already seen are
    ignored.

    **Penalties.** For "auto" the rows are cut at some of them; models trained on the rows
    before a cut forecast those up to the next one, one step ahead, or the steps of ``fh`` if
    ``fit`` is passed one (with X as it was). First the strength of ``skip_alpha`` is chosen
    for the ridge regression alone (cuts at 40, 50, ... 90 % of the rows; none with which it
    fits 2.5 times worse than repeating the last value, if others do not), then ``alpha`` (55,
    70 and 85 %) on a path from strong to weak, whose first point is the regression. The path
    starts each network at the one before, and ends when two points in a row forecast worse
    than the best, or one by three standard errors. A model of a share s of the rows is
    penalised by 1/s times the strength. All are standardised as the whole window is. With
    fewer than 30 rows no network is tried.

    **Missing values.** A row in which y is missing (NaN), even in one of several columns, has no
    part in the loss; the hidden state runs on, and the last value seen stands in for the missing
    one among the inputs. Where time steps are missing in the index of ``fit`` or ``update``, the
    series begins anew: neither the state nor lags reach over the gap. A warning says so; where
    nothing happened in it, as on holidays, number the rows instead (``y.reset_index(drop=True)``).

    **Stability.** Recurrent weights are kept contractive in training (a spectral norm of W of
    at most 0.98; not by ``method="paper"``), so that the state forgets, and forecasts are cut
    off at three times the range of the y seen (two standard deviations at least) beyond its
    least and largest values.

    **Many series.** Panels and hierarchies are fitted one by one. ``pretrain`` trains one
    network on all series of a panel, each standardised by itself; a ``fit`` that follows keeps
    that network, also for a series too short to train on, and only scales the new series and
    runs the hidden state over it. ``update(update_params=True)`` trains on from there.

    **Saving.** ``save`` leaves the training rows out, so that the file is hardly larger than
    the weights and the errors; such a forecaster forecasts and updates its state, but cannot
    train on. ``save(..., training_rows=True)``, or pickling, keeps them.

    The first rows, which lack some of their inputs, are left out of training. In-sample
    predictions are those of one step ahead; for the first rows the values before the
    series are taken to be at the training mean (at 0 if not ``standardize``).

    **Quantiles, intervals and variances** need the same X as ``predict``. They are those of
    a sample of outcomes. "bootstrap" simulates 2000 paths of the network run on its own
    outputs, to each of which it adds a row of errors, drawn with replacement and for all
    outputs together. Where a penalty was chosen these are errors of forecasts: those that
    the models of the chosen strengths made, in choosing, of rows after theirs. Further
    ahead the paths are stretched about their mean, if need be, to spread as widely as the
    errors that these models made so many steps ahead (up to 24), of which n, overlapping,
    count as n / h. With given penalties they
    are the training errors, inflated by sqrt(T / (T - p)) for the p degrees of freedom that
    the ridge regression of the readout took of the T rows; that is less than the errors on
    new rows. Either are centred. The networks of an ensemble take equal shares of the paths.

    "conformal" makes no model of the errors: those h steps ahead, of the models that chose
    the penalties or, with given ones, of models trained up to 55, 70 and 85 % of the rows,
    are added to the forecast h steps ahead, spread more widely for overlapping, as above. It
    calibrates no more than 120 steps, each on 19 errors at least, and a quantile further out than
    its errors reach is the largest of them.

    With X the errors several steps ahead are made with X as it was. ``update`` keeps the
    errors, but training errors, and those of "conformal", are collected anew with
    ``update_params=True``. In-sample the errors of one step are added to the fitted value.
    ``predict_proba`` is the normal distribution with the forecast and this variance.

    References
    ----------
    .. [1] Wang, Y., Zhang, C. and Chen, X. (2024). An augmented Lagrangian method for
       training recurrent neural networks. arXiv:2402.13687.

    Examples
    --------
    >>> from sktime_alm import ALMElmanForecaster
    >>> from sktime_alm.datasets import load_sp500_volatility
    >>> y, X = load_sp500_volatility()
    >>> forecaster = ALMElmanForecaster(hidden_size=4, exog_lags=1, random_state=0)
    >>> forecaster.fit(y, X)
    ALMElmanForecaster(exog_lags=1, hidden_size=4, random_state=0)
    >>> forecaster.predict(fh=1).index[0]
    Period('2009-07', 'M')

    A network on the inputs of a HAR model with X of the month before. Two months ahead it
    needs X of the first of them, here that of the last month again:

    >>> har = ALMElmanForecaster(lags=0, window_means=(1, 3, 12), exog_lags=1)
    >>> har.fit(y, X).predict(fh=[1, 2], X=X[-1:].shift(1, freq="M")).index[1]
    Period('2009-08', 'M')
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
        "X-y-must-have-same-index": True,
        "enforce_index_type": None,
        "fit_is_empty": False,
    }

    # the rows that forecasts and updates need are kept here, not by the base class
    _config = {"remember_data": False}  # noqa: RUF012
    _y = None
    _X = None

    parameters_: ElmanParameters
    networks_: tuple[ElmanParameters, ...]
    result_: ALMResult
    n_iter_: int
    objective_: float
    certificate_: Certificate
    alpha_: float
    skip_alpha_: float
    alpha_path_: pd.DataFrame
    seed_spread_: Array
    _model: Model
    _layout: InputLayout
    _seen_y: pd.DataFrame
    _seen_X: pd.DataFrame
    # first rows of the sequences of consecutive times
    _starts: tuple[int, ...]
    # the step between time stamps; None for periods and integers
    _frequency: pd.DateOffset | None
    # of each network, after the last row
    _hidden_states: list[Array]
    # errors in the units of y: those of one step ahead, and of more where these are calibrated
    _errors: list[Array]
    # how much wider than simulated paths forecasts spread, by step
    _stretch: Array
    _is_judged: bool
    _seed: int
    _has_training_rows: bool

    def __init__(
        self,
        hidden_size: int = 8,
        activation: str | Activation = "relu",
        lags: int | Sequence[int] = 1,
        window_means: Sequence[int] | None = None,
        exog_lags: int | Sequence[int] | None = None,
        linear_skip: bool = True,
        alpha: float | str = "auto",
        skip_alpha: float | str = "auto",
        alpha_rule: str = "one_se",
        method: str = "safeguarded",
        initialization: str | float = "normal",
        max_iter: int = 100,
        tol: float = 1e-5,
        n_init: int = 1,
        ensemble: str | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        standardize: bool = True,
        interval_method: str = "bootstrap",
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        callback: Callback | None = None,
        solver_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.hidden_size = hidden_size
        self.activation = activation
        self.lags = lags
        self.window_means = window_means
        self.exog_lags = exog_lags
        self.linear_skip = linear_skip
        self.alpha = alpha
        self.skip_alpha = skip_alpha
        self.alpha_rule = alpha_rule
        self.method = method
        self.initialization = initialization
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.ensemble = ensemble
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.standardize = standardize
        self.interval_method = interval_method
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.callback = callback
        self.solver_options = solver_options
        super().__init__()

    def _fit(
        self, y: pd.DataFrame, X: pd.DataFrame | None, fh: ForecastingHorizon | None
    ) -> ALMElmanForecaster:
        self._begin(X is not None)
        pretrained = getattr(self, "pretrained_", None)
        if pretrained is not None:
            pretrained.check(self._layout, y, X)
        self._frequency = frequency_of(y.index)
        gaps = after_gaps(y.index, self._frequency)
        warn_of_gaps(gaps, y.index)
        self._starts = (0, *gaps)
        self._seen_y = as_floats(y, "y", may_miss=True)
        self._seen_X = pd.DataFrame(index=y.index)
        if X is not None:
            columns = X.columns if pretrained is None else pretrained.X_columns
            self._seen_X = as_floats(X.loc[y.index, columns], "X")
        self._has_training_rows = True
        if self._seen_y.isna().all(axis=0).any():
            raise ValueError("y must be observed in some row, found a column of missing values")
        if pretrained is not None:
            self._take_over(pretrained)
        else:
            self._check_rows()
            self._scale_and_train(steps=self._steps_ahead(fh))
        # intervals do not depend on how often they are asked for: their seed is drawn here
        self._seed = int(seed_sequence(self.random_state).generate_state(1, np.uint64)[0])
        return self

    def pretrain(self, y: Any, X: Any = None, fh: Any = None) -> ALMElmanForecaster:
        """Train on all series of a panel; see the base class."""
        # sktime takes panels of y here whatever our types are, but panels of X by the tag alone;
        # elsewhere these must go to the forecasters of the single series
        self.set_tags(X_inner_mtype=["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"])
        try:
            return super().pretrain(y, X, fh)
        finally:
            self.set_tags(X_inner_mtype="pd.DataFrame")

    def _pretrain(
        self, y: pd.DataFrame, X: pd.DataFrame | None = None, fh: ForecastingHorizon | None = None
    ) -> ALMElmanForecaster:
        self._begin(X is not None)
        before = getattr(self, "pretrained_", None)
        if before is not None:
            before.check(self._layout, y, X)
        # the same columns in every series, and in the order of the first panel
        X_columns = None if X is None else (X.columns if before is None else before.X_columns)
        rows = Rows.stacked([self._rows_of_instance(*pair) for pair in instances(y, X, X_columns)])
        if rows.is_observed.sum() < 2:
            raise ValueError(
                f"y must have series of more than {self._layout.context} rows, which the inputs "
                "reach back, with observed values among the others"
            )
        if before is None:
            penalties = self._choose_penalties(rows, (1,))
            fit = self._train(rows, penalties, None)
        else:
            penalties = before.penalties
            fit = self._train(rows, penalties, before.fit.networks)
            # those of the first panel's models serve on, as in an update
            fit = fit._replace(errors=before.fit.errors, stretch=before.fit.stretch)
        is_judged = bool(penalties.judges) if before is None else before.is_judged
        kept = penalties._replace(judges=())
        self.pretrained_ = _Pretrained(self._layout, y.columns, X_columns, kept, is_judged, fit)
        return self

    def _predict(self, fh: ForecastingHorizon, X: pd.DataFrame | None) -> pd.DataFrame:
        steps, times = self._steps(fh), fh.to_absolute_index(self.cutoff)
        in_sample = steps <= 0
        values = np.empty((len(steps), self._seen_y.shape[1]))
        if in_sample.any():
            values[in_sample] = self._fitted()[self._rows_of_times(times[in_sample])]
        if not in_sample.all():
            states, past, exogenous = self._situation(fh, X, steps.max())
            forecasts = self._model.forecast(states, past, exogenous)
            self._check_finite(forecasts[None])
            values[~in_sample] = forecasts[steps[~in_sample] - 1]
        return pd.DataFrame(
            self._model.y_scaler.inverse_transform(values), times, self._seen_y.columns
        )

    def _predict_quantiles(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, alpha: list[float]
    ) -> pd.DataFrame:
        levels = np.array(alpha, dtype=float)
        # the columns are those of sktime: all levels of the first variable, then of the next
        rows = [quantiles(sample, levels).T.ravel() for sample in self._outcomes(fh, X)]
        columns = self._get_columns(method="predict_quantiles", alpha=alpha)
        return pd.DataFrame(rows, fh.to_absolute_index(self.cutoff), columns)

    def _predict_var(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, cov: bool = False
    ) -> pd.DataFrame:
        if cov:
            raise NotImplementedError("cov must be False: only variances are there, no covariances")
        rows = [sample.var(axis=0) for sample in self._outcomes(fh, X)]
        columns = self._get_columns(method="predict_var")
        return pd.DataFrame(rows, fh.to_absolute_index(self.cutoff), columns)

    def _update(
        self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True
    ) -> ALMElmanForecaster:
        before = self.__dict__.copy()
        try:
            if update_params:
                self._check_training_rows("update(update_params=True)")
            new_y, new_X = self._new_rows(y, X)
            if new_y.empty:
                return self
            self._append(new_y, new_X)
            if update_params:
                self._check_rows()
                share = len(new_y) / len(self._seen_y)
                self._scale_and_train(initial=self.networks_, is_brief=share <= _SMALL_UPDATE)
            else:
                self._hidden_states = self._advanced(len(self._seen_y) - len(new_y))
                of_seen = bounds_of(self._model.y_scaler.transform(self._seen_y.to_numpy()))
                self._model = replace(self._model, bounds=widened(self._model.bounds, of_seen))
        except (TypeError, ValueError):
            # sktime has moved the cutoff already; a refused update must change nothing
            self.__dict__.clear()
            self.__dict__.update(before)
            self._set_cutoff_from_y(self._seen_y)
            raise
        return self

    def _update_predict_single(
        self,
        y: pd.DataFrame,
        fh: ForecastingHorizon,
        X: pd.DataFrame | None = None,
        update_params: bool = True,
    ) -> pd.DataFrame:
        # the default calls the public update with the inner frame, which then passes for the
        # type of the user's y: a series would come back as a frame
        self._update(y, X, update_params)
        return self._predict(fh, X)

    def save(
        self,
        path: str | Path | None = None,
        serialization_format: str = "pickle",
        training_rows: bool = False,
    ) -> Any:
        """Save to memory or to a file, by default without the rows trained on.

        Parameters
        ----------
        path : str or Path, optional
            A .zip file to be written, its name with or without the ending; by default the
            outcome is in memory. sktime's ``load`` reads either.
        serialization_format : {"pickle", "cloudpickle"}, default="pickle"
        training_rows : bool, default=False
            Keep the rows. Without them the loaded forecaster predicts, with intervals, and
            updates its state; in-sample predictions and training on need them.

        Returns
        -------
        tuple or ZipFile
            As that of sktime's ``save``.
        """
        kept = self if training_rows else self._without_training_rows()
        return super(ALMElmanForecaster, kept).save(path, serialization_format)

    def to_torch(self) -> Any:
        """The best network as a PyTorch module in the units of y and X.

        Returns
        -------
        torch.nn.Module
            In double precision. Called with inputs of shape (T, n), and optionally the hidden
            state of shape (r,) before them, it returns outputs of shape (T, m) and the state
            after them. The columns of the inputs are the lags of y (all columns of y at the
            first lag, then at the next), its window means, and the lags of X.

        Raises
        ------
        ImportError
            If PyTorch is not installed.
        ValueError
            If the activation has no PyTorch counterpart.
        """
        from sktime_alm.torch_module import elman_module

        self.check_is_fitted()
        model = self._model
        y_scaler, X_scaler = model.y_scaler, model.X_scaler
        inputs = self._layout.scaler(y_scaler, X_scaler)
        units = Standardizer.identity(len(inputs.mean)), Standardizer.identity(len(y_scaler.mean))
        weights = change_units(self.parameters_, (inputs, units[0]), (y_scaler, units[1]))
        return elman_module(weights, model.sigma)

    def _set_cutoff_from_y(self, y: pd.DataFrame) -> None:
        super()._set_cutoff_from_y(y)
        if isinstance(y.index, pd.MultiIndex):
            return
        # horizons need a frequency; sktime finds none in time stamps with gaps, nor in one or two
        frequency = self._frequency if self.is_fitted else frequency_of(y.index)
        if frequency is not None and frequency.is_on_offset(self.cutoff[0]):
            self._set_cutoff(pd.DatetimeIndex(self.cutoff, freq=frequency))

    def _begin(self, has_X: bool) -> None:
        """Check the arguments, and lay out the inputs."""
        self._check_arguments()
        self._layout = InputLayout.from_arguments(self.lags, self.window_means, self.exog_lags)
        if not has_X and self.exog_lags is not None:
            raise ValueError(f"exog_lags={self.exog_lags!r} are lags of X, but fit was passed no X")
        if not has_X and self._layout.memory == 0:
            raise ValueError(
                f"lags={self.lags!r} leaves the network without inputs; pass X, or use lags or "
                "window_means"
            )

    def _new_rows(
        self, y: pd.DataFrame, X: pd.DataFrame | None
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows of y and X after the last one seen."""
        new_y = y.loc[y.index > self._seen_y.index[-1]]
        if new_y.empty:
            return new_y, self._seen_X[:0]
        check_times(new_y.index, self._frequency)
        if new_y.shape[1] == self._seen_y.shape[1] == 1:
            new_y = new_y.set_axis(self._seen_y.columns, axis=1)  # a series need keep no name
        check_columns(new_y.columns, self._seen_y.columns, "y")
        new_y = as_floats(new_y[self._seen_y.columns], "y", may_miss=True)
        return new_y, self._select_X(X, new_y.index, "update")

    def _append(self, new_y: pd.DataFrame, new_X: pd.DataFrame) -> None:
        """Add rows to those seen; a gap before or in them begins a sequence."""
        joined = self._seen_y.index[-1:].append(new_y.index)
        gaps = after_gaps(joined, self._frequency)
        warn_of_gaps(gaps, joined)
        n_before = len(self._seen_y)
        self._starts += tuple(n_before - 1 + row for row in gaps)
        self._seen_y = pd.concat([self._seen_y, new_y])
        self._seen_X = pd.concat([self._seen_X, new_X])

    def _check_arguments(self) -> None:
        """Refuse what the solver does not see, or sees by another name."""
        check_count(self.hidden_size, "hidden_size")
        check_count(self.verbose, "verbose", minimum=0)
        check_count(self.max_iter, "max_iter")
        check_count(self.n_init, "n_init")
        check_count(self.n_iter_no_change, "n_iter_no_change")
        check_nonnegative(self.tol, "tol")
        check_choice(self.interval_method, "interval_method", ("bootstrap", "conformal"))
        check_choice(self.alpha_rule, "alpha_rule", ("one_se", "best"))
        if self.ensemble is not None:
            check_choice(self.ensemble, "ensemble", COMBINATIONS)
        for name in ("standardize", "linear_skip", "early_stopping"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise TypeError(f"{name} must be True or False, found {getattr(self, name)!r}")
        for name in ("alpha", "skip_alpha"):
            value = getattr(self, name)
            if isinstance(value, str):
                check_choice(value, name, ("auto",))
            elif not (name == "alpha" and value == np.inf):
                check_nonnegative(value, name)
        if self.alpha == np.inf and not self.linear_skip:
            raise ValueError("alpha must be finite with linear_skip=False, found inf")
        if not 0.0 < check_number(self.validation_fraction, "validation_fraction") < 1.0:
            raise ValueError(
                "validation_fraction must be between 0 and 1, both excluded, found "
                f"{self.validation_fraction!r}"
            )
        get_activation(self.activation)
        initialize(self.initialization, 1, 1, 1, np.random.default_rng(0))
        n_threads(self.n_jobs)
        if self.callback is not None and not callable(self.callback):
            raise TypeError(f"callback must be callable, found {self.callback!r}")
        known = {item.name for item in fields(ALMSettings)} - {"method", "max_iter", "tolerance"}
        unknown = set(self.solver_options or {}) - known
        if unknown:
            raise ValueError(
                f"solver_options must hold fields of ALMSettings other than method, max_iter and "
                f"tolerance (which are arguments of their own), {sorted(known)}; found "
                f"{sorted(unknown)}"
            )
        if self.early_stopping and "patience" in (self.solver_options or {}):
            raise ValueError(
                "solver_options must not hold patience with early_stopping, where "
                "n_iter_no_change takes its place"
            )
        ALMSettings(method=self.method, **(self.solver_options or {}))

    def _check_rows(self) -> None:
        """Refuse too few rows."""
        layout, n_rows = self._layout, len(self._seen_y)
        full, _ = self._full_rows(self._starts, n_rows)
        if len(full) < 2:
            name = layout.longest()
            where = " in one piece" if len(self._starts) > 1 else ""
            raise ValueError(
                f"y must have at least {name} + 2 = {layout.context + 2} rows{where}, found "
                f"{n_rows}; {name}={getattr(self, name)!r} reaches {layout.context} rows back"
            )
        if self._seen_y.iloc[full].isna().any(axis=1).all():
            raise ValueError(
                f"y must be observed in some row after the first {layout.context}, which only "
                "serve as inputs"
            )
        n_needed = 3 * MIN_ERRORS
        if self.interval_method == "conformal" and len(full) < n_needed:
            raise ValueError(
                f"y must have at least {layout.context + n_needed} rows for "
                f"interval_method='conformal', which calibrates on {MIN_ERRORS} errors or more, "
                f"found {n_rows}"
            )

    def _scale_and_train(
        self,
        initial: Sequence[ElmanParameters] | None = None,
        steps: Sequence[int] = (1,),
        is_brief: bool = False,
    ) -> None:
        """Fit the scalers and the networks to all rows seen."""
        rows, y_scaler, X_scaler = self._rows_of(self._seen_y, self._seen_X, self._starts)
        if initial is None:
            penalties = self._choose_penalties(rows, steps)
            self.alpha_, self.skip_alpha_ = penalties.alpha, penalties.skip_alpha
            self.alpha_path_ = pd.DataFrame(list(penalties.path), columns=Candidate._fields)
        else:
            penalties = Penalties(self.alpha_, self.skip_alpha_)
            before = self._layout.scaler(self._model.y_scaler, self._model.X_scaler)
            inputs = before, self._layout.scaler(y_scaler, X_scaler)
            outputs = self._model.y_scaler, y_scaler
            initial = [change_units(network, inputs, outputs) for network in initial]
        # A warm start is at rest within a few steps. At a kink a polish would take many times as
        # many, and hardly lower the objective.
        changes = {} if initial is None else {"polish": False, **(self.solver_options or {})}
        if is_brief:
            changes["max_iter"] = min(self.max_iter, _BRIEF_ITERATIONS)
        fit = self._train(rows, penalties, initial, changes)
        self._adopt(fit, y_scaler, X_scaler)
        if self.interval_method == "conformal":
            trainer = self._trainer()
            judges = trainer.judges_of(rows, penalties)
            errors = _calibrated(trainer.errors_by_step(rows, judges, MAX_STEPS))
            if not errors:
                raise ValueError(
                    f"interval_method='conformal' needs {MIN_ERRORS} observed rows or more to "
                    "calibrate on, after those that it trains on"
                )
            self._errors = [of_step * y_scaler.scale for of_step in errors]
        elif initial is None or not self._is_judged:
            # those of the models that chose the penalties serve on where these are kept
            self._errors, self._stretch = [fit.errors * y_scaler.scale], fit.stretch
            self._is_judged = bool(penalties.judges)

    def _take_over(self, pretrained: _Pretrained) -> None:
        """The networks of a panel for the series seen."""
        y_scaler, X_scaler = self._scaler(self._seen_y), self._scaler(self._seen_X)
        self.alpha_, self.skip_alpha_, path, _ = pretrained.penalties
        self.alpha_path_ = pd.DataFrame(list(path), columns=Candidate._fields)
        self._adopt(pretrained.fit, y_scaler, X_scaler)
        fit = pretrained.fit
        self._errors, self._stretch = [fit.errors * y_scaler.scale], fit.stretch
        self._is_judged = pretrained.is_judged
        if self.interval_method == "conformal":
            rows = self._rows_of(self._seen_y, self._seen_X, self._starts)[0]
            everywhere = np.ones(len(rows.inputs), dtype=bool)
            # the networks have seen none of these rows
            judge = Origin(~everywhere, (), everywhere, 0.0), fit.result.parameters
            errors = _calibrated(self._trainer().errors_by_step(rows, [judge], MAX_STEPS))
            # a short series makes do with the errors of the panel, one step ahead
            self._errors = [of_step * y_scaler.scale for of_step in errors] or self._errors

    def _adopt(self, fit: Fit, y_scaler: Standardizer, X_scaler: Standardizer) -> None:
        """Forecast with the networks of a fit from now on."""
        self.result_, self.networks_ = fit.result, fit.networks
        self.parameters_ = fit.result.parameters
        self.n_iter_, self.objective_ = fit.result.n_iter, fit.result.objective
        self.certificate_ = fit.result.certificate
        self.seed_spread_ = fit.spread * y_scaler.scale
        self._model = self._model_of(fit.networks, y_scaler, X_scaler)
        inputs = self._seen_inputs()
        self._hidden_states = [states[-1] for states in self._all_states(inputs)]

    def _rows_of(
        self, y: pd.DataFrame, X: pd.DataFrame, starts: Sequence[int]
    ) -> tuple[Rows, Standardizer, Standardizer]:
        """The rows of a series that have all their inputs, and its scalers."""
        y_scaler, X_scaler = self._scaler(y), self._scaler(X)
        targets = y_scaler.transform(y.to_numpy())
        inputs = self._layout.rows(targets, X_scaler.transform(X.to_numpy()), starts)
        # the first rows lack lags, and would teach the network that y begins at its mean
        full, first = self._full_rows(starts, len(y))
        position = np.arange(1, len(full) + 1) / max(len(full), 1)
        last_seen = carried_forward(targets, starts)
        previous = np.vstack([np.full(targets.shape[1], np.nan), last_seen])[full]
        rows = Rows(inputs[full], targets[full], first, position, previous)
        return rows, y_scaler, X_scaler

    def _rows_of_instance(self, y: pd.DataFrame, X: pd.DataFrame) -> Rows:
        """The rows of a series of a panel."""
        starts = (0, *after_gaps(y.index, frequency_of(y.index)))
        y, X = as_floats(y, "y", may_miss=True), as_floats(X, "X")
        if y.isna().all(axis=0).any():
            raise ValueError("y must be observed in some row of each series, found none in one")
        return self._rows_of(y, X, starts)[0]

    def _full_rows(self, starts: Sequence[int], n_rows: int) -> tuple[IntArray, tuple[int, ...]]:
        """The rows that have all their inputs, and the first of each sequence among them."""
        context = self._layout.context
        sequences = [
            np.arange(start + context, stop)
            for start, stop in pairwise([*starts, n_rows])
            if start + context < stop
        ]
        first = np.cumsum([0, *(len(sequence) for sequence in sequences)])[:-1]
        return np.concatenate([np.empty(0, int), *sequences]), tuple(int(row) for row in first)

    def _trainer(self, changes: Mapping[str, Any] | None = None) -> Trainer:
        options = {
            "initialization": self.initialization,
            "n_jobs": self.n_jobs,
            "max_iter": self.max_iter,
            "tolerance": self.tol,
            **(self.solver_options or {}),
            **(changes or {}),
        }
        return Trainer(
            layout=self._layout,
            sigma=get_activation(self.activation),
            hidden_size=self.hidden_size,
            linear_skip=self.linear_skip,
            n_init=self.n_init,
            ensemble=self.ensemble,
            held_out_share=self.validation_fraction if self.early_stopping else 0.0,
            n_iter_no_change=self.n_iter_no_change,
            random_state=self.random_state,
            method=self.method,
            options=options,
        )

    def _choose_penalties(self, rows: Rows, steps: Sequence[int]) -> Penalties:
        return self._trainer().choose_penalties(
            rows, self.alpha, self.skip_alpha, self.alpha_rule, steps
        )

    def _train(
        self,
        rows: Rows,
        penalties: Penalties,
        initial: Sequence[ElmanParameters] | None,
        changes: Mapping[str, Any] | None = None,
    ) -> Fit:
        n_iterations = self.max_iter * (len(initial) if initial else self.n_init)
        with watching(self.verbose, n_iterations, self.callback) as callback:
            fit = self._trainer(changes).train(rows, penalties, initial, callback)
        if not (changes and "max_iter" in changes and fit.result.status is Status.MAX_ITER):
            self._warn_unless_converged(fit.result)
        return fit

    def _model_of(
        self, networks: tuple[ElmanParameters, ...], y_scaler: Standardizer, X_scaler: Standardizer
    ) -> Model:
        bounds = bounds_of(y_scaler.transform(self._seen_y.to_numpy()))
        return Model(
            self._layout,
            get_activation(self.activation),
            y_scaler,
            X_scaler,
            networks,
            self.ensemble or "mean",
            bounds,
        )

    def _outcomes(self, fh: ForecastingHorizon, X: pd.DataFrame | None) -> list[Array]:
        """For each time of fh a sample of y, of shape (n, m)."""
        steps, point = self._steps(fh), self._predict(fh, X).to_numpy()
        if self.interval_method == "bootstrap" and steps.max() > 0:
            scaler = self._model.y_scaler
            noise = draw_noise(self._errors[0] / scaler.scale, steps.max(), self._seed)
            states, past, exogenous = self._situation(fh, X, steps.max())
            paths = self._model.paths(states, past, exogenous, noise)
            self._check_finite(paths)
            paths = scaler.inverse_transform(stretched(paths, self._stretch))
            future = [paths[:, step - 1] for step in steps if step > 0]
        else:
            self._check_calibrated(steps.max())
            future = [
                value + self._errors[step - 1]
                for step, value in zip(steps, point, strict=True)
                if step > 0
            ]
        fitted = [value + self._errors[0] for value in point[steps <= 0]]
        return fitted + future  # as the steps of fh, which are in order

    def _check_calibrated(self, step: int) -> None:
        if step > len(self._errors):
            raise ValueError(
                f"fh must reach at most {len(self._errors)} steps ahead for quantiles with "
                f"interval_method='conformal', which calibrated no more; found a step of {step}"
            )

    def _check_finite(self, paths: Array) -> None:
        is_finite = np.isfinite(paths)
        if not is_finite.all():
            step = int(np.argmin(is_finite.all(axis=(0, 2)))) + 1
            raise ValueError(
                f"the forecasts overflow at step {step} of fh: the trained recurrence is unstable; "
                f"fit with method='safeguarded' (found {self.method!r}) or a larger alpha (found "
                f"{self.alpha!r})"
            )

    def _warn_unless_converged(self, result: ALMResult) -> None:
        """Say why training ended early, and what would help."""
        if result.status in (
            Status.CONVERGED,
            Status.AT_REST,
            Status.CALLBACK,
            Status.EARLY_STOPPED,
        ):
            return
        if result.status is Status.INTERRUPTED:
            advice = "The best network so far is kept."
        elif result.status is Status.NON_FINITE:
            advice = "Set a smaller initial_penalty in solver_options, or a larger alpha."
        elif self.method == "safeguarded":
            advice = "Raise max_iter, or patience in solver_options."
        elif result.certificate.relative_feasibility <= self.tol:
            advice = (
                "The constraints hold but the point is not stationary: the penalty grew faster "
                "than the sweeps could follow. Set a smaller initial_penalty, a smaller "
                "penalty_update_factor or a larger max_inner_iter in solver_options."
            )
        else:
            advice = "Raise max_iter, or max_inner_iter in solver_options."
        # no numbers: Python shows a warning of one text once, not once a fit
        warnings.warn(
            f"Training did not converge to tol={self.tol:g}. {result.status} {advice} "
            "The attribute certificate_ says how far it got.",
            ConvergenceWarning,
            stacklevel=2,
        )

    def _scaler(self, data: pd.DataFrame) -> Standardizer:
        if self.standardize:
            return Standardizer.fit(data.to_numpy())
        return Standardizer.identity(data.shape[1])

    def _seen_inputs(self) -> Array:
        """Standardised network inputs of the rows seen."""
        y, X = self._seen_y.to_numpy(), self._seen_X.to_numpy()
        return self._model.inputs(y, X, self._starts)

    def _all_states(self, inputs: Array) -> list[Array]:
        """Hidden states of the rows seen; they start anew at the first full row of a sequence."""
        full, first = self._full_rows(self._starts, len(inputs))
        return self._model.states(inputs, sorted({*self._starts, *full[list(first)].tolist()}))

    def _fitted(self) -> Array:
        """Forecasts of the rows seen, one step ahead each, standardised."""
        self._check_training_rows("an in-sample prediction")
        inputs = self._seen_inputs()
        outputs = self._model.outputs(inputs, self._all_states(inputs))
        return np.clip(self._model.combined(outputs), *self._model.bounds)

    def _advanced(self, n_before: int) -> list[Array]:
        """Hidden states after the rows from ``n_before`` on, which follow the present ones."""
        context = self._layout.context
        if self._starts[-1] + context >= n_before:
            # they start anew within these rows
            return [states[-1] for states in self._all_states(self._seen_inputs())]
        first = n_before - context
        y = self._last_sequence()[first - self._starts[-1] :].to_numpy()
        inputs = self._model.inputs(y, self._seen_X.to_numpy()[first:], (0,))[context:]
        return [states[-1] for states in self._model.states(inputs, (0,), self._hidden_states)]

    def _last_sequence(self) -> pd.DataFrame:
        """y since the last gap, the last value before a missing one in its place."""
        return self._seen_y[self._starts[-1] :].ffill()

    def _states_after(self, origin: int) -> list[Array]:
        """Hidden states with which the networks go on from row ``origin``."""
        start = max(start for start in self._starts if start <= origin)
        if origin + 1 == start + self._layout.context:
            # they start anew at the first full row
            return [np.zeros_like(state) for state in self._hidden_states]
        if origin == len(self._seen_y) - 1:
            return self._hidden_states
        self._check_training_rows("a prediction from an earlier cutoff")
        return [states[origin] for states in self._all_states(self._seen_inputs())]

    def _steps(self, fh: ForecastingHorizon) -> Array:
        """Steps of fh ahead of the cutoff; 0 and less are in-sample."""
        return np.asarray(fh.to_relative(self.cutoff), dtype=int)

    def _steps_ahead(self, fh: ForecastingHorizon | None) -> tuple[int, ...]:
        """The steps by which penalties are judged: those of fh, or 1 if it has none."""
        steps = () if fh is None else self._steps(fh)
        return tuple(int(step) for step in steps if step > 0) or (1,)

    def _rows_of_times(self, times: pd.Index) -> Array:
        """The rows of in-sample times."""
        rows = self._seen_y.index.get_indexer(times)
        if (rows < 0).any():
            index = self._seen_y.index
            raise ValueError(
                f"fh must name times of the training window, {index[0]} to {index[-1]}, or later "
                f"ones; not seen: {listed(times[rows < 0])}"
            )
        return rows

    def _situation(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, n_steps: int
    ) -> tuple[list[Array], Array, Array]:
        """What forecasts from the cutoff on start from: hidden states, past y, inputs from X."""
        origin = int(self._seen_y.index.get_loc(self.cutoff[0]))
        times = ForecastingHorizon(
            np.arange(1, n_steps + 1), is_relative=True, freq=fh.freq
        ).to_absolute_index(self.cutoff)
        start = max(start for start in self._starts if start <= origin)
        past = self._model.y_scaler.transform(self._seen_y.to_numpy()[start : origin + 1])
        return self._states_after(origin), past, self._future_inputs(start, origin, X, times)

    def _future_inputs(
        self, start: int, origin: int, X: pd.DataFrame | None, times: pd.Index
    ) -> Array:
        """Standardised inputs from X of ``times``, which follow rows ``start`` to ``origin``."""
        lags = self._layout.exog_lags
        n_needed = max(len(times) - min(lags), 0)
        # no lag reaches the last rows: what stands there is never read
        future = self._select_X(X, times[:n_needed], "predict").reindex(times)
        seen = self._seen_X.iloc[max(origin + 1 - max(lags), start) : origin + 1]
        known = np.vstack([seen.to_numpy(), future.to_numpy()])
        return lag_matrix(self._model.X_scaler.transform(known), lags)[-len(times) :]

    def _check_training_rows(self, purpose: str) -> None:
        if not self._has_training_rows:
            raise ValueError(
                f"{purpose} needs the training rows, which this forecaster was saved without; "
                "use save(..., training_rows=True)"
            )

    def _without_training_rows(self) -> ALMElmanForecaster:
        """A copy that forecasts alike and is small."""
        kept = copy.copy(self)
        if getattr(self, "_is_vectorized", False):
            each = self.forecasters_.map(ALMElmanForecaster._without_training_rows)
            kept.forecasters_ = each
            return kept
        if hasattr(self, "pretrained_"):
            kept.pretrained_ = self.pretrained_.without_states()
        if not self.is_fitted:
            return kept
        # one row more than inputs reach back, lest the sequence seem to begin there
        n_kept = self._layout.context + 1
        first = max(len(self._seen_y) - n_kept, self._starts[-1])
        kept._seen_y = self._last_sequence()[first - self._starts[-1] :]
        kept._seen_X = self._seen_X[first:]
        kept._starts = (0,)
        kept.result_ = self.result_.without_states()
        kept._has_training_rows = False
        return kept

    def _select_X(self, X: pd.DataFrame | None, times: pd.Index, caller: str) -> pd.DataFrame:
        """Rows of X by label, with the columns of ``fit``: none if fitted without X."""
        if self._seen_X.columns.empty:
            if X is not None:
                raise ValueError(
                    f"X was passed to {caller}, but the forecaster was fitted without X; found "
                    f"columns {list(X.columns)}"
                )
            return pd.DataFrame(index=times)
        if X is None and times.empty:
            return self._seen_X[:0]
        if X is None:
            raise ValueError(
                f"X must be passed to {caller}, since the forecaster was fitted with X: "
                f"columns {list(self._seen_X.columns)} at {listed(times)}"
            )
        check_columns(X.columns, self._seen_X.columns, "X")
        missing = times.difference(X.index, sort=False)
        if len(missing):
            raise ValueError(
                f"X passed to {caller} must have a row for every time after the cutoff up to the "
                f"last one needed, since the hidden state runs through all of them; missing "
                f"{listed(missing)}, found rows from {X.index.min()} to {X.index.max()}. In "
                f"evaluate, pass cv_X; to do without X of the times ahead, set exog_lags to the "
                f"steps ahead"
            )
        return as_floats(X.loc[times, self._seen_X.columns], "X")

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
                "linear_skip": False,
                "alpha": 0.1,
                "initialization": "glorot",
                "n_init": 2,
                "ensemble": "median",
                "standardize": False,
                **quick,
            },
            {"hidden_size": 2, "early_stopping": True, **quick},
        ]


@dataclass(frozen=True, eq=False)
class _Pretrained:
    """What a panel has taught: networks in the standardised units of each series."""

    layout: InputLayout
    y_columns: pd.Index
    X_columns: pd.Index | None
    penalties: Penalties
    # whether the errors of the fit are those of the models that chose the penalties
    is_judged: bool
    fit: Fit

    def without_states(self) -> _Pretrained:
        """The same without what grows with the rows of the panel, but for the errors."""
        result = self.fit.result.without_states()
        return replace(self, fit=self.fit._replace(result=result))

    def check(self, layout: InputLayout, y: pd.DataFrame, X: pd.DataFrame | None) -> None:
        """Refuse a series that the networks do not fit."""
        if layout != self.layout:
            raise ValueError(
                f"lags, window_means and exog_lags must be those of pretrain, {self.layout}; "
                f"found {layout}"
            )
        # columns of other names are taken by their place, but names must not change theirs
        is_known = not set(y.columns).isdisjoint(self.y_columns)
        has_changed = is_known and list(y.columns) != list(self.y_columns)
        if y.shape[1] != len(self.y_columns) or has_changed:
            raise ValueError(
                f"y must have the columns of pretrain, {list(self.y_columns)}, in their order; "
                f"found {list(y.columns)}"
            )
        if (X is None) != (self.X_columns is None):
            passed = "without X" if self.X_columns is None else "with X"
            raise ValueError(f"X must be passed as in pretrain, which was called {passed}")
        if X is not None:
            check_columns(X.columns, self.X_columns, "X", "pretrain")


def _calibrated(errors: Sequence[Array]) -> list[Array]:
    """The errors of the first steps, as long as there are enough of them."""
    enough = takewhile(lambda of_step: len(of_step) >= MIN_ERRORS, errors)
    return [as_independent(of_step, step) for step, of_step in enumerate(enough, start=1)]
