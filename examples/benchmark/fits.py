"""How default fits end: status, certificate, and whether a network is ever not finite.

    python examples/benchmark/fits.py [--seeds 10] [--max-minutes 9]    # it resumes
    python examples/benchmark/fits.py --quick                           # half a minute

Every problem of the benchmark is trained with default settings, the bound on W among them, and
each of three activations.
Finished fits are kept in ``fits.jsonl``, and the script goes on from there.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from benchmark_utils.problems import FREE, PROBLEMS
from journal import append_run, read_runs, task_of
from sktime_alm.solver import Status, train
from timing import output_folder

ACTIVATIONS = ("relu", "leaky_relu", "elu")
TOLERANCE = 1e-5
QUICK = ("synthetic-10", "slow-ar2")
# of whose fits four in five are to be certified
JUDGED = (*(name for name in FREE if name != "macro"), "tanks", "volatility-r8-bounded")


class Task(NamedTuple):
    """One fit."""

    problem: str
    activation: str
    seed: int


def fit(task: Task) -> dict[str, object]:
    specification = PROBLEMS[task.problem]
    X, Y, starts = specification.load()
    has_skip = specification.skip_alpha is not None
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a start may have to be tamed
        result = train(
            X,
            Y,
            specification.hidden_size,
            alpha=specification.alpha,
            activation=task.activation,
            random_state=task.seed,
            starts=starts,
            linear_skip=has_skip,
            skip_alpha=1.0 if specification.skip_alpha is None else specification.skip_alpha,
        )
    is_finite = result.parameters.is_finite() and bool(np.isfinite(result.objective))
    return {
        **task._asdict(),
        "objective": result.objective,
        "status": result.status.name,
        "residual": result.certificate.residual,
        "is_finite": is_finite and result.status is not Status.NON_FINITE,
        "seconds": time.perf_counter() - began,
    }


def summarise(fits: pd.DataFrame) -> pd.DataFrame:
    """A row for each problem and activation."""
    groups = fits.groupby(["problem", "activation"], sort=False)
    table = groups.agg(
        fits=("seed", "size"),
        certified=("residual", lambda residuals: int((residuals <= TOLERANCE).sum())),
        objective=("objective", "median"),
        residual=("residual", "median"),
        seconds=("seconds", "median"),
    )
    table["endings"] = groups["status"].agg(
        lambda names: ", ".join(f"{name} {n}" for name, n in Counter[str](names).most_common())
    )
    return table


def to_markdown(table: pd.DataFrame) -> str:
    lines = [
        "| problem | activation | certified | objective | relative KKT residual | endings |",
        "|---|---|---|---|---|---|",
    ]
    for (problem, activation), row in table.iterrows():
        cells = [problem, activation, f"{row['certified']} of {row['fits']}"]
        cells += [f"{row['objective']:.3g}", f"{row['residual']:.1e}", row["endings"]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def tasks_of(problems: list[str], n_seeds: int) -> list[Task]:
    """One seed for the large problems."""
    return [
        Task(problem, activation, seed)
        for problem in problems
        if PROBLEMS[problem].is_available
        for activation in ACTIVATIONS
        for seed in range(1 if PROBLEMS[problem].is_large else n_seeds)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS)
    parser.add_argument("--quick", action="store_true", help="two problems, one seed")
    parser.add_argument("--max-minutes", type=float, default=np.inf, help="begin no fit after")
    parser.add_argument("--output", type=Path, help="folder; docs/benchmark by default")
    arguments = parser.parse_args()
    output = output_folder(arguments.output, arguments.quick)
    problems = arguments.problems or list(QUICK if arguments.quick else PROBLEMS)
    tasks = tasks_of(problems, 1 if arguments.quick else arguments.seeds)
    path, began = output / "fits.jsonl", time.monotonic()
    done = {task_of(run, Task) for run in read_runs(path)}
    for task in tqdm([task for task in tasks if task not in done], disable=None):
        if time.monotonic() - began > 60.0 * arguments.max_minutes:
            print("Out of time: run it again to go on.")
            break
        append_run(fit(task), path)

    fits = pd.DataFrame([run for run in read_runs(path) if task_of(run, Task) in tasks])
    fits.to_csv(output / "fits.csv", index=False, float_format="%.4g")
    print(to_markdown(summarise(fits)))
    for name, rows in {"all": fits, "judged": fits[fits["problem"].isin(JUDGED)]}.items():
        n_certified = int((rows["residual"] <= TOLERANCE).sum())
        print(f"  KKT residual <= {TOLERANCE:g}, {name}: {n_certified} of {len(rows)} fits")
    print(f"  judged are {', '.join(JUDGED)}: at least 80 % of them")
    n_diverged = int((~fits["is_finite"]).sum())
    print(f"  diverged or non-finite fits: {n_diverged} of {len(fits)}, == 0")


if __name__ == "__main__":
    main()
