"""MINPACK's Levenberg-Marquardt, where its Jacobian is small enough."""

from benchmark_utils import compiled
from benchmark_utils.watching import WatchedSolver


class Solver(WatchedSolver):
    """With the exact Jacobian, a NumPy loop over time; bounded by smooth coordinates."""

    name = "Levenberg-Marquardt"

    def skip(self, problem, initial, **_):
        if compiled.is_small(problem, initial):
            return False, None
        return True, "a dense Jacobian would take the whole budget"

    def minimise(self, problem, initial, record):
        compiled.levenberg_marquardt(problem, initial, record)
