"""The sktime forecaster: pandas and forecasting horizons around the array core."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon

from sktime_alm.features import InputLayout, Standardizer, change_units, lag_matrix
from sktime_alm.intervals import (
    MIN_ERRORS,
    as_new_errors,
    draw_noise,
    effective_parameters,
    n_calibrated,
    quantiles,
    rolling_errors,
)
from sktime_alm.progress import watching
from sktime_alm.solver import (
    ALMResult,
    ALMSettings,
    Certificate,
    ElmanParameters,
    Regularization,
    Status,
    train,
)
from sktime_alm.solver._typing import Array
from sktime_alm.solver._validation import check_choice, check_count, check_nonnegative
from sktime_alm.solver.activations import Activation, get_activation
from sktime_alm.solver.elman import rollout
from sktime_alm.solver.result import Callback
from sktime_alm.solver.training import seed_sequence


class ALMElmanForecaster(BaseForecaster):
    r"""Elman recurrent network trained by an augmented Lagrangian method.

    .. math:: u_t = W h_{t-1} + V x_t + b, \quad h_t = \sigma(u_t), \quad
              \hat y_t = A h_t + c

    The inputs x_t are past values of y (``lags``), averages of them (``window_means``)
    and exogenous X (``exog_lags``). The weights are not found by backpropagation: training
    is written as a constrained problem in the weights, the hidden states and the
    pre-activations, and solved by an augmented Lagrangian method whose subproblems are
    minimised block by block in closed form [1]_.

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
    alpha : float, default=1.0
        Strength of the l2 penalties, spread over the weights as in the paper's Table 2
        (its tau): each matrix is penalised by alpha over its number of entries.
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
        Number of random starts; the best is kept.
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
        The trained weights, in standardised units if ``standardize``.
    result_ : ALMResult
        History, status, certificate and last iterate of the training.
    n_iter_ : int
        Outer iterations of the training.
    objective_ : float
        The penalised training objective (2.6) of ``parameters_``.
    certificate_ : Certificate
        How far training ended from an optimal (KKT) point: stationarity and feasibility.

    Raises
    ------
    ValueError, TypeError
        In ``fit``: a parameter out of its range, y or X of its times not finite, time steps
        missing within y, fewer rows than the longest lag or window + 2 (or, to calibrate
        ``interval_method="conformal"``, + 57), ``exog_lags``
        without X, or no inputs (``lags=0`` without window means and X). In ``predict`` and
        ``update``: X missing or not finite at a time needed (for ``update``, at all times
        of y), or with other columns than in ``fit``; rows missing between the last time
        seen and y.

    Warns
    -----
    ConvergenceWarning
        If training ended before the KKT residuals reached ``tol`` although it could have
        gone on; it says what to change.

    Notes
    -----
    An interrupt (Ctrl-C) during training ends it with the best network so far, fitted
    and usable, and a warning.

    ``update(update_params=False)`` runs the hidden state over the new rows.
    ``update(update_params=True)`` trains on all rows seen, from the present weights.
    Rows of times already seen are ignored.

    The first rows, which lack some of their inputs, are left out of training. In-sample
    predictions are those of one step ahead; for the first rows the values before the
    series are taken to be at the training mean (at 0 if not ``standardize``).

    **Quantiles, intervals and variances** need the same X as ``predict``. They are those of
    a sample of outcomes. "bootstrap" simulates 2000 paths of the network run on its own
    outputs, to each of which it adds a row of the training errors, drawn with replacement
    and for all outputs together. These are centred, and inflated by sqrt(T / (T - p)) for
    the p degrees of freedom that training took of the T rows: those of the ridge regression
    of the readout on the hidden states. What the hidden layer took is not counted, nor is
    that the weights are estimates or that the series may change: its 90 % intervals of
    monthly volatility held 73 to 85 % of the values of later years. Check yours in a
    backtest. "conformal" makes no model of the errors: a network trained on the first two
    thirds of the rows forecasts the rest, with X as it was, from each row on; the errors h
    steps ahead are added to the forecast h steps ahead. It is at most a fit more,
    calibrates no more than 120 steps, each on 19 errors at least, and a quantile further
    out than its errors reach is the largest of them. Where the shorter network runs away on
    rows that it has not seen, the intervals are too wide to be of use; a larger ``alpha``
    or fewer inputs prevent it. ``update(update_params=True)``
    collects the errors anew, ``update_params=False`` keeps them. In-sample the errors of
    one step are added to the fitted value. ``predict_proba`` is the normal distribution
    with the forecast and this variance.

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
        # y must be complete; X only where it is needed, which sktime cannot know: we check
        "capability:missing_values": True,
        "capability:categorical_in_X": False,
        "capability:insample": True,
        "capability:pred_int": True,
        "capability:pred_int:insample": True,
        "capability:update": True,
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
    result_: ALMResult
    n_iter_: int
    objective_: float
    certificate_: Certificate
    _y_scaler: Standardizer
    _X_scaler: Standardizer
    _layout: InputLayout
    _hidden_state: Array
    # errors in the units of y: those of one step ahead, and of more where these are calibrated
    _errors: list[Array]
    _seed: int

    def __init__(
        self,
        hidden_size: int = 8,
        activation: str | Activation = "relu",
        lags: int | Sequence[int] = 1,
        window_means: Sequence[int] | None = None,
        exog_lags: int | Sequence[int] | None = None,
        alpha: float = 1.0,
        method: str = "safeguarded",
        initialization: str | float = "normal",
        max_iter: int = 100,
        tol: float = 1e-5,
        n_init: int = 1,
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
        self.alpha = alpha
        self.method = method
        self.initialization = initialization
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
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
        self._check_arguments()
        self._layout = InputLayout.from_arguments(self.lags, self.window_means, self.exog_lags)
        self._check_inputs(len(y), X)
        self._frequency = _frequency(y.index)
        _check_consecutive(y.index, self._frequency)
        self._seen_y = _as_finite_floats(y, "y")
        self._seen_X = pd.DataFrame(index=y.index)
        if X is not None:
            self._seen_X = _as_finite_floats(X.loc[y.index], "X")
        self._scale_and_train()
        self._seed = int(seed_sequence(self.random_state).generate_state(1, np.uint64)[0])
        return self

    def _predict(self, fh: ForecastingHorizon, X: pd.DataFrame | None) -> pd.DataFrame:
        steps, origin = self._steps(fh), self._origin()
        if origin + steps.min() < 0:
            raise ValueError(
                f"fh must not reach before the training window, which begins at "
                f"{self._seen_y.index[0]}; found a step of {steps.min()} from {self.cutoff[0]}"
            )
        in_sample = steps <= 0
        values = np.empty((len(steps), self._seen_y.shape[1]))
        if in_sample.any():
            fitted = self.parameters_.outputs(self._hidden_states(origin + 1))
            values[in_sample] = fitted[origin + steps[in_sample]]
        if not in_sample.all():
            noise = np.zeros((1, steps.max(), values.shape[1]))
            forecasts = self._simulate(fh, X, noise)[0]
            values[~in_sample] = forecasts[steps[~in_sample] - 1]
        return pd.DataFrame(
            self._y_scaler.inverse_transform(values),
            index=fh.to_absolute_index(self.cutoff),
            columns=self._seen_y.columns,
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
        try:
            new_y, new_X = self._new_rows(y, X)
        except (TypeError, ValueError):
            # sktime has moved the cutoff already; a refused update must change nothing
            self._set_cutoff_from_y(self._seen_y)
            raise
        if new_y.empty:
            return self
        n_before = len(self._seen_y)
        self._seen_y = pd.concat([self._seen_y, new_y])
        self._seen_X = pd.concat([self._seen_X, new_X])
        if update_params:
            self._scale_and_train(initial=self.parameters_)
        else:
            self._hidden_state = self._advance(n_before)
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

    def _new_rows(
        self, y: pd.DataFrame, X: pd.DataFrame | None
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows of y and X after the last one seen, which must follow it without a gap."""
        new_y = y.loc[y.index > self._seen_y.index[-1]]
        if new_y.empty:
            return new_y, self._seen_X[:0]
        if new_y.shape[1] == self._seen_y.shape[1] == 1:
            new_y = new_y.set_axis(self._seen_y.columns, axis=1)  # a series need keep no name
        _check_columns(new_y.columns, self._seen_y.columns, "y")
        new_y = _as_finite_floats(new_y[self._seen_y.columns], "y")
        _check_consecutive(self._seen_y.index[-1:].append(new_y.index), self._frequency)
        return new_y, self._select_X(X, new_y.index, "update")

    def _check_arguments(self) -> None:
        """Refuse what the solver does not see, or sees by another name."""
        check_count(self.verbose, "verbose", minimum=0)
        check_count(self.max_iter, "max_iter")
        check_count(self.n_init, "n_init")
        check_nonnegative(self.tol, "tol")
        check_choice(self.interval_method, "interval_method", ("bootstrap", "conformal"))
        if not isinstance(self.standardize, (bool, np.bool_)):
            raise TypeError(f"standardize must be True or False, found {self.standardize!r}")
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

    def _check_inputs(self, n_rows: int, X: pd.DataFrame | None) -> None:
        """Refuse lags of an X that is not there, a network without inputs, and too few rows."""
        layout = self._layout
        if X is None and self.exog_lags is not None:
            raise ValueError(f"exog_lags={self.exog_lags!r} are lags of X, but fit was passed no X")
        if X is None and layout.memory == 0:
            raise ValueError(
                f"lags={self.lags!r} leaves the network without inputs; pass X, or use lags or "
                "window_means"
            )
        if n_rows < layout.context + 2:
            name = layout.longest()
            raise ValueError(
                f"y must have at least {name} + 2 = {layout.context + 2} rows, found {n_rows}; "
                f"{name}={getattr(self, name)!r} reaches {layout.context} rows back"
            )
        n_needed = layout.context + 3 * MIN_ERRORS
        if self.interval_method == "conformal" and n_rows < n_needed:
            raise ValueError(
                f"y must have at least {n_needed} rows for interval_method='conformal', which "
                f"calibrates on {MIN_ERRORS} errors or more, found {n_rows}"
            )

    def _scale_and_train(self, initial: ElmanParameters | None = None) -> None:
        """Fit the scalers and the network to all rows seen."""
        if initial is not None:
            before = self._layout.scaler(self._y_scaler, self._X_scaler), self._y_scaler
        self._y_scaler = self._scaler(self._seen_y)
        self._X_scaler = self._scaler(self._seen_X)
        if initial is not None:
            now = self._layout.scaler(self._y_scaler, self._X_scaler), self._y_scaler
            initial = change_units(initial, *zip(before, now, strict=True))

        inputs, targets = self._inputs(), self._y_scaler.transform(self._seen_y.to_numpy())
        # the first rows lack lags, and would teach the network that y begins at its mean
        first = self._layout.context
        self.result_ = self._train(inputs[first:], targets[first:], initial)
        self.parameters_ = self.result_.parameters
        self.n_iter_ = self.result_.n_iter
        self.objective_ = self.result_.objective
        self.certificate_ = self.result_.certificate
        states = self._hidden_states(len(self._seen_y))
        self._hidden_state = states[-1]
        if self.interval_method == "conformal":
            self._errors = self._calibrated_errors()
        else:
            self._errors = [self._training_errors(states[first:], targets[first:])]

    def _training_errors(self, states: Array, targets: Array) -> Array:
        """Errors one step ahead of the rows trained on, as large as those on new rows."""
        p = self.parameters_
        penalties = Regularization.scaled(self.alpha, p.n_inputs, p.hidden_size, p.n_outputs)
        n_parameters = effective_parameters(states, penalties.of_readout(p.hidden_size))
        errors = as_new_errors(targets - p.outputs(states), n_parameters)
        return errors * self._y_scaler.scale

    def _calibrated_errors(self) -> list[Array]:
        """Errors of each number of steps ahead, of a network that has not seen their rows."""
        y, X = self._seen_y, None if self._seen_X.columns.empty else self._seen_X
        n_train, n_steps = n_calibrated(len(y) - self._layout.context)
        first = self._layout.context + n_train
        earlier = self.clone().set_params(interval_method="bootstrap", callback=None, verbose=0)
        earlier.fit(y[:first], None if X is None else X[:first])
        earlier.update(y, X, update_params=False)
        errors = rolling_errors(
            self._layout,
            earlier.parameters_,
            get_activation(self.activation),
            earlier._hidden_states(len(y)),
            earlier._y_scaler.transform(y.to_numpy()),
            lag_matrix(
                earlier._X_scaler.transform(self._seen_X.to_numpy()), self._layout.exog_lags
            ),
            first,
            n_steps,
        )
        return [error * earlier._y_scaler.scale for error in errors]

    def _outcomes(self, fh: ForecastingHorizon, X: pd.DataFrame | None) -> list[Array]:
        """For each time of fh a sample of y, of shape (n, m)."""
        steps, point = self._steps(fh), self._predict(fh, X).to_numpy()
        if self.interval_method == "bootstrap" and steps.max() > 0:
            noise = draw_noise(self._errors[0] / self._y_scaler.scale, steps.max(), self._seed)
            paths = self._y_scaler.inverse_transform(self._simulate(fh, X, noise))
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

    def _train(self, X: Array, Y: Array, initial: ElmanParameters | None) -> ALMResult:
        options = {"max_iter": self.max_iter, "tolerance": self.tol, **(self.solver_options or {})}
        arguments = {
            "hidden_size": self.hidden_size,
            "alpha": self.alpha,
            "activation": self.activation,
            "initialization": self.initialization,
            "n_init": self.n_init,
            "random_state": self.random_state,
            "n_jobs": self.n_jobs,
            "method": self.method,
            "initial": initial,
            **options,
        }
        n_iterations = self.max_iter * (1 if initial else self.n_init)
        with watching(self.verbose, n_iterations, self.callback) as callback:
            result = train(X, Y, callback=callback, **arguments)
        self._warn_unless_converged(result)
        return result

    def _warn_unless_converged(self, result: ALMResult) -> None:
        """Say why training ended early, and what would help."""
        if result.status in (Status.CONVERGED, Status.AT_REST, Status.CALLBACK):
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

    def _inputs(self, first: int = 0) -> Array:
        """Standardised network inputs of the rows seen, from row ``first`` on."""
        # inputs of the first row wanted reach back before it
        start = max(first - self._layout.context, 0)
        y = self._y_scaler.transform(self._seen_y.to_numpy()[start:])
        X = self._X_scaler.transform(self._seen_X.to_numpy()[start:])
        return self._layout.rows(y, X)[first - start :]

    def _future_inputs(self, origin: int, X: pd.DataFrame | None, times: pd.Index) -> Array:
        """Standardised exogenous inputs of ``times``, which follow row ``origin``."""
        lags = self._layout.exog_lags
        n_needed = max(len(times) - min(lags), 0)
        # no lag reaches the last rows: what stands there is never read
        future = self._select_X(X, times[:n_needed], "predict").reindex(times)
        seen = self._seen_X.iloc[max(origin + 1 - max(lags), 0) : origin + 1]
        known = np.vstack([seen.to_numpy(), future.to_numpy()])
        return lag_matrix(self._X_scaler.transform(known), lags)[-len(times) :]

    def _hidden_states(self, n_rows: int) -> Array:
        """Hidden states of the first rows seen; the state starts anew at the first full row."""
        starts = (0, self._layout.context) if 0 < self._layout.context < n_rows else (0,)
        sigma = get_activation(self.activation)
        return rollout(self.parameters_, sigma, self._inputs()[:n_rows], starts)[1]

    def _advance(self, n_before: int) -> Array:
        """Hidden state after the rows from ``n_before`` on, which follow the present state."""
        sigma = get_activation(self.activation)
        inputs = self._inputs(first=n_before)
        return rollout(self.parameters_, sigma, inputs, initial_state=self._hidden_state)[1][-1]

    def _state_after(self, origin: int) -> Array:
        """Hidden state with which the network goes on from row ``origin``."""
        if origin == len(self._seen_y) - 1:
            return self._hidden_state
        if origin + 1 == self._layout.context:
            return np.zeros_like(self._hidden_state)  # it starts anew at the first full row
        return self._hidden_states(origin + 1)[-1]

    def _steps(self, fh: ForecastingHorizon) -> Array:
        """Steps of fh ahead of the cutoff; 0 and less are in-sample."""
        return np.asarray(fh.to_relative(self.cutoff), dtype=int)

    def _origin(self) -> int:
        """The row of the cutoff."""
        return self._seen_y.index.get_loc(self.cutoff[0])

    def _simulate(self, fh: ForecastingHorizon, X: pd.DataFrame | None, noise: Array) -> Array:
        """Standardised paths from the cutoff on, of the shape of the noise that is added."""
        origin = self._origin()
        times = ForecastingHorizon(
            np.arange(1, noise.shape[1] + 1), is_relative=True, freq=fh.freq
        ).to_absolute_index(self.cutoff)
        exogenous = self._future_inputs(origin, X, times)
        first = max(origin + 1 - self._layout.memory, 0)
        y = self._y_scaler.transform(self._seen_y.to_numpy()[first : origin + 1])
        sigma, state = get_activation(self.activation), self._state_after(origin)
        paths = self._layout.simulate(self.parameters_, sigma, state, y, exogenous, noise)
        if not np.isfinite(paths).all():
            step = int(np.argmin(np.isfinite(paths).all(axis=(0, 2)))) + 1
            raise ValueError(
                f"the forecasts overflow at step {step} of fh: the trained recurrence is unstable; "
                f"fit with a larger alpha (found {self.alpha!r})"
            )
        return paths

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
                f"columns {list(self._seen_X.columns)} at {_listed(times)}"
            )
        _check_columns(X.columns, self._seen_X.columns, "X")
        missing = times.difference(X.index, sort=False)
        if len(missing):
            raise ValueError(
                f"X passed to {caller} must have a row for every time after the cutoff up to the "
                f"last one needed, since the hidden state runs through all of them; missing "
                f"{_listed(missing)}"
            )
        return _as_finite_floats(X.loc[times, self._seen_X.columns], "X")

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Parameters for sktime's estimator checks: small and quick to fit."""
        quick = {"max_iter": 2, "solver_options": {"max_inner_iter": 2}, "random_state": 0}
        return [
            {"hidden_size": 2, **quick},
            {
                "hidden_size": 3,
                "activation": "elu",
                "lags": [2],
                "window_means": (1, 3),
                "alpha": 0.1,
                "initialization": "glorot",
                "n_init": 2,
                "standardize": False,
                **quick,
            },
        ]


def _as_finite_floats(data: pd.DataFrame, name: str) -> pd.DataFrame:
    """The frame as doubles; an error names the first value that is not finite."""
    data = data.astype(float)
    is_finite = np.isfinite(data.to_numpy())
    if not is_finite.all():
        row, column = np.argwhere(~is_finite)[0]
        raise ValueError(
            f"{name} must be finite, found {data.iloc[row, column]} in column "
            f"{data.columns[column]!r} at {data.index[row]}"
        )
    return data


def _check_columns(found: pd.Index, expected: pd.Index, name: str) -> None:
    """Refuse a frame whose columns are not those of fit, in whatever order."""
    missing = expected.difference(found, sort=False)
    unknown = found.difference(expected, sort=False)
    if len(missing) or len(unknown):
        raise ValueError(
            f"{name} must have the columns of fit, {list(expected)}; missing {list(missing)}, "
            f"unknown {list(unknown)}"
        )


def _frequency(index: pd.Index) -> pd.DateOffset | None:
    """The step between time stamps; None for periods and integers, which carry their own."""
    if not isinstance(index, pd.DatetimeIndex):
        return None
    frequency = index.freq
    if frequency is None and len(index) >= 3:
        frequency = pd.infer_freq(index)
    if frequency is None:
        raise ValueError(
            "y must have a DatetimeIndex with a frequency, or horizons have no meaning; found "
            "irregular time stamps. Use y.asfreq(...) and sktime's Imputer, a PeriodIndex, or "
            "y.reset_index(drop=True) to count observations"
        )
    return pd.tseries.frequencies.to_offset(frequency)


def _check_consecutive(index: pd.Index, frequency: pd.DateOffset | None) -> None:
    """Refuse missing time steps."""
    if frequency is None:
        following = index[:-1] + 1
    else:
        following = pd.date_range(index[0], periods=len(index), freq=frequency)[1:]
    is_gap = index[1:] != following
    if is_gap.any():
        at = int(np.argmax(is_gap))
        raise ValueError(
            f"y must have one row for every time step; after {index[at]} comes {index[at + 1]}. "
            "Fill a gap for instance with y.asfreq(...) and sktime's Imputer"
        )


def _listed(times: pd.Index) -> str:
    """The first few times, in words."""
    shown = ", ".join(str(time) for time in times[:5])
    return shown if len(times) <= 5 else f"{shown} and {len(times) - 5} more"
