"""What earlier steps tell about the curvature of R: an inverse Hessian of secant pairs.

A pair is a step s and the change y of the gradient along it. Put over an inverse metric
H0, they make the matrix of BFGS, which maps every y to its s and is positive definite.
Arrays of the shape of the hidden layer B = [W V b] stand for vectors; the metric acts on
their rows.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.blas import dsymv, dsyr2, dtrsv

from sktime_alm.solver._typing import Array

# pairs with less curvature than this, relative to their norms, carry no information
_SMALLEST_CURVATURE = 1e-8
# the weights of which a square matrix is stored: 32 MB
_LARGEST_MATRIX = 2_000
_N_PAIRS, _N_PAIRS_OF_MANY_WEIGHTS = 50, 20


class LimitedMemory:
    """The last pairs, in the compact form of Byrd, Nocedal and Schnabel (1994).

    With the pairs as rows of S and Y, Z = H0 Y, the upper triangle U and the diagonal D of
    S Y', and the scale c that H0 needs for the curvature of the last pair,

        H = c H0 + [S' c Z'] [ U^-T (D + c Y Z') U^-1   -U^-T ] [ S   ]
                             [ -U^-1                      0   ] [ c Z ].
    """

    def __init__(self, hidden_layer: Array) -> None:
        self._shape = hidden_layer.shape
        n_weights = hidden_layer.size
        n_pairs = _N_PAIRS if n_weights <= _LARGEST_MATRIX else _N_PAIRS_OF_MANY_WEIGHTS
        # the pairs are a window that moves through arrays of twice their number, so that old
        # ones are seldom moved out of the way
        self._n_pairs, self._window = n_pairs, slice(0, 0)
        self._S, self._Y, self._Z = (np.empty((2 * n_pairs, n_weights)) for _ in range(3))
        self._U, self._YZ = np.zeros((2 * n_pairs,) * 2), np.zeros((2 * n_pairs,) * 2)
        self._inverse_metric: Array

    def renew(self, inverse_metric: Array) -> None:
        """Take over a metric, given by its inverse."""
        self._inverse_metric, window = inverse_metric, self._window
        self._Z[window] = self._apply_inverse(self._Y[window])
        self._YZ[window, window] = self._Y[window] @ self._Z[window].T

    def direction(self, gradient: Array) -> Array:
        """-H gradient."""
        vector, window = gradient.ravel(), self._window
        image = self._apply_inverse(vector)
        if self.is_empty:
            return -image.reshape(self._shape)
        S, Z, U, YZ = self._S[window], self._Z[window], *self._small()
        scale = float(U[-1, -1] / YZ[-1, -1])
        solved = dtrsv(U, S @ vector)
        inner = U.diagonal() * solved + scale * (YZ @ solved - Z @ vector)
        image = scale * (image - solved @ Z) + dtrsv(U, inner, trans=1) @ S
        return -image.reshape(self._shape)

    def append(self, step: Array, change: Array) -> None:
        """Keep a pair, if R is convex enough along it, in place of the oldest."""
        if not _is_convex(step, change):
            return
        first, k = self._window.start, self._window.stop
        if k == len(self._S):
            first, k = 0, self._n_pairs - 1
            for array in (self._S, self._Y, self._Z):
                array[:k] = array[-k:]
            for array in (self._U, self._YZ):
                array[:k, :k] = array[-k:, -k:]
        first = max(first, k + 1 - self._n_pairs)
        self._window = window = slice(first, k + 1)
        self._S[k], self._Y[k] = step.ravel(), change.ravel()
        self._Z[k] = self._apply_inverse(self._Y[k])
        self._U[window, k] = self._S[window] @ self._Y[k]
        self._U[k, first:k] = 0.0
        self._YZ[k, window] = self._YZ[window, k] = self._Y[window] @ self._Z[k]

    @property
    def is_empty(self) -> bool:
        """Whether it holds no pair."""
        return self._window.stop == 0

    def to_full(self) -> Memory:
        """Memory of all pairs from now on, or this one where its matrix would be large."""
        is_small = self._S.shape[1] <= _LARGEST_MATRIX
        return FullMemory(self._matrix()) if is_small and not self.is_empty else self

    def _matrix(self) -> Array:
        """H itself, H0 scaled so that it underrates the inverse curvature of no pair."""
        (r, width), window = self._shape, self._window
        U, YZ = self._small()
        scale = float(np.max(U.diagonal() / YZ.diagonal()))
        matrix = np.zeros((r * width, r * width), order="F")
        for i in range(r):
            rows = slice(i * width, (i + 1) * width)
            matrix[rows, rows] = scale * self._inverse_metric
        inverse = np.linalg.inv(U)
        core = np.diag(U.diagonal()) + scale * YZ
        S, Z = self._S[window], scale * (inverse.T @ self._Z[window])
        crossed = S.T @ Z
        matrix += S.T @ (inverse.T @ core @ inverse @ S)
        matrix -= crossed
        matrix -= crossed.T
        return matrix

    def _small(self) -> tuple[Array, Array]:
        """U and Y Z'."""
        window = self._window
        return self._U[window, window], self._YZ[window, window]

    def _apply_inverse(self, vectors: Array) -> Array:
        """H0 applied to vectors that are the rows of an array, or to one."""
        rows = vectors.reshape(-1, self._shape[1])
        return np.dot(rows, self._inverse_metric).reshape(vectors.shape)


class FullMemory:
    """The matrix of all pairs.

    At kinks it gets much further than the last pairs do: across a kink the Hessian is
    without bound, which a matrix can take in, and does not forget.
    """

    is_empty = False

    def __init__(self, matrix: Array) -> None:
        self._matrix = matrix

    def renew(self, inverse_metric: Array) -> None:
        """Nothing: what has been learned takes the place of the metric."""

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
    curvature = float(np.vdot(step, change))
    return curvature > _SMALLEST_CURVATURE * float(np.linalg.norm(step) * np.linalg.norm(change))
