"""How far a point is from optimal: knows the problem, and no solver.

Stationarity is the distance of 0 to the limiting subdifferential of the augmented
Lagrangian (3.6). Feasibility is the size of the two constraint violations. A point with
multipliers is KKT (Definition 2.2) when both vanish at gamma = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sktime_alm.solver._typing import Array
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.lagrangian import Multipliers, gradient, objective_gradient
from sktime_alm.solver.reformulation import ElmanProblem, Point


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


@dataclass(frozen=True, repr=False)
class Certificate:
    """KKT residuals of (2.6) at a point with multipliers.

    Attributes
    ----------
    stationarity : float
        Norm of ``stationarity_blocks``.
    relative_stationarity : float
        The same over max(1, ||grad R(s)||).
    stationarity_blocks : Stationarity
        Distance of 0 to the subdifferential of the Lagrangian, in the weights, the
        hidden states and the pre-activations.
    feasibility : float
        The larger of ``feasibility_blocks``.
    relative_feasibility : float
        The larger of ||C1|| / max(1, ||u||) and ||C2|| / max(1, ||h||).
    feasibility_blocks : Feasibility
        ||C1|| and ||C2||.
    tolerance : float
        What the relative numbers are held against.
    """

    stationarity: float
    relative_stationarity: float
    stationarity_blocks: Stationarity
    feasibility: float
    relative_feasibility: float
    feasibility_blocks: Feasibility
    tolerance: float

    @property
    def residual(self) -> float:
        """The larger of the two relative residuals."""
        return max(self.relative_stationarity, self.relative_feasibility)

    @property
    def is_kkt(self) -> bool:
        """Whether the residual is within the tolerance."""
        return self.residual <= self.tolerance

    def __repr__(self) -> str:
        blocks, violations = self.stationarity_blocks, self.feasibility_blocks
        verdict = "is" if self.is_kkt else "is not"
        return (
            f"The point {verdict} KKT to {self.tolerance:.0e}.\n"
            f"stationarity {self.stationarity:.2e} (relative {self.relative_stationarity:.2e}): "
            f"weights {blocks.parameters:.2e}, hidden states {blocks.hidden:.2e}, "
            f"pre-activations {blocks.preactivation:.2e}\n"
            f"feasibility  {self.feasibility:.2e} (relative {self.relative_feasibility:.2e}): "
            f"||u - (W h + V x + b)|| {violations.preactivation:.2e}, "
            f"||h - sigma(u)|| {violations.hidden:.2e}"
        )


def stationarity(
    problem: ElmanProblem, point: Point, multipliers: Multipliers, gamma: float
) -> Stationarity:
    """dist(0, dL(s, xi, zeta, gamma)) of (3.6), block by block.

    With gamma = 0 these are the KKT residuals at (xi, zeta). They equal the residuals
    at the multipliers before the update (3.7) with that update's gamma.
    """
    blocks = gradient(problem, point, multipliers, gamma)
    of_u = problem.sigma.subdifferential_distance(point.u, blocks.u_smooth, blocks.u_slope)
    return Stationarity(_norm_of_all(blocks.parameters), _norm(blocks.h), _norm(of_u))


def feasibility(problem: ElmanProblem, point: Point) -> Feasibility:
    """||C1(s)|| and ||C2(s)||."""
    C1, C2 = problem.constraints(point)
    return Feasibility(_norm(C1), _norm(C2))


def certify(
    problem: ElmanProblem, point: Point, multipliers: Multipliers, tolerance: float
) -> Certificate:
    """KKT residuals of (2.6) at a point with multipliers (xi, zeta)."""
    blocks = stationarity(problem, point, multipliers, gamma=0.0)
    violations = feasibility(problem, point)

    of_objective = objective_gradient(problem, point)
    parts = (_norm_of_all(of_objective.parameters), of_objective.h, of_objective.u_smooth)
    scale = max(1.0, float(np.linalg.norm([_norm(np.asarray(part)) for part in parts])))
    return Certificate(
        stationarity=blocks.norm,
        relative_stationarity=blocks.norm / scale,
        stationarity_blocks=blocks,
        feasibility=violations.norm,
        relative_feasibility=max(
            violations.preactivation / max(1.0, _norm(point.u)),
            violations.hidden / max(1.0, _norm(point.h)),
        ),
        feasibility_blocks=violations,
        tolerance=tolerance,
    )


def _norm(array: Array) -> float:
    """Euclidean (Frobenius) norm."""
    return float(np.linalg.norm(array))


def _norm_of_all(parameters: ElmanParameters) -> float:
    """Norm over all weights together."""
    return _norm(np.array([_norm(array) for array in parameters.arrays()]))
