"""The network at given slopes of its units, compiled: what an active set differentiates.

At given slopes a of the units, h = a u, every quantity is smooth in B = [W V b]. Away from
the kinks the slopes are those of the activation; a unit that is held on its kink may have any
slope between those of its two sides, and that slope is its multiplier.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sktime_alm.solver import kernels
from sktime_alm.solver._typing import Array, BoolArray, IntArray

_compiled = njit(cache=True, nogil=True)

# below this a unit no longer depends on one of a row before
_FORGOTTEN = 1e-12
# Newton steps of the box problem
_MAX_NEWTON = 60
_SUFFICIENT_DECREASE, _SHRINK = 1e-4, 0.3
# added to the diagonal of a system, relative to its mean: rows of kinks may depend on each other
_RIDGE = 1e-11


@_compiled
def rollout(
    u: Array, h: Array, W: Array, is_start: BoolArray, held: BoolArray, slopes: Array, slope: float
) -> None:
    """Complete u = V x + b, given on entry, by W h_{t-1}; held units have h = a u."""
    T, r = u.shape
    for t in range(T):
        for i in range(r):
            value = u[t, i]
            if not is_start[t]:
                for j in range(r):
                    value += W[i, j] * h[t - 1, j]
            u[t, i] = value
            if held[t, i]:
                h[t, i] = slopes[t, i] * value
            else:
                h[t, i] = value if value > 0.0 else slope * value


@_compiled
def adjoint(
    zeta: Array, xi: Array, u: Array, W: Array, slopes: Array, is_end: BoolArray, l2: float
) -> None:
    """Complete zeta = 2/T A'e, given on entry, by W' xi_{t+1}, and fill xi = a zeta - 2 l2 u."""
    T, r = u.shape
    for t in range(T - 1, -1, -1):
        if not is_end[t]:
            for j in range(r):
                if xi[t + 1, j] != 0.0:
                    for i in range(r):
                        zeta[t, i] += W[j, i] * xi[t + 1, j]
        for i in range(r):
            xi[t, i] = slopes[t, i] * zeta[t, i] - 2.0 * l2 * u[t, i]


@_compiled
def sensitivities(
    J: Array, before: Array, first: int, W: Array, slopes: Array, P: Array, is_start: BoolArray
) -> None:
    """Fill J with du_t/dB, (r, r q) each, for the rows of time from ``first`` on.

    J_t = W diag(a_{t-1}) J_{t-1} + I (x) p_t'; ``before`` is that of the row before the first.
    """
    r, q = len(W), P.shape[1]
    for k in range(len(J)):
        t = first + k
        if is_start[t]:
            J[k] = 0.0
        else:
            np.dot(W * slopes[t - 1], before if k == 0 else J[k - 1], J[k])
        for i in range(r):
            for j in range(q):
                J[k, i, i * q + j] += P[t, j]


@_compiled
def sensitivities_of(
    rows: Array, index: IntArray, W: Array, slopes: Array, P: Array, is_start: BoolArray
) -> None:
    """Add to each row of zeros du/dB of a unit, ``index`` into u, flat, by the way back from it.

    It is the sum of lambda_t p_t' from its row of time back, where lambda_{t-1} is
    diag(a_{t-1}) W' lambda_t.
    """
    r, q = len(W), P.shape[1]
    for k in range(len(index)):
        t, at, before = index[k] // r, np.zeros(r), np.zeros(r)
        at[index[k] % r] = 1.0
        while True:
            for i in range(r):
                for j in range(q):
                    rows[k, i * q + j] += at[i] * P[t, j]
            if is_start[t]:
                break
            t, largest = t - 1, 0.0
            for j in range(r):
                before[j] = 0.0
                for i in range(r):
                    before[j] += W[i, j] * at[i]
                before[j] *= slopes[t, j]
                largest = max(largest, abs(before[j]))
            if largest < _FORGOTTEN:
                break
            at, before = before, at


@_compiled
def row_norms(rows: Array) -> Array:
    """The norm of each row."""
    norms = np.empty(len(rows))
    for k in range(len(rows)):
        norms[k] = np.sqrt(np.dot(rows[k], rows[k]))
    return norms


@_compiled
def _newton_direction(Q: Array, v: Array, free: IntArray) -> Array:
    """The solution of Q d = v over the free entries."""
    size, trace = len(free), 0.0
    matrix, rhs = np.empty((size, size)), np.empty((size, 1))
    for i in range(size):
        rhs[i, 0] = v[free[i]]
        trace += Q[free[i], free[i]]
        for j in range(size):
            matrix[i, j] = Q[free[i], free[j]]
    for i in range(size):
        matrix[i, i] += _RIDGE * trace / size + 1e-300
    # where the ridge is rounding beside the largest entries the right side is a direction as well
    kernels.cholesky_solve(matrix, rhs)
    return rhs[:, 0]


@_compiled
def _inward_direction(
    Q: Array, v: Array, free: IntArray, low: Array, high: Array, y: Array
) -> tuple[IntArray, Array]:
    """The direction over the free entries but those on a bound that it would push out.

    Only then does the projected direction descend.
    """
    while True:
        d = _newton_direction(Q, v, free)
        inward = np.ones(len(free), np.bool_)
        for i in range(len(free)):
            k = free[i]
            outward = (y[k] <= low[k] and d[i] < 0.0) or (y[k] >= high[k] and d[i] > 0.0)
            inward[i] = not outward
        if inward.all() or not inward.any():
            return free, d
        free = free[inward]


@_compiled
def _projected_step(
    Q: Array, v: Array, free: IntArray, d: Array, low: Array, high: Array, y: Array
) -> tuple[Array, Array, float]:
    """A step along the projected direction, Q times it, and the change of the objective."""
    # as far as no further bound is met R falls for sure, beyond that it may
    certain = 1.0
    for i in range(len(free)):
        room = (high if d[i] > 0.0 else low)[free[i]] - y[free[i]]
        if abs(d[i]) * certain > abs(room):
            certain = room / d[i]
    length, step = 1.0, np.zeros_like(y)
    while True:
        for i in range(len(free)):
            k = free[i]
            step[k] = min(max(y[k] + length * d[i], low[k]), high[k]) - y[k]
        image = np.dot(Q, step)
        slope = np.dot(v, step)
        change = 0.5 * np.dot(step, image) - slope
        if length <= certain or change <= -_SUFFICIENT_DECREASE * slope < 0.0:
            return step, image, change
        length = max(_SHRINK * length, certain)


@_compiled
def box_minimum(Q: Array, b: Array, low: Array, high: Array, y: Array) -> Array:
    """The minimiser of y'Q y / 2 - b'y in a box, Q psd, by projected Newton from y in it."""
    scale = 1e-15 * max(np.abs(b).max(), 1e-300)
    v = b - np.dot(Q, y)
    for _ in range(_MAX_NEWTON):
        free = np.flatnonzero(((y > low) | (v > 0.0)) & ((y < high) | (v < 0.0)))
        if len(free) == 0 or np.abs(v[free]).max() <= scale:
            break
        free, d = _inward_direction(Q, v, free, low, high, y)
        step, image, change = _projected_step(Q, v, free, d, low, high, y)
        if not change < 0.0:
            break
        y = np.minimum(np.maximum(y + step, low), high)
        v = v - image
    return y
