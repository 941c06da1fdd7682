"""How default fits end: status, certificate, and whether a network is ever not finite.

    python examples/benchmark/fits.py [--seeds 5]    # about ten minutes

Every problem of the benchmark is trained with default settings from every initialization,
He's included, which starts large networks near overflow.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from problems import PROBLEMS
from sktime_alm.solver import Status, train
from timing import output_folder

INITIALIZATIONS = ("normal", "he", "glorot", "lecun")
# the outer iterations of a default fit, and of a large problem, where each takes seconds
LIMITS = {False: 100, True: 10}


def fit(problem: str, initialization: str, seed: int) -> dict[str, object]:
    specification = PROBLEMS[problem]
    X, Y, starts = specification.load()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a start may have to be tamed
        result = train(
            X,
            Y,
            specification.hidden_size,
            alpha=specification.alpha,
            initialization=initialization,
            random_state=seed,
            starts=starts,
            max_iter=LIMITS[specification.is_large],
        )
    is_finite = result.parameters.is_finite() and bool(np.isfinite(result.objective))
    return {
        "problem": problem,
        "initialization": initialization,
        "seed": seed,
        "objective": result.objective,
        "status": result.status.name,
        "residual": result.certificate.residual,
        "is finite": is_finite and result.status is not Status.NON_FINITE,
        "seconds": result.history[-1].seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--output", type=Path, help="folder; docs/benchmark by default")
    arguments = parser.parse_args()
    output = output_folder(arguments.output, False)
    cases = [
        (problem, initialization, seed)
        for problem in arguments.problems
        for initialization in INITIALIZATIONS
        for seed in range(1 if PROBLEMS[problem].is_large else arguments.seeds)
    ]
    fits = pd.DataFrame([fit(*case) for case in tqdm(cases)])
    fits.to_csv(output / "fits.csv", index=False, float_format="%.4g")
    by_problem = fits.groupby("problem", sort=False)
    table = by_problem.agg(
        fits=("seed", "size"),
        objective=("objective", "median"),
        residual=("residual", "median"),
        seconds=("seconds", "median"),
    )
    table["endings"] = by_problem["status"].agg(
        lambda names: ", ".join(f"{name} {n}" for name, n in Counter(names).most_common())
    )
    print(table.to_string(float_format="{:.3g}".format))
    within = int((fits["residual"] <= 1e-5).sum())
    print(f"  KKT residual <= 1e-5: {within} of {len(fits)} fits; the others say why not")
    n_diverged = int((~fits["is finite"]).sum())
    verdict = "pass" if n_diverged == 0 else "FAIL"
    print(f"  diverged or non-finite fits: {n_diverged} of {len(fits)}, == 0  {verdict}")


if __name__ == "__main__":
    main()
