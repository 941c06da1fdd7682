"""How a solver's run becomes benchopt's curve: the weights so far against seconds of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
from benchopt import BaseSolver
from benchopt.stopping_criterion import StoppingCriterion

from benchmark_utils.problems import PROBLEMS
from benchmark_utils.recording import Stopped
from sktime_alm.solver import ElmanParameters

# an evaluation of R at every iteration up to 20, then whenever their number has grown by a
# twentieth; they are on no one's clock
_GROWTH = 1.05
# evaluations of R that compile everything and touch memory before the clock starts
_N_WARM_UP = 50


class Budget(StoppingCriterion):
    """Stop when the seconds of the problem are used up, those of evaluating R not counted."""

    def __init__(self, strategy="callback", key_to_monitor=None, minimize=True):
        super().__init__(strategy=strategy, key_to_monitor=key_to_monitor, minimize=minimize)

    def check_convergence(self, objective_list):
        used = objective_list[-1]["time"] / self.solver.seconds
        return used >= 1.0, min(used, 1.0)


class WatchedSolver(BaseSolver):
    """A solver given by ``minimise(problem, initial, record)``, as those of ``compiled``."""

    sampling_strategy = "callback"

    def set_objective(self, name, problem, initial, seconds):
        self.name_of_problem, self.problem, self.initial = name, problem, initial
        self.seconds = seconds
        self.prepare()

    def prepare(self):
        """What is chosen before the clock starts."""

    def minimise(self, problem, initial, record):
        raise NotImplementedError

    def get_next(self, stop_val):
        return max(stop_val + 1, int(_GROWTH * stop_val))

    def warm_up(self):
        is_large = PROBLEMS[self.name_of_problem].is_large
        # what a large problem compiles a small one compiles, too
        problem, initial = self.problem, self.initial
        if is_large:
            small = PROBLEMS["synthetic-10"]
            problem, initial = small.build(), small.initial(0)
        n_left = _N_WARM_UP

        def callback() -> bool:
            nonlocal n_left
            n_left -= 1
            return n_left > 0

        self._minimise(problem, initial, callback)

    def run(self, callback):
        self._minimise(self.problem, self.initial, callback)

    def restart_clock(self):
        """Leave out the time since the last report: a compilation."""
        if hasattr(self.callback, "start"):
            self.callback.start()

    def _minimise(self, problem, initial, callback) -> None:
        best, self.callback = np.inf, callback
        self.found = lambda: initial

        def record(objective: float | None, parameters: Callable[[], ElmanParameters]) -> None:
            nonlocal best
            # without an objective the weights are the last ones, otherwise the best
            if objective is None or objective < best:
                best = np.inf if objective is None else objective
                self.found = parameters
            if not callback():
                raise Stopped

        with np.errstate(all="ignore"), suppress(Stopped):
            record(None, lambda: initial)
            self.minimise(problem, initial, record)

    def get_result(self):
        return {"parameters": self.found()}
