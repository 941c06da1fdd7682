"""Variances from prices, and the panels of the study: all from files that packages carry.

``weekly_variance`` and ``range_variance`` are short so that they can be copied.

References
----------
Garman, M. B. and Klass, M. J. (1980). On the estimation of security price volatilities from
historical data. Journal of Business 53, 67-78.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

# of a weekly variance: a week in which the price moved by less than .3 %, mostly by no tick at all
FLOOR = 1e-5
# in most weeks before, one of the stocks was not traded at another price
FIRST_WEEK = "1993"


class Panel(NamedTuple):
    """Rows of all series: the columns of variances and returns are the series.

    ``X`` holds variables of all series, known at the end of their row.
    """

    variances: pd.DataFrame
    returns: pd.DataFrame
    X: pd.DataFrame | None = None

    def rows(self, first: int, last: int) -> Panel:
        return Panel(*(None if frame is None else frame.iloc[first:last] for frame in self))

    def followed_by(self, later: Panel) -> Panel:
        pairs = zip(self, later, strict=True)
        return Panel(*(None if a is None else pd.concat([a, b]) for a, b in pairs))


class Data(NamedTuple):
    """A panel, the windows of its HAR models and the rows between two refits."""

    panel: Panel
    windows: tuple[int, ...]
    refit_every: int
    unit: str
    description: str


def weekly_variance(prices: pd.DataFrame) -> pd.DataFrame:
    """Sums of the squared daily log returns of each week, from daily closing prices."""
    squares = np.log(prices).diff().iloc[1:] ** 2
    variance = squares.resample("W-FRI").sum(min_count=1).dropna(how="all").clip(lower=FLOOR)
    return variance.set_axis(variance.index.to_period("W-FRI"))


def range_variance(ohlc: pd.DataFrame) -> pd.Series:
    """Daily variances from the range (Garman & Klass 1980) and the move overnight.

    ``.5 log(High/Low)^2 - (2 log 2 - 1) log(Close/Open)^2 + log(Open/Close of the day before)^2``
    """
    logs = np.log(ohlc[["Open", "High", "Low", "Close"]])
    overnight = logs["Open"] - logs["Close"].shift()
    spread, day = logs["High"] - logs["Low"], logs["Close"] - logs["Open"]
    variance = 0.5 * spread**2 - (2.0 * np.log(2.0) - 1.0) * day**2 + overnight**2
    return variance.iloc[1:]


def stocks(n_series: int | None = None) -> Data:
    """Weekly variances of 20 large US stocks, 1993 to 2022 (prices that skfolio carries)."""
    from skfolio.datasets import load_sp500_dataset

    prices = load_sp500_dataset().iloc[:, :n_series]
    variances = weekly_variance(prices).loc[FIRST_WEEK:]
    weeks = np.log(prices).resample("W-FRI").last().diff()
    returns = weeks.set_axis(weeks.index.to_period("W-FRI")).loc[variances.index]
    description = "weekly variances of US stocks, sums of squared daily returns"
    return Data(Panel(variances, returns), (1, 4, 13), 13, "weeks", description)


def indices() -> Data:
    """Daily range-based variances of the S&P 500 and the NASDAQ, 1999 to 2018 (from arch)."""
    from arch.data import nasdaq, sp500

    prices = {"S&P 500": sp500.load(), "NASDAQ": nasdaq.load()}
    variances = pd.DataFrame({name: range_variance(ohlc) for name, ohlc in prices.items()})
    closes = pd.DataFrame({name: ohlc["Close"] for name, ohlc in prices.items()})
    returns = np.log(closes).diff().loc[variances.index]
    description = "daily variances of two indices, from the range"
    return Data(Panel(variances, returns), (1, 5, 22), 22, "days", description)


def indices_with_vix() -> Data:
    """The same with the VIX as X, for the five years from 2014 that arch has of it."""
    from arch.data import vix

    panel = indices().panel
    # of 46 holidays and other days without a value the last one is known
    X = np.log(vix.load()["vix"].ffill()).reindex(panel.variances.index).dropna().to_frame()
    variances, returns = panel.variances.loc[X.index], panel.returns.loc[X.index]
    description = "daily variances of two indices with the VIX"
    return Data(Panel(variances, returns, X), (1, 5, 22), 22, "days", description)


DATA = {"stocks": stocks, "indices": indices, "indices with VIX": indices_with_vix}
