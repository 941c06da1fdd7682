"""``ALMElmanForecaster`` as a user calls it: pretrain or not, fit, then predict and update."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sktime_alm import ALMElmanForecaster, mean_of_others
from volatility.data import Panel
from volatility.linear import scaled_returns

# of the intervals of 80, 90 and 95 %
LEVELS = (0.025, 0.05, 0.1, 0.9, 0.95, 0.975)


def ours(train: Panel, test: Panel, pretrained: bool = False) -> pd.DataFrame:
    """Forecasts (``mean``) and quantiles of each series, one network each or one for all."""
    y, X = long(train.followed_by(test))
    forecaster = ALMElmanForecaster(loss="qlike", random_state=0)
    if pretrained:
        is_past = y.index.get_level_values(-1) < test.variances.index[0]
        forecaster.pretrain(y[is_past], X[is_past])
    n = len(train.variances)
    forecasts = {
        name: one_step_ahead(forecaster, y.loc[name], X.loc[name], n) for name in train.variances
    }
    return pd.concat(forecasts, axis=1)


def one_step_ahead(
    forecaster: ALMElmanForecaster, y: pd.DataFrame, X: pd.DataFrame, n: int
) -> pd.DataFrame:
    """Forecasts of the rows from n on, by a fit to the rows before, each row told after its own."""
    forecaster.fit(y[:n], X[:n])
    rows = []
    for t in range(n, len(y)):
        row = slice(t, t + 1)
        mean = forecaster.predict(fh=1)
        quantiles = forecaster.predict_quantiles(fh=1, alpha=list(LEVELS))
        rows.append([*mean.iloc[0], *quantiles.iloc[0]])
        forecaster.update(y[row], X[row], update_params=False)
    return pd.DataFrame(rows, y.index[n:], ["mean", *LEVELS])


def long(panel: Panel) -> tuple[pd.DataFrame, pd.DataFrame]:
    """y and X with the series in the first level of the index.

    X holds past returns in units of their volatility, of the series and of all, the log variance
    of all others, and what is known of all series.
    """
    y = pd.concat({name: v.to_frame("variance") for name, v in panel.variances.items()})
    returns, of_all = scaled_returns(panel), {} if panel.X is None else panel.X
    of_each = {
        name: pd.DataFrame({"return": r, "market return": returns.mean(axis=1), **of_all})
        for name, r in returns.items()
    }
    return y, pd.concat(of_each).assign(market=mean_of_others(np.log(y))["variance"])
