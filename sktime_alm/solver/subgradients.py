"""The certificate of a network: multipliers at its kinks that leave the least stationarity.

At a pre-activation u = 0 the slope a of a piecewise linear activation is free: anything between
those of its two sides where zeta < 0, the slope of a side where zeta >= 0 (the limiting
subdifferential of -zeta sigma). The adjoint recursion turns slopes into multipliers, and so
into a gradient in the weights, whose norm a Gauss-Newton method with bounds makes smallest:
d gradient / d a_k = -zeta_k J_k', with the sensitivities J = du/dB at the same slopes.
"""

from __future__ import annotations

import numpy as np

from sktime_alm.solver import slopes as compiled
from sktime_alm.solver._typing import Array, BoolArray
from sktime_alm.solver.curvature import (
    Piece,
    States,
    adjoint_at,
    is_split,
    regressors,
    rollout_on,
    sensitivities_at,
)
from sktime_alm.solver.lagrangian import Multipliers, adjoint_multipliers
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.optimality import Certificate, certify, in_units
from sktime_alm.solver.reformulation import ElmanProblem, Point, Trial
from sktime_alm.solver.rim import Rim

# pre-activations so small, relative to their root mean square and the tolerance, are at a kink
_AT_KINK = 1e-3
_MAX_ROUNDS, _MAX_HALVINGS = 20, 12
# the kinks with zeta >= 0 whose side is looked for by trying either
_MAX_FLIPS = 12
# the slopes that a step moves: many times the weights that they have to balance
_MOST_MOVED = 300


def certify_network(
    problem: ElmanProblem, parameters: ElmanParameters, tolerance: float
) -> tuple[Certificate, Point, Multipliers]:
    """KKT residuals of a network, at the multipliers that make them small.

    Returns
    -------
    certificate : Certificate
    point : Point
        The rollout with the pre-activations that are at a kink, up to rounding, set to 0.
    multipliers : Multipliers
    """
    point = problem.feasible_point(parameters)
    multipliers = adjoint_multipliers(problem, point)
    certificate = certify(problem, point, multipliers, tolerance)
    at_kink = find_kinks(problem, point.u, _AT_KINK * tolerance)
    if certificate.is_kkt or not at_kink.any():
        return certificate, point, multipliers
    search = _Search(problem, parameters, at_kink, tolerance)
    search.run()
    at_zero, multipliers = search.point, search.multipliers
    found = certify(problem, at_zero, multipliers, tolerance)
    if found.residual <= certificate.residual:
        return found, at_zero, multipliers
    return certificate, point, adjoint_multipliers(problem, point)


def balanced_piece(problem: ElmanProblem, trial: Trial, tolerance: float) -> Piece:
    """The slopes at the kinks of a trial that leave the least of the gradient.

    Held are the kinks whose slopes are strictly between those of the two sides.
    """
    at_kink = find_kinks(problem, trial.u, tolerance)
    if not at_kink.any():
        return Piece.at(problem, trial.u)
    search = _Search(problem, trial.point.parameters, at_kink, tolerance)
    search.run()
    return Piece(at_kink & is_split(problem, search.slopes), search.slopes)


def find_kinks(problem: ElmanProblem, u: Array, tolerance: float) -> BoolArray:
    """Which of u are 0 relative to their size, at a kink of a piecewise linear activation.

    Units that are never on are left out: they stay as they are, at slope 0 or the leaky one.
    """
    if not problem.sigma.has_kink:
        return np.zeros(u.shape, bool)
    size = np.sqrt(np.mean(u * u))
    is_alive = u.max(axis=0) > tolerance * size
    return (np.abs(u) <= tolerance * size) & is_alive


class _Search:
    """The slopes at the kinks of a network, and what they leave of the gradient."""

    def __init__(
        self,
        problem: ElmanProblem,
        parameters: ElmanParameters,
        at_kink: BoolArray,
        tolerance: float,
    ) -> None:
        self.problem, self.parameters, self.at_kink = problem, parameters, at_kink
        self.index = np.flatnonzero(at_kink)
        self.least = float(problem.sigma.kernel[1])
        # held units are linear with slope 0: at u = 0 that is where they are, to rounding
        nothing = np.zeros(at_kink.shape)
        u, h = rollout_on(problem, parameters.hidden_layer, Piece(at_kink, nothing))
        u[at_kink] = 0.0
        self.point = Point(parameters, h, u)
        self.errors = problem.errors(parameters.readout, h)
        self.P = regressors(problem, h)
        self.rim = Rim.of(parameters.W, problem.max_recurrence, tolerance)
        self.slopes = problem.sigma.derivative(u)
        self.states = self._states()

    @property
    def multipliers(self) -> Multipliers:
        return Multipliers(self.states.xi, self.states.zeta)

    def run(self) -> None:
        """Find the slopes."""
        free = np.ones(len(self.index), bool)
        for _ in range(_MAX_ROUNDS):
            self._descend(free)
            inside, zeta = self.slopes.flat[self.index], self.states.zeta.flat[self.index]
            # where zeta >= 0 the limiting subdifferential has the two sides and nothing between
            is_off = (zeta >= 0.0) & is_split(self.problem, inside)
            is_sound = self._release_rim()
            if not is_off.any() and is_sound:
                break
            nearest = np.where(inside > 0.5 * (1.0 + self.least), 1.0, self.least)
            self._move(np.where(is_off, nearest, inside))
            free &= ~is_off
        self._flip(free)

    def _flip(self, free: BoolArray) -> None:
        """Try the other side at kinks with zeta >= 0."""
        sided = np.flatnonzero(self.states.zeta.flat[self.index] >= 0.0)
        # one after the other: all choices together are two to the power of their number
        if len(sided) > _MAX_FLIPS:
            return
        free = free.copy()
        free[sided] = False
        for k in sided:
            before, best = self.slopes.flat[self.index].copy(), self._size()
            trial = before.copy()
            trial[k] = 1.0 + self.least - trial[k]
            self._move(trial)
            self._descend(free)
            zeta, inside = self.states.zeta.flat[self.index], self.slopes.flat[self.index]
            is_off = (zeta >= 0.0) & is_split(self.problem, inside)
            if is_off.any() or not self._size() < best:
                self._move(before)

    def _descend(self, free: BoolArray) -> None:
        """Gauss-Newton steps in the slopes that are free, each halved until the norm falls."""
        for _ in range(_MAX_ROUNDS):
            before, here = self._size(), self.slopes.flat[self.index].copy()
            # a slope acts through the rows before it as well, so that the model is not exact
            change = np.zeros(len(here))
            change[free] = self._gauss_newton(free, here[free])
            length, is_lower = 1.0, False
            for _ in range(_MAX_HALVINGS):
                self._move(here + length * change)
                is_lower = self._size() < before
                if is_lower:
                    break
                length *= 0.5
            if not is_lower:
                self._move(here)
            if not self._size() < (1.0 - 1e-3) * before:
                return

    def _gauss_newton(self, free: BoolArray, slopes: Array) -> Array:
        """The change of the free slopes that makes the linear model smallest, within bounds."""
        index = self.index[free]
        if not len(index):
            return np.zeros(0)
        W, shape = self.parameters.W, self.parameters.hidden_layer.shape
        J = sensitivities_at(self.problem, W, self.slopes, self.P, index).reshape(-1, *shape)
        rows = self._measured(-self.states.zeta.flat[index][:, None, None] * J)
        # a unit near 0 at all times has kinks without number: those that gain most by themselves
        wanted = -rows @ self._measured(self._gradient()[None])[0]
        room = np.where(wanted > 0.0, 1.0 - slopes, slopes - self.least)
        squares = np.maximum(np.einsum("ij,ij->i", rows, rows), np.finfo(float).tiny)
        gains = np.abs(wanted) * np.minimum(room, np.abs(wanted) / squares)
        most = np.argsort(-gains, kind="stable")[:_MOST_MOVED]
        rows, here, b, zero = rows[most], slopes[most], wanted[most], np.zeros(len(most))
        change = np.zeros(len(index))
        change[most] = compiled.box_minimum(rows @ rows.T, b, self.least - here, 1.0 - here, zero)
        return change

    def _move(self, slopes: Array) -> None:
        self.slopes.flat[self.index] = np.clip(slopes, self.least, 1.0)
        self.states = self._states()

    def _states(self) -> States:
        problem, (parameters, h, u) = self.problem, self.point
        W, readout = parameters.W, parameters.readout
        xi, zeta = adjoint_at(problem, W, readout, u, self.slopes, self.errors)
        return States(u, h, self.errors, zeta, xi)

    def _gradient(self) -> Array:
        problem, layer = self.problem, self.parameters.hidden_layer
        l2 = problem.regularization.of_hidden_layer(problem.n_inputs, len(layer))
        return 2.0 * l2 * layer - self.states.xi.T @ self.P

    def _measured(self, gradients: Array) -> Array:
        """Gradients in the units of the data, flat, without what the rim can balance."""
        scaled = in_units(self.problem, self.rim.unbalanced(gradients))
        return scaled.reshape(len(gradients), -1)

    def _size(self) -> float:
        return float(np.linalg.norm(self._measured(self._gradient()[None])))

    def _release_rim(self) -> bool:
        """Drop the directions of the rim with a negative multiplier; whether there were none."""
        W = self._gradient()[:, : len(self.rim.U)]
        before = self.rim.k
        self.rim, _ = self.rim.released(self.rim.multiplier(W))
        return self.rim.k == before
