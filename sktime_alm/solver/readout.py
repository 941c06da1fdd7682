"""The readout [A D c] that is best at given hidden states: a convex problem of its own.

With the squared loss it is the closed-form block (3.14). With another loss Newton's method goes
on from there: with q_t = [h_t; x_t; 1] and the second derivatives w_t of the loss, each step solves

    (1/T sum_t w_t q_t q_t' + 2 Lambda) step = -gradient,

a least-squares problem weighted anew.
"""

from __future__ import annotations

import numpy as np

from sktime_alm.solver._typing import Array
from sktime_alm.solver.bcd import closed_readout, solve_positive_definite
from sktime_alm.solver.reformulation import ElmanProblem

_MAX_STEPS, _MAX_HALVINGS = 50, 40
# a predicted fall below this share of the objective is rounding
_ROUNDING = 1e-15
# the share of the fall that a step of its length must bring
_ENOUGH = 1e-4


def solve_readout(problem: ElmanProblem, h: Array) -> Array:
    """The best readout at these hidden states, of shape (m, r + n_skip + 1).

    Where several are best, or none is (a unit that separates rows, unpenalised), one that no
    step improves.
    """
    readout = closed_readout(problem, h)
    if problem.is_squared or not np.isfinite(readout).all():
        return readout
    with np.errstate(over="ignore", invalid="ignore"):
        return _Newton(problem, h).run(readout)


class _Newton:
    """Damped Newton steps in the readout, the outputs each with a system of its own."""

    def __init__(self, problem: ElmanProblem, h: Array) -> None:
        self.problem, self.h = problem, h
        self.l2 = problem.regularization.of_readout(h.shape[1], problem.n_skip)
        self.columns = problem.observed(np.hstack([h, problem.skip]))

    def run(self, readout: Array) -> Array:
        """Steps until none falls by more than rounding."""
        best = self.objective(readout)
        if not np.isfinite(best):
            # the targets by themselves are no overflow
            readout = np.zeros_like(readout)
            best = self.objective(readout)
        for _ in range(_MAX_STEPS):
            gradient = self.gradient(readout)
            step = self.step(readout, gradient)
            slope = float(np.vdot(gradient, step))
            if not -slope > _ROUNDING * best:
                break
            before = best
            readout, best = self.search(readout, step, best, slope)
            if not best < before:
                break
        return readout

    def objective(self, readout: Array) -> float:
        """The mean loss and the penalty of the readout."""
        problem = self.problem
        losses = problem.datafit.value(problem.Y, problem.outputs(readout, self.h))
        losses[problem.missing] = 0.0
        value = losses.sum() / problem.n_observed + float((readout**2 @ self.l2).sum())
        return value if np.isfinite(value) else np.inf

    def gradient(self, readout: Array) -> Array:
        """Of the objective, in the shape of the readout."""
        pull = self.problem.pull(readout, self.h)
        return 2.0 * self.l2 * readout - pull.T @ self.columns

    def step(self, readout: Array, gradient: Array) -> Array:
        """The Newton step."""
        weights, step = self.problem.curvature(readout, self.h), np.empty_like(gradient)
        for output, slope in enumerate(gradient):
            matrix = self.columns.T @ (weights[:, output, None] * self.columns)
            matrix.flat[:: len(matrix) + 1] += 2.0 * self.l2
            step[output] = -solve_positive_definite(matrix, slope[:, None])[:, 0]
        return step

    def search(self, readout: Array, step: Array, best: float, slope: float) -> tuple[Array, float]:
        """Along the step, halved until it brings its share, and the objective there.

        Nowhere if nothing does.
        """
        length = 1.0
        for _ in range(_MAX_HALVINGS):
            moved = readout + length * step
            objective = self.objective(moved)
            if objective <= best + _ENOUGH * length * slope:
                return moved, objective
            length *= 0.5
        return readout, best
