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
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from sktime_alm.solver import slopes as compiled
from sktime_alm.solver._typing import Array, BoolArray, IntArray
from sktime_alm.solver.curvature import regressors
from sktime_alm.solver.lagrangian import Multipliers
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.optimality import Certificate, Feasibility, in_units
from sktime_alm.solver.reformulation import ElmanProblem
from sktime_alm.solver.rim import Rim
from sktime_alm.solver.spread import SpreadProblem, Sums

# Slopes are looked for where the residual is within so many times the tolerance, which they lower
# some twenty times; and on, with a larger s, where it is then within the second multiple.
_NEAR, _CLOSE = 30.0, 2.0
# the share of the tolerance that feasibility may take, and a first reach, in root mean squares of u
_SHARE, _FIRST_REACH = 0.95, 1e-3
# units that move by less than so many times the reach would have kinks without number
_MOVING = 30.0
# s, relative to the mean curvature of the equations: the larger, the less of v is left where slopes
# are free, and the more passes it takes
_STRENGTHS = 1e2, 1e3
_MAX_PASSES, _SOLVED = 12, 0.01


def certify_blocks(
    problem: SpreadProblem, parameters: ElmanParameters, tolerance: float
) -> Certificate:
    """KKT residuals of a network, at the multipliers that make them small."""
    plain = problem.certificate(parameters, tolerance)
    is_near = plain.residual <= _NEAR * tolerance
    if plain.is_kkt or not is_near or not problem.sigma.has_kink:
        return plain
    found = _with_slopes(problem, parameters, tolerance)
    return min([plain, *found], key=lambda certificate: certificate.residual)


def _with_slopes(
    problem: SpreadProblem, parameters: ElmanParameters, tolerance: float
) -> Iterator[Certificate]:
    """Certificates at slopes that leave less and less, as long as that may lead to a KKT point."""
    B, readout = parameters.hidden_layer, parameters.readout
    sums = problem.derivatives(B, readout)
    of_u = problem.regularization.l2_preactivation
    at = B, readout, problem.n_observed, of_u, _reach(problem, parameters, tolerance)
    measure = _measure(problem, parameters, tolerance)
    gradient = measure @ (problem.slope_of_penalty(B) + sums.hidden_layer).ravel()
    for rule in _rules(problem, measure, gradient, at):
        slope, C1, C2, squares, n_kinks = problem.total(_gradient_at_slopes, *at, *rule)
        violations = Feasibility(float(np.sqrt(C1)), float(np.sqrt(C2)))
        found = replace(
            problem.certificate(parameters, tolerance, slope),
            feasibility=violations.norm,
            relative_feasibility=_relative(C1, C2, sums.size, squares),
            feasibility_blocks=violations,
            n_kinks=n_kinks,
        )
        yield found
        if found.is_kkt or found.residual > _CLOSE * tolerance:
            return


def _reach(problem: SpreadProblem, parameters: ElmanParameters, tolerance: float) -> float:
    """How near to 0 a pre-activation is taken to be at its kink: as near as feasibility asks."""
    B, count = parameters.hidden_layer, problem.n_samples * parameters.hidden_size
    size = problem.derivatives(B, parameters.readout).size
    reach = _FIRST_REACH * float(np.sqrt(size / count))
    relative = _relative(*problem.total(_near_kinks, B, reach))
    # of u spread evenly about 0 the squares of those within a reach add up to its third power
    return reach * (_SHARE * tolerance / relative) ** (2.0 / 3.0) if relative else reach


def _relative(C1: float, C2: float, of_u: float, of_h: float) -> float:
    """The relative feasibility of a certificate, from sums of squares."""
    return float(max(np.sqrt(C1 / max(1.0, of_u)), np.sqrt(C2 / max(1.0, of_h))))


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
    shape, r = parameters.hidden_layer.shape, parameters.hidden_size
    gradients = np.eye(parameters.hidden_layer.size).reshape(-1, *shape)
    rim = Rim.of(parameters.W, problem.contraction.bound, tolerance)
    if rim.k:
        multipliers = [rim.multiplier(gradient) for gradient in gradients[:, :, :r]]
        U, V = rim.U[:, : rim.k], rim.V[:, : rim.k]
        gradients[:, :, :r] += U @ np.array(multipliers) @ V.T
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
    """A sequence at some weights; ``pull`` is the gradient in h by the losses alone."""

    u: Array
    h: Array
    W: Array
    P: Array
    pull: Array
    slopes: Array


def _states(problem: ElmanProblem, hidden_layer: Array, readout: Array, n_observed: int) -> _States:
    r = len(hidden_layer)
    u, h = problem.rollout_of(hidden_layer)
    pull = np.dot((2.0 / n_observed) * problem.errors(readout, h), readout[:, :r])
    W = np.ascontiguousarray(hidden_layer[:, :r])
    return _States(u, h, W, regressors(problem, h), pull, problem.sigma.derivative(u))


def _adjoint(
    problem: ElmanProblem, states: _States, u: Array, slopes: Array, of_u: float
) -> Multipliers:
    """Those of the adjoint recursion at given slopes."""
    zeta, xi = states.pull.copy(), np.empty_like(u)
    compiled.adjoint(zeta, xi, u, states.W, slopes, problem.is_end, of_u)
    return Multipliers(xi, zeta)


def _is_near(u: Array, reach: float) -> BoolArray:
    """Which pre-activations are within reach of their kink."""
    is_moving = np.sqrt(np.mean(u * u, axis=0)) > _MOVING * reach
    return (np.abs(u) <= reach) & is_moving


def _kinks(problem: ElmanProblem, states: _States, of_u: float, reach: float) -> _Kinks:
    zeta = _adjoint(problem, states, states.u, states.slopes, of_u).zeta
    index = np.flatnonzero(_is_near(states.u, reach) & (zeta < 0.0))
    rows = np.zeros((len(index), len(states.W) * states.P.shape[1]))
    compiled.sensitivities_of(rows, index, states.W, states.slopes, states.P, problem.is_start)
    return _Kinks(index, states.slopes.flat[index], -zeta.flat[index][:, None] * rows)


def _near_kinks(problem: ElmanProblem, hidden_layer: Array, reach: float) -> Sums:
    """||C1||^2 and ||C2||^2 were all within reach at their kinks; ||u||^2 and ||h||^2."""
    u, h = problem.rollout_of(hidden_layer)
    near = _is_near(u, reach)
    return tuple(float(np.vdot(array, array)) for array in (u[near], h[near], u, h))


def _change_of_gradient(
    problem: ElmanProblem,
    hidden_layer: Array,
    readout: Array,
    n_observed: int,
    of_u: float,
    reach: float,
    strength: float,
    v: Array,
) -> Sums:
    """sum_k (a_k - a0_k) c_k, and the sum of c_k c_k' over the slopes within their range."""
    least = float(problem.sigma.kernel[1])
    states = _states(problem, hidden_layer, readout, n_observed)
    kinks = _kinks(problem, states, of_u, reach)
    slopes = kinks.slopes(least, strength, v)
    free = kinks.rows[(slopes > least) & (slopes < 1.0)]
    return (slopes - kinks.sides) @ kinks.rows, free.T @ free


def _gradient_at_slopes(problem: ElmanProblem, *at_and_rule: Any) -> Sums:
    """The gradient of the losses at the slopes, ||C1||^2, ||C2||^2 and ||h||^2, how many kinks."""
    states, kinks, _, multipliers = at_slopes(problem, *at_and_rule)
    C1, C2 = states.u.flat[kinks.units], states.h.flat[kinks.units]
    squares = (float(np.vdot(array, array)) for array in (C1, C2, states.h))
    return -multipliers.xi.T @ states.P, *squares, len(kinks.units)


def at_slopes(
    problem: ElmanProblem,
    hidden_layer: Array,
    readout: Array,
    n_observed: int,
    of_u: float,
    reach: float,
    strength: float,
    v: Array,
) -> tuple[_States, _Kinks, Array, Multipliers]:
    """The rollout, its kinks, u with these at 0, and the multipliers at the slopes of the rule."""
    least = float(problem.sigma.kernel[1])
    states = _states(problem, hidden_layer, readout, n_observed)
    kinks = _kinks(problem, states, of_u, reach)
    units, slopes, u = kinks.units, states.slopes.copy(), states.u.copy()
    u.flat[units], chosen = 0.0, kinks.slopes(least, strength, v)
    while True:
        slopes.flat[units] = chosen
        multipliers = _adjoint(problem, states, u, slopes, of_u)
        # where the slopes of later rows have turned the sign that of a side is the only choice
        is_split = (chosen > least) & (chosen < 1.0)
        is_turned = (multipliers.zeta.flat[units] >= 0.0) & is_split
        if not is_turned.any():
            return states, kinks, u, multipliers
        chosen = np.where(is_turned, kinks.sides, chosen)
