"""Ours: the default method."""

from benchmark_utils import ours
from benchmark_utils.watching import WatchedSolver


class Solver(WatchedSolver):
    """With defaults; told to look on by relaxation; the descent alone."""

    name = "safeguarded"
    parameters = {"mode": ["default", "look-on", "descent-alone"]}
    test_config = {"mode": "default"}

    def minimise(self, problem, initial, record):
        ours.safeguarded(problem, initial, record, self.mode)
