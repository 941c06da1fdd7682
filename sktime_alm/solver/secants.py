"""What earlier steps tell about the curvature of R: an inverse Hessian of secant pairs.

A pair is a step s and the change y of the gradient along it. Put over an inverse metric
H0, they make the matrix of BFGS, which maps every y to its s and is positive definite.
Arrays of the shape of the hidden layer B = [W V b] stand for vectors; the metric acts on
their rows.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from scipy.linalg.blas import dsymv, dsyr2, dsyr2k

from sktime_alm.solver._typing import Array

# pairs with less curvature than this, relative to their norms, carry no information
_SMALLEST_CURVATURE = 1e-8
# nor do changes of the gradient whose squares are lost in rounding
_SMALLEST_SQUARE = 1e-200
# the weights of which a square matrix is stored: 32 MB
_LARGEST_MATRIX = 2_000
_N_PAIRS = 30


class LimitedMemory:
    """The last pairs, in the compact form of Byrd, Nocedal and Schnabel (1994).

    With the pairs as rows of S and Y, Z = H0 Y, the upper triangle U and the diagonal D of
    S Y', and the scale c that H0 needs for the curvature of the last pair,

        H = c H0 + [S' c Z'] [ U^-T (D + c Y Z') U^-1   -U^-T ] [ S   ]
                             [ -U^-1                      0   ] [ c Z ].
    """

    def __init__(self, hidden_layer: Array) -> None:
        self._shape = hidden_layer.shape
        # the pairs are a window that moves through arrays of twice their number, so that old
        # ones are seldom moved out of the way
        self._window, n_rows = slice(0, 0), 2 * _N_PAIRS
        self._S, self._Y, self._Z = (np.empty((n_rows, hidden_layer.size)) for _ in range(3))
        self._U, self._YZ = np.zeros((n_rows, n_rows)), np.zeros((n_rows, n_rows))
        self._inverse_metric: Array

    def renew(self, inverse_metric: Array) -> None:
        """Take over a metric, given by its inverse."""
        self._inverse_metric, window = np.ascontiguousarray(inverse_metric), self._window
        rows = self._Y[window].reshape(-1, self._shape[1])
        self._Z[window] = np.dot(rows, self._inverse_metric).reshape(self._Y[window].shape)
        self._YZ[window, window] = self._Y[window] @ self._Z[window].T

    def direction(self, gradient: Array) -> Array:
        """-H gradient."""
        S, Z, first = self._S[self._window], self._Z[self._window], self._window.start
        U, YZ, inverse_metric = self._U, self._YZ, self._inverse_metric
        return _direction(gradient, S, Z, U, YZ, inverse_metric, first)

    def append(self, step: Array, change: Array) -> None:
        """Keep a pair, if R is convex enough along it, in place of the oldest."""
        if not _is_convex(step, change):
            return
        first, k = self._window.start, self._window.stop
        if k == len(self._S):
            first, k = 0, _N_PAIRS - 1
            for array in (self._S, self._Y, self._Z):
                array[:k] = array[-k:]
            for array in (self._U, self._YZ):
                array[:k, :k] = array[-k:, -k:]
        first = max(first, k + 1 - _N_PAIRS)
        self._window = slice(first, k + 1)
        arrays = self._S, self._Y, self._Z, self._U, self._YZ, self._inverse_metric
        _append(step, change, *arrays, first, k)

    @property
    def is_empty(self) -> bool:
        """Whether it holds no pair."""
        return self._window.stop == 0

    def to_full(self) -> Memory:
        """Memory of all pairs from now on, or this one where its matrix would be large."""
        is_small = self._S.shape[1] <= _LARGEST_MATRIX
        return FullMemory(self._matrix()) if is_small and not self.is_empty else self

    def _matrix(self) -> Array:
        """The lower triangle of H; H0 is scaled to underrate the inverse curvature of no pair."""
        (r, width), window = self._shape, self._window
        U, YZ = self._U[window, window], self._YZ[window, window]
        scale = float(np.max(U.diagonal() / YZ.diagonal()))
        matrix = np.zeros((r * width, r * width), order="F")
        for i in range(r):
            rows = slice(i * width, (i + 1) * width)
            matrix[rows, rows] = scale * self._inverse_metric
        # with V = U^-1, the terms in pairs are S' half + half' S
        S, V = self._S[window], np.linalg.inv(U)
        half = V.T @ (0.5 * (np.diag(U.diagonal()) + scale * YZ) @ V @ S - scale * self._Z[window])
        return dsyr2k(1.0, S.T, half.T, beta=1.0, c=matrix, lower=1, overwrite_c=1)


class FullMemory:
    """The matrix of all pairs.

    At kinks it gets much further than the last pairs do: across a kink the Hessian is
    without bound, which a matrix can take in, and does not forget.
    """

    is_empty = False

    def __init__(self, matrix: Array) -> None:
        self._matrix = matrix

    def to_full(self) -> Memory:
        """It is one already."""
        return self

    def direction(self, gradient: Array) -> Array:
        """-H gradient."""
        return -dsymv(1.0, self._matrix, gradient.ravel(), lower=1).reshape(gradient.shape)

    def append(self, step: Array, change: Array) -> None:
        """Take a pair into the matrix, if R is convex enough along it."""
        if not _is_convex(step, change):
            return
        s, y = step.ravel(), change.ravel()
        curvature = float(s @ y)
        image = dsymv(1.0, self._matrix, y, lower=1) / curvature
        # (I - s y'/s'y) H (I - y s'/s'y) + s s'/s'y, as H + s w' + w s'
        w = (0.5 / curvature) * (1.0 + float(y @ image)) * s - image
        self._matrix = dsyr2(1.0, s, w, a=self._matrix, lower=1, overwrite_a=1)


Memory = LimitedMemory | FullMemory


def _is_convex(step: Array, change: Array) -> bool:
    square = float(np.vdot(change, change))
    norms = math.sqrt(float(np.vdot(step, step))) * math.sqrt(square)
    return square > _SMALLEST_SQUARE and float(np.vdot(step, change)) > _SMALLEST_CURVATURE * norms


@njit(cache=True, nogil=True)
def _direction(
    gradient: Array, S: Array, Z: Array, U: Array, YZ: Array, inverse_metric: Array, first: int
) -> Array:
    """-H gradient of :class:`LimitedMemory`; U and YZ hold the pairs from ``first`` on."""
    image, k = np.dot(gradient, inverse_metric), len(S)
    if k == 0:
        return -image
    vector = gradient.ravel()
    solved, inner = np.dot(S, vector), np.dot(Z, vector)
    last = first + k - 1
    scale = U[last, last] / YZ[last, last]
    for i in range(k - 1, -1, -1):
        for j in range(i + 1, k):
            solved[i] -= U[first + i, first + j] * solved[j]
        solved[i] /= U[first + i, first + i]
    for i in range(k):
        inner[i] = -inner[i]
        for j in range(k):
            inner[i] += YZ[first + i, first + j] * solved[j]
    for i in range(k):
        inner[i] = U[first + i, first + i] * solved[i] + scale * inner[i]
        for j in range(i):
            inner[i] -= U[first + j, first + i] * inner[j]
        inner[i] /= U[first + i, first + i]
    of_Z, of_S = np.dot(solved, Z), np.dot(inner, S)
    direction, of_gradient = np.empty(gradient.size), image.ravel()
    for i in range(gradient.size):
        direction[i] = scale * (of_Z[i] - of_gradient[i]) - of_S[i]
    return direction.reshape(gradient.shape)


@njit(cache=True, nogil=True)
def _append(
    step: Array,
    change: Array,
    S: Array,
    Y: Array,
    Z: Array,
    U: Array,
    YZ: Array,
    inverse_metric: Array,
    first: int,
    k: int,
) -> None:
    """Write a pair and its products with those from ``first`` on into row k."""
    s, y, z = step.ravel(), change.ravel(), np.dot(change, inverse_metric).ravel()
    for i in range(step.size):
        S[k, i], Y[k, i], Z[k, i] = s[i], y[i], z[i]
    of_S, of_Y = np.dot(S[first : k + 1], Y[k]), np.dot(Y[first : k + 1], Z[k])
    for i in range(first, k + 1):
        U[k, i] = 0.0
        U[i, k] = of_S[i - first]
        YZ[k, i] = YZ[i, k] = of_Y[i - first]
