"""The choice of the penalties: forecasts of rows that follow the training rows in time.

The rows are cut at several origins. Up to each a validation model is trained, whose loss on the
rows up to the next origin counts. The penalty of the linear skip is chosen first, for the ridge
regression alone; then that of the network, on a path from strong to weak, whose first point is
the regression itself.

Against a loss that is a mean over the rows, the same belief about the weights is a penalty
that falls with their number: where fewer rows are trained on, the strengths are raised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from sktime_alm.inputs import Rows
from sktime_alm.solver import ElmanParameters, ElmanProblem, Regularization
from sktime_alm.solver._typing import Array, BoolArray
from sktime_alm.solver.multistart import linear_model, seed_sequence

# where the training rows end, as shares of all; the last block ends with the rows
SKIP_ORIGINS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
NETWORK_ORIGINS = (0.55, 0.7, 0.85, 1.0)
# The penalties ||D||^2 is weighted by. The weakest leaves a trend to its slope, the strongest
# leaves little but the mean.
SKIP_PENALTIES = tuple(10.0 ** np.arange(-8.0, 1.1, 0.5))
# The path of alpha over r sqrt(n m), which makes the penalty of a unit a multiple of |a| |v| that
# does not depend on the sizes. It begins where units are dead on most data, at so many times the
# standard deviation that the regression leaves, and ends at so many times the variance that the
# best network leaves: weights are known no better than the noise allows.
_STRONGEST, _WEAKEST, _LEAST_STRENGTH, _FACTOR = 0.4, 2e-5, 1e-10, 4.0
# how many times the error of repeating the last value a regression may have, or, if none is as
# good, must one have for that to count; and an error, of standardised values, that is rounding
_TIMES_NAIVE, _MOST_NAIVE, _ROUNDING = 2.5, 3.0, 1e-6
# losses of standardised values that differ by a smaller share are the same
_TIE = 1e-12
# the path ends when so many points in a row are worse than the best one, or one by so many
# standard errors
_PATIENCE, _CLEARLY, _N_PIECES = 2, 3.0, 10
# fewer rows say too little about a network
_FEWEST_ROWS = 30
# a unit that moves the outputs by a smaller share of the errors is dead, and would stay so
_DEAD = 1e-3


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
    """A cut of the rows: those to train on, those to forecast, and the share of the former."""

    kept: BoolArray
    following: BoolArray
    share: float


# a network trained on the rows up to an origin
ValidationModel = tuple[Origin, ElmanParameters]
Losses = Callable[[ValidationModel], Array]
# trains on rows with the strengths of both penalties, from a network; the states of its rows too
Train = Callable[[Rows, float, float, ElmanParameters], ElmanParameters]
States = Callable[[ElmanParameters, Rows], Array]


class Penalties(NamedTuple):
    """The strengths of the penalties, what was tried to find them, and the models of the best.

    ``models`` were each trained on the rows before an origin; there are none where nothing was
    chosen.
    """

    alpha: float
    skip_alpha: float
    path: tuple[Candidate, ...] = ()
    models: tuple[ValidationModel, ...] = ()


def make_origins(shares: Sequence[float], rows: Rows) -> list[Origin]:
    """Cut the rows by their place in their series, as shares of its length.

    Parameters
    ----------
    shares : sequence of float
        Of the rows that each origin trains on, and of those that the last one forecasts up to.
    rows : Rows
    """
    origins = []
    for share, following in pairwise(shares):
        kept = rows.position <= share
        block = (rows.position > share) & (rows.position <= following) & rows.is_observed
        if (kept & rows.is_observed).sum() >= 2 and block.any():
            origins.append(Origin(kept, block, float(kept.mean())))
    return origins


def is_enough(rows: Rows) -> bool:
    """Whether so many rows can tell networks apart."""
    return int(rows.is_observed.sum()) >= _FEWEST_ROWS


def choose_skip_alpha(
    rows: Rows, origins: Sequence[Origin], hidden_size: int, losses: Losses
) -> Penalties:
    """The strength of the linear skip's penalty, for the ridge regression alone.

    Where later rows hardly tell the strengths apart, as on a series that moves only once, the
    loss could pick one that leaves little but the mean. So those are passed over with which the
    regression of all rows is far worse than repeating the last value, if not all are.
    """
    n_entries = rows.inputs.shape[1] * rows.targets.shape[1]
    path = [n_entries * penalty for penalty in SKIP_PENALTIES]
    models = [
        [_ridge_before(origin, rows, hidden_size, skip_alpha) for origin in origins]
        for skip_alpha in path
    ]
    found = [_losses_of(ridges, origins, losses) for ridges in models]
    candidates = _compared([(np.inf, skip_alpha) for skip_alpha in path], found)
    sensible = _sensible(rows, hidden_size, path)
    best = min(sensible, key=lambda k: candidates[k].loss)
    chosen = tuple(zip(origins, models[best], strict=True))
    return Penalties(np.inf, path[best], candidates, chosen)


def choose_alpha(
    rows: Rows,
    origins: Sequence[Origin],
    losses: Losses,
    train: Train,
    states: States,
    *,
    hidden_size: int,
    skip_alpha: float | None,
    random_state: Any,
) -> Penalties:
    """The strength of the network's penalty; infinite where a ridge regression does as well.

    Of the path the largest strength is taken whose loss is within one standard error, of the
    difference, of the smallest.

    Parameters
    ----------
    rows : Rows
    origins : sequence of Origin
    losses : callable
        The losses of a validation model's forecasts of the rows after its origin.
    train : callable
        Trains a network on rows, with the strengths given, from another.
    states : callable
        The hidden states of a network over rows.
    hidden_size : int
    skip_alpha : float, optional
        None without a linear skip.
    random_state : int, numpy Generator or RandomState, optional
    """
    generator = np.random.default_rng(seed_sequence(random_state))
    scale = hidden_size * np.sqrt(rows.inputs.shape[1] * rows.targets.shape[1])
    noise = _residual_variance(rows, hidden_size, skip_alpha)
    before = [rows.among(origin.kept) for origin in origins]
    networks = [_ridge_before(origin, rows, hidden_size, skip_alpha) for origin in origins]
    alphas, models, found = [], [], []
    if skip_alpha is not None:
        alphas, models, found = [np.inf], [networks], [_losses_of(networks, origins, losses)]
    strength, n_worse = _STRONGEST * np.sqrt(noise), 0
    while True:
        networks = [
            train(
                kept,
                scale * strength / origin.share,
                (skip_alpha or 0.0) / origin.share,
                _revived(network, states(network, kept), noise, generator),
            )
            for origin, kept, network in zip(origins, before, networks, strict=True)
        ]
        alphas.append(scale * strength)
        models.append(networks)
        found.append(_losses_of(networks, origins, losses))
        best = min(range(len(found)), key=lambda k: found[k].mean())
        is_alive = any(
            _contributes(network, states(network, kept), noise)
            for network, kept in zip(networks, before, strict=True)
        )
        n_worse = n_worse + 1 if is_alive and best < len(found) - 1 else 0
        strength /= _FACTOR
        if n_worse and _is_over(n_worse, found[-1] - found[best]):
            break
        if strength < max(_WEAKEST * float(found[best].mean()), _LEAST_STRENGTH):
            break
    of_skip = np.nan if skip_alpha is None else skip_alpha
    candidates = _compared([(alpha, of_skip) for alpha in alphas], found)
    # the path goes from strong to weak
    chosen = next(k for k, c in enumerate(candidates) if c.excess <= c.standard_error + _TIE)
    return Penalties(
        alphas[chosen], of_skip, candidates, tuple(zip(origins, models[chosen], strict=True))
    )


def ridge(rows: Rows, hidden_size: int, skip_alpha: float | None) -> ElmanParameters:
    """The ridge regression of the targets, as a network; the mean without a linear skip."""
    shape = rows.inputs.shape[1], hidden_size, rows.targets.shape[1]
    penalties = Regularization.scaled(1.0, *shape, skip_alpha=skip_alpha)
    problem = ElmanProblem(rows.inputs, rows.targets, penalties, linear_skip=skip_alpha is not None)
    return linear_model(problem, hidden_size)


def _sensible(rows: Rows, hidden_size: int, path: Sequence[float]) -> list[int]:
    """The points of the path at which no output is fitted far worse than by its last value."""
    changes = np.abs(rows.targets - rows.previous)
    is_known = ~np.isnan(changes)
    naive = np.where(is_known, changes, 0.0).sum(axis=0) / np.maximum(is_known.sum(axis=0), 1)
    ratios = []
    for skip_alpha in path:
        errors = np.abs(_residuals(rows, ridge(rows, hidden_size, skip_alpha)))
        ratio = np.max(np.nanmean(errors, axis=0) / (naive + _ROUNDING))
        ratios.append(float(ratio) if np.isfinite(ratio) else np.inf)
    least = min(ratios)
    limit = max(_TIMES_NAIVE, 1.05 * least) if least <= _MOST_NAIVE else np.inf
    return [k for k, ratio in enumerate(ratios) if ratio <= limit]


def _residual_variance(rows: Rows, hidden_size: int, skip_alpha: float | None) -> float:
    """What the ridge regression leaves, as a mean square over outputs."""
    errors = _residuals(rows, ridge(rows, hidden_size, skip_alpha))
    return max(float(np.nanmean(errors**2)), _ROUNDING**2)


def _residuals(rows: Rows, regression: ElmanParameters) -> Array:
    states = np.zeros((len(rows.inputs), regression.hidden_size))
    return rows.targets - regression.outputs(states, rows.inputs)


def _ridge_before(
    origin: Origin, rows: Rows, hidden_size: int, skip_alpha: float | None
) -> ElmanParameters:
    raised = None if skip_alpha is None else skip_alpha / origin.share
    return ridge(rows.among(origin.kept), hidden_size, raised)


def _losses_of(
    networks: Sequence[ElmanParameters], origins: Sequence[Origin], losses: Losses
) -> Array:
    return np.concatenate([losses(model) for model in zip(origins, networks, strict=True)])


def _is_over(n_worse: int, excess: Array) -> bool:
    """Whether a path that got worse need not be followed."""
    # errors that follow one another are alike, above all in free runs: means of pieces less so
    means = np.array(
        [piece.mean() for piece in np.array_split(excess, min(_N_PIECES, len(excess)))]
    )
    is_clear = means.mean() > _CLEARLY * means.std() / np.sqrt(len(means))
    return n_worse == _PATIENCE or bool(is_clear)


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


def _contributions(network: ElmanParameters, h: Array) -> Array:
    """The variance that each unit brings into the outputs, of shape (m, r)."""
    with np.errstate(all="ignore"):
        return np.nan_to_num(network.A**2 * h.var(axis=0), nan=np.inf)


def _contributes(network: ElmanParameters, h: Array, noise: float) -> bool:
    """Whether the hidden units do more than nothing: weights may be tiny, but not zero."""
    return bool(_contributions(network, h).sum(axis=1).max() > _DEAD * noise)


def _revived(
    network: ElmanParameters, h: Array, noise: float, generator: np.random.Generator
) -> ElmanParameters:
    """The network with small weights drawn anew for its dead units, which no descent revives."""
    is_dead = _contributions(network, h).max(axis=0) <= _DEAD**2 * noise
    # as small as what the regression leaves to be explained, so that a start is no worse than it
    size = 0.1 * noise**0.25
    A, W, V = network.A.copy(), network.W.copy(), network.V.copy()
    A[:, is_dead] = generator.normal(0.0, size, A[:, is_dead].shape)
    V[is_dead] = generator.normal(0.0, size, V[is_dead].shape)
    W[is_dead], W[:, is_dead] = 0.0, 0.0  # the descent finds them, from the others
    return replace(network, A=A, W=W, V=V, b=np.where(is_dead, 0.0, network.b))
