"""Losses: what a row costs, with its derivatives in the outputs.

A datafit is handed targets and outputs of shape (T, m) and knows nothing of the network: the
loss of the problem is the mean of ``value`` over the rows with targets. Another loss is one
class with these methods. It has to be convex in the outputs, once differentiable, with a second
derivative that is above 0 where it exists and is not 0 everywhere: the best readout is found by
Newton's method.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np

from sktime_alm.solver._typing import Array
from sktime_alm.solver._validation import check_choice, check_matrix, check_positive

# below this exp(z) - z - 1 is a sum of few powers
_SMALL = 1e-2


class Datafit(Protocol):
    """What is asked of a loss.

    Attributes
    ----------
    is_log : bool
        Whether it is one of logarithms: a forecaster takes those of y.
    """

    is_log: ClassVar[bool]

    def in_units(self, scale: Array) -> Datafit:
        """The loss of targets and outputs that are given in these units, of shape (T, m)."""

    def value(self, Y: Array, outputs: Array) -> Array:
        """The loss of each row, of shape (T,)."""

    def derivative(self, Y: Array, outputs: Array) -> Array:
        """Its derivative in the outputs, of shape (T, m)."""

    def curvature(self, Y: Array, outputs: Array) -> Array:
        """Its second derivative in each output, of shape (T, m); the mixed ones are 0."""


@dataclass(frozen=True)
class Squared:
    """||y - yhat||^2: the paper's, with which the blocks of the weights and states are closed."""

    is_log: ClassVar[bool] = False

    def in_units(self, scale: Array) -> Squared:
        """Itself: a factor for each output, which standardised targets do without."""
        return self

    def value(self, Y: Array, outputs: Array) -> Array:
        """||y - yhat||^2 of each row."""
        errors = Y - outputs
        return np.einsum("ij,ij->i", errors, errors)

    def derivative(self, Y: Array, outputs: Array) -> Array:
        """2 (yhat - y)."""
        return 2.0 * (outputs - Y)

    def curvature(self, Y: Array, outputs: Array) -> Array:
        """2."""
        return np.full(outputs.shape, 2.0)


@dataclass(frozen=True, eq=False)
class QLIKE:
    """The gamma deviance of targets that are logarithms, y = log v: QLIKE of v to a power p.

    With e = y - yhat and vhat = exp(yhat) it is

        2 / p^2 (exp(p e) - p e - 1) = 2 / p^2 ((v / vhat)^p - log (v / vhat)^p - 1),

    which is e^2 for a small p e. It ranks forecasts of a variance rightly where v is a noisy
    measurement of it (Patton 2011), and where it is least the mean of (v / vhat)^p is 1.

    Parameters
    ----------
    power : float or array of shape (T, m), default=0.5
        p. With variances v, 1 is the loss of a variance and 1/2 that of a volatility.

    Raises
    ------
    ValueError, TypeError
        If it is neither a number above 0 nor an array of two dimensions of them.
    """

    is_log: ClassVar[bool] = True

    power: float | Array = 0.5

    def __post_init__(self) -> None:
        # an array where a panel's series have scales of their own
        is_array = isinstance(self.power, np.ndarray)
        check_positive(check_matrix(self.power, "power").min() if is_array else self.power, "power")

    def in_units(self, scale: Array) -> QLIKE:
        """The same of errors in units of ``scale``, up to its square: p times the scale."""
        return replace(self, power=self.power * scale)

    def value(self, Y: Array, outputs: Array) -> Array:
        """2 / p^2 (exp(p e) - p e - 1), summed over outputs; infinite where it overflows."""
        z = self.power * (Y - outputs)
        # of small z the difference would be rounding: there it is its series
        with np.errstate(over="ignore"):
            plain = np.expm1(z) - z
        series = 0.5 * z * z * (1.0 + z / 3.0 * (1.0 + z / 4.0 * (1.0 + z / 5.0 * (1.0 + z / 6.0))))
        losses: Array = 2.0 / self.power**2 * np.where(np.abs(z) < _SMALL, series, plain)
        return losses.sum(axis=1)

    def derivative(self, Y: Array, outputs: Array) -> Array:
        """-2 / p (exp(p e) - 1)."""
        with np.errstate(over="ignore"):
            return -2.0 / self.power * np.expm1(self.power * (Y - outputs))

    def curvature(self, Y: Array, outputs: Array) -> Array:
        """2 exp(p e)."""
        with np.errstate(over="ignore"):
            return 2.0 * np.exp(self.power * (Y - outputs))


_NAMED: dict[str, type[Datafit]] = {"squared": Squared, "qlike": QLIKE}


def get_datafit(loss: str | Datafit) -> Datafit:
    """A loss by its name, or as it is.

    Raises
    ------
    ValueError, TypeError
        If the name is unknown, or the object is no loss.
    """
    if isinstance(loss, str):
        return _NAMED[check_choice(loss, "loss", _NAMED)]()
    missing = [
        name
        for name in ("is_log", "in_units", "value", "derivative", "curvature")
        if not hasattr(loss, name)
    ]
    if isinstance(loss, type) or missing:
        raise TypeError(
            f"loss must be one of {sorted(_NAMED)} or an object with the methods of a Datafit, "
            f"found {loss!r}"
        )
    return loss
