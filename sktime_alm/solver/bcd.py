"""Block coordinate descent (Algorithm 3.2) on the augmented Lagrangian.

A sweep minimises L over the weights, the hidden states and the pre-activations in turn,
each in closed form. The paper's systems are Kronecker products with an identity; here
only their small factor is solved, of size r + n + 1, r + 1 and r.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.linalg import lstsq
from scipy.linalg.lapack import dposv

from sktime_alm.solver._typing import Array
from sktime_alm.solver.elman import ElmanParameters
from sktime_alm.solver.lagrangian import Multipliers, lipschitz_constants
from sktime_alm.solver.optimality import stationarity
from sktime_alm.solver.reformulation import ElmanProblem, Point


def update_parameters(
    problem: ElmanProblem, h: Array, u: Array, multipliers: Multipliers, gamma: float
) -> ElmanParameters:
    """(3.14): the weights that minimise L at given hidden states and pre-activations.

    With the rows p_t = [h_{t-1}; x_t; 1] of P and q_t = [h_t; 1] of Q,

        (gamma P'P + 2 diag(l2_recurrent, l2_input, l2_bias)) [W V b]' = P'(xi + gamma u)
        (2/T Q'Q + 2 diag(l2_readout, l2_readout_bias)) [A c]' = 2/T Q'Y.
    """
    reg, r, n = problem.regularization, h.shape[1], problem.n_inputs
    ones = np.ones((problem.n_samples, 1))

    P = np.hstack([problem.previous_states(h), problem.X, ones])
    hidden_layer = _solve_ridge(
        gamma * (P.T @ P), 2.0 * reg.of_hidden_layer(n, r), P.T @ (multipliers.xi + gamma * u)
    ).T

    Q = np.hstack([h, ones])
    weight = 2.0 / problem.n_samples
    readout = _solve_ridge(
        weight * (Q.T @ Q), 2.0 * reg.of_readout(r), weight * (Q.T @ problem.Y)
    ).T
    return ElmanParameters(
        A=readout[:, :r],
        W=hidden_layer[:, :r],
        V=hidden_layer[:, r : r + n],
        b=hidden_layer[:, r + n],
        c=readout[:, r],
    )


def update_hidden_states(
    problem: ElmanProblem,
    parameters: ElmanParameters,
    u: Array,
    multipliers: Multipliers,
    gamma: float,
) -> Array:
    """(3.15), (3.18): the hidden states that minimise L; shape (T, r).

    Row t solves D1 h_t = d1_t with D1 = 2/T A'A + gamma I + gamma W'W, and the last row
    of a sequence, which feeds no next one, D2 h_t = d2_t without the terms in W.
    """
    A, W, V, b, c = parameters.arrays()
    xi, zeta = multipliers
    weight = 2.0 / problem.n_samples
    fed_forward = problem.next_rows(xi + gamma * (u - problem.X @ V.T - b)) @ W
    of_target = weight * ((problem.Y - c) @ A)
    d = fed_forward + gamma * problem.sigma.value(u) - zeta + of_target

    D2 = weight * (A.T @ A) + gamma * np.eye(len(W))
    D1 = D2 + gamma * (W.T @ W)
    ends = problem.ends
    h = _solve_positive_definite(D1, d.T).T
    h[ends] = _solve_positive_definite(D2, d[ends].T).T
    return h


def update_preactivations(
    problem: ElmanProblem,
    parameters: ElmanParameters,
    h: Array,
    u: Array,
    multipliers: Multipliers,
    gamma: float,
    mu: float,
) -> Array:
    """(3.16): the pre-activations that minimise L + mu/2 ||. - u||^2; shape (T, r)."""
    theta1 = problem.drive(parameters, h) - multipliers.xi / gamma
    theta2 = h + multipliers.zeta / gamma
    l2 = problem.regularization.l2_preactivation
    return problem.sigma.prox(theta1, theta2, u, gamma, mu, l2)


def sweep(
    problem: ElmanProblem, point: Point, multipliers: Multipliers, gamma: float, mu: float
) -> Point:
    """One pass over the three blocks: weights, hidden states, pre-activations."""
    parameters = update_parameters(problem, point.h, point.u, multipliers, gamma)
    h = update_hidden_states(problem, parameters, point.u, multipliers, gamma)
    u = update_preactivations(problem, parameters, h, point.u, multipliers, gamma, mu)
    return Point(parameters, h, u)


def _solve_ridge(gram: Array, penalty: Array, rhs: Array) -> Array:
    """Solve (gram + diag(penalty)) x = rhs; ``gram`` is overwritten."""
    gram.flat[:: len(gram) + 1] += penalty
    return _solve_positive_definite(gram, rhs)


def _solve_positive_definite(matrix: Array, rhs: Array) -> Array:
    """Solve by Cholesky; by least squares where a zero penalty leaves the matrix singular."""
    # LAPACK itself: at these sizes the checks of scipy.linalg.cho_solve cost more than it
    _, solution, info = dposv(matrix, rhs)
    if info == 0:
        return solution
    if not np.isfinite(matrix).all():
        return np.full_like(rhs, np.nan)
    return lstsq(matrix, rhs, check_finite=False)[0]


class SweepRule(Protocol):
    """Decides whether the sweeps may stop at a point, given the one before it."""

    def __call__(self, point: Point, previous: Point) -> bool:
        """Whether to stop at ``point``."""


def stationary_to(
    problem: ElmanProblem, multipliers: Multipliers, gamma: float, eps: float
) -> SweepRule:
    """Condition (3.6), evaluated directly: dist(0, dL(s)) <= eps."""

    def rule(point: Point, previous: Point) -> bool:
        return stationarity(problem, point, multipliers, gamma).norm <= eps

    return rule


def step_within(
    problem: ElmanProblem,
    multipliers: Multipliers,
    gamma: float,
    mu: float,
    eps: float,
    level: float,
) -> SweepRule:
    """Condition (3.17), corrected: ||s_j - s_{j-1}|| <= eps / sqrt(L1^2 + L2^2 + mu^2).

    It implies (3.6) but is so much stricter that it never fires at usual sizes.
    """
    threshold = eps / np.linalg.norm([*lipschitz_constants(problem, multipliers, gamma, level), mu])

    def rule(point: Point, previous: Point) -> bool:
        return bool(distance(point, previous) <= threshold)

    return rule


def distance(point: Point, other: Point) -> float:
    """Euclidean distance of two points s over all their blocks."""
    arrays = zip(
        (*point.parameters.arrays(), point.h, point.u),
        (*other.parameters.arrays(), other.h, other.u),
        strict=True,
    )
    return float(np.linalg.norm([np.linalg.norm(a - b) for a, b in arrays]))


def descend(
    problem: ElmanProblem,
    point: Point,
    multipliers: Multipliers,
    gamma: float,
    mu: float,
    max_sweeps: int,
    may_stop: SweepRule,
) -> tuple[Point, int]:
    """Algorithm 3.2: sweep until the rule holds, ``max_sweeps`` or a number overflows.

    Returns
    -------
    point : Point
        The last one; not finite after an overflow.
    n_sweeps : int
    """
    n_sweeps, is_done = 0, False
    while n_sweeps < max_sweeps and not is_done:
        previous, point = point, sweep(problem, point, multipliers, gamma, mu)
        n_sweeps += 1
        is_done = not point.is_finite() or may_stop(point, previous)
    return point, n_sweeps
