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

from sktime_alm.solver import kernels
from sktime_alm.solver._typing import Array
from sktime_alm.solver._validation import check_number


@runtime_checkable
class Activation(Protocol):
    """What the solver asks of an activation function sigma.

    sigma must be Lipschitz; the solver relies on nothing else about it. The built-in ones
    have a further attribute ``kernel``, by which the loops over time run compiled; without
    it they run in NumPy.

    Examples
    --------
    An activation of your own. With the identity the network is linear:

    >>> import numpy as np
    >>> class Identity:
    ...     lipschitz = 1.0
    ...
    ...     def value(self, u):
    ...         return u.copy()
    ...
    ...     def derivative(self, u):
    ...         return np.ones_like(u)
    ...
    ...     def prox(self, theta1, theta2, theta3, gamma, mu, l2):
    ...         return (gamma * (theta1 + theta2) + mu * theta3) / (2 * gamma + mu + 2 * l2)
    ...
    ...     def subdifferential_distance(self, u, s, q):
    ...         return np.abs(s - q)
    >>> from sktime_alm.solver import train
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> result = train(X, X[:, :1], 2, alpha=0.01, activation=Identity(), random_state=0)
    >>> result.parameters.hidden_size
    2
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


class _Compiled:
    """What the activations that :mod:`kernels` knows share."""

    @property
    def kernel(self) -> tuple[int, float]:
        """Kind and slope by which the compiled loops know it."""
        raise NotImplementedError

    def prox(
        self, theta1: Array, theta2: Array, theta3: Array, gamma: float, mu: float, l2: float
    ) -> Array:
        """The compiled minimisers of phi: (3.21) above 0, (4.35) or (4.37) below."""
        flat = theta1.ravel(), theta2.ravel(), theta3.ravel()
        return kernels.prox(*flat, gamma, mu, l2, *self.kernel).reshape(theta1.shape)

    def subdifferential_distance(self, u: Array, s: Array, q: Array) -> Array:
        """Distance of 0 to s - q sigma'(u), with the limiting subdifferential at a kink."""
        flat = u.ravel(), s.ravel(), q.ravel()
        return kernels.subdifferential_distance(*flat, *self.kernel).reshape(u.shape)


@dataclass(frozen=True)
class LeakyReLU(_Compiled):
    """max(u, slope u) with 0 <= slope < 1.

    Parameters
    ----------
    slope : float, default=0.01
        The derivative for negative u.
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        if not 0.0 <= check_number(self.slope, "slope") < 1.0:
            raise ValueError(f"slope must be in [0, 1), found {self.slope!r}")

    @property
    def kernel(self) -> tuple[int, float]:
        """Kind and slope by which the compiled loops know it."""
        return kernels.PIECEWISE_LINEAR, float(self.slope)

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


@dataclass(frozen=True)
class ReLU(LeakyReLU):
    """max(u, 0): the paper's activation (2.1), and the leaky one of slope 0."""

    slope: float = field(default=0.0, init=False, repr=False)

    def value(self, u: Array) -> Array:
        """max(u, 0); a zero slope times u would leave negative zeros."""
        return np.maximum(u, 0.0)


@dataclass(frozen=True)
class ELU(_Compiled):
    """u for u >= 0 and exp(u) - 1 below: continuously differentiable."""

    @property
    def kernel(self) -> tuple[int, float]:
        """Kind and slope by which the compiled loops know it."""
        return kernels.ELU, 0.0

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
