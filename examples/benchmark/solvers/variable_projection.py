"""SciPy's L-BFGS-B on the hidden layer, with the best readout put in."""

from benchmark_utils import compiled
from benchmark_utils.watching import WatchedSolver


class Solver(WatchedSolver):
    """On our compiled objective and gradient; bounded by smooth coordinates."""

    name = "variable projection"

    def minimise(self, problem, initial, record):
        compiled.variable_projection(problem, initial, record)
