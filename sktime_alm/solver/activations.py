"""Activations: value, derivative, and the exact minimiser of the scalar subproblem.

The pre-activation update (3.16) separates into one problem per scalar,

    phi(u) = gamma/2 (u - theta1)^2 + gamma/2 (theta2 - sigma(u))^2
             + mu/2 (u - theta3)^2 + l2 u^2,

and an activation owns the global minimiser of *its* phi. Any object with the five
members of :class:`Activation` can be passed wherever an activation is expected.

All functions are vectorised: arrays of any one shape in, an array of that shape out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from sktime_alm.solver._typing import Array

# Newton with a bisection safeguard is done in about ten steps; bisection alone needs
# fewer than this many to shrink any bracket of doubles to one unit in the last place.
_MAX_ROOT_ITERATIONS = 100
_ROOT_TOLERANCE = 8.0 * np.finfo(float).eps


@runtime_checkable
class Activation(Protocol):
    """What the solver asks of an activation function sigma.

    sigma must be Lipschitz; the solver relies on nothing else about it.
    """

    @property
    def lipschitz(self) -> float:
        """A Lipschitz constant of sigma."""

    def value(self, u: Array) -> Array:
        """sigma(u)."""

    def derivative(self, u: Array) -> Array:
        """sigma'(u); at a kink the derivative from the left."""

    def prox(
        self, theta1: Array, theta2: Array, theta3: Array, gamma: float, mu: float, l2: float
    ) -> Array:
        """A global minimiser of phi; ties go to the nonnegative candidate."""

    def subdifferential_distance(self, u: Array, s: Array, q: Array) -> Array:
        """Distance of 0 to the limiting subdifferential s + d(-q sigma)(u)."""


@dataclass(frozen=True)
class LeakyReLU:
    """max(u, slope u) with 0 <= slope < 1.

    Parameters
    ----------
    slope : float, default=0.01
        The derivative for negative u.
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        if not 0.0 <= self.slope < 1.0:
            raise ValueError(f"slope must be in [0, 1), found {self.slope!r}")

    @property
    def lipschitz(self) -> float:
        """A Lipschitz constant of sigma."""
        return 1.0

    def value(self, u: Array) -> Array:
        """max(u, slope u)."""
        return np.maximum(u, self.slope * u)

    def derivative(self, u: Array) -> Array:
        """1 for u > 0, slope elsewhere."""
        return np.where(u > 0.0, 1.0, self.slope)

    def prox(
        self, theta1: Array, theta2: Array, theta3: Array, gamma: float, mu: float, l2: float
    ) -> Array:
        """(3.21), and (4.35) with its condition corrected to the sign of the numerator.

        phi is a parabola on either side of 0. With the linear coefficient ``beta`` and
        the curvature ``kappa`` of a side, the clipped minimiser is ``u = beta/kappa``
        and phi(u) - phi(0) = -beta u / 2, so the larger ``beta u`` wins.
        """
        curvature = gamma + mu + 2.0 * l2
        pull = gamma * theta1 + mu * theta3
        beta_plus = np.maximum(pull + gamma * theta2, 0.0)
        beta_minus = np.minimum(pull + gamma * self.slope * theta2, 0.0)
        u_plus = beta_plus / (curvature + gamma)
        u_minus = beta_minus / (curvature + gamma * self.slope**2)
        return np.where(beta_plus * u_plus >= beta_minus * u_minus, u_plus, u_minus)

    def subdifferential_distance(self, u: Array, s: Array, q: Array) -> Array:
        """Distance of 0 to s - q sigma'(u), with the limiting subdifferential at 0.

        At u = 0 the function -q sigma has a convex kink for q < 0, whose subdifferential
        is the interval between the one-sided slopes, and a concave kink for q >= 0,
        whose limiting subdifferential is those two slopes alone.
        """
        right = s - q
        left = s - self.slope * q
        at_kink = np.minimum(np.abs(left), np.abs(right))
        inside = (q < 0.0) & (left <= 0.0) & (right >= 0.0)
        at_kink[inside] = 0.0
        return np.where(u > 0.0, np.abs(right), np.where(u < 0.0, np.abs(left), at_kink))


@dataclass(frozen=True)
class ReLU(LeakyReLU):
    """max(u, 0): the paper's activation (2.1), and the leaky one of slope 0."""

    slope: float = field(default=0.0, init=False, repr=False)

    def value(self, u: Array) -> Array:
        """max(u, 0); a zero slope times u would leave negative zeros."""
        return np.maximum(u, 0.0)


@dataclass(frozen=True)
class ELU:
    """u for u >= 0 and exp(u) - 1 below: continuously differentiable."""

    @property
    def lipschitz(self) -> float:
        """A Lipschitz constant of sigma."""
        return 1.0

    def value(self, u: Array) -> Array:
        """u for u >= 0 and exp(u) - 1 below."""
        return np.where(u > 0.0, u, np.expm1(np.minimum(u, 0.0)))

    def derivative(self, u: Array) -> Array:
        """1 for u >= 0 and exp(u) below."""
        return np.exp(np.minimum(u, 0.0))

    def prox(
        self, theta1: Array, theta2: Array, theta3: Array, gamma: float, mu: float, l2: float
    ) -> Array:
        """(3.21) for u >= 0 and (4.37) below, whichever has the smaller phi.

        With z = exp(u), phi'' is the quadratic 2 gamma z^2 - gamma (theta2 + 1) z +
        curvature (4.40): on (-inf, 0] phi is convex up to the smaller root, concave
        between the roots and convex from the larger one on, so the minimum is that of
        at most two convex pieces.
        """
        curvature = gamma + mu + 2.0 * l2
        pull = gamma * theta1 + mu * theta3
        u_plus = np.maximum(pull + gamma * theta2, 0.0) / (curvature + gamma)

        # phi' <= 0 at and left of this point, whatever the sign of theta2
        lower = np.minimum((pull - gamma * np.maximum(-theta2, 0.0)) / curvature, 0.0)
        inflections = _inflections(theta2, gamma, curvature)
        first, second = (np.clip(point, lower, 0.0) for point in inflections)

        def slope_and_curvature(u: Array) -> tuple[Array, Array]:
            z = np.exp(u)
            slope = curvature * u - pull - gamma * z * (theta2 + 1.0 - z)
            return slope, curvature - gamma * z * (theta2 + 1.0 - 2.0 * z)

        candidates = [u_plus, _root_of_increasing(slope_and_curvature, theta3, lower, first)]
        if (first < second).any():
            zeros = np.zeros_like(second)
            candidates.append(_root_of_increasing(slope_and_curvature, theta3, second, zeros))
        best, best_value = u_plus, np.full_like(u_plus, np.inf)
        for u in candidates:
            value = scalar_objective(self, u, theta1, theta2, theta3, gamma, mu, l2)
            best = np.where(value < best_value, u, best)
            best_value = np.minimum(value, best_value)
        return best

    def subdifferential_distance(self, u: Array, s: Array, q: Array) -> Array:
        """|s - q sigma'(u)|: ELU has no kink."""
        return np.abs(s - q * self.derivative(u))


def scalar_objective(
    activation: Activation,
    u: Array,
    theta1: Array,
    theta2: Array,
    theta3: Array,
    gamma: float,
    mu: float,
    l2: float,
) -> Array:
    """phi(u) of (3.19), element by element."""
    return (
        0.5 * gamma * ((u - theta1) ** 2 + (theta2 - activation.value(u)) ** 2)
        + 0.5 * mu * (u - theta3) ** 2
        + l2 * u**2
    )


def _inflections(theta2: Array, gamma: float, curvature: float) -> tuple[Array, Array]:
    """The roots of phi'' in u = log z; both 0 where phi is convex on (-inf, 0]."""
    linear = gamma * (theta2 + 1.0)
    discriminant = linear**2 - 8.0 * gamma * curvature
    concave = (discriminant > 0.0) & (linear > 0.0)
    # the citardauq form of the smaller root does not cancel
    larger_sum = linear + np.sqrt(np.where(concave, discriminant, 0.0))
    z_first = np.where(concave, 2.0 * curvature / np.where(concave, larger_sum, 1.0), 1.0)
    z_second = np.where(concave, larger_sum / (4.0 * gamma), 1.0)
    return np.log(z_first), np.log(z_second)


def _root_of_increasing(
    function: Callable[[Array], tuple[Array, Array]],
    guess: Array,
    lower: Array,
    upper: Array,
) -> Array:
    """The root of an increasing function in [lower, upper], or the end nearest to it.

    Newton's method, and bisection wherever it would leave the bracket. ``function``
    returns values and derivatives.
    """
    upper = np.where(function(lower)[0] >= 0.0, lower, upper)
    lower = np.where(function(upper)[0] <= 0.0, upper, lower)
    x = np.clip(guess, lower, upper)
    for _ in range(_MAX_ROOT_ITERATIONS):
        value, derivative = function(x)
        lower = np.where(value <= 0.0, x, lower)
        upper = np.where(value >= 0.0, x, upper)
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = x - value / derivative
        inside = (newton >= lower) & (newton <= upper)
        # rounding may throw a last tiny step out of the bracket: that is no cause to bisect
        tiny = np.abs(newton - x) <= _ROOT_TOLERANCE * (1.0 + np.abs(x))
        following = np.where(inside | tiny, np.clip(newton, lower, upper), 0.5 * (lower + upper))
        done = np.abs(following - x) <= _ROOT_TOLERANCE * (1.0 + np.abs(x))
        x = following
        if done.all():
            break
    return x


ACTIVATIONS: dict[str, Callable[[], Activation]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
}


def get_activation(activation: str | Activation) -> Activation:
    """Resolve a name to its activation; an activation object is returned as it is.

    Raises
    ------
    ValueError
        If the name is unknown.
    TypeError
        If the object lacks a member of :class:`Activation`.
    """
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {sorted(ACTIVATIONS)}, found {activation!r}"
            )
        return ACTIVATIONS[activation]()
    if isinstance(activation, type) or not isinstance(activation, Activation):
        raise TypeError(
            f"activation must be one of {sorted(ACTIVATIONS)} or an object with the members of "
            f"sktime_alm.solver.Activation, found {activation!r}"
        )
    return activation
