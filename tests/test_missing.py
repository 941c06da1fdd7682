"""Rows without y, and gaps in time: objectives, recursions and states by hand."""

import pickle
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sktime.forecasting.base import ForecastingHorizon

from sktime_alm import ALMElmanForecaster
from tests.conftest import NETWORK
from tests.test_forecaster import FAST, Y2, X, Y, make_data

pytestmark = pytest.mark.filterwarnings("ignore:Time steps are missing in y:UserWarning")

HOLES = [0, 5, 6, 20, 33]


def with_holes(y, rows, columns=slice(None)):
    y = y.copy()
    y.iloc[rows, columns] = np.nan
    return y


class ByHand:
    """The recursion of a fitted network, with two lags, row by row of the whole series.

    The last value seen stands in for a missing one, and 0, the mean, where there is none; for
    those at the end the output does.
    """

    def __init__(self, forecaster, y, X=None, n_fit=None, starts=(0,), lags=2):
        p, self.y_fit = forecaster.parameters_, y.to_numpy()[:n_fit]
        self.mean, self.std = np.nanmean(self.y_fit, axis=0), np.nanstd(self.y_fit, axis=0)
        self.z = (y.to_numpy() - self.mean) / self.std
        self.v = np.empty((len(y), 0))
        if X is not None:
            rows = X.to_numpy()
            self.v = (rows - rows[:n_fit].mean(axis=0)) / rows[:n_fit].std(axis=0)
        self.p, self.starts, self.lags = p, starts, lags
        assert p.A.any() and p.W.any()  # a regression would have no state to run on

    def run(self, n_steps=0, v=None):
        """Standardised outputs of every row, the states and what stands in for z."""
        p, lags = self.p, self.lags
        T, m = self.z.shape
        outputs, states = [], []
        filled: list[np.ndarray] = []
        h = np.zeros(len(p.b))
        known = np.flatnonzero(~np.isnan(self.z).all(axis=1))[-1]
        for t in range(T + n_steps):
            in_sequence = t - max(start for start in self.starts if start <= t)
            if in_sequence in (0, lags):
                h = np.zeros(len(p.b))  # anew with the sequence, and with its first full row
            past = [
                filled[t - lag] if lag <= in_sequence else np.zeros(m) for lag in range(1, lags + 1)
            ]
            row = self.v[t] if t < T else (np.empty(0) if v is None else v[t - T])
            x = np.concatenate([*past, row])
            h = np.maximum(p.W @ h + p.V @ x + p.b, 0.0)
            output = p.A @ h + p.c + (0.0 if p.D is None else p.D @ x)
            outputs.append(output)
            states.append(h)
            before = filled[-1] if in_sequence else np.zeros(m)
            value = self.z[t] if t <= known else output
            filled.append(np.where(np.isnan(value), before, value))
        return np.array(outputs), np.array(states), np.array(filled)

    def forecasts(self, n_steps=0, v=None):
        return self.run(n_steps, v)[0] * self.std + self.mean

    def full(self):
        """The rows with all their lags in their sequence."""
        T = len(self.z)
        ends = [*self.starts[1:], T]
        pairs = zip(self.starts, ends, strict=True)
        return np.concatenate([np.arange(a + self.lags, b) for a, b in pairs if a + self.lags < b])

    def objective(self, alpha, skip_alpha):
        """The mean over the observed rows, and the penalties of Table 2, in rows of prior."""
        p, rows = self.p, self.full()
        r, n, m = len(p.b), p.V.shape[1], len(p.c)
        outputs, states, _ = self.run()
        errors = (self.z - outputs)[rows]
        errors = errors[~np.isnan(errors).any(axis=1)]
        loss = (errors**2).sum(axis=1).mean()
        alpha = alpha * r * np.sqrt(n * m) / len(errors)
        previous = np.vstack([np.zeros(r), states[:-1]])
        previous[
            [start + self.lags for start in self.starts if start + self.lags < len(self.z)]
        ] = 0
        inputs = self._inputs()
        u = previous @ p.W.T + inputs @ p.V.T + p.b
        norms = [np.sum(array**2) for array in (p.A, p.W, p.V, p.b)]
        penalty = alpha * (
            norms[0] / (r * m) + norms[1] / r**2 + norms[2] / (r * n) + norms[3] / r
        ) + 1e-8 * np.sum(u[rows] ** 2)
        if skip_alpha == np.inf:
            return loss + penalty + alpha * np.sum(p.c**2) / m
        return loss + penalty + skip_alpha * np.sum(p.D**2) / len(errors)

    def _inputs(self):
        filled, T = self.run()[2], len(self.z)
        rows = np.zeros((T, self.p.V.shape[1]))
        for t in self.full():
            rows[t] = np.concatenate(
                [*(filled[t - lag] for lag in range(1, self.lags + 1)), self.v[t]]
            )
        return rows


@pytest.mark.parametrize("options", [FAST, NETWORK], ids=["network", "skip"])
@pytest.mark.parametrize("columns", [slice(None), [1]], ids=["all columns", "one column"])
def test_rows_with_missing_y_carry_no_loss_and_the_state_runs_on(columns, options):
    y = with_holes(Y2[:34], HOLES[:-1], columns)
    forecaster = ALMElmanForecaster(lags=2, **options).fit(y, X[:34])
    by_hand = ByHand(forecaster, y, X[:34])
    objective = by_hand.objective(options["alpha"], options["skip_alpha"])
    assert forecaster.objective_ == pytest.approx(objective, rel=1e-10)
    v = (X[34:].to_numpy() - X[:34].to_numpy().mean(axis=0)) / X[:34].to_numpy().std(axis=0)
    expected = by_hand.forecasts(6, v)
    found = forecaster.predict(fh=np.arange(-31, 7), X=X)
    np.testing.assert_allclose(found, expected[2:], rtol=1e-9)


def test_what_stood_in_a_missing_row_does_not_matter_but_which_rows_are_missing_does():
    first, second = (
        ALMElmanForecaster(**NETWORK).fit(with_holes(y, HOLES), X) for y in (Y, Y + 0.0 * Y)
    )
    spoiled = Y.copy()
    spoiled.iloc[HOLES] = 1e9
    third = ALMElmanForecaster(**NETWORK).fit(with_holes(spoiled, HOLES), X)
    other = ALMElmanForecaster(**NETWORK).fit(with_holes(Y, [*HOLES[1:], 12]), X)
    np.testing.assert_array_equal(first.parameters_.D, second.parameters_.D)
    np.testing.assert_array_equal(first.parameters_.D, third.parameters_.D)
    assert not np.array_equal(first.parameters_.D, other.parameters_.D)


@pytest.mark.parametrize("n_missing", [1, 3])
def test_updates_with_missing_values_run_the_state_on(n_missing):
    forecaster = ALMElmanForecaster(lags=2, **NETWORK).fit(Y2[:30], X[:30])
    y = with_holes(Y2[:36], list(range(36 - n_missing, 36)), [0])
    in_pieces = pickle.loads(pickle.dumps(forecaster))
    forecaster.update(y[30:], X[30:36], update_params=False)
    for t in range(30, 36):
        in_pieces.update(y[t : t + 1], X[t : t + 1], update_params=False)
    v = (X[36:].to_numpy() - X[:30].to_numpy().mean(axis=0)) / X[:30].to_numpy().std(axis=0)
    expected = ByHand(forecaster, y, X[:36], n_fit=30).forecasts(3, v)[-3:]
    for found in (forecaster, in_pieces):
        np.testing.assert_allclose(found.predict(fh=[1, 2, 3], X=X), expected, rtol=1e-9)
    # an update with nothing but missing values is one
    later = pickle.loads(pickle.dumps(forecaster))
    nothing = Y2[36:38] * np.nan
    later.update(nothing, X[36:38], update_params=False)
    extended = ByHand(forecaster, pd.concat([y, nothing]), X[:38], n_fit=30)
    np.testing.assert_allclose(
        later.predict(fh=[1], X=X), extended.forecasts(1, v[2:])[-1:], rtol=1e-9
    )


TRAILING: dict[str, dict[str, Any]] = {
    "network": {"lags": 2},
    "window means": {"lags": 0, "window_means": (1, 3), "exog_lags": [1]},
    "several": {"lags": [1, 3], "n_init": 2},
    "conformal": {"interval_method": "conformal"},
    "qlike": {"loss": "qlike"},
}


@pytest.mark.parametrize("case", TRAILING)
@pytest.mark.parametrize("n_missing", [1, 4])
def test_missing_values_at_the_end_are_forecast_on_the_way(case, n_missing):
    y, exogenous = make_data(T=120)
    y, n = np.exp(y), 100
    forecaster = ALMElmanForecaster(**{**NETWORK, **TRAILING[case]}).fit(y[:n], exogenous[:n])
    steps = np.arange(1, n_missing + 4)
    asked = {"X": exogenous[n:], "fh": steps}
    expected = forecaster.predict(**asked), forecaster.predict_interval(**asked)
    nothing = y[n : n + n_missing] * np.nan
    forecaster.update(nothing, exogenous[n : n + n_missing], update_params=False)
    files = forecaster.save(), forecaster.save(training_rows=True)
    for known in (forecaster, *(type(forecaster).load_from_serial(serial) for _, serial in files)):
        asked = {"X": exogenous[n + n_missing :], "fh": [1, 2, 3]}
        found = known.predict(**asked), known.predict_interval(**asked)
        for of_found, of_expected in zip(found, expected, strict=True):
            pd.testing.assert_frame_equal(of_found, of_expected[n_missing:], rtol=1e-9)
    # those of the missing rows themselves too, and with values again all is as if in one pass
    in_sample = forecaster.predict(fh=1 - steps[:n_missing][::-1])
    pd.testing.assert_frame_equal(in_sample, expected[0][:n_missing], rtol=1e-9)
    at_once = ALMElmanForecaster(**{**NETWORK, **TRAILING[case]}).fit(y[:n], exogenous[:n])
    rows = pd.concat([nothing, y[n + n_missing : 110]])
    at_once.update(rows, exogenous[n:110], update_params=False)
    forecaster.update(rows[n_missing:], exogenous[n + n_missing : 110], update_params=False)
    last = {"X": exogenous[110:], "fh": [1, 2]}
    pd.testing.assert_frame_equal(forecaster.predict(**last), at_once.predict(**last), rtol=1e-9)
    pd.testing.assert_frame_equal(
        forecaster.predict_interval(**last), at_once.predict_interval(**last), rtol=1e-9
    )


def test_however_many_are_missing_at_the_end_nothing_else_is_forecast_from():
    y, _ = make_data(T=60)
    forecaster = ALMElmanForecaster(lags=2, **NETWORK).fit(y)
    n = 1_200
    expected = forecaster.predict(fh=[n + 1, n + 2])
    index = pd.period_range(y.index[-1] + 1, periods=n, freq=y.index.freq)
    nothing = pd.DataFrame(np.nan, index, y.columns)
    found = forecaster.clone().fit(pd.concat([y, nothing])).predict(fh=[1, 2])
    pd.testing.assert_frame_equal(found, expected, rtol=1e-12)
    forecaster.update(nothing, update_params=False)
    pd.testing.assert_frame_equal(forecaster.predict(fh=[1, 2]), expected, rtol=1e-12)


@pytest.mark.parametrize("case", TRAILING)
@pytest.mark.parametrize("update_params", [None, True])
def test_missing_values_at_the_end_change_nothing_in_what_is_trained(case, update_params):
    y, exogenous = make_data(T=110)
    y, n = np.exp(y), 100
    with_nothing = with_holes(y[: n + 3], [n, n + 1, n + 2])
    found = []
    for rows in (y[:n], with_nothing):
        forecaster = ALMElmanForecaster(**{**NETWORK, **TRAILING[case]})
        if update_params:
            forecaster.fit(y[:80], exogenous[:80])
            forecaster.update(rows[80:], exogenous[80 : len(rows)], update_params=True)
        else:
            forecaster.fit(rows, exogenous[: len(rows)])
        asked = {"fh": np.arange(1, 3) + n + 3 - len(rows), "X": exogenous[len(rows) :]}
        found.append((forecaster.predict(**asked), forecaster.predict_interval(**asked)))
    for of_rows, of_more in zip(*found, strict=True):
        pd.testing.assert_frame_equal(of_rows, of_more, rtol=1e-9)


def test_an_update_trains_on_observed_rows_alone():
    y = with_holes(Y2[:36], [8, 31, 35], [0])
    forecaster = ALMElmanForecaster(lags=2, **NETWORK).fit(y[:30], X[:30])
    forecaster.update(y[30:], X[30:36], update_params=True)
    by_hand = ByHand(forecaster, y, X[:36])
    assert forecaster.objective_ == pytest.approx(
        by_hand.objective(NETWORK["alpha"], NETWORK["skip_alpha"]), rel=1e-10
    )


@pytest.mark.parametrize("method", ["bootstrap", "conformal"])
def test_intervals_use_the_errors_of_observed_rows_alone(method):
    y, exogenous = make_data(T=200)
    holes = [3, 50, *range(100, 110), 150, 170, 199]
    options = {**NETWORK, "interval_method": method}
    forecaster = ALMElmanForecaster(**options).fit(with_holes(y, holes), exogenous)
    future = exogenous[:5].shift(200, freq="M")
    intervals = forecaster.predict_interval(fh=np.arange(-5, 6), X=future, coverage=0.9)
    assert np.isfinite(intervals).all(axis=None)
    errors = forecaster._fitted.errors
    n_errors = len(errors.one_step if method == "bootstrap" else errors.by_step[0])
    # 90 of the 199 rows with a lag follow the first cut, at 55 %
    assert n_errors == (199 - len(holes) if method == "bootstrap" else 90 - 3)


def test_conformal_intervals_refuse_too_few_observed_rows():
    y, exogenous = make_data(T=80)
    y = with_holes(y, list(range(50, 78)))
    with pytest.raises(ValueError, match="conformal"):
        ALMElmanForecaster(**NETWORK, interval_method="conformal").fit(y, exogenous)


INDICES = {
    "integers": (pd.RangeIndex(60), None),
    "months": (pd.period_range("2000-01", periods=60, freq="M"), None),
    "quarters": (pd.period_range("2000Q1", periods=60, freq="Q"), None),
    "days": (pd.date_range("2000-01-03", periods=60, freq="D"), "D"),
    "business days": (pd.bdate_range("2000-01-03", periods=60), "B"),
    "month ends": (pd.date_range("2000-01-31", periods=60, freq="ME"), "ME"),
    "hours": (pd.date_range("2000-01-01", periods=60, freq="h"), "h"),
    "weeks": (pd.date_range("2000-01-02", periods=60, freq="W"), "W"),
    "days of a time zone": (pd.date_range("2000-03-01", periods=60, tz="Europe/Paris"), "D"),
}
KEPT = np.r_[0:20, 21:37, 40:41, 45:60]  # pieces of 20, 16, 1 and 15 rows
PIECES = (0, 20, 36, 37)


def gapped(index, m=1):
    y, exogenous = make_data(T=60, m=m)
    return y.set_axis(index)[:60].iloc[KEPT], exogenous.set_axis(index).iloc[KEPT]


@pytest.mark.parametrize("kind", INDICES)
def test_after_a_gap_in_time_the_series_begins_anew(kind):
    index, frequency = INDICES[kind]
    y, exogenous = gapped(index)
    first = re.escape(f"missing in y before {index[KEPT[20]]} and in 2 other places")
    with pytest.warns(UserWarning, match=first):
        forecaster = ALMElmanForecaster(lags=2, **NETWORK).fit(y, exogenous)
    assert forecaster._history.starts == PIECES
    by_hand = ByHand(forecaster, y, exogenous, starts=PIECES)
    assert forecaster.objective_ == pytest.approx(
        by_hand.objective(NETWORK["alpha"], NETWORK["skip_alpha"]), rel=1e-10
    )
    step = index[1] - index[0] if frequency is None else pd.tseries.frequencies.to_offset(frequency)
    times = [index[-1] + step]
    for _ in range(2):
        times.append(times[-1] + step)
    future = pd.DataFrame(exogenous[:3].to_numpy(), pd.Index(times), exogenous.columns)
    rows, v = exogenous.to_numpy(), exogenous.to_numpy()[:3]
    expected = by_hand.forecasts(3, (v - rows.mean(axis=0)) / rows.std(axis=0))
    found = forecaster.predict(fh=[1, 2, 3], X=future)
    np.testing.assert_allclose(found, expected[-3:], rtol=1e-9)
    assert list(found.index) == times
    # fitted values, at the times that were seen
    with pytest.warns(UserWarning, match="missing in y"):
        fitted = ALMElmanForecaster(lags=2, **NETWORK).fit(y, exogenous)
    fitted = fitted.predict(ForecastingHorizon(y.index, is_relative=False))
    np.testing.assert_allclose(fitted, expected[:-3], rtol=1e-9)


def test_lags_and_window_means_of_X_and_y_do_not_reach_over_a_gap():
    index = INDICES["months"][0]
    y, exogenous = gapped(index)
    arguments = {"lags": [3], "window_means": (2,), "exog_lags": [1, 4], **NETWORK}
    forecaster = ALMElmanForecaster(**arguments).fit(y, exogenous)
    before = ALMElmanForecaster(**arguments).fit(y, exogenous)
    # the rows before the last gap count for the weights alone: with these, they do not matter
    shift = np.where(np.arange(len(y)) < 37, 5.0, 0.0)[:, None]
    history = before._history
    before._history = replace(history, y=history.y + shift, X=history.X - shift)
    future = exogenous[:3].set_axis(pd.period_range(index[-1] + 1, periods=3, freq="M"))
    pd.testing.assert_frame_equal(
        forecaster.predict(fh=[0, 1, 3], X=future), before.predict(fh=[0, 1, 3], X=future)
    )


def test_pieces_shorter_than_the_lags_are_not_trained_on():
    y = Y["y0"].drop(Y.index[[10, 12, 14, 30]])  # pieces of 10, 1, 1, 15 and 9 rows
    forecaster = ALMElmanForecaster(lags=4, **NETWORK).fit(y)
    assert forecaster.result_.last.h.shape == (6 + 11 + 5, 3)
    assert forecaster.predict(fh=[1, 2]).notna().all()
    with pytest.raises(ValueError, match="in one piece"):
        ALMElmanForecaster(lags=20, **NETWORK).fit(y)


@pytest.mark.parametrize("kind", ["months", "business days", "integers"])
@pytest.mark.parametrize(("lags", "n_new"), [(2, 1), (2, 2), (2, 3), (2, 9), (0, 1), (0, 4)])
def test_an_update_over_a_gap_warns_and_equals_the_states_of_one_fit(lags, n_new, kind):
    index = INDICES[kind][0]
    y, exogenous = make_data(T=60)
    y, exogenous = y.set_axis(index), exogenous.set_axis(index)
    forecaster = ALMElmanForecaster(lags=lags, **NETWORK).fit(y[:40], exogenous[:40])
    new = slice(45, 45 + n_new)
    with pytest.warns(UserWarning, match=f"missing in y before {index[45]}"):
        forecaster.update(y[new], exogenous[new], update_params=False)
    seen, rows = (pd.concat([data[:40], data[new]]) for data in (y, exogenous))
    by_hand = ByHand(forecaster, seen, rows, n_fit=40, starts=(0, 40), lags=lags)
    scale, later = exogenous[:40].to_numpy(), exogenous[45 + n_new :].to_numpy()
    expected = by_hand.forecasts(3, (later - scale.mean(axis=0)) / scale.std(axis=0))[-3:]
    found = forecaster.predict(fh=[1, 2, 3], X=exogenous)
    # before the lags are full, later steps run on a state that starts anew with the first full row
    n_equal = 3 if n_new >= lags else 1
    np.testing.assert_allclose(found[:n_equal], expected[:n_equal], rtol=1e-9)
    # a forecast one step ahead is the fitted value of the row once it is seen, and so on
    for t in range(45 + n_new, 50 + n_new):
        one_ahead = forecaster.predict(fh=[1], X=exogenous)
        forecaster.update(y[t : t + 1], exogenous[t : t + 1], update_params=False)
        np.testing.assert_allclose(forecaster.predict(fh=[0]), one_ahead, rtol=1e-9)


def test_updates_off_the_frequency_are_refused():
    index = INDICES["business days"][0]
    y = Y["y0"].set_axis(index[:40])
    forecaster = ALMElmanForecaster(**NETWORK).fit(y)
    expected = forecaster.predict(fh=[1, 2])
    saturday = pd.Series([1.0], pd.DatetimeIndex([index[39] + pd.Timedelta(days=1)]), name="y0")
    with pytest.raises(ValueError, match=r"y must have times of the frequency of fit, B; found"):
        forecaster.update(saturday, update_params=False)
    pd.testing.assert_series_equal(forecaster.predict(fh=[1, 2]), expected)


def test_horizons_of_every_kind_after_a_gap():
    y, exogenous = gapped(INDICES["business days"][0])
    future = exogenous[:3].set_axis(pd.bdate_range(y.index[-1], periods=4)[1:])
    forecaster = ALMElmanForecaster(**NETWORK).fit(y, exogenous, fh=[1, 3])
    expected = forecaster.predict(X=future)
    for fh in (future.index[[0, 2]], [1, 3]):
        found = ALMElmanForecaster(**NETWORK).fit(y, exogenous, fh=fh).predict(X=future)
        pd.testing.assert_frame_equal(found, expected, check_freq=False)
        assert found.index.equals(future.index[[0, 2]])
    intervals = forecaster.predict_interval(X=future)
    assert np.isfinite(intervals).all(axis=None) and intervals.index.equals(expected.index)
    in_sample = forecaster.predict(fh=[-2, 0])
    assert in_sample.index.equals(y.index[[-3, -1]])
    with pytest.raises(ValueError, match="fh must name times of the training window"):
        forecaster.predict(fh=[-15])  # in the gap


def test_an_update_with_training_over_a_gap():
    y, exogenous = make_data(T=60)
    forecaster = ALMElmanForecaster(lags=2, **NETWORK).fit(y[:40], exogenous[:40])
    with pytest.warns(UserWarning, match="begin anew there"):
        forecaster.update(y[45:], exogenous[45:], update_params=True)
    seen, rows = (pd.concat([data[:40], data[45:]]) for data in (y, exogenous))
    by_hand = ByHand(forecaster, seen, rows, starts=(0, 40))
    assert forecaster.objective_ == pytest.approx(
        by_hand.objective(NETWORK["alpha"], NETWORK["skip_alpha"]), rel=1e-10
    )


def test_missing_X_is_refused_by_name_with_a_way_out():
    with pytest.raises(ValueError, match=r"found nan in column 'x1' at 2000-06.*sktime's Imputer"):
        ALMElmanForecaster(**NETWORK).fit(Y, with_holes(X, [5], [1]))
    forecaster = ALMElmanForecaster(**NETWORK).fit(Y[:34], X[:34])
    with pytest.raises(ValueError, match="X must be finite, found nan.*Imputer"):
        forecaster.predict(fh=[1], X=with_holes(X, [34]))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (Y * np.nan, "y must be observed in some row"),
        (with_holes(Y2, list(range(40)), [1]), "y must be observed in some row"),
        (
            with_holes(Y, list(range(2, 40))),
            r"y must have at least lags \+ 2 = 4 rows, found 2 before 38 missing",
        ),
        # every row lacks one or the other
        (
            Y2.mask(np.column_stack([np.arange(40) % 2 == 0, np.arange(40) % 2 == 1])),
            "y must be observed.*in some row after the first 2",
        ),
    ],
    ids=["all", "a column", "after the lags", "by turns"],
)
def test_y_that_is_never_observed_is_refused(y, message):
    with pytest.raises(ValueError, match=message):
        ALMElmanForecaster(lags=2, **NETWORK).fit(y)


def test_one_observed_row_is_enough_for_finite_forecasts():
    y = with_holes(Y, list(range(2, 39)))
    forecaster = ALMElmanForecaster(lags=2, hidden_size=2, random_state=0).fit(y)
    assert np.isfinite(forecaster.predict(fh=[1, 5])).all(axis=None)
    assert np.isfinite(forecaster.predict_interval(fh=[1, 5])).all(axis=None)


@pytest.mark.parametrize("observed", [(10, 40), (58, 59), (10, 11)])
def test_two_observed_rows_are_not_interpolated(observed):
    # a line through both would send forecasts to and fro between the bounds
    y = pd.Series(np.nan, pd.period_range("2000-01", periods=60, freq="M"))
    y.iloc[list(observed)] = 1.0, 5.0
    forecasts = ALMElmanForecaster(random_state=0).fit(y).predict(fh=range(1, 7))
    assert forecasts.between(1.0, 5.0).all()
