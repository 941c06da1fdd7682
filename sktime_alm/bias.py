"""The bias of a regression on its own past, which too few rows draw towards the mean."""

from __future__ import annotations

import numpy as np

from sktime_alm.inputs import InputLayout, Rows, carried_forward
from sktime_alm.model import bounds_of
from sktime_alm.solver import ElmanParameters
from sktime_alm.solver._typing import Array
from sktime_alm.solver.activations import Activation
from sktime_alm.solver.network import rollout

# the bias depends on the weights: it is found anew, of those corrected, so many times
_N_ROUNDS = 5
# a recursion of several outputs and more values before is not corrected, nor one of a single
# output and more than the second number
_MOST_ROOTS, _LONGEST = 60, 1000
# what of the bias is taken off is the most that leaves no root outside of the unit circle
_SHARES, _FINE_SHARES = np.linspace(1.0, 0.0, 21), np.linspace(1.0, 0.0, 201)
# a reflection coefficient as near to 1 may be either side of it
_ROUNDING = 1e-9


def bias_of_skip(
    layout: InputLayout,
    sigma: Activation,
    network: ElmanParameters,
    rows: Rows,
    l2_readout: Array,
    noise: Array,
) -> Array:
    """The bias of the readout's weights of lags of y, by simulation.

    Series of as many rows are simulated by the network and the readout is fitted to each: what
    their mean differs by is the bias, after Kilian (1998), "Small-sample confidence intervals for
    impulse response functions". As there, no more is returned than leaves the recursion of the
    linear part stable. Of one that is not stable itself, as few rows of a growing series may make
    it, as much is returned as does: its paths would soon be at the bounds of forecasts.

    Parameters
    ----------
    layout : InputLayout
        With lags of y.
    sigma : Activation
    network : ElmanParameters
        With a linear skip.
    rows : Rows
    l2_readout : array of shape (k,)
        Penalties of the columns of [h x 1].
    noise : array of shape (n_series, T, m)
        Of the rows of the simulated series.

    Returns
    -------
    array of shape (m, k)
        Zero but for the lags of y.
    """
    m, r = rows.targets.shape[1], network.hidden_size
    of_y = slice(r, r + layout.n_from_y(m))
    bias = np.zeros_like(network.readout)
    if layout.memory * m > (_MOST_ROOTS if m > 1 else _LONGEST):
        # roots that are not within the circle are eigenvalues, which a long memory has too many of
        return bias
    # what a step of the recursion makes of each value before it
    from_recent = layout.map_from_recent(m)
    answers = network.readout[:, of_y] @ from_recent
    if not is_within(answers, 1.0):
        stable = next(share for share in _FINE_SHARES if is_within(share * answers, 1.0))
        bias[:, of_y] = (1.0 - stable) * network.readout[:, of_y]
        return bias
    for _ in range(_N_ROUNDS):
        corrected = ElmanParameters.from_layers(network.hidden_layer, network.readout - bias)
        fits = _refitted(layout, sigma, corrected, rows, l2_readout, noise)
        bias[:, of_y] = (fits - corrected.readout)[:, :, of_y].mean(axis=0)
        change = bias[:, of_y] @ from_recent
        bias *= next(s for s in _SHARES if s == 0.0 or is_within(answers - s * change, 1.0))
        if not bias.any():
            # another round would be this one again
            break
    return bias


def is_within(answers: Array, limit: float) -> bool:
    """Whether no root of a recursion, of ``answers`` of shape (m, memory m), is beyond a limit.

    Of one output that is told by the recursion of Schur and Cohn: the roots of a polynomial are
    within the unit circle where all its reflection coefficients are. Eigenvalues of a memory of
    hundreds of rows would take a hundred times as long.
    """
    m, size = answers.shape
    if m > 1:
        return _radius(answers) <= limit
    polynomial = np.append(1.0, -answers[0] * limit ** -np.arange(1.0, size + 1))
    for last in range(size, 0, -1):
        reflection = polynomial[last]
        if abs(reflection) > 1.0 - _ROUNDING:
            # on the circle itself, or beyond
            return abs(reflection) < 1.0 + _ROUNDING and _radius(answers) <= limit
        reversed_part = polynomial[last:0:-1]
        polynomial = (polynomial[:last] - reflection * reversed_part) / (1.0 - reflection**2)
    return True


def _refitted(
    layout: InputLayout,
    sigma: Activation,
    network: ElmanParameters,
    rows: Rows,
    l2_readout: Array,
    noise: Array,
) -> Array:
    """Readouts fitted to simulated series, of shape (n_series, m, k)."""
    (n_series, T, m), n_from_y = noise.shape, layout.n_from_y(rows.targets.shape[1])
    exogenous, state = rows.inputs[:, n_from_y:], np.zeros(network.hidden_size)
    past = carried_forward(rows.targets)[: layout.memory]
    bounds = bounds_of(rows.targets, rows.loss.is_log)
    paths = layout.simulate(network, sigma, state, past, exogenous, noise, bounds)
    y = np.concatenate([np.broadcast_to(past, (n_series, *past.shape)), paths], axis=1)
    # the series side by side, as if they were outputs of one
    abreast = np.swapaxes(y, 0, 1).reshape(y.shape[1], -1)
    inputs = layout.rows(abreast, np.zeros((len(abreast), layout.n_exogenous)))[-T:]
    inputs = inputs[:, : n_series * n_from_y].reshape(T, -1, n_series, m)
    inputs = np.moveaxis(inputs, 2, 0).reshape(n_series, T, n_from_y)
    of_all = np.broadcast_to(exogenous, (n_series, *exogenous.shape))
    inputs = np.concatenate([inputs, of_all], axis=2)
    stacked = inputs.reshape(n_series * T, -1)
    h = rollout(network, sigma, stacked, range(0, n_series * T, T))[1]
    Z = np.hstack([h, stacked, np.ones((len(stacked), 1))]).reshape(n_series, T, -1)
    gram = np.swapaxes(Z, 1, 2) @ Z + T * np.diag(l2_readout)
    fits = np.linalg.pinv(gram, hermitian=True) @ np.swapaxes(Z, 1, 2) @ paths
    return np.asarray(np.swapaxes(fits, 1, 2))


def _radius(answers: Array) -> float:
    """The largest modulus of the roots of a recursion, for ``answers`` of shape (m, memory m)."""
    m, size = answers.shape
    companion = np.vstack([answers, np.eye(size)[: size - m]])
    return float(np.abs(np.linalg.eigvals(companion)).max())
