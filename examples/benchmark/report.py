"""The outcome of the solver benchmark: table, CSV, time-to-objective plots, targets.

    python examples/benchmark/report.py outputs/*.parquet    # files that benchopt has written

Prints the table of docs/benchmark.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from benchmark_utils.problems import PROBLEMS
from timing import output_folder

OURS, ALONE, DEFAULT, PAPER = (
    "safeguarded[mode=look-on]",
    "safeguarded[mode=descent-alone]",
    "safeguarded[mode=default]",
    "paper",
)
COMPILED = ("L-BFGS-B", "variable projection", "Levenberg-Marquardt", "jax-sysid")
# how often faster than the best of PyTorch we aim to be
AIMS = dict.fromkeys(
    ("sp500-alpha-1", "sp500-alpha-0.01", "volatility-r8", "volatility-r20"), 50.0
) | {"synthetic-500": 5.0, "teacher-4000": 20.0, "teacher-40000": 20.0}
_COLOURS = {
    OURS: "tab:blue", DEFAULT: "tab:blue", ALONE: "tab:cyan", PAPER: "tab:purple",
    "L-BFGS-B": "tab:orange", "variable projection": "tab:red",
    "Levenberg-Marquardt": "tab:brown", "jax-sysid": "tab:olive", "PyTorch L-BFGS": "tab:green",
}  # fmt: skip


class Run(NamedTuple):
    """A solver from one start: the best R so far against its seconds."""

    problem: str
    solver: str
    seed: int
    seconds: np.ndarray
    objective: np.ndarray

    def after(self, seconds: float) -> float:
        """The best objective by some time."""
        return float(self.objective[np.searchsorted(self.seconds, seconds, side="right") - 1])

    def time_to(self, objective: float) -> float:
        """Seconds until an objective was reached; infinity if it never was."""
        reached = np.flatnonzero(self.objective <= objective)
        return float(self.seconds[reached[0]]) if len(reached) else np.inf


def read_runs(paths: list[Path]) -> list[Run]:
    """The curves of benchopt's files; of a run that is in several, the last."""
    found = {}
    keys = ["p_dataset_problem", "solver_name", "idx_rep"]
    for path in paths:
        for key, curve in pd.read_parquet(path).groupby(keys, sort=False):
            best = np.fmin.accumulate(curve["objective_value"].to_numpy())
            problem, solver, repetition = key
            found[key] = Run(problem, solver, repetition, curve["time"].to_numpy(), best)
    order = list(PROBLEMS)
    return sorted(found.values(), key=lambda run: order.index(run.problem))


def family(solver: str) -> str:
    """ "ours", "compiled" or "PyTorch"."""
    if solver in (OURS, ALONE, DEFAULT, PAPER):
        return "ours"
    return "compiled" if solver in COMPILED else "PyTorch"


def summarise(runs: list[Run]) -> pd.DataFrame:
    """Medians over the seeds, one row for each problem and solver.

    The merit objective is 1.02 times the best median that a rival reaches in its budget.
    """
    rows = []
    for problem in dict.fromkeys(run.problem for run in runs):
        of_problem: dict[str, list[Run]] = {}
        for run in runs:
            if run.problem == problem:
                of_problem.setdefault(run.solver, []).append(run)
        ends = {
            solver: np.median([run.objective[-1] for run in found])
            for solver, found in of_problem.items()
        }
        rivals = [end for solver, end in ends.items() if family(solver) != "ours"]
        merit = 1.02 * min(rivals, default=np.nan)
        for solver, found in of_problem.items():
            times = [run.time_to(merit) for run in found]
            easier = [run.time_to(merit * 1.10 / 1.02) for run in found]
            rows.append(
                {
                    "problem": problem,
                    "solver": solver,
                    "merit objective": merit,
                    "seconds to it": np.median(times),
                    "seeds": f"{np.isfinite(times).sum()}/{len(found)}",
                    "seconds to 1.10 x": np.median(easier),
                    "R after 1 s": np.median([run.after(1.0) for run in found]),
                    "R after 10 s": np.median([run.after(10.0) for run in found]),
                    "R at the end": ends[solver],
                }
            )
    return pd.DataFrame(rows)


def to_markdown(table: pd.DataFrame) -> str:
    """The table of docs/benchmark.md."""
    lines = [
        "| problem | merit R | ours | descent alone | best compiled rival | best of PyTorch "
        "| R after 10 s |",
        "|---|---|---|---|---|---|---|",
    ]
    for problem, rows in table.groupby("problem", sort=False):
        by_solver = rows.set_index("solver")
        cells = [_time(by_solver, solver) for solver in (OURS, ALONE)]
        for name in ("compiled", "PyTorch"):
            members = [solver for solver in by_solver.index if family(solver) == name]
            best = _best(by_solver.loc[members]) if members else None
            cells.append(f"{_short(best)}: {_time(by_solver, best)}" if best else "not run")
        ratio = _after_10(by_solver)
        merit = rows["merit objective"].iloc[0]
        lines.append(
            f"| {problem} | {merit:.4g} | **{cells[0]}** | {' | '.join(cells[1:])} | {ratio:.3f} |"
        )
    return "\n".join(lines)


def _short(solver: str) -> str:
    return solver.replace("PyTorch", "").strip(" []").replace("method=", "")


def _best(rows: pd.DataFrame) -> str:
    """The fastest to the merit objective; of those that never get there the lowest."""
    return rows.sort_values(["seconds to it", "R at the end"]).index[0]


def _time(rows: pd.DataFrame, solver: str) -> str:
    if solver not in rows.index:
        return "not run"
    seconds, seeds = rows.loc[solver, ["seconds to it", "seeds"]]
    if np.isinf(seconds):
        return f"never ({seeds})"
    return f"{1e3 * seconds:.3g} ms ({seeds})" if seconds < 1.0 else f"{seconds:.3g} s ({seeds})"


def _after_10(by_solver: pd.DataFrame) -> float:
    """R of ours after ten seconds over the best of all rivals."""
    rivals = [solver for solver in by_solver.index if family(solver) != "ours"]
    if OURS not in by_solver.index or not rivals:
        return np.nan
    after = by_solver["R after 10 s"]
    return float(after[OURS] / after[rivals].min())


def targets(table: pd.DataFrame) -> str:
    """What was aimed at, what came out, and whether it is enough."""
    lines = ["Targets (medians over seeds; ratios of seconds, rival / ours)"]
    ratios = []
    for problem, rows in table.groupby("problem", sort=False):
        by_solver = rows.set_index("solver")
        if OURS not in by_solver.index:
            continue
        for name, at_least in (("PyTorch", AIMS.get(problem, 1.0)), ("compiled", 1.0)):
            members = [solver for solver in by_solver.index if family(solver) == name]
            if not members:
                continue
            own = by_solver.loc[OURS, "seconds to it"]
            rival = by_solver.loc[members, "seconds to it"].min()
            ratio = np.nan if np.isinf(own) and np.isinf(rival) else rival / own
            lines.append(_line(f"{problem}: {name}", ratio, at_least))
            if name == "compiled":
                ratios.append(ratio)
        ratio = _after_10(by_solver)
        verdict = "pass" if ratio <= 1.0 else "FAIL"
        text = f"{problem}: R after 10 s / best rival"
        lines.append(f"  {text:58s} {ratio:9.4f}  <= 1.00  {verdict}")
    # a problem that we do not solve has the ratio 0, and with it the mean
    finite = [ratio for ratio in ratios if np.isfinite(ratio)]
    if finite:
        mean = float(np.prod(finite) ** (1.0 / len(finite)))
        lines.append(_line("compiled rivals, geometric mean of the finite", mean, 2.0))
    return "\n".join(lines)


def _line(name: str, ratio: float, at_least: float) -> str:
    verdict = "pass" if ratio >= at_least else "FAIL"
    return f"  {name:58s} {ratio:9.3g}  >= {at_least:<5g} {verdict}"


def draw(runs: list[Run], table: pd.DataFrame, path: Path) -> None:
    """The median of the best objective against seconds, a panel for each problem."""
    problems = list(dict.fromkeys(table["problem"]))
    n_columns = min(3, len(problems))
    n_rows = -(-len(problems) // n_columns)
    size = (5.0 * n_columns, 3.6 * n_rows)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False)
    for ax in axes.flat[len(problems) :]:
        ax.remove()
    for ax, problem in zip(axes.flat, problems, strict=False):
        of_problem = [run for run in runs if run.problem == problem]
        longest = max(run.seconds[-1] for run in of_problem)
        seconds = np.geomspace(1e-3, longest, 200)
        for solver in dict.fromkeys(run.solver for run in of_problem):
            found = [run for run in of_problem if run.solver == solver]
            curves = [[run.after(at) for at in seconds] for run in found]
            style = "--" if family(solver) == "PyTorch" or solver == DEFAULT else "-"
            width = 2.2 if solver == OURS else 1.2
            colour = _COLOURS.get(solver)
            ax.plot(seconds, np.median(curves, 0), style, lw=width, color=colour, label=solver)
        merit = table.loc[table["problem"] == problem, "merit objective"].iloc[0]
        ax.axhline(merit, color="0.6", lw=0.8, ls=":")
        ax.set(xscale="log", yscale="log", title=problem, xlabel="seconds")
        ax.grid(alpha=0.3)
        ax.legend(fontsize=6)
    for ax in axes[:, 0]:
        ax.set_ylabel("best objective R, median")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", type=Path, help="parquet files of benchopt")
    parser.add_argument("--output", type=Path, help="folder; docs/benchmark by default")
    arguments = parser.parse_args()
    output = output_folder(arguments.output, False)
    runs = read_runs(arguments.results)
    table = summarise(runs)
    table.to_csv(output / "benchmark.csv", index=False, float_format="%.6g")
    print(to_markdown(table) + "\n\n" + targets(table))
    draw(runs, table, output / "benchmark.png")
    print(f"\nTable: {output / 'benchmark.csv'}\nPlots: {output / 'benchmark.png'}")


if __name__ == "__main__":
    main()
