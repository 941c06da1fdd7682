"""The models of the identification study: each is fitted to records and runs freely on others.

A free run is given the inputs of a test record and its first outputs, from which a model may find
its initial state. What the settings are, and how they are chosen, is in system_identification.py.
"""

from __future__ import annotations

import copy
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy.signal import lfilter, lfiltic
from sklearn.exceptions import ConvergenceWarning

from identification_data import Record
from sktime_alm import ALMElmanForecaster

# a free run beyond so many times the range of the test has blown up
_BLOWN_UP = 1e3
# rows between two records: more than any lag
_GAP = 1_000

# inputs of a test record, and its first outputs
Test = tuple[np.ndarray, np.ndarray]


class Model(Protocol):
    """A fitted model; ``simulate`` gives the outputs of each test, run freely."""

    def simulate(self, tests: Sequence[Test]) -> list[np.ndarray]: ...


def errors(model: Model, tests: dict[str, tuple[Record, ...]], n_init: int) -> dict[str, float]:
    """The root mean squared error of each test, without the first rows of its records."""
    known = [max(n_init, record.n_known) for part in tests.values() for record in part]
    records = [record for part in tests.values() for record in part]
    runs = model.simulate([(r.u, r.y[:n]) for r, n in zip(records, known, strict=True)])
    with np.errstate(over="ignore", invalid="ignore"):
        misses = iter([(r.y - run)[n:] for r, run, n in zip(records, runs, known, strict=True)])
        found = {}
        for name, part in tests.items():
            error = float(np.sqrt(np.mean(np.concatenate([next(misses) for _ in part]) ** 2)))
            largest = _BLOWN_UP * max(float(np.abs(record.y).max()) for record in part)
            found[name] = error if error <= largest else np.inf
    return found


class Elman:
    """Ours, by ``fit``, ``update`` and ``predict`` as a user writes them."""

    def __init__(
        self, records: Sequence[Record], seed: int, horizon: int = 1, **arguments: Any
    ) -> None:
        y, X = self._frames(records)
        self.forecaster = ALMElmanForecaster(random_state=seed, **arguments)
        with warnings.catch_warnings():
            # of gaps between records, which are meant; of kinks
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.forecaster.fit(y, X, fh=np.arange(1, horizon + 1))
        self.end = int(y.index[-1])

    @staticmethod
    def _frames(records: Sequence[Record], start: int = 0) -> tuple[pd.Series, pd.DataFrame]:
        """Records end to end, with gaps in the index, at which the state begins anew."""
        indices, at = [], start
        for record in records:
            indices.append(np.arange(at, at + len(record.u)))
            at = indices[-1][-1] + _GAP
        index = pd.Index(np.concatenate(indices))
        y = pd.Series(np.concatenate([record.y for record in records]), index)
        return y, pd.DataFrame(np.concatenate([record.u for record in records]), index)

    def simulate(self, tests: Sequence[Test]) -> list[np.ndarray]:
        return [self._run(*test) for test in tests]

    def _run(self, u: np.ndarray, first: np.ndarray) -> np.ndarray:
        """A record of its own start: behind a gap in the index."""
        n = len(first)
        unseen = np.full(len(u) - n, np.nan)
        y, X = self._frames([Record(u, np.concatenate([first, unseen]))], self.end + _GAP)
        forecaster = copy.deepcopy(self.forecaster)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            forecaster.update(y[:n], X[:n], update_params=False)
        found = forecaster.predict(fh=np.arange(1, len(u) - n + 1), X=X[n:])
        return np.concatenate([first, found.to_numpy().ravel()])


class ARX:
    """Least squares on lags of y and u; in simulation its own outputs are the lags."""

    def __init__(self, records: Sequence[Record], seed: int, order: int) -> None:
        self.mean_u = np.concatenate([record.u for record in records]).mean(axis=0)
        self.mean_y = float(np.concatenate([record.y for record in records]).mean())
        rows, targets = [], []
        for record in records:
            u, y = record.u - self.mean_u, record.y - self.mean_y
            lagged = [y[order - i : len(y) - i] for i in range(1, order + 1)]
            lagged += [column[order - i : len(y) - i] for column in u.T for i in range(order + 1)]
            rows.append(np.column_stack([*lagged, np.ones(len(y) - order)]))
            targets.append(y[order:])
        Z, target = np.vstack(rows), np.concatenate(targets)
        ridge = 1e-8 * np.trace(Z.T @ Z) / Z.shape[1] * np.eye(Z.shape[1])
        weights = np.linalg.solve(Z.T @ Z + ridge, Z.T @ target)
        self.denominator = np.concatenate([[1.0], -weights[:order]])
        self.numerators = weights[order:-1].reshape(-1, order + 1)
        self.offset = weights[-1]

    def simulate(self, tests: Sequence[Test]) -> list[np.ndarray]:
        return [self._run(*test) for test in tests]

    def _run(self, u: np.ndarray, first: np.ndarray) -> np.ndarray:
        columns = (u - self.mean_u).T
        pairs = zip(self.numerators, columns, strict=True)
        driven = self.offset + sum(lfilter(weights, 1.0, column) for weights, column in pairs)
        n = len(first)
        state = lfiltic([1.0], self.denominator, (first - self.mean_y)[::-1])
        with np.errstate(over="ignore", invalid="ignore"):
            run, _ = lfilter([1.0], self.denominator, driven[n:], zi=state)
        return np.concatenate([first, run + self.mean_y])


class GRU:
    """PyTorch's GRU with a linear readout, Adam, early stopping on the last quarter."""

    # a record up to the first length is one stretch, a longer one is cut
    _LONGEST, _WINDOW, _PATIENCE, _WASHOUT = 2_048, 512, 100, 20

    def __init__(
        self, records: Sequence[Record], seed: int, hidden_size: int, epochs: int = 2_000
    ) -> None:
        import torch

        torch.manual_seed(seed)
        torch.set_num_threads(1)
        u = np.concatenate([record.u for record in records])
        y = np.concatenate([record.y for record in records])
        self.scales = u.mean(axis=0), u.std(axis=0), y.mean(), y.std()
        self.network = torch.nn.GRU(u.shape[1], hidden_size, batch_first=True)
        self.readout = torch.nn.Linear(hidden_size, 1)
        self._train([stretch for record in records for stretch in self._stretches(record)], epochs)

    def _stretches(self, record: Record) -> list[tuple]:
        """Standardised inputs and outputs, and which rows train and which stop the training."""
        import torch

        mean_u, scale_u, mean_y, scale_y = self.scales
        T = len(record.y)
        columns = [(record.u - mean_u) / scale_u, (record.y - mean_y) / scale_y]
        is_kept = np.arange(T) < 3 * T // 4
        length = T if T <= self._LONGEST else self._WINDOW
        found = []
        for at in range(0, T - length + 1, length):
            rows = slice(at, at + length)
            # the state is not known at the start of a stretch
            counts = np.arange(length) >= self._WASHOUT
            arrays = [*(column[rows] for column in columns), counts & is_kept[rows]]
            arrays.append(counts & ~is_kept[rows])
            found.append(tuple(torch.tensor(array, dtype=torch.float32) for array in arrays))
        return found

    def _loss(self, stretches: list[tuple], which: int):
        """The mean squared error on the rows that train, 2, or stop the training, 3."""
        import torch

        u, y, *masks = (torch.stack(arrays) for arrays in zip(*stretches, strict=True))
        errors = self.readout(self.network(u)[0])[..., 0] - y
        mask = masks[which - 2]
        return (mask * errors.square()).sum() / mask.sum()

    def _train(self, stretches: list[tuple], epochs: int) -> None:
        import torch

        to_train = [stretch for stretch in stretches if stretch[2].any()]
        to_stop = [stretch for stretch in stretches if stretch[3].any()]
        weights = [*self.network.parameters(), *self.readout.parameters()]
        optimiser = torch.optim.Adam(weights, lr=5e-3)
        best, since, kept = np.inf, 0, [w.detach().clone() for w in weights]
        for _ in range(epochs):
            for batch in torch.randperm(len(to_train)).split(32):
                optimiser.zero_grad()
                self._loss([to_train[i] for i in batch], 2).backward()
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
                optimiser.step()
            with torch.no_grad():
                loss = float(self._loss(to_stop, 3))
            since += 1
            if loss < best:
                best, since, kept = loss, 0, [w.detach().clone() for w in weights]
            if since > self._PATIENCE:
                break
        with torch.no_grad():
            for weight, value in zip(weights, kept, strict=True):
                weight.copy_(value)

    def simulate(self, tests: Sequence[Test]) -> list[np.ndarray]:
        return [self._run(u) for u, _ in tests]

    def _run(self, u: np.ndarray) -> np.ndarray:
        import torch

        mean_u, scale_u, mean_y, scale_y = self.scales
        with torch.no_grad():
            rows = torch.tensor((u - mean_u) / scale_u, dtype=torch.float32)[None]
            found = self.readout(self.network(rows)[0])[0, :, 0].double().numpy()
        return found * scale_y + mean_y


class JaxSysid:
    """jax-sysid's residual network in a process of its own: it needs an older JAX and NumPy."""

    # its interpreter; ``--jax-python`` sets it
    python = sys.executable

    def __init__(self, records: Sequence[Record], seed: int, **settings: Any) -> None:
        self.records, self.seed, self.settings = records, seed, settings

    @classmethod
    def is_installed(cls) -> bool:
        command = [cls.python, "-c", "import jax_sysid"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def simulate(self, tests: Sequence[Test]) -> list[np.ndarray]:
        """Train, and run freely on each test."""
        script = Path(__file__).with_name("identification_jax.py")
        with tempfile.TemporaryDirectory() as folder:
            task, outcome = Path(folder) / "task.npz", Path(folder) / "outcome.npz"
            arrays: dict[str, Any] = {}
            for i, record in enumerate(self.records):
                arrays |= {f"train_u_{i}": record.u, f"train_y_{i}": record.y}
            for i, (u, first) in enumerate(tests):
                arrays |= {f"test_u_{i}": u, f"test_first_{i}": first}
            np.savez(task, seed=self.seed, **self.settings, **arrays)
            command = [self.python, str(script), str(task), str(outcome)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"jax-sysid failed: {done.stderr[-1000:]}")
            with np.load(outcome) as found:
                return [found[f"y_{i}"] for i in range(len(tests))]
