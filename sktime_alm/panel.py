"""The network of a panel, with what the series that it is for must be like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sktime_alm.calendar import Calendar
from sktime_alm.estimator import Pretrained
from sktime_alm.frames import as_floats, check_columns, listed
from sktime_alm.history import History
from sktime_alm.solver import ALMResult

# rows that tell how far they lie apart, how many times further is another frequency, and how many
# times the least distance the largest is where they lie evenly, as months do; so many times
# further is another frequency even where they do not, as business days
_TELLING, _OTHER_PACE, _EVEN, _FAR = 5, 1.9, 1.5, 12.0


class Pace(NamedTuple):
    """The least time between two rows of a series, and whether all are about as far apart."""

    least: pd.Timedelta
    is_even: bool

    @classmethod
    def of(cls, times: pd.Index) -> Pace | None:
        """That of these times; None where they are too few to tell, or no dates."""
        if len(times) < _TELLING or not isinstance(times, (pd.DatetimeIndex, pd.PeriodIndex)):
            return None
        stamps = times.to_timestamp() if isinstance(times, pd.PeriodIndex) else times
        apart = stamps.to_series().diff()
        return cls(pd.Timedelta(apart.min()), bool(apart.max() < _EVEN * apart.min()))

    def check(self, times: pd.Index, whose: str) -> None:
        """Refuse times of another frequency.

        A series of days among months would be taken for as many months, one of months among days
        for rows that have nothing before them. Rows far apart, but not evenly, are days of which
        most are missing.
        """
        pace = Pace.of(times)
        if pace is None:
            return
        slower, faster = sorted((pace, self), reverse=True)
        ratio = slower.least / faster.least
        if ratio > (_OTHER_PACE if slower.is_even else _FAR):
            raise ValueError(
                f"y must have series of one frequency, since a step means the same in all; found "
                f"rows {pace.least} apart or more, {self.least} in {whose}. Pretrain a "
                "forecaster for each frequency"
            )


@dataclass(frozen=True, eq=False)
class PanelNetwork:
    """What ``pretrain`` has learned.

    Attributes
    ----------
    pretrained : Pretrained
    y_columns : pandas.Index
    X_columns : pandas.Index
        Empty without X.
    calendar : Calendar
        Of the first series: a new one may be too short to tell.
    pace : Pace, optional
        Of the first series that tells it.
    """

    pretrained: Pretrained
    y_columns: pd.Index
    X_columns: pd.Index
    calendar: Calendar
    pace: Pace | None

    @property
    def result(self) -> ALMResult:
        """Of the training, its certificate among it."""
        return self.pretrained.trained.result

    def without_rows(self) -> PanelNetwork:
        """The same for a small file."""
        return replace(self, pretrained=self.pretrained.without_rows())

    def checked_columns(self, y: pd.DataFrame, X: pd.DataFrame | None) -> pd.Index:
        """The columns of X in their order; a series that the network does not fit is refused."""
        # columns of other names are taken by their place, but names must not change theirs
        is_known = not set(y.columns).isdisjoint(self.y_columns)
        has_changed = is_known and list(y.columns) != list(self.y_columns)
        if y.shape[1] != len(self.y_columns) or has_changed:
            raise ValueError(
                f"y must have the columns of pretrain, {list(self.y_columns)}, in their order; "
                f"found {list(y.columns)}"
            )
        if (X is None) != self.X_columns.empty:
            passed = "without X" if self.X_columns.empty else "with X"
            raise ValueError(f"X must be passed as in pretrain, which was called {passed}")
        if X is not None:
            check_columns(X.columns, self.X_columns, "X", "pretrain")
        return self.X_columns


def histories(
    y: pd.DataFrame,
    X: pd.DataFrame | None,
    X_columns: pd.Index,
    calendar: Calendar | None,
    pace: Pace | None = None,
    is_log: bool = False,
) -> Iterator[History]:
    """The series of a panel, each with its X, the columns of X in the same order in all.

    Their calendar and pace are those of a panel before, or of the first series that tells them.
    ``is_log`` tells that y must have logarithms.
    """
    whose = "the first series" if pace is None else "the panel of before"
    levels = list(range(y.index.nlevels - 1))
    # pandas 2.2 warns of a list of one
    by = levels if len(levels) > 1 else levels[0]
    for key, series in y.groupby(level=by, sort=False):
        names = key if isinstance(key, tuple) else (key,)
        of_series = None if X is None else X.xs(names, level=levels)
        try:
            found = History.of(series.droplevel(levels), of_series, X_columns, calendar)
            if pace is not None:
                pace.check(found.times, whose)
            if is_log:
                found.zeros()
        except ValueError as error:
            raise refused(error, names) from error
        # one for all: a later series may be too short to tell its own
        calendar = found.calendar if calendar is None else calendar
        pace = Pace.of(found.times) if pace is None else pace
        yield found


def refused(error: ValueError, key: Any) -> ValueError:
    """What a series is refused for, with its key."""
    label = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    return ValueError(f"{error} (series {label!r})")


def mean_of_others(y: pd.DataFrame) -> pd.DataFrame:
    """The mean over the other series of a panel at each time: a market-wide input X of each.

    As an input it is known after its time only: use its lags or window means (``exog_lags=1``).
    Means of logarithms, ``mean_of_others(np.log(y))``, suit variances.

    Parameters
    ----------
    y : pandas.DataFrame
        A panel or hierarchy: times in the last level of the index, series in the others.

    Returns
    -------
    pandas.DataFrame
        With the index of y. Missing where no other series has been observed yet; a time at which
        none is observed takes the mean of the last time before it.

    Raises
    ------
    TypeError, ValueError
        If y is no panel of numbers, holds an infinite one, has one series, or a time of a series
        twice.

    Examples
    --------
    >>> import pandas as pd
    >>> from sktime_alm import mean_of_others
    >>> index = pd.MultiIndex.from_product([["a", "b", "c"], [1, 2]], names=["series", "time"])
    >>> mean_of_others(pd.DataFrame({"y": [1.0, 2.0, 3.0, 4.0, 5.0, 9.0]}, index))["y"].tolist()
    [4.0, 6.5, 3.0, 5.5, 2.0, 3.0]
    """
    if not (isinstance(y, pd.DataFrame) and isinstance(y.index, pd.MultiIndex)):
        raise TypeError(
            "y must be a panel, a pandas.DataFrame with the series in the outer levels of its "
            f"index and times in the last; found {type(y).__name__}"
        )
    levels = list(range(y.index.nlevels - 1))
    # the mean over no others would be missing throughout
    if len(y.index.droplevel(-1).unique()) < 2:
        raise ValueError("y must hold two series or more, found one: it has no others")
    y = as_floats(y, "y", may_miss=True)
    if (is_again := y.index.duplicated()).any():
        raise ValueError(f"y must have a time of a series once, found {y.index[is_again][0]} twice")
    times = y.groupby(level=-1)
    # a series without a value at a time has all that are there as its others
    n_others = times.transform("count") - y.notna()
    means = (times.transform("sum") - y.fillna(0.0)) / n_others.where(n_others > 0)
    return means.groupby(level=levels).ffill()


def for_each_series(X: pd.DataFrame, keys: pd.Index) -> pd.DataFrame:
    """One X for all series of a panel, repeated for each of them.

    Parameters
    ----------
    X : pandas.DataFrame
        Indexed by times alone.
    keys : pandas.Index
        The series.
    """
    # views of one frame until they are put together
    parts = dict.fromkeys(keys.unique(), X)
    return pd.concat(parts, names=[*keys.names, X.index.name])


def by_series(
    frame: pd.DataFrame, keys: pd.Index, name: str, is_exact: bool = False
) -> pd.DataFrame:
    """The rows of these series of a panel, in the order of the keys.

    Parameters
    ----------
    frame : pandas.DataFrame
    keys : pandas.Index
        The series, each once.
    name : str
        Of the frame, for errors.
    is_exact : bool, default=False
        Whether other series are refused.

    Raises
    ------
    ValueError
        If the frame is no panel, a series is not there, or one too many.
    """
    if not isinstance(frame.index, pd.MultiIndex):
        raise ValueError(
            f"{name} must have the series of the panel, {listed(keys)}, in the outer levels of its "
            "index; found times alone"
        )
    of_rows = frame.index.droplevel(-1)
    found = of_rows.unique()
    if found.equals(keys):
        return frame
    missing, unknown = keys.difference(found, sort=False), found.difference(keys, sort=False)
    if len(missing) or (is_exact and len(unknown)):
        raise ValueError(
            f"{name} must have the series of the panel, {listed(keys)}; missing "
            f"{listed(missing) or 'none'}, unknown {listed(unknown) or 'none'}"
        )
    places = keys.get_indexer(of_rows)
    rows = np.argsort(places, kind="stable")
    return frame.iloc[rows[places[rows] >= 0]]
