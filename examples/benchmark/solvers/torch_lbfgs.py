"""PyTorch's L-BFGS."""

from benchmark_utils import torch_training
from benchmark_utils.watching import WatchedSolver


class Solver(WatchedSolver):
    """With the strong Wolfe conditions, on PyTorch's own gradient."""

    name = "PyTorch L-BFGS"
    requirements = ["pip::torch"]

    def minimise(self, problem, initial, record):
        torch_training.lbfgs(problem, initial, record)
