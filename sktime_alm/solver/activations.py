"""Activations: value, derivatives, and the exact minimiser of the scalar subproblem.

The pre-activation update (3.16) separates into one problem per scalar,

    phi(u) = gamma/2 (u - theta1)^2 + gamma/2 (theta2 - sigma(u))^2
             + mu/2 (u - theta3)^2 + l2 u^2,

and an activation owns the global minimiser of *its* phi. There are two kinds: piecewise
linear ones, which have a slope below 0, and smooth ones, which have compiled scalar functions.
An activation of your own is a subclass of :class:`Smooth`.

All methods are vectorised: arrays of any one shape in, an array of that shape out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numba import cfunc, njit

from sktime_alm.solver import kernels
from sktime_alm.solver._typing import Array
from sktime_alm.solver._validation import check_number

# Newton with a bisection safeguard is done in about ten steps; bisection alone needs
# fewer than this many to shrink any bracket of doubles to one unit in the last place.
_MAX_ROOT_ITERATIONS = 100
_ROOT_TOLERANCE = 8.0 * np.finfo(np.float64).eps
# cells of a bracket among which the minimum of a smooth phi is looked for
_N_CELLS = 256


def scalar(function: Callable[[float], float]) -> Any:
    """Compile a function of one double for the scalars of :class:`Smooth`; a decorator.

    What is compiled is kept on disk, unless the function was typed at a prompt.
    """
    try:
        return cfunc("float64(float64)", cache=True)(function)
    except RuntimeError:  # there is no file to keep it beside
        return cfunc("float64(float64)")(function)


class Activation:
    """What the solver asks of an activation function sigma, which must be 1-Lipschitz."""

    lipschitz: ClassVar[float] = 1.0

    @property
    def kernel(self) -> kernels.Sigma:
        """(kind, slope, addresses of value, derivative and curvature), for compiled loops."""
        raise NotImplementedError

    @property
    def has_kink(self) -> bool:
        """Whether sigma is piecewise linear, with a kink at 0."""
        return self.kernel[0] == kernels.PIECEWISE_LINEAR

    def value(self, u: Array) -> Array:
        """sigma(u)."""
        return kernels.activated(u.ravel(), self.kernel).reshape(u.shape)

    def derivative(self, u: Array) -> Array:
        """sigma'(u); at a kink the derivative from the left."""
        return kernels.slopes(u.ravel(), self.kernel).reshape(u.shape)

    def curvature(self, u: Array) -> Array:
        """sigma''(u); 0 at a kink."""
        return kernels.curvatures(u.ravel(), self.kernel).reshape(u.shape)

    def prox(
        self, theta1: Array, theta2: Array, theta3: Array, gamma: float, mu: float, l2: float
    ) -> Array:
        """A global minimiser of phi; ties go to the nonnegative candidate."""
        raise NotImplementedError

    def subdifferential_distance(self, u: Array, s: Array, q: Array) -> Array:
        """Distance of 0 to the limiting subdifferential s + d(-q sigma)(u)."""
        return np.abs(s - q * self.derivative(u))


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """max(u, slope u) with 0 <= slope < 1.

    Parameters
    ----------
    slope : float, default=0.01
        The derivative for negative u.

    Raises
    ------
    ValueError, TypeError
        If the slope is not a number in [0, 1).
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        if not 0.0 <= check_number(self.slope, "slope") < 1.0:
            raise ValueError(f"slope must be in [0, 1), found {self.slope!r}")

    @property
    def kernel(self) -> kernels.Sigma:
        """(kind, slope, addresses of scalar functions, of which it has none)."""
        return kernels.PIECEWISE_LINEAR, float(self.slope), 0, 0, 0

    def prox(
        self, theta1: Array, theta2: Array, theta3: Array, gamma: float, mu: float, l2: float
    ) -> Array:
        """(3.21) above 0, (3.22) or (4.35) below."""
        flat = theta1.ravel(), theta2.ravel(), theta3.ravel()
        return kernels.piecewise_linear_prox(*flat, gamma, mu, l2, float(self.slope)).reshape(
            theta1.shape
        )

    def subdifferential_distance(self, u: Array, s: Array, q: Array) -> Array:
        """Distance of 0 to s - q sigma'(u), with the limiting subdifferential at the kink.

        At the kink -q sigma is convex for q < 0, where its subdifferential is the interval
        between the one-sided slopes, and concave for q >= 0, where the limiting
        subdifferential is those two slopes alone.
        """
        right, left = s - q, s - self.slope * q
        of_kink = np.minimum(np.abs(left), np.abs(right))
        of_kink = np.where((q < 0.0) & (left <= 0.0) & (right >= 0.0), 0.0, of_kink)
        return np.where(u > 0.0, np.abs(right), np.where(u < 0.0, np.abs(left), of_kink))


@dataclass(frozen=True)
class ReLU(LeakyReLU):
    """max(u, 0): the paper's activation (2.1), and the leaky one of slope 0."""

    slope: float = field(default=0.0, init=False, repr=False)


class Smooth(Activation):
    """A twice differentiable activation, given by three compiled scalar functions.

    Attributes
    ----------
    scalars : tuple of three compiled functions
        sigma, sigma' and sigma'' of a double, each decorated by :func:`scalar`. sigma' must lie
        in [-1, 1].

    Examples
    --------
    Softsign, u over 1 + abs(u):

    >>> from sktime_alm.solver import Smooth, scalar, train
    >>> @scalar
    ... def softsign(u):
    ...     return u / (1.0 + abs(u))
    >>> @scalar
    ... def slope(u):
    ...     return 1.0 / (1.0 + abs(u)) ** 2
    >>> @scalar
    ... def curvature(u):
    ...     return (-2.0 if u > 0.0 else 2.0) / (1.0 + abs(u)) ** 3
    >>> class Softsign(Smooth):
    ...     scalars = softsign, slope, curvature
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> train(X, X[:, :1], 2, alpha=0.01, activation=Softsign(), random_state=0).objective < 0.5
    True
    """

    scalars: ClassVar[tuple[Any, Any, Any]]

    @property
    def kernel(self) -> kernels.Sigma:
        """(kind, slope, addresses of value, derivative and curvature)."""
        # addresses, so that one compiled loop serves all activations
        value, derivative, curvature = (function.address for function in self.scalars)
        return kernels.SMOOTH, 0.0, value, derivative, curvature

    def prox(
        self, theta1: Array, theta2: Array, theta3: Array, gamma: float, mu: float, l2: float
    ) -> Array:
        """The least of the values in the cells of a bracket, refined.

        phi is its quadratic part, of curvature c = gamma + mu + 2 l2 and centre m, plus
        gamma/2 (theta2 - sigma(u))^2. So phi(u) <= phi(m) only where (u - m)^2 is at most
        (theta2 - sigma(m))^2 gamma / c.
        """
        args = theta1, theta2, theta3, gamma, mu, l2
        c = gamma + mu + 2.0 * l2
        middle = (gamma * theta1 + mu * theta3) / c
        reach = np.abs(theta2 - self.value(middle)) * np.sqrt(gamma / c)
        best, least = middle, scalar_objective(self, middle, *args)
        # phi may have several minima: a descent from one point could end in the wrong one
        for share in np.linspace(-1.0, 1.0, _N_CELLS + 1):
            u = middle + share * reach
            value = scalar_objective(self, u, *args)
            is_less = value < least
            best, least = np.where(is_less, u, best), np.where(is_less, value, least)
        return self._minimum_near(best, 2.0 * reach / _N_CELLS, args)

    def _minimum_near(self, u: Array, width: Array, args: Any) -> Array:
        """Newton's method on phi' within a cell to either side, by bisection where it leaves."""
        theta1, theta2, theta3, gamma, mu, l2 = args
        low, high = u - width, u + width
        curvature, pull = gamma + mu + 2.0 * l2, gamma * theta1 + mu * theta3
        for _ in range(_MAX_ROOT_ITERATIONS):
            sigma, slope = self.value(u), self.derivative(u)
            first = curvature * u - pull - gamma * slope * (theta2 - sigma)
            second = curvature + gamma * (slope**2 - self.curvature(u) * (theta2 - sigma))
            # the bracket closes on the side that phi' says
            low, high = np.where(first <= 0.0, u, low), np.where(first >= 0.0, u, high)
            newton = u - first / np.where(second > 0.0, second, np.inf)
            is_inside = (second > 0.0) & (newton >= low) & (newton <= high)
            following = np.where(is_inside, newton, 0.5 * (low + high))
            if (np.abs(following - u) <= _ROOT_TOLERANCE * (1.0 + np.abs(u))).all():
                return following
            u = following
        return u


@scalar
def _elu(u: float) -> float:
    return u if u > 0.0 else math.expm1(u)


@scalar
def _elu_derivative(u: float) -> float:
    return 1.0 if u > 0.0 else math.exp(u)


@scalar
def _elu_curvature(u: float) -> float:
    return 0.0 if u > 0.0 else math.exp(u)


@dataclass(frozen=True)
class ELU(Smooth):
    """u for u >= 0 and exp(u) - 1 below: continuously differentiable."""

    scalars = _elu, _elu_derivative, _elu_curvature

    def prox(
        self, theta1: Array, theta2: Array, theta3: Array, gamma: float, mu: float, l2: float
    ) -> Array:
        """(3.21) above 0, (4.37) below."""
        flat = theta1.ravel(), theta2.ravel(), theta3.ravel()
        return _elu_prox(*flat, gamma, mu, l2).reshape(theta1.shape)


@scalar
def _tanh(u: float) -> float:
    return math.tanh(u)


@scalar
def _tanh_derivative(u: float) -> float:
    return 1.0 - math.tanh(u) ** 2


@scalar
def _tanh_curvature(u: float) -> float:
    sigma = math.tanh(u)
    return -2.0 * sigma * (1.0 - sigma**2)


@dataclass(frozen=True)
class Tanh(Smooth):
    """The hyperbolic tangent: bounded, so that no free run leaves the range of the outputs."""

    scalars = _tanh, _tanh_derivative, _tanh_curvature


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


@njit(cache=True, nogil=True)
def _elu_slope(
    u: float, pull: float, theta2: float, gamma: float, curvature: float
) -> tuple[float, float]:
    """phi' and phi'' for ELU at u <= 0, where phi'' is the quadratic (4.40) in exp(u)."""
    z = math.exp(u)
    first = curvature * u - pull - gamma * z * (theta2 + 1.0 - z)
    return first, curvature - gamma * z * (theta2 + 1.0 - 2.0 * z)


@njit(cache=True, nogil=True)
def _elu_minimum(
    guess: float,
    lower: float,
    upper: float,
    pull: float,
    theta2: float,
    gamma: float,
    curvature: float,
) -> float:
    """The minimiser of phi on a piece [lower, upper] of (-inf, 0] where it is convex.

    Newton's method on phi', and bisection wherever it would leave the bracket.
    """
    if _elu_slope(lower, pull, theta2, gamma, curvature)[0] >= 0.0:
        return lower
    if _elu_slope(upper, pull, theta2, gamma, curvature)[0] <= 0.0:
        return upper
    u = min(max(guess, lower), upper)
    for _ in range(_MAX_ROOT_ITERATIONS):
        first, second = _elu_slope(u, pull, theta2, gamma, curvature)
        if first <= 0.0:
            lower = u
        if first >= 0.0:
            upper = u
        tolerance = _ROOT_TOLERANCE * (1.0 + abs(u))
        newton = u - first / second if second > 0.0 else math.inf
        # rounding may throw a last tiny step out of the bracket: that is no cause to bisect
        if abs(newton - u) <= tolerance:
            return min(max(newton, lower), upper)
        following = newton if lower <= newton <= upper else 0.5 * (lower + upper)
        if abs(following - u) <= tolerance:
            return following
        u = following
    return u


@njit(cache=True, nogil=True)
def _elu_minimiser(
    theta1: float, theta2: float, theta3: float, gamma: float, mu: float, l2: float
) -> float:
    """(3.21) above 0 and (4.37) below, whichever has the smaller phi.

    On (-inf, 0] phi is convex up to the smaller root of (4.40) in z = exp(u), concave
    between the roots and convex from the larger one on: its minimum is that of at most
    two convex pieces.
    """
    curvature = gamma + mu + 2.0 * l2
    pull = gamma * theta1 + mu * theta3
    u_plus = max(pull + gamma * theta2, 0.0) / (curvature + gamma)
    # phi' <= 0 at and left of this point, whatever the sign of theta2
    lower = min((pull - gamma * max(-theta2, 0.0)) / curvature, 0.0)

    first, second = 0.0, 0.0
    linear = gamma * (theta2 + 1.0)
    discriminant = linear * linear - 8.0 * gamma * curvature
    if discriminant > 0.0 and linear > 0.0:
        larger_sum = linear + math.sqrt(discriminant)
        # this form of the smaller root does not cancel
        first = min(max(math.log(2.0 * curvature / larger_sum), lower), 0.0)
        second = min(max(math.log(larger_sum / (4.0 * gamma)), lower), 0.0)

    best, best_value = u_plus, math.inf
    for candidate in range(3):
        if candidate == 0:
            u = u_plus
        elif candidate == 1:
            u = _elu_minimum(theta3, lower, first, pull, theta2, gamma, curvature)
        elif first < second < 0.0:
            u = _elu_minimum(theta3, second, 0.0, pull, theta2, gamma, curvature)
        else:
            break
        to_theta2 = theta2 - (u if u > 0.0 else math.expm1(u))
        value = (
            0.5 * gamma * ((u - theta1) ** 2 + to_theta2 * to_theta2)
            + 0.5 * mu * (u - theta3) ** 2
            + l2 * u * u
        )
        if value < best_value:
            best, best_value = u, value
    return best


@njit(cache=True, nogil=True)
def _elu_prox(
    theta1: Array, theta2: Array, theta3: Array, gamma: float, mu: float, l2: float
) -> Array:
    """The minimisers of phi for ELU over flat arrays."""
    solution = np.empty_like(theta1)
    for i in range(len(theta1)):
        solution[i] = _elu_minimiser(theta1[i], theta2[i], theta3[i], gamma, mu, l2)
    return solution


ACTIVATIONS: dict[str, type[Activation]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "tanh": Tanh,
}


def get_activation(activation: str | Activation) -> Activation:
    """Resolve a name to its activation; an activation object is returned as it is.

    Raises
    ------
    ValueError
        If the name is unknown.
    TypeError
        If it is neither a name nor an :class:`Activation`.
    """
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {sorted(ACTIVATIONS)}, found {activation!r}"
            )
        return ACTIVATIONS[activation]()
    if not isinstance(activation, Activation):
        raise TypeError(
            f"activation must be one of {sorted(ACTIVATIONS)} or an object of a class derived "
            f"from sktime_alm.solver.Smooth, found {activation!r}"
        )
    return activation
