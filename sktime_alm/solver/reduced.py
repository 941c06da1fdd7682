"""R as a function of the hidden layer [W V b] alone (variable projection).

At given hidden states the best readout is the closed-form block (3.14). With it put in,

    R(B) = min over A, D, c of R(A, D, c, B, rollout),   B = [W V b] of shape (r, r + n + 1),

has the gradient of R in B at that readout, where R is stationary in the readout already.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sktime_alm.solver import kernels
from sktime_alm.solver._typing import Array
from sktime_alm.solver.bcd import hidden_layer_gram, solve_readout
from sktime_alm.solver.elman import ElmanParameters
from sktime_alm.solver.lagrangian import backpropagate, gradient_in_hidden_layer
from sktime_alm.solver.reformulation import ElmanProblem, Point


class Trial(NamedTuple):
    """The rollout of B with a readout [A D c], its errors y - A h - D x - c, and R."""

    hidden_layer: Array
    readout: Array
    u: Array
    h: Array
    errors: Array
    objective: float

    @property
    def point(self) -> Point:
        """As a feasible point s."""
        parameters = ElmanParameters.from_layers(self.hidden_layer, self.readout)
        return Point(parameters, self.h, self.u)


class Iterate(NamedTuple):
    """A trial with the gradient of R in B."""

    trial: Trial
    gradient: Array

    @property
    def hidden_layer(self) -> Array:
        """B = [W V b]."""
        return self.trial.hidden_layer

    @property
    def objective(self) -> float:
        """R."""
        return self.trial.objective


def evaluate(problem: ElmanProblem, hidden_layer: Array) -> Trial | None:
    """Roll out B and find its best readout; None if the network overflows."""
    if not hasattr(problem.sigma, "kernel"):
        return _evaluate_states(problem, hidden_layer, *problem.rollout_of(hidden_layer))
    reg, r = problem.regularization, len(hidden_layer)
    # made here, since NumPy asks for large pages where compiled code would not
    u, h, errors = (
        np.empty((problem.n_samples, r)),
        np.empty((problem.n_samples, r)),
        np.empty(problem.Y.shape),
    )
    readout, objective, is_regular = kernels.evaluate(
        u,
        h,
        errors,
        problem.inputs,
        problem.skip,
        problem.skip_gram,
        problem.skip_product,
        problem.Y,
        problem.missing,
        hidden_layer,
        problem.is_start,
        reg.of_hidden_layer(problem.n_inputs, r),
        reg.of_readout(r, problem.n_skip),
        reg.l2_preactivation,
        *problem.sigma.kernel,
    )
    if not is_regular:
        return _evaluate_states(problem, hidden_layer, u, h)
    found = Trial(hidden_layer, readout, u, h, errors, objective)
    return found if np.isfinite(objective) else None


def _evaluate_states(
    problem: ElmanProblem, hidden_layer: Array, u: Array, h: Array
) -> Trial | None:
    """The same in NumPy, from the rollout; by least squares where no readout is best."""
    if not np.isfinite((h * h).sum()):
        return None
    readout = solve_readout(problem, h)
    errors = problem.errors(readout, h)
    objective = problem.objective_of(hidden_layer, readout, errors, u)
    if not np.isfinite(objective):
        return None
    return Trial(hidden_layer, readout, u, h, errors, objective)


def differentiate(problem: ElmanProblem, trial: Trial, steepest: float = np.inf) -> Iterate | None:
    """Complete a trial by the gradient, through the adjoint multipliers.

    None if it overflows, as it may where the rollout does not, or if its norm is above
    ``steepest``: R is a cliff where the recurrence is unstable.
    """
    hidden_layer, readout, u, h, errors, _ = trial
    r = len(hidden_layer)
    if hasattr(problem.sigma, "kernel"):
        reg = problem.regularization
        xi, zeta = np.empty_like(u), np.empty_like(u)
        gradient = kernels.differentiate(
            xi,
            zeta,
            problem.inputs,
            *trial[:-1],
            problem.n_observed,
            problem.is_end,
            reg.of_hidden_layer(problem.n_inputs, r),
            reg.l2_preactivation,
            *problem.sigma.kernel,
        )
    else:
        zeta = np.dot((2.0 / problem.n_observed) * errors, readout[:, :r])
        xi = backpropagate(problem, hidden_layer[:, :r], u, zeta)
        gradient = gradient_in_hidden_layer(problem, hidden_layer, h, xi)
    steepness = np.linalg.norm(gradient)
    if not (np.isfinite(steepness) and steepness <= steepest):
        return None
    return Iterate(trial, gradient)


def iterate_at(
    problem: ElmanProblem, hidden_layer: Array, steepest: float = np.inf
) -> Iterate | None:
    """The rollout of a hidden layer with all that a step needs; None as in differentiate."""
    trial = evaluate(problem, hidden_layer)
    return None if trial is None else differentiate(problem, trial, steepest)


def penalty_of(problem: ElmanProblem, trial: Trial) -> float:
    """The penalty at which the augmented Lagrangian is as curved in u as the data term.

    2/T times the mean squared norm of a column of A. Much less and the auxiliary states
    fit the noise, much more and a step is short.
    """
    A = trial.readout[:, : len(trial.hidden_layer)]
    curvature = 2.0 / problem.n_observed * float(np.einsum("ij,ij->", A, A)) / A.shape[1]
    return max(curvature, np.finfo(float).tiny)


def metric(problem: ElmanProblem, trial: Trial) -> Array:
    """The matrix of the weight block (3.14), damped: gamma P'P + 2 Lambda + mean diagonal.

    It is what the augmented Lagrangian is curved by in a row of B. The damping, a
    proximal term of the size of the mean curvature, keeps directions that the states
    hardly visit from being stepped along far.
    """
    h, reg = trial.h, problem.regularization
    matrix = penalty_of(problem, trial) * hidden_layer_gram(problem, h, h.T @ h)
    matrix.flat[:: len(matrix) + 1] += 2.0 * reg.of_hidden_layer(problem.n_inputs, h.shape[1])
    matrix.flat[:: len(matrix) + 1] += max(np.trace(matrix) / len(matrix), np.finfo(float).tiny)
    return matrix
