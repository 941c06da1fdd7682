"""The series of the forecasting study, with the X that is known when a forecast is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from sktime.datasets import load_macroeconomic, load_uschange

from sktime_alm.datasets import load_sp500_volatility


class Data(NamedTuple):
    """A series to forecast.

    ``observed`` is seen together with y and so not known ahead; ``planned`` is known for all
    times, like a calendar or a control input. ``n_test`` counts the last values, which are
    forecast; ``windows`` are the averages of a HAR model, the longest of which is also the number
    of lags of the other models. All are indexed by days, whatever they are: only that index is
    understood by every adapter (of reductions, months are not; of ARDL, positions from any but 0),
    and none of the models uses the calendar. ``times`` are the real labels.
    """

    y: pd.Series
    observed: pd.DataFrame
    planned: pd.DataFrame
    n_test: int
    windows: tuple[int, ...]
    times: pd.Index
    is_log_volatility: bool = False

    @property
    def period(self) -> str:
        """What is forecast."""
        return f"{self.times[-self.n_test]} to {self.times[-1]}"

    def known(self, horizon: int) -> tuple[pd.Series, pd.DataFrame]:
        """y and the X that is known ``horizon`` steps ahead, which every model is given.

        A row of it belongs to the time that is forecast. What is only observed is lagged by the
        longest step, so that no row of a forecast up to there holds the future, and training
        and forecast rows mean the same. Nothing is repeated, filled in or forecast.
        """
        X = pd.concat([self.observed.shift(horizon), self.planned], axis=1).iloc[horizon:]
        return self.y.iloc[horizon:], X


def _observed(
    y: pd.Series, observed: pd.DataFrame, n_test: int, windows: tuple[int, ...], **options: bool
) -> Data:
    days = _days(len(y))
    observed = observed.set_axis(days)
    return Data(
        y.set_axis(days).rename("y"), observed, observed[[]], n_test, windows, y.index, **options
    )


def _simulated(y: np.ndarray, planned: pd.DataFrame) -> Data:
    days = _days(len(y))
    planned = planned.set_axis(days)
    times = pd.RangeIndex(1, len(y) + 1)
    return Data(pd.Series(y, days, name="y"), planned[[]], planned, 48, (1, 3, 6), times)


def _days(n: int) -> pd.PeriodIndex:
    return pd.period_range("2000-01-01", periods=n, freq="D")


def volatility() -> Data:
    """Log realized volatility of the S&P 500, months, with 11 financial and macro variables."""
    y, X = load_sp500_volatility()
    return _observed(y, X, 120, (1, 3, 12), is_log_volatility=True)


def consumption() -> Data:
    """Growth of US consumption, quarters, with income, production, savings, unemployment."""
    y, X = load_uschange()
    return _observed(y, X, 48, (1, 2, 4))


def inflation() -> Data:
    """US inflation, quarters, with growth of output and money, unemployment, the T-bill rate."""
    table = load_macroeconomic()
    growth = 400.0 * np.log(table[["realgdp", "m1"]]).diff()
    X = growth.join(table[["unemp", "tbilrate"]]).iloc[1:]
    return _observed(table["infl"].iloc[1:], X, 48, (1, 2, 4))


def wiener_hammerstein(n_samples: int = 400, n_inputs: int = 6, seed: int = 0) -> Data:
    """A simulated process: a filter, a saturation and another filter from a planned input to y.

    X holds the input of the time that is forecast and of the five times before, so that models
    without a memory for X see it, too.
    """
    rng = np.random.default_rng(seed)
    drive, noise = rng.normal(size=n_samples), 0.5 * rng.normal(size=n_samples)
    y = np.empty(n_samples)
    first = second = 0.0
    for t in range(n_samples):
        first = 0.7 * first + drive[t]
        second = 0.8 * second + np.tanh(2.0 * first)
        y[t] = second + noise[t]
    lagged = {f"x{lag}": pd.Series(drive).shift(lag, fill_value=0.0) for lag in range(n_inputs)}
    return _simulated(y, pd.DataFrame(lagged))


def threshold(n_samples: int = 400, seed: int = 0) -> Data:
    """A simulated threshold autoregression: another slope and gain of X after a positive y."""
    rng = np.random.default_rng(seed)
    drive, noise = rng.normal(size=n_samples), 0.5 * rng.normal(size=n_samples)
    y = np.empty(n_samples)
    last = 0.0
    for t in range(n_samples):
        slope, gain = (0.6, 1.0) if last <= 0.0 else (-0.6, 0.3)
        last = y[t] = slope * last + gain * drive[t] + noise[t]
    return _simulated(y, pd.DataFrame({"x": drive}))


DATA: dict[str, Callable[[], Data]] = {
    "volatility": volatility,
    "consumption": consumption,
    "inflation": inflation,
    "wiener-hammerstein": wiener_hammerstein,
    "threshold": threshold,
}
