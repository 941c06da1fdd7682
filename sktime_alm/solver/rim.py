"""The bound ||W||_2 <= rho where it is active: some singular values of W are held at rho.

With the k largest held, W = U S V', the equations are sym(U_k' W V_k) = rho I, and the bound has
a symmetric multiplier, psd at a minimum: dR/dW = -U_k M V_k'.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sktime_alm.solver._typing import Array


class Rim(NamedTuple):
    """The singular vectors (r, r) and values of W, of which the k largest are held at the bound."""

    bound: float
    U: Array
    values: Array
    V: Array
    k: int

    @classmethod
    def of(cls, W: Array, bound: float, tolerance: float) -> Rim:
        """With the singular values held that are relatively within a tolerance of the bound."""
        U, values, Vt = np.linalg.svd(W)
        return cls(bound, U, values, Vt.T, int((values >= bound * (1.0 - tolerance)).sum()))

    @property
    def normals(self) -> Array:
        """The gradients in W of the entries a <= b of sym(U'WV); (k (k + 1) / 2, r, r)."""
        a, b = np.triu_indices(self.k)
        U, V = self.U.T, self.V.T
        both = U[a, :, None] * V[b, None, :] + U[b, :, None] * V[a, None, :]
        return 0.5 * both

    def multiplier(self, gradient: Array) -> Array:
        """The symmetric M of shape (k, k) with U_k M V_k' nearest to minus a gradient in W."""
        # the constraints are symmetric in a and b, so that a skew part balances nothing
        M = -self.U[:, : self.k].T @ gradient @ self.V[:, : self.k]
        return 0.5 * (M + M.T)

    def unbalanced(self, gradients: Array) -> Array:
        """Gradients in [W V b], (n, r, r + n + 1), less what multipliers of the bound balance."""
        if not self.k:
            return gradients
        r, U, V = len(self.U), self.U[:, : self.k], self.V[:, : self.k]
        M = np.einsum("ia,nij,jb->nab", U, gradients[:, :, :r], V)
        M = 0.5 * (M + M.transpose(0, 2, 1))
        gradients = gradients.copy()
        gradients[:, :, :r] -= np.einsum("ia,nab,jb->nij", U, M, V)
        return gradients

    def released(self, M: Array) -> tuple[Rim, Array]:
        """Without the directions in which a multiplier is not positive; the others' multipliers.

        The frame is turned to the eigenvectors of the multiplier.
        """
        values, vectors = np.linalg.eigh(M)
        # largest first, so that what is released comes last and k just falls
        values, vectors, k = values[::-1], vectors[:, ::-1], self.k
        U, V = self.U.copy(), self.V.copy()
        U[:, :k], V[:, :k] = U[:, :k] @ vectors, V[:, :k] @ vectors
        n_kept = int((values > 0.0).sum())
        return Rim(self.bound, U, self.values, V, n_kept), values[:n_kept]

    def curvature(self, multipliers: Array) -> Array:
        """The Hessian in W, (r^2, r^2), of the sum of the k largest, weighted."""
        k, r, rho = self.k, len(self.U), self.bound
        outer = np.einsum("ai,bj->ijab", self.U, self.V).reshape(r, r, r * r)
        H = np.zeros((r * r, r * r))
        for j in range(k, r):
            a, b = outer[j, :k], outer[:k, j]
            s, weighted = self.values[j], multipliers[:, None] * b
            both = a.T @ weighted
            part = rho * (a.T @ (multipliers[:, None] * a) + b.T @ weighted) + s * (both + both.T)
            # singular values next to the held ones would make it infinite
            H += part / max(rho**2 - s**2, 1e-3 * rho**2)
        skew = 0.5 * (outer[:k, :k] - outer[:k, :k].transpose(1, 0, 2))
        weighted = skew * multipliers[None, :, None]
        flat = skew.transpose(2, 0, 1).reshape(r * r, -1), weighted.reshape(-1, r * r)
        return H + flat[0] @ flat[1] / rho

    def snapped(self, hidden_layer: Array) -> Array:
        """[W V b] with the k largest singular values of W at the bound, the others within it."""
        r = len(hidden_layer)
        U, values, Vt = np.linalg.svd(hidden_layer[:, :r])
        # of matrices with these singular values it is the nearest in the Frobenius norm
        values = np.minimum(values, self.bound)
        values[: self.k] = self.bound
        return np.hstack([(U * values) @ Vt, hidden_layer[:, r:]])
