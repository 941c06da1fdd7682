"""Algorithm 3.1."""

from benchmark_utils import ours
from benchmark_utils.watching import WatchedSolver


class Solver(WatchedSolver):
    """With default settings; it has no bound on W."""

    name = "paper"

    def skip(self, problem, **_):
        if problem.max_recurrence < float("inf"):
            return True, "the paper's method has no bound on W"
        return False, None

    def minimise(self, problem, initial, record):
        ours.paper(problem, initial, record)
