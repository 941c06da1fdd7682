"""Smooth coordinates of the matrices of bounded spectral norm, for optimisers without constraints.

A matrix M = U tan(theta) V', theta in [0, pi/2), stands for W = rho U sin(theta) V', which is
rho M (I + M'M)^(-1/2): all matrices with a norm below rho, and no other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# how far out, as a share of the radius, a start on or beyond the rim is taken to lie
_INSIDE = 0.999


class Place(NamedTuple):
    """A hidden layer [W V b], and the factors U, theta, V' of its W; none if W is free."""

    hidden_layer: np.ndarray
    radius: float = np.inf
    factors: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def pull_back(self, gradient: np.ndarray) -> np.ndarray:
        """Gradients in [W V b], the last two axes, as gradients in the coordinates.

        In the basis of U and V the derivative multiplies the symmetric part by the divided
        differences of rho sin against tan, and the skew part by those to -theta, both functions
        being odd. By half angles neither has a quotient that could be 0/0.
        """
        if self.factors is None:
            return gradient
        U, theta, Vt = self.factors
        r, both = len(theta), self.radius * np.outer(np.cos(theta), np.cos(theta))
        of_sum = np.cos(np.add.outer(theta, theta) / 2.0)
        of_difference = np.cos(np.subtract.outer(theta, theta) / 2.0)
        inner = U.T @ gradient[..., :r] @ Vt.T
        mirrored = np.swapaxes(inner, -1, -2)
        symmetric, skew = (inner + mirrored) / 2.0, (inner - mirrored) / 2.0
        changed = both * (of_sum / of_difference * symmetric + of_difference / of_sum * skew)
        return np.concatenate([U @ changed @ Vt, gradient[..., r:]], axis=-1)


def place_of(coordinates: np.ndarray, radius: float) -> Place:
    """The hidden layer [W V b] of coordinates [M V b], of shape (r, r + n + 1)."""
    if not np.isfinite(radius):
        return Place(coordinates)
    if not np.isfinite(coordinates).all():
        # a diverged run: R is no number there
        return Place(np.full_like(coordinates, np.nan))
    r = len(coordinates)
    U, tangents, Vt = np.linalg.svd(coordinates[:, :r])
    theta = np.arctan(tangents)
    W = (U * (radius * np.sin(theta))) @ Vt
    return Place(np.hstack([W, coordinates[:, r:]]), radius, (U, theta, Vt))


def coordinates_of(hidden_layer: np.ndarray, radius: float) -> np.ndarray:
    """Coordinates [M V b] of a hidden layer [W V b]; of a W on the rim or beyond, from inside."""
    if not np.isfinite(radius):
        return hidden_layer
    r = len(hidden_layer)
    U, values, Vt = np.linalg.svd(hidden_layer[:, :r])
    theta = np.arcsin(np.minimum(values / radius, _INSIDE))
    return np.hstack([(U * np.tan(theta)) @ Vt, hidden_layer[:, r:]])
