"""The training problems: name, data, penalties. All solvers minimise the same R of (2.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sktime_alm.datasets import load_paper_sp500, load_sp500_volatility, make_elman
from sktime_alm.scalers import Standardizer
from sktime_alm.solver import ElmanParameters, ElmanProblem, Regularization
from sktime_alm.solver.initialization import initialize

# none of the starts' seeds: from that of the data a start would draw the teacher's own weights
DATA_SEED = 100
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

    def build(self) -> ElmanProblem:
        X, Y, starts = self.load()
        shape = (X.shape[1], self.hidden_size, Y.shape[1])
        penalties = Regularization.scaled(self.alpha, *shape)
        return ElmanProblem(X, Y, penalties, "relu", starts)

    def initial(self, seed: int) -> ElmanParameters:
        """The start that every solver is given: the default initialization, N(0, 0.1)."""
        X, Y, _ = self.load()
        shape = (X.shape[1], self.hidden_size, Y.shape[1])
        return initialize("normal", *shape, np.random.default_rng(seed))


def _paper_sp500() -> Data:
    y, X = load_paper_sp500()
    return X.to_numpy()[:393], y.to_numpy()[:393, None], (0,)


def _volatility() -> Data:
    y, X = load_sp500_volatility()
    inputs = X.shift(1).assign(y=y.shift(1)).iloc[1:].to_numpy()
    targets = y.iloc[1:].to_numpy()[:, None]
    n_train = int(0.9 * len(targets))
    X, Y = (Standardizer.fit(a[:n_train]).transform(a[:n_train]) for a in (inputs, targets))
    return X, Y, (0,)


def _elman(n_train: int, **options: float) -> Data:
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
    Y = Y.reshape(-1, 1)
    return X.reshape(-1, 2), (Y - Y.mean()) / Y.std(), tuple(range(0, len(Y), length))


PROBLEMS = {
    "sp500-alpha-1": Problem(_paper_sp500, 20, 1.0),
    "sp500-alpha-0.01": Problem(_paper_sp500, 20, 0.01),
    "volatility-r8": Problem(_volatility, 8, 1.0),
    "volatility-r20": Problem(_volatility, 20, 3.0),
    "synthetic-10": Problem(_small, 4, 1.2),
    "synthetic-500": Problem(_wide, 100, 500.0, is_large=True),
    "teacher-4000": Problem(lambda: teacher(4_000), 20, 0.1),
    "teacher-40000": Problem(lambda: teacher(40_000), 20, 0.1, is_large=True),
    "recall-50": Problem(_recall, 10, 0.01),
}
