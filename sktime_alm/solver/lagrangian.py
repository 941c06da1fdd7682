"""The augmented Lagrangian (3.1) and its gradient blocks (Lemma 3.1).

    L = R + <xi, C1> + <zeta, C2> + gamma/2 ||C1||^2 + gamma/2 ||C2||^2

With gamma = 0 it is the plain Lagrangian, whose gradients give the KKT residuals.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sktime_alm.solver import kernels
from sktime_alm.solver._typing import Array
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.reformulation import (
    ElmanProblem,
    Point,
    Sums,
    TrainingProblem,
    roots,
    squares,
)


class Multipliers(NamedTuple):
    """xi of the constraint C1 and zeta of C2, each of shape (T, r)."""

    xi: Array
    zeta: Array

    @classmethod
    def zeros_at(cls, problem: TrainingProblem, point: Point) -> Multipliers:
        """Table 2: xi = zeta = 0, where the states of the point are."""
        return cls(*problem.keep(_zeros, states=(point.h,)))

    @classmethod
    def zeros(cls, n_samples: int, hidden_size: int) -> Multipliers:
        """The same of states that are here."""
        return cls(np.zeros((n_samples, hidden_size)), np.zeros((n_samples, hidden_size)))


def adjoint_multipliers(problem: ElmanProblem, point: Point) -> Multipliers:
    """The multipliers that make L stationary in h and u at a feasible point without kinks.

    Backpropagation through time in the order t = T, ..., 1, xi_{t+1} being 0 after the
    end of a sequence:

        zeta_t = W' xi_{t+1} - 2/T A'(A h_t + D x_t + c - y_t),
        xi_t = zeta_t sigma'(u_t) - 2 l2_preactivation u_t.

    With them the gradient of L in the weights is that of the rolled-out objective. At a
    kink of sigma its derivative from the left is used.
    """
    parameters, h, u = point
    zeta = np.dot(problem.pull(parameters.readout, h), parameters.A)
    return Multipliers(backpropagate(problem, parameters.W, u, zeta), zeta)


def backpropagate(problem: ElmanProblem, W: Array, u: Array, zeta: Array) -> Array:
    """Complete zeta = -2/T A'(A h + D x + c - y) by W' xi_{t+1} in place, and return xi."""
    l2 = problem.regularization.l2_preactivation
    # every entry is written by the recursion
    xi = np.empty_like(u)
    kernels.adjoint(zeta, xi, u, np.ascontiguousarray(W), problem.is_end, l2, problem.sigma.kernel)
    return xi


class Gradient(NamedTuple):
    """The blocks of the subdifferential of L at a point.

    ``hidden_layer`` in [W V b], ``readout`` in [A D c] and ``h`` of shape (T, r) are gradients.
    In the pre-activations L is smooth up to sigma: its limiting subdifferential is
    ``u_smooth - u_slope d sigma(u)``, that is s - q d sigma(u) with
    s = 2 l2 u + xi + gamma C1 and q = zeta + gamma C2.
    """

    hidden_layer: Array
    readout: Array
    h: Array
    u_smooth: Array
    u_slope: Array

    @property
    def parameters(self) -> ElmanParameters:
        """The gradient in the weights, in their shapes."""
        return ElmanParameters.from_layers(self.hidden_layer, self.readout)


def augmented_lagrangian(
    problem: TrainingProblem, point: Point, multipliers: Multipliers, gamma: float
) -> float:
    """L(s, xi, zeta, gamma) of (3.1)."""
    (of_constraints,) = at_rows(problem.total, _of_constraints, point, multipliers, gamma)
    return problem.objective_at(point) + float(of_constraints)


def at_rows(
    ask: Callable[..., Any],
    function: Callable[..., Sums],
    point: Point,
    multipliers: Multipliers,
    *arguments: Any,
) -> Any:
    """``problem.total`` or ``.keep``, as asked, of a function of a part at a point.

    That of ``function(part, point, multipliers, *arguments)``, both with the rows of the part.
    """
    parameters, *states = point
    of_part = partial(_of_part, function)
    return ask(of_part, parameters, *arguments, states=(*states, *multipliers))


def _of_part(
    function: Callable[..., Sums],
    problem: ElmanProblem,
    h: Array,
    u: Array,
    xi: Array,
    zeta: Array,
    parameters: ElmanParameters,
    *arguments: Any,
) -> Sums:
    return function(problem, Point(parameters, h, u), Multipliers(xi, zeta), *arguments)


def _of_constraints(
    problem: ElmanProblem, point: Point, multipliers: Multipliers, gamma: float
) -> Sums:
    C1, C2 = problem.constraints(point)
    xi, zeta = multipliers
    return (np.vdot(xi + 0.5 * gamma * C1, C1) + np.vdot(zeta + 0.5 * gamma * C2, C2),)


def update_multipliers(
    problem: TrainingProblem, point: Point, multipliers: Multipliers, gamma: float
) -> Multipliers:
    """(3.7): xi + gamma C1 and zeta + gamma C2."""
    return Multipliers(*at_rows(problem.keep, _updated, point, multipliers, gamma))


def _updated(
    problem: ElmanProblem, point: Point, multipliers: Multipliers, gamma: float
) -> Multipliers:
    C1, C2 = problem.constraints(point)
    return Multipliers(multipliers.xi + gamma * C1, multipliers.zeta + gamma * C2)


def norms(problem: TrainingProblem, multipliers: Multipliers) -> tuple[float, ...]:
    """||xi|| and ||zeta||."""
    return roots(*problem.total(_squares_of_states, states=multipliers))


def _zeros(problem: ElmanProblem, h: Array) -> Sums:
    return np.zeros_like(h), np.zeros_like(h)


def _squares_of_states(problem: ElmanProblem, *states: Array) -> Sums:
    return squares(*states)


def gradient(
    problem: ElmanProblem, point: Point, multipliers: Multipliers, gamma: float
) -> Gradient:
    """All blocks of the subdifferential of L in s = (z, h, u); Lemma 3.1 (iii), (iv).

    L depends on (xi, zeta, gamma) through xi + gamma C1 and zeta + gamma C2 alone once it
    is differentiated, so these updated multipliers are all that is needed.
    """
    parameters, h, _ = point
    # what a KKT residual is, at gamma = 0, needs no constraints
    if gamma != 0.0:
        multipliers = _updated(problem, point, multipliers, gamma)
    xi, zeta = multipliers
    of_objective = objective_gradient(problem, point)
    # of its own, and so changed in place
    hidden_layer = of_objective.hidden_layer
    hidden_layer -= problem.regressor_product(h, xi).T
    of_h = of_objective.h + zeta
    of_h -= problem.fed_back(parameters.W, xi)
    u_smooth = of_objective.u_smooth + xi
    return Gradient(hidden_layer, of_objective.readout, of_h, u_smooth, zeta)


def objective_gradient(problem: ElmanProblem, point: Point) -> Gradient:
    """The gradient of R(s) itself, in which ``u_slope`` has no part."""
    parameters, h, u = point
    pull = problem.pull(parameters.readout, h)
    reg, r = problem.regularization, h.shape[1]
    hidden_layer, readout = reg.gradient(parameters.hidden_layer, parameters.readout)
    readout[:, :r] -= pull.T @ h
    readout[:, r:] -= pull.T @ problem.skip
    of_h, of_u = np.dot(-pull, parameters.A), 2.0 * reg.l2_preactivation * u
    return Gradient(hidden_layer, readout, of_h, of_u, np.zeros(()))


def lipschitz_constants(
    problem: TrainingProblem, multipliers: Multipliers, gamma: float, level: float
) -> tuple[float, float]:
    """L1 and L2 of (3.4) on the level set {s : L(s) <= level}, corrected.

    On that set grad_z L is L1-Lipschitz in (h, u), and grad_h L is L2-Lipschitz in u.
    Against the paper, delta_1 holds delta_0^2 (not delta_2), and L2 needs no factor
    sqrt(T) since W acts on each row by itself. They are infinite where a penalty is 0.
    """
    xi_norm, zeta_norm = norms(problem, multipliers)
    reg, ell = problem.regularization, problem.sigma.lipschitz
    (T, r), m = multipliers.xi.shape, problem.n_outputs
    of_X, largest_targets, largest_skips = problem.total(_sizes_of_rows)
    at_zero = abs(float(problem.sigma.value(np.zeros(1))[0])) * np.sqrt(T * r)

    delta = level + (xi_norm**2 + zeta_norm**2) / (2.0 * gamma)
    # in NumPy's numbers, of which a division by 0 is infinite
    with np.errstate(divide="ignore"):
        u_bound = np.sqrt(delta / np.float64(reg.l2_preactivation))
        hidden_layer = np.float64(min(reg.l2_recurrent, reg.l2_input, reg.l2_bias))
        w_bound = np.sqrt(delta / hidden_layer)
        a_bound = np.sqrt(delta / np.min(reg.of_readout(r, problem.n_skip)))
        recurrent_bound = np.sqrt(delta / np.float64(reg.l2_recurrent))
    delta_0 = np.sqrt(2.0 * delta / gamma) + ell * u_bound + at_zero + zeta_norm / gamma
    delta_1 = np.sqrt(r * (delta_0**2 + of_X + T))
    delta_2 = 2.0 * gamma * delta_1 * np.sqrt(r) * w_bound
    delta_3 = np.sqrt(r) * (xi_norm + gamma * u_bound)
    largest_skip = max(largest_skips)
    of_readout = 2.0 * np.sqrt(m * (delta_0**2 + largest_skip**2)) * a_bound + max(largest_targets)
    delta_4 = 2.0 * np.sqrt(m / problem.n_observed) * of_readout

    L1 = np.sqrt(2.0) * max(gamma * delta_1, delta_2 + delta_3 + delta_4)
    L2 = gamma * (recurrent_bound + ell)
    return float(L1), float(L2)


def _sizes_of_rows(problem: ElmanProblem) -> Sums:
    """||X||^2, and in lists, which add up to longer ones, the largest rows of Y and of [x; 1]."""
    largest = (np.linalg.norm(rows, axis=1).max() for rows in (problem.targets, problem.skip))
    return (float(np.vdot(problem.X, problem.X)), *([size] for size in largest))
