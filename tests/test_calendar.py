"""Times: what numbered rows give, a series of any frequency gives, at its own times."""

import datetime
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pandas.tseries.holiday import USFederalHolidayCalendar

from sktime_alm import ALMElmanForecaster
from sktime_alm.calendar import Calendar
from tests.conftest import QUICK

TRADING = pd.offsets.CustomBusinessDay(calendar=USFederalHolidayCalendar())
INFERRED = [
    "D", "B", "W-WED", "ME", "MS", "QE-FEB", "QS", "YE", "YS-APR", "BME", "BQS", "h", "15min",
    "2D", "3W", "2ME", "12h", "WOM-3FRI", "SME", "SMS", "bh",
]  # fmt: skip
CARRIED = [*INFERRED, TRADING, "2B", "2SME", pd.offsets.CustomBusinessHour()]
ZONES = [None, "Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Sao_Paulo"]
VALUES = np.random.default_rng(0).normal(size=80)


def dates(frequency, zone=None, periods=80, start="2018-01-03"):
    try:
        return pd.date_range(start, periods=periods, freq=frequency, tz=zone)
    except ValueError:
        # a midnight that a change of the clocks took away, which pandas leaves to us
        naive = pd.date_range(start, periods=periods, freq=frequency)
        return naive.tz_localize(zone, nonexistent="shift_forward", ambiguous=True)


def quiet(call, *arguments, **named):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Time steps are missing")
        return call(*arguments, **named)


@st.composite
def series(draw):
    """Times of a frequency, the rows that are kept, and where updates cut them."""
    has_frequency = draw(st.booleans())
    frequency = draw(st.sampled_from(CARRIED if has_frequency else INFERRED))
    zone = draw(st.sampled_from(ZONES))
    start = draw(st.sampled_from(["2018-01-03", "2017-10-09", "2024-02-20"]))
    times = dates(frequency, zone, start=start)
    assume(times.freq is not None or not has_frequency)
    n_first = draw(st.integers(30, 45))
    later = range(n_first, 70)
    dropped = draw(st.sets(st.sampled_from(later), max_size=12))
    rows = [row for row in range(70) if row not in dropped]
    cuts = sorted(draw(st.sets(st.integers(n_first + 1, len(rows) - 1), max_size=4)))
    return times, has_frequency, n_first, rows, [*cuts, len(rows)]


@settings(max_examples=12)
@given(series())
def test_forecasts_are_those_of_numbered_rows_whatever_the_calendar_and_the_updates(case):
    times, has_frequency, n_first, rows, cuts = case
    if not has_frequency:
        times = pd.DatetimeIndex(times, freq=None)
    y = pd.Series(VALUES, times, name="y")
    found = ALMElmanForecaster(**QUICK).fit(y[:n_first])
    expected = ALMElmanForecaster(**QUICK).fit(pd.Series(VALUES[:n_first]))
    first = n_first
    for cut in cuts:
        new = rows[first:cut]
        quiet(found.update, y.iloc[new], update_params=False)
        quiet(expected.update, pd.Series(VALUES[new], new), update_params=False)
        first = cut
    last = rows[-1]
    steps = [-2, 0, 1, 2, 7] if {last - 2} <= set(rows) else [0, 1, 2, 7]
    by_number = expected.predict(fh=steps)
    for fh in (steps, times[[last + step for step in steps]]):
        forecasts = found.predict(fh=fh)
        assert list(forecasts.index) == list(times[by_number.index])
        np.testing.assert_allclose(forecasts, by_number)
    assert found.cutoff[0] == times[last]


@settings(max_examples=12)
@given(series())
def test_all_rows_at_once_are_the_rows_in_pieces(case):
    times, _, n_first, rows, cuts = case
    y = pd.Series(VALUES, times, name="y")
    at_once = ALMElmanForecaster(**QUICK).fit(y[:n_first])
    in_pieces = at_once.clone().fit(y[:n_first])
    quiet(at_once.update, y.iloc[rows[: cuts[-1]]], update_params=False)
    first = n_first
    for cut in cuts:
        # rows already seen are ignored
        quiet(in_pieces.update, y.iloc[rows[max(first - 3, 0) : cut]], update_params=False)
        first = cut
    one, other = (f.predict_interval(fh=[1, 3]) for f in (at_once, in_pieces))
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("frequency", CARRIED, ids=str)
@pytest.mark.parametrize("zone", ZONES)
def test_steps_and_times_are_inverse(frequency, zone):
    times = dates(frequency, zone)
    calendar = Calendar.of(times[:50])
    np.testing.assert_array_equal(calendar.steps(times[0], times), np.arange(80))
    for origin in (0, 17, 49):
        later = np.array([0, 1, 5, 30])
        assert list(calendar.after(times[origin], later)) == list(times[origin + later])
        np.testing.assert_array_equal(calendar.steps(times[origin], times[origin + later]), later)


@pytest.mark.parametrize(
    ("frequency", "shift"),
    [
        ("D", "12h"), ("h", "30min"), ("2D", "1D"), ("15min", "5min"), ("B", "1h"), ("W", "1D"),
        ("ME", "1D"), ("MS", "1D"), ("SME", "1D"), ("YE", "1D"), ("bh", "30min"), ("3W", "7D"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_times_off_the_grid_are_refused_by_name(frequency, shift, zone):
    times = dates(frequency, zone)
    y = pd.Series(VALUES, times)
    forecaster = ALMElmanForecaster(**QUICK).fit(y[:50])
    expected = forecaster.predict(fh=[1, 2])
    off = times[50:53] + pd.Timedelta(shift)
    with pytest.raises(
        ValueError, match=f"y must have times of the frequency.*{off[0]}".replace("+", r"\+")
    ):
        forecaster.update(y[50:53].set_axis(off), update_params=False)
    with pytest.raises(ValueError, match="fh must have times of the frequency"):
        forecaster.predict(fh=off)
    pd.testing.assert_series_equal(forecaster.predict(fh=[1, 2]), expected)


def test_horizons_of_every_kind():
    times = dates("D")
    forecaster = ALMElmanForecaster(**QUICK).fit(pd.Series(VALUES[:50], times[:50]))
    expected = forecaster.predict(fh=[1, 2])
    day = datetime.timedelta(days=1)
    for fh in (
        times[50:52],
        list(times[50:52]),
        [day, 2 * day],
        pd.to_timedelta([1, 2], unit="D"),
        [times[50].to_pydatetime(), times[51].to_pydatetime()],
    ):
        pd.testing.assert_series_equal(forecaster.predict(fh=fh), expected, check_freq=False)
    one = forecaster.predict(fh=times[50])
    pd.testing.assert_series_equal(one, expected[:1], check_freq=False)


def test_a_horizon_in_another_zone_names_the_same_instants():
    times = dates("D", "Europe/Berlin", start="2024-02-20")
    forecaster = ALMElmanForecaster(**QUICK).fit(pd.Series(VALUES[:36], times[:36]))
    expected = forecaster.predict(fh=list(range(1, 9)))  # over the change of the clocks
    assert list(expected.index) == list(times[36:44])
    found = forecaster.predict(fh=times[36:44].tz_convert("UTC"))
    pd.testing.assert_series_equal(found, expected, check_freq=False)
    # a day later it is midnight again, whatever the clocks do
    days = pd.to_timedelta(range(1, 9), unit="D")
    pd.testing.assert_series_equal(forecaster.predict(fh=days), expected, check_freq=False)
    with pytest.raises(ValueError, match="fh must have times with the time zone.*tz_localize"):
        forecaster.predict(fh=times[36:38].tz_localize(None))


def test_periods_and_multiples_of_them():
    times = pd.period_range("2000-01", periods=80, freq="2M")
    forecaster = ALMElmanForecaster(**QUICK).fit(pd.Series(VALUES[:50], times[:50]))
    expected = forecaster.predict(fh=[1, 2, 9])
    assert list(expected.index) == list(times[[50, 51, 58]])
    pd.testing.assert_series_equal(forecaster.predict(fh=times[[50, 51, 58]]), expected)
    pd.testing.assert_series_equal(forecaster.predict(fh=[times[50], times[51]]), expected[:2])
    with pytest.raises(ValueError, match="fh must have periods of the frequency"):
        forecaster.predict(fh=pd.period_range("2009-01", periods=2, freq="Q"))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (pd.timedelta_range("1D", periods=40, freq="D"), "timedelta|TimedeltaIndex"),
        (pd.Index([f"day {k}" for k in range(40)]), "y"),
    ],
    ids=["durations", "names"],
)
def test_other_kinds_of_index_are_refused(index, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ALMElmanForecaster(**QUICK).fit(pd.Series(VALUES[:40], index))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (
            pd.period_range("2019-01", periods=3, freq="M"),
            "y must be indexed by time stamps.*found periods",
        ),
        (pd.RangeIndex(3), "y must be indexed by time stamps.*found integers"),
        (pd.date_range("2019-01-01", periods=3, tz="UTC"), "y must have times with no time zone"),
    ],
    ids=["periods", "integers", "zone"],
)
def test_an_update_with_another_kind_of_index_is_refused(index, message):
    y = pd.Series(VALUES[:40], dates("D", periods=40))
    forecaster = ALMElmanForecaster(**QUICK).fit(y)
    expected = forecaster.predict(fh=[1])
    with pytest.raises(ValueError, match=message):
        forecaster.update(pd.Series(VALUES[:3], index), update_params=False)
    pd.testing.assert_series_equal(forecaster.predict(fh=[1]), expected)
    assert forecaster.cutoff[0] == y.index[-1]


def test_update_predict_on_a_calendar_of_holidays():
    from sktime.split import ExpandingWindowSplitter

    times = dates(TRADING)
    y = pd.Series(VALUES, times)
    numbered = y.reset_index(drop=True)
    cv = ExpandingWindowSplitter(initial_window=1, step_length=3, fh=[1])
    found, expected = (
        ALMElmanForecaster(**QUICK)
        .fit(each[:50])
        .update_predict(each[50:], cv, update_params=False)
        for each in (y, numbered)
    )
    assert list(found.index) == list(times[expected.index])
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("n_new", [2, 6])
@pytest.mark.parametrize(
    "frequency", ["trading days", "D", "SME", "2B", pd.offsets.LastWeekOfMonth(weekday=4), "bh"]
)
def test_update_predict_on_dates_that_tell_no_frequency(frequency, n_new):
    """Row by row the same; sktime begins with a step back, of a frequency guessed from new rows."""
    times = trading_days(54) if frequency == "trading days" else dates(frequency, periods=54)
    # the last but one is a holiday
    times = times.delete(-2) if frequency == "trading days" else times
    y = pd.Series(VALUES[: len(times)], pd.DatetimeIndex(times, freq=None))
    old, new = y[:-n_new], y[-n_new:]
    forecaster = ALMElmanForecaster(**QUICK).fit(old)
    found = forecaster.update_predict(new, update_params=False)
    expected = []
    for row in range(n_new - 1):
        forecaster.update(new[row : row + 1], update_params=False)
        expected.append(forecaster.predict(fh=[1]))
    pd.testing.assert_series_equal(found, pd.concat(expected), check_freq=False)


def trading_days(n=60, seed=0, start="2020-01-02"):
    """Business days without holidays: one now and then, and three in a row."""
    days = pd.bdate_range(start, periods=n + 20)
    closed = np.random.default_rng(seed).choice(np.arange(30, n + 18), n // 30, replace=False)
    return pd.DatetimeIndex(days.delete([*closed, 20, 21, 22])[:n], freq=None)


def numbered(index):
    values = np.random.default_rng(1).normal(size=len(index)).cumsum()
    return pd.Series(values, index, name="y"), pd.Series(values, name="y")


@pytest.mark.parametrize("zone", [None, "America/New_York"])
@pytest.mark.parametrize("seed", range(4))
def test_trading_days_with_holidays_are_one_series(seed, zone):
    """The same as if its rows were counted, in fits, updates and horizons of dates."""
    index = trading_days(80, seed).tz_localize(zone)
    by_date, by_number = numbered(index)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dated = ALMElmanForecaster(**QUICK).fit(by_date[:50])
        counted = ALMElmanForecaster(**QUICK).fit(by_number[:50])
        for first, stop in ((50, 51), (51, 53), (53, 65)):
            dated.update(by_date[first:stop], update_params=False)
            counted.update(by_number[first:stop], update_params=False)
            found = dated.predict(fh=[1, 2, 3])
            np.testing.assert_array_equal(found, counted.predict(fh=[1, 2, 3]))
            assert (found.index > index[stop - 1]).all() and (found.index.day_of_week < 5).all()
        # dates that leave out holidays to come
        found = dated.predict(fh=index[65:])
        pd.testing.assert_index_equal(found.index, index[65:], check_names=False)
        np.testing.assert_array_equal(found, counted.predict(fh=np.arange(1, 16)))
        inside = dated.predict(fh=index[30:60])
        np.testing.assert_array_equal(inside, counted.predict(fh=np.arange(-34, -4)))


def test_rows_of_X_tell_the_trading_days_to_come():
    index = trading_days(70, seed=1)
    by_date, by_number = numbered(index)
    X, X_counted = by_date.rename("x").to_frame(), by_number.rename("x").to_frame()
    asked = {**QUICK, "exog_lags": 0}
    dated = ALMElmanForecaster(**asked).fit(by_date[:45], X[:45])
    counted = ALMElmanForecaster(**asked).fit(by_number[:45], X_counted[:45])
    found = dated.predict(fh=np.arange(1, 21), X=X[45:65])
    pd.testing.assert_index_equal(found.index, index[45:65], check_names=False)
    np.testing.assert_array_equal(found, counted.predict(fh=np.arange(1, 21), X=X_counted[45:65]))


def test_one_day_or_every_other_to_come_are_no_holidays():
    index = trading_days(60)
    forecaster = ALMElmanForecaster(**QUICK).fit(numbered(index)[0])
    days = pd.bdate_range(index[-1], periods=13)[1:]
    all_days = forecaster.predict(fh=np.arange(1, 13))
    pd.testing.assert_index_equal(all_days.index, days, check_names=False)
    assert forecaster.predict(fh=days[[4]]).iloc[0] == all_days.iloc[4]
    np.testing.assert_array_equal(forecaster.predict(fh=days[::2]), all_days[::2])


def test_gaps_that_are_no_holidays_begin_the_series_anew():
    days = pd.bdate_range("2020-01-02", periods=90)
    index = pd.DatetimeIndex(days[:40].append(days[60:]), freq=None)
    with pytest.warns(UserWarning, match="Time steps are missing in y before 2020-03-26"):
        ALMElmanForecaster(**QUICK).fit(numbered(index)[0])
    first = pd.DatetimeIndex(days[:40], freq=None)
    forecaster = ALMElmanForecaster(**QUICK).fit(numbered(first)[0])
    with pytest.warns(UserWarning, match="Time steps are missing in y before 2020-03-26"):
        forecaster.update(numbered(days[60:70])[0], update_params=False)
    # business days that are declared keep their word
    declared = ALMElmanForecaster(**QUICK).fit(numbered(days[:40])[0])
    with pytest.warns(UserWarning, match="Time steps are missing"):
        declared.update(numbered(days[41:43])[0], update_params=False)


def test_rows_that_are_counted_are_not_asked_for_dates():
    forecaster = ALMElmanForecaster(**QUICK).fit(numbered(trading_days())[1])
    with pytest.raises(ValueError, match="fh must be indexed by integers"):
        forecaster.predict(fh=trading_days()[-3:])


@pytest.mark.parametrize("zone", [None, "America/New_York"])
@pytest.mark.parametrize("first", ["2020-01-01", "2020-01-04 02:30", "2020-01-06 23:00"])
@pytest.mark.parametrize(
    "frequency",
    [
        pd.offsets.BDay(),
        pd.offsets.BDay(3),
        pd.offsets.CustomBusinessDay(weekmask="Sun Mon Tue Wed Thu", holidays=["2020-01-06"]),
        pd.offsets.CustomBusinessDay(2, calendar=USFederalHolidayCalendar()),
    ],
    ids=str,
)
def test_business_days_are_counted_as_pandas_lists_them(frequency, first, zone):
    first = pd.Timestamp(first)

    def zoned(wall):
        return wall if zone is None else wall.tz_localize(zone, nonexistent="shift_forward")

    origin = zoned(pd.DatetimeIndex([first]))[0]
    clock = None if zone is None else first - first.normalize()
    calendar = Calendar("time stamps", frequency, origin.tz, clock)
    listed = pd.date_range(first, periods=300, freq=frequency)
    np.testing.assert_array_equal(calendar.steps(origin, zoned(listed)), np.arange(300))
    chosen = np.array([0, 7, 299, 5])
    pd.testing.assert_index_equal(
        calendar.after(origin, chosen), zoned(listed[chosen]), check_names=False
    )
    days = pd.date_range(first, periods=60)
    is_on = [calendar.holds(pd.DatetimeIndex([time])) for time in zoned(days)]
    np.testing.assert_array_equal(is_on, [frequency.is_on_offset(day) for day in days])
    assert not calendar.holds(zoned(listed[[0, 1]] + pd.to_timedelta([0, 1], unit="h")))


@pytest.mark.parametrize("days", [1, 7])
def test_days_of_another_zone_are_hours_of_this_one(days):
    index = pd.date_range("2018-03-01", periods=44, freq=f"{days}D", tz="UTC")
    index = pd.DatetimeIndex(index.tz_convert("Europe/Berlin"), freq=None)
    found = ALMElmanForecaster(**QUICK).fit(pd.Series(VALUES[:40], index[:40])).predict(fh=[1, 4])
    assert list(found.index) == [index[40], index[43]]


def test_rows_in_sample_need_no_times_ahead():
    try:
        fridays = pd.date_range("2001-01-01", periods=40, freq="LWOM-FRI")
    except ValueError:
        pytest.skip("this pandas does not read LWOM")
    y = pd.Series(np.random.default_rng(0).normal(size=40), fridays)
    forecaster = ALMElmanForecaster(**QUICK).fit(y)
    pd.testing.assert_index_equal(
        forecaster.predict(fh=[-2, -1]).index, fridays[37:39], check_names=False
    )
    calendar = Calendar.of(fridays)
    assert list(calendar.after(fridays[3], [0])) == [fridays[3]]
    assert not len(calendar.after(fridays[3], []))


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_a_horizon_beyond_what_time_stamps_can_tell_is_refused(zone):
    y = pd.Series(VALUES, dates("YE", zone))
    forecaster = ALMElmanForecaster(**QUICK).fit(y)
    with pytest.raises(ValueError, match=r"fh must end .* found 900000 steps after"):
        forecaster.predict(fh=[900_000])


@pytest.mark.parametrize(("code", "name"), [("W", "week"), ("M", "month"), ("Q", "quarter")])
def test_weeks_and_months_on_days_that_vary_are_named_with_the_remedy(code, name):
    """As the last day traded in each is."""
    days = trading_days(1_000, start="2004-01-01")
    last = days.to_series().groupby(days.to_period(code)).max()
    y = pd.Series(np.arange(len(last), dtype=float), pd.DatetimeIndex(last.to_numpy()))
    if name == "week":
        # the Friday that closed
        y.index = y.index.where(y.index != y.index[7], y.index - pd.Timedelta(days=1))
    with pytest.raises(ValueError, match=f"one in each {name}.*to_period.'{code}'"):
        ALMElmanForecaster(**QUICK).fit(y)
    y.index = y.index.to_period(code)
    assert ALMElmanForecaster(**QUICK).fit(y).predict(fh=[1]).index[0] == y.index[-1] + 1
