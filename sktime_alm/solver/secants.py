"""What earlier steps tell about the curvature of R: an inverse Hessian of secant pairs.

A pair is a step s and the change y of the gradient along it. Put over an inverse metric
H0, they make the matrix of BFGS, which maps every y to its s and is positive definite.
Arrays of the shape of the hidden layer B = [W V b] stand for vectors; the metric acts on
their rows.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.blas import dsymv, dsyr2, dtrsv
from scipy.linalg.lapack import dpotrs

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
        self._size = 0
        self._S, self._Y, self._Z = (np.empty((n_pairs, n_weights)) for _ in range(3))
        self._U, self._YZ = np.zeros((n_pairs, n_pairs)), np.zeros((n_pairs, n_pairs))
        self._factor: Array

    def renew(self, factor: Array) -> None:
        """Take over a metric, given by its lower Cholesky factor."""
        self._factor, k = factor, self._size
        self._Z[:k] = self._solve(self._Y[:k])
        self._YZ[:k, :k] = self._Y[:k] @ self._Z[:k].T

    def direction(self, gradient: Array) -> Array:
        """-H gradient."""
        vector, k = gradient.ravel(), self._size
        image = self._solve(vector)
        if k == 0:
            return -image.reshape(self._shape)
        S, Z, U = self._S[:k], self._Z[:k], self._U[:k, :k]
        scale = float(U[-1, -1] / self._YZ[k - 1, k - 1])
        solved = dtrsv(U, S @ vector)
        inner = self._U.diagonal()[:k] * solved + scale * (self._YZ[:k, :k] @ solved - Z @ vector)
        image = scale * (image - solved @ Z) + dtrsv(U, inner, trans=1) @ S
        return -image.reshape(self._shape)

    def append(self, step: Array, change: Array) -> None:
        """Keep a pair, if R is convex enough along it, in place of the oldest."""
        if not _is_convex(step, change):
            return
        if self._size == len(self._S):
            for array in (self._S, self._Y, self._Z):
                array[:-1] = array[1:]
            for array in (self._U, self._YZ):
                array[:-1, :-1] = array[1:, 1:]
            self._size -= 1
        k = self._size
        self._S[k], self._Y[k] = step.ravel(), change.ravel()
        self._Z[k] = self._solve(self._Y[k])
        self._U[: k + 1, k] = self._S[: k + 1] @ self._Y[k]
        self._YZ[k, : k + 1] = self._YZ[: k + 1, k] = self._Y[: k + 1] @ self._Z[k]
        self._size += 1

    @property
    def is_empty(self) -> bool:
        """Whether it holds no pair."""
        return self._size == 0

    def to_full(self) -> Memory:
        """Memory of all pairs from now on, or this one where its matrix would be large."""
        is_small = self._S.shape[1] <= _LARGEST_MATRIX
        return FullMemory(self._matrix()) if is_small and not self.is_empty else self

    def _matrix(self) -> Array:
        """H itself, H0 scaled so that it underrates the inverse curvature of no pair."""
        (r, width), k = self._shape, self._size
        scale = float(np.max(self._U.diagonal()[:k] / self._YZ.diagonal()[:k]))
        block = scale * dpotrs(self._factor, np.eye(width), lower=1)[0]
        matrix = np.zeros((r * width, r * width), order="F")
        for i in range(r):
            rows = slice(i * width, (i + 1) * width)
            matrix[rows, rows] = block
        inverse = np.linalg.inv(self._U[:k, :k])
        core = np.diag(self._U.diagonal()[:k]) + scale * self._YZ[:k, :k]
        S, Z = self._S[:k], scale * (inverse.T @ self._Z[:k])
        crossed = S.T @ Z
        matrix += S.T @ (inverse.T @ core @ inverse @ S)
        matrix -= crossed
        matrix -= crossed.T
        return matrix

    def _solve(self, vectors: Array) -> Array:
        """H0 applied to vectors that are the rows of an array, or to one."""
        rows = vectors.reshape(-1, self._shape[1])
        return dpotrs(self._factor, rows.T, lower=1)[0].T.reshape(vectors.shape)


class FullMemory:
    """The matrix of all pairs.

    At kinks it gets much further than the last pairs do: across a kink the Hessian is
    without bound, which a matrix can take in, and does not forget.
    """

    is_empty = False

    def __init__(self, matrix: Array) -> None:
        self._matrix = matrix

    def renew(self, factor: Array) -> None:
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
