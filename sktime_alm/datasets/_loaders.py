"""Loaders of the bundled CSV files."""

from __future__ import annotations

from importlib.resources import files

import pandas as pd

from sktime_alm.solver._validation import check_choice, check_flag

_TARGETS = ("LRV", "RVOL", "RV")


def load_sp500_volatility(target: str = "LRV") -> tuple[pd.Series, pd.DataFrame]:
    """Monthly realized volatility of the S&P 500 with 11 exogenous variables.

    437 months, 1973-02 to 2009-06. A row holds the values of its month. To forecast
    month t+1 at the end of month t, lag ``X`` by one month (``X.shift(1)``); using the X
    of the forecast month is the commonest leak in volatility forecasting.

    Parameters
    ----------
    target : {"LRV", "RVOL", "RV"}, default="LRV"
        Realized variance RV is the month's sum of squared daily close-to-close log
        returns, RVOL its square root (return per month), LRV the log of RVOL.

    Returns
    -------
    y : pandas.Series
        The target, with a monthly PeriodIndex.
    X : pandas.DataFrame
        ======  ============================================  ==============================
        column  meaning and unit                              known
        ======  ============================================  ==============================
        DP      log dividend-price ratio                      interpolated from quarters
        EP      log earnings-price ratio                      interpolated from quarters
        MKT     market excess return, % per month             at month end
        HML     value factor, % per month                     at month end
        SMB     size factor, % per month                      at month end
        STR     short-term reversal factor, % per month       at month end
        TB      three-month Treasury bill, percentage points  at month end
        TS      long Treasury yield minus TB, likewise        at month end
        DEF     BAA minus AAA yield, likewise                 at month end
        INF     CPI inflation, % per month                    2 to 6 weeks later, revised
        IP      growth of industrial production, % per month  2 to 6 weeks later, revised
        ======  ============================================  ==============================

    Raises
    ------
    ValueError
        If ``target`` is unknown.

    Notes
    -----
    Sources: daily returns from the R package mfGARCH; R. J. Shiller; Kenneth R. French
    data library; FRED-MD (Federal Reserve Bank of St. Louis); Federal Reserve H.15;
    Moody's via FRED. See ``PROVENANCE.md`` beside the data.

    Examples
    --------
    >>> from sktime_alm.datasets import load_sp500_volatility
    >>> y, X = load_sp500_volatility()
    >>> y.shape, X.shape, str(y.index[0]), str(y.index[-1])
    ((437,), (437, 11), '1973-02', '2009-06')
    """
    check_choice(target, "target", _TARGETS)
    table = _read("sp500_volatility.csv")
    return table[target], table.drop(columns=list(_TARGETS))


def load_paper_sp500(standardize: bool = True) -> tuple[pd.Series, pd.DataFrame]:
    """The file that the paper calls "Volatility of S&P index", as rebuilt.

    **The target is not a volatility**: it is the log of the month's sum of squared daily
    price *levels*, which correlates 0.9996 with the log price of the index and 0.15 with
    its log volatility. Persistence alone predicts it with a train/test error of
    0.0038/0.0047 on the standardised scale. The file is here to reproduce the paper; for
    volatility use :func:`load_sp500_volatility`.

    Parameters
    ----------
    standardize : bool, default=True
        Scale every column to mean 0 and variance 1 over the whole file, as the paper
        does *before* it splits off the last 44 of the 437 months for testing.

    Returns
    -------
    y : pandas.Series
        "RV_SP500", with a monthly PeriodIndex, 1973-02 to 2009-06.
    X : pandas.DataFrame
        DP, EP (ratios in %), MKT, HML, SMB, STR (% per month), TB, TS, DEF (percentage
        points), INF and IP (index levels), all of the same month as ``y``.

    Raises
    ------
    TypeError
        If ``standardize`` is neither True nor False.

    Notes
    -----
    A reconstruction from public series; it differs from the published file in TB and TS
    only. Sources are those of :func:`load_sp500_volatility`.
    """
    table = _read("paper_sp500.csv")
    if check_flag(standardize, "standardize"):
        table = (table - table.mean()) / table.std(ddof=0)
    return table["RV_SP500"], table.drop(columns="RV_SP500")


def _read(name: str) -> pd.DataFrame:
    with (files("sktime_alm.datasets") / "data" / name).open() as file:
        table = pd.read_csv(file, index_col="month")
    table.index = pd.PeriodIndex(table.index, freq="M", name="month")
    return table
