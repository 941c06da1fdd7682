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
from sktime_alm.solver.bcd import hidden_layer_gram
from sktime_alm.solver.contraction import Frame
from sktime_alm.solver.execution import check_interrupt
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.readout import solve_readout
from sktime_alm.solver.reformulation import ElmanProblem, Point, Trial
from sktime_alm.solver.spread import SpreadProblem

# Multiples of the first objective and gradient above which the gradient is that of a cliff:
# the recurrence is unstable there, and fits noise by its sensitivity.
_STEEPEST = 30.0


class Iterate(NamedTuple):
    """A trial in coordinates of the bound, with the gradient of R in these."""

    frame: Frame
    trial: Trial
    gradient: Array

    @property
    def variables(self) -> Array:
        """The coordinates."""
        return self.frame.variables

    @property
    def objective(self) -> float:
        """R."""
        return self.trial.objective


class Mark(NamedTuple):
    """How far a step got, without its states: R, and the norm of its gradient."""

    objective: float
    slope: float

    @classmethod
    def at(cls, iterate: Iterate) -> Mark:
        """Of an iterate."""
        return cls(iterate.objective, float(np.linalg.norm(iterate.gradient)))


def evaluate(
    problem: ElmanProblem | SpreadProblem, hidden_layer: Array, near: Array | None = None
) -> Trial | None:
    """Roll out B and find its best readout; None if the network overflows.

    ``near`` is the readout of a hidden layer not far from B, where the search for that of a loss
    without a closed form begins. A safe place for interrupts, which are raised here.
    """
    check_interrupt()
    if isinstance(problem, SpreadProblem):
        return problem.evaluate(hidden_layer, near)
    if not problem.is_squared:
        with np.errstate(over="ignore", invalid="ignore"):
            u, h = problem.rollout_of(hidden_layer)
        return _evaluate_states(problem, hidden_layer, u, h, near)
    reg, r = problem.regularization, len(hidden_layer)
    # made here, since NumPy asks for large pages where compiled code would not
    u, h, errors = (
        np.empty((problem.n_samples, r)),
        np.empty((problem.n_samples, r)),
        np.empty(problem.targets.shape),
    )
    readout, objective, is_regular = kernels.evaluate(
        u,
        h,
        errors,
        problem.inputs,
        problem.skip,
        problem.skip_gram,
        problem.skip_product,
        problem.targets,
        problem.missing,
        hidden_layer,
        problem.is_start,
        reg.of_hidden_layer(problem.n_inputs, r),
        reg.of_readout(r, problem.n_skip),
        reg.l2_preactivation,
        problem.sigma.kernel,
    )
    if not is_regular:
        return _evaluate_states(problem, hidden_layer, u, h)
    found = Trial(hidden_layer, readout, u, h, errors, objective)
    return found if np.isfinite(objective) else None


def _evaluate_states(
    problem: ElmanProblem, hidden_layer: Array, u: Array, h: Array, near: Array | None = None
) -> Trial | None:
    """The same in NumPy, from the rollout; by least squares where no readout is best."""
    # squares, since it is products of states that the readout is found from
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite((h * h).sum()):
            return None
    readout = solve_readout(problem, h, near)
    parameters = ElmanParameters.from_layers(hidden_layer, readout)
    objective = problem.objective_at(Point(parameters, h, u))
    if not np.isfinite(objective):
        return None
    return Trial(hidden_layer, readout, u, h, problem.errors(readout, h), objective)


def gradient_of(problem: ElmanProblem | SpreadProblem, trial: Trial) -> Array:
    """The gradient of R in B, through the adjoint multipliers; not finite if it overflows."""
    if isinstance(problem, SpreadProblem):
        return problem.gradient(trial.hidden_layer, trial.readout)
    reg, r = problem.regularization, len(trial.hidden_layer)
    xi, zeta = np.empty_like(trial.u), np.empty_like(trial.u)
    return kernels.differentiate(
        xi,
        zeta,
        problem.inputs,
        *trial[:-1],
        problem.n_observed,
        problem.is_end,
        reg.of_hidden_layer(problem.n_inputs, r),
        reg.l2_preactivation,
        problem.sigma.kernel,
    )


def differentiate(
    problem: ElmanProblem | SpreadProblem, frame: Frame, trial: Trial, steepest: float = np.inf
) -> Iterate | None:
    """Complete a trial by the gradient of R in the coordinates.

    None if it overflows, as it may where the rollout does not, or if its norm is above
    ``steepest``: R is a cliff where the recurrence is unstable.
    """
    gradient = problem.contraction.pull_back(frame, gradient_of(problem, trial))
    steepness = np.linalg.norm(gradient)
    if not (np.isfinite(steepness) and steepness <= steepest):
        return None
    return Iterate(frame, trial, gradient)


def iterate_at(
    problem: ElmanProblem | SpreadProblem, hidden_layer: Array, steepest: float = np.inf
) -> Iterate | None:
    """The rollout of a hidden layer with all that a step needs; None as in differentiate.

    Where W is on its bound the iterate is a little inside.
    """
    frame = problem.contraction.frame_of(hidden_layer)
    trial = evaluate(problem, frame.hidden_layer)
    return None if trial is None else differentiate(problem, frame, trial, steepest)


def steepest_from(iterate: Iterate) -> float:
    """The largest norm of the gradient that a descent from here may meet."""
    return _STEEPEST * max(iterate.objective, float(np.linalg.norm(iterate.gradient)))


def penalty_of(problem: ElmanProblem | SpreadProblem, trial: Trial) -> float:
    """The penalty at which the augmented Lagrangian is as curved in u as the data term.

    2/T times the mean squared norm of a column of A. Much less and the auxiliary states
    fit the noise, much more and a step is short.
    """
    A = trial.readout[:, : len(trial.hidden_layer)]
    curvature = 2.0 / problem.n_observed * float(np.einsum("ij,ij->", A, A)) / A.shape[1]
    # a network without a readout has none; the metric must be positive definite
    return max(curvature, np.finfo(float).tiny)


def metric(problem: ElmanProblem | SpreadProblem, trial: Trial) -> Array:
    """The matrix of the weight block (3.14), damped: gamma P'P + 2 Lambda + mean diagonal.

    It is what the augmented Lagrangian is curved by in a row of B. The damping, a
    proximal term of the size of the mean curvature, keeps directions that the states
    hardly visit from being stepped along far. It counts inputs in units of their sizes.
    """
    h, r = trial.h, len(trial.hidden_layer)
    gram = (
        problem.hidden_layer_gram(trial)
        if isinstance(problem, SpreadProblem)
        else hidden_layer_gram(problem, h, h.T @ h)
    )
    matrix = penalty_of(problem, trial) * gram
    # a view of the matrix
    diagonal = matrix.reshape(-1)[:: len(matrix) + 1]
    diagonal += 2.0 * problem.regularization.of_hidden_layer(problem.n_inputs, r)
    units = np.ones(len(matrix))
    units[r:-1] = problem.contraction.sizes
    mean = max(np.mean(diagonal / units**2), np.finfo(float).tiny)
    diagonal += mean * units**2
    return matrix


def metric_at(problem: ElmanProblem | SpreadProblem, iterate: Iterate) -> Array:
    """The metric in the coordinates of an iterate."""
    return problem.contraction.metric_of(metric(problem, iterate.trial))
