"""The quadratic program of a step of :mod:`active_set`: R to second order, with kinks and the rim.

    min d  g'd + d'M d/2 + sum over kinks k of -zeta_k [sigma(u_k + J_k d) - a_k (u_k + J_k d)],

M = |H| + damping, over the kinks nearby that are convex (zeta_k < 0), and such that no singular
value of W that is not held comes to lie above the bound: s_j + (dW)_j <= rho to first order. Its
dual, in one y_k = -zeta_k (new a_k - a_k) for each kink and one y_j >= 0 for each singular value,
has nothing but bounds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh, qr, solve_triangular

from sktime_alm.solver import slopes as compiled
from sktime_alm.solver._typing import Array, BoolArray, IntArray
from sktime_alm.solver.curvature import Expansion, Piece, rollout_on
from sktime_alm.solver.optimality import relative_size
from sktime_alm.solver.reduced import evaluate
from sktime_alm.solver.reformulation import ElmanProblem, Trial
from sktime_alm.solver.rim import Rim

# pre-activations of held units are not brought nearer to 0 than this
_ROUNDING = 1e-13


class Step(NamedTuple):
    """A step of the quadratic program in the (whitened, tangential) variables.

    ``held`` are the units (into u, flat) that it holds, ``rows`` their sensitivities and ``u``
    their values now; ``slopes`` those of all units then; ``gradient`` the one of the Lagrangian.
    ``rim_rows`` are the derivatives of the singular values of W that it brings to the bound, and
    ``rim_gaps``, at most 0, how far above it they are now.
    """

    d: Array
    gradient: Array
    held: IntArray
    rows: Array
    u: Array
    slopes: Array
    residual: float
    predicted: float
    rim_rows: Array
    rim_gaps: Array


class Local:
    """The quadratic program with kinks at one point."""

    def __init__(self, problem: ElmanProblem, model: Expansion, near_rim: float) -> None:
        self.problem, self.model = problem, model
        self.rim: Rim | None = None
        r = len(model.trial.hidden_layer)
        self.recurrence = np.zeros((r, r))
        self.tangent: Array | None = None
        self.rim_rows, self.rim_gaps = np.zeros((0, model.gradient.size)), np.zeros(0)
        H, g, rows = model.hessian, model.gradient, model.rows
        if problem.contraction.is_bounded and not problem.contraction.has_scaling:
            H = self._hold_rim(near_rim, H)
        if self.tangent is not None:
            Z = self.tangent
            H, g, rows = Z.T @ (H @ Z), g @ Z, rows @ Z
            self.rim_rows = self.rim_rows @ Z
        self.H, self.g, self.rows = H, g, rows
        # downhill as far along directions in which R is concave as if it were convex
        values, self.V = eigh(H, check_finite=False, driver="evd")
        self.curvature = np.maximum(np.abs(values), 1e-8 * np.abs(values).max())
        self.g_along, self.rows_along = g @ self.V, rows @ self.V
        self.rim_along = self.rim_rows @ self.V
        # the length of the shortest step that brings a unit to its kink
        u = np.abs(model.states.u.flat[model.units])
        self.reach = u / np.maximum(compiled.row_norms(rows), 1e-300)

    def is_off_rim(self, tolerance: float) -> bool:
        """Whether a singular value that is held is further from its bound than a tolerance."""
        rim = self.rim
        return rim is not None and rim.values[rim.k - 1] < (1.0 - tolerance) * rim.bound

    def _hold_rim(self, near_rim: float, H: Array) -> Array:
        """Find which singular values are held, and add the curvature of the rim to H."""
        r, q = self.model.trial.hidden_layer.shape
        W, to_W = self.model.trial.hidden_layer[:, :r], self.model.inverse[:, :r]
        rim, multipliers = self._active(Rim.of(W, self.problem.max_recurrence, near_rim))
        self._constrain(rim, W)
        if not rim.k:
            return H
        self.rim, k = rim, rim.k
        self.recurrence = (rim.U[:, :k] * multipliers) @ rim.V[:, :k].T
        # steps stay tangential, and are snapped onto the rim where they end
        C = self._whitened(rim.normals)
        self.tangent = qr(C.T, check_finite=False)[0][:, len(C) :]
        bent = rim.curvature(multipliers).reshape(r, r, r, r)
        bent = np.einsum("pj,ijkl,ql->ipkq", to_W, bent, to_W, optimize=True)
        return H + bent.reshape(r * q, r * q)

    def _active(self, rim: Rim) -> tuple[Rim, Array]:
        """The singular values near the bound whose multipliers are positive, with these."""
        if not rim.k:
            return rim, np.zeros(0)
        # kinks that are held balance a part of the gradient too: both multipliers at once
        model, normals = self.model, rim.normals
        is_held = model.piece.held.flat[model.units]
        both = np.vstack([self._whitened(normals), model.rows[is_held]])
        nu = np.linalg.lstsq(both.T, -model.gradient, rcond=None)[0]
        of_rim = -np.tensordot(nu[: len(normals)], normals, 1)
        return rim.released(rim.multiplier(of_rim))

    def _constrain(self, rim: Rim, W: Array) -> None:
        """What the bound asks, to first order, of the singular values that are not held."""
        U, V = rim.U[:, rim.k :], rim.V[:, rim.k :]
        self.rim_gaps = np.einsum("ai,ab,bi->i", U, W, V) - rim.bound
        self.rim_rows = self._whitened(np.einsum("ai,bi->iab", U, V))

    def _whitened(self, of_W: Array) -> Array:
        """Gradients in W, (k, r, r), in the whitened variables."""
        whitened = of_W @ self.model.inverse[:, : of_W.shape[1]].T
        return whitened.reshape(len(of_W), self.model.gradient.size)

    def solve(self, damping: float, most: int) -> Step:
        """The step at a damping, through the dual of the quadratic program."""
        inverse = 1.0 / (self.curvature + damping)
        along = -inverse * self.g_along
        # kinks that the step without kinks does not reach have no part in it
        near = np.flatnonzero(self.reach <= np.linalg.norm(along))
        if len(near) > most:
            near = np.sort(near[np.argsort(self.reach[near], kind="stable")[:most]])
        rows = np.vstack([self.rows_along[near], self.rim_along])
        gaps = np.append(self.model.states.u.flat[self.model.units[near]], self.rim_gaps)
        v = gaps + rows @ along
        low, high = self._limits(near, v)
        y = np.clip(np.zeros(len(v)), low, high)
        if len(v):
            y = compiled.box_minimum((rows * inverse) @ rows.T, v, low, high, y)
        # a slope strictly within its interval is that of a unit at its kink
        edge = 1e-7 * (high - low)
        inside = (y > low + edge) & (y < high - edge)
        return self._step(near, y, inside[: len(near)], along - inverse * (y @ rows), damping)

    def _limits(self, near: IntArray, v: Array) -> tuple[Array, Array]:
        """The bounds on y: an interval for each kink, [0, inf) for each singular value."""
        model, slope, n_rim = self.model, self.problem.sigma.kernel[1], len(self.rim_gaps)
        index = model.units[near]
        zeta, base = model.states.zeta.flat[index], model.piece.slopes.flat[index]
        # a kink with zeta > 0 is concave: kept on its side, left if it was held
        side = np.where(v[: len(near)] > 0.0, 1.0, slope)
        leave = np.where(model.piece.held.flat[index], -zeta * (side - base), 0.0)
        low = np.where(zeta < 0.0, -zeta * (slope - base), leave)
        high = np.where(zeta < 0.0, -zeta * (1.0 - base), leave)
        return np.append(low, np.zeros(n_rim)), np.append(high, np.full(n_rim, np.inf))

    def _step(
        self, near: IntArray, y: Array, inside: BoolArray, along: Array, damping: float
    ) -> Step:
        y, of_rim = y[: len(near)], y[len(near) :]
        model = self.model
        index = model.units[near]
        zeta, slopes = model.states.zeta.flat[index], model.piece.slopes.copy()
        change = np.divide(y, zeta, out=np.zeros_like(y), where=zeta != 0.0)
        least = self.problem.sigma.kernel[1]
        slopes.flat[index] = np.clip(slopes.flat[index] - change, least, 1.0)
        gradient = self.g + y @ self.rows[near] + of_rim @ self.rim_rows
        left = model.plain(self._of_all(gradient))
        residual = relative_size(self.problem, model.trial.objective, left)
        predicted = 0.5 * float(along @ ((self.curvature + damping) * along))
        held = index[inside]
        return Step(
            self.V @ along,
            gradient,
            held,
            self.rows[near[inside]],
            model.states.u.flat[held],
            slopes,
            residual,
            predicted,
            self.rim_rows[of_rim > 0.0],
            self.rim_gaps[of_rim > 0.0],
        )

    def unwhitened(self, d: Array) -> Array:
        """A step in B."""
        return self.model.step(self._of_all(d))

    def _of_all(self, tangential: Array) -> Array:
        """In all whitened variables."""
        return tangential if self.tangent is None else self.tangent @ tangential

    def admitted(self, hidden_layer: Array) -> Array:
        """The nearest weights within the bound, on the rim where it is held."""
        if self.rim is None:
            return self.problem.contraction.nearest(hidden_layer)
        return self.rim.snapped(hidden_layer)


class Restoration:
    """Puts weights back onto the kinks of a step's held units."""

    def __init__(self, local: Local, step: Step) -> None:
        self.local, self.step = local, step
        self.held = np.zeros(step.slopes.shape, bool)
        self.held.flat[step.held] = True
        self.is_possible = False
        if 0 < len(step.rows) <= step.rows.shape[1]:
            self.Q, self.R = qr(step.rows.T, mode="economic", check_finite=False)
            diagonal = np.abs(np.diag(self.R))
            self.is_possible = bool(diagonal.min() > 1e-8 * diagonal.max())

    def onto_kinks(self) -> Array | None:
        """The shortest step onto the kinks, to first order; None if they are where they should be.

        It is a candidate of its own.
        """
        if not self.is_possible or np.abs(self.step.u).max() <= _ROUNDING:
            return None
        return self.normal(self.step.u)

    def normal(self, u: Array) -> Array:
        """The shortest step that changes the held pre-activations by -u."""
        return -self.Q @ solve_triangular(self.R, u, trans=1, check_finite=False)

    def at(self, d: Array, rounds: int = 6) -> Trial | None:
        """The trial at a step d, with the held units on their kinks."""
        local, problem, first = self.local, self.local.problem, np.inf
        here = local.model.trial.hidden_layer
        B = plain = local.admitted(here + local.unwhitened(d))
        piece = Piece(self.held, local.model.piece.slopes)
        for _ in range(rounds if self.is_possible else 0):
            u = rollout_on(problem, B, piece)[0].flat[self.step.held]
            size = float(np.abs(u).max())
            if not size <= 10.0 * first:
                B = plain
                break
            first = min(first, size)
            if size <= 1e-15:
                break
            B = local.admitted(B + local.unwhitened(self.normal(u)))
        return evaluate(problem, B)


def newton_step(H: Array, step: Step) -> Array | None:
    """The minimiser of the Lagrangian's model with the held units on their kinks.

    None unless H is positive definite on what they leave free.
    """
    n, rank = len(H), 0
    Q, y = np.eye(n), np.empty(0)
    rows, u = np.vstack([step.rows, step.rim_rows]), np.append(step.u, step.rim_gaps)
    if len(rows):
        Q, R, order = qr(rows.T, pivoting=True, check_finite=False)
        diagonal = np.abs(np.diag(R))
        rank = int((diagonal > 1e-8 * diagonal[0]).sum())
        y = -solve_triangular(R[:rank, :rank], u[order[:rank]], trans=1)
    normal, Z = Q[:, :rank] @ y, Q[:, rank:]
    if rank == n:
        return normal
    try:
        factor = cho_factor(Z.T @ (H @ Z), check_finite=False)
    except np.linalg.LinAlgError:
        return None
    return normal - Z @ cho_solve(factor, Z.T @ (step.gradient + H @ normal))
