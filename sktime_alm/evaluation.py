"""Losses and tests that compare volatility forecasts; statsmodels and arch are imported on use.

References
----------
Campbell, J. Y. and Thompson, S. B. (2008). Predicting excess stock returns out of sample: can
anything beat the historical average? Review of Financial Studies 21, 1509-1531.

Diebold, F. X. and Mariano, R. S. (1995). Comparing predictive accuracy. Journal of Business &
Economic Statistics 13, 253-263.

Hansen, P. R., Lunde, A. and Nason, J. M. (2011). The model confidence set. Econometrica 79,
453-497.

Harvey, D., Leybourne, S. and Newbold, P. (1997). Testing the equality of prediction mean squared
errors. International Journal of Forecasting 13, 281-291.

Mincer, J. and Zarnowitz, V. (1969). The evaluation of economic forecasts. In Economic Forecasts and
Expectations, NBER, 3-46.

Patton, A. J. (2011). Volatility forecast comparison using imperfect volatility proxies. Journal of
Econometrics 160, 246-256.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import t as student_t
from sktime.performance_metrics.forecasting._base import BaseForecastingErrorMetric

from sktime_alm.solver._typing import Array
from sktime_alm.solver._validation import (
    check_array,
    check_choice,
    check_count,
    check_matrix,
    check_nonnegative,
    check_number,
)

__all__ = [
    "QLIKE",
    "DieboldMariano",
    "MincerZarnowitz",
    "diebold_mariano",
    "mincer_zarnowitz",
    "model_confidence_set",
    "out_of_sample_r2",
    "variance_from_log_volatility",
]

# differences below this share of the largest value are rounding, not evidence
_ROUNDING = 1e-10


class QLIKE(BaseForecastingErrorMetric):
    """The QLIKE loss of variance forecasts (Patton 2011), an sktime metric.

    The mean over time of ``v/f - log(v/f) - 1`` for variances v and their forecasts f: 0 for
    perfect forecasts, positive otherwise, without a unit. It ranks forecasts as the true variance
    would, even where v is a noisy proxy of it.

    Parameters
    ----------
    scale : {"variance", "volatility", "log_volatility"}, default="variance"
        What the series are: v, its square root or the logarithm of its square root.
    residual_variance : float, default=0
        With ``scale="log_volatility"`` only: the variance s^2 of the errors of the log forecast g.
        The variance forecast is then the mean of a lognormal variable, ``exp(2 g + 2 s^2)``.
    multioutput, multilevel, by_index
        Means over series, levels and time, as in every metric of sktime.

    Raises
    ------
    ValueError
        On use: values that are not finite, a variance or volatility that is not above 0, an
        argument out of its range. ``evaluate`` of sktime makes of it its ``error_score``.

    Examples
    --------
    >>> import numpy as np
    >>> from sktime_alm.evaluation import QLIKE
    >>> variance, forecast = np.array([1.0, 4.0]), np.array([2.0, 4.0])
    >>> print(f"{QLIKE()(variance, forecast):.4f}")
    0.0966
    >>> print(f"{QLIKE(scale='volatility')(np.sqrt(variance), np.sqrt(forecast)):.4f}")
    0.0966
    """

    def __init__(
        self,
        scale: str = "variance",
        residual_variance: float = 0.0,
        multioutput: Any = "uniform_average",
        multilevel: str = "uniform_average",
        by_index: bool = False,
    ) -> None:
        self.scale = scale
        self.residual_variance = residual_variance
        super().__init__(multioutput=multioutput, multilevel=multilevel, by_index=by_index)

    def _evaluate(self, y_true: pd.DataFrame, y_pred: pd.DataFrame, **kwargs: Any) -> Any:
        losses = self._losses(y_true, y_pred, **kwargs)
        return self._handle_multioutput(losses.mean(), self.multioutput)

    def _evaluate_by_index(self, y_true: pd.DataFrame, y_pred: pd.DataFrame, **kwargs: Any) -> Any:
        return self._handle_multioutput(self._losses(y_true, y_pred, **kwargs), self.multioutput)

    def _losses(self, y_true: pd.DataFrame, y_pred: pd.DataFrame, **kwargs: Any) -> pd.DataFrame:
        check_choice(self.scale, "scale", ("variance", "volatility", "log_volatility"))
        correction = 2.0 * check_nonnegative(self.residual_variance, "residual_variance")
        if correction and self.scale != "log_volatility":
            raise ValueError(
                "residual_variance must be 0 unless scale is 'log_volatility', found "
                f"{self.residual_variance!r} with scale={self.scale!r}"
            )
        log_forecast = self._log_variance(y_pred, "y_pred") + correction
        log_ratio = self._log_variance(y_true, "y_true") - log_forecast
        # expm1 keeps the digits of nearly perfect forecasts; hopeless ones may lose infinitely much
        with np.errstate(over="ignore"):
            losses = np.expm1(log_ratio) - log_ratio
        return self._get_weighted_df(pd.DataFrame(losses, y_true.index, y_true.columns), **kwargs)

    def _log_variance(self, y: pd.DataFrame, name: str) -> Array:
        values = check_matrix(y, name)
        if self.scale == "log_volatility":
            return 2.0 * values
        if (lowest := values.min()) <= 0.0:
            raise ValueError(f"{name} must be above 0 with scale={self.scale!r}, found {lowest}")
        return np.log(values) if self.scale == "variance" else 2.0 * np.log(values)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Arguments for sktime's checks, whose series have either sign: only logs fit them."""
        return [{"scale": "log_volatility", "residual_variance": s2} for s2 in (0.0, 0.1)]


def variance_from_log_volatility(y_pred: Any, residual_variance: ArrayLike) -> Any:
    """Forecasts of the variance from forecasts f of log volatility: exp(2 f + 2 s^2).

    The mean of the square of exp(f + e) where the error e is normal with variance s^2;
    exp(2 f) alone is its median, and too small.

    Parameters
    ----------
    y_pred : Series, DataFrame or array of shape (T,) or (T, m)
        f, for instance from ``predict``.
    residual_variance : float, or as many values as y_pred
        s^2, for instance from ``predict_var`` of the same horizons and X.

    Returns
    -------
    As y_pred.

    Raises
    ------
    ValueError, TypeError
        If the labels or the numbers of values differ, a variance is negative, or an array is not
        one of numbers.

    Examples
    --------
    >>> from sktime_alm.evaluation import variance_from_log_volatility
    >>> print(variance_from_log_volatility(np.log([0.1, 0.2]), 0.05).round(4))
    [0.0111 0.0442]
    """
    kinds = pd.Series, pd.DataFrame
    if isinstance(y_pred, kinds) and isinstance(residual_variance, kinds):
        residual_variance = _reordered(residual_variance, y_pred.index, "residual_variance")
    if not isinstance(y_pred, kinds):
        y_pred = check_array(y_pred, "y_pred")
    s2 = check_array(residual_variance, "residual_variance")
    if s2.size not in (1, np.size(y_pred)):
        raise ValueError(
            f"residual_variance must have one value, or as many as y_pred ({np.size(y_pred)}), "
            f"found {s2.size}"
        )
    if not (s2 >= 0.0).all():
        raise ValueError(f"residual_variance must be 0 or more, found {s2.min()}")
    # predict_var makes a frame of a series
    return np.exp(2.0 * y_pred + 2.0 * (s2.reshape(np.shape(y_pred)) if s2.size > 1 else s2.item()))


def out_of_sample_r2(y_true: ArrayLike, y_pred: ArrayLike, y_benchmark: ArrayLike) -> float:
    """``1 - sum (y - y_pred)^2 / sum (y - y_benchmark)^2`` (Campbell & Thompson 2008).

    1 for perfect forecasts, 0 for forecasts as good as the benchmark's, negative for worse ones.

    Parameters
    ----------
    y_true, y_pred, y_benchmark : pandas.Series or array of shape (T,)
        Values, forecasts and the benchmark's forecasts; an index must have the same labels in all.

    Raises
    ------
    ValueError, TypeError
        If the series do not match or are not finite numbers, or the benchmark is perfect.

    Examples
    --------
    >>> out_of_sample_r2([1.0, 2.0, 3.0], y_pred=[1.0, 2.0, 2.0], y_benchmark=[2.0, 2.0, 2.0])
    0.5
    """
    _, series = _aligned(y_true=y_true, y_pred=y_pred, y_benchmark=y_benchmark)
    actual, forecast, benchmark = series
    benchmark_error = np.sum((actual - benchmark) ** 2)
    if benchmark_error == 0.0:
        raise ValueError("y_benchmark must differ from y_true, found a perfect benchmark")
    return float(1.0 - np.sum((actual - forecast) ** 2) / benchmark_error)


class DieboldMariano(NamedTuple):
    """Of ``diebold_mariano``; a negative statistic speaks for the model."""

    statistic: float
    p_value: float
    mean_difference: float


def diebold_mariano(
    loss: ArrayLike, loss_benchmark: ArrayLike, h: int = 1, alternative: str = "two-sided"
) -> DieboldMariano:
    """Test whether two forecasts have the same mean loss (Diebold & Mariano 1995).

    With the autocovariances gamma_k of ``d = loss - loss_benchmark``, and corrected for small
    samples as by Harvey, Leybourne & Newbold (1997)::

        DM = mean(d) / sqrt((gamma_0 + 2 gamma_1 + ... + 2 gamma_{h-1}) / T)
        statistic = DM sqrt((T + 1 - 2h + h(h-1)/T) / T)

    against Student's t of T - 1 degrees of freedom. If the sum is not positive, each gamma_k is
    weighted by 1 - k/h (Bartlett kernel), which makes it so.

    Parameters
    ----------
    loss, loss_benchmark : pandas.Series or array of shape (T,)
        Losses of model and benchmark in the order of time; an index must have the same labels.
    h : int, default=1
        The forecast horizon, below T.
    alternative : {"two-sided", "less", "greater"}, default="two-sided"
        The model's mean loss differs from the benchmark's, is less or is greater.

    Returns
    -------
    DieboldMariano
        Losses that are the same up to rounding have statistic 0 and p-value 1.

    Raises
    ------
    ValueError, TypeError
        If the series do not match or are not finite numbers, an argument is out of its range, or
        the losses differ by a constant: there is then no variance to test against.

    Examples
    --------
    >>> test = diebold_mariano([1.0, 2.0, 1.0, 1.0, 2.0], [3.0, 3.0, 2.0, 4.0, 3.0])
    >>> print(f"statistic {test.statistic:.2f}, p-value {test.p_value:.3f}")
    statistic -4.00, p-value 0.016
    """
    check_choice(alternative, "alternative", ("two-sided", "less", "greater"))
    unit, (model, benchmark) = _aligned(loss=loss, loss_benchmark=loss_benchmark)
    T = len(model)
    if check_count(h, "h") >= T:
        raise ValueError(f"h must be below the number of losses, found {h} with {T} losses")
    if _tied(model, benchmark, "loss and loss_benchmark"):
        return DieboldMariano(0.0, 1.0, 0.0)
    mean = float((model - benchmark).mean())
    variance = _long_run_variance(model - benchmark, h)
    statistic = mean * np.sqrt((T + 1 - 2 * h + h * (h - 1) / T) / variance)
    p_values = {
        "two-sided": 2.0 * student_t.sf(abs(statistic), T - 1),
        "less": student_t.cdf(statistic, T - 1),
        "greater": student_t.sf(statistic, T - 1),
    }
    return DieboldMariano(float(statistic), float(p_values[alternative]), unit * mean)


def _long_run_variance(series: Array, h: int) -> float:
    centred = series - series.mean()
    T = len(centred)
    lags = np.arange(h)
    terms = np.where(lags == 0, 1, 2) * [centred[k:] @ centred[: T - k] / T for k in lags]
    # h (gamma_0 + ...) with Bartlett's weights is the mean square of sums of h terms
    return float(terms.sum() if terms.sum() > 0.0 else terms @ (1.0 - lags / h))


class MincerZarnowitz(NamedTuple):
    """Of ``mincer_zarnowitz``; the test is of intercept 0 and slope 1 together."""

    intercept: float
    slope: float
    intercept_error: float
    slope_error: float
    r2: float
    statistic: float
    p_value: float


def mincer_zarnowitz(
    y_true: ArrayLike, y_pred: ArrayLike, n_lags: int | None = None
) -> MincerZarnowitz:
    """Regress values on forecasts: ``y = intercept + slope y_pred + e`` (Mincer & Zarnowitz 1969).

    Unbiased forecasts have intercept 0 and slope 1. The standard errors allow for
    heteroskedasticity and autocorrelation (Newey-West, times T / (T - 2)); the joint test is a Wald
    test by the F distribution of 2 and T - 2 degrees of freedom.

    Parameters
    ----------
    y_true, y_pred : pandas.Series or array of shape (T,)
        Values and forecasts in the order of time; an index must have the same labels.
    n_lags : int, optional
        Autocovariances in the standard errors, at least h - 1 for forecasts h steps ahead;
        ``4 (T / 100)^(2/9)``, rounded down, if not given.

    Raises
    ------
    ValueError, TypeError
        If the series do not match, are not finite numbers or shorter than 3, n_lags is not below
        T, the forecasts are constant, or the values are an exact linear function of them.
    ImportError
        If statsmodels is not installed.

    Examples
    --------
    >>> regression = mincer_zarnowitz([1.1, 1.9, 3.2, 3.9, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    >>> print(f"{regression.intercept:.2f} + {regression.slope:.2f} forecast")
    0.08 + 0.98 forecast
    """
    unit, (actual, forecast) = _aligned(y_true=y_true, y_pred=y_pred)
    if (T := len(actual)) < 3:
        raise ValueError(f"y_true must have at least 3 values, found {T}")
    lags = int(4 * (T / 100) ** (2 / 9)) if n_lags is None else check_count(n_lags, "n_lags", 0)
    if lags >= T:
        raise ValueError(f"n_lags must be below the number of values, found {lags} with {T} values")
    if np.ptp(forecast) <= _ROUNDING * np.abs(forecast).max():
        raise ValueError(f"y_pred must vary, found {unit * forecast[0]} at every time")
    # on use: forecasting needs neither statsmodels nor arch
    with _extra("statsmodels"):
        from statsmodels.regression.linear_model import OLS

    fit = OLS(actual, np.column_stack([np.ones(T), forecast])).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True}, use_t=True
    )
    if np.abs(fit.resid).max() <= _ROUNDING * np.abs(actual).max():
        raise ValueError("y_true must not be an exact linear function of y_pred, found no error")
    test = fit.wald_test((np.eye(2), np.array([0.0, 1.0])), scalar=True)
    # intercepts have the unit of y, slopes none
    in_units = np.array([unit, 1.0])
    numbers = (*in_units * fit.params, *in_units * fit.bse, fit.rsquared)
    return MincerZarnowitz(*map(float, (*numbers, test.statistic, test.pvalue)))


def model_confidence_set(
    losses: pd.DataFrame | ArrayLike,
    size: float = 0.1,
    random_state: int | np.random.Generator | None = None,
    reps: int = 1000,
    block_size: int | None = None,
) -> pd.DataFrame:
    """The models that may be the best of all (Hansen, Lunde & Nason 2011).

    As long as the largest t statistic of two models' mean losses, by the stationary bootstrap,
    rejects that all are equal, the worst model goes. Computed by ``arch.bootstrap.MCS``, which
    takes no ties: models with the same losses up to rounding enter once and share the outcome.

    Parameters
    ----------
    losses : pandas.DataFrame or array of shape (T, k)
        The losses in the order of time, one column a model.
    size : float, default=0.1
        The set holds the best model with probability 1 - size in large samples.
    random_state : int or numpy.random.Generator, optional
    reps : int, default=1000
        Number of bootstrap samples.
    block_size : int, optional
        Mean length of the bootstrap's blocks; sqrt(T), rounded down, if not given.

    Returns
    -------
    pandas.DataFrame of shape (k, 2)
        ``p_value`` and ``included`` (p_value above size) of each model, in the order of the
        columns. A single model, or models that all tie, have p-value 1.

    Raises
    ------
    ValueError, TypeError
        If losses are not finite numbers, have one row or repeated column names, are more than 1e12
        times those of two other models, or differ by a constant (there is then no variance to test
        against), or an argument is out of its range.
    ImportError
        If arch is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> errors = np.random.default_rng(0).normal(size=(100, 2))
    >>> losses = pd.DataFrame((errors + [0.0, 2.0]) ** 2, columns=["good", "biased"])
    >>> model_confidence_set(losses.assign(same=losses["good"]), random_state=0)
            p_value  included
    good        1.0      True
    biased      0.0     False
    same        1.0      True
    """
    values = check_matrix(losses, "losses")
    T, k = values.shape
    models = losses.columns if isinstance(losses, pd.DataFrame) else pd.RangeIndex(k)
    if T < 2:
        raise ValueError(f"losses must have at least two rows, found {T}")
    if not models.is_unique:
        raise ValueError(f"losses must have columns of different names, found {list(models)}")
    if not 0.0 < check_number(size, "size") < 1.0:
        raise ValueError(f"size must be between 0 and 1, found {size!r}")
    if block_size is not None and check_count(block_size, "block_size") > T:
        raise ValueError(f"block_size must be at most the number of rows, {T}, found {block_size}")
    check_count(reps, "reps")
    same = _first_of_each_tie(values, models)
    distinct, group = np.unique(same, return_inverse=True)
    p_values = np.ones(len(distinct))
    if len(distinct) > 1:
        with _extra("arch"):
            from arch.bootstrap import MCS

        entered = _prepared_for_arch(values[:, distinct])
        procedure = MCS(entered, size, reps, block_size, seed=random_state)
        procedure.compute()
        # arch lists models as they left the set
        p_values = procedure.pvalues["Pvalue"].sort_index().to_numpy()
    p_value = p_values[group]
    return pd.DataFrame({"p_value": p_value, "included": p_value > size}, index=models)


def _prepared_for_arch(losses: Array) -> Array:
    """Losses with one largest t statistic of two models, where arch finds the worst."""
    sizes = np.abs(losses).mean(axis=0)
    # beside a loss of this size the others are rounding, and its t statistic to each is the same
    if sizes.max() > 1e12 * np.sort(sizes)[1]:
        raise ValueError(
            "losses must be of comparable size, found mean absolute losses from "
            f"{sizes.min():.3g} to {sizes.max():.3g}: leave out the models that diverged"
        )
    # equal means have the same statistic, 0: they are moved apart by less than rounding
    return losses + 1e-13 * sizes * np.arange(len(sizes))


def _first_of_each_tie(losses: Array, models: pd.Index) -> list[int]:
    """For each column the first that it ties with, mostly itself."""
    first: list[int] = []
    for j, model in enumerate(models):
        ties = (
            i
            for i in dict.fromkeys(first)
            if _tied(losses[:, i], losses[:, j], f"losses of {models[i]!r} and {model!r}")
        )
        first.append(next(ties, j))
    return first


def _tied(loss: Array, other: Array, names: str) -> bool:
    """Whether losses are the same up to rounding."""
    difference = loss - other
    rounding = _ROUNDING * max(np.abs(loss).max(), np.abs(other).max())
    if np.abs(difference).max() <= rounding:
        return True
    # without a variance there is no t statistic
    if np.ptp(difference) <= rounding:
        raise ValueError(f"{names} must not differ by a constant, found {difference[0]} throughout")
    return False


def _aligned(**series: ArrayLike) -> tuple[float, list[Array]]:
    """A unit, and the series in it, those with an index in the order of the first of them.

    The unit is the power of 2 of the largest value, which changes no digit, so that squares of
    the arrays, of shape (T,), do not overflow.
    """
    aligned: list[Array] = []
    index = None
    for name, values in series.items():
        if isinstance(values, (pd.Series, pd.DataFrame)):
            index = values.index if index is None else index
            values = _reordered(values, index, name)
        values = np.expand_dims(values, 1) if np.ndim(values) == 1 else values
        matrix = check_matrix(values, name)
        if matrix.shape[1] > 1:
            raise ValueError(f"{name} must be one series, found {matrix.shape[1]} columns")
        aligned.append(matrix[:, 0])
        if len(aligned[-1]) != len(aligned[0]):
            raise ValueError(
                f"{name} must be as long as {next(iter(series))}, "
                f"found {len(aligned[-1])} and {len(aligned[0])}"
            )
    largest = np.abs(aligned).max(initial=0.0)
    unit = float(np.ldexp(1.0, np.frexp(largest)[1] - 1)) if largest else 1.0
    return unit, [values / unit for values in aligned]


def _reordered(values: pd.Series | pd.DataFrame, index: pd.Index, name: str) -> Any:
    if values.index.equals(index):
        return values
    # by their objects: labels of another kind are none of these
    known = values.index.astype(object).isin(index.astype(object))
    if not (index.is_unique and values.index.is_unique and known.sum() == len(known) == len(index)):
        raise ValueError(
            f"{name} must have the same {len(index)} labels as the series before, once each, "
            f"found {len(values)} labels, {known.sum()} of them the same"
        )
    return values.loc[index]


@contextmanager
def _extra(package: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        install = "pip install 'sktime-alm[evaluation]'"
        raise ImportError(f"{package} must be installed for this: {install}") from error
