"""Which times a series can have: all arithmetic of times is here.

A calendar is found once, over all rows of ``fit``, since three rows of one week would pass for
daily data. Steps are counted on it and never by dividing durations: a day has 23 hours where the
clock changes, and holidays are no business days.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from sktime_alm.solver._typing import Array, IntArray

# fewer rows do not tell trading days from others
_FEWEST_TRADING = 10
# so many rows, each in a week or month of its own, are weeks or months
_FEWEST_PERIODS = 5
# the longest closure, in business days
_CLOSED = 7
_NUMBER = "or y.reset_index(drop=True), and X alike, to count observations"
_RHYTHMS = (
    ((pd.offsets.BusinessDay, pd.offsets.CustomBusinessDay), "business days"),
    ((pd.offsets.Day,), "days"),
    ((pd.offsets.Week,), "weeks"),
    (
        (
            pd.offsets.MonthEnd,
            pd.offsets.MonthBegin,
            pd.offsets.BusinessMonthEnd,
            pd.offsets.BusinessMonthBegin,
        ),
        "months",
    ),
)
# a step of these need not keep the time of day
_HOURS = (pd.offsets.BusinessHour,)
# frequencies that pandas does not infer
_NOT_INFERRED = (
    *("B", "SME", "SMS", "SME-14", "SMS-14"),
    # by its class: older pandas does not know the name of the last weekday of a month
    *(pd.offsets.LastWeekOfMonth(weekday=day) for day in range(7)),
)


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
    is_trading : bool
        Whether they are trading days: business days but for holidays, which rows tell.
    """

    kind: str
    frequency: Any = None
    zone: Any = None
    clock: pd.Timedelta | None = None
    is_trading: bool = False

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
        if index.freq is None and known is not None:
            known = known.learned(index[:1], index[1:])
            if known.holds(index):
                return known
        trading = None if index.freq is not None else _trading(index)
        if trading is not None:
            return trading
        frequency = pd.tseries.frequencies.to_offset(index.freq or _inferred(index))
        calendar = cls(kind, frequency, index.tz)
        if calendar.zone is None or calendar._is_tick or isinstance(frequency, _HOURS):
            return calendar
        return replace(calendar, clock=_clock(index))

    def learned(
        self, before: pd.Index, times: pd.Index, is_dense: bool = False, n_seen: int = 0
    ) -> Calendar:
        """The calendar after trading days that came, or that a horizon names.

        Business days that they pass over become holidays: up to seven at a time, as a new year is
        long in China, and in all no more than that or a tenth of the business days, those seen
        before among them, and a fifth of the new ones.

        Parameters
        ----------
        before : pandas.Index of length 1
            The last time before them.
        times : pandas.Index
        is_dense : bool
            Whether the times may be a choice of days, of which only five and more that leave out
            at most a fifth of the business days are taken for all.
        n_seen : int, default=0
            Number of rows up to the last one before.
        """
        if not (self.is_trading and len(times)):
            return self
        days = self._days(before.append(times))
        if not _are_weekdays(days) or not days.is_monotonic_increasing:
            return self
        expected = self._business_days(days[0], days[-1])
        passed = expected.difference(days)
        gaps = expected.get_indexer(days[days.isin(expected)])
        longest = int(np.diff(gaps).max(initial=1)) - 1
        if is_dense and (len(times) < 5 or len(passed) > 0.2 * (len(expected) - 1)):
            return self
        # of few new rows a new year is more than a tenth
        most = min(0.1 * (n_seen + len(expected)), 0.2 * len(expected))
        if not len(passed) or longest > _CLOSED or len(passed) > max(_CLOSED, most):
            return self
        holidays = [*self.frequency.holidays, *passed.to_numpy().astype("datetime64[D]")]
        return replace(self, frequency=pd.offsets.CustomBusinessDay(holidays=holidays))

    def _days(self, times: pd.Index) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(self._wall(times).normalize(), freq=None)

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
        """The times so many steps after ``origin``, none of them before it.

        Raises
        ------
        ValueError
            If one is later than its type can tell, as the year 2262 is for nanoseconds.
        """
        steps = np.asarray(steps, dtype=int)
        try:
            return self._after(origin, steps)
        # pandas also says NotImplementedError, of zones beyond the year 9999
        except (OverflowError, pd.errors.OutOfBoundsDatetime, NotImplementedError) as error:
            raise ValueError(
                f"fh must end at times that pandas can tell in the unit of y of fit; found "
                f"{steps.max()} steps after {origin}: {error}"
            ) from error

    def _after(self, origin: Any, steps: IntArray) -> pd.Index:
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
        n_days = steps * self.frequency.n
        if self._business is not None:
            day, clock = first.normalize(), first[0] - first[0].normalize()
            days = np.busday_offset(_dates(day), n_days, roll="forward", busdaycal=self._business)
            return self._zoned(pd.DatetimeIndex(days) + clock).as_unit(origin.unit)
        if self._is_daily:
            days = pd.to_timedelta(n_days, unit="D")
            return self._zoned(first.repeat(len(steps)) + days).as_unit(origin.unit)
        # two at least: of one alone pandas asks for 0 times the frequency, which LWOM refuses
        n_times = int(steps.max(initial=1)) + 1
        grid = pd.date_range(first[0], periods=n_times, freq=self.frequency)
        return self._zoned(grid[steps]).as_unit(origin.unit)

    def later(self, now: Any, durations: pd.Index) -> pd.Index:
        """The times so long after ``now``."""
        if self.kind == "integers":
            raise ValueError(
                f"fh must count steps where y is indexed by integers; found {durations[0]!r}"
            )
        if self.kind == "periods":
            begin = pd.DatetimeIndex([now.start_time + duration for duration in durations])
            periods = begin.to_period(self.frequency)
            is_off = np.asarray(periods.start_time != begin)
            if is_off.any():
                raise ValueError(
                    f"fh must end at the beginning of a period of {self.frequency.freqstr}"
                    f" after {now}; found {durations[is_off][0]}. Count steps, or pass periods"
                )
            return periods
        if self.zone is None or self._is_tick:
            return pd.DatetimeIndex([now + duration for duration in durations])
        # a day later is the same time of day, whether the clocks were changed or not
        wall = self._wall(pd.DatetimeIndex([now]))[0]
        return self._zoned(pd.DatetimeIndex([wall + duration for duration in durations]))

    def with_frequency(self, times: pd.Index) -> pd.Index:
        """Regular times with the frequency, where pandas has room for it."""
        if self.kind != "time stamps":
            return times
        # trading days without a holiday so far are plain business days, for sktime too
        is_plain = self.is_trading and not len(self.frequency.holidays)
        try:
            return pd.DatetimeIndex(times, freq="B" if is_plain else self.frequency)
        except ValueError:  # by its own arithmetic of zones pandas does not find the times regular
            return pd.DatetimeIndex(times, freq=None)

    @property
    def rhythm(self) -> str | None:
        """The name of a step: "business days", "days", "weeks" or "months"; None of all else."""
        if self.kind == "integers" or self.frequency.n != 1:
            return None
        for kinds, name in _RHYTHMS:
            if isinstance(self.frequency, kinds):
                return name
        return None

    def features(self, times: pd.Index, origin: Any) -> Array:
        """What the calendar tells about days: indicators of weekdays, and the length of the gap.

        Of the five weekdays of business days, or the seven of days, all but the first; then the
        logarithm of the business days, or days, since the time before: 0 without a gap.

        Parameters
        ----------
        times : pandas.Index of length T
        origin : time stamp, period or None
            The time before the first of them; None if there was none.

        Returns
        -------
        array of shape (T, 5) or (T, 7)
        """
        if not self.has_features:
            step = "integers" if self.frequency is None else self.frequency.freqstr
            raise ValueError(
                "calendar_inputs must be False unless y is indexed by days or business days; "
                f"found {step}"
            )
        days = times.to_timestamp() if self.kind == "periods" else self._wall(times)
        last = 5 if self.rhythm == "business days" else 7
        weekdays = (np.asarray(days.day_of_week)[:, None] == np.arange(1, last)).astype(float)
        dates = _dates(days)
        if origin is not None:
            first = origin.to_timestamp() if self.kind == "periods" else origin
            before = np.append(np.datetime64(first.date()), dates[:-1])
        else:
            before = np.append(dates[:1] - np.timedelta64(1, "D"), dates[:-1])
        mask = "1111100" if self.rhythm == "business days" else "1111111"
        gaps = np.busday_count(before, dates, weekmask=mask)
        return np.column_stack([weekdays, np.log(np.maximum(gaps, 1))])

    @property
    def has_features(self) -> bool:
        """Whether it is one of days or business days."""
        return self.rhythm in ("business days", "days")

    @property
    def n_features(self) -> int:
        """Number of columns of :meth:`features`."""
        return 5 if self.rhythm == "business days" else 7

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
        is_even = self.kind != "time stamps" or self._is_tick or self._is_daily
        return is_even or self._business is not None

    @property
    def _business(self) -> np.busdaycalendar | None:
        """NumPy's calendar of business days; pandas lists them one by one, for seconds."""
        frequency = self.frequency
        is_plain = isinstance(frequency, pd.offsets.BusinessDay) and not frequency.normalize
        if not is_plain or frequency.offset:
            return None
        return getattr(frequency, "calendar", None) or np.busdaycalendar()

    def _business_days(self, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
        """All from the first to the last."""
        days = np.arange(first, last + pd.Timedelta(days=1), dtype="datetime64[D]")
        return pd.DatetimeIndex(days[np.is_busday(days, busdaycal=self._business)])

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
            wall, first = self._wall(times), self._wall(pd.DatetimeIndex([origin]))[0]
            if self._business is not None:
                return self._counted(first, wall)
            between = wall - first
        steps = np.asarray(between // self._duration)
        return steps, (between - steps * self._duration != pd.Timedelta(0)) | (steps < 0)

    def _counted(self, first: pd.Timestamp, wall: pd.DatetimeIndex) -> tuple[Any, Any]:
        """The same of business days."""
        days, calendar, n = _dates(wall), self._business, self.frequency.n
        counts = np.busday_count(first.date(), days, busdaycal=calendar)
        is_wrong = (counts < 0) | (counts % n != 0) | ~np.is_busday(days, busdaycal=calendar)
        is_wrong |= np.asarray(wall - wall.normalize() != first - first.normalize())
        return counts // n, is_wrong

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


def _dates(times: pd.DatetimeIndex) -> Any:
    return times.to_numpy().astype("datetime64[D]")


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
        frequency = _named(wall) or _of_pieces(wall)
        if frequency is not None and not _is_short(frequency):
            _check_not_one_a_period(wall, pd.tseries.frequencies.to_offset(frequency))
            return frequency
    # hours and less go on evenly where the clocks are changed
    instants = index if index.tz is None else index.tz_convert("UTC")
    frequency = _named(instants) or _of_pieces(instants)
    if frequency is None:
        step = pd.Series(np.diff(index))
        odd = index[1 + int((step != step.mode()[0]).to_numpy().argmax())]
        raise ValueError(
            f"{message} irregular time stamps, such as {odd}. Use y.asfreq(...), a PeriodIndex, "
            f"{_NUMBER}"
        )
    offset = pd.tseries.frequencies.to_offset(frequency)
    if index.tz is not None and isinstance(offset, (pd.offsets.Day, pd.offsets.Week)):
        # a day of another zone is 24 hours of this one
        n_days = 7 if isinstance(offset, pd.offsets.Week) else 1
        return pd.offsets.Hour(24 * n_days * offset.n)
    return offset


def _check_not_one_a_period(wall: pd.DatetimeIndex, frequency: pd.DateOffset) -> None:
    """Refuse days of which there is one in each week or month, not the same one: gaps all over."""
    is_days = isinstance(frequency, (pd.offsets.Day, pd.offsets.BusinessDay)) and frequency.n == 1
    if not is_days or len(wall) < _FEWEST_PERIODS:
        return
    for code, name in (("W", "week"), ("M", "month"), ("Q", "quarter"), ("Y", "year")):
        if (np.diff(wall.to_period(code).asi8) == 1).all():
            raise ValueError(
                f"y must have time stamps one step apart; found one in each {name}, on days that "
                f"vary, such as {wall[0]} and {wall[1]}. Make them periods: y.index = "
                f"y.index.to_period({code!r}), and X alike"
            )


def _named(index: pd.DatetimeIndex) -> str | None:
    """The frequency that pandas infers, unless it is wrong: of a last Friday it says the fourth."""
    name = pd.infer_freq(index)
    if name is None:
        return None
    calendar = Calendar("time stamps", pd.tseries.frequencies.to_offset(name), index.tz)
    return name if calendar.holds(index) else None


def _are_weekdays(days: pd.DatetimeIndex) -> bool:
    return bool(days.is_unique and (days.day_of_week < 5).all())


def _trading(index: pd.DatetimeIndex) -> Calendar | None:
    """The calendar of trading days, if these are such: business days with some holidays."""
    if len(index) < _FEWEST_TRADING:
        return None
    zone, clock = index.tz, _clock(index)
    plain = Calendar("time stamps", pd.offsets.CustomBusinessDay(), zone, clock, is_trading=True)
    days = plain._days(index)
    wall = index.tz_localize(None)
    if not (_are_weekdays(days) and (wall - wall.normalize() == clock).all()):
        return None
    found = plain.learned(index[:1], index[1:])
    has_all_weekdays = set(days.day_of_week) == set(range(5))
    if not (has_all_weekdays and found.holds(index)):
        return None
    if zone is None:
        found = replace(found, clock=None)
    return found if (np.diff(found.steps(index[0], index)) == 1).all() else None


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
