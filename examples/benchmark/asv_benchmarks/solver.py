"""The pieces of a fit, at three sizes: rows, inputs, outputs, units."""

import numpy as np

from sktime_alm.solver import ElmanProblem, Regularization, train
from sktime_alm.solver.bcd import sweep
from sktime_alm.solver.initialization import initialize
from sktime_alm.solver.lagrangian import Multipliers
from sktime_alm.solver.reduced import evaluate, gradient_of


class Pieces:
    """Evaluation of R, its gradient, a sweep of the paper, a short fit."""

    params = ([(393, 11, 1, 20), (450, 80, 30, 100), (10_000, 11, 1, 20)],)
    param_names = ["T, n, m, r"]

    def setup(self, shape):
        T, n, m, r = shape
        rng = np.random.default_rng(0)
        self.X, self.Y = rng.uniform(-1.0, 1.0, (T, n)), rng.normal(size=(T, m))
        self.problem = ElmanProblem(self.X, self.Y, Regularization.scaled(1.0, n, r, m))
        parameters = initialize("glorot", n, r, m, np.random.default_rng(0))
        self.hidden_layer = parameters.hidden_layer
        self.point = self.problem.feasible_point(parameters)
        self.none = Multipliers.zeros(T, r)
        trial = evaluate(self.problem, self.hidden_layer)
        assert trial is not None
        self.trial = trial

    def time_evaluate(self, shape):
        evaluate(self.problem, self.hidden_layer)

    def time_gradient(self, shape):
        gradient_of(self.problem, self.trial)

    def time_sweep(self, shape):
        sweep(self.problem, self.point, self.none, 1.0, 1e-5)

    def time_three_iterations(self, shape):
        train(self.X, self.Y, shape[3], random_state=0, max_iter=3, max_inner_iter=5)
