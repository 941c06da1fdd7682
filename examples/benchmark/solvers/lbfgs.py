"""SciPy's L-BFGS-B on all weights."""

from benchmark_utils import compiled
from benchmark_utils.watching import WatchedSolver


class Solver(WatchedSolver):
    """On our compiled objective and gradient; bounded by smooth coordinates."""

    name = "L-BFGS-B"

    def minimise(self, problem, initial, record):
        compiled.lbfgs(problem, initial, record)
