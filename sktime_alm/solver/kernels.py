"""The compiled inner loops: recursions over time, and scalar problems one element at a time.

Each has an obvious NumPy twin in the tests or in the path that activations of your own take.
An activation is passed as a tuple ``sigma``: its kind, its slope below 0 if it is piecewise linear,
the addresses of its scalar functions if it is smooth. Compiled code is cached on disk; the first
call after an installation compiles for some seconds.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from sktime_alm.solver._typing import Array, BoolArray, IntArray

PIECEWISE_LINEAR = 0
SMOOTH = 1

# kind, slope below 0, and addresses of the compiled value, derivative and curvature
Sigma = tuple[int, float, int, int, int]

# a pivot of a Cholesky factor, relative to the diagonal, that may be rounding alone
SMALLEST_PIVOT = 1e-13

_compiled = njit(cache=True, nogil=True)


def _generate_call(typing_context: Any, address: Any, u: Any) -> Any:
    """The value of a compiled scalar function, given by its address.

    A function passed as such would be compiled into each loop anew, in every process.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = ir.FunctionType(ir.DoubleType(), [ir.DoubleType()])
        pointer = builder.inttoptr(arguments[0], function.as_pointer())
        return builder.call(pointer, [arguments[1]])

    return types.float64(types.intp, types.float64), generate


_call: Any = intrinsic(_generate_call)


@_compiled
def _value(u: float, sigma: Sigma) -> float:
    if sigma[0] == SMOOTH:
        return _call(sigma[2], u)
    if u > 0.0:
        return u
    if sigma[1] == 0.0 and u <= 0.0:
        return 0.0  # not the negative zero, nor the NaN, of 0 u
    return sigma[1] * u


@_compiled
def _slope(u: float, sigma: Sigma) -> float:
    if sigma[0] == SMOOTH:
        return _call(sigma[3], u)
    return 1.0 if u > 0.0 else sigma[1]


@_compiled
def activated(u: Array, sigma: Sigma) -> Array:
    """sigma(u) over a flat array."""
    values = np.empty_like(u)
    for i in range(len(u)):
        values[i] = _value(u[i], sigma)
    return values


@_compiled
def slopes(u: Array, sigma: Sigma) -> Array:
    """sigma'(u) over a flat array, from the left at a kink."""
    values = np.empty_like(u)
    for i in range(len(u)):
        values[i] = _slope(u[i], sigma)
    return values


@_compiled
def curvatures(u: Array, sigma: Sigma) -> Array:
    """sigma''(u) over a flat array, 0 at a kink."""
    values = np.zeros_like(u)
    if sigma[0] == SMOOTH:
        for i in range(len(u)):
            values[i] = _call(sigma[4], u[i])
    return values


@njit(inline="always")
def _add_rows(
    out: Array, t: int, matrix: Array, index: IntArray, weights: Array, n_rows: int
) -> None:
    """Add to out[t] the weighted rows of a matrix, eight at a time.

    Index and weights reach seven entries further than ``n_rows``; those weights are 0.
    """
    # independent sums of two, which the processor adds at the same time
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
def _activate(h: Array, u: Array, t: int, sigma: Sigma) -> None:
    """h_t = sigma(u_t), without a branch on signs, which are as good as random."""
    if sigma[0] == SMOOTH:
        for i in range(u.shape[1]):
            h[t, i] = _call(sigma[2], u[t, i])
    elif sigma[1] == 0.0:
        for i in range(u.shape[1]):
            h[t, i] = 0.0 if u[t, i] <= 0.0 else u[t, i]
    else:
        for i in range(u.shape[1]):
            h[t, i] = u[t, i] * (sigma[1] if u[t, i] <= 0.0 else 1.0)


@_compiled
def rollout(
    u: Array, h: Array, W_T: Array, restart: Array, is_start: BoolArray, sigma: Sigma
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
        # what is left over from eight at a time is added with weight 0
        for j in range(n_active, n_active + 7):
            weights[j] = 0.0
        _add_rows(u, t, W_T, index, weights, n_active)
        _activate(h, u, t, sigma)


@_compiled
def adjoint(
    zeta: Array,
    xi: Array,
    u: Array,
    W: Array,
    is_end: BoolArray,
    l2_preactivation: float,
    sigma: Sigma,
) -> None:
    """Complete zeta = -2/T A'(A h + D x + c - y), given on entry, by W' xi_{t+1}, and fill xi."""
    T, r = u.shape
    index, weights = np.zeros(r + 7, np.intp), np.zeros(r + 7)
    for t in range(T - 1, -1, -1):
        if not is_end[t]:
            # units that were off pass nothing back
            n_active = 0
            for j in range(r):
                index[n_active], weights[n_active] = j, xi[t + 1, j]
                n_active += 1 if xi[t + 1, j] != 0.0 else 0
            for j in range(n_active, n_active + 7):
                weights[j] = 0.0
            _add_rows(zeta, t, W, index, weights, n_active)
        if sigma[0] == SMOOTH:
            for i in range(r):
                xi[t, i] = zeta[t, i] * _call(sigma[3], u[t, i])
        else:
            for i in range(r):
                xi[t, i] = zeta[t, i] * (1.0 if u[t, i] > 0.0 else sigma[1])
        for i in range(r):
            xi[t, i] -= 2.0 * l2_preactivation * u[t, i]


@_compiled
def cholesky_solve(matrix: Array, rhs: Array) -> bool:
    """Replace rhs by the solution, and the lower triangle by the Cholesky factor.

    False if the matrix is not positive definite up to rounding, or not finite.
    """
    size, n_columns = rhs.shape
    # of so small a matrix calling LAPACK costs more than it does
    for j in range(size):
        smallest = SMALLEST_PIVOT * matrix[j, j]
        for k in range(j):
            factor = matrix[j, k]
            for i in range(j, size):
                matrix[i, j] -= factor * matrix[i, k]
        # a comparison that a NaN fails as well
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
    sigma: Sigma,
) -> tuple[Array, float, bool]:
    """The best readout and R of a hidden layer; fills u, h and the errors.

    The readout [A C] acts on [h_t; s_t], s_t being a row of ``skip``. The last outcome says
    whether its system could be solved.
    """
    T, r, m, k = len(inputs), len(hidden_layer), Y.shape[1], skip.shape[1]
    np.dot(inputs, np.ascontiguousarray(hidden_layer[:, r:].T), u)
    W_T = np.ascontiguousarray(hidden_layer[:, :r].T)
    rollout(u, h, W_T, np.zeros(r), is_start, sigma)

    n_observed = T - len(missing)
    weight = 2.0 / n_observed
    # missing rows go on being states of the rows after them
    observed = h if len(missing) == 0 else h.copy()
    for t in missing:
        for i in range(r):
            observed[t, i] = 0.0
    # the lower triangle alone: Cholesky reads no other
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
    is_regular = cholesky_solve(matrix, rhs)

    # of all states, since the errors of missing rows are set to 0 below
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
    sigma: Sigma,
) -> Array:
    """The gradient of R in an evaluated hidden layer; fills xi and zeta, the adjoint recursion."""
    T, r = u.shape
    np.dot((2.0 / n_observed) * errors, np.ascontiguousarray(readout[:, :r]), zeta)
    W = np.ascontiguousarray(hidden_layer[:, :r])
    adjoint(zeta, xi, u, W, is_end, l2_preactivation, sigma)
    # shifted views rather than copies, and what they add across sequences taken off below
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
def piecewise_linear_prox(
    theta1: Array,
    theta2: Array,
    theta3: Array,
    gamma: float,
    mu: float,
    l2: float,
    slope: float,
) -> Array:
    """The minimisers of phi over flat arrays."""
    solution = np.empty_like(theta1)
    for i in range(len(theta1)):
        solution[i] = _piecewise_linear_minimiser(
            theta1[i], theta2[i], theta3[i], gamma, mu, l2, slope
        )
    return solution


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
    slope: float,
) -> None:
    """(3.16) in one pass, of a piecewise linear activation: replace the drive by the new u."""
    # a division takes as long as ten products
    inverse = 1.0 / gamma
    T, r = u.shape
    for t in range(T):
        for i in range(r):
            theta1 = drive[t, i] - inverse * xi[t, i]
            theta2 = h[t, i] + inverse * zeta[t, i]
            drive[t, i] = _piecewise_linear_minimiser(theta1, theta2, u[t, i], gamma, mu, l2, slope)


@_compiled
def add_own_terms(d: Array, u: Array, zeta: Array, gamma: float, sigma: Sigma) -> None:
    """Complete the right side d of (3.15) by gamma sigma(u) - zeta."""
    T, r = u.shape
    for t in range(T):
        for i in range(r):
            d[t, i] += gamma * _value(u[t, i], sigma) - zeta[t, i]


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
    hidden_layer: Array,
    readouts: Array,
    state: Array,
    lagged: Array,
    exogenous: Array,
    noise: Array,
    bounds: Array,
    sigma: Sigma,
) -> Array:
    """Paths of the network run on its own noisy outputs, cut off at lower and upper bounds.

    ``hidden_layer`` is [W V b], and ``readouts`` holds [A D c] of each path or one for all;
    ``lagged`` is flat, newest first.
    """
    n_paths, n_steps, m = noise.shape
    r, n_lagged, n_exogenous = len(state), len(lagged), exogenous.shape[1]
    outputs = np.empty((n_paths, n_steps, m))
    h, following, recent = np.empty(r), np.empty(r), np.empty(n_lagged)
    for path in range(n_paths):
        readout = readouts[path if len(readouts) > 1 else 0]
        h[:] = state
        recent[:] = lagged
        for t in range(n_steps):
            for i in range(r):
                total = hidden_layer[i, r + n_lagged + n_exogenous]
                for j in range(r):
                    total += hidden_layer[i, j] * h[j]
                for j in range(n_lagged):
                    total += hidden_layer[i, r + j] * recent[j]
                for j in range(n_exogenous):
                    total += hidden_layer[i, r + n_lagged + j] * exogenous[t, j]
                following[i] = _value(total, sigma)
            # all units at once: each reads the states of before
            h[:] = following
            for i in range(m):
                total = readout[i, r + n_lagged + n_exogenous]
                for j in range(r):
                    total += readout[i, j] * h[j]
                for j in range(n_lagged):
                    total += readout[i, r + j] * recent[j]
                for j in range(n_exogenous):
                    total += readout[i, r + n_lagged + j] * exogenous[t, j]
                total += noise[path, t, i]
                outputs[path, t, i] = min(max(total, bounds[0, i]), bounds[1, i])
            if n_lagged:
                for j in range(n_lagged - 1, m - 1, -1):
                    recent[j] = recent[j - m]
                recent[:m] = outputs[path, t]
    return outputs
