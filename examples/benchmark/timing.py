"""The clock of a run outside of benchopt, and where the studies write."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmark_utils.recording import Stopped
from sktime_alm.solver import ElmanParameters

ROOT = Path(__file__).parents[2]


class Trace:
    """The best objective so far against seconds; ``record`` ends a run when time is up."""

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.points: list[tuple[float, float]] = []
        self._began = time.perf_counter()

    @property
    def best(self) -> float:
        return self.points[-1][1] if self.points else np.inf

    def record(self, objective: float | None, _: Callable[[], ElmanParameters]) -> None:
        seconds = time.perf_counter() - self._began
        if seconds > self.budget:
            raise Stopped
        if objective is not None and objective < self.best:
            self.points.append((seconds, float(objective)))

    def time_to(self, objective: float) -> float:
        """Seconds until an objective was reached; infinity if it never was."""
        return next((at for at, reached in self.points if reached <= objective), np.inf)


def output_folder(asked_for: Path | None, is_quick: bool) -> Path:
    """Where results go: the documentation holds those of the full benchmark."""
    default = ROOT / ("benchmark_quick" if is_quick else "docs/benchmark")
    folder = default if asked_for is None else asked_for
    folder.mkdir(parents=True, exist_ok=True)
    return folder
