"""PyTorch's Adam and mini-batch gradient descent."""

from pathlib import Path

from joblib import Memory

from benchmark_utils import torch_training
from benchmark_utils.problems import PROBLEMS
from benchmark_utils.watching import WatchedSolver

# of the budget of a run, for each learning rate and schedule that is tried
_SHARE = 0.1
_MEMORY = Memory(Path(torch_training.__file__).parents[1] / "__cache__", verbose=0)


@_MEMORY.cache
def best_rate(name: str, method: str, seconds: float) -> tuple[float, str]:
    """Chosen once for a problem, on a start that is none of the runs'."""
    problem = PROBLEMS[name]
    return torch_training.best_rate(problem.build(), problem.initial(0), method, seconds)


class Solver(WatchedSolver):
    """The learning rate, 1e-4 to 1, and its schedule are chosen before the clock starts."""

    name = "PyTorch"
    requirements = ["pip::torch"]
    parameters = {"method": ["Adam", "SGD"]}
    test_config = {"method": "Adam"}

    def prepare(self):
        self.rate, self.schedule = best_rate(
            self.name_of_problem, self.method, _SHARE * self.seconds
        )

    def minimise(self, problem, initial, record):
        torch_training.train(
            problem,
            initial,
            record,
            seconds=self.seconds,
            method=self.method,
            learning_rate=self.rate,
            schedule=self.schedule,
        )
