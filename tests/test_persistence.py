"""Pickles, small files without the training rows, and the network in PyTorch."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sktime.base import load
from sktime.exceptions import NotFittedError

from sktime_alm import ALMElmanForecaster
from tests.conftest import NETWORK, named
from tests.test_activations import Identity
from tests.test_forecaster import Y2, X, Y, make_data
from tests.test_panel import make_panel

LAYOUTS = {
    "default": {},
    "no lags": {"lags": 0},
    "many": {"lags": [1, 4], "window_means": (2,), "exog_lags": [0, 3]},
    "ensemble": {"lags": 2, "n_init": 3},
}
KINDS = ["pickle", "memory", "zip", "with rows"]


def copy_of(forecaster, kind, path):
    if kind == "pickle":
        return pickle.loads(pickle.dumps(forecaster))
    if kind == "memory":
        return load(forecaster.save())
    forecaster.save(path / "network", training_rows=kind == "with rows")
    return load(path / "network.zip")


def assert_forecasts_equal(found, expected, X):
    pd.testing.assert_frame_equal(
        found.predict(fh=[1, 2, 4], X=X), expected.predict(fh=[1, 2, 4], X=X)
    )
    for one, other in (
        (found.predict_interval, expected.predict_interval),
        (found.predict_var, expected.predict_var),
    ):
        pd.testing.assert_frame_equal(one(fh=[1, 3], X=X), other(fh=[1, 3], X=X))


# each kind with two layouts, each layout with two kinds
@pytest.mark.parametrize(
    ("layout", "kind"),
    [
        pytest.param(layout, kind, id=f"{name}-{kind}")
        for i, (name, layout) in enumerate(LAYOUTS.items())
        for j, kind in enumerate(KINDS)
        if (i + j) % 4 < 2
    ],
)
def test_what_is_loaded_forecasts_and_updates_like_what_was_saved(layout, kind, tmp_path):
    forecaster = ALMElmanForecaster(**{**NETWORK, **layout}).fit(Y2[:30], X[:30])
    found = copy_of(forecaster, kind, tmp_path)
    assert type(found) is ALMElmanForecaster and found.get_params() == forecaster.get_params()
    assert_forecasts_equal(found, forecaster, X)
    # in pieces, and twice through a file
    for start, stop in ((30, 31), (28, 33), (33, 35)):
        for each in (found, forecaster):
            each.update(Y2[start:stop], X[start:stop], update_params=False)
        assert_forecasts_equal(found, forecaster, X)
    again = copy_of(found, "memory", tmp_path)
    assert_forecasts_equal(again, forecaster, X)


@pytest.mark.parametrize("kind", ["memory", "zip"])
def test_without_the_rows_what_needs_them_is_refused_by_name(kind, tmp_path):
    forecaster = ALMElmanForecaster(**NETWORK).fit(Y[:30], X[:30])
    found = copy_of(forecaster, kind, tmp_path)
    expected = forecaster.predict(fh=[1], X=X)
    for call in (
        lambda: found.predict(fh=[0]),
        lambda: found.predict(fh=[-3, 1], X=X),
        lambda: found.update(Y[30:32], X[30:32], update_params=True),
        lambda: found.predict_interval(fh=[-1]),
    ):
        with pytest.raises(ValueError, match=r"needs the training rows.*training_rows=True"):
            call()
        pd.testing.assert_frame_equal(found.predict(fh=[1], X=X), expected)
    # the forecaster itself keeps its rows
    assert forecaster.predict(fh=[-3]).notna().all(axis=None)


@pytest.mark.parametrize("kind", ["pickle", "with rows"])
def test_with_the_rows_everything_goes_on(kind, tmp_path):
    forecaster = ALMElmanForecaster(**NETWORK).fit(Y[:30], X[:30])
    found = copy_of(forecaster, kind, tmp_path)
    pd.testing.assert_frame_equal(found.predict(fh=[-3, 0]), forecaster.predict(fh=[-3, 0]))
    for each in (found, forecaster):
        each.update(Y[30:34], X[30:34], update_params=True)
    for name, array in named(forecaster.parameters_).items():
        np.testing.assert_array_equal(named(found.parameters_)[name], array)
    # and it can be fitted anew either way
    assert copy_of(found, "memory", tmp_path).fit(Y[:20]).predict(fh=[0]).notna().all(axis=None)


@pytest.mark.filterwarnings("ignore:Time steps are missing in y:UserWarning")
def test_a_loaded_forecaster_goes_on_after_a_gap():
    y = Y.drop(Y.index[20:24])  # 16 rows follow the gap
    for n_seen in (20, 21, 22, 23, 30):
        options = {**NETWORK, "lags": 2}
        forecaster = ALMElmanForecaster(**options).fit(y[:n_seen], X.loc[y.index[:n_seen]])
        found = load(forecaster.save())
        assert_forecasts_equal(found, forecaster, X)
        new = y[max(n_seen, 21) : 32]
        for each in (found, forecaster):
            if n_seen == 20:
                with pytest.warns(UserWarning, match="missing in y before"):
                    each.update(y[20:21], X, update_params=False)
            each.update(new, X, update_params=False)
        assert_forecasts_equal(found, forecaster, X)


def test_a_loaded_forecaster_remembers_the_last_value_before_missing_ones():
    y = Y.copy()
    y.iloc[22:30] = np.nan
    forecaster = ALMElmanForecaster(**{**NETWORK, "lags": 2}).fit(y[:28], X[:28])
    found = load(forecaster.save())
    assert_forecasts_equal(found, forecaster, X)
    for each in (found, forecaster):
        each.update(y[28:33], X[28:33], update_params=False)
    assert_forecasts_equal(found, forecaster, X)


def test_a_file_is_hardly_larger_than_the_weights_and_the_errors(tmp_path):
    y, exogenous = make_data(T=2000, n=5)
    options = {"hidden_size": 64, "alpha": 0.1, "skip_alpha": 0.1, "max_iter": 2}
    forecaster = ALMElmanForecaster(random_state=0, **options).fit(y, exogenous)
    weights = sum(array.nbytes for array in forecaster.parameters_.arrays())
    errors = 2 * forecaster._fitted.errors.one_step.nbytes
    _, in_memory = forecaster.save()
    rows = 2 * (1 + 5) * 8  # of y and X, the last two
    assert len(in_memory) <= 3 * weights + errors + rows + 12_000
    forecaster.save(tmp_path / "network")
    assert (tmp_path / "network.zip").stat().st_size <= 3 * weights + errors + rows + 12_000
    _, everything = forecaster.save(training_rows=True)
    # y, X, and the states of the last iterate with their multipliers
    assert len(everything) > len(in_memory) + 2000 * (6 + 4 * 64) * 8


def test_a_pretrained_network_is_saved_without_the_panel(few_replays):
    y, exogenous = make_panel(lengths=(400, 500, 600))
    forecaster = ALMElmanForecaster(**NETWORK).pretrain(y, exogenous)
    sizes = [len(forecaster.save()[1])]
    new_y, new_X = make_data(T=30, seed=9)
    pretrained = load(forecaster.save()).fit(new_y[:24], new_X[:24])
    expected = forecaster.fit(new_y[:24], new_X[:24])
    assert_forecasts_equal(pretrained, expected, new_X)
    saved = load(forecaster.save())
    assert_forecasts_equal(saved, expected, new_X)
    assert_forecasts_equal(saved.fit(new_y[:24], new_X[:24]), expected, new_X)
    sizes.append(len(forecaster.save()[1]))
    # the errors of the panel, of its pieces and of the fit, and no states
    found = [replay.errors for replay in forecaster.pretrained_.pretrained.replays]
    runs = [errors.runs.errors.nbytes + errors.one_step.nbytes for errors in found]
    assert max(sizes) < 1500 * 8 + sum(runs) + max(runs) + 20_000


@pytest.mark.parametrize("kind", KINDS)
def test_a_hierarchy_is_saved_series_by_series(kind, tmp_path):
    y, exogenous = make_panel()
    forecaster = ALMElmanForecaster(exog_lags=1, **NETWORK).fit(y, exogenous)
    found = copy_of(forecaster, kind, tmp_path)
    expected = forecaster.predict(fh=[1])
    pd.testing.assert_frame_equal(found.predict(fh=[1]), expected)
    pd.testing.assert_frame_equal(
        found.predict_interval(fh=[1]), forecaster.predict_interval(fh=[1])
    )
    if kind in ("memory", "zip"):
        with pytest.raises(ValueError, match="training_rows=True"):
            found.predict(fh=[0])
        assert len(forecaster.save()[1]) < len(forecaster.save(training_rows=True)[1])
    assert forecaster.predict(fh=[0]).notna().all(axis=None)


def test_clones_are_not_fitted_and_unfitted_forecasters_can_be_saved():
    forecaster = ALMElmanForecaster(**NETWORK).fit(Y, X)
    clone = forecaster.clone()
    assert not clone.is_fitted and clone.get_params() == forecaster.get_params()
    for name, array in named(clone.fit(Y, X).parameters_).items():
        np.testing.assert_array_equal(array, named(forecaster.parameters_)[name])
    unfitted = load(ALMElmanForecaster(**NETWORK).save())
    assert not unfitted.is_fitted
    assert unfitted.fit(Y).predict(fh=[1]).notna().all(axis=None)


@pytest.mark.parametrize("skip_alpha", [0.1, np.inf])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu"])
def test_the_network_in_PyTorch_forecasts_alike(activation, skip_alpha):
    torch = pytest.importorskip("torch")
    arguments = {"lags": [1, 3], "window_means": (2,), "exog_lags": [0, 1]}
    forecaster = ALMElmanForecaster(
        activation=activation, **arguments, **{**NETWORK, "skip_alpha": skip_alpha}
    ).fit(Y2[:34], X[:34])
    assert forecaster.parameters_.A.any() and forecaster.parameters_.W.any()
    module = forecaster.to_torch()
    y, exogenous = Y2.to_numpy()[:34], X.to_numpy()

    def inputs_at(t, y):
        return np.concatenate(
            [y[t - 1], y[t - 3], y[t - 2 : t].mean(axis=0), exogenous[t], exogenous[t - 1]]
        )

    with torch.no_grad():
        rows = torch.tensor(np.array([inputs_at(t, y) for t in range(3, 34)]))
        outputs, state = module(rows)
        fitted = forecaster.predict(fh=np.arange(-30, 1)).to_numpy()
        np.testing.assert_allclose(outputs.numpy(), fitted, rtol=1e-10)
        # from a state on, and on its own outputs
        first, halfway = module(rows[:10])
        second, end = module(rows[10:], halfway)
        np.testing.assert_allclose(torch.vstack([first, second]).numpy(), fitted, rtol=1e-10)
        np.testing.assert_allclose(end.numpy(), state.numpy(), rtol=1e-10)
        for t in range(34, 40):
            output, state = module(torch.tensor(inputs_at(t, y)[None]), state)
            y = np.vstack([y, output.numpy()])
    forecasts = forecaster.predict(fh=np.arange(1, 7), X=X)
    np.testing.assert_allclose(y[34:], forecasts, rtol=1e-10)
    # the weights can be trained on
    loss = (module(rows)[0] ** 2).mean()
    loss.backward()
    assert all(p.grad is not None and p.dtype == torch.float64 for p in module.parameters())


def test_several_networks_are_one_in_PyTorch():
    torch = pytest.importorskip("torch")
    forecaster = ALMElmanForecaster(lags=2, **{**NETWORK, "n_init": 3}).fit(Y[:34])
    y, fitted = Y.to_numpy(), forecaster.predict(fh=np.arange(-31, 1)).to_numpy()
    rows = torch.tensor(np.column_stack([y[1:33], y[:32]]))
    with torch.no_grad():
        outputs, _ = forecaster.to_torch()(rows)
    np.testing.assert_allclose(outputs.numpy().ravel(), fitted.ravel(), rtol=1e-10)


def test_what_has_no_counterpart_in_PyTorch_is_refused():
    pytest.importorskip("torch")
    forecaster = ALMElmanForecaster(activation=Identity(), **NETWORK)
    with pytest.raises(NotFittedError):
        forecaster.to_torch()
    with pytest.raises(ValueError, match="activation must be ReLU, LeakyReLU or ELU for PyTorch"):
        forecaster.fit(Y).to_torch()


@pytest.mark.parametrize(
    ("name", "written", "loaded"),
    [
        ("b.zip", "b.zip", "b"),
        ("model.v1", "model.v1.zip", "model.v1"),
        ("plain", "plain.zip", "plain"),
        # as long as file systems take
        (251 * "a", 251 * "a" + ".zip", 251 * "a"),
    ],
    ids=["zip", "dot", "plain", "long"],
)
@pytest.mark.parametrize("kind", [str, Path])
def test_files_have_the_name_that_was_given(name, written, loaded, kind, tmp_path):
    forecaster = ALMElmanForecaster(**NETWORK).fit(Y[:30])
    for _ in range(2):  # the second takes the place of the first
        forecaster.save(kind(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == [written]
    for found in (load(str(tmp_path / loaded)), load(tmp_path / written)):
        pd.testing.assert_frame_equal(found.predict(fh=[1]), forecaster.predict(fh=[1]))


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    forecaster = ALMElmanForecaster(**NETWORK).fit(Y[:30])
    forecaster.save(tmp_path / "b")
    before = (tmp_path / "b.zip").read_bytes()

    def interrupted(*arguments):
        raise KeyboardInterrupt

    for name in ("os.fsync", "os.replace", "zipfile.ZipFile.writestr"):
        with monkeypatch.context() as patch:
            patch.setattr(name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                forecaster.save(tmp_path / "b")
        assert [path.name for path in tmp_path.iterdir()] == ["b.zip"]
        assert (tmp_path / "b.zip").read_bytes() == before


def test_files_of_a_newer_version_and_damaged_ones_are_refused(tmp_path, monkeypatch):
    forecaster = ALMElmanForecaster(**NETWORK).fit(Y[:30])
    with monkeypatch.context() as patch:
        patch.setattr("sktime_alm.files.__version__", "99.0.0")
        forecaster.save(tmp_path / "new")
    with pytest.raises(ValueError, match=r"saved by version 99.0.0.*update the package"):
        load(tmp_path / "new.zip")
    forecaster.save(tmp_path / "b")
    whole = (tmp_path / "b.zip").read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:300] + b"x" * 40 + whole[340:], b"nothing"):
        (tmp_path / "b.zip").write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged, of another version, or no file"):
            ALMElmanForecaster.load_from_path(tmp_path / "b.zip")


def test_a_folder_that_is_not_there_is_refused_by_the_path_that_was_passed(tmp_path):
    forecaster = ALMElmanForecaster(**NETWORK).fit(Y[:30])
    with pytest.raises(FileNotFoundError, match=r"nowhere.m\.zip'$"):
        forecaster.save(tmp_path / "nowhere" / "m")


def test_a_cutoff_that_went_back_is_the_one_that_is_saved():
    """A file without rows forecasts from where the forecaster stood, not from the last row seen."""
    y = pd.Series(np.sin(np.arange(60) / 3.0), pd.period_range("2000-01", periods=60, freq="M"))
    forecaster = ALMElmanForecaster(**{**NETWORK, "lags": 2}).fit(y)
    forecaster.update(y[:40], update_params=False)
    found = load(forecaster.save())
    assert found.cutoff.equals(forecaster.cutoff)
    for each in (found, forecaster):
        each.update(y[40:42], update_params=False)
    pd.testing.assert_series_equal(found.predict(fh=[1, 5]), forecaster.predict(fh=[1, 5]))


def test_a_file_of_things_that_are_not_there_is_refused(tmp_path):
    forecaster = ALMElmanForecaster(**NETWORK).fit(Y[:30])
    forecaster.save(tmp_path / "b")
    for content in (b"csktime_alm.fitted\nNope\n.", b"csktime_alm.nowhere\nNope\n."):
        with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
            file.writestr("_obj", content)
        with pytest.raises(ValueError, match="is damaged, of another version, or no file"):
            ALMElmanForecaster.load_from_path(tmp_path / "b.zip")


@pytest.mark.parametrize("path", ["", "."])
def test_a_path_that_names_no_file_is_refused(path):
    with pytest.raises(ValueError, match="path must name a file"):
        ALMElmanForecaster(**NETWORK).fit(Y).save(path)


def test_other_arguments_and_other_files_are_refused(tmp_path):
    forecaster = ALMElmanForecaster(**NETWORK).fit(Y)
    with pytest.raises(TypeError, match="training_rows must be"):
        forecaster.save(training_rows="no")
    with zipfile.ZipFile(tmp_path / "three.zip", "w") as file:
        file.writestr("_obj", pickle.dumps(3))
    with pytest.raises(ValueError, match="is no file of this forecaster, found int"):
        ALMElmanForecaster.load_from_path(tmp_path / "three.zip")
