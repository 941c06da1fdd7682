"""Plain NumPy twins of the compiled loops: one line of a formula a line, and no speed."""

import numpy as np


def rollout(parameters, sigma, X, starts=(0,), initial_state=None):
    """u_t = W h_{t-1} + V x_t + b and h_t = sigma(u_t), row by row."""
    _, W, V, b, *_ = parameters.arrays()
    restart = np.zeros(len(b)) if initial_state is None else initial_state
    u, h = np.empty((len(X), len(b))), np.empty((len(X), len(b)))
    for t, x in enumerate(X):
        u[t] = W @ (restart if t in starts else h[t - 1]) + V @ x + b
        h[t] = sigma.value(u[t])
    return u, h


def adjoint(problem, parameters, u, h):
    """xi and zeta of backpropagation through time, from the last row to the first."""
    errors = errors_of(problem, parameters, h)
    l2 = problem.regularization.l2_preactivation
    xi, zeta = np.empty_like(u), np.empty_like(u)
    ends = {*(start - 1 for start in problem.starts[1:]), len(u) - 1}
    for t in reversed(range(len(u))):
        following = 0.0 if t in ends else parameters.W.T @ xi[t + 1]
        zeta[t] = following + 2.0 / problem.n_observed * parameters.A.T @ errors[t]
        xi[t] = zeta[t] * problem.sigma.derivative(u[t]) - 2.0 * l2 * u[t]
    return xi, zeta


def errors_of(problem, parameters, h):
    """y - A h - D x - c, 0 in rows without targets."""
    outputs = h @ parameters.A.T + parameters.c
    if parameters.D is not None:
        outputs += problem.X @ parameters.D.T
    errors = problem.targets - outputs
    errors[problem.missing] = 0.0
    return errors


def best_readout(problem, h):
    """[A D c] by the normal equations, by least squares where they are singular."""
    r, ones = h.shape[1], np.ones((len(h), 1))
    blocks = [h, problem.X, ones] if problem.linear_skip else [h, ones]
    rows = np.delete(np.hstack(blocks), problem.missing, axis=0)
    targets = np.delete(problem.Y, problem.missing, axis=0)
    l2 = problem.regularization.of_readout(r, problem.n_skip)
    # rows of sqrt(T l2) in place of the penalties
    padded = np.vstack([rows, np.diag(np.sqrt(len(rows) * l2))])
    zeros = np.zeros((len(l2), problem.n_outputs))
    return np.linalg.lstsq(padded, np.vstack([targets, zeros]), rcond=None)[0].T


def objective(problem, parameters, u, h):
    """R, term by term."""
    reg, errors = problem.regularization, errors_of(problem, parameters, h)
    penalty = (
        reg.l2_readout * np.sum(parameters.A**2)
        + reg.l2_recurrent * np.sum(parameters.W**2)
        + reg.l2_input * np.sum(parameters.V**2)
        + reg.l2_bias * np.sum(parameters.b**2)
        + reg.l2_readout_bias * np.sum(parameters.c**2)
        + reg.l2_preactivation * np.sum(u**2)
    )
    if parameters.D is not None:
        penalty += reg.l2_skip * np.sum(parameters.D**2)
    return np.sum(errors**2) / problem.n_observed + penalty


def gradient(problem, parameters, u, h):
    """The gradient of R in [W V b]: the penalty's, less the sums of xi_t [h_{t-1}; x_t; 1]'."""
    reg = problem.regularization
    xi, _ = adjoint(problem, parameters, u, h)
    of_layer = np.hstack(
        [
            2.0 * reg.l2_recurrent * parameters.W,
            2.0 * reg.l2_input * parameters.V,
            2.0 * reg.l2_bias * parameters.b[:, None],
        ]
    )
    for t, x in enumerate(problem.X):
        previous = np.zeros(len(parameters.b)) if t in problem.starts else h[t - 1]
        of_layer -= np.outer(xi[t], [*previous, *x, 1.0])
    return of_layer


def update_hidden(problem, parameters, u, xi, zeta, gamma):
    """(3.15), one row at a time."""
    A, W, V, b, c = parameters.arrays()[:5]
    h, T = np.empty_like(u), len(u)
    ends = {*(start - 1 for start in problem.starts[1:]), T - 1}
    for t in range(T):
        D = 2.0 / T * A.T @ A + gamma * np.eye(len(b))
        d = gamma * problem.sigma.value(u[t]) - zeta[t] + 2.0 / T * A.T @ (problem.targets[t] - c)
        if t not in ends:
            D += gamma * W.T @ W
            d += W.T @ (xi[t + 1] + gamma * (u[t + 1] - V @ problem.X[t + 1] - b))
        h[t] = np.linalg.solve(D, d)
    return h


def update_preactivations(problem, parameters, h, u, xi, zeta, gamma, mu):
    """(3.16) by the activation's own prox, row by row."""
    _, W, V, b, *_ = parameters.arrays()
    l2, new = problem.regularization.l2_preactivation, np.empty_like(u)
    for t, x in enumerate(problem.X):
        previous = np.zeros(len(b)) if t in problem.starts else h[t - 1]
        theta1 = W @ previous + V @ x + b - xi[t] / gamma
        new[t] = problem.sigma.prox(theta1, h[t] + zeta[t] / gamma, u[t], gamma, mu, l2)
    return new


def simulate(parameters, sigma, state, past_outputs, exogenous, noise):
    """Each path on its own outputs, the newest first."""
    A, W, V, b, c = parameters.arrays()[:5]
    D = np.zeros((len(c), V.shape[1])) if parameters.D is None else parameters.D
    outputs = np.empty(noise.shape)
    for path, errors in zip(outputs, noise, strict=True):
        h, lagged = state, past_outputs
        for t, row in enumerate(exogenous):
            x = np.concatenate([lagged.ravel(), row])
            h = sigma.value(W @ h + V @ x + b)
            path[t] = A @ h + D @ x + c + errors[t]
            lagged = np.vstack([path[t], lagged])[: len(past_outputs)]
    return outputs
