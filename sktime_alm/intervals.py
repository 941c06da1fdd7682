"""The spread of forecasts: from errors made to the outcomes that a forecast should expect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

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


def draw_noise(errors: Array, n_steps: int, seed: int, n_paths: int = N_PATHS) -> Array:
    """Rows of errors drawn with replacement, of shape (n_paths, n_steps, m).

    The outputs of a row stay together, so that their correlation is kept. More steps
    leave the first ones as they are.
    """
    # a row of draws a step: a shorter run draws the beginning of a longer one
    rows = np.random.default_rng(seed).integers(len(errors), size=(n_steps, n_paths))
    return errors[rows.T]


class Situation(NamedTuple):
    """What forecasts from some row on start from, and what came.

    Attributes
    ----------
    states : list of arrays of shape (r,)
        The hidden state of each network before the row.
    past : array of shape (memory, m)
        The values before it.
    exogenous : array of shape (n_steps, n_exogenous)
        Exogenous inputs of the row and those that follow, lagged.
    actual : array of shape (n_steps, m)
        The values of these rows; NaN where missing.
    """

    states: list[Array]
    past: Array
    exogenous: Array
    actual: Array


def situations(
    model: Model,
    states: Sequence[Array],
    y: Array,
    exogenous: Array,
    starts: Sequence[int],
    rows: Iterable[int],
    n_steps: int,
) -> Iterator[Situation]:
    """The situations of forecasts of up to ``n_steps`` steps from each of the rows on.

    Parameters
    ----------
    model : Model
    states : sequence of arrays of shape (T, r)
        Hidden states of the rows of y, for each network.
    y : array of shape (T, m)
    exogenous : array of shape (T, n_exogenous)
        Exogenous inputs of the rows, lagged.
    starts : sequence of int
        First rows of the sequences of consecutive times, which no forecast leaves, and at
        which none starts: there is no state to go on from.
    rows : iterable of int
    n_steps : int
    """
    edges, filled = np.append(starts, len(y)), carried_forward(y, starts)
    for row in rows:
        sequence = np.searchsorted(edges, row, side="right") - 1
        first, stop = edges[sequence], min(row + n_steps, edges[sequence + 1])
        if row > first:
            past = filled[max(row - model.layout.memory, first) : row]
            before = [of_network[row - 1] for of_network in states]
            yield Situation(before, past, exogenous[row:stop], y[row:stop])


def forecast_errors(model: Model, found: Iterable[Situation], n_steps: int) -> list[Array]:
    """Errors of the model's forecasts, those of each step of shape (n_errors, m).

    Those of missing values are left out.
    """
    by_step: list[list[Array]] = [[] for _ in range(n_steps)]
    for states, past, exogenous, actual in found:
        forecasts = model.forecast(states, past, exogenous)
        for errors, error in zip(by_step, actual - forecasts, strict=False):
            if not np.isnan(error).any():
                errors.append(error)
    n_outputs = len(model.y_scaler.mean)
    return [np.array(errors).reshape(-1, n_outputs) for errors in by_step]


def path_variances(
    model: Model, found: Iterable[Situation], errors: Array, n_paths: int
) -> Iterator[Array]:
    """The variances of paths simulated in each situation, of shape (n_steps, m)."""
    for states, past, exogenous, _ in found:
        noise = draw_noise(errors, len(exogenous), 0, n_paths)
        yield model.paths(states, past, exogenous, noise).var(axis=0)


def stretch_factors(errors: Sequence[Array], variances: Sequence[Array]) -> Array:
    """How many times wider than simulated paths forecasts spread, by step.

    As many times as the errors were larger than the paths, if they were. That is known from
    few errors: n of them h steps ahead overlap, and say as much as n / h independent ones.
    Their normal prediction interval is wider than one with a known variance.

    Parameters
    ----------
    errors : sequence of arrays of shape (n_errors, m)
        Of each step.
    variances : sequence of arrays of shape (n_steps, m)
        Of the paths from different rows, which may end early.

    Returns
    -------
    array of shape (n_steps, m)
        For the steps with errors to go by, one at least.
    """
    n_steps = sum(len(of_step) >= MIN_ERRORS for of_step in errors)
    factors = [np.ones(errors[0].shape[1])]
    for step in range(n_steps):
        of_paths = np.mean([v[step] for v in variances if len(v) > step], axis=0)
        of_errors = np.mean(errors[step] ** 2, axis=0)
        # constant series have neither
        ratio = np.sqrt(of_errors / np.where(of_paths > 0.0, of_paths, np.inf))
        factors.append(np.maximum(ratio, 1.0) * _ignorance(len(errors[step]) / (step + 1)))
    return np.array(factors[1:] or factors)


def _ignorance(n: float) -> float:
    """How much wider a 90 % prediction interval is for knowing n errors alone."""
    n = max(n, 3.0)
    return float(np.sqrt(1.0 + 1.0 / n) * t.ppf(0.95, n - 1.0) / norm.ppf(0.95))


def as_independent(errors: Array, step: int) -> Array:
    """Errors so many steps ahead, spread as those that do not overlap would have to be.

    n errors h steps ahead say as much as n / h independent ones. The rank of a quantile allows
    for n of them; a normal prediction interval from fewer is wider, by this factor.

    Parameters
    ----------
    errors : array of shape (n, m)
    step : int
        h.
    """
    n, mean = len(errors), errors.mean(axis=0)
    return mean + (errors - mean) * _ignorance(n / step) / _ignorance(n)


def stretched(paths: Array, factors: Array) -> Array:
    """Paths of shape (n_paths, n_steps, m), spread about their means by a factor for each step.

    The last row of the factors, of shape (n_factors, m), stands for all further steps.
    """
    of_steps = factors[np.minimum(np.arange(paths.shape[1]), len(factors) - 1)]
    mean = paths.mean(axis=0)
    return mean + of_steps * (paths - mean)


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
