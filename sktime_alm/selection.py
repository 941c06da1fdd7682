"""The choice of the penalties: forecasts of rows that follow the training rows in time.

The rows of the training window are cut at several origins. Up to each a model is trained,
whose loss on the rows up to the next one counts. The penalty of the linear skip is chosen
first, for the ridge regression alone; then that of the network, on a path from strong to
weak, whose first point is the ridge regression itself.

Against a loss that is a mean over the rows, the same belief about the weights is a penalty
that falls with their number: where fewer rows are trained on, the strengths are raised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from sktime_alm.solver import ElmanParameters, ElmanProblem, Regularization, Status, train
from sktime_alm.solver._typing import Array, BoolArray
from sktime_alm.solver.multistart import linear_model, seed_sequence

# where the training rows end, as shares of all; the last block ends with the rows
SKIP_ORIGINS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
NETWORK_ORIGINS = (0.55, 0.7, 0.85, 1.0)
# The penalties ||D||^2 is weighted by. The weakest leaves a trend to its slope, the strongest
# leaves little but the mean.
SKIP_PENALTIES = tuple(10.0 ** np.arange(-8.0, 1.1, 0.5))
# The strengths alpha over r sqrt(n m), which makes the penalty of a unit a multiple of |a| |v|
# that does not depend on the sizes. At the first the units are dead on most data.
NETWORK_STRENGTHS = tuple(0.4 * 4.0 ** -np.arange(8.0))
# how many times the error of repeating the last value a regression may have, or, if none is as
# good, must one have for that to count; and an error, of standardised values, that is rounding
_TIMES_NAIVE, _MOST_NAIVE, _ROUNDING = 2.5, 3.0, 1e-6
# losses of standardised values that differ by less are the same
_TIE = 1e-12
# the path ends when so many points in a row are worse than the best one, or one by so many
# standard errors
_PATIENCE, _CLEARLY = 2, 3.0
# a path is for comparison: its fits need not be as exact as the last one
_MAX_ITER = 5
# fewer rows say too little about a network
_FEWEST_ROWS = 30
# a unit whose weights are smaller is dead, and would stay so
_DEAD = 1e-6


class Candidate(NamedTuple):
    """A point of the path.

    Attributes
    ----------
    alpha : float
        Strength of the network's penalty; infinite for the ridge regression.
    skip_alpha : float
        Strength of the linear skip's penalty; NaN without one.
    loss : float
        Mean loss of the forecasts of all rows that follow an origin.
    excess, standard_error : float
        Mean and standard error of the difference to the losses of the best point.
    """

    alpha: float
    skip_alpha: float
    loss: float
    excess: float = 0.0
    standard_error: float = 0.0


class Origin(NamedTuple):
    """A cut of the rows: those to train on, with the starts among them, and those to forecast.

    ``share`` is that of the rows to train on.
    """

    rows: BoolArray
    starts: tuple[int, ...]
    following: BoolArray
    share: float


# a model trained on the rows of an origin
Judge = tuple[Origin, ElmanParameters]
Losses = Callable[[Judge], Array]


class Choice(NamedTuple):
    """The strength chosen, what was tried, and the models of the chosen one."""

    strength: float
    candidates: tuple[Candidate, ...]
    judges: tuple[Judge, ...]


def make_origins(
    shares: Sequence[float], position: Array, starts: Sequence[int], is_observed: BoolArray
) -> list[Origin]:
    """Cut the rows by their place in their series, as shares of its length.

    Parameters
    ----------
    shares : sequence of float
        Of the rows that each origin trains on, and of those that the last one forecasts up to.
    position : array of shape (T,)
        From above 0 to 1, the last row of a series.
    starts : sequence of int
        First rows of the sequences.
    is_observed : array of shape (T,)
        Whether a row has targets.
    """
    origins = []
    for share, following in pairwise(shares):
        rows = position <= share
        block = (position > share) & (position <= following) & is_observed
        if (rows & is_observed).sum() >= 2 and block.any():
            origins.append(Origin(rows, starts_within(starts, rows), block, float(rows.mean())))
    return origins


def starts_within(starts: Sequence[int], rows: BoolArray) -> tuple[int, ...]:
    """The first rows of the sequences among some of the rows, which begin them if any do."""
    is_start = np.zeros(len(rows), dtype=bool)
    is_start[list(starts)] = True
    return tuple(int(row) for row in np.flatnonzero(is_start[rows]))


def choose_skip_alpha(
    X: Array,
    Y: Array,
    previous: Array,
    origins: Sequence[Origin],
    hidden_size: int,
    losses: Losses,
) -> Choice:
    """The strength of the linear skip's penalty, for the ridge regression alone.

    Where later rows hardly tell the strengths apart, as on a series that moves only once, the
    loss could pick one that leaves little but the mean. So those are passed over with which the
    regression of all rows is far worse than repeating the last value, if not all are. These
    are the rows of ``previous``, NaN where there are none.
    """
    n_entries = X.shape[1] * Y.shape[1]
    path = [n_entries * penalty for penalty in SKIP_PENALTIES]
    models = [
        [_ridge_before(origin, X, Y, hidden_size, skip_alpha) for origin in origins]
        for skip_alpha in path
    ]
    found = [_losses_of(ridges, origins, losses) for ridges in models]
    candidates = _compared([(np.inf, skip_alpha) for skip_alpha in path], found)
    sensible = _sensible(X, Y, previous, hidden_size, path)
    best = min(sensible, key=lambda k: candidates[k].loss)
    return Choice(path[best], candidates, tuple(zip(origins, models[best], strict=True)))


def _sensible(
    X: Array, Y: Array, previous: Array, hidden_size: int, path: Sequence[float]
) -> list[int]:
    """The points of the path at which no output is fitted far worse than by its last value."""
    changes = np.abs(Y - previous)
    is_known = ~np.isnan(changes)
    naive = np.where(is_known, changes, 0.0).sum(axis=0) / np.maximum(is_known.sum(axis=0), 1)
    ratios = []
    for skip_alpha in path:
        regression = ridge(X, Y, hidden_size, skip_alpha)
        errors = np.abs(Y - regression.outputs(np.zeros((len(X), hidden_size)), X))
        ratio = np.max(np.nanmean(errors, axis=0) / (naive + _ROUNDING))
        ratios.append(float(ratio) if np.isfinite(ratio) else np.inf)
    least = min(ratios)
    limit = max(_TIMES_NAIVE, 1.05 * least) if least <= _MOST_NAIVE else np.inf
    return [k for k, ratio in enumerate(ratios) if ratio <= limit]


def ridge(X: Array, Y: Array, hidden_size: int, skip_alpha: float | None) -> ElmanParameters:
    """The ridge regression of Y on X, as a network; the mean without a linear skip."""
    shape = X.shape[1], hidden_size, Y.shape[1]
    penalties = Regularization.scaled(1.0, *shape, skip_alpha=skip_alpha)
    problem = ElmanProblem(X, Y, penalties, linear_skip=skip_alpha is not None)
    return linear_model(problem, hidden_size)


def _ridge_before(
    origin: Origin, X: Array, Y: Array, hidden_size: int, skip_alpha: float | None
) -> ElmanParameters:
    raised = None if skip_alpha is None else skip_alpha / origin.share
    return ridge(X[origin.rows], Y[origin.rows], hidden_size, raised)


def choose_alpha(
    X: Array,
    Y: Array,
    origins: Sequence[Origin],
    losses: Losses,
    rule: str,
    *,
    hidden_size: int,
    skip_alpha: float | None,
    random_state: Any,
    **options: Any,
) -> Choice:
    """The strength of the network's penalty; infinite where a ridge regression does as well.

    Parameters
    ----------
    X, Y : arrays of shape (T, n) and (T, m)
    origins : sequence of Origin
    losses : callable
        The losses of a judge's forecasts of the rows after its origin.
    rule : {"best", "one_se"}
        Take the strength of the smallest loss, or the largest one whose loss is within one
        standard error, of the difference, of the smallest.
    hidden_size : int
    skip_alpha : float, optional
        None without a linear skip.
    random_state : int, numpy Generator or RandomState, optional
    **options
        Further arguments of :func:`sktime_alm.solver.train`.
    """
    scale = hidden_size * np.sqrt(X.shape[1] * Y.shape[1])
    generator = np.random.default_rng(seed_sequence(random_state))
    networks = [_ridge_before(origin, X, Y, hidden_size, skip_alpha) for origin in origins]
    alphas, models, found, n_worse = [], [], [], 0
    if skip_alpha is not None:
        alphas, models, found = [np.inf], [networks], [_losses_of(networks, origins, losses)]
    for alpha in (scale * strength for strength in NETWORK_STRENGTHS):
        results = [
            train(
                X[origin.rows],
                Y[origin.rows],
                hidden_size,
                alpha=alpha / origin.share,
                starts=origin.starts,
                initial=_revived(network, generator),
                linear_skip=skip_alpha is not None,
                skip_alpha=(skip_alpha or 0.0) / origin.share,
                **{**options, "max_iter": _MAX_ITER, "polish": False},
            )
            for origin, network in zip(origins, networks, strict=True)
        ]
        if any(result.status is Status.INTERRUPTED for result in results):
            # there is no network yet that an end would leave the user with
            raise KeyboardInterrupt
        networks = [result.parameters for result in results]
        alphas.append(alpha)
        models.append(networks)
        found.append(_losses_of(networks, origins, losses))
        best = min(range(len(found)), key=lambda k: found[k].mean())
        is_alive = any(network.A.any() for network in networks)
        n_worse = n_worse + 1 if is_alive and best < len(found) - 1 else 0
        excess = found[-1] - found[best]
        is_clear = excess.mean() > _CLEARLY * excess.std() / np.sqrt(len(excess))
        if n_worse == _PATIENCE or (n_worse and is_clear):
            break
    strength = np.nan if skip_alpha is None else skip_alpha
    candidates = _compared([(alpha, strength) for alpha in alphas], found)
    chosen = min(range(len(candidates)), key=lambda k: candidates[k].loss)
    if rule == "one_se":
        # the path goes from strong to weak
        chosen = next(k for k, c in enumerate(candidates) if c.excess <= c.standard_error + _TIE)
    return Choice(alphas[chosen], candidates, tuple(zip(origins, models[chosen], strict=True)))


def is_enough(n_rows: int) -> bool:
    """Whether so many rows can tell networks apart."""
    return n_rows >= _FEWEST_ROWS


def _losses_of(
    networks: Sequence[ElmanParameters], origins: Sequence[Origin], losses: Losses
) -> Array:
    return np.concatenate([losses(judge) for judge in zip(origins, networks, strict=True)])


def _compared(
    strengths: Sequence[tuple[float, float]], losses: Sequence[Array]
) -> tuple[Candidate, ...]:
    best = min(losses, key=np.mean)
    return tuple(
        Candidate(
            *pair,
            float(loss.mean()),
            float((loss - best).mean()),
            float((loss - best).std() / np.sqrt(len(loss))),
        )
        for pair, loss in zip(strengths, losses, strict=True)
    )


def _revived(network: ElmanParameters, generator: np.random.Generator) -> ElmanParameters:
    """The network with small weights drawn anew for its dead units, which no descent revives."""
    is_dead = np.abs(network.A).max(axis=0) <= _DEAD
    A, W, V = network.A.copy(), network.W.copy(), network.V.copy()
    A[:, is_dead] = generator.normal(0.0, 0.1, A[:, is_dead].shape)
    V[is_dead] = generator.normal(0.0, 0.1, V[is_dead].shape)
    W[is_dead], W[:, is_dead] = 0.0, 0.0  # the descent finds them, from the others
    return replace(network, A=A, W=W, V=V, b=np.where(is_dead, 0.0, network.b))
