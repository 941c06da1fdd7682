"""Which inputs the arguments ask for: what is left out, what names stand for, what is refused."""

import numpy as np
import pandas as pd
import pytest

from sktime_alm import ALMElmanForecaster
from sktime_alm.arguments import layout_of
from sktime_alm.calendar import Calendar
from sktime_alm.inputs import InputLayout, Term
from tests.conftest import QUICK

NONE = dict.fromkeys(["lags", "window_means", "half_lives", "exog_lags", "calendar_inputs"])
TIMES = {
    "integers": pd.RangeIndex(60),
    "hours": pd.date_range("2020-01-01", periods=60, freq="h"),
    "days": pd.date_range("2020-01-01", periods=60, freq="D"),
    "periods of days": pd.period_range("2020-01-01", periods=60, freq="D"),
    "business days": pd.bdate_range("2020-01-01", periods=60),
    "trading days": pd.DatetimeIndex(pd.bdate_range("2020-01-01", periods=61).delete(30)),
    "weeks": pd.date_range("2020-01-01", periods=60, freq="W"),
    "months": pd.period_range("2020-01", periods=60, freq="M"),
    "two months": pd.period_range("2020-01", periods=60, freq="2M"),
}
DAYS, WEEKS, MONTHS = (1, 2, 5, 12, 30, 80), (1, 2, 4, 13, 26), (1, 3, 6, 12)
# rows of any other step count as days
LADDERS = {**dict.fromkeys(TIMES, DAYS), "weeks": WEEKS, "months": MONTHS}
HAR = {
    "days": (7, 30),
    "periods of days": (7, 30),
    "business days": (5, 22),
    "trading days": (5, 22),
    "weeks": (4, 13),
    "months": (3, 12),
}
N_FEATURES = {"days": 7, "periods of days": 7, "business days": 5, "trading days": 5}


def layout(times, is_log=False, columns=(), **arguments):
    return layout_of({**NONE, **arguments}, Calendar.of(TIMES[times]), list(columns), is_log)


@pytest.mark.parametrize("times", TIMES)
def test_what_is_left_out_with_squared_errors(times):
    assert layout(times) == InputLayout(lags=(1,), windows=())
    terms = (Term(0, 0, 0), Term(1, 0, 0))
    assert layout(times, columns="ab") == InputLayout((1,), (), terms=terms, n_exogenous=2)


@pytest.mark.parametrize("times", TIMES)
def test_what_is_left_out_with_a_loss_of_logarithms(times):
    n, lives = N_FEATURES.get(times, 0), LADDERS[times]
    found = layout(times, is_log=True, columns=["a", "b"])
    assert (found.lags, found.windows, found.half_lives) == ((), (), lives)
    # X of the row before; its ladders; then the calendar
    of_X, rest = found.terms[:2], found.terms[2 : 2 + 2 * len(lives)]
    assert of_X == (Term(0, 1, 1), Term(1, 1, 1))
    assert [(term.column, term.half_life) for term in rest] == [
        (column, life) for column in (0, 1) for life in lives
    ]
    assert found.terms[2 + 2 * len(lives) :] == tuple(Term(2 + k, 0, 0) for k in range(n))
    assert found.n_exogenous == 2 + n
    assert layout(times, is_log=True).terms == tuple(Term(k, 0, 0) for k in range(n))


@pytest.mark.parametrize(
    ("arguments", "y", "X"),
    [
        ({"lags": 2}, ((1, 2), (), ()), [Term(0, 1, 1)]),
        ({"window_means": "har"}, ((1,), (5, 22), ()), [Term(0, 1, 1)]),
        ({"half_lives": [3]}, ((1,), (), (3.0,)), [Term(0, 1, 1)]),
        ({"lags": 1, "exog_lags": 0}, ((1,), (), ()), [Term(0, 0, 0)]),
        ({"lags": 0, "half_lives": {"y": [4]}}, ((), (), (4.0,)), [Term(0, 1, 1)]),
    ],
    ids=str,
)
def test_what_is_named_takes_the_place_of_the_ladders(arguments, y, X):
    found = layout("business days", True, ["a"], calendar_inputs=False, **arguments)
    assert (found.lags, found.windows, found.half_lives) == y
    assert list(found.terms) == X and found.n_exogenous == 1


@pytest.mark.parametrize("times", TIMES)
def test_har_and_ladder_are_by_the_rhythm_of_the_rows(times):
    if times in HAR:
        of_both = {"y": "har", "a": "har"}
        found = layout(times, window_means=of_both, columns="a", exog_lags={"a": []})
        assert found.windows == HAR[times]
        assert [term.last for term in found.terms] == list(HAR[times])
    else:
        with pytest.raises(ValueError, match=r"window_means='har' is known for days.*\(5, 22\)"):
            layout(times, window_means="har")


@pytest.mark.parametrize("times", N_FEATURES)
def test_the_calendar_is_an_input_where_it_is_asked_for(times):
    found = layout(times, calendar_inputs=True)
    assert found.n_exogenous == N_FEATURES[times] and found.reach.max() == 0
    assert layout(times, is_log=True, calendar_inputs=False).n_exogenous == 0


def series(times):
    return pd.Series(np.random.default_rng(0).normal(size=60), TIMES[times])


@pytest.mark.parametrize(
    ("times", "arguments", "error", "message"),
    [
        ("days", {"window_means": "month"}, ValueError, r"window_means must be one of \['har'\]"),
        ("days", {"half_lives": "har"}, ValueError, r"half_lives must be one of \['ladder'\]"),
        ("integers", {"window_means": "har"}, ValueError, "window_means='har' is known for days"),
        ("days", {"half_lives": [1, -2]}, ValueError, "half_lives must be above 0, found -2"),
        ("days", {"half_lives": [1e9]}, ValueError, "half_lives must be at most 10000 rows"),
        ("days", {"half_lives": [1, np.nan]}, ValueError, "half_lives must be"),
        ("days", {"half_lives": ["week"]}, TypeError, "half_lives must be a number"),
        ("days", {"half_lives": 5}, TypeError, "half_lives must be a sequence of numbers, in rows"),
        ("days", {"half_lives": [5, 5.0]}, ValueError, "half_lives must not hold a number twice"),
        ("days", {"half_lives": {"z": [2]}}, ValueError, "half_lives must name columns of X"),
        ("days", {"calendar_inputs": "yes"}, TypeError, "calendar_inputs must be True, False or"),
        ("months", {"calendar_inputs": True}, ValueError, "calendar_inputs must be False unless"),
        ("integers", {"calendar_inputs": True}, ValueError, "calendar_inputs must be False unless"),
    ],
)
def test_bad_memory_and_calendars_are_refused_by_name(times, arguments, error, message):
    with pytest.raises(error, match=message):
        ALMElmanForecaster(alpha=np.inf, **arguments).fit(series(times))


@pytest.mark.parametrize(("name", "value"), [("lags", 10**9), ("hidden_size", 10**9)])
def test_sizes_that_fill_the_memory_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at most 20000, found 1000000000"):
        ALMElmanForecaster(**{name: value}).fit(pd.Series(np.arange(60.0)))


@pytest.mark.parametrize("step", [10**7, 2**62])
def test_a_horizon_that_fills_the_memory_is_refused_by_name(step):
    forecaster = ALMElmanForecaster(**QUICK).fit(pd.Series(np.arange(60.0)))
    with pytest.raises(ValueError, match=f"fh must end at most 1000000 steps.*found {step}"):
        forecaster.predict(fh=[1, step])


def test_horizons_whose_paths_no_memory_holds_are_refused():
    forecaster = ALMElmanForecaster(alpha=np.inf, skip_alpha=0.1).fit(
        pd.Series(np.sin(np.arange(60.0)))
    )
    assert len(forecaster.predict(fh=[60_000])) == 1
    with pytest.raises(ValueError, match="fh must end at most 20000 steps .* are simulated"):
        forecaster.predict_interval(fh=[60_000])


def test_too_few_rows_name_the_inputs_that_reach_back():
    with pytest.raises(ValueError, match="at least half_lives \\+ 2 = 3 rows"):
        ALMElmanForecaster(loss="qlike").fit(pd.Series([1.0, 2.0]))
