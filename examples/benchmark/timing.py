"""The clock of a run: the best objective so far against seconds, within a budget."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sktime_alm.solver import ElmanParameters

ROOT = Path(__file__).parents[2]
# a run whose objective rises to this many times that of the start has diverged
_BLOW_UP = 1e3


class Stopped(Exception):
    """The budget is used up."""


class Diverged(Stopped):
    """The objective is not finite, or far above that of the start."""


class Trace:
    """What a solver reports to.

    Solvers call :meth:`record` with every R that they know; it raises :class:`Stopped` when
    the budget is used up. Work that a user of the solver would not do, such as evaluating R
    on all rows for a method that sees some, goes into :meth:`paused`.
    """

    def __init__(self, budget: float, initial_objective: float) -> None:
        self.budget = budget
        self.initial_objective = initial_objective
        self.points: list[tuple[float, float]] = [(0.0, initial_objective)]
        self.parameters: ElmanParameters | None = None
        self.restart()

    def restart(self) -> None:
        """Start the clock anew, after a compilation."""
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    @property
    def best(self) -> float:
        return self.points[-1][1]

    @contextmanager
    def paused(self) -> Iterator[None]:
        before = time.perf_counter()
        yield
        self._began += time.perf_counter() - before

    def record(self, objective: float, parameters: ElmanParameters | None = None) -> None:
        seconds = self.seconds
        if seconds > self.budget:
            raise Stopped
        if objective < self.best:
            self.points.append((seconds, float(objective)))
            self.parameters = parameters

    def check(self, objective: float) -> None:
        """Raise :class:`Diverged` if an iterate, not a trial of a line search, is far off."""
        if not np.isfinite(objective) or objective > _BLOW_UP * max(1.0, self.initial_objective):
            raise Diverged

    def thinned(self, per_decade: int = 20) -> list[tuple[float, float]]:
        """The last point of every slot of the logarithm of time: the best by then."""
        slots = {
            round(per_decade * float(np.log10(max(seconds, 1e-6)))): (seconds, objective)
            for seconds, objective in self.points
        }
        return list(slots.values())


def output_folder(asked_for: Path | None, is_quick: bool) -> Path:
    """Where results go: the documentation holds those of the full benchmark."""
    default = ROOT / ("benchmark_quick" if is_quick else "docs/benchmark")
    folder = default if asked_for is None else asked_for
    folder.mkdir(parents=True, exist_ok=True)
    return folder
