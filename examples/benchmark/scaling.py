"""How time and memory grow with the length of the series and the size of the network.

    python examples/benchmark/scaling.py            # about ten minutes
    python examples/benchmark/scaling.py --quick    # one minute, up to T = 10,000 and r = 50

A sweep of the augmented Lagrangian method and a step of the safeguarded one (rollout, best
readout, adjoint: an epoch of compiled backpropagation through time) stand beside an epoch of
PyTorch; the time to the merit objective stands beside that of SciPy's L-BFGS-B on the same
compiled gradient. Then the sweep is held against its flops at the speed of a matrix product,
and the peak of memory is counted in arrays of T x r.
"""

from __future__ import annotations

import os

# before NumPy is loaded
for _name in ("OPENBLAS", "OMP", "MKL", "NUMEXPR"):
    os.environ.setdefault(f"{_name}_NUM_THREADS", "1")

import argparse
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from benchmark_utils.compiled import lbfgs
from benchmark_utils.ours import safeguarded
from benchmark_utils.problems import Problem, teacher
from benchmark_utils.recording import Stopped
from sktime_alm.solver import (
    ElmanParameters,
    ElmanProblem,
    Regularization,
    SafeguardedSettings,
    solve,
)
from sktime_alm.solver.bcd import sweep
from sktime_alm.solver.initialization import initialize
from sktime_alm.solver.lagrangian import Multipliers
from sktime_alm.solver.reduced import iterate_at
from timing import Trace, output_folder

# T, n, m, r, and how many times the time of its flops a sweep may take
FLOORS = ((450, 80, 30, 100, 2.0), (393, 11, 1, 20, 3.0))
MOST_ARRAYS = 16.0


def median_seconds(run: Callable[[], object], at_most: float = 1.0) -> float:
    """The median of as many runs as fit into a time, three at least; of a long one that one."""
    began = time.perf_counter()
    run()
    first = time.perf_counter() - began
    if first > 5.0:
        return first
    times: list[float] = []
    while len(times) < 3 or sum(times) < at_most:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def seconds_a_sweep(problem: ElmanProblem, hidden_size: int) -> float:
    parameters = _weights(problem, hidden_size)
    point = problem.feasible_point(parameters)
    none = Multipliers.zeros(*point.h.shape)
    return median_seconds(lambda: sweep(problem, point, none, 1.0, 1e-5))


def seconds_a_step(problem: ElmanProblem, hidden_size: int) -> float:
    hidden_layer = _weights(problem, hidden_size).hidden_layer
    return median_seconds(lambda: iterate_at(problem, hidden_layer))


def seconds_an_epoch(problem: ElmanProblem, hidden_size: int) -> float:
    try:
        import torch

        from benchmark_utils.torch_training import Elman
    except ImportError:
        return np.nan
    torch.set_num_threads(1)
    network = Elman(problem, _weights(problem, hidden_size))
    return median_seconds(lambda: network.objective().backward())


def _weights(problem: ElmanProblem, hidden_size: int) -> ElmanParameters:
    shape = (problem.n_inputs, hidden_size, problem.n_outputs)
    # N(0, 0.1) would explode with many units
    return initialize("glorot", *shape, np.random.default_rng(0))


def measure(n_samples: int, hidden_size: int, budget: float) -> dict[str, float]:
    """One size: the noisy teacher of the benchmark."""
    specification = Problem(partial(teacher, n_samples, hidden_size), hidden_size, 0.1)
    problem = specification.build()
    initial = _weights(problem, hidden_size)
    row = {
        "T": n_samples,
        "r": hidden_size,
        "sweep": seconds_a_sweep(problem, hidden_size),
        "step": seconds_a_step(problem, hidden_size),
        "PyTorch epoch": seconds_an_epoch(problem, hidden_size),
    }
    runs: dict[str, Trace] = {}
    for name, solver in (("safeguarded", safeguarded), ("L-BFGS-B", lbfgs)):
        with np.errstate(all="ignore"), suppress(Stopped):
            solver(problem, initial, Trace(0.1).record)  # compiled code is loaded
        runs[name] = Trace(budget)
        with np.errstate(all="ignore"), suppress(Stopped):
            solver(problem, initial, runs[name].record)
    merit = 1.02 * runs["L-BFGS-B"].best
    return row | {f"{name} to merit": trace.time_to(merit) for name, trace in runs.items()}


def flops_of_a_sweep(T: int, n: int, m: int, r: int) -> float:
    """Multiplications and additions of the products and factorisations, symmetric ones halved."""
    p = r + n + 1
    of_products = T * (r**2 + 2 * r * (n + 1) + 2 * p * r + 4 * r * m + 6 * r**2 + 2 * r * n)
    return of_products + p**3 / 3 + 2 * p**2 * r + 2 * r**3


def sweep_over_floor(T: int, n: int, m: int, r: int) -> float:
    """A sweep over its flops at the speed of a matrix product, measured in turn."""
    rng = np.random.default_rng(0)
    X, Y = rng.uniform(-1.0, 1.0, size=(T, n)), rng.normal(size=(T, m))
    problem = ElmanProblem(X, Y, Regularization.scaled(1.0, n, r, m))
    square = rng.normal(size=(1_000, 1_000))
    ratios = []
    for _ in range(5):
        speed = 2e9 / median_seconds(lambda: square @ square, 0.3)
        ratios.append(seconds_a_sweep(problem, r) * speed / flops_of_a_sweep(T, n, m, r))
    return float(np.median(ratios))


def arrays_at_peak(n_samples: int, hidden_size: int) -> float:
    """The growth of memory in a fit of its own process, in arrays of T x r."""
    specification = Problem(partial(teacher, n_samples, hidden_size), hidden_size, 0.1)
    problem, initial = specification.build(), specification.initial(0)
    # what is resident, on Linux: the building of the problem peaked above it
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    solve(problem, initial, SafeguardedSettings(max_iter=2, max_inner_iter=5))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return (peak - before) / (8.0 * n_samples * hidden_size)


def draw(table: pd.DataFrame, path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2))
    lengths = table[table["r"] == 20].sort_values("T")
    widths = table[table["T"] == 1_000].sort_values("r")
    styles = {
        "sweep": ("tab:purple", "-"), "step": ("tab:blue", "-"),
        "PyTorch epoch": ("tab:green", "-"),
        "safeguarded to merit": ("tab:blue", "--"), "L-BFGS-B to merit": ("tab:orange", "--"),
    }  # fmt: skip
    for ax, rows, size in zip(axes, (lengths, widths), ("T", "r"), strict=True):
        for name, (colour, style) in styles.items():
            times = rows[name].replace(np.inf, np.nan)
            ax.plot(rows[size], times, style, marker="o", ms=3, color=colour, label=name)
        ax.set(xscale="log", yscale="log", xlabel=size, ylabel="seconds")
        ax.grid(alpha=0.3)
    axes[0].set_title("r = 20")
    axes[1].set_title("T = 1,000")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes alone")
    parser.add_argument("--output", type=Path, help="folder; docs/benchmark by default")
    arguments = parser.parse_args()
    output = output_folder(arguments.output, arguments.quick)

    lengths = {1_000: 5.0, 10_000: 10.0, 100_000: 30.0, 1_000_000: 60.0}
    widths: tuple[int, ...] = (5, 10, 50, 100, 200)
    longest = 1_000_000
    if arguments.quick:
        lengths, widths, longest = {1_000: 2.0, 10_000: 5.0}, (5, 50), 10_000
    sizes = [(T, 20, budget) for T, budget in lengths.items()]
    sizes += [(1_000, r, 2.0 if arguments.quick else 6.0) for r in widths]

    # a process for each size: a large one leaves no memory behind
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        n_arrays = pool.submit(arrays_at_peak, longest, 20).result()
        table = pd.DataFrame([pool.submit(measure, *size).result() for size in sizes])
        ratios = [pool.submit(sweep_over_floor, *shape).result() for *shape, _ in FLOORS]
    table.to_csv(output / "scaling.csv", index=False, float_format="%.4g")
    print(table.to_string(index=False, float_format="{:.4g}".format))
    for (T, n, m, r, at_most), ratio in zip(FLOORS, ratios, strict=True):
        verdict = "pass" if ratio <= at_most else "FAIL"
        shape = f"sweep at T={T}, n={n}, m={m}, r={r} / its flops"
        print(f"  {shape:58s} {ratio:9.2f}  <= {at_most:<5g} {verdict}")
    verdict = "pass" if n_arrays <= MOST_ARRAYS else "FAIL"
    peak = f"peak of memory at T={longest:,}, r=20, in arrays of T x r"
    print(f"  {peak:58s} {n_arrays:9.1f}  <= {MOST_ARRAYS:<5g} {verdict}")
    draw(table, output / "scaling.png")


if __name__ == "__main__":
    main()
