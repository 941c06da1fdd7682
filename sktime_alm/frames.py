"""Frames of pandas: their times and gaps, values and columns, and the series of a panel."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd


def instances(
    y: pd.DataFrame, X: pd.DataFrame | None, X_columns: pd.Index | None
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """The series of a panel, each with its X."""
    levels = list(range(y.index.nlevels - 1))
    for key, series in y.groupby(level=levels, sort=False):
        series = series.droplevel(levels)
        if X is None:
            yield series, pd.DataFrame(index=series.index)
            continue
        exogenous = X.xs(key if isinstance(key, tuple) else (key,), level=levels)
        missing = series.index.difference(exogenous.index, sort=False)
        if len(missing):
            raise ValueError(f"X must have the times of y; of series {key!r} it lacks {missing[0]}")
        yield series, exogenous.loc[series.index, X_columns]


def as_floats(data: pd.DataFrame, name: str, may_miss: bool = False) -> pd.DataFrame:
    """The frame as doubles; an error names the first value that is not finite.

    ``may_miss`` allows missing values.
    """
    data = data.astype(float)
    values = data.to_numpy()
    is_wrong = np.isinf(values) if may_miss else ~np.isfinite(values)
    if is_wrong.any():
        row, column = np.argwhere(is_wrong)[0]
        hint = " Fill missing values for instance with sktime's Imputer." if name == "X" else ""
        raise ValueError(
            f"{name} must be finite, found {values[row, column]} in column "
            f"{data.columns[column]!r} at {data.index[row]}.{hint}"
        )
    return data


def check_columns(found: pd.Index, expected: pd.Index, name: str, caller: str = "fit") -> None:
    """Refuse a frame whose columns are not those of ``caller``, in whatever order."""
    missing = expected.difference(found, sort=False)
    unknown = found.difference(expected, sort=False)
    if len(missing) or len(unknown):
        raise ValueError(
            f"{name} must have the columns of {caller}, {list(expected)}; missing {list(missing)}, "
            f"unknown {list(unknown)}"
        )


def frequency_of(index: pd.Index) -> pd.DateOffset | None:
    """The step between time stamps; None for periods and integers, which carry their own.

    An index without a common step, or with a time twice, is refused.
    """
    if not index.is_unique:
        twice = index[index.duplicated()][0]
        raise ValueError(f"y must have an index without repetitions, found {twice} twice")
    if not isinstance(index, pd.DatetimeIndex):
        _check_counting(index)
        return None
    frequency = index.freq
    if frequency is None and len(index) < 3:
        raise ValueError(
            "y must have a DatetimeIndex with a frequency, or horizons have no meaning; found "
            f"{len(index)} time stamps, too few to tell. Use y.asfreq(...) or a PeriodIndex"
        )
    if frequency is None:
        frequency = pd.infer_freq(index) or _frequency_of_pieces(index)
    if frequency is None:
        raise ValueError(
            "y must have a DatetimeIndex with a frequency, or horizons have no meaning; found "
            "irregular time stamps. Use y.asfreq(...), a PeriodIndex, or "
            "y.reset_index(drop=True) to count observations"
        )
    return pd.tseries.frequencies.to_offset(frequency)


def _check_counting(index: pd.Index) -> None:
    """Refuse integers of a larger step than sktime's horizons have, which is 1."""
    if isinstance(index, pd.PeriodIndex) or len(index) < 2:
        return
    step = int(np.diff(index).min())
    if step > 1:
        raise ValueError(
            f"y must have an integer index that counts by 1, as horizons do; found one that counts "
            f"by {step}. Use y.reset_index(drop=True)"
        )


def _frequency_of_pieces(index: pd.DatetimeIndex) -> str | None:
    """The coarsest frequency that holds all times, of a long piece or of business days."""
    step = pd.Series(index[1:] - index[:-1])
    pieces = np.split(np.arange(len(index)), np.flatnonzero(step > 1.5 * step.median()) + 1)
    longest = index[max(pieces, key=len)]
    found = [pd.infer_freq(longest)] if len(longest) >= 3 else []
    n_times = {}
    for frequency in [name for name in found if name is not None] + ["B"]:
        times = pd.date_range(index[0], index[-1], freq=frequency)
        if index.isin(times).all():
            n_times[frequency] = len(times)
    return min(n_times, key=n_times.__getitem__) if n_times else None


def after_gaps(index: pd.Index, frequency: pd.DateOffset | None) -> list[int]:
    """The rows before which time steps are missing."""
    following = index[:-1] + (1 if frequency is None else frequency)
    return [int(row) + 1 for row in np.flatnonzero(index[1:] != following)]


def warn_of_gaps(gaps: list[int], times: pd.Index) -> None:
    """Say what becomes of gaps: they may be an oversight, or holidays."""
    if gaps:
        more = f" and in {len(gaps) - 1} other places" if len(gaps) > 1 else ""
        warnings.warn(
            f"Time steps are missing in y before {times[gaps[0]]}{more}: the hidden state and the "
            "lags begin anew there. If nothing happened in them, as on holidays, count "
            "observations instead: y.reset_index(drop=True), and X alike. If values were not "
            "seen, put rows of missing values in: y.asfreq(...).",
            stacklevel=3,
        )


def check_times(times: pd.Index, frequency: pd.DateOffset | None) -> None:
    """Refuse times that are not of a frequency, such as a Sunday among business days."""
    if frequency is None:
        return
    wrong = [time for time in times if not frequency.is_on_offset(time)]
    if wrong:
        raise ValueError(
            f"y must have times of the frequency of fit, {frequency.freqstr}; found {wrong[0]}"
        )


def listed(times: pd.Index) -> str:
    """The first few times, in words."""
    shown = ", ".join(str(time) for time in times[:5])
    return shown if len(times) <= 5 else f"{shown} and {len(times) - 5} more"
