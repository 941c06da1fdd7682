"""The certificate of a network whose rows lie in blocks, with slopes at its many kinks.

Of many rows thousands are so near a kink that u = 0 there is feasible within the tolerance. The
slope a_k of each is free where zeta_k < 0 (:mod:`subgradients`). With c_k = -zeta_k du_k/dB the
gradient in the weights is, to first order, G(a) = G(a0) + sum_k (a_k - a0_k) c_k, and slopes that
make |G(a)|^2 + sum_k (a_k - m)^2 / s smallest, m the middle of the range, are

    a_k = clip(m - s c_k'v),    v = G(a).

These are equations in v alone, as many as weights, monotone, and sums over rows: Newton's method
solves them without a block being asked for more. The gradient at the slopes is then exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sktime_alm.solver import slopes as compiled
from sktime_alm.solver._typing import Array, BoolArray, IntArray
from sktime_alm.solver.curvature import adjoint_at, is_split, regressors
from sktime_alm.solver.lagrangian import Multipliers
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.optimality import (
    Certificate,
    Feasibility,
    Residuals,
    certificate_of,
    in_units,
    residuals,
)
from sktime_alm.solver.reformulation import ElmanProblem, Point, Sums, roots, squares
from sktime_alm.solver.rim import Rim
from sktime_alm.solver.spread import SpreadProblem

# Slopes are looked for where the residual is within so many times the tolerance, which they lower
# some twenty times, or within what the kinks of so many rows leave, 1/T each; and on, with a larger
# s, where it is then within the last multiple.
_NEAR, _NEAR_ROWS, _CLOSE = 30.0, 150.0, 5.0
# the share of the tolerance that feasibility may take, and a first reach, in root mean squares of u
_SHARE, _FIRST_REACH = 0.95, 1e-3
# units that move by less than so many times the reach would have kinks without number
_MOVING = 30.0
# s, relative to the mean curvature of the equations: the larger, the less of v is left where slopes
# are free, and the more passes it takes
_STRENGTHS = 1e2, 1e3, 1e4, 1e5
_MAX_PASSES, _SOLVED = 12, 0.01


def certify_blocks(
    problem: SpreadProblem, parameters: ElmanParameters, tolerance: float
) -> Certificate:
    """KKT residuals of a network, at the multipliers that make them small."""
    plain = problem.certificate(parameters, tolerance)
    is_near = plain.residual <= max(_NEAR * tolerance, _NEAR_ROWS / problem.n_samples)
    if plain.is_kkt or not is_near or not problem.sigma.has_kink:
        return plain
    found = _with_slopes(problem, parameters, tolerance)
    return min([plain, *found], key=lambda certificate: certificate.residual)


def _with_slopes(
    problem: SpreadProblem, parameters: ElmanParameters, tolerance: float
) -> Iterator[Certificate]:
    """Certificates at slopes that leave less and less, as long as that may lead to a KKT point."""
    B, readout = parameters.hidden_layer, parameters.readout
    at = B, readout, _reach(problem, B, problem.residuals(B, readout).u, tolerance)
    measure = _measure(problem, parameters, tolerance)
    gradient = measure @ problem.gradient(B, readout).ravel()
    for rule in _rules(problem, measure, gradient, at):
        sums = Residuals(*problem.total(_residuals_at_slopes, *at, *rule))
        found = certificate_of(problem, parameters, sums, tolerance)
        yield found
        if found.is_kkt or found.residual > _CLOSE * tolerance:
            return


def _reach(problem: SpreadProblem, hidden_layer: Array, size: float, tolerance: float) -> float:
    """How near to 0 a pre-activation is taken to be at its kink: as near as feasibility asks."""
    reach = _FIRST_REACH * float(np.sqrt(size / (problem.n_samples * len(hidden_layer))))
    C1, C2, of_u, of_h = roots(*problem.total(_near_kinks, hidden_layer, reach))
    relative = Feasibility(C1, C2).relative_to(of_u, of_h)
    # of u spread evenly about 0 the squares of those within a reach add up to its third power
    return reach * (_SHARE * tolerance / relative) ** (2.0 / 3.0) if relative else reach


def _rules(
    problem: SpreadProblem, measure: Array, gradient: Array, at: tuple[Any, ...]
) -> Iterator[tuple[float, Array]]:
    """s and v, in the units of the weights, that say what every slope is; s grows."""
    v, before = np.zeros(len(measure)), 1.0
    gram = problem.total(_change_of_gradient, *at, 0.0, v)[1]
    if not gram.any():
        return  # no slope is free
    mean = np.trace(measure @ gram @ measure.T) / len(v)
    for strength in np.array(_STRENGTHS) / mean:
        # s v, and so the slopes, as they are
        v = _solved(problem, measure, gradient, at, strength, before / strength * v)
        before = strength
        yield strength, measure.T @ v


def _solved(
    problem: SpreadProblem,
    measure: Array,
    gradient: Array,
    at: tuple[Any, ...],
    strength: float,
    v: Array,
) -> Array:
    """v with v = G at the slopes that it says, by Newton's method from another s."""
    step, best = np.zeros_like(v), np.inf
    for _ in range(_MAX_PASSES):
        change, gram = problem.total(_change_of_gradient, *at, strength, measure.T @ v)
        error = v - gradient - measure @ change
        size = float(np.linalg.norm(error))
        if size >= best:
            # too far for the slopes that were free: half way back
            step *= 0.5
            v = v - step
            continue
        best = size
        if size <= _SOLVED * np.linalg.norm(v):
            break
        system = np.eye(len(v)) + strength * (measure @ gram @ measure.T)
        step = -np.linalg.solve(system, error)
        v = v + step
    return v


def _measure(problem: SpreadProblem, parameters: ElmanParameters, tolerance: float) -> Array:
    """What takes a gradient, flat, to the units of the certificate less what the rim balances."""
    gradients = np.eye(parameters.hidden_layer.size).reshape(-1, *parameters.hidden_layer.shape)
    rim = Rim.of(parameters.W, problem.contraction.bound, tolerance)
    gradients = rim.unbalanced(gradients)
    measure: Array = in_units(problem, gradients).reshape(len(gradients), -1).T
    return measure


class _Kinks(NamedTuple):
    """The pre-activations of a sequence with free slopes, ``units`` into u, flat.

    ``sides`` are their slopes as they are, ``rows`` the c_k.
    """

    units: IntArray
    sides: Array
    rows: Array

    def slopes(self, least: float, strength: float, v: Array) -> Array:
        """a_k = clip(m - s c_k'v)."""
        middle = 0.5 * (1.0 + least)
        return np.clip(middle - strength * (self.rows @ v), least, 1.0)


class _States(NamedTuple):
    """A sequence at some weights."""

    u: Array
    h: Array
    W: Array
    P: Array
    errors: Array
    slopes: Array


def _is_near(u: Array, reach: float) -> BoolArray:
    """Which pre-activations are within reach of their kink."""
    is_moving = np.sqrt(np.mean(u * u, axis=0)) > _MOVING * reach
    return (np.abs(u) <= reach) & is_moving


def _near_kinks(problem: ElmanProblem, hidden_layer: Array, reach: float) -> Sums:
    """||C1||^2 and ||C2||^2 were all within reach at their kinks; ||u||^2 and ||h||^2."""
    u, h = problem.rollout_of(hidden_layer)
    near = _is_near(u, reach)
    return squares(u[near], h[near], u, h)


def _chosen(
    problem: ElmanProblem,
    hidden_layer: Array,
    readout: Array,
    reach: float,
    strength: float,
    v: Array,
) -> tuple[_States, _Kinks, Array]:
    """The rollout, its kinks, and their slopes by the rule."""
    r, least = len(hidden_layer), float(problem.sigma.kernel[1])
    u, h = problem.rollout_of(hidden_layer)
    W, P, slopes = hidden_layer[:, :r].copy(), regressors(problem, h), problem.sigma.derivative(u)
    errors = problem.errors(readout, h)
    zeta = adjoint_at(problem, W, readout, u, slopes, errors).zeta
    units = np.flatnonzero(_is_near(u, reach) & (zeta < 0.0))
    rows = np.zeros((len(units), hidden_layer.size))
    compiled.sensitivities_of(rows, units, W, slopes, P, problem.is_start)
    kinks = _Kinks(units, slopes.flat[units], -zeta.flat[units][:, None] * rows)
    return _States(u, h, W, P, errors, slopes), kinks, kinks.slopes(least, strength, v)


def _change_of_gradient(problem: ElmanProblem, *at_and_rule: Any) -> Sums:
    """sum_k (a_k - a0_k) c_k, and the sum of c_k c_k' over the slopes within their range."""
    _, kinks, slopes = _chosen(problem, *at_and_rule)
    free = kinks.rows[is_split(problem, slopes)]
    return (slopes - kinks.sides) @ kinks.rows, free.T @ free


def _residuals_at_slopes(problem: ElmanProblem, *at_and_rule: Any) -> Residuals:
    """What a certificate is made of at the slopes of the rule."""
    return residuals(problem, *at_slopes(problem, *at_and_rule))


def at_slopes(problem: ElmanProblem, *at_and_rule: Any) -> tuple[Point, Multipliers]:
    """The rollout with u = 0 at its kinks, and the multipliers at the slopes of the rule."""
    hidden_layer, readout = at_and_rule[:2]
    states, kinks, chosen = _chosen(problem, *at_and_rule)
    units, slopes, u = kinks.units, states.slopes.copy(), states.u.copy()
    u.flat[units] = 0.0
    while True:
        slopes.flat[units] = chosen
        multipliers = adjoint_at(problem, states.W, readout, u, slopes, states.errors)
        # where the slopes of later rows have turned the sign that of a side is the only choice
        is_turned = (multipliers.zeta.flat[units] >= 0.0) & is_split(problem, chosen)
        if not is_turned.any():
            parameters = ElmanParameters.from_layers(hidden_layer, readout)
            return Point(parameters, states.h, u), multipliers
        chosen = np.where(is_turned, kinks.sides, chosen)
