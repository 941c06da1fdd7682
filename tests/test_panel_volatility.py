"""The study of volatility on panels: its variances, and that no forecast knows the future."""

import re

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("arch")

from volatility.compare import (
    BENCHMARK,
    OURS,
    Model,
    Run,
    coverage,
    installed,
    models,
    summarise,
    walk_forward,
)
from volatility.data import FLOOR, Data, Panel, range_variance, weekly_variance
from volatility.linear import past_means
from volatility.ours import LEVELS

QUICK_STUDY = ("panel_volatility", "--quick", "--n-jobs", "1")
WINDOWS = (1, 4, 13)
MODELS = installed(models(WINDOWS))
# a network for each series takes two minutes
EXHAUSTIVE_IF_EACH = [
    pytest.param(name, marks=pytest.mark.exhaustive) if name == f"{OURS}, each series" else name
    for name in MODELS
]
# and where it takes many rows to tell, both of ours
EXHAUSTIVE_IF_OURS = [
    pytest.param(name, marks=pytest.mark.exhaustive) if name.startswith(OURS) else name
    for name in MODELS
]


def simulated(n_rows=320, n_series=3, seed=0):
    """Log variances that follow an AR(1) with a common part, and returns of these variances."""
    rng = np.random.default_rng(seed)
    noise = 0.5 * rng.normal(size=(n_rows, n_series)) + 0.3 * rng.normal(size=(n_rows, 1))
    logs = np.full((n_rows, n_series), -7.0)
    for t in range(1, n_rows):
        logs[t] = -7.0 + 0.8 * (logs[t - 1] + 7.0) + noise[t]
    index = pd.period_range("2000-01-07", periods=n_rows, freq="W-FRI")
    columns = list("abc")[:n_series]
    variances = pd.DataFrame(np.exp(logs), index, columns)
    returns = np.sqrt(variances) * rng.normal(size=variances.shape)
    X = pd.DataFrame({"index": logs.mean(axis=1) / 2.0}, index)
    return Panel(variances, returns, X)


def changed_from(panel, row):
    """The panel with all rows from one on replaced by values of another size."""
    rng = np.random.default_rng(1)
    frames = []
    for frame in panel:
        later = frame.copy()
        later.iloc[row:] = 0.1 * rng.uniform(0.5, 1.5, later.iloc[row:].shape)
        frames.append(later)
    return Panel(*frames)


@pytest.mark.parametrize("name", EXHAUSTIVE_IF_EACH)
def test_a_forecast_knows_the_rows_before_its_own_and_no_others(name, few_replays):
    panel, n = simulated(124, 2), 110
    train, test = panel.rows(0, n), panel.rows(n, 124)
    expected = MODELS[name].forecast(train, test)
    assert list(expected.index) == list(test.variances.index)
    row = 6
    found = MODELS[name].forecast(train, changed_from(test, row))
    # the forecast of the first changed row is made before it is seen
    pd.testing.assert_frame_equal(found.iloc[: row + 1], expected.iloc[: row + 1])
    following = found.iloc[row + 1] / expected.iloc[row + 1] - 1.0
    assert (np.abs(following) > 1e-3).all()


@pytest.mark.parametrize("name", EXHAUSTIVE_IF_OURS)
def test_forecasts_have_the_mean_of_the_variances(name):
    panel, n = simulated(1200), 800
    forecasts = MODELS[name].forecast(panel.rows(0, n), panel.rows(n, 1200))
    if forecasts.columns.nlevels == 2:
        forecasts = forecasts.xs("mean", axis=1, level=1)
    variances = panel.variances.loc[forecasts.index]
    assert (forecasts > 0.0).all(axis=None)
    assert variances.mean().mean() / forecasts.mean().mean() == pytest.approx(1.0, abs=0.15)


def test_each_block_is_forecast_by_a_fit_to_all_rows_before_it():
    panel, seen = simulated(100), []

    def last_of_train(train, test):
        seen.append((len(train.variances), len(test.variances)))
        values = np.tile(train.variances.to_numpy()[-1:], (len(test.variances), 1))
        return pd.DataFrame(values, test.variances.index, test.variances.columns)

    data = Data(panel, WINDOWS, 13, "weeks", "simulated")
    run = walk_forward("last", Model(last_of_train, 2), data, 40)
    assert seen == [(40, 26), (66, 26), (92, 8)]
    pd.testing.assert_index_equal(run.forecasts.index, panel.variances.index[40:])
    assert run.quantiles is None


def test_the_development_period_has_no_rows_of_the_test_period():
    from panel_volatility import rows_of

    data = Data(simulated(300), WINDOWS, 13, "weeks", "simulated")
    development, first = rows_of(data, "development", quick=False)
    test, first_of_test = rows_of(data, "test", quick=False)
    assert (first, len(development.panel.variances)) == (100, first_of_test)
    assert (first_of_test, len(test.panel.variances)) == (200, 300)


def test_the_benchmark_is_as_good_as_itself_and_a_worse_model_is_found_out():
    panel = simulated(500)
    data = Data(panel, WINDOWS, 100, "weeks", "simulated")
    run = walk_forward(BENCHMARK, MODELS[BENCHMARK], data, 300)
    # three times as much: v/f is on average 1/3, and the loss higher by about log 3 - 2/3
    fitted = {"HAR": run._replace(forecasts=3.0 * run.forecasts), BENCHMARK: run}
    table, each = summarise(data, fitted, reps=100)
    assert table.loc[BENCHMARK, ["relative QLIKE", "better", "worse"]].tolist() == [1.0, 0, 0]
    assert table.loc["HAR", ["better", "worse"]].tolist() == [0, 3]
    assert table["QLIKE"].diff().iloc[-1] == pytest.approx(2.0 / 3.0 - np.log(3.0), abs=0.1)
    assert table["in MCS"].tolist() == [0, 3]
    assert table.loc[BENCHMARK, "QLIKE"] == pytest.approx(each[BENCHMARK].mean())


def test_coverage_is_the_share_within_the_central_intervals():
    grid = pd.Series((np.arange(1000) + 0.5) / 1000)
    variances = pd.DataFrame({"a": grid, "b": 1.0 - grid})
    levels = {name: pd.DataFrame({q: q for q in LEVELS}, grid.index) for name in variances}
    run = Run(variances, pd.concat(levels, axis=1), 0.0)
    data = Data(Panel(variances, variances), WINDOWS, 13, "weeks", "a grid")
    found = coverage(data, run)
    assert found.to_dict() == pytest.approx({"95%": 0.95, "90%": 0.9, "80%": 0.8})


def test_daily_rows_have_their_weekday_and_the_gap_before_them_as_inputs():
    panel = simulated(30)
    days = pd.bdate_range("2024-01-01", periods=31).delete(3)
    panel = Panel(*(frame.set_axis(days) for frame in panel))
    with_days, without = (past_means(panel, (1,), calendar=known) for known in (True, False))
    assert with_days.shape[2] == without.shape[2] + 5
    # Tuesday, Wednesday, after which Thursday is closed, Friday, Monday
    expected = [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 1, np.log(2)], [0, 0, 0, 0, np.log(3)]]
    np.testing.assert_allclose(with_days[1:5, 0, -5:], expected)
    assert past_means(simulated(30), (1,)).shape == without.shape


def test_a_weekly_variance_sums_the_squared_returns_of_its_days():
    days = pd.bdate_range("2024-01-05", "2024-01-19")
    returns = np.r_[0.0, 0.01, -0.02, 0.0, 0.01, 0.02, np.zeros(5)]
    prices = pd.DataFrame({"a": 100.0 * np.exp(np.cumsum(returns))}, days)
    variance = weekly_variance(prices)
    assert list(variance.index) == list(pd.period_range("2024-01-12", "2024-01-19", freq="W-FRI"))
    assert variance["a"].tolist() == pytest.approx([0.001, FLOOR])


def test_the_variance_of_the_range_is_that_of_a_random_walk():
    rng = np.random.default_rng(0)
    n_days, n_steps, sigma = 1000, 1000, 0.01
    moves = sigma * rng.normal(size=(n_days, n_steps)) / np.sqrt(n_steps)
    overnight = 0.005 * rng.normal(size=n_days)
    paths = np.cumsum(moves, axis=1)
    start = np.cumsum(overnight + np.r_[0.0, paths[:-1, -1]])
    logs = start[:, None] + np.column_stack([np.zeros(n_days), paths])
    ends = {"Open": logs[:, 0], "High": logs.max(1), "Low": logs.min(1), "Close": logs[:, -1]}
    variance = range_variance(np.exp(pd.DataFrame(ends)))
    assert len(variance) == n_days - 1
    # the range of a path of 1000 steps is a few per cent too short
    assert variance.mean() == pytest.approx(sigma**2 + 0.005**2, rel=0.08)


@pytest.mark.slow
def test_the_study_writes_its_tables_and_shows_how_far_it_is(tmp_path, run_main):
    pytest.importorskip("skfolio")
    names = ("random walk", "HAR")
    printed = run_main(*QUICK_STUDY, "--output", tmp_path, "--data", "stocks", "--models", *names)
    text = (tmp_path / "panel_volatility.md").read_text()
    rows = re.findall(r"^\| ([\w ]+) \| \d\.\d{4} \| (\d\.\d{3}) \|", text, re.MULTILINE)
    assert [name for name, _ in rows] == ["random walk", "HAR", BENCHMARK]
    assert dict(rows)[BENCHMARK] == "1.000" and text.splitlines()[2] in printed
    assert pd.read_csv(tmp_path / "qlike_stocks.csv").shape == (3, 4)
    assert (tmp_path / "panel_volatility.png").stat().st_size > 10_000


@pytest.mark.exhaustive
def test_the_quick_study_has_all_models_on_all_data(tmp_path, run_main):
    pytest.importorskip("skfolio")
    run_main(*QUICK_STUDY, "--output", tmp_path)
    text = (tmp_path / "panel_volatility.md").read_text()
    for name in MODELS:
        assert text.count(f"\n| {name} |") == 3
    assert text.count("Coverage of the intervals") == 6
