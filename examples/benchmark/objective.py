"""The objective of the solver benchmark: R of (2.6), bounded where the problem is."""

import numpy as np
from benchopt import BaseObjective

from benchmark_utils.problems import PROBLEMS
from benchmark_utils.watching import Budget

# a large problem has so many times the seconds of the others
_LARGE = 6.0


class Objective(BaseObjective):
    """R of the weights that a solver has found; infinite where they break the bound on W."""

    name = "R"
    min_benchopt_version = "1.10"
    requirements = ["pip::sktime-alm"]
    parameters = {"seconds": [10.0]}
    test_config = {"seconds": 0.2, "dataset": {"name": "unbounded", "problem": "synthetic-10"}}
    sampling_strategy = "callback"
    stopping_criterion = Budget()

    def skip(self, name):
        if PROBLEMS[name].is_available:
            return False, None
        return True, f"{PROBLEMS[name].file} is not in the folder data"

    def set_data(self, name):
        self.problem_name, self.problem = name, PROBLEMS[name].build()

    def get_objective(self):
        # numbers drawn for a repetition: the same start for every solver
        seed = self.get_seed(use_repetition=True, use_dataset=True)
        is_large = PROBLEMS[self.problem_name].is_large
        return {
            "name": self.problem_name,
            "problem": self.problem,
            "initial": PROBLEMS[self.problem_name].initial(seed),
            "seconds": self.seconds * (_LARGE if is_large else 1.0),
        }

    def evaluate_result(self, parameters):
        with np.errstate(all="ignore"):
            value = self.problem.objective(parameters) if parameters.is_finite() else np.inf
        norm = np.linalg.norm(parameters.W, 2) if np.isfinite(value) else np.nan
        return {"value": value, "recurrence": float(norm)}

    def get_one_result(self):
        return {"parameters": PROBLEMS[self.problem_name].initial(0)}
