"""R as a function of the hidden layer [W V b] alone (variable projection).

At given hidden states the best readout is the closed-form block (3.14). With it put in,

    R(B) = min over A, c of R(A, c, B, rollout),   B = [W V b] of shape (r, r + n + 1),

has the gradient of R in B at that readout, where R is stationary in the readout already.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sktime_alm.solver._typing import Array
from sktime_alm.solver.bcd import hidden_layer_gram, solve_readout
from sktime_alm.solver.elman import ElmanParameters
from sktime_alm.solver.lagrangian import Multipliers, adjoint_multipliers, gradient_in_hidden_layer
from sktime_alm.solver.reformulation import ElmanProblem, Point


class Iterate(NamedTuple):
    """A feasible point with the best readout, its objective, multipliers and gradient in B."""

    point: Point
    objective: float
    multipliers: Multipliers
    gradient: Array

    @property
    def hidden_layer(self) -> Array:
        """B = [W V b]."""
        return self.point.parameters.hidden_layer


def evaluate(problem: ElmanProblem, hidden_layer: Array) -> tuple[Point, float]:
    """The rollout with the best readout, and R there; infinity if the network overflows."""
    m, r = problem.n_outputs, len(hidden_layer)
    parameters = ElmanParameters.from_layers(hidden_layer, np.zeros((m, r + 1)))
    u, h = problem.rollout(parameters)
    gram = h.T @ h
    if not np.isfinite(gram).all():
        return Point(parameters, h, u), np.inf
    readout = solve_readout(problem, h, gram)
    point = Point(ElmanParameters.from_layers(hidden_layer, readout), h, u)
    return point, problem.objective_at(point)


def iterate_at(
    problem: ElmanProblem, hidden_layer: Array, steepest: float = np.inf
) -> Iterate | None:
    """The rollout of a hidden layer with all that a step needs; None as in differentiate."""
    point, objective = evaluate(problem, hidden_layer)
    return differentiate(problem, point, objective, steepest) if np.isfinite(objective) else None


def differentiate(
    problem: ElmanProblem, point: Point, objective: float, steepest: float = np.inf
) -> Iterate | None:
    """Complete a point of :func:`evaluate` by its adjoint multipliers and its gradient.

    None if they overflow, as they may where the rollout does not, or if the norm of the
    gradient is above ``steepest``: R is a cliff where the recurrence is unstable.
    """
    multipliers = adjoint_multipliers(problem, point)
    gradient = gradient_in_hidden_layer(problem, point, multipliers.xi)
    steepness = np.linalg.norm(gradient)
    if not (np.isfinite(steepness) and steepness <= steepest):
        return None
    return Iterate(point, objective, multipliers, gradient)


def penalty_of(problem: ElmanProblem, point: Point) -> float:
    """The penalty at which the augmented Lagrangian is as curved in u as the data term.

    2/T times the mean squared norm of a column of A. Much less and the auxiliary states
    fit the noise, much more and a step is short.
    """
    A = point.parameters.A
    return max(2.0 / problem.n_samples * float(np.vdot(A, A)) / A.shape[1], np.finfo(float).tiny)


def metric(problem: ElmanProblem, point: Point) -> Array:
    """The matrix of the weight block (3.14), damped: gamma P'P + 2 Lambda + mean diagonal.

    It is what the augmented Lagrangian is curved by in a row of B. The damping, a
    proximal term of the size of the mean curvature, keeps directions that the states
    hardly visit from being stepped along far.
    """
    h, reg = point.h, problem.regularization
    matrix = penalty_of(problem, point) * hidden_layer_gram(problem, h, h.T @ h)
    matrix.flat[:: len(matrix) + 1] += 2.0 * reg.of_hidden_layer(problem.n_inputs, h.shape[1])
    matrix.flat[:: len(matrix) + 1] += max(np.trace(matrix) / len(matrix), np.finfo(float).tiny)
    return matrix
