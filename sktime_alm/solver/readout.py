"""The readout [A D c] that is best at given hidden states: a convex problem of its own.

With the squared loss it is the closed-form block (3.14). With another loss Newton's method goes
on from there: with q_t = [h_t; x_t; 1] and the second derivatives w_t of the loss, each step solves

    (1/T sum_t w_t q_t q_t' + 2 Lambda) step = -gradient,

a least-squares problem weighted anew.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sktime_alm.solver._typing import Array
from sktime_alm.solver.bcd import closed_readout, solve_positive_definite
from sktime_alm.solver.reformulation import ElmanProblem, TrainingProblem

_MAX_STEPS, _MAX_HALVINGS = 50, 40
# a predicted fall below this share of the objective is rounding, and below the second one the
# step after it would be: close to the optimum the shares are squared from step to step
_ROUNDING, _LAST = 1e-15, 1e-12
# the share of the fall that a step of its length must bring
_ENOUGH = 1e-4


def solve_readout(problem: ElmanProblem, h: Array, near: Array | None = None) -> Array:
    """The best readout at these hidden states, of shape (m, r + n_skip + 1).

    Where several are best, or none is (a unit that separates rows, unpenalised), one that no
    step improves. Newton's method begins at ``near``, the best one at states not far from these,
    or else at that of least squares.
    """
    if near is None or problem.is_squared:
        near = closed_readout(problem, h)
    if problem.is_squared or not np.isfinite(near).all():
        return near
    columns = problem.observed(np.hstack([h, problem.skip]))
    with np.errstate(over="ignore", invalid="ignore"):
        return newton(
            problem,
            near,
            lambda readout: problem.loss(readout, h),
            lambda readout: expansion_of(problem, h, columns, readout),
        )


def expansion_of(
    problem: ElmanProblem, h: Array, columns: Array, readout: Array
) -> tuple[Array, Array]:
    """Gradient and second derivatives of the sum of the losses in the readout.

    Parameters
    ----------
    columns : array of shape (T, q)
        The rows q_t, 0 where y is missing.

    Returns
    -------
    gradient : array of shape (m, q)
    matrices : array of shape (m, q, q)
        Those of each output, whose losses are curved by themselves.
    """
    gradient = -2.0 * problem.errors(readout, h).T @ columns
    roots = np.sqrt(problem.n_observed * problem.curvature(readout, h))
    weighted = [of_output[:, None] * columns for of_output in roots.T]
    # of a matrix with its own transpose BLAS computes one half
    return gradient, np.array([rows.T @ rows for rows in weighted])


def newton(
    problem: TrainingProblem,
    readout: Array,
    loss: Callable[[Array], float],
    expansion: Callable[[Array], tuple[Array, Array]],
) -> Array:
    """Damped Newton steps in the readout, until none lowers the objective by more than rounding.

    Parameters
    ----------
    problem : TrainingProblem
    readout : array of shape (m, q)
        Where they begin.
    loss, expansion : callable
        The sum of the losses at a readout, and its derivatives.
    """
    l2 = problem.regularization.of_readout(readout.shape[1] - problem.n_skip - 1, problem.n_skip)

    def objective(readout: Array) -> float:
        value = loss(readout) / problem.n_observed + float((readout**2 @ l2).sum())
        return value if np.isfinite(value) else np.inf

    best, of_targets = objective(readout), problem.loss_of_targets / problem.n_observed
    if not best <= of_targets:
        # from far up an exponential each step is as long as the last one: from 0 it is near
        readout, best = np.zeros_like(readout), of_targets
    for _ in range(_MAX_STEPS):
        of_losses, matrices = expansion(readout)
        gradient = of_losses / problem.n_observed + 2.0 * l2 * readout
        step = _step(gradient, matrices / problem.n_observed, l2)
        slope = float(np.vdot(gradient, step))
        if not -slope > _ROUNDING * best:
            break
        before = best
        readout, best = _search(objective, readout, step, best, slope)
        if not best < before or -slope <= _LAST * before:
            break
    return readout


def _step(gradient: Array, matrices: Array, l2: Array) -> Array:
    """The Newton step, the outputs each with a system of its own."""
    step = np.empty_like(gradient)
    for output, slope in enumerate(gradient):
        matrix = matrices[output]
        matrix.flat[:: len(matrix) + 1] += 2.0 * l2
        step[output] = -solve_positive_definite(matrix, slope[:, None])[:, 0]
    return step


def _search(
    objective: Callable[[Array], float], readout: Array, step: Array, best: float, slope: float
) -> tuple[Array, float]:
    """Along the step, halved until it brings its share, and the objective there.

    Nowhere if nothing does.
    """
    length = 1.0
    for _ in range(_MAX_HALVINGS):
        moved = readout + length * step
        reached = objective(moved)
        if reached <= best + _ENOUGH * length * slope:
            return moved, reached
        length *= 0.5
    return readout, best
