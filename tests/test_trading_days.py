"""Trading days: all rows at once are the rows in pieces, whatever the holidays and the cuts."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sktime_alm import ALMElmanForecaster
from tests.conftest import QUICK

N = 120
VALUES = np.random.default_rng(0).normal(size=(N, 2)).cumsum(axis=0)


@st.composite
def histories(draw):
    """Business days less some closures, the rows of fit, and where updates cut the rest."""
    zone = draw(st.sampled_from([None, "America/New_York", "Asia/Kolkata"]))
    start = draw(st.sampled_from(["2020-01-02", "2001-06-05", "2017-10-09"]))
    days = pd.bdate_range(start, periods=2 * N, tz=zone)
    # seven days in all, more of which would be no holidays in so few rows
    first = draw(st.lists(st.integers(5, N), max_size=4, unique_by=lambda row: row // 15))
    lengths = {0: [], 1: [7], 2: [5, 2], 3: [3, 2, 2], 4: [2, 2, 2, 1]}[len(first)]
    pairs = zip(first, lengths, strict=True)
    closed = {row + k for row, length in pairs for k in range(length)}
    open_days = [day for k, day in enumerate(days) if k not in closed]
    index = pd.DatetimeIndex(open_days[:N], freq=None)
    n_fit = draw(st.integers(60, 90))
    cuts = sorted(draw(st.sets(st.integers(n_fit + 1, N - 1), max_size=4)))
    return index, n_fit, [*cuts, N]


@settings(max_examples=8)
@given(histories(), st.sampled_from([{}, {"calendar_inputs": True, "exog_lags": 1}]))
def test_fits_and_updates_in_pieces_end_at_the_same_times_and_forecasts(case, arguments):
    index, n_fit, cuts = case
    y = pd.Series(np.exp(VALUES[:, 0] / 10.0), index, name="y")
    X = pd.DataFrame({"x": VALUES[:, 1]}, index)
    options = {"loss": "qlike", "half_lives": [3], "exog_lags": 1, **QUICK, **arguments}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Training did not converge")
        fitted = ALMElmanForecaster(**options).fit(y[:n_fit], X[:n_fit])
        at_once = fitted.clone().fit(y[:n_fit], X[:n_fit])
        at_once.update(y, X, update_params=False)
        in_pieces, seen = fitted, n_fit
        for cut in cuts:
            first = max(seen - 4, 0)
            in_pieces.update(y[first:cut], X[first:cut], update_params=False)
            seen = cut
            assert in_pieces.cutoff[0] == index[cut - 1]
        anew = fitted.clone().fit(y, X)
    labels = anew.predict(fh=[-30, -1, 0, 1]).index
    assert list(labels[:3]) == list(index[[N - 31, N - 2, N - 1]])
    for forecaster in (at_once, in_pieces):
        pd.testing.assert_index_equal(forecaster.predict(fh=[-30, -1, 0, 1]).index, labels)
        pd.testing.assert_index_equal(forecaster._history.times, anew._history.times)
        np.testing.assert_array_equal(forecaster._history.steps, anew._history.steps)
        # one sequence: closures do not begin it anew
        assert forecaster._history.starts == anew._history.starts == (0,)
    pd.testing.assert_series_equal(
        at_once.predict(fh=[-30, 0, 1]), in_pieces.predict(fh=[-30, 0, 1]), rtol=1e-10
    )


def test_a_new_year_is_holidays_in_one_update_as_in_several():
    names = """2019-01-01 2019-02-04 2019-02-05 2019-02-06 2019-02-07 2019-02-08 2019-04-05
    2019-05-01 2019-05-02 2019-05-03 2019-06-07 2019-09-13 2019-10-01 2019-10-02 2019-10-03
    2019-10-04 2019-10-07 2020-01-01 2020-01-24 2020-01-27 2020-01-28 2020-01-29 2020-01-30
    2020-01-31 2020-04-06 2020-05-01 2020-05-04 2020-05-05"""
    days = pd.bdate_range("2019-01-02", "2020-05-08").difference(pd.to_datetime(names.split()))
    y = pd.Series(np.random.default_rng(0).normal(size=len(days)), days)
    new, forecasts = y["2020-01-24":], []
    for n_pieces in (1, 2, 20):
        forecaster = ALMElmanForecaster(**QUICK).fit(y[:"2020-01-23"])
        for rows in np.array_split(np.arange(len(new)), n_pieces):
            forecaster.update(new.iloc[rows], update_params=False)
        assert forecaster._history.starts == (0,)
        forecasts.append(float(forecaster.predict(fh=[1]).iloc[0]))
    np.testing.assert_allclose(forecasts, forecasts[0], rtol=1e-12)


def test_a_date_beyond_a_holiday_to_come_is_explained_where_X_is_missing():
    days = pd.bdate_range("2016-01-04", "2016-09-02").delete([9, 30, 57])
    y = pd.Series(
        np.random.default_rng(0).normal(size=len(days)), pd.DatetimeIndex(days, freq=None)
    )
    forecaster = ALMElmanForecaster(exog_lags=1, **QUICK).fit(y, y.to_frame("x"))
    with pytest.raises(ValueError, match=r"2016-09-05.*is a holiday, count steps, as fh=\[1\]"):
        forecaster.predict(fh=pd.DatetimeIndex(["2016-09-06"]))
