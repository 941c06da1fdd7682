"""A deliberately plain ALM-BCD, written from the dense formulas of the paper.

Loops over t, Kronecker matrices, no shared systems, no imports from the package. Slow and
for one sequence and ReLU only: an oracle for the solver, nothing else. Weights are a tuple
(A, W, V, b, c); ``lam`` is (lambda_1, ..., lambda_6).
"""

import numpy as np


def relu(u):
    return np.maximum(u, 0.0)


def rollout(weights, X):
    A, W, V, b, c = weights
    T, r = len(X), len(b)
    u, h = np.zeros((T, r)), np.zeros((T, r))
    previous = np.zeros(r)
    for t in range(T):
        u[t] = W @ previous + V @ X[t] + b
        h[t] = relu(u[t])
        previous = h[t]
    return u, h


def objective(weights, h, u, X, Y, lam):
    """R of (2.6), term by term."""
    A, W, V, b, c = weights
    loss = sum(np.sum((Y[t] - A @ h[t] - c) ** 2) for t in range(len(X))) / len(X)
    squares = [np.sum(array**2) for array in (A, W, V, b, c, u)]
    return loss + sum(weight * square for weight, square in zip(lam, squares, strict=True))


def residuals(weights, h, u, X):
    """C1 and C2, row by row."""
    A, W, V, b, c = weights
    C1, C2 = np.zeros_like(u), np.zeros_like(u)
    for t in range(len(X)):
        previous = h[t - 1] if t > 0 else np.zeros(len(b))
        C1[t] = u[t] - (W @ previous + V @ X[t] + b)
        C2[t] = h[t] - relu(u[t])
    return C1, C2


def lagrangian(weights, h, u, xi, zeta, gamma, X, Y, lam):
    """The first form of (3.1)."""
    C1, C2 = residuals(weights, h, u, X)
    return (
        objective(weights, h, u, X, Y, lam)
        + np.sum(xi * C1)
        + np.sum(zeta * C2)
        + gamma / 2 * np.sum(C1**2)
        + gamma / 2 * np.sum(C2**2)
    )


def lagrangian_completed(weights, h, u, xi, zeta, gamma, X, Y, lam):
    """The second form of (3.1), with the squares completed."""
    C1, C2 = residuals(weights, h, u, X)
    return (
        objective(weights, h, u, X, Y, lam)
        + gamma / 2 * np.sum((C1 + xi / gamma) ** 2)
        + gamma / 2 * np.sum((C2 + zeta / gamma) ** 2)
        - np.sum(xi**2) / (2 * gamma)
        - np.sum(zeta**2) / (2 * gamma)
    )


def psi(h, X):
    """Psi(h) of (2.3): rows [h_{t-1}' kron I, x_t' kron I, I], shape (r T, N_w)."""
    r = h.shape[1]
    eye = np.eye(r)
    rows = []
    for t in range(len(X)):
        previous = h[t - 1] if t > 0 else np.zeros(r)
        rows.append(np.hstack([np.kron(previous, eye), np.kron(X[t], eye), eye]))
    return np.vstack(rows)


def phi(h_t, m):
    """Phi(h_t) of (2.3): [h_t' kron I, I], shape (m, N_a)."""
    return np.hstack([np.kron(h_t, np.eye(m)), np.eye(m)])


def update_weights(h, u, xi, gamma, X, Y, lam):
    """(3.14) through the full systems Q1 w = -q1 and Q2 a = -q2 of Lemma 3.1."""
    (T, n), m, r = X.shape, Y.shape[1], h.shape[1]
    P = psi(h, X)
    Lambda1 = np.diag(
        np.concatenate([np.full(r * r, lam[1]), np.full(r * n, lam[2]), np.full(r, lam[3])])
    )
    w = np.linalg.solve(gamma * P.T @ P + 2 * Lambda1, P.T @ (xi + gamma * u).ravel())

    Lambda2 = np.diag(np.concatenate([np.full(r * m, lam[0]), np.full(m, lam[4])]))
    Q2 = 2 / T * sum(phi(h[t], m).T @ phi(h[t], m) for t in range(T)) + 2 * Lambda2
    q2 = 2 / T * sum(phi(h[t], m).T @ Y[t] for t in range(T))
    a = np.linalg.solve(Q2, q2)

    W = w[: r * r].reshape(r, r, order="F")
    V = w[r * r : r * r + r * n].reshape(r, n, order="F")
    b = w[r * r + r * n :]
    A = a[: m * r].reshape(m, r, order="F")
    c = a[m * r :]
    return A, W, V, b, c


def update_hidden(weights, u, xi, zeta, gamma, X, Y):
    """(3.15), (3.18), one row at a time."""
    A, W, V, b, c = weights
    T, r = u.shape
    h = np.zeros((T, r))
    for t in range(T):
        D = 2 / T * A.T @ A + gamma * np.eye(r)
        d = gamma * relu(u[t]) - zeta[t] + 2 / T * A.T @ (Y[t] - c)
        if t < T - 1:
            D = D + gamma * W.T @ W
            d = d + W.T @ (xi[t + 1] + gamma * (u[t + 1] - V @ X[t + 1] - b))
        h[t] = np.linalg.solve(D, d)
    return h


def update_preactivations(weights, h, u, xi, zeta, gamma, mu, X, lam):
    """(3.16), one scalar at a time, by (3.21), (3.22) and a comparison of phi."""
    A, W, V, b, c = weights
    new = np.zeros_like(u)
    for t in range(len(X)):
        previous = h[t - 1] if t > 0 else np.zeros(len(b))
        drive = W @ previous + V @ X[t] + b
        for i in range(u.shape[1]):
            theta1 = drive[i] - xi[t, i] / gamma
            theta2 = h[t, i] + zeta[t, i] / gamma
            new[t, i] = scalar_minimiser(theta1, theta2, u[t, i], gamma, mu, lam[5])
    return new


def scalar_minimiser(theta1, theta2, theta3, gamma, mu, lambda6):
    def value(u):
        return (
            gamma / 2 * (u - theta1) ** 2
            + gamma / 2 * (theta2 - max(u, 0.0)) ** 2
            + mu / 2 * (u - theta3) ** 2
            + lambda6 * u**2
        )

    top = gamma * theta1 + gamma * theta2 + mu * theta3
    u_plus = top / (2 * gamma + 2 * lambda6 + mu) if top > 0 else 0.0
    low = gamma * theta1 + mu * theta3
    u_minus = low / (gamma + 2 * lambda6 + mu) if low < 0 else 0.0
    return u_plus if value(u_plus) <= value(u_minus) else u_minus


def alm(
    weights,
    X,
    Y,
    lam,
    n_outer,
    n_inner,
    gamma=1.0,
    mu=1e-5,
    eta1=0.99,
    eta2=5 / 6,
    eta3=0.01,
    level=100.0,
):
    """Algorithm 3.1 with a fixed number of sweeps; yields (z, h, u, xi, zeta, gamma)."""
    u, h = rollout(weights, X)
    start = (weights, h, u)
    xi, zeta = np.zeros_like(u), np.zeros_like(u)
    violation = 0.0
    for k in range(n_outer):
        if k > 0 and lagrangian(weights, h, u, xi, zeta, gamma, X, Y, lam) > level:
            weights, h, u = start
        for _ in range(n_inner):
            weights = update_weights(h, u, xi, gamma, X, Y, lam)
            h = update_hidden(weights, u, xi, zeta, gamma, X, Y)
            u = update_preactivations(weights, h, u, xi, zeta, gamma, mu, X, lam)
        C1, C2 = residuals(weights, h, u, X)
        xi, zeta = xi + gamma * C1, zeta + gamma * C2
        last, violation = violation, float(max(np.linalg.norm(C1), np.linalg.norm(C2)))
        if violation > eta1 * last:
            gamma = max(
                gamma / eta2, np.linalg.norm(xi) ** (1 + eta3), np.linalg.norm(zeta) ** (1 + eta3)
            )
        yield weights, h, u, xi, zeta, gamma
