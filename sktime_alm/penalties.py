"""The choice of the penalties: forecasts of rows that follow the training rows in time.

The rows are cut at several origins. Up to each a validation model is trained, whose loss on the
rows up to the next origin counts. The penalty of the linear skip is chosen first, for the ridge
regression alone; then that of the network, on a path from strong to weak, whose first point is
the regression itself. Each network is averaged with the regression before it is judged, with the
weight that it has earned.

Strengths are in rows of prior: penalties of a sum over rows, which say the same whatever their
number. :func:`strengths_of_mean` turns them into those of the solver's objective, a mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from sktime_alm.averaging import average, earned_weight, joined, not_failed, standard_error
from sktime_alm.inputs import Rows
from sktime_alm.regression import residual_variance, ridge, sensible
from sktime_alm.solver import ElmanParameters
from sktime_alm.solver._typing import Array, BoolArray
from sktime_alm.solver.multistart import seed_sequence

# where the training rows end, as shares of all; the last block ends with the rows
SKIP_ORIGINS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
NETWORK_ORIGINS = (0.55, 0.7, 0.85, 1.0)
# The path of skip_alpha a row. The weakest leaves a trend to its slope, the strongest leaves
# little but the mean.
SKIP_PENALTIES = tuple(10.0 ** np.arange(-8.0, 1.1, 0.5))
# The path of alpha a row begins where units are dead on most data, at so many times the
# standard deviation that the regression leaves, and ends at so many times the variance that the
# best network leaves: weights are known no better than the noise allows.
_STRONGEST, _WEAKEST, _LEAST_STRENGTH, _FACTOR = 0.4, 2e-5, 1e-10, 4.0
# losses of standardised values that differ by a smaller share are the same
_TIE = 1e-12
# the path ends when so many points in a row are worse than the best one, or one by so many
# standard errors
_PATIENCE, _CLEARLY = 2, 3.0
# fewer rows say too little about a network
_FEWEST_ROWS = 30
# a network with such a weight forecasts rather than the regression: noise is not most of the error
_MOST = 0.5
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
    weight : float
        That of the network where it is averaged with the regression; 0 is the regression alone.
    loss : float
        Mean loss of the averages' forecasts of all rows that follow an origin.
    excess, standard_error : float
        Mean and standard error of the difference to the losses of the best point.
    """

    alpha: float
    skip_alpha: float
    weight: float
    loss: float
    excess: float = 0.0
    standard_error: float = 0.0


class Origin(NamedTuple):
    """A cut of the rows: those to train on, and those to forecast."""

    kept: BoolArray
    following: BoolArray


# a network trained on the rows up to an origin
ValidationModel = tuple[Origin, ElmanParameters]
Losses = Callable[[ValidationModel], Array]
# trains on rows with the strengths of both penalties, from a network; the states of its rows too
Train = Callable[[Rows, float, float, ElmanParameters], ElmanParameters]
States = Callable[[ElmanParameters, Rows], Array]
# draws several networks, and trains them on rows with the strengths of both penalties, briefly
Draw = Callable[[Rows, float, float], Sequence[ElmanParameters]]


class Penalties(NamedTuple):
    """The strengths of the penalties, what was tried to find them, and the models of the best.

    Networks trained with them forecast with a share of ``weight``, the regression with the rest.
    ``models`` were each trained on the rows before an origin, and averaged; there are none where
    nothing was chosen. ``start`` is the last of them that has not failed, before it was, to train
    on from. With ``is_mean`` the mean of several networks forecasts, drawn and trained briefly.
    """

    alpha: float
    skip_alpha: float
    weight: float = 1.0
    path: tuple[Candidate, ...] = ()
    models: tuple[ValidationModel, ...] = ()
    start: ElmanParameters | None = None
    is_mean: bool = False

    def without_models(self) -> Penalties:
        """What is kept after training."""
        return self._replace(models=(), start=None)


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
            origins.append(Origin(kept, block))
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
    path = [int(rows.is_observed.sum()) * penalty for penalty in SKIP_PENALTIES]
    models = [
        [ridge(rows.among(origin.kept), hidden_size, skip_alpha) for origin in origins]
        for skip_alpha in path
    ]
    found = [np.concatenate(_losses_of(ridges, origins, losses)) for ridges in models]
    candidates = _compared([(np.inf, skip_alpha, 0.0) for skip_alpha in path], found)
    allowed = sensible(rows, hidden_size, path)
    best = min(allowed, key=lambda k: candidates[k].loss)
    chosen = tuple(zip(origins, models[best], strict=True))
    return Penalties(np.inf, path[best], path=candidates, models=chosen)


def choose_alpha(
    rows: Rows,
    origins: Sequence[Origin],
    losses: Losses,
    train: Train,
    finish: Train,
    states: States,
    draw: Draw | None,
    *,
    hidden_size: int,
    skip_alpha: float | None,
    random_state: Any,
) -> Penalties:
    """The strength of the network's penalty; infinite where it adds nothing to the regression.

    Networks are averaged with the regression. Of the path the largest strength is taken whose loss
    is within one standard error, of the difference, of the smallest, and whose network has a
    weight, unless the best has none. That network is judged once more as it will forecast, trained
    to the end: it keeps the weight that it earns then, and without any larger strengths have their
    turn, up to the regression.

    Where noise is most of the error, networks trained to the end rest in minima far from one
    another, and which of them it is depends on a few rows. The mean of several that were stopped
    early is judged beside one whose weight is below a half, and is taken if it forecasts better.

    Parameters
    ----------
    rows : Rows
    origins : sequence of Origin
    losses : callable
        The losses of a validation model's forecasts of the rows after its origin.
    train : callable
        Trains a network on rows, with the strengths given, from another: briefly, for comparison.
    finish : callable
        The same to the end, as the network that is to forecast.
    states : callable
        The hidden states of a network over rows.
    draw : callable, optional
        Draws the networks of a mean and trains them; needs a linear skip.
    hidden_size : int
    skip_alpha : float, optional
        None without a linear skip.
    random_state : int, numpy Generator or RandomState, optional
    """
    generator = np.random.default_rng(seed_sequence(random_state))
    noise = residual_variance(rows, hidden_size, skip_alpha)
    n_rows, m = int(rows.is_observed.sum()), rows.targets.shape[1]
    before = [rows.among(origin.kept) for origin in origins]
    networks = [ridge(kept, hidden_size, skip_alpha) for kept in before]
    points, found = [], []
    if skip_alpha is not None:
        points = [_Point(np.inf, 0.0, networks, networks, _losses_of(networks, origins, losses))]
        found = [np.concatenate(points[0].losses)]
    strength, n_worse = _STRONGEST * np.sqrt(m * noise), 0
    while True:
        networks = [
            train(
                kept,
                n_rows * strength,
                skip_alpha or 0.0,
                _revived(network, states(network, kept), noise, generator),
            )
            for kept, network in zip(before, networks, strict=True)
        ]
        found.append(np.concatenate(_losses_of(networks, origins, losses)))
        points.append(_judged(n_rows * strength, networks, points, skip_alpha, origins, losses))
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
    first, candidates = _best(points, skip_alpha)
    chosen, is_mean = points[0], False
    # where networks trained to the end fit too much at a strength, they may not at a larger one
    for point in (point for point in reversed(points[: first + 1]) if point.weight > 0.0):
        pairs = zip(before, point.networks, strict=True)
        networks = [finish(kept, point.alpha, skip_alpha or 0.0, start) for kept, start in pairs]
        judged = _judged(point.alpha, networks, points, skip_alpha, origins, losses)
        taken, is_mean = judged, False
        if draw is not None and skip_alpha is not None and judged.weight < _MOST:
            of_mean = [joined(draw(kept, point.alpha, skip_alpha)) for kept in before]
            mean = _judged(point.alpha, of_mean, points, skip_alpha, origins, losses)
            taken = min(judged, mean, key=lambda rival: np.concatenate(rival.losses).mean())
            is_mean = taken is mean and mean.weight > 0.0
        if taken.weight > 0.0:
            chosen = taken
            break
    return Penalties(
        chosen.alpha,
        np.nan if skip_alpha is None else skip_alpha,
        chosen.weight,
        candidates,
        tuple(zip(origins, chosen.averages, strict=True)),
        _start(chosen.networks, rows, states) if chosen.weight > 0.0 and not is_mean else None,
        is_mean,
    )


def drawn(
    rows: Rows,
    alpha: float,
    skip_alpha: float,
    train: Train,
    states: States,
    *,
    hidden_size: int,
    n_networks: int,
    random_state: Any,
) -> list[ElmanParameters]:
    """Networks trained from the regression with small weights, which differ by their draws."""
    generator = np.random.default_rng(seed_sequence(random_state))
    regression = ridge(rows, hidden_size, skip_alpha)
    noise, h = residual_variance(rows, hidden_size, skip_alpha), states(regression, rows)
    return [
        train(rows, alpha, skip_alpha, _revived(regression, h, noise, generator))
        for _ in range(n_networks)
    ]


def _start(networks: Sequence[ElmanParameters], rows: Rows, states: States) -> ElmanParameters:
    """The network to train on from: the last, of the most rows, unless its training has failed."""
    errors = []
    with np.errstate(all="ignore"):
        for network in networks:
            outputs = network.outputs(states(network, rows), rows.inputs)
            losses = rows.datafit.value(rows.targets, outputs)[rows.is_observed]
            errors.append(float(np.nan_to_num(losses.mean(), nan=np.inf)))
    return networks[max(not_failed(errors), default=-1)]


class _Point(NamedTuple):
    """Networks of one strength before the origins, and their averages with the regressions."""

    alpha: float
    weight: float
    networks: Sequence[ElmanParameters]
    averages: Sequence[ElmanParameters]
    losses: Sequence[Array]


def _judged(
    alpha: float,
    networks: Sequence[ElmanParameters],
    points: Sequence[_Point],
    skip_alpha: float | None,
    origins: Sequence[Origin],
    losses: Losses,
) -> _Point:
    """Networks as they will forecast, averaged with the regressions if there are any."""
    point = _Point(alpha, 1.0, networks, networks, _losses_of(networks, origins, losses))
    return point if skip_alpha is None else _averaged(point, points[0], origins, losses)


def _averaged(
    point: _Point, regression: _Point, origins: Sequence[Origin], losses: Losses
) -> _Point:
    """Networks averaged with the regressions, with the weight that they have earned."""

    def at(weight: float) -> _Point:
        pairs = zip(point.networks, regression.networks, strict=True)
        averages = [average(network, regression, weight) for network, regression in pairs]
        found = _losses_of(averages, origins, losses)
        return point._replace(weight=weight, averages=averages, losses=found)

    weight = earned_weight(regression.losses, at(0.5).losses, point.losses)
    return at(weight) if weight > 0.0 else regression._replace(alpha=point.alpha)


def _best(points: Sequence[_Point], skip_alpha: float | None) -> tuple[int, tuple[Candidate, ...]]:
    """The choice among the points of the path, which goes from strong to weak, and how they did."""
    of_skip = np.nan if skip_alpha is None else skip_alpha
    candidates = _compared(
        [(point.alpha, of_skip, point.weight) for point in points],
        [np.concatenate(point.losses) for point in points],
    )
    # a network that has earned its weight need not be better than the regression by an error again
    lowest = min(points, key=lambda point: np.concatenate(point.losses).mean())
    chosen = next(
        k
        for k, (point, candidate) in enumerate(zip(points, candidates, strict=True))
        if candidate.excess <= candidate.standard_error + _TIE
        and (point.weight > 0.0 or lowest.weight == 0.0)
    )
    return chosen, candidates


def _losses_of(
    networks: Sequence[ElmanParameters], origins: Sequence[Origin], losses: Losses
) -> list[Array]:
    return [losses(model) for model in zip(origins, networks, strict=True)]


def _is_over(n_worse: int, excess: Array) -> bool:
    """Whether a path that got worse need not be followed."""
    is_clear = excess.mean() > _CLEARLY * standard_error(excess)
    return n_worse == _PATIENCE or bool(is_clear)


def _compared(
    strengths: Sequence[tuple[float, float, float]], losses: Sequence[Array]
) -> tuple[Candidate, ...]:
    best = min(losses, key=np.mean)
    return tuple(
        Candidate(
            *point,
            float(loss.mean()),
            float((loss - best).mean()),
            standard_error(loss - best),
        )
        for point, loss in zip(strengths, losses, strict=True)
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
