"""The logic of the forecasting study: what a forecast may know, and what its tables say."""

import numpy as np
import pandas as pd
import pytest
from sktime.forecasting.base import BaseForecaster

from forecasting import SETUPS, Setup, forecast, merge, study
from forecasting_data import Data, threshold
from forecasting_models import Model, ours, peers
from forecasting_report import MIN_KNOWN_ERRORS, fill, markdown, qlike, summarise
from sktime_alm.evaluation import diebold_mariano

# LASSO, boosting and MLP are given X as ridge is; an RNN of PyTorch takes seconds a fit
SLOW = ("LASSO", "boosting", "MLP", "RNN (PyTorch)")
MODELS = {
    name: model
    for name, model in {**peers(), **ours()}.items()
    if name not in SLOW and not model.is_missing
}
# ours choose their penalties at every forecast, which takes seconds
SLOW_IF_OURS = [
    pytest.param(name, marks=pytest.mark.slow) if name in ours() else name for name in MODELS
]
SLOW_WITH_X = [each for each in SLOW_IF_OURS if each not in ("random walk", "HAR")]
ONE, TWELVE = Setup(1, 1, "expanding"), Setup(12, 4, "expanding")


@pytest.fixture(autouse=True)
def _no_copies_of_the_data(monkeypatch):
    """As in the study; sktime announces the change of its default at every clone."""
    monkeypatch.setitem(BaseForecaster._config, "remember_data", False)


def make_data(n=120, n_test=1, seed=0):
    """A series that follows one observed variable a step later, and a planned one at once."""
    rng = np.random.default_rng(seed)
    days = pd.period_range("2000-01-01", periods=n, freq="D")
    observed = pd.DataFrame({"seen": rng.normal(size=n)}, days)
    planned = pd.DataFrame({"plan": rng.normal(size=n)}, days)
    y = 0.3 * rng.normal(size=n) + observed["seen"].shift(1, fill_value=0.0) + planned["plan"]
    return Data(y.rename("y"), observed, planned, n_test, (1, 2, 4), pd.RangeIndex(n))


def with_values_after(data, cutoff, value):
    """The data with y and the observed X after the cutoff replaced."""
    y, observed = data.y.copy(), data.observed.copy()
    y.iloc[cutoff + 1 :] = value
    observed.iloc[cutoff + 1 :] = value
    return data._replace(y=y, observed=observed)


@pytest.mark.parametrize("setup", [ONE, TWELVE], ids=["1 ahead", "12 ahead"])
@pytest.mark.parametrize("name", SLOW_IF_OURS)
def test_a_forecast_does_not_know_what_comes_after_its_cutoff(name, setup):
    data = make_data(60, setup.horizon)
    cutoff = len(data.y) - setup.horizon - 1
    before = forecast(MODELS[name], data, setup)
    after = forecast(MODELS[name], with_values_after(data, cutoff, 1e6), setup)
    assert (before["cutoff"] == cutoff).all() and len(before) == setup.horizon
    np.testing.assert_array_equal(before["forecast"], after["forecast"])
    assert not np.array_equal(before["y"], after["y"])  # the actual values did change


@pytest.mark.parametrize("setup", [ONE, TWELVE], ids=["1 ahead", "12 ahead"])
@pytest.mark.parametrize("name", SLOW_WITH_X)
def test_a_forecast_uses_the_last_x_that_is_known_and_the_plan_of_its_time(name, setup):
    # without a linear part more rows are needed
    data = make_data(120 if name.endswith("no skip") else 60, setup.horizon)
    cutoff = len(data.y) - setup.horizon - 1
    forecasts = forecast(MODELS[name], data, setup)["forecast"].to_numpy()
    seen, plan = data.observed.copy(), data.planned.copy()
    seen.iloc[cutoff] += 5.0
    plan.iloc[-1] += 5.0
    # the last row of X that is known belongs to the last step, as does the plan
    of_plan = forecast(MODELS[name], data._replace(planned=plan), setup)["forecast"]
    np.testing.assert_array_equal(of_plan[:-1], forecasts[:-1])
    assert of_plan.iloc[-1] > forecasts[-1] + 0.5
    if setup is ONE:
        of_seen = forecast(MODELS[name], data._replace(observed=seen), setup)["forecast"]
        assert of_seen.iloc[-1] > forecasts[-1] + 0.5


def test_the_benchmark_is_least_squares_on_averages_of_y_and_on_x_iterated():
    data = make_data(n_test=12)
    y, X = (frame.to_numpy() for frame in data.known(12))
    n_train = len(y) - 12

    def inputs(past, t):
        return [1.0, *(past[-window:].mean() for window in data.windows), *X[t]]

    rows = range(max(data.windows), n_train)
    weights, *_ = np.linalg.lstsq([inputs(y[:t], t) for t in rows], y[rows], rcond=None)
    path = y[:n_train]
    for t in range(n_train, len(y)):
        path = np.append(path, np.dot(inputs(path, t), weights))
    forecasts = forecast(MODELS["HAR-X"], data, TWELVE)["forecast"]
    np.testing.assert_allclose(forecasts, path[n_train:], rtol=0, atol=1e-10)


def test_all_models_are_given_the_same_rows_of_x_lagged_by_the_longest_step():
    data = make_data()
    for horizon in (1, 12):
        y, X = data.known(horizon)
        assert X.index.equals(y.index) and len(y) == len(data.y) - horizon
        assert not X.isna().any(axis=None)
        np.testing.assert_array_equal(X["seen"], data.observed["seen"].iloc[:-horizon])
        np.testing.assert_array_equal(X["plan"], data.planned["plan"].iloc[horizon:])


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: "-".join(map(str, setup)))
def test_windows_end_before_the_test_values_and_roll_or_expand(setup):
    y = pd.Series(np.arange(60.0))
    folds = list(setup.splitter(40).split(y))
    assert [train[-1] for train, _ in folds] == list(range(39, 60 - setup.horizon, setup.step))
    for train, test in folds:
        np.testing.assert_array_equal(test, train[-1] + np.arange(1, setup.horizon + 1))
        assert len(train) == (40 if setup.windows == "rolling" else train[-1] + 1)


def test_a_model_that_fails_is_said_to_and_the_others_go_on(capsys):
    def build(data):
        raise ValueError("no such order")

    models = {"broken": Model(build), "random walk": peers()["random walk"]}
    found = list(study({"toy": make_data()}, models, [ONE]))
    assert [rows["model"].iloc[0] for rows in found] == ["random walk"]
    assert "broken FAILED: ValueError: no such order" in capsys.readouterr().out


def test_a_model_without_its_package_is_missing():
    assert Model(lambda data: None, "no_such_package").is_missing
    assert not Model(lambda data: None, "numpy").is_missing


def make_forecasts(n=60, step=1, horizon=1, seed=0):
    """Forecasts of a benchmark and of a model with half its errors, in both windows."""
    rng = np.random.default_rng(seed)
    rows = []
    for windows in ("expanding", "rolling"):
        for cutoff in range(0, n, step):
            errors = rng.normal(size=horizon)
            for model, scale in (("HAR-X", 1.0), ("better", 0.5)):
                if model == "better" and windows == "rolling":
                    continue
                times = cutoff + np.arange(1, horizon + 1)
                frame = pd.DataFrame({"cutoff": cutoff, "time": times, "y": 0.1 * np.sin(times)})
                frame["forecast"] = frame["y"] - scale * errors
                frame = frame.assign(model=model, windows=windows, horizon=horizon, step=step)
                rows.append(frame.assign(data="toy", CRPS=scale, seconds=1.0))
    return pd.concat(rows, ignore_index=True)


def test_the_table_holds_means_over_forecasts_and_tests_against_the_benchmark():
    forecasts = make_forecasts(step=4, horizon=12)
    table = summarise(forecasts, "HAR-X", False).set_index(["windows", "model"])
    assert list(table.index) == [
        ("expanding", "HAR-X"), ("expanding", "better"), ("rolling", "HAR-X"),
    ]  # fmt: skip
    better = table.loc["expanding", "better"]
    assert better["relative MSE"] == pytest.approx(0.25)
    assert better["forecasts"] == 15 and better["CRPS"] == 0.5
    squares = (forecasts["y"] - forecasts["forecast"]) ** 2
    expanding = forecasts.assign(loss=squares)[forecasts["windows"] == "expanding"]
    losses = expanding.groupby(["model", "cutoff"])["loss"].mean()
    # 12 steps that begin every 4: two forecasts before overlap with a forecast
    test = diebold_mariano(losses["better"], losses["HAR-X"], h=3)
    assert better["DM p-value"] == pytest.approx(test.p_value)
    assert np.isnan(table.loc[("expanding", "HAR-X"), "DM p-value"])
    assert better["in MCS"] and not table.loc[("expanding", "HAR-X"), "in MCS"]


def test_the_correction_of_qlike_takes_only_errors_known_at_the_cutoff():
    rows = make_forecasts(n=30).query("windows == 'expanding' and model == 'HAR-X'")
    y, error = rows["y"].to_numpy(), (rows["y"] - rows["forecast"]).to_numpy()
    losses = []
    # the forecast of row k has the cutoff k, at which the outcomes of the k rows before are known
    for k in range(MIN_KNOWN_ERRORS, 30):
        correction = 2.0 * np.mean(error[:k] ** 2)
        ratio = np.exp(2.0 * y[k]) / np.exp(2.0 * (y[k] - error[k]) + correction)
        losses.append(ratio - np.log(ratio) - 1.0)
    assert qlike(rows) == pytest.approx(np.mean(losses))
    assert np.isnan(qlike(rows[:MIN_KNOWN_ERRORS]))


def test_the_markdown_marks_the_confidence_set_and_leaves_blank_what_was_not_run():
    lines = markdown(summarise(make_forecasts(), "HAR-X", False)).splitlines()
    assert lines[0] == "One step ahead, 60 forecasts:"
    header, benchmark, better = (
        [cell.strip() for cell in lines[i].split("|")[1:-1]] for i in (2, 4, 5)
    )
    assert header[:3] == ["model", "MSE, expanding", "MSE, rolling"]
    assert not benchmark[1].startswith("**") and benchmark[2].startswith("**")
    assert better[0] == "better" and better[1].startswith("**") and better[2] == ""
    assert all(lines[i].count("|") == lines[2].count("|") for i in (3, 4, 5))


def test_only_the_text_between_the_marks_of_a_block_is_replaced():
    page = "a\n<!-- one -->\nold\n<!-- /one -->\nb\n<!-- two -->\n<!-- /two -->\n"
    filled = fill(page, {"one": "new\\1", "absent": "x"})
    assert filled == page.replace("old", "new\\1")
    assert fill(filled, {"one": "old"}) == page


def test_new_forecasts_replace_those_of_the_same_model_and_setup_only():
    kept = make_forecasts()
    new = kept.query("model == 'better'").assign(forecast=0.0)
    merged = merge(kept, new, ["HAR-X", "better"])
    assert len(merged) == len(kept)
    assert (merged.loc[merged["model"] == "better", "forecast"] == 0.0).all()
    untouched = kept.query("model == 'HAR-X'").reset_index(drop=True)
    after = merged.query("model == 'HAR-X'").reset_index(drop=True)
    pd.testing.assert_frame_equal(after, untouched)


def test_the_simulated_series_do_not_depend_on_the_run():
    pd.testing.assert_series_equal(threshold().y, threshold().y)
