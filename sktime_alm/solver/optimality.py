"""How far a point is from optimal: knows the problem, and no solver.

Stationarity is the distance of 0 to the limiting subdifferential of the augmented
Lagrangian (3.6). Feasibility is the size of the two constraint violations. A point with
multipliers is KKT (Definition 2.2) when both vanish at gamma = 0. Where ||W|| is at its bound,
the bound has a multiplier too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from sktime_alm.solver._typing import Array
from sktime_alm.solver.lagrangian import Multipliers, at_rows, gradient, objective_gradient
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.reformulation import (
    ElmanProblem,
    Point,
    Sums,
    TrainingProblem,
    objective_of_rows,
    roots,
    squares,
)
from sktime_alm.solver.rim import Rim

# the least share of the size of Y that errors are taken to have: below it rounding rules
_SMALLEST_LEVEL = 1e-4


class Stationarity(NamedTuple):
    """Norms of the three blocks of dist(0, dL(s))."""

    parameters: float
    hidden: float
    preactivation: float

    @property
    def norm(self) -> float:
        """Norm over all blocks."""
        return float(np.linalg.norm(self))


class Feasibility(NamedTuple):
    """||C1|| of the pre-activations and ||C2|| of the hidden states."""

    preactivation: float
    hidden: float

    @property
    def norm(self) -> float:
        """The larger violation, as in (3.8)."""
        return max(self)

    def relative_to(self, of_u: float, of_h: float) -> float:
        """The larger one relative to ||u|| and ||h||."""
        return max(self.preactivation / max(1.0, of_u), self.hidden / max(1.0, of_h))


class Residuals(NamedTuple):
    """The sums over rows, at a point with multipliers, that a certificate is made of.

    Attributes
    ----------
    hidden_layer, readout : array
        The gradient of the Lagrangian in [W V b] and [A D c], without the penalties' own.
    of_h, of_u : float
        The squares of its distance from 0 in the states.
    objective : float
        R(s) without the penalties of the weights.
    n_kinks : int
        The number of pre-activations that are 0, where the activation has a kink.
    objective_h, objective_u : float
        The squares of the gradient of R(s) in the states.
    C1, C2, u, h : float
        The squares of the violations and of the states.
    """

    hidden_layer: Array
    readout: Array
    of_h: float
    of_u: float
    objective: float
    n_kinks: int
    objective_h: float
    objective_u: float
    C1: float
    C2: float
    u: float
    h: float


class Recurrence(NamedTuple):
    """The bound on ||W||: what is left of its own conditions.

    ``multiplier``, (r, r), is what the gradient in W must cancel: U S V' with S psd, of the
    singular vectors at the bound. ``n_active`` is how many they are, ``excess`` by how much ||W||
    is relatively above the bound, if by more than rounding, and ``complementarity`` the product of
    the multiplier and the distances to the bound, relative as the stationarity is. With the
    diagonal norm U, S and V are those of P W P^-1, at a P found to about one in a thousand only.
    """

    multiplier: Array
    n_active: int = 0
    excess: float = 0.0
    complementarity: float = 0.0


@dataclass(frozen=True, repr=False)
class Certificate:
    """KKT residuals of (2.6) at a point with multipliers.

    Attributes
    ----------
    stationarity : float
        Norm of ``stationarity_blocks``.
    relative_stationarity : float
        The same in units of the data, which makes it a number without dimension: with s the
        size of Y (the root of the mean variance of its columns) and k_j that of the column j of
        X (its root mean square), the gradients in A and c are multiplied by s, that in the
        column j of V is divided by k_j, and all is divided by s^2, as if Y and X were
        standardised. The gradient of a mean of squares shrinks with the errors: all is divided
        by their share sqrt(R) / s as well, which counts as at least 1e-4 and at most 1, or by
        the norm of grad R(s) in these units where that is larger.
    stationarity_blocks : Stationarity
        Distance of 0 to the subdifferential of the Lagrangian, in the weights, the
        hidden states and the pre-activations.
    feasibility : float
        The larger of ``feasibility_blocks``.
    relative_feasibility : float
        The larger of ||C1|| / max(1, ||u||) and ||C2|| / max(1, ||h||); u and h do not
        depend on the units of X and Y.
    feasibility_blocks : Feasibility
        ||C1|| and ||C2||.
    tolerance : float
        What the relative numbers are held against.
    recurrence : Recurrence
        The bound on ||W||, whose multiplier is part of the stationarity.
    n_kinks : int
        The number of pre-activations that are 0, where the activation has a kink.
    """

    stationarity: float
    relative_stationarity: float
    stationarity_blocks: Stationarity
    feasibility: float
    relative_feasibility: float
    feasibility_blocks: Feasibility
    tolerance: float
    recurrence: Recurrence
    n_kinks: int = 0

    @property
    def residual(self) -> float:
        """The largest of the relative residuals."""
        return max(
            self.relative_stationarity,
            self.relative_feasibility,
            self.recurrence.excess,
            self.recurrence.complementarity,
        )

    @property
    def is_kkt(self) -> bool:
        """Whether the residual is within the tolerance."""
        return self.residual <= self.tolerance

    def __repr__(self) -> str:
        blocks, violations = self.stationarity_blocks, self.feasibility_blocks
        verdict = "is" if self.is_kkt else "is not"
        lines = [
            f"The point {verdict} KKT to {self.tolerance:.0e}{self._what_is_left()}.",
            f"stationarity {self.stationarity:.2e} (relative {self.relative_stationarity:.2e}): "
            f"weights {blocks.parameters:.2e}, hidden states {blocks.hidden:.2e}, "
            f"pre-activations {blocks.preactivation:.2e}",
            f"feasibility  {self.feasibility:.2e} (relative {self.relative_feasibility:.2e}): "
            f"||u - (W h + V x + b)|| {violations.preactivation:.2e}, "
            f"||h - sigma(u)|| {violations.hidden:.2e}",
        ]
        if self.n_kinks:
            lines.append(f"pre-activations at their kink: {self.n_kinks}")
        if self.recurrence.n_active:
            lines.append(f"singular values of W at their bound: {self.recurrence.n_active}")
        return "\n".join(lines)

    def _what_is_left(self) -> str:
        """The largest residual in words."""
        if self.is_kkt:
            return ""
        blocks, recurrence = self.stationarity_blocks, self.recurrence
        if self.residual == recurrence.excess:
            return ": W is beyond its bound"
        if self.residual == recurrence.complementarity:
            return ": W is short of the bound that holds it"
        if self.residual == self.relative_feasibility:
            return ": the states are not those of the network"
        if blocks.parameters >= max(blocks.hidden, blocks.preactivation):
            at_kinks = " whatever the slopes at the kinks" if self.n_kinks else ""
            return f": the Lagrangian has a slope in the weights{at_kinks}"
        return ": the multipliers do not balance the states"


def stationarity(
    problem: TrainingProblem, point: Point, multipliers: Multipliers, gamma: float
) -> Stationarity:
    """dist(0, dL(s, xi, zeta, gamma)) of (3.6), block by block.

    With gamma = 0 these are the KKT residuals at (xi, zeta). They equal the residuals
    at the multipliers before the update (3.7) with that update's gamma.
    """
    *layers, of_h, of_u = at_rows(problem.total, _slopes, point, multipliers, gamma)
    of_weights = _with_penalties(problem, point.parameters, *layers)
    return Stationarity(_norm_of_all(of_weights), *roots(of_h, of_u))


def _slopes(problem: ElmanProblem, point: Point, multipliers: Multipliers, gamma: float) -> Sums:
    """The gradient of L in [W V b] and in [A D c], and the squares of those in h and in u."""
    found = gradient(problem, point, multipliers, gamma)
    of_u = problem.sigma.subdifferential_distance(point.u, found.u_smooth, found.u_slope)
    return found.hidden_layer, found.readout, *squares(found.h, of_u)


def _with_penalties(
    problem: TrainingProblem, parameters: ElmanParameters, *of_rows: Array
) -> ElmanParameters:
    """A gradient in the weights, from its sums over rows."""
    of_penalties = problem.regularization.gradient(parameters.hidden_layer, parameters.readout)
    return ElmanParameters.from_layers(*map(np.add, of_penalties, of_rows))


def feasibility(problem: TrainingProblem, point: Point) -> Feasibility:
    """||C1(s)|| and ||C2(s)||."""
    parameters, *states = point
    return Feasibility(*roots(*problem.total(_squares_of_constraints, parameters, states=states)))


def _squares_of_constraints(
    problem: ElmanProblem, h: Array, u: Array, parameters: ElmanParameters
) -> Sums:
    return squares(*problem.constraints(Point(parameters, h, u)))


def certify(
    problem: TrainingProblem, point: Point, multipliers: Multipliers, tolerance: float
) -> Certificate:
    """KKT residuals of (2.6) at a point with multipliers (xi, zeta).

    The multiplier of the bound on ||W|| is the one that leaves the least.
    """
    sums = Residuals(*at_rows(problem.total, residuals, point, multipliers))
    return certificate_of(problem, point.parameters, sums, tolerance)


def residuals(problem: ElmanProblem, point: Point, multipliers: Multipliers) -> Residuals:
    """Those of the rows of a part."""
    parameters, h, u = point
    of_R = objective_gradient(problem, point)
    sums: Sums = (
        *_slopes(problem, point, multipliers, 0.0),
        *objective_of_rows(problem, h, u, parameters),
        _count_kinks(problem, u),
        *squares(of_R.h, of_R.u_smooth, *problem.constraints(point), u, h),
    )
    return Residuals(*sums)


def certificate_of(
    problem: TrainingProblem, parameters: ElmanParameters, sums: Residuals, tolerance: float
) -> Certificate:
    """What the sums over all rows say."""
    objective = sums.objective + problem.regularization.of_weights(parameters)
    of_L = _with_penalties(problem, parameters, sums.hidden_layer, sums.readout)
    # of R(s) only the slope in the readout depends on the rows
    of_R = _with_penalties(problem, parameters, np.zeros_like(sums.hidden_layer), sums.readout)
    size_of_gradient = norm_in_units(problem, of_R, *roots(sums.objective_h, sums.objective_u))
    # of nearly exact fits terms that cancel are all that the gradient is made of
    level = max(error_level(problem, objective), size_of_gradient)
    recurrence = _bound_on_recurrence(problem, parameters, of_L.W, level, tolerance)
    of_weights = replace(of_L, W=of_L.W + recurrence.multiplier)
    of_states = roots(sums.of_h, sums.of_u)
    sizes = Stationarity(_norm_of_all(of_weights), *of_states)
    violations = Feasibility(*roots(sums.C1, sums.C2))
    return Certificate(
        stationarity=sizes.norm,
        relative_stationarity=norm_in_units(problem, of_weights, *of_states) / level,
        stationarity_blocks=sizes,
        feasibility=violations.norm,
        relative_feasibility=violations.relative_to(*roots(sums.u, sums.h)),
        feasibility_blocks=violations,
        tolerance=tolerance,
        recurrence=recurrence,
        n_kinks=sums.n_kinks,
    )


def _bound_on_recurrence(
    problem: TrainingProblem,
    parameters: ElmanParameters,
    gradient_in_W: Array,
    level: float,
    tolerance: float,
) -> Recurrence:
    """The multiplier of the bound that leaves the least of a gradient, and its conditions."""
    W, contraction = parameters.W, problem.contraction
    bound, scaling = contraction.bound, np.ones_like(W)
    if not contraction.is_bounded:
        return Recurrence(np.zeros_like(W))
    if contraction.has_scaling:
        p = contraction.frame_of(parameters.hidden_layer).variables[:, -1]
        scaling = np.exp(p[:, None] - p)
    # in the norm that is bounded W is P W P^-1, and gradients in it are scaled the other way
    rim = Rim.of(scaling * W, bound, tolerance)
    excess = 0.0 if contraction.contains(W) else float(rim.values[0] / bound - 1.0)
    # a negative multiplier would say that W wants to leave the bound: then it is not held
    rim, S = rim.released(rim.multiplier(gradient_in_W / scaling))
    U, V = rim.U[:, : rim.k], rim.V[:, : rim.k]
    slack = float(S @ np.maximum(bound - rim.values[: rim.k], 0.0))
    if contraction.has_scaling:
        # the norm is the least over P: there its derivative in P is 0
        slack += bound * _norm((U**2 - V**2) @ S)
    return Recurrence(
        scaling * ((U * S) @ V.T), rim.k, excess, slack / (problem.target_size**2 * level)
    )


def in_units(problem: TrainingProblem, gradients: Array) -> Array:
    """Gradients in [W V b], (..., r, r + n + 1), in the units of :class:`Certificate`."""
    r = gradients.shape[-2]
    factors = np.concatenate([np.ones(r), 1.0 / problem.contraction.sizes, np.ones(1)])
    return gradients * (factors / problem.target_size**2)


def norm_in_units(
    problem: TrainingProblem, parameters: ElmanParameters, of_h: float, of_u: float
) -> float:
    """Norm of a gradient over all blocks, given those in h and u, in the same units."""
    readout = [parameters.A, parameters.c]
    if parameters.D is not None:
        readout.append(parameters.D / problem.contraction.sizes)
    sizes = [_norm(block) / problem.target_size for block in readout]
    sizes += [size / problem.target_size**2 for size in (of_h, of_u)]
    sizes.append(_norm(in_units(problem, parameters.hidden_layer)))
    return _norm(np.array(sizes))


def error_level(problem: TrainingProblem, objective: float) -> float:
    """sqrt(R) over the size of Y, within limits: what gradients of R are in proportion to."""
    share = np.sqrt(objective) / problem.target_size
    return float(min(max(share, _SMALLEST_LEVEL), 1.0))


def relative_size(problem: TrainingProblem, objective: float, gradient: Array) -> float:
    """The relative stationarity that a gradient in [W V b] makes, as in :class:`Certificate`."""
    return _norm(in_units(problem, gradient)) / error_level(problem, objective)


def _count_kinks(problem: ElmanProblem, u: Array) -> int:
    """The number of pre-activations at a kink of a piecewise linear activation."""
    return int((u == 0.0).sum()) if problem.sigma.has_kink else 0


def _norm(array: Array) -> float:
    """Euclidean (Frobenius) norm."""
    return float(np.linalg.norm(array))


def _norm_of_all(parameters: ElmanParameters) -> float:
    """Norm over all weights together."""
    return _norm(np.array([_norm(array) for array in parameters.arrays()]))
