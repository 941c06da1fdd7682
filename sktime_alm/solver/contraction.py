r"""The bound on the recurrence, and smooth coordinates of the hidden layers within it.

The recurrence contracts in a norm ||P . ||_2, P = diag(e^p), if ||P W P^-1||_2 <= bound < 1: the
activations do not stretch, so that the state forgets. Every such W is

    W = P^-1 U bound sin(S / bound) Q' P     of a free matrix M = U S Q'.

The sine of singular values is smooth in M, also where they coincide, near the identity for
small M, and reaches the bound, its rim, at finite M: a minimum on the rim is a stationary
point in M, which a quasi-Newton method finds as fast as any other.

Inputs are counted in units of their size, V diag(size): so no step depends on the units of X.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.optimize import minimize

from sktime_alm.solver._typing import Array
from sktime_alm.solver._validation import check_bound, check_choice
from sktime_alm.solver.settings import NORMS

# A matrix on the rim is taken to be this much inside: at the rim no small step in M shrinks W
_INSIDE = 0.999
_ROUNDING = 1e-9
# powers that smooth the largest singular value, to be minimised over P, and what that leaves
_POWERS = 8, 64, 512, 4096
_BALANCED = 1e-3
# half the distance of central differences, relative to the coordinate
_DIFFERENCE = 1e-5
# no balance is so bad that P would need to reach further
_LARGEST_EXPONENT = 30.0

_compiled = njit(cache=True, nogil=True)


class Frame(NamedTuple):
    """Coordinates with the hidden layer [W V b] that they stand for.

    ``left``, ``angles`` and ``right`` are U, S / bound and Q' of M; empty without a bound.
    """

    variables: Array
    hidden_layer: Array
    left: Array
    angles: Array
    right: Array


@dataclass(frozen=True, eq=False)
class Contraction:
    """The set of hidden layers whose recurrence is within a bound.

    Parameters
    ----------
    bound : float
        Above 0; infinity is none.
    norm : {"spectral", "diagonal"}
        Of W itself, or of P W P^-1 with the diagonal P that suits it best.
    sizes : array of shape (n,)
        Of each input: the coordinates of its column of V are multiples of 1 / size.

    Raises
    ------
    ValueError, TypeError
        If the bound is not a number above 0 or the norm is unknown.
    """

    bound: float
    norm: str
    sizes: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "bound", check_bound(self.bound, "max_recurrence"))
        check_choice(self.norm, "recurrence_norm", NORMS)

    @property
    def is_bounded(self) -> bool:
        """Whether there is a bound."""
        return self.bound < np.inf

    @property
    def has_scaling(self) -> bool:
        """Whether P is among the variables, as their last column p."""
        return self.is_bounded and self.norm == "diagonal"

    def contains(self, W: Array) -> bool:
        """Whether W is within the bound up to rounding, or what finding P leaves."""
        if not self.is_bounded:
            return True
        # the Frobenius norm, a bound on the spectral one, costs next to nothing
        squares = float(np.einsum("ij,ij->", W, W))
        if not np.isfinite(squares):
            return False
        limit = (1.0 + _ROUNDING) * self.bound
        if squares <= limit**2 or _norm(W) <= limit:
            return True
        if self.norm == "spectral":
            return False
        p = _balance(W)
        return _norm(_scaled(W, p)) <= (1.0 + _BALANCED) * self.bound

    def nearest(self, hidden_layer: Array) -> Array:
        """[W V b] with W cut to the bound: its singular values, or those of P W P^-1."""
        r = len(hidden_layer)
        W = hidden_layer[:, :r]
        if not np.isfinite(W).all() or self.contains(W):
            return hidden_layer
        p = _balance(W) if self.has_scaling else np.zeros(r)
        left, values, right = np.linalg.svd(_scaled(W, p))
        cut = (left * np.minimum(values, self.bound)) @ right
        return np.hstack([_scaled(cut, -p), hidden_layer[:, r:]])

    def frame_of(self, hidden_layer: Array) -> Frame:
        """Coordinates of a hidden layer; a little inside of the bound where it is on the rim."""
        r = len(hidden_layer)
        variables = hidden_layer.copy()
        variables[:, r:-1] *= self.sizes
        if not self.is_bounded:
            return self.frame(variables)
        W, p = hidden_layer[:, :r], np.zeros(r)
        if self.has_scaling and _norm(W) > self.bound:
            p = _balance(W)
        left, values, right = np.linalg.svd(_scaled(W, p))
        angles = np.arcsin(np.minimum(values / self.bound, _INSIDE))
        variables[:, :r] = (left * (self.bound * angles)) @ right
        return self.frame(np.column_stack([variables, p]) if self.has_scaling else variables)

    def frame(self, variables: Array) -> Frame:
        """The hidden layer at some coordinates."""
        width = len(variables) + len(self.sizes) + 1
        if not self.is_bounded:
            none = np.empty((0, 0))
            return Frame(variables, _rescaled(variables, self.sizes), none, np.empty(0), none)
        layer = _rescaled(np.ascontiguousarray(variables[:, :width]), self.sizes)
        left, angles, right = _fold(layer, self.bound)
        if self.has_scaling:
            r = len(layer)
            layer[:, :r] = _scaled(layer[:, :r], -self._exponents(variables))
        return Frame(variables, layer, left, angles, right)

    def pull_back(self, frame: Frame, gradient: Array) -> Array:
        """The gradient in the coordinates, of one in [W V b]."""
        r = len(gradient)
        gradient = _rescaled(gradient, self.sizes)
        if not self.is_bounded:
            return gradient
        if not self.has_scaling:
            _unfold(gradient, frame.left, frame.angles, frame.right)
            return gradient
        of_W, W = gradient[:, :r], frame.hidden_layer[:, :r]
        products = of_W * W
        of_p = products.sum(axis=0) - products.sum(axis=1)
        gradient[:, :r] = _scaled(of_W, -self._exponents(frame.variables))
        _unfold(gradient, frame.left, frame.angles, frame.right)
        return np.column_stack([gradient, of_p])

    def hessian(self, frame: Frame, gradient: Array, hessian: Array) -> Array:
        """Second derivatives in the coordinates, of the first and second ones in [W V b].

        The map's own are differences of :meth:`pull_back`. Shape (k, k), k the number of
        coordinates.
        """
        variables, layer = frame.variables, frame.hidden_layer

        def pulled(moved: Array) -> Array:
            there = self.frame(moved)
            change = (hessian @ (there.hidden_layer - layer).ravel()).reshape(layer.shape)
            return self.pull_back(there, gradient + change).ravel()

        found = np.empty((variables.size, variables.size))
        for k in range(variables.size):
            move = np.zeros_like(variables)
            move.flat[k] = step = _DIFFERENCE * (1.0 + abs(variables.flat[k]))
            found[k] = (pulled(variables + move) - pulled(variables - move)) / (2.0 * step)
        return 0.5 * (found + found.T)

    def metric_of(self, matrix: Array) -> Array:
        """The metric of a row of [W V b] in the coordinates."""
        n = len(self.sizes)
        units = np.ones(len(matrix))
        units[-1 - n : -1] = self.sizes
        matrix = matrix / np.outer(units, units)
        if not self.has_scaling:
            return matrix
        # R is no more curved in p than in the other weights
        padded = np.zeros((len(matrix) + 1,) * 2)
        padded[:-1, :-1] = matrix
        padded[-1, -1] = np.trace(matrix) / len(matrix)
        return padded

    def _exponents(self, variables: Array) -> Array:
        # a product, so that what is common to all p, and does nothing, is left out
        p = variables[:, -1]
        return np.clip(p - p.mean(), -_LARGEST_EXPONENT, _LARGEST_EXPONENT)


def _norm(W: Array) -> float:
    return float(np.linalg.norm(W, 2))


def _scaled(W: Array, p: Array) -> Array:
    """P W P^-1."""
    return W * np.exp(p[:, None] - p)


def _balance(W: Array) -> Array:
    """p with the smallest ||P W P^-1||_2, to about one in a thousand; the problem is convex."""
    if not W.any():
        return np.zeros(len(W))

    def smoothed(p: Array, power: int) -> tuple[float, Array]:
        left, values, right = np.linalg.svd(_scaled(W, p))
        weights = (values / values[0]) ** power
        value = np.log(values[0]) + np.log(weights.sum()) / power
        shares = weights / weights.sum()
        return value, (left**2 - right.T**2) @ shares

    p = np.zeros(len(W))
    for power in _POWERS:
        p = minimize(smoothed, p, args=(power,), jac=True, method="BFGS", options={"gtol": 1e-7}).x
    return p - p.mean()


@_compiled
def _rescaled(layer: Array, sizes: Array) -> Array:
    """A copy with the columns of the inputs over their sizes."""
    layer = layer.copy()
    r = len(layer)
    for i in range(r):
        for j in range(len(sizes)):
            layer[i, r + j] /= sizes[j]
    return layer


@_compiled
def _write(layer: Array, W: Array) -> None:
    """Replace W in a layer; a slice would be compiled with the text of its errors, for seconds."""
    for i in range(len(W)):
        for j in range(len(W)):
            layer[i, j] = W[i, j]


@_compiled
def _fold(layer: Array, bound: float) -> tuple[Array, Array, Array]:
    """Replace M in a layer by U bound sin(S / bound) Q'; U, S / bound, Q'."""
    r = len(layer)
    left, values, right = np.linalg.svd(np.ascontiguousarray(layer[:, :r]))
    angles = values / bound
    scaled = left.copy()
    for i in range(r):
        for j in range(r):
            scaled[i, j] *= bound * np.sin(angles[j])
    _write(layer, np.dot(scaled, right))
    return left, angles, right


@_compiled
def _unfold(gradient: Array, left: Array, angles: Array, right: Array) -> None:
    """Replace the gradient in W by that in M.

    In the frame of M's singular vectors the derivative of the map multiplies the symmetric part
    of a matrix by the difference quotients of the sine, the skew part by the quotients of sums:
    (sin a - sin b) / (a - b) = cos((a + b) / 2) sinc((a - b) / 2), and with -b for b.
    """
    r = len(gradient)
    inner = np.dot(np.dot(left.T, np.ascontiguousarray(gradient[:, :r])), right.T)
    mapped = np.empty((r, r))
    for i in range(r):
        for j in range(r):
            low, high = 0.5 * (angles[i] - angles[j]), 0.5 * (angles[i] + angles[j])
            sinc_low = np.sin(low) / low if abs(low) > 1e-8 else 1.0
            sinc_high = np.sin(high) / high if abs(high) > 1e-8 else 1.0
            symmetric = 0.5 * np.cos(high) * sinc_low * (inner[i, j] + inner[j, i])
            skew = 0.5 * np.cos(low) * sinc_high * (inner[i, j] - inner[j, i])
            mapped[i, j] = symmetric + skew
    _write(gradient, np.dot(np.dot(left, mapped), right))
