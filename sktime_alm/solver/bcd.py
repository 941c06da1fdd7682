"""Block coordinate descent (Algorithm 3.2) on the augmented Lagrangian.

A sweep minimises L over the weights, the hidden states and the pre-activations in turn,
each in closed form. The paper's systems are Kronecker products with an identity; here
only their small factor is solved, of size r + n + 1, r + 1 and r.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.linalg import lstsq
from scipy.linalg.lapack import dposv, dpotrf, dtrtri

from sktime_alm.solver import kernels
from sktime_alm.solver._typing import Array
from sktime_alm.solver.execution import check_interrupt, time_is_up
from sktime_alm.solver.lagrangian import Multipliers, lipschitz_constants
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.optimality import stationarity
from sktime_alm.solver.reformulation import ElmanProblem, Point, Sums, TrainingProblem, squares


def update_parameters(
    problem: TrainingProblem, h: Array, u: Array, multipliers: Multipliers, gamma: float
) -> ElmanParameters:
    """(3.14): the weights that minimise L at given hidden states and pre-activations.

    With the rows p_t = [h_{t-1}; x_t; 1] of P and q_t = [h_t; x_t; 1] of Q,

        (gamma P'P + 2 diag(l2_recurrent, l2_input, l2_bias)) [W V b]' = P'(xi + gamma u)
        (2/T Q'Q + 2 diag(l2_readout, l2_skip, l2_readout_bias)) [A D c]' = 2/T Q'Y.

    Without a linear skip q_t is [h_t; 1]. Of Q and Y only the rows with targets count.
    """
    gram, rhs, *of_readout = problem.total(_systems, gamma, states=(h, u, multipliers.xi))
    penalty = 2.0 * problem.regularization.of_hidden_layer(problem.n_inputs, rhs.shape[1])
    hidden_layer = _solve_ridge(gamma * gram, penalty, rhs).T
    return ElmanParameters.from_layers(hidden_layer, readout_of(problem, *of_readout))


def _systems(problem: ElmanProblem, h: Array, u: Array, xi: Array, gamma: float) -> Sums:
    """The sums over rows of both systems."""
    # h'h is most of both systems
    gram = h.T @ h
    # in place: an array of T x r less in every sweep
    rows = gamma * u
    rows += xi
    rhs = problem.regressor_product(h, rows)
    return hidden_layer_gram(problem, h, gram), rhs, *readout_sums(problem, h, gram)


def hidden_layer_gram(problem: ElmanProblem, h: Array, gram: Array) -> Array:
    """P'P of (3.14), given h'h: the rows of P hold all states but the last of each sequence."""
    r, last = h.shape[1], h[problem.ends]
    product = np.empty((r + problem.n_inputs + 1,) * 2)
    product[:r, :r] = gram - last.T @ last
    product[:r, r:] = problem.previous_product(h, problem.inputs)
    product[r:, :r] = product[:r, r:].T
    product[r:, r:] = problem.input_gram
    return product


def closed_readout(problem: ElmanProblem, h: Array) -> Array:
    """[A D c] of (3.14), of shape (m, r + n + 1), or [A c] without a linear skip.

    That of the squared loss, with which other losses begin.
    """
    return readout_of(problem, *readout_sums(problem, h))


def readout_sums(
    problem: ElmanProblem, h: Array, gram: Array | None = None
) -> tuple[Array, Array, Array]:
    """h'h, h's and h'Y over the rows with targets, s = [x; 1] or [1].

    ``gram``, h'h of all rows, can be passed by a caller that has it.
    """
    observed = problem.observed(h)
    if gram is None or len(problem.missing):
        gram = observed.T @ observed
    return gram, observed.T @ problem.skip, np.dot(observed.T, problem.targets)


def readout_of(problem: TrainingProblem, gram: Array, cross: Array, product: Array) -> Array:
    """[A D c] of (3.14) from its sums over rows."""
    weight, r = 2.0 / problem.n_observed, len(gram)
    matrix = weight * np.block([[gram, cross], [cross.T, problem.skip_gram]])
    rhs = weight * np.vstack([product, problem.skip_product])
    return _solve_ridge(matrix, 2.0 * problem.regularization.of_readout(r, problem.n_skip), rhs).T


def update_hidden_states(
    problem: ElmanProblem,
    parameters: ElmanParameters,
    u: Array,
    multipliers: Multipliers,
    gamma: float,
    input_drive: Array | None = None,
) -> Array:
    """(3.15), (3.18): the hidden states that minimise L; shape (T, r).

    Row t solves D1 h_t = d1_t with D1 = 2/T A'A + gamma I + gamma W'W, and the last row
    of a sequence, which feeds no next one, D2 h_t = d2_t without the terms in W. Rows without
    targets are without the terms in A.
    ``input_drive``, V x_t + b, can be passed by a caller that has it.
    """
    A, W = parameters.A, parameters.W
    if input_drive is None:
        input_drive = problem.input_drive(parameters)
    weight = 2.0 / problem.n_observed
    rows = kernels.weighted_rows(u, input_drive, multipliers.xi, gamma)
    d = problem.fed_back(W, rows)
    kernels.add_own_terms(d, u, multipliers.zeta, gamma, problem.sigma.kernel)
    targets = problem.targets_of_states(parameters.readout, len(W))
    d += np.dot(weight * targets, A, out=rows)

    D2 = weight * (A.T @ A)
    D2.flat[:: len(D2) + 1] += gamma
    of_next = gamma * (W.T @ W)
    ends, missing = problem.ends, problem.missing
    # many right sides of few unknowns: a product with the inverse is many times faster
    h = np.matmul(d, inverse_of(D2 + of_next), out=rows)
    h[ends] = solve_positive_definite(D2, d[ends].T).T
    if len(missing):
        of_next.flat[:: len(of_next) + 1] += gamma
        h[missing] = d[missing] @ inverse_of(of_next)
        missing_ends = np.intersect1d(missing, ends)
        h[missing_ends] = d[missing_ends] / gamma
    return h


def update_preactivations(
    problem: ElmanProblem,
    parameters: ElmanParameters,
    h: Array,
    u: Array,
    multipliers: Multipliers,
    gamma: float,
    mu: float,
    input_drive: Array | None = None,
) -> Array:
    """(3.16): the pre-activations that minimise L + mu/2 ||. - u||^2; shape (T, r).

    ``input_drive``, V x_t + b, can be passed by a caller that has it.
    """
    if input_drive is None:
        input_drive = problem.input_drive(parameters)
    xi, zeta = multipliers
    l2 = problem.regularization.l2_preactivation
    drive = problem.recurrent_drive(parameters.W, h)
    drive += input_drive
    kind, slope, *_ = problem.sigma.kernel
    if kind == kernels.PIECEWISE_LINEAR:
        kernels.update_preactivations(drive, h, u, xi, zeta, gamma, mu, l2, slope)
        return drive
    return problem.sigma.prox(drive - xi / gamma, h + zeta / gamma, u, gamma, mu, l2)


def sweep(
    problem: TrainingProblem, point: Point, multipliers: Multipliers, gamma: float, mu: float
) -> Point:
    """One pass over the three blocks: weights, hidden states, pre-activations."""
    check_interrupt()
    # the weights come first: they need sums over all rows, and what follows none
    _, h, u = point
    parameters = update_parameters(problem, h, u, multipliers, gamma)
    states = problem.keep(_update_states, parameters, gamma, mu, states=(u, *multipliers))
    return Point(parameters, *states)


def _update_states(
    problem: ElmanProblem,
    u: Array,
    xi: Array,
    zeta: Array,
    parameters: ElmanParameters,
    gamma: float,
    mu: float,
) -> Sums:
    """The blocks that each row of a sequence has a part of: hidden states, pre-activations."""
    drive, multipliers = problem.input_drive(parameters), Multipliers(xi, zeta)
    h = update_hidden_states(problem, parameters, u, multipliers, gamma, drive)
    u = update_preactivations(problem, parameters, h, u, multipliers, gamma, mu, drive)
    return h, u


def _solve_ridge(gram: Array, penalty: Array, rhs: Array) -> Array:
    """Solve (gram + diag(penalty)) x = rhs; ``gram`` is overwritten."""
    gram.flat[:: len(gram) + 1] += penalty
    return solve_positive_definite(gram, rhs)


def inverse_of(matrix: Array) -> Array:
    """The inverse of a symmetric positive definite matrix; NaN if it is not one."""
    factor, info = dpotrf(matrix, lower=1, clean=1)
    if info != 0:
        return np.full_like(matrix, np.nan)
    # by L^-T L^-1: a product is faster than what LAPACK's dpotri does
    inverse_factor, _ = dtrtri(factor, lower=1)
    return inverse_factor.T @ inverse_factor


def solve_positive_definite(matrix: Array, rhs: Array) -> Array:
    """Solve by Cholesky; by least squares where a zero penalty leaves the matrix singular."""
    # LAPACK itself: at these sizes the checks of scipy.linalg.cho_solve cost more than it
    factor, solution, info = dposv(matrix, rhs, lower=1)
    pivots = factor.diagonal() ** 2
    if info == 0 and (pivots > kernels.SMALLEST_PIVOT * matrix.diagonal()).all():
        return solution
    if not np.isfinite(matrix).all():
        return np.full_like(rhs, np.nan)
    return lstsq(matrix, rhs, check_finite=False)[0]


class SweepRule(Protocol):
    """Decides whether the sweeps may stop at a point, given the one before it."""

    def __call__(self, point: Point, previous: Point) -> bool:
        """Whether to stop at ``point``."""


def stationary_to(
    problem: TrainingProblem, multipliers: Multipliers, gamma: float, eps: float
) -> SweepRule:
    """Condition (3.6), evaluated directly: dist(0, dL(s)) <= eps."""

    def rule(point: Point, previous: Point) -> bool:
        return stationarity(problem, point, multipliers, gamma).norm <= eps

    return rule


def step_within(
    problem: TrainingProblem,
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
        return bool(distance(problem, point, previous) <= threshold)

    return rule


def distance(problem: TrainingProblem, point: Point, other: Point) -> float:
    """Euclidean distance of two points s over all their blocks."""
    weights = zip(point.parameters.arrays(), other.parameters.arrays(), strict=True)
    (of_states,) = problem.total(_square_of_step, states=(*point[1:], *other[1:]))
    return float(np.linalg.norm([*(np.linalg.norm(a - b) for a, b in weights), np.sqrt(of_states)]))


def _square_of_step(problem: ElmanProblem, h: Array, u: Array, h0: Array, u0: Array) -> Sums:
    return (sum(squares(h - h0, u - u0)),)


def descend(
    problem: TrainingProblem,
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
        is_done = not point.is_finite() or may_stop(point, previous) or time_is_up()
    return point, n_sweeps
