"""How an evaluation of R with its gradient grows with rows and workers, against PyTorch's.

    python examples/benchmark/blocks.py --rows 1e4 1e5 1e6 --workers 1 2
    python examples/benchmark/blocks.py --series 1500 --workers 2    # train on them, whole
    python examples/benchmark/blocks.py --parquet FOLDER    # ten million rows of files

For each number of rows: one evaluation in process, over blocks on threads and on Dask workers, and
one full-batch epoch (forward and backward) of the same network in PyTorch. Seconds are medians of
several, the number of bytes is what travels to and from a worker. The last table is a model
of more workers than there are here: the rows' share of the work, and two round trips.

With ``--series`` one network is trained on a panel of as many series of 5,000 days, as a user does
it: ``pretrain`` with the inputs of a HAR, 8 hidden units and all else by default.

With ``--parquet`` two Dask workers of 2 GiB each train on files, written to the folder if it has
none: 2,000 series of 5,000 days with 12 columns of X. No process ever holds them all.
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sktime_alm import ALMElmanForecaster
from sktime_alm.engines import Dask, Engine, Threads
from sktime_alm.solver import ElmanProblem, Regularization
from sktime_alm.solver.reduced import evaluate, gradient_of
from sktime_alm.solver.spread import SpreadProblem

LENGTH, N_INPUTS, PIECE = 1_000, 12, 8_000
N_REPEATS = 7


def sequences(first: int, n_series: int, hidden_size: int) -> ElmanProblem:
    """Series of ``LENGTH`` rows, made where they are needed."""
    rng = np.random.default_rng(first)
    X = rng.normal(size=(n_series * LENGTH, N_INPUTS))
    Y = np.tanh(X[:, :1] + 0.5 * X[:, 1:2]) + 0.3 * rng.normal(size=(len(X), 1))
    penalties = Regularization.scaled(1e-3, N_INPUTS, hidden_size, 1, skip_alpha=1e-3)
    starts = tuple(range(0, len(X), LENGTH))
    return ElmanProblem(X, Y, penalties, "relu", starts, linear_skip=True, max_recurrence=0.98)


def block(first: int, n_series: int, hidden_size: int) -> list[ElmanProblem]:
    """The same as a block of one problem."""
    return [sequences(first, n_series, hidden_size)]


def seconds(evaluation: Callable[[], Any]) -> float:
    """The median of several, after one that compiles."""
    evaluation()
    found = []
    for _ in range(N_REPEATS):
        began = time.perf_counter()
        evaluation()
        found.append(time.perf_counter() - began)
    return float(np.median(found))


def ours(problem: Any, layer: np.ndarray) -> None:
    """R and its gradient, at a hidden layer not seen before."""
    layer[0, 0] += 1e-9
    trial = evaluate(problem, layer.copy())
    assert trial is not None
    gradient_of(problem, trial)


def spread(engine: Engine, n_rows: int, hidden_size: int) -> SpreadProblem:
    """The rows in blocks of the engine."""
    n_series = PIECE // LENGTH
    parts = [(k, n_series, hidden_size) for k in range(max(n_rows // PIECE, 1))]
    return SpreadProblem(engine.load(block, parts), sequences(0, n_series, hidden_size))


def torch_epoch(n_rows: int, hidden_size: int, n_threads: int) -> float:
    """Seconds of one full-batch forward and backward pass."""
    import torch

    torch.set_num_threads(n_threads)
    problem = sequences(0, max(n_rows // LENGTH, 1), hidden_size)
    X = torch.tensor(problem.X.reshape(-1, LENGTH, N_INPUTS))
    Y = torch.tensor(problem.Y.reshape(-1, LENGTH, 1))
    network = torch.nn.RNN(N_INPUTS, hidden_size, nonlinearity="relu", batch_first=True).double()
    readout = torch.nn.Linear(hidden_size + N_INPUTS, 1).double()

    def epoch() -> None:
        states = network(X)[0]
        loss = ((readout(torch.cat([states, X], dim=2)) - Y) ** 2).mean()
        network.zero_grad()
        readout.zero_grad()
        loss.backward()

    return seconds(epoch)


@contextmanager
def workers(n_workers: int, **options: Any) -> Iterator[Dask]:
    """A cluster on this machine."""
    from distributed import Client, LocalCluster

    options |= {"n_workers": n_workers, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(**options, silence_logs=50) as cluster, Client(cluster) as client:
        yield Dask(client)


def measured(
    n_rows: int, n_workers: list[int], hidden_size: int, with_torch: bool
) -> dict[str, float]:
    """Seconds of an evaluation, in each way."""
    rng = np.random.default_rng(0)
    layer = 0.2 * rng.normal(size=(hidden_size, hidden_size + N_INPUTS + 1))
    found = {}
    if n_rows <= 2_000_000:
        whole = sequences(0, max(n_rows // LENGTH, 1), hidden_size)
        found["in process"] = seconds(partial(ours, whole, layer))
        del whole
    for n in n_workers:
        problem = spread(Threads(n), n_rows, hidden_size)
        found[f"threads, {n}"] = seconds(partial(ours, problem, layer))
        problem.blocks.close()
        with workers(n) as engine:
            problem = spread(engine, n_rows, hidden_size)
            found[f"Dask, {n}"] = seconds(partial(ours, problem, layer))
            problem.blocks.close()
        if with_torch and n_rows <= 2_000_000:
            found[f"PyTorch epoch, {n}"] = torch_epoch(n_rows, hidden_size, n)
    return found


def travelling(hidden_size: int) -> int:
    """Bytes to and from a worker in an evaluation, of numbers alone."""
    r, q, k = hidden_size, hidden_size + N_INPUTS + 1, hidden_size + N_INPUTS + 1
    there = 2 * r * q + k
    back = r * r + r * (N_INPUTS + 1) + r + r * q + k + 3
    return 8 * (there + back)


def panel(n_series: int, n_days: int = 5_000) -> pd.DataFrame:
    """Series that remember a day, a week and a month, and jump where these differ."""
    y = 0.5 * np.random.default_rng(0).normal(size=(n_days, n_series))
    for t in range(22, n_days):
        day, week, month = y[t - 1], y[t - 5 : t].mean(axis=0), y[t - 22 : t].mean(axis=0)
        y[t] += 0.35 * day + 0.3 * week + 0.25 * month + 0.3 * np.tanh(3.0 * (day - month))
        y[t] += 0.3 * np.tanh(np.abs(day - week)) - 0.1
    days = pd.bdate_range("2000-01-03", periods=n_days)
    index = pd.MultiIndex.from_product([range(n_series), days], names=["series", "day"])
    return pd.DataFrame({"y": y.T.ravel()}, index)


def pretrained(y: pd.DataFrame, activation: str, n_workers: int) -> dict[str, Any]:
    """How long ``pretrain`` takes on threads, and how it ends."""
    forecaster = ALMElmanForecaster(8, activation, window_means="har", random_state=0)
    config = {"backend:parallel": "threading", "backend:parallel:params": {"n_jobs": n_workers}}
    forecaster.set_config(**config)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # where it ends above the tolerance
        forecaster.pretrain(y)
    return {"threads": n_workers} | outcome(forecaster, len(y), began)


def outcome(forecaster: ALMElmanForecaster, n_rows: int, began: float) -> dict[str, Any]:
    """How a network was trained."""
    result = forecaster.pretrained_.result
    return {
        "rows": n_rows,
        "activation": forecaster.activation,
        "seconds": round(time.perf_counter() - began, 1),
        "status": result.status.name,
        "objective": round(result.objective, 7),
        "relative KKT residual": f"{result.certificate.residual:.1e}",
    }


def write_files(folder: Path, n_files: int = 100, n_series: int = 20, n_days: int = 5_000) -> None:
    """Series that follow X and what they were, as sktime lays out Dask frames."""
    days = pd.bdate_range("2000-01-03", periods=n_days)
    names = [f"x{k}" for k in range(N_INPUTS)]
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(n_files):
        rng = np.random.default_rng(k)
        X = rng.normal(size=(n_days, n_series, N_INPUTS))
        y = np.tanh(X[:, :, 0] + 0.5 * X[:, :, 1]) + 0.3 * rng.normal(size=X.shape[:2])
        for t in range(1, n_days):
            y[t] += 0.6 * y[t - 1]
        rows = pd.DataFrame(X.swapaxes(0, 1).reshape(-1, N_INPUTS), columns=names)
        rows.insert(0, "y", y.T.ravel())
        rows.insert(0, "__index__day", np.tile(days, n_series))
        series = [f"{k:03d}-{j:02d}" for j in range(n_series)]
        rows.insert(0, "__index__series", np.repeat(series, n_days))
        rows.to_parquet(folder / f"{k:03d}.parquet")


def trained_on_files(folder: Path) -> dict[str, Any]:
    """How long ``pretrain`` takes on two workers, and the most memory that one had."""
    import dask.dataframe as dd

    if not any(folder.glob("*.parquet")):
        write_files(folder)
    rows = dd.read_parquet(folder, split_row_groups=False)
    index = [name for name in rows.columns if name.startswith("__index__")]
    y, X = rows[[*index, "y"]], rows.drop(columns="y")
    with workers(2, memory_limit="2GiB") as engine:
        forecaster = ALMElmanForecaster(8, "elu", lags=1, exog_lags=0, random_state=0)
        began = time.perf_counter()
        forecaster.pretrain(y, X)
        peaks = engine.client.run(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        found = outcome(forecaster, len(rows), began)
    return found | {"GiB, the larger worker": round(max(peaks.values()) / 2**20, 2)}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=float, nargs="+", default=[1e4, 1e5, 1e6])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--hidden-size", type=int, default=20)
    parser.add_argument("--without-torch", action="store_true")
    parser.add_argument("--series", type=int, nargs="+", help="train on so many series instead")
    parser.add_argument("--activations", nargs="+", default=["elu", "relu"])
    parser.add_argument("--parquet", type=Path, help="train on the files of a folder instead")
    arguments = parser.parse_args()
    if arguments.parquet is not None:
        print(trained_on_files(arguments.parquet))
        return
    if arguments.series is not None:
        for n_series in arguments.series:
            y = panel(n_series)
            for n in arguments.workers:
                for activation in arguments.activations:
                    print(pretrained(y, activation, n), flush=True)
        return
    r = arguments.hidden_size
    all_rows = sorted({int(n_rows) for n_rows in arguments.rows})
    has_torch = not arguments.without_torch
    table = pd.DataFrame(
        {n_rows: measured(n_rows, arguments.workers, r, has_torch) for n_rows in all_rows}
    )
    print(f"Seconds of an evaluation of R with its gradient, r = {r}, {N_INPUTS} inputs, by rows:")
    print(table.round(4).rename(columns="{:,}".format).to_string(na_rep="-"))
    print(f"Bytes to and from a worker in an evaluation: {travelling(r):,}, whatever the rows")
    of_dask = table.loc[f"Dask, {arguments.workers[0]}"]
    few, many = all_rows[0], all_rows[-1]
    a_row = (of_dask[many] - of_dask[few]) / (many - few)
    overhead = max(of_dask[few] - a_row * few, 0.0)
    print(
        f"\nModel: {1e9 * a_row:.0f} ns a row on one worker, {1e3 * overhead:.1f} ms for two round "
        "trips of one task; tasks leave the scheduler 0.2 ms apart, and rows are shared evenly."
    )
    model = {
        f"{n} workers": {
            f"{n_rows:,}": a_row * n_rows / n + overhead + 2 * n * 2e-4
            for n_rows in (10**6, 10**7, 10**8, 10**9)
        }
        for n in (1, 2, 16, 256)
    }
    print(pd.DataFrame(model).T.round(3).to_string())


if __name__ == "__main__":
    main()
