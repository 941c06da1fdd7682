"""Panels: series one by one, in worker processes, and one network for all of them."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sktime.forecasting.model_evaluation import evaluate
from sktime.performance_metrics.forecasting import MeanSquaredError
from sktime.split import ExpandingWindowSplitter

from sktime_alm import ALMElmanForecaster, mean_of_others
from sktime_alm.solver import train
from tests.conftest import DESCENT, NETWORK, named
from tests.test_forecaster import make_data
from tests.test_penalties import threshold_autoregression

pytestmark = pytest.mark.usefixtures("few_replays")

NAMES = ["series", "time"]


def panel_of(series, names=NAMES):
    return pd.concat(series, names=names)


def make_panel(lengths=(40, 25, 33), m=1, with_X=True):
    """Series of different lengths, scales and beginnings."""
    y, X = {}, {}
    for i, length in enumerate(lengths):
        y[f"s{i}"], X[f"s{i}"] = make_data(T=length, m=m, seed=i)
        y[f"s{i}"] = 10.0**i * y[f"s{i}"] - 5.0 * i
    return (panel_of(y), panel_of(X)) if with_X else (panel_of(y), None)


def nonlinear_panel(n_series, length, first_seed=0):
    return panel_of(
        {
            f"s{i}": (10.0 * i + (1.0 + i) * threshold_autoregression(length, first_seed + i))
            for i in range(n_series)
        }
    ).to_frame("y")


def standardised_rows(y, X, lags):
    """The full rows of a series: inputs and targets, each scaled by the series alone."""
    z = (y.to_numpy() - np.nanmean(y, axis=0)) / np.nanstd(y, axis=0)
    filled = pd.DataFrame(z).ffill().fillna(0.0).to_numpy()
    inputs = [filled[lags - lag : len(z) - lag] for lag in range(1, lags + 1)]
    if X is not None:
        inputs.append(((X - X.mean()) / X.std(ddof=0)).to_numpy()[lags:])
    return np.hstack(inputs), z[lags:]


def assert_same(found, expected, rtol=1e-9):
    for name, array in named(expected).items():
        np.testing.assert_allclose(named(found)[name], array, rtol=rtol, atol=1e-12)


# processes of their own import all of it, twice
@pytest.mark.parametrize("backend", ["dask", pytest.param("loky", marks=pytest.mark.slow)])
def test_series_fitted_in_workers_equal_those_fitted_here(backend):
    if backend == "dask":
        pytest.importorskip("dask")
    y, X = make_panel()
    y = pd.concat({"a": y, "b": 2.0 * y}, names=["group", *NAMES])
    X = pd.concat({"a": X, "b": -X}, names=["group", *NAMES])
    serial = ALMElmanForecaster(exog_lags=1, **NETWORK).fit(y, X)
    parallel = ALMElmanForecaster(exog_lags=1, **NETWORK)
    parameters = {"scheduler": "threads"} if backend == "dask" else {"n_jobs": 2}
    parallel.set_config(**{"backend:parallel": backend, "backend:parallel:params": parameters}).fit(
        y, X
    )
    pd.testing.assert_frame_equal(parallel.predict(fh=[1]), serial.predict(fh=[1]))
    pd.testing.assert_frame_equal(
        parallel.predict_interval(fh=[1]), serial.predict_interval(fh=[1])
    )
    one = y.loc["a", "s1"], X.loc["a", "s1"]
    alone = ALMElmanForecaster(exog_lags=1, **NETWORK).fit(*one).predict(fh=[1])
    np.testing.assert_allclose(serial.predict(fh=[1]).loc["a", "s1"], alone)


# beside the one before, whose two processes are still there
@pytest.mark.slow
def test_evaluations_in_worker_processes_give_the_same_bits():
    y, X = make_data()
    cv = ExpandingWindowSplitter(initial_window=30, step_length=8, fh=[1, 2])
    options = {"scoring": MeanSquaredError(), "return_data": True, "error_score": "raise"}
    forecaster = ALMElmanForecaster(n_init=2, exog_lags=0, **NETWORK)
    here = evaluate(forecaster, cv, y, X, **options)
    there = evaluate(forecaster, cv, y, X, backend="loky", backend_params={"n_jobs": 2}, **options)
    for one, other in zip(here["y_pred"], there["y_pred"], strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.parametrize("m", [1, 2])
def test_pretraining_is_training_on_the_series_laid_end_to_end(m, monkeypatch):
    y, X = make_panel(m=m)
    y.iloc[[3, 50]] = np.nan
    calls = []

    def spy(inputs, targets, **arguments):
        calls.append((inputs, targets, arguments["starts"]))
        return train(inputs, targets, **arguments)

    monkeypatch.setattr("sktime_alm.trainer.train", spy)
    forecaster = ALMElmanForecaster(lags=2, **NETWORK).pretrain(y, X)
    rows = [standardised_rows(y.loc[key], X.loc[key], 2) for key in ("s0", "s1", "s2")]
    ((inputs, targets, starts),) = calls
    for found, expected in zip((inputs, targets), zip(*rows, strict=True), strict=True):
        np.testing.assert_allclose(found, np.vstack(expected), rtol=1e-12, atol=1e-12)
    assert starts == (0, 38, 38 + 23)
    assert forecaster.pretrained_.pretrained.trained.networks[0].A.any()


def by_hand(p, y, X, lags, n_steps):
    """Forecasts after a series, its own scale, by a network of two series; X as it was."""
    mean, std = y.mean(axis=0).to_numpy(), y.std(axis=0, ddof=0).to_numpy()
    z = list((y.to_numpy() - mean) / std)
    v = ((X - X[: len(y)].mean()) / X[: len(y)].std(ddof=0)).to_numpy()
    h = np.zeros(len(p.b))
    for t in range(lags, len(y) + n_steps):
        x = np.concatenate([*(z[t - lag] for lag in range(1, lags + 1)), v[t]])
        h = np.maximum(p.W @ h + p.V @ x + p.b, 0.0)
        if t >= len(y):
            z.append(p.A @ h + p.D @ x + p.c)
    return np.array(z[len(y) :]) * std + mean


@pytest.mark.parametrize("n_rows", [3, 6, 30])
def test_a_new_series_is_scaled_and_run_through_the_pretrained_network(n_rows):
    forecaster = ALMElmanForecaster(lags=2, **NETWORK).pretrain(*make_panel())
    p = forecaster.pretrained_.pretrained.trained.networks[0]
    y, X = make_data(T=40, seed=9)
    forecaster.fit(y[:n_rows], X[:n_rows])
    assert forecaster.parameters_ is p
    own = forecaster.networks_[0]
    np.testing.assert_array_equal(own.hidden_layer, p.hidden_layer)
    expected = by_hand(own, y[:n_rows], X, 2, 4)
    runs = forecaster._fitted.errors.runs
    if runs is not None:
        # what forecasts of so few rows of the panel's series fell short of
        expected += runs.of_steps(4).bias * y[:n_rows].std(axis=0, ddof=0).to_numpy()
    within = bounded(expected, y[:n_rows])
    found = forecaster.predict(fh=[1, 2, 3, 4], X=X)
    np.testing.assert_allclose(found[:within], expected[:within], rtol=1e-9)
    intervals = forecaster.predict_interval(fh=[1, 4], X=X, coverage=0.8)
    assert np.isfinite(intervals).all(axis=None)
    assert (forecaster.predict_var(fh=[1], X=X) > 0.0).all(axis=None)
    # the state runs on, with the scale of fit
    before = pickle.dumps(named(p))
    forecaster.update(y[n_rows : n_rows + 2], X[n_rows : n_rows + 2], update_params=False)
    assert pickle.dumps(named(forecaster.parameters_)) == before
    assert np.isfinite(forecaster.predict(fh=[1], X=X)).all(axis=None)
    # and what it knows of its own grows: as if fitted to all of its rows
    forecaster.update(y[n_rows + 2 : 38], X[n_rows + 2 : 38], update_params=True)
    assert_same(forecaster.parameters_, p)
    anew = forecaster.clone().fit(y[:38], X[:38])
    assert_same(forecaster.networks_[0], anew.networks_[0])


def bounded(expected, y):
    """How many of the forecasts come before one that is cut off."""
    spread = y.to_numpy().max() - y.to_numpy().min()
    within = (expected <= y.to_numpy().max() + 3.0 * spread) & (
        expected >= y.to_numpy().min() - 3.0 * spread
    )
    return len(within) if within.all() else int(np.argmin(within))


def test_a_series_shorter_than_the_lags():
    forecaster = ALMElmanForecaster(lags=4, **NETWORK).pretrain(*make_panel())
    y, X = make_data(T=12, seed=9)
    forecaster.fit(y[:2], X[:2])
    assert np.isfinite(forecaster.predict(fh=[1, 5], X=X)).all(axis=None)
    assert np.isfinite(forecaster.predict_interval(fh=[1, 5], X=X)).all(axis=None)
    forecaster.update(y[2:4], X[2:4], update_params=False)
    expected = forecaster.predict(fh=[1, 2], X=X)
    assert np.isfinite(expected).all(axis=None)
    forecaster.update(y[4:], X[4:], update_params=True)
    assert np.isfinite(forecaster.predict(fh=[0])).all(axis=None)


def test_refits_clones_copies_and_evaluate_keep_the_pretrained_network():
    y_panel, _ = make_panel(with_X=False)
    y, _ = make_data(T=30, seed=9)
    forecaster = ALMElmanForecaster(**NETWORK).pretrain(y_panel)
    p = forecaster.pretrained_.pretrained.trained.networks[0]
    expected = forecaster.fit(y[:20]).predict(fh=[1, 2])
    clone = forecaster.clone()
    assert_same(clone.fit(y[:20]).parameters_, p)
    copy = pickle.loads(pickle.dumps(forecaster))
    for other in (clone, copy, forecaster.fit(y[10:]).fit(y[:20])):
        pd.testing.assert_frame_equal(other.predict(fh=[1, 2]), expected)
    cv = ExpandingWindowSplitter(initial_window=20, step_length=5, fh=[1, 2])
    scores = evaluate(
        forecaster, cv, y, scoring=MeanSquaredError(), return_data=True, error_score="raise"
    )
    pd.testing.assert_frame_equal(scores["y_pred"][0], expected, check_freq=False)


def test_a_second_panel_trains_the_network_on():
    first, second = nonlinear_panel(3, 40), nonlinear_panel(3, 40, first_seed=10)
    forecaster = ALMElmanForecaster(**NETWORK).pretrain(first)
    network, penalties = (
        forecaster.pretrained_.pretrained.trained.networks[0],
        forecaster.pretrained_.pretrained.penalties,
    )
    forecaster.pretrain(second)
    rows = [standardised_rows(second.loc[key], None, 1) for key in ("s0", "s1", "s2")]
    inputs, targets = (np.vstack(part) for part in zip(*rows, strict=True))
    options = {**NETWORK, "linear_skip": True, "max_recurrence": 0.98, "initial": network}
    options |= options.pop("solver_options")
    # rows of prior against the mean over 117 rows, with 3 units, one input and one column
    options |= {"alpha": 3 * NETWORK["alpha"] / 117, "skip_alpha": NETWORK["skip_alpha"] / 117}
    expected = train(inputs, targets, starts=[0, 39, 78], **options)
    assert_same(
        forecaster.pretrained_.pretrained.trained.networks[0], expected.parameters, rtol=1e-5
    )
    assert forecaster.pretrained_.pretrained.penalties == penalties


def test_pretraining_chooses_penalties_and_starts_series_anew():
    panel = nonlinear_panel(6, 40)
    auto = {"hidden_size": 3, "max_iter": 5, "random_state": 0, "solver_options": DESCENT}
    forecaster = ALMElmanForecaster(**auto).pretrain(panel)
    penalties = forecaster.pretrained_.pretrained.penalties
    assert np.isfinite(penalties.alpha) and len(penalties.path) > 20
    forecaster.fit(threshold_autoregression(10, seed=77))
    assert forecaster.alpha_ == penalties.alpha
    assert len(forecaster.alpha_path_) == len(penalties.path)
    # no lag reaches from one series into the next: their order does not matter to the choice
    turned = panel_of({key: panel.loc[key] for key in ("s3", "s0", "s5", "s1", "s4", "s2")})
    other = ALMElmanForecaster(**auto).pretrain(turned).pretrained_.pretrained.penalties
    assert other.skip_alpha == penalties.skip_alpha
    np.testing.assert_allclose(
        [c.loss for c in other.path[:20]], [c.loss for c in penalties.path[:20]]
    )


@pytest.mark.parametrize("method", ["bootstrap", "conformal"])
@pytest.mark.parametrize("n_rows", [4, 15, 60])
def test_intervals_of_a_pretrained_network(n_rows, method):
    options = {**NETWORK, "interval_method": method}
    forecaster = ALMElmanForecaster(**options).pretrain(nonlinear_panel(3, 60))
    forecaster.fit(100.0 * threshold_autoregression(n_rows, seed=5))
    intervals = forecaster.predict_interval(fh=[1], coverage=0.9).to_numpy()
    assert np.isfinite(intervals).all() and 1.0 < np.ptp(intervals) < 700.0
    if n_rows == 60:
        forecaster.update(pd.Series([1.0], index=[60]), update_params=True)
        assert np.isfinite(forecaster.predict_interval(fh=[1])).all(axis=None)


@pytest.mark.parametrize(
    ("arguments", "y", "X", "message"),
    [
        ({"lags": 3}, 1, 2, r"lags, window_means and exog_lags must be those of pretrain"),
        ({}, 2, 2, "y must have the columns of pretrain"),
        ({}, 1, None, "X must be passed as in pretrain, which was called with X"),
        ({}, 1, 3, r"X must have the columns of pretrain, \['x0', 'x1'\].*unknown \['x2'\]"),
        ({"exog_lags": 1}, 1, 2, "exog_lags must be those of pretrain"),
    ],
    ids=["lags", "outputs", "no X", "other X", "lags of X"],
)
def test_a_series_unlike_the_panel_is_refused_by_name(arguments, y, X, message):
    forecaster = ALMElmanForecaster(lags=2, **NETWORK).pretrain(*make_panel())
    data, exogenous = make_data(m=y, n=X or 1)
    for name, value in arguments.items():
        setattr(forecaster, name, value)  # set_params would make it forget the panel
    with pytest.raises(ValueError, match=message):
        forecaster.fit(data, None if X is None else exogenous)


def test_columns_of_X_are_taken_in_the_order_of_pretrain():
    forecaster = ALMElmanForecaster(lags=2, **NETWORK).pretrain(*make_panel())
    y, X = make_data(seed=4)
    expected = forecaster.fit(y[:34], X[:34]).predict(fh=[1], X=X)
    turned = X[["x1", "x0"]]
    found = forecaster.fit(y[:34], turned[:34]).predict(fh=[1], X=turned)
    pd.testing.assert_frame_equal(found, expected)


def test_panels_without_rows_to_train_on_are_refused():
    y, X = make_panel(lengths=(3, 4))
    with pytest.raises(ValueError, match="y must have series of more than 6 rows"):
        ALMElmanForecaster(lags=6, **NETWORK).pretrain(y, X)
    y.loc["s0"] = np.nan
    with pytest.raises(ValueError, match="observed in some row.*series"):
        ALMElmanForecaster(**NETWORK).pretrain(y, X)


def test_a_hierarchy_is_fitted_by_one_pretrained_network():
    panel = nonlinear_panel(3, 40)
    forecaster = ALMElmanForecaster(**NETWORK).pretrain(panel)
    network = forecaster.pretrained_.pretrained.trained.networks[0]
    forecaster.fit(panel)
    for single in forecaster.forecasters_.to_numpy().ravel():
        assert_same(single.parameters_, network)
    assert forecaster.predict(fh=[1, 2]).notna().all(axis=None)


# of 24 rows none has enough for a network of its own
@pytest.mark.parametrize(
    ("length", "share"), [(25, 0.3), pytest.param(36, 0.9, marks=pytest.mark.slow)]
)
def test_a_pretrained_network_beats_one_for_each_short_series(length, share):
    n_series = 8
    full = nonlinear_panel(n_series, length + 12)
    panel = full.groupby("series").head(length)
    auto = {"hidden_size": 4, "random_state": 0}
    pretrained = ALMElmanForecaster(**auto).pretrain(panel)
    errors: dict[str, list[float]] = {"pretrained": [], "alone": []}
    for key in panel.index.unique("series"):
        y, scale = full.loc[key, "y"], full.loc[key, "y"].std()
        for name, start in (("pretrained", pretrained), ("alone", ALMElmanForecaster(**auto))):
            forecaster = start.clone().fit(y[:length])
            forecaster.update(y[length:], update_params=False)
            error = (forecaster.predict(fh=np.arange(-11, 1)) - y[length:]) / scale
            errors[name].append((error**2).mean())
    assert np.mean(errors["pretrained"]) < share * np.mean(errors["alone"])


@pytest.mark.parametrize(("first", "other"), [("ME", "D"), ("D", "W"), ("h", "D"), ("QS", "MS")])
def test_series_of_different_frequencies_are_refused(first, other):
    indices = (pd.date_range("2000-01-01", periods=30, freq=name) for name in (first, other))
    series = {k: pd.DataFrame({"y": np.sin(np.arange(30.0))}, i) for k, i in enumerate(indices)}
    panel = pd.concat(series, names=["series", "time"])
    with pytest.raises(ValueError, match=r"y must have series of one frequency.*\(series 1\)"):
        ALMElmanForecaster(**NETWORK).pretrain(panel)


@pytest.mark.parametrize(
    ("first", "other"), [("ME", "D"), ("D", "W"), ("h", "D"), ("h", "B"), ("QS", "MS")]
)
def test_what_follows_a_panel_has_its_frequency(first, other):
    def panel_of(freq):
        times = pd.date_range("2000-01-01", periods=30, freq=freq)
        series = {k: pd.DataFrame({"y": np.sin(np.arange(30.0) + k)}, times) for k in range(2)}
        return pd.concat(series, names=["series", "time"])

    forecaster = ALMElmanForecaster(**NETWORK).pretrain(panel_of(first))
    before = forecaster.clone().fit(panel_of(first).loc[1]).predict(fh=[1, 2])
    with pytest.raises(ValueError, match=r"y must have series of one frequency.*panel of pretrain"):
        forecaster.clone().fit(panel_of(other).loc[1])
    with pytest.raises(ValueError, match=r"y must have series of one frequency.*\(series 0\)"):
        forecaster.pretrain(panel_of(other))
    pd.testing.assert_frame_equal(forecaster.fit(panel_of(first).loc[1]).predict([1, 2]), before)
    # fewer rows do not tell
    forecaster.clone().fit(panel_of(first).loc[1].iloc[:3])


def test_series_of_one_frequency_may_lie_beside_each_other_and_have_gaps():
    sundays, mondays = (
        pd.date_range("2000-01-01", periods=40, freq=f"W-{d}") for d in ("SUN", "MON")
    )
    series = {
        k: pd.DataFrame({"y": np.sin(np.arange(len(i)))}, i)
        for k, i in enumerate(
            (sundays, mondays, sundays.delete([7, 20]), sundays[[3, 5, 9, 11, 15, 17]])
        )
    }
    panel = pd.concat(series, names=["series", "time"])
    assert ALMElmanForecaster(**NETWORK).pretrain(panel).pretrained_.calendar.holds(sundays)


def test_the_columns_of_several_series_are_those_of_the_panel_in_their_order():
    rng = np.random.default_rng(0)
    series = {key: pd.DataFrame(rng.normal(size=(30, 2)), columns=["a", "b"]) for key in "xy"}
    forecaster = ALMElmanForecaster(hidden_size=2, alpha=1.0, skip_alpha=0.1, random_state=0)
    forecaster.pretrain(pd.concat(series, names=["series", "time"]))
    assert forecaster.fit(series["x"]).predict(fh=[1]).notna().all(axis=None)
    with pytest.raises(ValueError, match="y must have the columns of pretrain"):
        forecaster.clone().fit(series["x"][["b", "a"]])


def unequal_panel():
    """Three series of which one is shorter and one has a hole."""
    rng = np.random.default_rng(0)
    lengths = {"s0": 8, "s1": 5, "s2": 8}
    y = panel_of({key: pd.DataFrame({"y": rng.normal(size=n)}) for key, n in lengths.items()})
    y.loc[("s2", 3)] = np.nan
    return y


def test_the_mean_of_others_leaves_out_the_series_itself():
    y = unequal_panel()
    means = mean_of_others(y)
    pd.testing.assert_index_equal(means.index, y.index)
    for (key, time), row in means.iterrows():
        others = y.drop(key, level=0).xs(time, level=1)
        np.testing.assert_allclose(row, others.mean())


def test_the_mean_of_others_looks_at_no_later_time_and_fills_with_the_last():
    y = unequal_panel()
    changed = y.copy()
    changed.loc[y.index.get_level_values(-1) >= 5] *= -7.0
    is_before = y.index.get_level_values(-1) < 5
    pd.testing.assert_frame_equal(mean_of_others(changed)[is_before], mean_of_others(y)[is_before])
    # nobody else at times 5 to 7: the mean of time 4 stands
    alone = mean_of_others(y.drop("s2", level=0)).loc["s0", "y"]
    assert (alone[5:] == alone[4]).all()


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (pd.DataFrame({"y": [1.0]}), "y must be a panel"),
        (panel_of({"a": pd.DataFrame({"y": [1.0]})}), "two series or more, found one"),
        (unequal_panel().astype(str), "y must hold numbers, found others in the columns y"),
        (pd.concat([unequal_panel()] * 2), r"y must have a time of a series once.*\('s0', .*twice"),
    ],
    ids=["no panel", "one series", "text", "a time twice"],
)
def test_the_mean_of_others_needs_others(y, message):
    with pytest.raises((TypeError, ValueError), match=message):
        mean_of_others(y)


def of_keys(frames, keys, rows):
    return pd.concat({key: frames[key][rows] for key in keys}, names=["series", "time"])


@pytest.fixture(scope="module")
def three():
    """Three series by their keys, each with an X of its own, and what single fits forecast."""
    rng, months = np.random.default_rng(0), pd.period_range("2000-01", periods=60, freq="M")
    y = {key: pd.DataFrame({"y": rng.normal(size=60)}, months) for key in "abc"}
    X = {key: pd.DataFrame({"x": rng.normal(size=60)}, months) for key in "abc"}
    single = {}
    for key in "abc":
        one = ALMElmanForecaster(exog_lags=0, **NETWORK).fit(y[key][:50], X[key][:50])
        single[key] = one.predict(fh=[1], X=X[key][50:])["y"].iloc[0]
    return y, X, single


@pytest.mark.parametrize(
    ("of_y", "of_X", "ahead"),
    [("ab", "ba", "ab"), ("ab", "ab", "ba"), ("bc", "abc", "cab"), ("ba", "ab", "ab")],
)
def test_X_goes_to_the_series_of_its_key(three, of_y, of_X, ahead):
    y, X, single = three
    forecaster = ALMElmanForecaster(exog_lags=0, **NETWORK)
    forecaster.fit(of_keys(y, of_y, slice(50)), of_keys(X, of_X, slice(50)))
    found = forecaster.predict(fh=[1], X=of_keys(X, ahead, slice(50, 60)))["y"].droplevel(1)
    assert list(found.index) == list(of_y)
    assert found.to_dict() == pytest.approx({key: single[key] for key in of_y})


def test_an_update_goes_to_the_series_of_its_key(three):
    y, _, _ = three
    forecaster = ALMElmanForecaster(**NETWORK).fit(of_keys(y, "ab", slice(50)))
    expected = forecaster.clone().fit(of_keys(y, "ab", slice(50)))
    expected = expected.update(of_keys(y, "ab", slice(50, 55)), update_params=False)
    before = forecaster.predict(fh=[1])
    for keys, message in (("ac", "missing b, unknown c"), ("b", "missing a, unknown none")):
        with pytest.raises(ValueError, match=f"y must have the series of the panel.*{message}"):
            forecaster.update(of_keys(y, keys, slice(50, 55)), update_params=False)
    pd.testing.assert_frame_equal(forecaster.predict(fh=[1]), before)
    forecaster.update(of_keys(y, "ba", slice(50, 55)), update_params=False)
    pd.testing.assert_frame_equal(forecaster.predict(fh=[1]), expected.predict(fh=[1]))


def test_a_panel_is_updated_by_a_panel_and_a_series_by_a_series(three):
    y, _, _ = three
    both, one = of_keys(y, "ab", slice(50)), y["a"].iloc[:50]
    panel, series = (ALMElmanForecaster(**NETWORK).fit(rows) for rows in (both, one))
    before = panel.predict(fh=[1]), series.predict(fh=[1])
    more = y["a"].iloc[50:52]
    with pytest.raises(ValueError, match=r"y must have the series of the panel, a, b.*times alone"):
        panel.update(more, update_params=False)
    with pytest.raises(ValueError, match=r"y must have the series of the panel, a, b.*times alone"):
        panel.update_predict_single(more, fh=[1])
    with pytest.raises(ValueError, match="y must be one series, as in fit; found a panel"):
        series.update(of_keys(y, "ab", slice(50, 52)), update_params=False)
    for forecaster, expected in zip((panel, series), before, strict=True):
        pd.testing.assert_frame_equal(forecaster.predict(fh=[1]), expected)
    # another fit takes what the one before did not
    pd.testing.assert_frame_equal(panel.fit(one).predict(fh=[1]), before[1])
    pd.testing.assert_frame_equal(series.fit(both).predict(fh=[1]), before[0])


def test_one_X_for_all_may_be_a_series(three):
    y, X, _ = three
    both, market = of_keys(y, "ab", slice(50)), X["a"].iloc[:60]
    found, expected = (
        ALMElmanForecaster(exog_lags=0, **NETWORK).fit(both, x[:50]).predict(fh=[1], X=x[50:])
        for x in (market.iloc[:, 0], market.iloc[:, [0]])
    )
    pd.testing.assert_frame_equal(found, expected)


def test_X_without_a_series_is_refused_by_name(three):
    y, X, _ = three
    with pytest.raises(ValueError, match="X must have the series of the panel.*missing b"):
        ALMElmanForecaster(exog_lags=0, **NETWORK).fit(
            of_keys(y, "ab", slice(50)), of_keys(X, "a", slice(50))
        )


def test_residuals_of_a_panel_keep_the_names_of_its_index(three):
    y, _, _ = three
    forecaster = ALMElmanForecaster(**NETWORK).fit(of_keys(y, "ab", slice(50)))
    assert forecaster.predict_residuals().index.names == ["series", "time"]
    with pytest.raises(AttributeError, match="forecasters_"):
        _ = forecaster.alpha_
    with pytest.raises(ValueError, match="single series"):
        forecaster.to_torch()


def test_other_series_than_those_of_fit_can_be_pretrained_on(three):
    y, X, _ = three
    forecaster = ALMElmanForecaster(exog_lags=0, **NETWORK)
    forecaster.fit(of_keys(y, "ab", slice(50)), of_keys(X, "ab", slice(50)))
    forecaster.pretrain(of_keys(y, "cb", slice(50)), of_keys(X, "bc", slice(50)))
    expected = ALMElmanForecaster(exog_lags=0, **NETWORK)
    expected.pretrain(of_keys(y, "cb", slice(50)), of_keys(X, "cb", slice(50)))
    found, wanted = (f.pretrained_.pretrained.trained.networks[0] for f in (forecaster, expected))
    np.testing.assert_array_equal(found.V, wanted.V)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize("values", [[5.3], [5.3, 5.3, 5.3]], ids=str)
def test_a_series_that_does_not_tell_its_scale_has_that_of_the_panel(values, unit):
    def forecasts(unit):
        series = {
            key: pd.DataFrame({"y": unit * (5.0 + np.random.default_rng(key).normal(size=40))})
            for key in range(4)
        }
        forecaster = ALMElmanForecaster(**NETWORK).pretrain(panel_of(series))
        forecaster.fit(pd.DataFrame({"y": unit * np.array(values)}))
        found = [forecaster.predict(fh=[1, 2]), forecaster.predict_interval(fh=[1, 2])]
        return np.hstack(found) / unit

    found = forecasts(unit)
    np.testing.assert_allclose(found, forecasts(1.0), rtol=1e-4)
    assert (found[:, 2] - found[:, 1] > 1.0).all()


def test_a_series_of_a_panel_that_is_refused_is_named(three):
    y, _, _ = three
    short = of_keys(y, "abc", slice(50)).drop([("b", time) for time in y["b"].index[2:50]])
    with pytest.raises(ValueError, match=r"y must have at least lags \+ 2.*\(series 'b'\)"):
        ALMElmanForecaster(lags=3, **NETWORK).fit(short)
    forecaster = ALMElmanForecaster(**NETWORK).fit(of_keys(y, "abc", slice(50)))
    more = of_keys(y, "abc", slice(50, 55))
    more.loc[("c", y["c"].index[52]), "y"] = np.inf
    with pytest.raises(ValueError, match=r"\(series 'c'\)"):
        forecaster.update(more, update_params=False)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_series_without_logarithms_is_named_by_pretrain(value):
    index = pd.MultiIndex.from_product([["a", "b"], range(40)], names=["series", "time"])
    y = pd.DataFrame({"v": np.random.default_rng(0).gamma(2.0, size=80)}, index)
    y.loc["b"] = value
    forecaster = ALMElmanForecaster(loss="qlike", alpha=1.0, skip_alpha=0.1, random_state=0)
    with pytest.raises(ValueError, match=r"\(series 'b'\)"):
        forecaster.pretrain(y)


def test_logarithms_of_zeros_are_named_where_means_are_taken():
    index = pd.MultiIndex.from_product([["a", "b"], range(5)], names=["series", "time"])
    y = pd.DataFrame({"v": np.arange(10.0)}, index)
    with np.errstate(divide="ignore"), pytest.raises(ValueError, match=r"\('a', 0\). Zeros have"):
        mean_of_others(np.log(y))
