"""``ALMElmanForecaster`` as a user calls it: fit or pretrain, then predict and update."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sktime_alm import ALMElmanForecaster
from volatility.data import Panel
from volatility.linear import Windows, others, scaled_returns

# of the intervals of 80, 90 and 95 %
LEVELS = (0.025, 0.05, 0.1, 0.9, 0.95, 0.975)


def ours(train: Panel, test: Panel, windows: Windows, pretrained: bool = False) -> pd.DataFrame:
    """Forecasts (``mean``) and quantiles of each series, one network each or one for all."""
    n = len(train.variances)
    series = _log_series(train.followed_by(test))
    columns = next(iter(series.values()))[1].columns
    means = {"y": windows} | dict.fromkeys(columns, windows[1:])
    forecaster = ALMElmanForecaster(lags=0, window_means=means, exog_lags=1, random_state=0)
    if pretrained:
        y = pd.concat({name: y[:n].to_frame("y") for name, (y, _) in series.items()})
        X = pd.concat({name: X[:n] for name, (_, X) in series.items()})
        forecaster.pretrain(y, X)
    forecasts = {name: _forecasts(forecaster, y, X, n) for name, (y, X) in series.items()}
    return pd.concat(forecasts, axis=1).set_axis(test.variances.index)


def _forecasts(
    forecaster: ALMElmanForecaster, y: pd.Series, X: pd.DataFrame, n: int
) -> pd.DataFrame:
    """One step ahead from row n on, of a forecaster fitted to the rows before."""
    forecaster.fit(y[:n], X[:n])
    # from the log to the mean of the variance
    correction = np.exp(forecaster.predict_residuals()).mean()
    rows = []
    for t in range(n, len(y)):
        log_variance = forecaster.predict(fh=1).iloc[0]
        quantiles = forecaster.predict_quantiles(fh=1, alpha=list(LEVELS)).iloc[0]
        rows.append([correction * np.exp(log_variance), *np.exp(quantiles)])
        row = slice(t, t + 1)
        forecaster.update(y[row], X[row], update_params=False)
    return pd.DataFrame(rows, y.index[n:], ["mean", *LEVELS])


def _log_series(panel: Panel) -> dict[str, tuple[pd.Series, pd.DataFrame]]:
    """y and X of each series: logs of variances, and what else is known at the end of a row."""
    logs, returns = np.log(panel.variances), scaled_returns(panel)
    market = others(logs) if logs.shape[1] > 1 else None
    series = {}
    for name, y in logs.items():
        X = pd.DataFrame({"return": returns[name], "market_return": returns.mean(axis=1)})
        if market is not None:
            X["market"] = market[name]
        if panel.X is not None:
            X = X.join(panel.X)
        # a day on which the market is closed is no gap: rows are counted, not days
        if isinstance(y.index, pd.DatetimeIndex):
            y, X = y.reset_index(drop=True), X.reset_index(drop=True)
        series[name] = y.rename("y"), X
    return series
