"""Linear models of variances: HAR and its relations, and GARCH.

Each model is a function of two panels, ``train`` and the rows ``test`` that follow, and returns
forecasts of the variances of test. It is fitted to train alone; the forecast of a row of test
knows the rows before it.

References
----------
Corsi, F. (2009). A simple approximate long-memory model of realized volatility. Journal of
Financial Econometrics 7, 174-196.

Corsi, F. and Reno, R. (2012). Discrete-time volatility forecasting with persistent leverage effect
and the link with continuous-time volatility modeling. Journal of Business & Economic Statistics
30, 368-380.

Patton, A. J. and Sheppard, K. (2015). Good volatility, bad volatility: signed jumps and the
persistence of volatility. Review of Economics and Statistics 97, 683-697.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from sklearn.linear_model import GammaRegressor, LinearRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from volatility.data import Panel

Windows = tuple[int, ...]
Regression = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def past_means(
    panel: Panel,
    windows: Windows,
    market: bool = False,
    returns: bool = False,
    calendar: bool = True,
) -> np.ndarray:
    """Means of the last logs of each series, shape (T, N, k), and of X if there is one.

    With ``market`` also those of the mean of all other series, with ``returns`` those of returns
    in units of their volatility, of the series and of all (the leverage effect, Corsi & Reno 2012).
    With ``calendar`` the weekday of daily rows and the gap before them are inputs too.
    """
    logs = np.log(panel.variances)
    frames = [logs]
    if market and logs.shape[1] > 1:
        frames.append(others(logs))
    if returns:
        frames += [scaled_returns(panel), _alike(scaled_returns(panel).mean(axis=1), logs)]
    if panel.X is not None:
        frames += [_alike(column, logs) for _, column in panel.X.items()]
    means = [frame.rolling(w).mean().shift(1) for frame in frames for w in windows]
    if calendar:
        means += [_alike(column, logs) for _, column in _days(logs.index).items()]
    return np.stack([mean.to_numpy() for mean in means], axis=2)


def _days(index: pd.Index) -> pd.DataFrame:
    """Of days, indicators of Tuesday to Friday and the log of the days since the row before."""
    if not isinstance(index, pd.DatetimeIndex):
        return pd.DataFrame(index=index)
    columns = {day: (index.day_of_week == day).astype(float) for day in range(1, 5)}
    days = index.to_series().diff().dt.days.fillna(1)
    return pd.DataFrame(columns, index).assign(gap=np.log(days))


def others(frame: pd.DataFrame) -> pd.DataFrame:
    """The mean of all other columns in place of each."""
    return frame.rsub(frame.sum(axis=1), axis=0) / (frame.shape[1] - 1)


def scaled_returns(panel: Panel) -> pd.DataFrame:
    """Returns in units of the volatility that an exponentially weighted mean has reached."""
    return panel.returns / np.sqrt(panel.variances.ewm(halflife=22).mean())


def _alike(column: pd.Series, frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(dict.fromkeys(frame, column))


def random_walk(train: Panel, test: Panel) -> pd.DataFrame:
    both = train.followed_by(test)
    return both.variances.shift(1).iloc[len(train.variances) :]


def har_levels(train: Panel, test: Panel, windows: Windows) -> pd.DataFrame:
    """Least squares on means of the variance itself (Corsi 2009).

    A forecast outside the range of the variances seen is replaced by their mean (Patton & Sheppard
    2015), as one of 0 or less would have an infinite loss.
    """
    both, n = train.followed_by(test), len(train.variances)
    means = [both.variances.rolling(w).mean().shift(1).to_numpy() for w in windows]
    inputs = np.stack(means, axis=2)
    if both.X is not None:
        # X in logs of volatility, such as the VIX, as a variance
        logs = past_means(both, windows, calendar=False)
        inputs = np.concatenate([inputs, np.exp(2.0 * logs[:, :, len(windows) :])], axis=2)

    def regression(A: np.ndarray, v: np.ndarray, later: np.ndarray) -> np.ndarray:
        forecast = LinearRegression().fit(A, v).predict(later)
        is_sane = (forecast >= v.min()) & (forecast <= v.max())
        return np.where(is_sane, forecast, v.mean())

    return _each(both, n, inputs, max(windows), regression)


def har_logs(train: Panel, test: Panel, windows: Windows) -> pd.DataFrame:
    """Least squares on means of logs."""
    both, n = train.followed_by(test), len(train.variances)
    inputs = past_means(both, windows, calendar=False)
    return _each(both, n, inputs, max(windows), _in_logs(LinearRegression()))


def leverage_har(train: Panel, test: Panel, windows: Windows) -> pd.DataFrame:
    """HAR in logs with past returns (Corsi & Reno 2012)."""
    both, n = train.followed_by(test), len(train.variances)
    inputs = past_means(both, windows, returns=True)
    return _each(both, n, inputs, max(windows), _in_logs(LinearRegression()))


def ridge(train: Panel, test: Panel, windows: Windows) -> pd.DataFrame:
    """Ridge regression on means of logs, of the series and of all others, and of returns."""
    both, n = train.followed_by(test), len(train.variances)
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))
    inputs = past_means(both, windows, market=True, returns=True)
    return _each(both, n, inputs, max(windows), _in_logs(model))


def har_qlike(
    train: Panel, test: Panel, windows: Windows, market: bool = False, returns: bool = False
) -> pd.DataFrame:
    """Means of logs, by QLIKE: a gamma regression with logarithmic link."""
    both, n = train.followed_by(test), len(train.variances)
    gamma = GammaRegressor(alpha=1e-6, solver="newton-cholesky", max_iter=300)
    model = make_pipeline(StandardScaler(), gamma)

    def regression(A: np.ndarray, v: np.ndarray, later: np.ndarray) -> np.ndarray:
        return model.fit(A, v / v.mean()).predict(later) * v.mean()

    inputs = past_means(both, windows, market, returns)
    return _each(both, n, inputs, max(windows), regression)


def pooled_har(train: Panel, test: Panel, windows: Windows) -> pd.DataFrame:
    """One HAR in logs for all series, each standardised by itself."""
    both, n = train.followed_by(test), len(train.variances)
    A, z, mean, scale = standardised(both, n, past_means(both, windows))
    past = slice(max(windows), n)
    model = LinearRegression().fit(A[past].reshape(-1, A.shape[2]), z[past].ravel())
    fitted = model.predict(A[max(windows) :].reshape(-1, A.shape[2])).reshape(-1, z.shape[1])
    forecast = np.exp(mean + scale * fitted)
    n_past = n - max(windows)
    ratio = both.variances.to_numpy()[past] / forecast[:n_past]
    return frame_like(test, forecast[n_past:] * ratio.mean(axis=0))


def average(train: Panel, test: Panel, windows: Windows) -> pd.DataFrame:
    """The mean of the forecasts of five linear models."""
    qlike_of_all = partial(har_qlike, market=True, returns=True)
    five = pooled_har, leverage_har, ridge, har_qlike, qlike_of_all
    return sum(model(train, test, windows) for model in five) / len(five)


def garch(train: Panel, test: Panel) -> pd.DataFrame:
    """GARCH(1, 1) of the returns, its variances scaled to the mean of those to forecast."""
    from arch import arch_model

    both, n = train.followed_by(test), len(train.variances)
    forecasts = {}
    for name, returns in both.returns.items():
        unit = returns.iloc[:n].std()
        model = arch_model((returns / unit).to_numpy(), mean="Zero", rescale=False)
        fit = model.fit(disp="off", last_obs=n, show_warning=False)
        # the variance of a row is the forecast that was made at the row before
        ahead = fit.forecast(horizon=1, start=0, reindex=False).variance.to_numpy()[:-1, 0]
        ratio = both.variances[name].iloc[1:n].mean() / ahead[: n - 1].mean()
        forecasts[name] = ahead[n - 1 :] * ratio
    return pd.DataFrame(forecasts, index=test.variances.index)


def standardised(
    both: Panel, n: int, inputs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Inputs and logs in standard units of the first n rows of each series; mean and scale."""
    logs = np.log(both.variances.to_numpy())
    mean, scale = logs[:n].mean(axis=0), logs[:n].std(axis=0)
    A = (inputs - np.nanmean(inputs[:n], axis=0)) / np.nanstd(inputs[:n], axis=0)
    return A, (logs - mean) / scale, mean, scale


def frame_like(test: Panel, values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(values, test.variances.index, test.variances.columns)


def _each(
    both: Panel, n: int, inputs: np.ndarray, first: int, regression: Regression
) -> pd.DataFrame:
    """A regression for each series, fitted to its rows from first to n."""
    values = both.variances.to_numpy()
    columns = [
        regression(inputs[first:n, j], values[first:n, j], inputs[n:, j])
        for j in range(values.shape[1])
    ]
    index = both.variances.index[n:]
    return pd.DataFrame(np.column_stack(columns), index, both.variances.columns)


def _in_logs(model: LinearRegression) -> Regression:
    """A regression of logs; its forecasts are scaled to have the mean of the variances."""

    def regression(A: np.ndarray, v: np.ndarray, later: np.ndarray) -> np.ndarray:
        model.fit(A, np.log(v))
        # exp of a forecast of the log is near the median, below the mean
        correction = np.mean(v / np.exp(model.predict(A)))
        return correction * np.exp(model.predict(later))

    return regression
