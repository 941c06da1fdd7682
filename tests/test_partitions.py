"""A panel in parts, on threads or Dask workers: one network, whatever the parts and the workers."""

import os
import resource
import signal
import sys

import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster, get_worker, wait
from sktime.datatypes import convert_to

from sktime_alm import ALMElmanForecaster, partitions
from sktime_alm.engines import Dask, Threads
from sktime_alm.partitions import Partitions
from sktime_alm.progress import Progress
from sktime_alm.solver import ALMSettings
from sktime_alm.solver.result import IterationRecord, Status

# what is asserted here is of the weights
pytestmark = pytest.mark.usefixtures("few_replays")

N_SERIES, LENGTH = 12, 60
SMALL = {
    "hidden_size": 2,
    "activation": "elu",
    "lags": 2,
    "alpha": 1.0,
    "skip_alpha": 0.1,
    "random_state": 0,
}


@pytest.fixture(autouse=True)
def _small_samples(monkeypatch):
    """A third of the panels here is a sample, and a part of them as large."""
    monkeypatch.setattr(partitions, "SAMPLE_ROWS", N_SERIES * LENGTH // 3)


def local_cluster(n_workers, processes):
    return LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        processes=processes,
        dashboard_address=":0",
        silence_logs=50,
    )


@pytest.fixture(scope="module")
def client():
    """Workers in this process, which need not import all of it anew."""
    with local_cluster(2, processes=False) as cluster, Client(cluster) as found:
        yield found


@pytest.fixture(scope="module")
def processes():
    with local_cluster(2, processes=True) as cluster, Client(cluster) as found:
        yield found


def make_panel(seed=0):
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product(
        [
            [f"s{k:02d}" for k in range(N_SERIES)],
            pd.date_range("2024-01-01", periods=LENGTH, freq="D"),
        ],
        names=["series", "time"],
    )
    x = rng.normal(size=(N_SERIES, LENGTH))
    y = np.zeros((N_SERIES, LENGTH))
    for t in range(1, LENGTH):
        y[:, t] = 0.6 * y[:, t - 1] + np.maximum(x[:, t], 0.0) + 0.3 * rng.normal(size=N_SERIES)
    y *= np.linspace(1.0, 20.0, N_SERIES)[:, None]
    return pd.DataFrame({"y": y.ravel()}, index), pd.DataFrame({"x": x.ravel()}, index)


def pretrained(y, X, backend, params=None, **arguments):
    forecaster = ALMElmanForecaster(exog_lags=0, **{**SMALL, **arguments})
    forecaster.set_config(**{"backend:parallel": backend, "backend:parallel:params": params})
    return forecaster.pretrain(y, X)


def weights(forecaster):
    pretrained = forecaster.pretrained_.pretrained
    return np.concatenate([a.ravel() for a in pretrained.trained.networks[0].arrays()])


def result_of(forecaster):
    return forecaster.pretrained_.result


def test_threads_and_workers_train_the_same_network_bit_by_bit(client):
    y, X = make_panel()
    threads = pretrained(y, X, "threading", {"n_jobs": 2})
    workers = pretrained(y, X, "dask")
    np.testing.assert_array_equal(weights(workers), weights(threads))
    assert result_of(threads).status is Status.CONVERGED
    # a minimum of all rows, as the network that is trained in process
    whole = pretrained(y, X, None)
    assert result_of(threads).objective <= 1.01 * result_of(whole).objective


@pytest.mark.parametrize("loss", ["squared", "qlike"])
def test_every_loss_and_ensembles_go_through_blocks(loss, client):
    y, X = make_panel()
    if loss == "qlike":
        y = np.exp(y / y.groupby("series").transform("std"))
    arguments = {"loss": loss, "n_init": 2, "alpha": 3.0, "max_iter": 2}
    threads = pretrained(y, X, "threading", {"n_jobs": 2}, **arguments)
    workers = pretrained(y, X, "dask", **arguments)
    assert len(threads.pretrained_.pretrained.trained.networks) == 2
    np.testing.assert_array_equal(weights(workers), weights(threads))
    single = workers.fit(y.loc["s03"].iloc[:50], X.loc["s03"].iloc[:50])
    assert np.isfinite(single.predict(fh=[1, 2], X=X.loc["s03"])).all(axis=None)
    assert np.isfinite(single.predict_interval(fh=[1, 2], X=X.loc["s03"])).all(axis=None)


def test_a_panel_no_larger_than_the_sample_is_trained_on_as_a_whole(monkeypatch):
    monkeypatch.setattr(partitions, "SAMPLE_ROWS", N_SERIES * LENGTH)
    y, X = make_panel()
    np.testing.assert_array_equal(
        weights(pretrained(y, X, "threading")), weights(pretrained(y, X, None))
    )


def test_penalties_chosen_on_the_sample_hold_for_all_rows():
    y, X = make_panel()
    forecaster = pretrained(y, X, "threading", {"n_jobs": 2}, alpha="auto", skip_alpha="auto")
    assert result_of(forecaster).certificate.is_kkt
    assert np.isfinite(forecaster.fit(y.loc["s00"], X.loc["s00"]).skip_alpha_)


def test_a_second_panel_trains_on_from_the_first():
    y, X = make_panel()
    forecaster = pretrained(y, X, "threading", {"n_jobs": 2})
    before = weights(forecaster)
    forecaster.pretrain(*make_panel(seed=1))
    assert result_of(forecaster).status is Status.CONVERGED
    assert 0.0 < np.abs(weights(forecaster) - before).max() < 1.0


def as_dask(frame, n_partitions=3):
    dask_frame = pytest.importorskip("dask.dataframe")
    flat = frame.reset_index()
    flat = flat.rename(columns={name: f"__index__{name}" for name in ("series", "time")})
    cuts = np.array_split(np.arange(N_SERIES), n_partitions)
    parts = [flat.iloc[some[0] * LENGTH : (some[-1] + 1) * LENGTH] for some in cuts]
    return parts, dask_frame


@pytest.mark.slow
def test_a_panel_in_parquet_is_read_by_the_workers(processes, tmp_path):
    y, X = make_panel()
    parts, dask_frame = as_dask(y.join(X))
    for k, part in enumerate(parts):
        part.to_parquet(tmp_path / f"part-{k}.parquet")
    frame = dask_frame.read_parquet(tmp_path, index=False, split_row_groups=False)
    index = ["__index__series", "__index__time"]
    found = pretrained(frame[[*index, "y"]], frame[[*index, "x"]], "dask")
    expected = pretrained(y, X, "threading", {"n_jobs": 2})
    np.testing.assert_allclose(weights(found), weights(expected), rtol=1e-7, atol=1e-9)
    # a forecaster is as it is after any pretrain
    one = found.fit(y.loc["s01"].iloc[:50], X.loc["s01"].iloc[:50])
    assert one.predict(fh=[1], X=X.loc["s01"]).index[0] == y.loc["s01"].index[50]


def test_a_panel_that_the_workers_hold_already_is_not_read_again(client, tmp_path):
    y, X = make_panel()
    parts, dask_frame = as_dask(y.join(X))
    for k, part in enumerate(parts):
        part.to_parquet(tmp_path / f"part-{k}.parquet")
    frame = dask_frame.read_parquet(tmp_path, index=False, split_row_groups=False).persist()
    wait(frame)
    for path in tmp_path.iterdir():
        path.unlink()
    index = ["__index__series", "__index__time"]
    found = pretrained(frame[[*index, "y"]], frame[[*index, "x"]], "dask")
    expected = pretrained(y, X, "threading", {"n_jobs": 2})
    np.testing.assert_allclose(weights(found), weights(expected), rtol=1e-7, atol=1e-9)


def test_one_X_serves_all_series_in_every_part():
    y, X = make_panel()
    market = X.groupby("time").mean()
    repeated = pd.concat(dict.fromkeys(y.index.levels[0], market), names=["series", "time"])
    found = pretrained(y, market, "threading", {"n_jobs": 2})
    expected = pretrained(y, repeated, "threading", {"n_jobs": 2})
    np.testing.assert_array_equal(weights(found), weights(expected))


@pytest.mark.slow
@pytest.mark.parametrize("n_killed", [1, 2])
def test_workers_that_are_killed_change_nothing(n_killed, processes):
    y, X = make_panel()
    expected = pretrained(y, X, "threading", {"n_jobs": 2})
    # those that were killed before are on their way back
    processes.wait_for_workers(2)
    killed: list[int] = []

    def kill_some(record):
        # the blocks' residuals are those of feasible points, exactly
        if not killed and record.preactivation_violation == 0.0:
            killed.extend(list(processes.run(os.getpid).values())[:n_killed])
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    found = pretrained(y, X, "dask", callback=kill_some, alpha=1.0)
    assert len(killed) == n_killed
    np.testing.assert_array_equal(weights(found), weights(expected))


def test_each_worker_has_a_block(client):
    blocks = Dask(client).load(lambda k: [k], [(k,) for k in range(10)])
    assert blocks.map(sum) == [10, 35]
    assert len(set(blocks.map(lambda block: get_worker().address))) == 2


def page_faults(_block):
    """Of arrays of a megabyte, one after the other."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        np.ones(2**17)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the GNU C library alone")
def test_workers_keep_the_memory_of_arrays_that_come_and_go(processes):
    anew = max(processes.submit(page_faults, None, pure=False).result() for _ in range(3))
    blocks = Dask(processes).load(lambda k: [k], [(k,) for k in range(10)])
    blocks.map(page_faults)
    assert max(blocks.map(page_faults)) < 0.1 * anew


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:training ended above")
def test_states_lost_with_a_worker_are_worked_out_again(processes):
    y, X = make_panel()
    arguments = {"solver_options": ALMSettings(max_iter=5), "skip_alpha": np.inf}
    expected = pretrained(y, X, "threading", {"n_jobs": 2}, **arguments)
    seen: list[int] = []

    def kill_one(record):
        seen.append(record.iteration)
        # the sample has been trained on before
        if seen.count(3) == 2 and record.iteration == 3:
            pids = processes.run(os.getpid)
            os.kill(next(iter(pids.values())), signal.SIGKILL)

    found = pretrained(y, X, "dask", callback=kill_one, **arguments)
    assert seen == [1, 2, 3, 4, 5] * 2
    np.testing.assert_array_equal(weights(found), weights(expected))


@pytest.mark.slow
def test_a_scheduler_that_is_gone_leaves_the_best_network_so_far():
    y, X = make_panel()
    cluster = local_cluster(1, processes=True)
    steps = []

    def close(record):
        # the blocks' residuals are those of feasible points, exactly
        if record.preactivation_violation == 0.0:
            steps.append(record.objective)
            if len(steps) == 2:
                cluster.close()

    with Client(cluster), pytest.warns(UserWarning, match="workers that hold the rows were lost"):
        forecaster = pretrained(y, X, "dask", callback=close)
    assert result_of(forecaster).status is Status.LOST
    assert result_of(forecaster).objective <= steps[0]
    forecaster.fit(y.loc["s00"], X.loc["s00"])
    assert np.isfinite(forecaster.predict(fh=[1], X=future(X))).all(axis=None)


def future(X):
    of_series = X.loc["s00"]
    return of_series.set_axis(of_series.index + pd.Timedelta(days=LENGTH))


def changed(y, X, what):
    y, X = y.copy(), X.copy()
    if what == "infinite":
        y.iloc[5 * LENGTH + 3, 0] = np.inf
    elif what == "hole in X":
        X.iloc[5 * LENGTH + 30, 0] = np.nan
    elif what == "unsorted":
        rows = np.arange(len(y))
        rows[[400, 401]] = rows[[401, 400]]
        return y.iloc[rows], X.iloc[rows]
    elif what == "in two places":
        rows = np.r_[LENGTH : 2 * LENGTH, : LENGTH // 2, 2 * LENGTH : len(y), LENGTH // 2 : LENGTH]
        return y.iloc[rows], X.iloc[rows]
    return y, X


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("infinite", r"y.*series 's05'.*part 1"),
        ("hole in X", r"X.*series 's05'.*part 1"),
        ("unsorted", r"y must be sorted by time.*series 's06' of part 1"),
        ("in two places", r"series 's00' in"),
    ],
)
def test_what_is_wrong_with_a_part_is_named_before_training(what, message):
    y, X = changed(*make_panel(), what)
    with pytest.raises(ValueError, match=message):
        Partitions.of(y, X, Threads(2))


def test_parts_with_other_columns_are_refused(client):
    y, _ = make_panel()
    parts, dask_frame = as_dask(y)
    parts[1] = parts[1].rename(columns={"y": "z"})
    from dask import delayed

    frame = dask_frame.from_delayed(
        [delayed(part) for part in parts], meta=parts[0].iloc[:0], verify_meta=False
    )
    with pytest.raises(ValueError, match=r"y must have the columns of partition 0.*\['z'\].*1"):
        Partitions.of(frame, None, Dask(client))


@pytest.mark.parametrize(
    ("backend", "params", "message"),
    [
        ("loky", None, "backend:parallel must be None, 'threading' or 'dask'.*'loky'"),
        ("threading", {"workers": 2}, "must hold 'n_jobs' alone.*workers"),
        ("threading", {"n_jobs": 0}, "n_jobs must not be 0"),
    ],
)
def test_backends_that_are_none_are_refused(backend, params, message):
    with pytest.raises(ValueError, match=message):
        pretrained(*make_panel(), backend, params)


def test_series_one_by_one_on_the_same_workers(client):
    y = make_panel()[0].loc["s00":"s03"]
    forecaster = ALMElmanForecaster(**SMALL)
    expected = forecaster.clone().fit(y).predict(fh=[1])
    forecaster.set_config(
        **{"backend:parallel": "dask", "backend:parallel:params": {"scheduler": "distributed"}}
    )
    found = forecaster.fit(y).predict(fh=[1])
    pd.testing.assert_frame_equal(found, expected)


# of older versions of Dask, as sktime converts
@pytest.mark.filterwarnings("ignore:Running on a single-machine", "ignore::FutureWarning")
def test_the_frame_of_sktime_is_taken(client):
    y, X = make_panel()
    frames = [convert_to(frame, "dask_panel") for frame in (y, X)]
    found = pretrained(*frames, "dask")
    np.testing.assert_allclose(
        weights(found), weights(pretrained(y, X, "threading", {"n_jobs": 1})), rtol=1e-6, atol=1e-8
    )


@pytest.mark.filterwarnings("ignore:training ended above")
def test_the_method_of_the_paper_goes_through_blocks(client):
    y, X = make_panel()
    arguments = {"solver_options": ALMSettings(max_iter=5), "skip_alpha": np.inf}
    threads = pretrained(y, X, "threading", {"n_jobs": 2}, **arguments)
    workers = pretrained(y, X, "dask", **arguments)
    np.testing.assert_array_equal(weights(workers), weights(threads))
    assert result_of(threads).last.penalty > 0.0


def test_a_regression_is_that_of_all_rows():
    y, X = make_panel()
    arguments = {"alpha": float("inf"), "random_state": 0}
    found = pretrained(y, X, "threading", {"n_jobs": 2}, **arguments)
    expected = pretrained(y, X, None, **arguments)
    assert result_of(found).certificate.is_kkt
    np.testing.assert_allclose(weights(found), weights(expected), rtol=1e-7, atol=1e-9)


def test_fit_refuses_a_dask_frame_as_sktime_does():
    y, _ = make_panel()
    with pytest.raises(TypeError, match="Unsupported input data type"):
        ALMElmanForecaster(**SMALL).fit(convert_to(y, "dask_panel"))


@pytest.mark.parametrize(
    ("residual", "message"),
    [(1e-3, "about 10 s left"), (1.0, "time left unknown"), (0.0, "time left unknown")],
)
def test_the_time_left_is_told_by_how_fast_the_residual_falls(residual, message, capsys):
    show = Progress(verbose=2).passes
    assert show is not None
    first = IterationRecord(1, 1.0, 1.0, 0.0, 0.1, 0.0, 0.0, 1.0, 0, "alm", 0.0)
    show(first)
    assert "time left unknown" in capsys.readouterr().err
    show(first._replace(iteration=9, kkt_residual=residual, seconds=10.0))
    assert message in capsys.readouterr().err


def test_a_residual_of_0_leaves_no_time_to_tell(capsys):
    show = Progress(verbose=2).passes
    assert show is not None
    show(IterationRecord(1, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0, "alm", 0.1))
    assert "time left unknown" in capsys.readouterr().err
