"""System identification: free-run errors on public benchmarks and on simulated systems.

    python examples/benchmark/system_identification.py                   # simulated systems
    python examples/benchmark/system_identification.py --data FOLDER     # and what lies there
    python examples/benchmark/system_identification.py --quick           # under a minute

A model is trained on the records of a benchmark, then runs freely on its test records: it is
given their inputs, and their first outputs alone, which are not scored. Settings are chosen for
each benchmark by free runs over the third and the last quarter of the training rows, each by
models from three seeds of the rows before it, from the same candidates for all. Finished runs are
kept in ``identification.jsonl``, and the script goes on from there.

FOLDER holds, for any of the benchmarks of SOURCES in identification_data.py,

- ``cascaded_tanks.csv`` with columns uEst, yEst, uVal, yVal;
- ``NAME_train*.csv`` and ``NAME_test*.csv``, a record each with columns u (or u1, u2, ...) and y,
  NAME being that of the benchmark in lower case with underscores, such as wiener_hammerstein,
  and the tests of Silverbox in the order multisine, arrow, arrow without extrapolation;
- or the files as the package nonlinear_benchmarks stores them, such as Silverbox/SilverboxFiles:
  ``nonlinear_benchmarks.Silverbox(dir_placement=FOLDER)`` downloads them there.
"""

from __future__ import annotations

import os

# before NumPy is loaded
for _name in ("OPENBLAS", "OMP", "MKL", "NUMEXPR"):
    os.environ.setdefault(f"{_name}_NUM_THREADS", "1")

import argparse
import time
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from identification_data import PUBLISHED, SIMULATED, SOURCES, Benchmark, load
from identification_models import ARX, GRU, Elman, JaxSysid, errors
from journal import append_run, read_runs, task_of
from timing import output_folder

_ELMAN = {"hidden_size": 8, "lags": 0, "exog_lags": [0], "n_init": 5}
_LAGGED = {"hidden_size": 8, "lags": 3, "exog_lags": [0, 1, 2, 3], "horizon": 50}
_SYSID = {"n_states": 4, "width": 8, "epochs": 1_000}

# seeds of a choice: with one two settings may differ by less than their starts make
_N_PILOTS = 3

# every model with the settings that it is chosen from
CANDIDATES: dict[str, tuple[type, list[dict]]] = {
    "Elman (ALM)": (
        Elman,
        [_ELMAN | {"activation": activation} for activation in ("elu", "tanh")],
    ),
    "Elman (ALM), lags": (
        Elman,
        [_LAGGED | {"activation": activation} for activation in ("elu", "tanh")],
    ),
    "ARX": (ARX, [{"order": order} for order in (1, 2, 3, 4, 6, 8, 12, 16)]),
    "GRU (PyTorch)": (GRU, [{"hidden_size": size} for size in (8, 16)]),
    "jax-sysid": (JaxSysid, [_SYSID | {"rho_th": rho} for rho in (1e-4, 1e-3, 1e-2)]),
}
QUICK: dict[str, list[dict]] = {
    "Elman (ALM)": [{"hidden_size": 3, "lags": 0, "activation": "elu", "alpha": 0.1}],
    "Elman (ALM), lags": [],
    "ARX": [{"order": 1}, {"order": 2}],
    "GRU (PyTorch)": [{"hidden_size": 4, "epochs": 30}],
    "jax-sysid": [],
}


class Task(NamedTuple):
    """A candidate on parts of the training rows, or the one chosen on all of them."""

    benchmark: str
    model: str
    candidate: int
    seed: int
    is_choice: bool


def perform(task: Task, benchmark: Benchmark, candidates: list[dict]) -> dict:
    """Fit and run freely."""
    began = time.perf_counter()
    if task.is_choice:
        parts = [_errors_of(task, part, candidates)["held out"] for part in benchmark.splits()]
        found = {"held out": float(np.sqrt(np.mean(np.square(parts))))}
    else:
        found = _errors_of(task, benchmark, candidates)
    return {**task._asdict(), "errors": found, "seconds": time.perf_counter() - began}


def _errors_of(task: Task, benchmark: Benchmark, candidates: list[dict]) -> dict[str, float]:
    kind = CANDIDATES[task.model][0]
    model = kind(benchmark.train, task.seed, **candidates[task.candidate])
    return errors(model, benchmark.tests, benchmark.n_init)


def chosen(runs: Iterable[dict], benchmark: str, model: str) -> int:
    """The candidate with the smallest mean square, over its seeds, on the rows held out."""
    squares: dict[int, list[float]] = {}
    for run in runs:
        if run["is_choice"] and (run["benchmark"], run["model"]) == (benchmark, model):
            squares.setdefault(run["candidate"], []).append(run["errors"]["held out"] ** 2)
    return min(squares, key=lambda candidate: float(np.mean(squares[candidate])))


def run_all(
    benchmarks: dict[str, Benchmark], models: list[str], arguments: argparse.Namespace, path: Path
) -> bool:
    """Run what the file does not hold yet; whether all was done in time."""
    began = time.monotonic()

    def run(tasks: list[Task], title: str) -> bool:
        done = {task_of(run, Task) for run in read_runs(path)}
        for task in tqdm([task for task in tasks if task not in done], desc=title, disable=None):
            if time.monotonic() - began > 60.0 * arguments.max_minutes:
                return False
            candidates = candidates_of(task.model, arguments.quick)
            append_run(perform(task, benchmarks[task.benchmark], candidates), path)
        return True

    for name in benchmarks:
        for model in models:
            n_candidates = len(candidates_of(model, arguments.quick))
            seeds = range(1 if model == "ARX" else arguments.seeds)
            pilots = [
                Task(name, model, candidate, seed, True)
                for candidate in range(n_candidates)
                for seed in seeds[:_N_PILOTS]
            ]
            # one candidate is no choice
            if n_candidates > 1 and not run(pilots, f"{name}, {model}: choice"):
                return False
            best = chosen(read_runs(path), name, model) if n_candidates > 1 else 0
            tasks = [Task(name, model, best, seed, False) for seed in seeds]
            if not run(tasks, f"{name}, {model}"):
                return False
    return True


def candidates_of(model: str, is_quick: bool) -> list[dict]:
    return QUICK[model] if is_quick else CANDIDATES[model][1]


def summarise(runs: list[dict], benchmarks: dict[str, Benchmark], is_quick: bool) -> pd.DataFrame:
    """Medians over the seeds, a row for each benchmark, test and model."""
    rows = [
        {
            "benchmark": run["benchmark"],
            "test": test,
            "model": run["model"],
            "setting": str(candidates_of(run["model"], is_quick)[run["candidate"]]),
            "error": error * benchmarks[run["benchmark"]].factor,
            "unit": benchmarks[run["benchmark"]].unit,
            "seconds": run["seconds"],
        }
        for run in runs
        if not run["is_choice"] and run["benchmark"] in benchmarks
        for test, error in run["errors"].items()
    ]
    keys = ["benchmark", "test", "model", "setting", "unit"]
    return (
        pd.DataFrame(rows)
        .groupby(keys, sort=False)
        .agg(
            median=("error", "median"),
            best=("error", "min"),
            worst=("error", "max"),
            seeds=("error", "size"),
            seconds=("seconds", "median"),
        )
        .reset_index()
    )


def to_markdown(table: pd.DataFrame) -> str:
    """A table for each test, with what is published for it."""
    lines: list[str] = []
    for (name, test), rows in table.groupby(["benchmark", "test"], sort=False):
        title = f"{name}, {test}" if test else name
        lines += [f"| {title} | RMSE, {rows['unit'].iloc[0]} | range | seeds | seconds |"]
        lines += ["|---|---|---|---|---|"]
        lowest = rows["median"].min()
        for row in rows.itertuples():
            error = f"{row.median:.3g}"
            error = f"**{error}**" if row.median == lowest else error
            lines.append(
                f"| {row.model} | {error} | {row.best:.3g} to {row.worst:.3g} | {row.seeds} | "
                f"{row.seconds:.2g} |"
            )
        published = PUBLISHED.get((name, test), {})
        lines += [f"| *{model}* | *{error}* | | | |" for model, error in published.items()]
        lines.append("")
    return "\n".join(lines)


def available(arguments: argparse.Namespace) -> list[str]:
    """The models that are installed; a sentence for each that is not."""
    found = [name for name in CANDIDATES if candidates_of(name, arguments.quick)]
    if "GRU (PyTorch)" in found and find_spec("torch") is None:
        print("PyTorch is not installed: its GRU is left out.")
        found.remove("GRU (PyTorch)")
    if arguments.jax_python:
        JaxSysid.python = arguments.jax_python
    if "jax-sysid" in found and not JaxSysid.is_installed():
        print("jax-sysid is not installed: it is left out; --jax-python names an interpreter.")
        found.remove("jax-sysid")
    return [name for name in found if name in (arguments.models or CANDIDATES)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with files of public benchmarks")
    parser.add_argument("--benchmarks", nargs="+", choices=[*SIMULATED, *SOURCES])
    parser.add_argument("--models", nargs="+", choices=CANDIDATES)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="short records, brief fits, one seed")
    parser.add_argument("--max-minutes", type=float, default=np.inf, help="begin no fit after")
    parser.add_argument("--jax-python", help="interpreter of an environment with jax-sysid")
    parser.add_argument("--output", type=Path, help="folder; docs/benchmark by default")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds = 1
    output = output_folder(arguments.output, arguments.quick)

    benchmarks = {}
    for name in arguments.benchmarks or [*SIMULATED, *SOURCES]:
        found = load(name, arguments.data, arguments.quick)
        if found is not None:
            benchmarks[name] = found
        elif arguments.benchmarks:
            print(f"{name}: not found in {arguments.data}; see the head of this script.")
    path = output / "identification.jsonl"
    models = available(arguments)
    is_done = run_all(benchmarks, models, arguments, path)
    table = summarise(list(read_runs(path)), benchmarks, arguments.quick)
    table.to_csv(output / "identification.csv", index=False, float_format="%.4g")
    markdown = to_markdown(table)
    (output / "identification.md").write_text(markdown)
    print(markdown)
    if not is_done:
        print("Out of time: run it again to go on.")


if __name__ == "__main__":
    main()
