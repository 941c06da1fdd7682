"""The training problems: name, data, penalties. All solvers minimise the same R of (2.6)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from sktime_alm.datasets import (
    load_paper_sp500,
    load_sp500_volatility,
    make_duffing,
    make_elman,
    make_tanks,
)
from sktime_alm.solver import ElmanParameters, ElmanProblem, Regularization
from sktime_alm.solver.initialization import initialize
from sktime_alm.solver.readout import solve_readout

# none of the starts' seeds: from that of the data a start would draw the teacher's own weights
DATA_SEED = 100
# the bound of the forecaster
BOUND = 0.98
# where files that are not shipped may lie
DATA = Path(__file__).parents[1] / "data"
# Table 1's data with T = 500
SYNTHETIC_500 = {
    "n_samples": 500,
    "n_inputs": 80,
    "n_outputs": 30,
    "hidden_size": 100,
    "weight_scale": 0.05,
    "noise": 1e-5,
}

Data = tuple[np.ndarray, np.ndarray, tuple[int, ...]]


class Problem(NamedTuple):
    """A training problem; ``load`` gives inputs, standardised targets and sequence starts."""

    load: Callable[[], Data]
    hidden_size: int
    alpha: float
    is_large: bool = False
    activation: str = "relu"
    # the strength of the penalty of D; None is no linear part
    skip_alpha: float | None = None
    max_recurrence: float = np.inf
    # what must be in the folder of data
    file: str | None = None

    @property
    def is_available(self) -> bool:
        return self.file is None or (DATA / self.file).exists()

    def build(self) -> ElmanProblem:
        X, Y, starts = self.load()
        shape = (X.shape[1], self.hidden_size, Y.shape[1])
        penalties = Regularization.scaled(self.alpha, *shape, skip_alpha=self.skip_alpha)
        has_skip = self.skip_alpha is not None
        return ElmanProblem(X, Y, penalties, self.activation, starts, has_skip, self.max_recurrence)

    def initial(self, seed: int) -> ElmanParameters:
        """The start that every solver is given: the default initialization, N(0, 0.1).

        Where there is a linear part it begins at the ridge regression.
        """
        problem = self.build()
        shape = (problem.n_inputs, self.hidden_size, problem.n_outputs)
        drawn = initialize("normal", *shape, np.random.default_rng(seed))
        norm = float(np.linalg.norm(drawn.W, 2))
        W = drawn.W * min(1.0, 0.9 * self.max_recurrence / norm)
        if self.skip_alpha is None:
            return ElmanParameters(drawn.A, W, drawn.V, drawn.b, drawn.c)
        ridge = solve_readout(problem, np.zeros((problem.n_samples, self.hidden_size)))
        D, c = ridge[:, self.hidden_size : -1], ridge[:, -1]
        return ElmanParameters(drawn.A, W, drawn.V, drawn.b, c, D)


def _standardised(inputs: np.ndarray, targets: np.ndarray) -> Data:
    X, Y = ((rows - rows.mean(axis=0)) / rows.std(axis=0) for rows in (inputs, targets))
    return X, Y, (0,)


def _paper_sp500() -> Data:
    y, X = load_paper_sp500()
    return X.to_numpy()[:393], y.to_numpy()[:393, None], (0,)


def _volatility() -> Data:
    y, X = load_sp500_volatility()
    inputs = X.shift(1).assign(y=y.shift(1)).iloc[1:].to_numpy()
    targets = y.iloc[1:].to_numpy()[:, None]
    n_train = int(0.9 * len(targets))
    return _standardised(inputs[:n_train], targets[:n_train])


def _elman(n_train: int, **options: Any) -> Data:
    y, X, _ = make_elman(standardize=True, random_state=DATA_SEED, **options)
    return X.to_numpy()[:n_train], y.to_numpy()[:n_train], (0,)


def _small() -> Data:
    return _elman(9)


def _wide() -> Data:
    return _elman(450, **SYNTHETIC_500)


def teacher(n_samples: int, hidden_size: int = 20) -> Data:
    """A noisy teacher whose recurrent spectral radius is about 0.9 at any size."""
    shape = {"n_inputs": 11, "n_outputs": 1, "hidden_size": hidden_size}
    scale = 0.9 / hidden_size**0.5
    return _elman(n_samples, n_samples=n_samples, **shape, weight_scale=scale, noise=0.1)


def _recall(n_sequences: int = 40, delay: int = 50) -> Data:
    """The first input of a sequence is asked for by a signal 50 steps later."""
    rng = np.random.default_rng(0)
    length = delay + 1
    X = np.zeros((n_sequences, length, 2))
    X[:, 0, 0] = rng.uniform(size=n_sequences)
    X[:, -1, 1] = 1.0
    Y = np.zeros((n_sequences, length, 1))
    Y[:, -1, 0] = X[:, 0, 0]
    targets = (Y.reshape(-1, 1) - Y.mean()) / Y.std()
    return X.reshape(-1, 2), targets, tuple(range(0, len(targets), length))


def _macro() -> Data:
    """Unemployment and inflation on twelve series of the quarter before: levels that trend alike.

    US macroeconomic quarters from statsmodels; few rows, strongly collinear inputs, many units.
    """
    from statsmodels.datasets import macrodata

    table = macrodata.load_pandas().data.drop(columns=["year", "quarter"])
    levels = ["realgdp", "realcons", "realinv", "realgovt", "realdpi", "cpi", "m1", "pop"]
    table[levels] = np.log(table[levels])
    inputs, targets = table.iloc[:-1], table[["unemp", "infl"]].iloc[1:]
    return _standardised(inputs.to_numpy(), targets.to_numpy())


def _of_system(made: tuple[pd.Series, pd.DataFrame]) -> Data:
    y, X = made
    return _standardised(X.to_numpy(), y.to_numpy()[:, None])


def _tanks_of_file() -> Data:
    table = pd.read_csv(DATA / "cascaded_tanks.csv")
    return _standardised(table[["uEst"]].to_numpy(), table[["yEst"]].to_numpy())


def _slow() -> Data:
    """White noise through poles of radius 0.97, and a little noise."""
    rng = np.random.default_rng(DATA_SEED)
    x, noise = rng.normal(size=(2, 1_000))
    poles = 0.97 * np.exp(np.array([0.1j, -0.1j]))
    y = lfilter([1.0], np.poly(poles).real, x)
    return _standardised(x[:, None], (y + 0.02 * y.std() * noise)[:, None])


FREE = {
    "sp500-alpha-1": Problem(_paper_sp500, 20, 1.0),
    "sp500-alpha-0.01": Problem(_paper_sp500, 20, 0.01),
    "volatility-r8": Problem(_volatility, 8, 1.0),
    "volatility-r20": Problem(_volatility, 20, 3.0),
    "synthetic-10": Problem(_small, 4, 1.2),
    "synthetic-500": Problem(_wide, 100, 500.0, is_large=True),
    "teacher-4000": Problem(partial(teacher, 4_000), 20, 0.1),
    "teacher-40000": Problem(partial(teacher, 40_000), 20, 0.1, is_large=True),
    "recall-50": Problem(_recall, 10, 0.01),
    "macro": Problem(_macro, 12, 0.1),
}
_bounded = partial(Problem, skip_alpha=1e-3, max_recurrence=BOUND)
BOUNDED = {
    "tanks": _bounded(_tanks_of_file, 8, 1e-3, activation="elu", file="cascaded_tanks.csv"),
    "simulated-tanks": _bounded(
        lambda: _of_system(make_tanks(random_state=1)), 8, 1e-3, activation="elu"
    ),
    "duffing": _bounded(
        lambda: _of_system(make_duffing(1_024, random_state=1)), 8, 1e-4, activation="elu"
    ),
    "slow-ar2": _bounded(_slow, 8, 1e-2),
    "volatility-r8-bounded": Problem(_volatility, 8, 0.1, skip_alpha=1.0, max_recurrence=BOUND),
}
PROBLEMS = FREE | BOUNDED
