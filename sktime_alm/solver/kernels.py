"""The compiled inner loops: recursions over time, and scalar problems one element at a time.

Each has an obvious NumPy twin in the tests or in the path that activations of your own take.
An activation is passed as ``kind`` (piecewise linear or ELU) and ``slope`` (of the piecewise
linear one below 0). Compiled code is cached on disk; the first call after an installation
compiles for some seconds.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from sktime_alm.solver._typing import Array, BoolArray, IntArray

PIECEWISE_LINEAR = 0
ELU = 1

# Newton with a bisection safeguard is done in about ten steps; bisection alone needs
# fewer than this many to shrink any bracket of doubles to one unit in the last place.
_MAX_ROOT_ITERATIONS = 100
_ROOT_TOLERANCE = 8.0 * np.finfo(np.float64).eps

# a pivot of a Cholesky factor, relative to the diagonal, that may be rounding alone
SMALLEST_PIVOT = 1e-13

_compiled = njit(cache=True, nogil=True)


@_compiled
def _sigma(u: float, kind: int, slope: float) -> float:
    if u > 0.0:
        return u
    if kind == ELU:
        return math.expm1(u)
    if slope == 0.0 and u <= 0.0:
        return 0.0  # not the negative zero, nor the NaN, of 0 u
    return slope * u


@_compiled
def _elu_derivative(u: float) -> float:
    return 1.0 if u > 0.0 else math.exp(u)


@njit(inline="always")
def _add_rows(
    out: Array, t: int, matrix: Array, index: IntArray, weights: Array, n_rows: int
) -> None:
    """Add to out[t] the weighted rows of a matrix, eight at a time.

    Index and weights reach seven entries further than ``n_rows``; those weights are 0.
    """
    for k in range(0, n_rows, 8):
        i0, i1, i2, i3 = index[k], index[k + 1], index[k + 2], index[k + 3]
        i4, i5, i6, i7 = index[k + 4], index[k + 5], index[k + 6], index[k + 7]
        w0, w1, w2, w3 = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        w4, w5, w6, w7 = weights[k + 4], weights[k + 5], weights[k + 6], weights[k + 7]
        for i in range(out.shape[1]):
            out[t, i] += (
                (w0 * matrix[i0, i] + w1 * matrix[i1, i])
                + (w2 * matrix[i2, i] + w3 * matrix[i3, i])
            ) + (
                (w4 * matrix[i4, i] + w5 * matrix[i5, i])
                + (w6 * matrix[i6, i] + w7 * matrix[i7, i])
            )


@njit(inline="always")
def _activate(h: Array, u: Array, t: int, kind: int, slope: float) -> None:
    """h_t = sigma(u_t), without a branch on signs, which are as good as random."""
    if kind == ELU:
        for i in range(u.shape[1]):
            h[t, i] = _sigma(u[t, i], kind, slope)
    elif slope == 0.0:
        for i in range(u.shape[1]):
            h[t, i] = 0.0 if u[t, i] <= 0.0 else u[t, i]
    else:
        for i in range(u.shape[1]):
            h[t, i] = u[t, i] * (slope if u[t, i] <= 0.0 else 1.0)


@_compiled
def rollout(
    u: Array, h: Array, W_T: Array, restart: Array, is_start: BoolArray, kind: int, slope: float
) -> None:
    """Complete u = V x + b, given on entry, to W h_{t-1} + V x + b, and fill h = sigma(u)."""
    T, r = u.shape
    index, weights = np.zeros(r + 7, np.intp), np.zeros(r + 7)
    for t in range(T):
        is_first = t == 0 or is_start[t]
        # half of all ReLU units are 0; a branch on each would be mispredicted as often
        n_active = 0
        for j in range(r):
            state = restart[j] if is_first else h[t - 1, j]
            index[n_active], weights[n_active] = j, state
            n_active += 1 if state != 0.0 else 0
        for j in range(n_active, n_active + 7):
            weights[j] = 0.0
        _add_rows(u, t, W_T, index, weights, n_active)
        _activate(h, u, t, kind, slope)


@_compiled
def adjoint(
    zeta: Array,
    xi: Array,
    u: Array,
    W: Array,
    is_end: BoolArray,
    l2_preactivation: float,
    kind: int,
    slope: float,
) -> None:
    """Complete zeta = -2/T A'(A h + D x + c - y), given on entry, by W' xi_{t+1}, and fill xi."""
    T, r = u.shape
    index, weights = np.zeros(r + 7, np.intp), np.zeros(r + 7)
    for t in range(T - 1, -1, -1):
        if not is_end[t]:
            n_active = 0
            for j in range(r):
                index[n_active], weights[n_active] = j, xi[t + 1, j]
                n_active += 1 if xi[t + 1, j] != 0.0 else 0
            for j in range(n_active, n_active + 7):
                weights[j] = 0.0
            _add_rows(zeta, t, W, index, weights, n_active)
        if kind == ELU:
            for i in range(r):
                xi[t, i] = zeta[t, i] * _elu_derivative(u[t, i])
        else:
            for i in range(r):
                xi[t, i] = zeta[t, i] * (1.0 if u[t, i] > 0.0 else slope)
        for i in range(r):
            xi[t, i] -= 2.0 * l2_preactivation * u[t, i]


@_compiled
def _cholesky_solve(matrix: Array, rhs: Array) -> bool:
    """Replace rhs by the solution, and the lower triangle by the Cholesky factor.

    False if the matrix is not positive definite up to rounding, or not finite.
    """
    size, n_columns = rhs.shape
    for j in range(size):
        smallest = SMALLEST_PIVOT * matrix[j, j]
        for k in range(j):
            factor = matrix[j, k]
            for i in range(j, size):
                matrix[i, j] -= factor * matrix[i, k]
        if not (smallest < matrix[j, j] < math.inf):
            return False
        root = math.sqrt(matrix[j, j])
        for i in range(j, size):
            matrix[i, j] /= root
    for i in range(size):
        for k in range(i):
            for column in range(n_columns):
                rhs[i, column] -= matrix[i, k] * rhs[k, column]
        for column in range(n_columns):
            rhs[i, column] /= matrix[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            for column in range(n_columns):
                rhs[i, column] -= matrix[k, i] * rhs[k, column]
        for column in range(n_columns):
            rhs[i, column] /= matrix[i, i]
    return True


@_compiled
def _penalty(layer: Array, l2: Array) -> float:
    """The weighted sum of squares, one weight for each column."""
    total = 0.0
    for i in range(layer.shape[0]):
        for j in range(layer.shape[1]):
            total += l2[j] * layer[i, j] * layer[i, j]
    return total


@_compiled
def evaluate(
    u: Array,
    h: Array,
    errors: Array,
    inputs: Array,
    skip: Array,
    skip_gram: Array,
    skip_product: Array,
    Y: Array,
    missing: IntArray,
    hidden_layer: Array,
    is_start: BoolArray,
    l2_hidden_layer: Array,
    l2_readout: Array,
    l2_preactivation: float,
    kind: int,
    slope: float,
) -> tuple[Array, float, bool]:
    """The best readout and R of a hidden layer; fills u, h and the errors.

    The readout [A C] acts on [h_t; s_t], s_t being a row of ``skip``. The last outcome says
    whether its system could be solved.
    """
    T, r, m, k = len(inputs), len(hidden_layer), Y.shape[1], skip.shape[1]
    np.dot(inputs, np.ascontiguousarray(hidden_layer[:, r:].T), u)
    W_T = np.ascontiguousarray(hidden_layer[:, :r].T)
    rollout(u, h, W_T, np.zeros(r), is_start, kind, slope)

    n_observed = T - len(missing)
    weight = 2.0 / n_observed
    observed = h if len(missing) == 0 else h.copy()
    for t in missing:
        for i in range(r):
            observed[t, i] = 0.0
    matrix, rhs = np.empty((r + k, r + k)), np.empty((r + k, m))
    gram, cross = np.dot(observed.T, observed), np.dot(skip.T, observed)
    product = np.dot(observed.T, Y)
    for i in range(r + k):
        for j in range(i + 1):
            of_skip = cross[i - r, j] if j < r else skip_gram[i - r, j - r]
            matrix[i, j] = weight * (gram[i, j] if i < r else of_skip)
        matrix[i, i] += 2.0 * l2_readout[i]
        for j in range(m):
            rhs[i, j] = weight * (product[i, j] if i < r else skip_product[i - r, j])
    is_regular = _cholesky_solve(matrix, rhs)

    np.dot(h, rhs[:r], errors)
    direct = np.dot(skip, rhs[r:])
    for t in range(T):
        for i in range(m):
            errors[t, i] = Y[t, i] - errors[t, i] - direct[t, i]
    for t in missing:
        for i in range(m):
            errors[t, i] = 0.0
    loss = np.vdot(errors.ravel(), errors.ravel())
    squares = np.vdot(u.ravel(), u.ravel())
    readout = np.ascontiguousarray(rhs.T)
    penalty = _penalty(hidden_layer, l2_hidden_layer) + _penalty(readout, l2_readout)
    objective = float(loss / n_observed + penalty + l2_preactivation * squares)
    return readout, objective, is_regular


@_compiled
def differentiate(
    xi: Array,
    zeta: Array,
    inputs: Array,
    hidden_layer: Array,
    readout: Array,
    u: Array,
    h: Array,
    errors: Array,
    n_observed: int,
    is_end: BoolArray,
    l2_hidden_layer: Array,
    l2_preactivation: float,
    kind: int,
    slope: float,
) -> Array:
    """The gradient of R in an evaluated hidden layer; fills xi and zeta, the adjoint recursion."""
    T, r = u.shape
    np.dot((2.0 / n_observed) * errors, np.ascontiguousarray(readout[:, :r]), zeta)
    W = np.ascontiguousarray(hidden_layer[:, :r])
    adjoint(zeta, xi, u, W, is_end, l2_preactivation, kind, slope)
    of_inputs, of_states = np.dot(xi.T, inputs), np.dot(xi[1:].T, h[:-1])
    gradient = np.empty_like(hidden_layer)
    for i in range(r):
        for j in range(hidden_layer.shape[1]):
            product = of_states[i, j] if j < r else of_inputs[i, j - r]
            gradient[i, j] = 2.0 * l2_hidden_layer[j] * hidden_layer[i, j] - product
    for t in range(T - 1):
        if is_end[t]:
            for i in range(r):
                for j in range(r):
                    gradient[i, j] += xi[t + 1, i] * h[t, j]
    return gradient


@_compiled
def secant_direction(
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


@_compiled
def append_secant(
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


@_compiled
def _piecewise_linear_minimiser(
    theta1: float,
    theta2: float,
    theta3: float,
    gamma: float,
    mu: float,
    l2: float,
    slope: float,
) -> float:
    """(3.21), (3.22) and (4.35).

    phi is a parabola on either side of 0. With the linear coefficient ``beta`` and the
    curvature of a side, the clipped minimiser is ``u = beta / curvature`` and
    phi(u) - phi(0) = -beta u / 2, so the larger ``beta u`` wins.
    """
    curvature = gamma + mu + 2.0 * l2
    pull = gamma * theta1 + mu * theta3
    beta_plus = max(pull + gamma * theta2, 0.0)
    beta_minus = min(pull + gamma * slope * theta2, 0.0)
    u_plus = beta_plus / (curvature + gamma)
    u_minus = beta_minus / (curvature + gamma * slope * slope)
    return u_plus if beta_plus * u_plus >= beta_minus * u_minus else u_minus


@_compiled
def _elu_slope(
    u: float, pull: float, theta2: float, gamma: float, curvature: float
) -> tuple[float, float]:
    """phi' and phi'' for ELU at u <= 0, where phi'' is the quadratic (4.40) in exp(u)."""
    z = math.exp(u)
    first = curvature * u - pull - gamma * z * (theta2 + 1.0 - z)
    return first, curvature - gamma * z * (theta2 + 1.0 - 2.0 * z)


@_compiled
def _elu_minimum(
    guess: float,
    lower: float,
    upper: float,
    pull: float,
    theta2: float,
    gamma: float,
    curvature: float,
) -> float:
    """The minimiser of phi on a piece [lower, upper] of (-inf, 0] where it is convex.

    Newton's method on phi', and bisection wherever it would leave the bracket.
    """
    if _elu_slope(lower, pull, theta2, gamma, curvature)[0] >= 0.0:
        return lower
    if _elu_slope(upper, pull, theta2, gamma, curvature)[0] <= 0.0:
        return upper
    u = min(max(guess, lower), upper)
    for _ in range(_MAX_ROOT_ITERATIONS):
        first, second = _elu_slope(u, pull, theta2, gamma, curvature)
        if first <= 0.0:
            lower = u
        if first >= 0.0:
            upper = u
        tolerance = _ROOT_TOLERANCE * (1.0 + abs(u))
        newton = u - first / second if second > 0.0 else math.inf
        # rounding may throw a last tiny step out of the bracket: that is no cause to bisect
        if abs(newton - u) <= tolerance:
            return min(max(newton, lower), upper)
        following = newton if lower <= newton <= upper else 0.5 * (lower + upper)
        if abs(following - u) <= tolerance:
            return following
        u = following
    return u


@_compiled
def _elu_minimiser(
    theta1: float, theta2: float, theta3: float, gamma: float, mu: float, l2: float
) -> float:
    """(3.21) above 0 and (4.37) below, whichever has the smaller phi.

    On (-inf, 0] phi is convex up to the smaller root of (4.40) in z = exp(u), concave
    between the roots and convex from the larger one on: its minimum is that of at most
    two convex pieces.
    """
    curvature = gamma + mu + 2.0 * l2
    pull = gamma * theta1 + mu * theta3
    u_plus = max(pull + gamma * theta2, 0.0) / (curvature + gamma)
    # phi' <= 0 at and left of this point, whatever the sign of theta2
    lower = min((pull - gamma * max(-theta2, 0.0)) / curvature, 0.0)

    first, second = 0.0, 0.0
    linear = gamma * (theta2 + 1.0)
    discriminant = linear * linear - 8.0 * gamma * curvature
    if discriminant > 0.0 and linear > 0.0:
        larger_sum = linear + math.sqrt(discriminant)
        # this form of the smaller root does not cancel
        first = min(max(math.log(2.0 * curvature / larger_sum), lower), 0.0)
        second = min(max(math.log(larger_sum / (4.0 * gamma)), lower), 0.0)

    best, best_value = u_plus, math.inf
    for candidate in range(3):
        if candidate == 0:
            u = u_plus
        elif candidate == 1:
            u = _elu_minimum(theta3, lower, first, pull, theta2, gamma, curvature)
        elif first < second < 0.0:
            u = _elu_minimum(theta3, second, 0.0, pull, theta2, gamma, curvature)
        else:
            break
        to_theta2 = theta2 - _sigma(u, ELU, 0.0)
        value = (
            0.5 * gamma * ((u - theta1) ** 2 + to_theta2 * to_theta2)
            + 0.5 * mu * (u - theta3) ** 2
            + l2 * u * u
        )
        if value < best_value:
            best, best_value = u, value
    return best


@_compiled
def prox(
    theta1: Array,
    theta2: Array,
    theta3: Array,
    gamma: float,
    mu: float,
    l2: float,
    kind: int,
    slope: float,
) -> Array:
    """The minimisers of phi over flat arrays."""
    solution = np.empty_like(theta1)
    if kind == ELU:
        for i in range(len(theta1)):
            solution[i] = _elu_minimiser(theta1[i], theta2[i], theta3[i], gamma, mu, l2)
    else:
        for i in range(len(theta1)):
            solution[i] = _piecewise_linear_minimiser(
                theta1[i], theta2[i], theta3[i], gamma, mu, l2, slope
            )
    return solution


@_compiled
def subdifferential_distance(u: Array, s: Array, q: Array, kind: int, slope: float) -> Array:
    """The distance of 0 to s - q sigma'(u) over flat arrays.

    At a kink -q sigma is convex for q < 0, where its subdifferential is the interval
    between the one-sided slopes, and concave for q >= 0, where the limiting
    subdifferential is those two slopes alone.
    """
    distance = np.empty_like(u)
    for i in range(len(u)):
        right = s[i] - q[i]
        left = s[i] - slope * q[i]
        if kind == ELU:
            distance[i] = abs(s[i] - q[i] * _elu_derivative(u[i]))
        elif u[i] > 0.0:
            distance[i] = abs(right)
        elif u[i] < 0.0:
            distance[i] = abs(left)
        elif q[i] < 0.0 and left <= 0.0 <= right:
            distance[i] = 0.0
        else:
            distance[i] = min(abs(left), abs(right))
    return distance


@_compiled
def update_preactivations(
    drive: Array,
    h: Array,
    u: Array,
    xi: Array,
    zeta: Array,
    gamma: float,
    mu: float,
    l2: float,
    kind: int,
    slope: float,
) -> None:
    """(3.16) in one pass: replace the drive W h_{t-1} + V x_t + b by the new u."""
    inverse = 1.0 / gamma
    T, r = u.shape
    for t in range(T):
        for i in range(r):
            theta1 = drive[t, i] - inverse * xi[t, i]
            theta2 = h[t, i] + inverse * zeta[t, i]
            if kind == ELU:
                drive[t, i] = _elu_minimiser(theta1, theta2, u[t, i], gamma, mu, l2)
            else:
                drive[t, i] = _piecewise_linear_minimiser(
                    theta1, theta2, u[t, i], gamma, mu, l2, slope
                )


@_compiled
def add_own_terms(d: Array, u: Array, zeta: Array, gamma: float, kind: int, slope: float) -> None:
    """Complete the right side d of (3.15) by gamma sigma(u) - zeta."""
    T, r = u.shape
    for t in range(T):
        for i in range(r):
            d[t, i] += gamma * _sigma(u[t, i], kind, slope) - zeta[t, i]


@_compiled
def weighted_rows(u: Array, shift: Array, xi: Array, gamma: float) -> Array:
    """xi + gamma (u - shift) in one pass."""
    rows = np.empty_like(u)
    T, r = u.shape
    for t in range(T):
        for i in range(r):
            rows[t, i] = xi[t, i] + gamma * (u[t, i] - shift[t, i])
    return rows


@_compiled
def simulate(
    A: Array,
    W: Array,
    V: Array,
    b: Array,
    c: Array,
    D: Array,
    state: Array,
    lagged: Array,
    exogenous: Array,
    noise: Array,
    bounds: Array,
    kind: int,
    slope: float,
) -> Array:
    """Paths of the network run on its own noisy outputs, cut off at lower and upper bounds.

    ``lagged`` is flat, newest first.
    """
    n_paths, n_steps, m = noise.shape
    r, n_lagged = len(state), len(lagged)
    outputs = np.empty((n_paths, n_steps, m))
    h, following, recent = np.empty(r), np.empty(r), np.empty(n_lagged)
    for path in range(n_paths):
        h[:] = state
        recent[:] = lagged
        for t in range(n_steps):
            for i in range(r):
                total = b[i]
                for j in range(r):
                    total += W[i, j] * h[j]
                for j in range(n_lagged):
                    total += V[i, j] * recent[j]
                for j in range(exogenous.shape[1]):
                    total += V[i, n_lagged + j] * exogenous[t, j]
                following[i] = _sigma(total, kind, slope)
            h[:] = following
            for i in range(m):
                total = c[i]
                for j in range(r):
                    total += A[i, j] * h[j]
                for j in range(n_lagged):
                    total += D[i, j] * recent[j]
                for j in range(exogenous.shape[1]):
                    total += D[i, n_lagged + j] * exogenous[t, j]
                total += noise[path, t, i]
                outputs[path, t, i] = min(max(total, bounds[0, i]), bounds[1, i])
            if n_lagged:
                for j in range(n_lagged - 1, m - 1, -1):
                    recent[j] = recent[j - m]
                recent[:m] = outputs[path, t]
    return outputs
