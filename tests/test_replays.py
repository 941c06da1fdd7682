"""Errors of a pretrained network's forecasts of few rows, from pieces of the panel's series."""

import numpy as np
import pandas as pd
import pytest

from sktime_alm import ALMElmanForecaster
from sktime_alm.inputs import Series
from sktime_alm.intervals import N_PATHS, Errors, Runs
from sktime_alm.replays import Replay, _pieces, errors_after, excess_after
from tests.conftest import NETWORK


def autoregressions(n_series, n_rows, rng, coefficient=0.7):
    """Series of their own levels and scales."""
    series = {}
    for k in range(n_series):
        values = np.zeros(n_rows + 30)
        for t in range(1, n_rows + 30):
            values[t] = coefficient * values[t - 1] + rng.normal()
        series[f"s{k}"] = pd.DataFrame(
            {"y": np.exp(rng.normal()) * (values[30:] + 5.0 * rng.normal())}
        )
    return pd.concat(series, names=["series", "time"])


@pytest.fixture(scope="module")
def pretrained():
    panel = autoregressions(20, 80, np.random.default_rng(0))
    return ALMElmanForecaster(lags=2, **NETWORK).pretrain(panel)


@pytest.mark.parametrize("method", ["bootstrap", "conformal"])
def test_intervals_of_few_rows_hold_what_they_should(pretrained, method):
    forecaster = pretrained.clone()
    forecaster.interval_method = method  # set_params would make it forget the panel
    rng = np.random.default_rng(1)
    # a single row has the scale of the panel, of which 20 series say little
    for n_rows in (2, 5, 12, 30) if method == "bootstrap" else (5, 30):
        inside = []
        for key, y in autoregressions(60, n_rows + 4, rng).groupby("series"):
            y = y.loc[key, "y"]
            found = forecaster.fit(y[:n_rows]).predict_interval(fh=[1, 4], coverage=0.9)
            actual = y[found.index].to_numpy()
            low, high = found.to_numpy().T
            inside.extend((low <= actual) & (actual <= high))
        # 120 values, in pairs: two standard errors
        assert 0.82 <= np.mean(inside) <= 0.98, (n_rows, np.mean(inside))


def test_intervals_have_the_unit_of_the_series(pretrained):
    y = autoregressions(1, 5, np.random.default_rng(3)).loc["s0", "y"]
    one = pretrained.fit(y).predict_interval(fh=[1, 3, 30])
    other = pretrained.fit(1e6 * y).predict_interval(fh=[1, 3, 30])
    np.testing.assert_allclose(other, 1e6 * one, rtol=1e-8)


def test_series_as_long_as_those_of_the_panel_have_its_errors(pretrained):
    replays = pretrained.pretrained_.pretrained.replays
    errors = pretrained.pretrained_.pretrained.errors
    assert [replay.n_rows for replay in replays[:5]] == [1, 2, 3, 4, 8]
    assert 40 <= replays[-1].n_rows < 80
    assert errors_after(replays, 80) is None
    assert (excess_after(replays, errors, 80) < 1.15).all()
    np.testing.assert_allclose(excess_after(replays, errors, 10**6), 1.0, rtol=1e-4)
    assert excess_after((), errors, 3) == 1.0


def test_values_missing_do_not_count_as_rows(pretrained):
    y = autoregressions(1, 40, np.random.default_rng(4)).loc["s0", "y"]
    y[3:] = np.nan
    fitted = pretrained.fit(y)._fitted
    replays = pretrained.pretrained_.pretrained.replays
    np.testing.assert_array_equal(fitted.errors.runs.errors, errors_after(replays, 3).runs.errors)


def replay_of(n_rows, size):
    runs = size * np.random.default_rng(0).normal(size=(50, 3, 1))
    return Replay(n_rows, Errors.of_runs(runs, np.zeros_like(runs), np.full(runs.shape[1], 50.0)))


def test_errors_between_two_lengths_are_as_large_as_their_sizes_suggest():
    replays = [replay_of(4, 4.0), replay_of(16, 1.0)]
    assert errors_after(replays, 4).one_step == pytest.approx(replays[0].errors.one_step)
    # half way between the logarithms
    half = errors_after(replays, 8)
    np.testing.assert_allclose(half.runs.errors, replays[0].errors.runs.errors / 2.0)
    assert errors_after(replays, 16) is None
    # more rows do not make errors larger: that is chance
    turned = [replay_of(4, 1.0), replay_of(16, 4.0)]
    np.testing.assert_array_equal(errors_after(turned, 8).runs.errors, turned[0].errors.runs.errors)


def test_pieces_lie_within_sequences_and_are_spread_over_all():
    y = np.arange(60.0)[:, None]
    series = [
        Series(y, np.zeros((60, 0)), (0, 25), 59),
        Series(100.0 + y[:12], y[:12, :0], (0,), 11),
    ]
    pieces = list(_pieces(series, 4, 6))
    firsts = [piece.known.y[0, 0] for piece in pieces]
    assert firsts == sorted(firsts) and len(set(firsts)) == len(firsts)
    for piece in pieces:
        assert len(piece.known.y) == 4 and len(piece.longer.y) == 10
        assert not piece.longer.y[0] < 25.0 <= piece.longer.y[-1]
        np.testing.assert_array_equal(np.diff(piece.longer.y[:, 0]), 1.0)
    assert {int(first) for first in firsts} >= {0, 15, 25, 50, 100, 102}


def test_paths_are_runs_of_errors_around_the_forecasts(pretrained):
    y = autoregressions(1, 6, np.random.default_rng(5)).loc["s0", "y"]
    fitted = pretrained.fit(y)._fitted
    runs = fitted.errors.runs
    steps = np.array([1, 2, runs.errors.shape[1], runs.errors.shape[1] + 5])
    series, no_X = pretrained._history.series, np.zeros((steps[-1], 0))
    paths = fitted.paths(series, steps, no_X)
    forecasts = fitted._forecasts(series, np.empty(0, int), steps, no_X)
    assert paths.shape == (N_PATHS, 4, 1)
    deviations = fitted.model.y_scaler.transform(paths) - forecasts
    known = runs.of_steps(steps[-1]).errors
    np.testing.assert_array_equal(known[:, : runs.errors.shape[1]], runs.errors)
    for k, step in enumerate(steps):
        expected = fitted.errors.scale.of(forecasts[k]) * np.unique(known[:, step - 1])
        np.testing.assert_allclose(
            np.unique(deviations[:, k].round(9)), expected.round(9), atol=2e-9
        )


@pytest.mark.parametrize(("n_known", "exponent"), [(1, 0.5), (2, 0.6), (4, 0.8), (12, 0.0)])
def test_errors_of_further_steps_grow_as_those_known(n_known, exponent):
    steps = np.arange(1, n_known + 1.0)[:, None]
    errors = (1.0 + np.random.default_rng(0).normal(size=(50, 1, 2))) * steps**exponent
    runs = Runs.of(errors, np.full(n_known, 50.0)).of_steps(20)
    expected = np.broadcast_to(np.arange(1, 21.0)[:, None] ** exponent, (20, 2))
    for found in (*(runs.errors / runs.errors[:, :1]), runs.bias / runs.bias[:1]):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_bias_of_forecasts_is_that_which_chance_does_not_explain():
    errors = np.random.default_rng(0).normal([0.0, 0.5, 2.0], size=(200, 3))[:, :, None]
    few, many = (Runs.of(errors, np.full(3, n)).bias[:, 0] for n in (4.0, 200.0))
    assert (few[:2] == 0.0).all() and 1.0 < few[2] < 2.0
    assert many[0] == 0.0 and many[1:] == pytest.approx([0.5, 2.0], abs=0.2)


def trending(n_series, n_rows, rng):
    """Random walks that go the same way, from levels of their own."""
    steps = 0.5 + rng.normal(size=(n_series, n_rows))
    walks = 10.0 * rng.normal(size=(n_series, 1)) + steps.cumsum(axis=1)
    return {k: pd.DataFrame({"y": walk}) for k, walk in enumerate(walks)}


def test_series_that_trend_like_the_panel_are_forecast_to_go_on():
    rng, fh = np.random.default_rng(1), [1, 6, 20]
    found: dict[int, list[list[pd.Series]]] = {3: [], 12: []}
    for _ in range(2):
        panel = pd.concat(trending(30, 40, rng), names=["series", "time"])
        forecaster = ALMElmanForecaster(lags=2, **{**NETWORK, "alpha": np.inf}).pretrain(panel)
        for n_rows, of_length in found.items():
            for y in trending(40, n_rows + 20, rng).values():
                known = y["y"][:n_rows]
                forecaster.fit(known)
                low, high = forecaster.predict_interval(fh=fh, coverage=0.9).to_numpy().T
                point = forecaster.predict(fh=fh)
                actual = y["y"][point.index]
                assert ((low <= point) & (point <= high)).all()
                is_inside = (low <= actual) & (actual <= high)
                of_length.append(
                    [is_inside, (actual - point).abs(), (actual - known.iloc[-1]).abs()]
                )
    for of_length in found.values():
        # 80 values of each step, which see two panels
        inside, errors, naive = np.mean(np.array(of_length, dtype=float), axis=0)
        assert 0.82 <= inside.mean() <= 0.98
        assert (errors[1:] < 0.85 * naive[1:]).all()


def test_variances_after_few_rows_have_finite_moments():
    rng, panel = np.random.default_rng(0), {}
    for k in range(10):
        level = np.cumsum(rng.normal(size=60)) * 0.3
        panel[f"s{k}"] = pd.DataFrame(
            {"y": np.exp(level + 2.0 * rng.normal()) * rng.chisquare(4, 60)}
        )
    panel = pd.concat(panel, names=["series", "time"])
    forecaster = ALMElmanForecaster(loss="qlike", **NETWORK).pretrain(panel)
    for n_rows in (1, 2, 3):
        y = panel.loc["s3"][:n_rows]
        forecaster.fit(y)
        deviation = np.sqrt(forecaster.predict_var(fh=[1, 6]).to_numpy())
        assert (deviation < 100.0 * y.to_numpy().max()).all()
        assert (forecaster.predict_interval(fh=[1, 6]).to_numpy() > 0.0).all()


def test_a_conformal_fit_of_fewer_rows_than_the_lags():
    panel = autoregressions(8, 60, np.random.default_rng(0))
    options = {**NETWORK, "lags": 5, "interval_method": "conformal"}
    forecaster = ALMElmanForecaster(**options).pretrain(panel)
    found = forecaster.fit(panel.loc["s0"][:3]).predict_interval(fh=[1, 10])
    assert np.isfinite(found).all(axis=None)


def test_gaps_and_values_missing_in_the_panel_leave_pieces_enough():
    rng = np.random.default_rng(0)
    walks = {k: pd.DataFrame({"y": rng.normal(size=80).cumsum()}) for k in range(20)}
    months = pd.period_range("2000-01", periods=80, freq="M")
    with_gaps = {k: walk.set_index(months).drop(months[40]) for k, walk in walks.items()}
    holes = {k: walk.where(rng.random((80, 1)) > 0.2) for k, walk in walks.items()}
    for panel in (with_gaps, holes):
        panel = pd.concat(panel, names=["series", "time"])
        forecaster = ALMElmanForecaster(**NETWORK).pretrain(panel)
        replays = forecaster.pretrained_.pretrained.replays
        assert [replay.n_rows for replay in replays[:5]] == [1, 2, 3, 4, 8]
        assert all(np.isfinite(replay.errors.runs.errors).all() for replay in replays)
        inside = []
        for _ in range(60):
            y = pd.Series(rng.normal(size=40).cumsum()[30:], panel.loc[0].index[:10])
            low, high = forecaster.fit(y[:3]).predict_interval(fh=[1], coverage=0.9).to_numpy()[0]
            inside.append(low <= y.iloc[3] <= high)
        assert 0.8 <= np.mean(inside) <= 0.99


def test_series_shorter_than_every_piece_have_the_errors_of_the_shortest():
    replays = [replay_of(4, 4.0), replay_of(16, 1.0)]
    np.testing.assert_array_equal(
        errors_after(replays, 2).runs.errors, replays[0].errors.runs.errors
    )
