"""The paper's ALM, at its own settings, on its own problems: training and test errors.

Errors are means over the rows of the squared norm of y - yhat, in the standardised units of the
paper; the hidden state runs on from training into test. Beside them stand the errors of predicting
zero and of repeating the last value.

    python examples/paper_errors.py synthetic-10
    python examples/paper_errors.py sp500 --starts 3
    python examples/paper_errors.py synthetic-500 --initializations normal --starts 1
"""

import argparse
import time
from dataclasses import asdict

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from sktime_alm.datasets import load_paper_sp500, make_elman
from sktime_alm.solver import ALMSettings, ElmanProblem, Regularization, train
from sktime_alm.solver.elman import rollout

INITIALIZATIONS = {
    "he": "he",
    "0.001": 0.001,
    "normal": "normal",
    "glorot": "glorot",
    "lecun": "lecun",
}
ALPHA = {"synthetic-10": 1.2, "sp500": 1.0, "synthetic-500": 500.0}
HIDDEN_SIZE = {"synthetic-10": 4, "sp500": 20, "synthetic-500": 100}
N_TRAIN = {"synthetic-10": 9, "sp500": 393, "synthetic-500": 450}


def load(name: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and standardised targets of one of the paper's problems."""
    if name == "sp500":
        y, X = load_paper_sp500()
        return X.to_numpy(), y.to_numpy()[:, None]
    shape = (
        {}
        if name == "synthetic-10"
        else {
            "n_samples": 500,
            "n_inputs": 80,
            "n_outputs": 30,
            "hidden_size": 100,
            "weight_scale": 0.05,
            "noise": 1e-5,
        }
    )
    y, X, _ = make_elman(**shape, standardize=True, random_state=seed)
    return X.to_numpy(), y.to_numpy()


def split_errors(predictions: np.ndarray, Y: np.ndarray, n_train: int) -> tuple[float, float]:
    squared = np.sum((Y - predictions) ** 2, axis=1)
    return squared[:n_train].mean(), squared[n_train:].mean()


def run(name: str, initialization: str | float, start: int, data_seed: int) -> dict:
    """One training, from start number ``start``."""
    X, Y = load(name, data_seed)
    n_train = N_TRAIN[name]
    options = asdict(ALMSettings.paper(name))
    # He weights begin above the paper's safeguard of 100 when T = 500; None lets it fit the start
    options["safeguard"] = None
    began = time.perf_counter()
    result = train(
        X[:n_train],
        Y[:n_train],
        HIDDEN_SIZE[name],
        alpha=ALPHA[name],
        initialization=initialization,
        random_state=start,
        **options,
    )
    seconds = time.perf_counter() - began
    problem = ElmanProblem(X, Y, Regularization())
    _, h = rollout(result.parameters, problem.sigma, X)
    train_error, test_error = split_errors(result.parameters.outputs(h), Y, n_train)
    return {
        "train": train_error,
        "test": test_error,
        "objective": result.objective,
        "seconds": seconds,
        "violation": result.certificate.feasibility,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problem", choices=sorted(ALPHA))
    parser.add_argument("--initializations", nargs="+", default=list(INITIALIZATIONS))
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--data-seeds", type=int, default=1, help="draws of a synthetic data set")
    arguments = parser.parse_args()

    rows = [
        {
            "initialization": name,
            **run(arguments.problem, INITIALIZATIONS[name], start, data_seed),
        }
        for name in arguments.initializations
        for data_seed in range(arguments.data_seeds)
        for start in tqdm(range(arguments.starts), desc=f"{name}, data {data_seed}")
    ]
    table = pd.DataFrame(rows).groupby("initialization", sort=False)
    columns = ["train", "test", "objective", "violation", "seconds"]
    print("\nmean over the starts")
    print(table[columns].mean().to_string(float_format="{:.4g}".format))
    print("\nstandard deviation")
    print(table[["train", "test"]].std().to_string(float_format="{:.2g}".format))
    _, Y = load(arguments.problem)
    n_train = N_TRAIN[arguments.problem]
    zero = split_errors(np.zeros_like(Y), Y, n_train)
    previous = split_errors(np.vstack([Y[:1], Y[:-1]]), Y, n_train)
    print(f"\npredicting zero: {zero[0]:.4g} / {zero[1]:.4g}")
    print(f"the last value:  {previous[0]:.4g} / {previous[1]:.4g}")


if __name__ == "__main__":
    main()
