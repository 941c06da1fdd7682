"""Time to objective: our solver against gradient training and against compiled rivals.

Every solver minimises the same penalised objective on the same data from the same five
starts, on one thread, within the same wall-clock budget per problem.

    python examples/benchmark/run.py             # about an hour on two cores
    python examples/benchmark/run.py --quick     # under five minutes, one start, no cosines

Finished runs are appended to ``runs.jsonl`` in the output folder, and an interrupted
benchmark goes on from there. The learning rate and the schedule of a gradient method are
chosen on the objective that seed 0 reaches in a tenth of the budget; the best methods of
each problem are then run in full. See docs/benchmark.md for how to read the outcome.
"""

from __future__ import annotations

import os

# before NumPy is loaded, here and in every worker
for _name in ("OPENBLAS", "OMP", "MKL", "NUMEXPR"):
    os.environ.setdefault(f"{_name}_NUM_THREADS", "1")

import argparse
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from journal import append_run, read_runs, task_of
from problems import PROBLEMS
from report import report
from timing import Diverged, Stopped, Trace, output_folder

# seconds: long enough to get to all that a solver compiles
_WARM_UP = 1.0
# a Levenberg-Marquardt step beyond these takes longer than the whole budget
_MOST_WEIGHTS, _LARGEST = 1_000, 10**7


class Task(NamedTuple):
    """One run."""

    problem: str
    solver: str
    seed: int
    budget: float
    is_pilot: bool = False


def perform(task: Task) -> dict:
    """Run a solver, and check at the end that its objective is the R of its weights."""
    problem = PROBLEMS[task.problem].build()
    initial = PROBLEMS[task.problem].initial(task.seed)
    solver = all_solvers()[task.solver]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warm_up(task, solver)
        trace = Trace(task.budget, problem.objective(initial))
        status = "ended"
        try:
            solver(problem, initial, trace)
        except Diverged:
            status = "diverged"
        except Stopped:
            status = "out of time"
        reached = trace.best if trace.parameters is None else problem.objective(trace.parameters)
    if not reached <= trace.best * (1.0 + 1e-6):
        raise AssertionError(f"{task}: reported {trace.best}, but the weights give {reached}")
    return {**task._asdict(), "status": status, "trace": trace.thinned()}


def warm_up(task: Task, solver: Callable) -> None:
    """Compile and touch memory: runs that are not counted, at most three, until one is on time."""
    specification = PROBLEMS["synthetic-10" if PROBLEMS[task.problem].is_large else task.problem]
    problem, initial = specification.build(), specification.initial(task.seed)
    for _ in range(3):
        began = time.perf_counter()
        with suppress(Stopped):
            solver(problem, initial, Trace(_WARM_UP, problem.objective(initial)))
        if time.perf_counter() - began < 1.5 * _WARM_UP:
            return


def all_solvers() -> dict:
    """Every solver that is installed, by name."""
    from solvers import COMPILED, OURS

    found = {**OURS, **COMPILED}
    try:
        from jax_solver import jax_sysid

        found["jax-sysid"] = jax_sysid
    except ImportError:
        pass
    try:
        from torch_solvers import CANDIDATES, lbfgs

        found |= {"PyTorch L-BFGS": lbfgs} | CANDIDATES
    except ImportError:
        pass
    return found


def run_all(tasks: Iterable[Task], path: Path, n_jobs: int, title: str) -> None:
    """Run what the file does not hold yet, and append each outcome as it arrives."""
    done = {task_of(run, Task) for run in read_runs(path)}
    todo = [task for task in tasks if task not in done]
    with ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(perform, task): task for task in todo}
        for future in tqdm(as_completed(futures), total=len(todo), desc=title):
            try:
                outcome = future.result()
            except Exception as error:
                task = futures[future]
                print(f"\n{task} failed: {type(error).__name__}: {error}")
                objective = (
                    PROBLEMS[task.problem]
                    .build()
                    .objective(PROBLEMS[task.problem].initial(task.seed))
                )
                outcome = {**task._asdict(), "status": "failed", "trace": [(0.0, objective)]}
            append_run(outcome, path)


def best_gradient_methods(runs: Iterable[dict], problem: str, n_methods: int) -> list[str]:
    """The best candidate of each of the methods that got furthest in the pilot."""
    pilots = [run for run in runs if run["is_pilot"] and run["problem"] == problem]
    best: dict[str, dict] = {}
    for run in sorted(pilots, key=lambda run: run["trace"][-1][1]):
        method = run["solver"].rsplit(" ", 2)[0]
        best.setdefault(method, run)
    return [run["solver"] for run in list(best.values())[:n_methods]]


def budget_of(problem: str, arguments: argparse.Namespace) -> float:
    return arguments.large_budget if PROBLEMS[problem].is_large else arguments.budget


def is_suitable(problem: str, solver: str) -> bool:
    """Levenberg-Marquardt factorises a dense Jacobian in every step."""
    if solver != "Levenberg-Marquardt":
        return True
    n_weights = sum(array.size for array in PROBLEMS[problem].initial(0).arrays())
    return n_weights <= _MOST_WEIGHTS and n_weights * len(PROBLEMS[problem].load()[1]) <= _LARGEST


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one start, a tenth of the budgets")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds, small problems")
    parser.add_argument("--large-budget", type=float, default=60.0, help="seconds, large ones")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--finalists", type=int, default=1, help="gradient methods run in full")
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--solvers", nargs="+", help="only these, of those run in full")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on a core")
    parser.add_argument("--output", type=Path, help="folder; docs/benchmark by default")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.budget, arguments.large_budget, arguments.seeds = 1.0, 3.0, 1
    output = output_folder(arguments.output, arguments.quick)
    path = output / "runs.jsonl"

    solvers = all_solvers()
    candidates = [name for name in solvers if name.endswith(("constant", "cosine"))]
    tried = [name for name in candidates if not (arguments.quick and name.endswith("cosine"))]
    in_full = arguments.solvers or [name for name in solvers if name not in candidates]
    if not arguments.solvers:
        pilots = [
            Task(problem, solver, 0, 0.1 * budget_of(problem, arguments), is_pilot=True)
            for problem in arguments.problems
            for solver in tried
        ]
        run_all(pilots, path, arguments.jobs, "learning rates")
    tasks = []
    for problem in arguments.problems:
        budget = budget_of(problem, arguments)
        names = [name for name in in_full if is_suitable(problem, name)]
        if not arguments.solvers:
            names += best_gradient_methods(read_runs(path), problem, arguments.finalists)
        tasks += [
            Task(problem, name, seed, budget) for name in names for seed in range(arguments.seeds)
        ]
    run_all(tasks, path, arguments.jobs, "runs")
    report([run for run in read_runs(path) if task_of(run, Task) in tasks], output)


if __name__ == "__main__":
    main()
