"""The rows that a forecaster has seen, by their labels; all arithmetic of times is here.

A calendar says which times a series can have. It is found once, over all rows of ``fit``, since
three rows of one week would pass for daily data. Steps are counted on it and never by dividing
durations: a day has 23 hours where the clock changes, and holidays are no business days.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from sktime_alm.frames import as_floats, check_columns, listed, reordered
from sktime_alm.inputs import Series
from sktime_alm.solver._typing import Array, IntArray

_NUMBER = "or y.reset_index(drop=True), and X alike, to count observations"
# frequencies that pandas does not infer
# a step of these need not keep the time of day
_HOURS = (pd.offsets.BusinessHour,)
_NOT_INFERRED = ("B", "SME", "SMS", "SME-14", "SMS-14")


class HoleInX(ValueError):
    """X lacks times before others that it has."""


@dataclass(frozen=True, eq=False)
class Calendar:
    """The times that a series can have, one step apart.

    Attributes
    ----------
    kind : {"integers", "periods", "time stamps"}
    frequency : pandas.DateOffset or None
        The step; None for integers, which count by 1.
    zone : tzinfo or None
        The time zone of time stamps.
    clock : pandas.Timedelta or None
        The time of day that rows have by the clock of the zone, where steps are days or longer.
    """

    kind: str
    frequency: pd.DateOffset | None = None
    zone: Any = None
    clock: pd.Timedelta | None = None

    @classmethod
    def of(cls, index: pd.Index, known: Calendar | None = None) -> Calendar:
        """The calendar of an index, or the one known if it holds these times.

        Raises
        ------
        ValueError
            If the times have no common step, or one stands there twice.
        """
        check_unique(index, "y")
        kind = _kind(index, "y")
        if kind == "periods":
            return cls(kind, index.freq)
        if kind == "integers":
            _check_counting(index)
            return cls(kind)
        if index.freq is None and known is not None and known.holds(index):
            return known
        frequency = pd.tseries.frequencies.to_offset(index.freq or _inferred(index))
        calendar = cls(kind, frequency, index.tz)
        if calendar.zone is None or calendar._is_tick or isinstance(frequency, _HOURS):
            return calendar
        return replace(calendar, clock=_clock(index))

    def holds(self, index: pd.Index) -> bool:
        """Whether all times of an index are of this calendar."""
        try:
            self.steps(index[0], index)
        except ValueError:
            return False
        # the first one itself, which steps are counted from
        return self.kind != "time stamps" or self._is_arithmetic or self._is_on(index[0])

    def comparable(self, times: pd.Index, name: str) -> pd.Index:
        """The times in the zone of the calendar; times of another kind are refused."""
        found = _kind(times, name)
        if found != self.kind and len(times):
            raise ValueError(
                f"{name} must be indexed by {self.kind}, as y of fit is; found {found}, the first "
                f"{times[0]}. Use the same kind of index for all"
            )
        if found == "periods" and times.freq != self.frequency:
            raise ValueError(
                f"{name} must have periods of the frequency of y of fit, {self.frequency.freqstr}; "
                f"found {times[0]} of {times.freqstr}. Use asfreq"
            )
        if found != "time stamps" or times.tz is self.zone:
            return times
        if (times.tz is None) != (self.zone is None):
            has = "no time zone" if self.zone is None else f"the time zone {self.zone}"
            raise ValueError(
                f"{name} must have times with {has}, as y of fit has; found {times[0]}. Use "
                "tz_localize"
            )
        return times.tz_convert(self.zone)

    def steps(self, origin: Any, times: pd.Index, name: str = "y") -> IntArray:
        """How many steps after ``origin`` the times are; times before it are refused.

        Raises
        ------
        ValueError
            Naming the first time that is not of this calendar, such as a Sunday among business
            days.
        """
        times = self.comparable(times, name)
        if self._is_arithmetic:
            steps, is_wrong = self._divided(origin, times)
        else:
            wall, first = self._wall(times), self._wall(pd.DatetimeIndex([origin]))[0]
            grid = pd.date_range(first, max(wall.max(), first), freq=self.frequency)
            steps = grid.get_indexer(wall)
            is_wrong = steps < 0
        if is_wrong.any():
            step = "" if self.frequency is None else f", {self.frequency.freqstr}"
            raise ValueError(
                f"{name} must have times of the frequency of fit{step}; found {times[is_wrong][0]}"
            )
        return np.asarray(steps, dtype=int)

    def after(self, origin: Any, steps: IntArray) -> pd.Index:
        """The times so many steps after ``origin``, none of them before it."""
        steps = np.asarray(steps, dtype=int)
        if self.kind == "integers":
            return pd.Index(int(origin) + steps)
        if self.kind == "periods":
            return pd.PeriodIndex([origin + int(step) for step in steps], freq=self.frequency)
        if self._is_tick:
            times = pd.DatetimeIndex([origin]).repeat(len(steps)) + pd.to_timedelta(
                steps * self._duration.to_timedelta64()
            )
            return times.as_unit(origin.unit)
        first = self._wall(pd.DatetimeIndex([origin]))
        if self._is_arithmetic:
            days = pd.to_timedelta(steps * self.frequency.n, unit="D")
            return self._zoned(first.repeat(len(steps)) + days).as_unit(origin.unit)
        grid = pd.date_range(first[0], periods=int(steps.max(initial=0)) + 1, freq=self.frequency)
        return self._zoned(grid[steps]).as_unit(origin.unit)

    @property
    def _is_tick(self) -> bool:
        """Whether a step is always as long, whatever the clocks of a zone show."""
        # a day is a tick in pandas 2 and none in pandas 3
        return isinstance(self.frequency, pd.offsets.Tick) and not self._is_daily

    @property
    def _is_daily(self) -> bool:
        return isinstance(self.frequency, pd.offsets.Day)

    @property
    def _is_arithmetic(self) -> bool:
        """Whether steps can be counted without listing them."""
        return self.kind != "time stamps" or self._is_tick or self._is_daily

    @property
    def _duration(self) -> pd.Timedelta:
        return (
            pd.Timedelta(days=self.frequency.n) if self._is_daily else pd.Timedelta(self.frequency)
        )

    def _divided(self, origin: Any, times: pd.Index) -> tuple[Any, Any]:
        """Steps after ``origin``, and which times are no whole number of them after it."""
        if self.kind == "integers":
            steps = times.to_numpy() - origin
            return steps, steps < 0
        if self.kind == "periods":
            between = times.asi8 - origin.ordinal
            steps = between // self.frequency.n
            return steps, (between % self.frequency.n != 0) | (steps < 0)
        if self._is_tick:
            between = times - origin
        else:
            between = self._wall(times) - self._wall(pd.DatetimeIndex([origin]))[0]
        steps = np.asarray(between // self._duration)
        return steps, (between - steps * self._duration != pd.Timedelta(0)) | (steps < 0)

    def _is_on(self, time: Any) -> bool:
        return bool(self.frequency.is_on_offset(self._wall(pd.DatetimeIndex([time]))[0]))

    def _wall(self, times: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """What clocks show, but for rows that a change of the clocks has moved."""
        if self.zone is None:
            return times
        wall = times.tz_localize(None)
        if self.clock is None:
            return wall
        regular = wall.normalize() + self.clock
        return wall.where(np.asarray(self._zoned(regular) != times), regular)

    def _zoned(self, wall: pd.DatetimeIndex) -> pd.DatetimeIndex:
        if self.zone is None:
            return wall
        is_first = np.ones(len(wall), dtype=bool)  # of the two hours that an autumn night has
        return wall.tz_localize(self.zone, ambiguous=is_first, nonexistent="shift_forward")


@dataclass(frozen=True, eq=False)
class History:
    """The rows of y and X that a forecaster has seen.

    Attributes
    ----------
    times : pandas.Index of length T
        Labels of the rows.
    steps : array of shape (T,)
        Steps of the calendar from the first row to each.
    y, X : arrays of shape (T, m) and (T, n)
        NaN where y is missing; n is 0 without X.
    y_columns, X_columns : pandas.Index
    calendar : Calendar
    present : int
        The row that forecasts go on from: the last one, unless an update ended before it.
    is_complete : bool
        Whether the rows trained on are all here.
    """

    times: pd.Index
    steps: IntArray
    y: Array
    X: Array
    y_columns: pd.Index
    X_columns: pd.Index
    calendar: Calendar
    present: int
    is_complete: bool = True

    @classmethod
    def of(
        cls,
        y: pd.DataFrame,
        X: pd.DataFrame | None,
        X_columns: pd.Index | None = None,
        calendar: Calendar | None = None,
    ) -> History:
        """The history that begins with these rows.

        ``X_columns`` gives the order of the columns of X, ``calendar`` a calendar that holds for
        rows too few to tell.
        """
        calendar = Calendar.of(y.index, calendar)
        steps = calendar.steps(y.index[0], y.index)
        rows = as_floats(y, "y", may_miss=True)
        if rows.isna().all(axis=0).any():
            raise ValueError("y must be observed in some row, found a column of missing values")
        X_columns = (y.columns[:0] if X is None else X.columns) if X_columns is None else X_columns
        values, present = np.ascontiguousarray(rows), len(y) - 1
        none = np.empty((len(y), 0))
        first = cls(y.index, steps, values, none, y.columns, X_columns, calendar, present)
        return replace(first, X=first._X_of(X, y.index, "fit"))

    def extended(self, y: pd.DataFrame, X: pd.DataFrame | None) -> History:
        """The history after these rows too; those of times already seen are left out."""
        check_unique(y.index, "y")
        times = self.calendar.comparable(y.index, "y")
        is_new = np.asarray(times > self.times[-1])
        if not is_new.any():
            # sktime's cutoff is then the last of these times
            return replace(self, present=self._row_of_last(times))
        new, times = y.loc[is_new], times[is_new]
        steps = self.calendar.steps(self.times[-1], times)
        if new.shape[1] == len(self.y_columns) == 1:
            new = new.set_axis(self.y_columns, axis=1)  # a series need keep no name
        check_columns(new.columns, self.y_columns, "y")
        rows = as_floats(new[self.y_columns], "y", may_miss=True).to_numpy()
        return replace(
            self,
            times=self.times.append(times),
            steps=np.append(self.steps, self.steps[-1] + steps),
            y=_below(self.y, rows),
            X=_below(self.X, self._X_of(X, times, "update")),
            present=len(self.times) + len(times) - 1,
        )

    def shortened(self, n_rows: int) -> History:
        """The last rows alone, a missing value of y replaced by the last one before it."""
        first = max(len(self.times) - n_rows, self.starts[-1])
        y = pd.DataFrame(self.y[self.starts[-1] :]).ffill().to_numpy()[first - self.starts[-1] :]
        return replace(
            self,
            times=self.times[first:],
            steps=self.steps[first:] - self.steps[first],
            y=y,
            X=self.X[first:],
            present=len(y) - 1,
            is_complete=False,
        )

    @property
    def starts(self) -> tuple[int, ...]:
        """First rows of the sequences of consecutive times."""
        return (0, *(int(row) + 1 for row in np.flatnonzero(np.diff(self.steps) != 1)))

    @property
    def cutoff(self) -> pd.Index:
        """The present time, with its frequency where pandas has room for it."""
        cutoff = self.times[self.present : self.present + 1].rename(None)
        return _with_frequency(cutoff, self.calendar)

    def gaps(self, before: int = 1) -> str | None:
        """What becomes of the gaps before the rows from ``before`` on, if there are any."""
        rows = [row for row in self.starts if row >= before]
        if not rows:
            return None
        more = f" and in {len(rows) - 1} other places" if len(rows) > 1 else ""
        return (
            f"Time steps are missing in y before {self.times[rows[0]]}{more}: the hidden state and "
            "the lags begin anew there. If nothing happened in them, as on holidays, count "
            "observations instead: y.reset_index(drop=True), and X alike. If values were not "
            "seen, put rows of missing values in: y.asfreq(...)."
        )

    @property
    def series(self) -> Series:
        """The rows as arrays."""
        return Series(self.y, self.X, self.starts, self.present, self.is_complete)

    def frame(self) -> pd.DataFrame:
        """y of the rows seen."""
        return pd.DataFrame(self.y, self.times, self.y_columns)

    def steps_ahead(self, horizon: pd.Index, is_relative: bool) -> IntArray:
        """Steps from the present to each time of a horizon; 0 and less are in-sample.

        Parameters
        ----------
        horizon : pandas.Index
            Times, or counts of steps or durations after the present if ``is_relative``.
        is_relative : bool
        """
        if is_relative and pd.api.types.is_integer_dtype(horizon):
            return horizon.to_numpy().astype(int)
        if is_relative:
            horizon = self._times_after(horizon)
        times = self.calendar.comparable(horizon, "fh")
        steps = np.empty(len(times), dtype=int)
        is_seen = np.asarray(times <= self.times[-1])
        rows = self.times.get_indexer(times[is_seen])
        if (rows < 0).any():
            raise self._not_seen(times[is_seen][rows < 0])
        steps[is_seen] = self.steps[rows]
        if not is_seen.all():
            last = self.times[-1]
            ahead = self.calendar.steps(last, times[~is_seen], "fh")
            steps[~is_seen] = self.steps[-1] + ahead
        return steps - self.steps[self.present]

    def rows_at(self, steps: IntArray) -> IntArray:
        """The rows so many steps after the present, none of them after the last row."""
        wanted = self.steps[self.present] + steps
        rows = np.minimum(np.searchsorted(self.steps, wanted), len(self.steps) - 1)
        is_missing = self.steps[rows] != wanted
        if is_missing.any():
            missing = wanted[is_missing]
            if (missing < 0).any():
                names = pd.Index([f"{step} steps after the cutoff" for step in steps[is_missing]])
            else:
                names = self.calendar.after(self.times[0], missing)
            raise self._not_seen(names)
        return rows

    def times_at(self, steps: IntArray) -> pd.Index:
        """The times so many steps after the present, in-sample ones first."""
        is_ahead = steps > 0
        seen = self.times[self.rows_at(steps[~is_ahead])]
        times = seen.append(self.calendar.after(self.times[self.present], steps[is_ahead]))
        times = (seen if not is_ahead.any() else times).rename(None)
        is_regular = len(times) > 1 and bool((np.diff(steps) == 1).all())
        return _with_frequency(times, self.calendar) if is_regular else times

    def future_X(self, X: pd.DataFrame | None, n_steps: int, reach: IntArray) -> Array:
        """X of the steps after the present, as far as each column is needed; zeros elsewhere.

        Parameters
        ----------
        X : pandas.DataFrame or None
        n_steps : int
        reach : array of shape (n,)
            The smallest lag of each column among the inputs.

        Returns
        -------
        array of shape (n_steps, n)

        Raises
        ------
        ValueError
            If X is missing, not finite, or has other columns, where it is needed.
        """
        is_needed = np.arange(n_steps)[:, None] < n_steps - reach
        n_rows = int(is_needed.any(axis=1).sum())
        self._check_X(X, n_rows, "predict")
        if n_rows == 0:
            return np.zeros((n_steps, len(reach)))
        times = self.calendar.after(self.times[self.present], np.arange(1, n_rows + 1))
        known = pd.DataFrame(self.X, self.times, self.X_columns)[self.present + 1 :]
        rows = _found(X, times, self.X_columns, self.calendar)
        rows = known.reindex(times) if rows is None else rows.fillna(known.reindex(times))
        missing = times[~np.isin(times, known.index)]
        missing = missing if X is None else missing.difference(
            self.calendar.comparable(X.index, "X"), sort=False
        )  # fmt: skip
        if len(missing):
            is_hole = X is not None and len(X) and (X.index.max() > missing[-1])
            kind = HoleInX if is_hole else ValueError
            raise kind(_without_X(X, missing, n_steps, list(self.X_columns)))
        values = np.zeros((n_steps, len(reach)))
        values[:n_rows] = np.where(is_needed[:n_rows], rows.to_numpy(dtype=float), 0.0)
        as_floats(pd.DataFrame(values[:n_rows], times, self.X_columns), "X")
        return values

    def _X_of(self, X: pd.DataFrame | None, times: pd.Index, caller: str) -> Array:
        """X of the times of y."""
        self._check_X(X, len(times), caller)
        if self.X_columns.empty or X is None:
            return np.empty((len(times), 0))
        rows = _found(X, times, self.X_columns, self.calendar)
        missing = times.difference(self.calendar.comparable(X.index, "X"), sort=False)
        if len(missing):
            raise ValueError(
                f"X passed to {caller} must have the times of y; missing {listed(missing)}"
            )
        return np.ascontiguousarray(as_floats(rows, "X"))

    def _check_X(self, X: pd.DataFrame | None, n_needed: int, caller: str) -> None:
        if self.X_columns.empty:
            if X is not None:
                raise ValueError(
                    f"X was passed to {caller}, but the forecaster was fitted without X; found "
                    f"columns {list(X.columns)}"
                )
            return
        if X is not None:
            check_unique(X.index, "X")
            check_columns(X.columns, self.X_columns, "X")
        elif n_needed and caller != "predict":
            raise ValueError(
                f"X must be passed to {caller}, since the forecaster was fitted with X: columns "
                f"{list(self.X_columns)}"
            )

    def _times_after(self, durations: pd.Index) -> pd.Index:
        """The times so long after the present."""
        now = self.times[self.present]
        if self.calendar.kind == "integers":
            raise ValueError(
                f"fh must count steps where y is indexed by integers; found {durations[0]!r}"
            )
        if self.calendar.kind == "periods":
            begin = pd.DatetimeIndex([now.start_time + duration for duration in durations])
            periods = begin.to_period(self.calendar.frequency)
            is_off = np.asarray(periods.start_time != begin)
            if is_off.any():
                raise ValueError(
                    f"fh must end at the beginning of a period of {self.calendar.frequency.freqstr}"
                    f" after {now}; found {durations[is_off][0]}. Count steps, or pass periods"
                )
            return periods
        if self.calendar.zone is None or self.calendar._is_tick:
            return pd.DatetimeIndex([now + duration for duration in durations])
        # a day later is the same time of day, whether the clocks were changed or not
        wall = self.calendar._wall(pd.DatetimeIndex([now]))[0]
        return self.calendar._zoned(pd.DatetimeIndex([wall + duration for duration in durations]))

    def _row_of_last(self, times: pd.Index) -> int:
        row = int(self.times.get_indexer(times[-1:])[0])
        if row < 0:
            if times[-1] > self.times[0]:
                self.calendar.steps(self.times[0], times[-1:])
            raise ValueError(
                f"y must have times of the rows seen, or later ones; not seen: {times[-1]}"
            )
        return row

    def _not_seen(self, times: pd.Index) -> ValueError:
        first, last = self.times[0], self.times[-1]
        return ValueError(
            f"fh must name times of the training window, {first} to {last}, or later ones; not "
            f"seen: {listed(times)}"
        )


def _below(above: Array, below: Array) -> Array:
    """Rows under rows; always laid out alike, since sums depend on it in their last digits."""
    return np.ascontiguousarray(np.vstack([above, below]))


def check_unique(index: pd.Index, name: str) -> None:
    """Refuse a time that stands there twice."""
    if not index.is_unique:
        raise ValueError(
            f"{name} must have an index without repetitions, found "
            f"{index[index.duplicated()][0]} twice"
        )


def as_horizon(fh: Any) -> Any:
    """A horizon as sktime takes it: times in a list become an index, which keeps no frequency."""
    times = (datetime.date, pd.Timestamp, pd.Period)
    if isinstance(fh, times):
        fh = [fh]
    if isinstance(fh, (list, tuple, np.ndarray)) and len(fh) and isinstance(fh[0], times):
        fh = pd.Index(fh)
    if isinstance(fh, pd.DatetimeIndex):
        # sktime would compare its frequency with that of the cutoff
        fh = pd.DatetimeIndex(fh, freq=None)
    return fh


def _kind(index: pd.Index, name: str) -> str:
    if isinstance(index, pd.DatetimeIndex):
        return "time stamps"
    if isinstance(index, pd.PeriodIndex):
        return "periods"
    if pd.api.types.is_integer_dtype(index):
        return "integers"
    first = f", the first {index[0]!r}" if len(index) else ""
    raise ValueError(
        f"{name} must be indexed by integers, periods or time stamps; found {index.dtype}{first}. "
        f"Add durations to a date, {_NUMBER}"
    )


def _with_frequency(times: pd.Index, calendar: Calendar) -> pd.Index:
    if calendar.kind != "time stamps":
        return times
    try:
        return pd.DatetimeIndex(times, freq=calendar.frequency)
    except ValueError:  # by its own arithmetic of zones pandas does not find the times regular
        return pd.DatetimeIndex(times, freq=None)


def _found(
    X: pd.DataFrame | None, times: pd.Index, columns: pd.Index, calendar: Calendar
) -> pd.DataFrame | None:
    """The rows of X at these times, missing where there are none."""
    if X is None:
        return None
    rows = X.set_axis(calendar.comparable(X.index, "X"))
    return reordered(rows, columns).reindex(times)


def _without_X(X: pd.DataFrame | None, missing: pd.Index, n_steps: int, columns: list[Any]) -> str:
    """What X lacks, and the remedies."""
    remedy = (
        f"To do without X of the times ahead set exog_lags to {n_steps} steps or more, such as "
        f"exog_lags=[{n_steps}]; or let sktime's ForecastX forecast X; in evaluate, pass cv_X"
    )
    if X is None:
        return (
            f"X must be passed to predict, since the forecaster was fitted with X: columns "
            f"{columns} at {listed(missing)}. {remedy}"
        )
    return (
        f"X passed to predict must have a row for every time after the cutoff up to the last one "
        f"needed, since the hidden state runs through all of them; missing {listed(missing)}, "
        f"found rows from {X.index.min()} to {X.index.max()}. {remedy}"
    )


def _check_counting(index: pd.Index) -> None:
    """Refuse integers of a larger step than sktime's horizons have, which is 1."""
    step = int(np.diff(index).min()) if len(index) > 1 else 1
    if step > 1:
        raise ValueError(
            f"y must have an integer index that counts by 1, as horizons do; found one that counts "
            f"by {step}. Use y.reset_index(drop=True)"
        )


def _inferred(index: pd.DatetimeIndex) -> pd.DateOffset:
    """The frequency of time stamps that do not carry one: the coarsest that holds them all."""
    message = "y must have a DatetimeIndex with a frequency, or horizons have no meaning; found"
    if len(index) < 3:
        raise ValueError(
            f"{message} {len(index)} time stamps, too few to tell, the last {index[-1]}. Use "
            f"y.asfreq(...) or a PeriodIndex, {_NUMBER}"
        )
    wall = Calendar("time stamps", pd.offsets.Day(), index.tz, _clock(index))._wall(index)
    if wall.is_unique and wall.is_monotonic_increasing:
        frequency = pd.infer_freq(wall) or _of_pieces(wall)
        if frequency is not None and not _is_short(frequency):
            return frequency
    # hours and less go on evenly where the clocks are changed
    instants = index if index.tz is None else index.tz_convert("UTC")
    frequency = pd.infer_freq(instants) or _of_pieces(instants)
    if frequency is None:
        step = pd.Series(np.diff(index))
        odd = index[1 + int((step != step.mode()[0]).to_numpy().argmax())]
        raise ValueError(
            f"{message} irregular time stamps, such as {odd}. Use y.asfreq(...), a PeriodIndex, "
            f"{_NUMBER}"
        )
    return pd.tseries.frequencies.to_offset(frequency)


def _clock(index: pd.DatetimeIndex) -> pd.Timedelta:
    """The time of day that most rows have by the clock of their zone."""
    wall = index.tz_localize(None)
    return pd.Series(wall - wall.normalize()).mode()[0]


def _is_short(frequency: Any) -> bool:
    return Calendar("time stamps", pd.tseries.frequencies.to_offset(frequency))._is_tick


def _of_pieces(index: pd.DatetimeIndex) -> pd.DateOffset | None:
    """The coarsest frequency that holds all times: that of a long piece, or one not inferred."""
    step = pd.Series(index[1:] - index[:-1])
    edges = np.flatnonzero(step > 1.5 * step.median()) + 1
    pieces = [index[first:stop] for first, stop in pairwise([0, *edges, len(index)])]
    longest = max(pieces, key=len)
    names = [pd.infer_freq(longest)] if len(longest) >= 3 else []
    found: dict[pd.DateOffset, int] = {}
    for name in [*names, *_NOT_INFERRED]:
        if name is None:
            continue
        calendar = Calendar("time stamps", pd.tseries.frequencies.to_offset(name), index.tz)
        if not calendar.holds(index):
            continue
        steps = np.diff(calendar.steps(index[0], index))
        multiple = int(np.gcd.reduce(steps)) * calendar.frequency.n
        offset = calendar.frequency.base * multiple
        found[offset] = int(steps.sum() // np.gcd.reduce(steps))
    return min(found, key=found.__getitem__) if found else None
