"""Table 3: which trainings there are, the data they train on, and ALM's among them.

A training is described by a :class:`Task` and ends as one line of ``runs.jsonl``, so that an
interrupted study goes on where it stopped. The gradient methods are in ``gradient.py``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from tqdm.auto import tqdm

from benchmark_utils.problems import DATA_SEED, SYNTHETIC_500
from journal import append_run, read_runs, task_of
from reproduction.published import INITIALIZATIONS
from sktime_alm.datasets import load_paper_sp500, make_elman
from sktime_alm.solver import (
    ALMSettings,
    ElmanParameters,
    ElmanProblem,
    Regularization,
    ReLU,
    SafeguardedSettings,
    driver,
    solve,
)
from sktime_alm.solver.initialization import initialize
from sktime_alm.solver.network import rollout
from sktime_alm.solver.optimality import certify

PAPER, SAFEGUARDED = "ALM", "ALM, safeguarded"
# how the gradient methods are run: without a penalty at Table 4's learning rates, or with ALM's
# penalty at a learning rate chosen on held-out training rows
PUBLISHED, FAIR = "as published", "fair"
# "Adam" takes mini-batches, as the paper's plural "SGDs" suggests; the last one does not
GRADIENT_METHODS = ("GD", "GDC", "GDNM", "SGD", "Adam", "Adam, all rows")
LEARNING_RATES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

# a curve has at most about so many points for each decade of its iterations
_POINTS_PER_DECADE = 12


class Problem(NamedTuple):
    """A data set of the paper and what Tables 1 to 3 say of it."""

    alpha: float
    hidden_size: int
    n_train: int
    n_epochs: int
    batch_size: int


PROBLEMS = {
    "synthetic-10": Problem(1.2, 4, 9, 500, 2),
    "sp500": Problem(1.0, 20, 393, 5000, 50),
    "synthetic-500": Problem(500.0, 100, 450, 1000, 100),
}


# starts of each initialization, the paper's ten where a few hours allow
STARTS = {
    PAPER: {"synthetic-10": 10, "sp500": 10, "synthetic-500": 1},
    SAFEGUARDED: {"synthetic-10": 10, "sp500": 10, "synthetic-500": 3},
}
GRADIENT_STARTS = {"synthetic-10": 10, "sp500": 3, "synthetic-500": 3}


class Task(NamedTuple):
    """One training. ``variant`` is PUBLISHED or FAIR for a gradient method, else empty."""

    problem: str
    method: str
    variant: str
    initialization: str
    start: int


class Data(NamedTuple):
    """Inputs and standardised targets; the first ``n_train`` rows are for training."""

    X: np.ndarray
    Y: np.ndarray
    n_train: int

    def problem(self, alpha: float, hidden_size: int) -> ElmanProblem:
        """The training rows with Table 2's penalty; with alpha = 0 without any."""
        shape = (self.X.shape[1], hidden_size, self.Y.shape[1])
        penalty = Regularization.scaled(alpha, *shape) if alpha > 0.0 else Regularization()
        return ElmanProblem(self.X[: self.n_train], self.Y[: self.n_train], penalty)

    def errors(self, parameters: ElmanParameters) -> tuple[float, float]:
        """TrainErr and TestErr of a network, whose state runs on from training into test."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.split(parameters.outputs(rollout(parameters, ReLU(), self.X)[1]))

    def split(self, predictions: np.ndarray) -> tuple[float, float]:
        """Means of ||y - yhat||^2 over the training and over the test rows."""
        squared = np.sum((self.Y - predictions) ** 2, axis=1)
        return float(squared[: self.n_train].mean()), float(squared[self.n_train :].mean())


def all_tasks(problems: Iterable[str], quick: bool) -> list[Task]:
    """The trainings of Table 3; the quick study has one start of each."""
    trainings = [(SAFEGUARDED, ""), (PAPER, "")]
    trainings += [(method, variant) for variant in (PUBLISHED, FAIR) for method in GRADIENT_METHODS]
    return [
        Task(problem, method, variant, initialization, start)
        # starts one after the other, so that a study that is cut short has the first of each
        for start in range(1 if quick else max(GRADIENT_STARTS.values()))
        for problem in problems
        for method, variant in trainings
        for initialization in INITIALIZATIONS
        if start < STARTS.get(method, GRADIENT_STARTS)[problem]
    ]


def load(name: str) -> Data:
    """A data set; the synthetic ones are one draw of the paper's generator."""
    n_train = PROBLEMS[name].n_train
    if name == "sp500":
        y, X = load_paper_sp500()
        return Data(X.to_numpy(), y.to_numpy()[:, None], n_train)
    shape: dict[str, Any] = SYNTHETIC_500 if name == "synthetic-500" else {}
    y, X, _ = make_elman(**shape, standardize=True, random_state=DATA_SEED)
    return Data(X.to_numpy(), y.to_numpy(), n_train)


def initial_weights(task: Task) -> ElmanParameters:
    """The start of a task: the same weights for every method."""
    data, specification = load(task.problem), PROBLEMS[task.problem]
    shape = (data.X.shape[1], specification.hidden_size, data.Y.shape[1])
    generator = np.random.default_rng(task.start)
    return initialize(INITIALIZATIONS[task.initialization], *shape, generator)


def references(data: Data) -> dict[str, tuple[float, float]]:
    """Errors of forecasts that need no network. Persistence repeats the last *actual* value."""
    Y, n = data.Y, data.n_train
    inputs = np.hstack([np.ones((len(Y), 1)), data.X])
    before = np.vstack([Y[:1], Y[:-1]])

    def least_squares(regressors: np.ndarray) -> np.ndarray:
        return regressors @ np.linalg.lstsq(regressors[:n], Y[:n], rcond=None)[0]

    found = {
        "zero": data.split(np.zeros_like(Y)),
        "training mean": data.split(np.broadcast_to(Y[:n].mean(axis=0), Y.shape)),
        "persistence": data.split(before),
        "OLS on the same inputs": data.split(least_squares(inputs)),
    }
    with_last_value = np.hstack([inputs, before])
    if n > with_last_value.shape[1]:
        found["OLS on the inputs and the last value"] = data.split(least_squares(with_last_value))
    return found


def train_alm(task: Task, quick: bool = False) -> dict:
    """Algorithm 3.1 at Table 2's settings, or our default method with its default settings."""
    data, (alpha, hidden_size, *_) = load(task.problem), PROBLEMS[task.problem]
    settings: SafeguardedSettings | ALMSettings = SafeguardedSettings()
    if task.method == PAPER:
        # He weights begin above the paper's safeguard of 100 when T = 500; None fits the start
        options = {**asdict(ALMSettings.paper(task.problem)), "safeguard": None}
        if quick:
            options |= {"max_iter": min(options["max_iter"], 10), "max_inner_iter": 10}
        settings = ALMSettings(**options)
    elif quick:
        settings = SafeguardedSettings(max_iter=5)
    problem, iterates = data.problem(alpha, hidden_size), []

    def watched(problem, point, *arguments):
        iterates.append((time.perf_counter() - began, point.parameters))
        return certify(problem, point, *arguments)

    # the start and every outer iteration are certified: there its network can be seen
    began = time.perf_counter()
    with patch.object(driver, "certify", watched):
        try:
            result = solve(problem, initial_weights(task), settings)
        except ValueError:
            # the network of the start overflows
            return outcome(task, (np.inf, np.inf), 0.0, [])
    seconds = time.perf_counter() - began
    curve = [(at, *data.errors(parameters)) for at, parameters in iterates[1:]]
    found = outcome(task, data.errors(result.parameters), seconds, curve)
    return found | {"objective": result.objective, "status": result.status.name}


def outcome(task: Task, errors: tuple[float, float], seconds: float, curve: list) -> dict:
    """What is kept of a training; its curve, (seconds, TrainErr, TestErr), for the first start."""
    train_error, test_error = (float(error) if np.isfinite(error) else None for error in errors)
    kept = thinned(curve) if task.start == 0 else []
    return {
        **task._asdict(),
        "train": train_error,
        "test": test_error,
        "seconds": seconds,
        "curve": kept,
    }


def thinned(curve: list) -> list:
    """The points of a curve, equally dense in the logarithm of their number; and the last."""
    wanted = {
        round(_POINTS_PER_DECADE * np.log10(number)): point
        for number, point in enumerate(curve, start=1)
    }
    return list(wanted.values())


def perform(tasks: Iterable[Task], path: Path, quick: bool) -> list[dict]:
    """Train what the file does not hold yet, append each outcome, and return all of them."""
    tasks = list(tasks)
    done = {task_of(run, Task) for run in read_runs(path)}
    bar = tqdm([task for task in tasks if task not in done], desc="Table 3")
    for task in bar:
        bar.set_postfix_str(f"{task.problem}, {task.method} {task.variant}")
        run = _trainer(task)(task, quick)
        append_run(run, path)
    wanted = set(tasks)
    return [run for run in read_runs(path) if task_of(run, Task) in wanted]


def _trainer(task: Task):
    if task.method in (PAPER, SAFEGUARDED):
        return train_alm
    # on use: PyTorch is an extra, which the certificates do without
    from reproduction.gradient import train_gradient

    return train_gradient
