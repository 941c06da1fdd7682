"""Losses: what a row costs, with its derivatives in the outputs.

A datafit is handed targets and outputs of shape (T, m) and knows nothing of the network: the
loss of the problem is the mean of ``value`` over the rows with targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from sktime_alm.solver._typing import Array
from sktime_alm.solver._validation import check_choice


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
        """Its second derivative in each output, of shape (T, m)."""


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


def get_datafit(loss: str | Datafit) -> Datafit:
    """A loss by its name, or as it is."""
    if not isinstance(loss, str):
        return loss
    return _NAMED[check_choice(loss, "loss", _NAMED)]()


_NAMED: dict[str, type[Datafit]] = {"squared": Squared}
