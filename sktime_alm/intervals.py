"""The spread of forecasts: from errors made to the outcomes that a forecast should expect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sktime_alm.features import carried_forward
from sktime_alm.model import Model
from sktime_alm.solver._typing import Array

# Monte Carlo moves the coverage of a 90 % interval by less than 0.01
N_PATHS = 2000

# the fewest errors of which the smallest and the largest bound a 90 % interval
MIN_ERRORS = 19

# a long window could calibrate more steps, at a cost that grows with its square
MAX_STEPS = 120


def effective_parameters(Z: Array, l2_readout: Array) -> float:
    """Degrees of freedom of the readout: the trace of its ridge regression's hat matrix.

    Parameters
    ----------
    Z : array of shape (T, k)
        What the readout acts on: the columns of [h 1], or [h x 1] with a linear skip.
    l2_readout : array of shape (k,)
        Penalties of its weights, in the objective that is a mean over T rows.
    """
    gram = Z.T @ Z
    # units that are never active leave the system of an unpenalised readout singular
    penalised = gram + len(Z) * np.diag(l2_readout)
    return float(np.trace(np.linalg.pinv(penalised, hermitian=True) @ gram))


def as_new_errors(errors: Array, n_parameters: float) -> Array:
    """Errors of the training rows, centred and inflated to the size of errors on new rows.

    A fit with p parameters takes p of T degrees of freedom from its errors, whose mean
    square is then (T - p) / T times that of the noise.

    Parameters
    ----------
    errors : array of shape (T, m)
    n_parameters : float
        p, effective if the fit is penalised.
    """
    T = len(errors)
    return (errors - errors.mean(axis=0)) * np.sqrt(T / max(T - n_parameters, 1.0))


def draw_noise(errors: Array, n_steps: int, seed: int) -> Array:
    """Rows of errors drawn with replacement, of shape (N_PATHS, n_steps, m).

    The outputs of a row stay together, so that their correlation is kept. More steps
    leave the first ones as they are.
    """
    # a row of draws a step: a shorter run draws the beginning of a longer one
    rows = np.random.default_rng(seed).integers(len(errors), size=(n_steps, N_PATHS))
    return errors[rows.T]


def n_calibrated(n_rows: int) -> tuple[int, int]:
    """Rows to train on, the first two thirds, and steps that the errors on the rest cover."""
    n_train = n_rows - n_rows // 3
    return n_train, min(n_rows // 3 - MIN_ERRORS + 1, MAX_STEPS)


def rolling_errors(
    model: Model,
    states: Sequence[Array],
    y: Array,
    exogenous: Array,
    starts: Sequence[int],
    rows: Iterable[int],
    n_steps: int,
) -> list[Array]:
    """Errors of forecasts of up to ``n_steps`` steps, by the steps ahead.

    Parameters
    ----------
    model : Model
    states : sequence of arrays of shape (T, r)
        Hidden states of the rows of y, for each network.
    y : array of shape (T, m)
    exogenous : array of shape (T, n_exogenous)
        Exogenous inputs of the rows, lagged.
    starts : sequence of int
        First rows of the sequences of consecutive times, which no forecast leaves.
    rows : iterable of int
        The first rows of the forecasts.
    n_steps : int

    Returns
    -------
    list of n_steps arrays of shape (n_errors, m)
        Without those of missing values.
    """
    by_step: list[list[Array]] = [[] for _ in range(n_steps)]
    edges, filled = np.append(starts, len(y)), carried_forward(y, starts)
    for start in rows:
        sequence = np.searchsorted(edges, start, side="right") - 1
        first, stop = edges[sequence], min(start + n_steps, edges[sequence + 1])
        if start == first:
            continue  # no state to go on from
        past = filled[max(start - model.layout.memory, first) : start]
        state = [of_network[start - 1] for of_network in states]
        forecasts = model.forecast(state, past, exogenous[start:stop])
        for errors, error in zip(by_step, y[start:stop] - forecasts, strict=False):
            if not np.isnan(error).any():
                errors.append(error)
    return [np.array(errors).reshape(-1, y.shape[1]) for errors in by_step]


def quantiles(sample: Array, alpha: Array) -> Array:
    """Quantiles of each column, with the rank that counts the value to come among the sample.

    A new value exchangeable with n others is at most the k-th smallest of them with
    probability k / (n + 1) (or more, in a tie): the level alpha needs rank (n + 1) alpha,
    rounded away from the median. Levels that no rank reaches get the extreme value.

    Parameters
    ----------
    sample : array of shape (n, m)
    alpha : array of shape (k,)

    Returns
    -------
    array of shape (k, m)
    """
    n = len(sample)
    rank = np.round((n + 1) * alpha, 9)  # 0.29 times 100 is less than 29 in binary
    below = np.where(alpha <= 0.5, np.floor(rank), np.ceil(rank))
    above = np.where(alpha >= 0.5, np.ceil(rank), np.floor(rank))  # they differ at the median
    ordered = np.sort(sample, axis=0)
    values = [ordered[np.clip(k.astype(int), 1, n) - 1] for k in (below, above)]
    return 0.5 * (values[0] + values[1])
