"""The choice of the network's penalty: a path from strong to weak, judged by forecasts.

The first point of the path is the regression itself, and every network is averaged with the
regression before it is judged, with the weight that it has earned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from sktime_alm.averaging import average, earned_weight, joined, not_failed, standard_error
from sktime_alm.inputs import Rows
from sktime_alm.penalties import (
    Candidate,
    Losses,
    Origin,
    Penalties,
    compared,
    losses_of,
)
from sktime_alm.regression import residual_variance, ridge
from sktime_alm.solver import ElmanParameters
from sktime_alm.solver._typing import Array
from sktime_alm.solver.multistart import seed_sequence

# The path of alpha a row begins where units are dead on most data, at so many times the
# standard deviation that the regression leaves, and ends at so many times the variance that the
# best network leaves: weights are known no better than the noise allows.
_STRONGEST, _WEAKEST, _LEAST_STRENGTH, _FACTOR = 0.4, 2e-5, 1e-10, 4.0
# losses of standardised values that differ by a smaller share are the same
_TIE = 1e-12
# the path ends when so many points in a row are worse than the best one, or one by so many
# standard errors
_PATIENCE, _CLEARLY = 2, 3.0
# a network with such a weight forecasts rather than the regression: noise is not most of the error
_MOST = 0.5
# a unit that moves the outputs by a smaller share of the errors is dead, and would stay so
_DEAD = 1e-3

# trains on rows with the strengths of both penalties, from a network; the states of its rows too
Train = Callable[[Rows, float, float, ElmanParameters], ElmanParameters]
States = Callable[[ElmanParameters, Rows], Array]
# draws several networks, and trains them on rows with the strengths of both penalties, briefly
Draw = Callable[[Rows, float, float], Sequence[ElmanParameters]]


class Point(NamedTuple):
    """Networks of one strength before the origins, and their averages with the regressions.

    ``losses`` are those of the averages, ``alone`` those of the networks by themselves.
    """

    alpha: float
    weight: float
    networks: Sequence[ElmanParameters]
    averages: Sequence[ElmanParameters]
    losses: Sequence[Array]
    alone: Sequence[Array]

    @property
    def loss(self) -> float:
        """The mean loss of the averages."""
        return float(np.concatenate(self.losses).mean())


@dataclass(frozen=True, eq=False)
class AlphaPath:
    """The strengths that are tried, and how the networks trained with them forecast.

    Attributes
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
        Draws the networks of a mean, that may forecast in place of one, and trains them briefly.
    hidden_size : int
    skip_alpha : float or None
        None without a linear skip.
    random_state : int, numpy Generator or RandomState, optional
    """

    rows: Rows
    origins: Sequence[Origin]
    losses: Losses
    train: Train
    finish: Train
    states: States
    draw: Draw | None
    hidden_size: int
    skip_alpha: float | None
    random_state: Any

    def choose(self) -> Penalties:
        """The strength of the network's penalty; infinite where it adds nothing.

        Of the path the largest strength is taken whose loss is within one standard error, of the
        difference, of the smallest, and whose network has a weight, unless the best has none.
        """
        first, candidates = self._best()
        chosen, is_mean = self._finished(first)
        has_start = chosen.weight > 0.0 and not is_mean
        return Penalties(
            chosen.alpha,
            np.nan if self.skip_alpha is None else self.skip_alpha,
            chosen.weight,
            candidates,
            tuple(zip(self.origins, chosen.averages, strict=True)),
            last_sound(chosen.networks, self.rows, self.states) if has_start else None,
            is_mean,
        )

    @cached_property
    def least(self) -> Point:
        """The point with the smallest loss."""
        return min(self.points, key=lambda point: point.loss)

    @cached_property
    def points(self) -> list[Point]:
        """The points of the path, the regression first where there is one."""
        generator = np.random.default_rng(seed_sequence(self.random_state))
        networks = [ridge(kept, self.hidden_size, self.skip_alpha) for kept in self._before]
        points: list[Point] = []
        if self.skip_alpha is not None:
            found = losses_of(networks, self.origins, self.losses)
            points = [Point(np.inf, 0.0, networks, networks, found, found)]
        strength, n_worse = _STRONGEST * np.sqrt(self.rows.targets.shape[1] * self._noise), 0
        while True:
            alpha = self._n_rows * strength
            networks = [
                self.train(kept, alpha, self.skip_alpha or 0.0, start)
                for kept, start in zip(
                    self._before, self._revived(networks, generator), strict=True
                )
            ]
            points.append(self._judged(alpha, networks, points))
            alone = [np.concatenate(point.alone) for point in points]
            best = min(range(len(alone)), key=lambda k: alone[k].mean())
            is_worse = self._is_alive(networks) and best < len(points) - 1
            n_worse = n_worse + 1 if is_worse else 0
            strength /= _FACTOR
            if n_worse and _is_over(n_worse, alone[-1] - alone[best]):
                return points
            if strength < max(_WEAKEST * float(alone[best].mean()), _LEAST_STRENGTH):
                return points

    def _best(self) -> tuple[int, tuple[Candidate, ...]]:
        """The choice among the points, which go from strong to weak, and how they did."""
        points = self.points
        of_skip = np.nan if self.skip_alpha is None else self.skip_alpha
        candidates = compared(
            [(point.alpha, of_skip, point.weight) for point in points],
            [np.concatenate(point.losses) for point in points],
        )
        # a network that has earned its weight need not be better than the regression by an error
        # again
        chosen = next(
            k
            for k, (point, candidate) in enumerate(zip(points, candidates, strict=True))
            if candidate.excess <= candidate.standard_error + _TIE
            and (point.weight > 0.0 or self.least.weight == 0.0)
        )
        return chosen, candidates

    def _finished(self, first: int) -> tuple[Point, bool]:
        """What is chosen, judged once more as it will forecast; and whether that is a mean.

        Networks are trained to the end, and keep the weight that they earn then. Where they have
        none, larger strengths have their turn, up to the regression.

        Where noise is most of the error, networks trained to the end rest in minima far from one
        another, and which of them it is depends on a few rows. The mean of several that were
        stopped early is judged beside one whose weight is below a half, and is taken if it
        forecasts better.
        """
        points = self.points
        for point in reversed(points[: first + 1]):
            if point.weight == 0.0:
                continue
            pairs = zip(self._before, point.networks, strict=True)
            skip_alpha = self.skip_alpha or 0.0
            networks = [self.finish(kept, point.alpha, skip_alpha, start) for kept, start in pairs]
            rivals = [self._judged(point.alpha, networks, points)]
            if self.draw is not None and rivals[0].weight < _MOST:
                means = [joined(self.draw(kept, point.alpha, skip_alpha)) for kept in self._before]
                rivals.append(self._judged(point.alpha, means, points))
            best = min(rivals, key=lambda rival: rival.loss)
            if best.weight > 0.0:
                return best, best is not rivals[0]
        return points[0], False

    def _judged(
        self, alpha: float, networks: Sequence[ElmanParameters], points: Sequence[Point]
    ) -> Point:
        """Networks as they will forecast, averaged with the regressions if there are any."""
        found = losses_of(networks, self.origins, self.losses)
        point = Point(alpha, 1.0, networks, networks, found, found)
        if self.skip_alpha is None:
            return point
        regression = points[0]

        def at(weight: float) -> Point:
            pairs = zip(networks, regression.networks, strict=True)
            averages = [average(network, other, weight) for network, other in pairs]
            losses = losses_of(averages, self.origins, self.losses)
            return point._replace(weight=weight, averages=averages, losses=losses)

        weight = earned_weight(regression.losses, at(0.5).losses, found)
        return at(weight) if weight > 0.0 else regression._replace(alpha=alpha, alone=found)

    def _revived(
        self, networks: Sequence[ElmanParameters], generator: np.random.Generator
    ) -> list[ElmanParameters]:
        """Networks to go on from, none of whose units is dead."""
        return [
            revived(network, self.states(network, kept), self._noise, generator)
            for network, kept in zip(networks, self._before, strict=True)
        ]

    def _is_alive(self, networks: Sequence[ElmanParameters]) -> bool:
        """Whether the units of some network do more than nothing."""
        return any(
            _contributes(network, self.states(network, kept), self._noise)
            for network, kept in zip(networks, self._before, strict=True)
        )

    @cached_property
    def _before(self) -> list[Rows]:
        """The rows that are trained on before each origin."""
        return [self.rows.among(origin.kept) for origin in self.origins]

    @cached_property
    def _n_rows(self) -> int:
        return int(self.rows.is_observed.sum())

    @cached_property
    def _noise(self) -> float:
        """The variance that the regression leaves."""
        return residual_variance(self.rows, self.hidden_size, self.skip_alpha)


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
        train(rows, alpha, skip_alpha, revived(regression, h, noise, generator))
        for _ in range(n_networks)
    ]


def last_sound(networks: Sequence[ElmanParameters], rows: Rows, states: States) -> ElmanParameters:
    """The network to train on from: the last, of the most rows, unless its training has failed."""
    errors = []
    with np.errstate(all="ignore"):
        for network in networks:
            outputs = network.outputs(states(network, rows), rows.inputs)
            losses = rows.datafit.value(rows.targets, outputs)[rows.is_observed]
            errors.append(float(np.nan_to_num(losses.mean(), nan=np.inf)))
    return networks[max(not_failed(errors), default=-1)]


def revived(
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


def _is_over(n_worse: int, excess: Array) -> bool:
    """Whether a path that got worse need not be followed."""
    is_clear = excess.mean() > _CLEARLY * standard_error(excess)
    return n_worse == _PATIENCE or bool(is_clear)


def _contributions(network: ElmanParameters, h: Array) -> Array:
    """The variance that each unit brings into the outputs, of shape (m, r)."""
    with np.errstate(all="ignore"):
        return np.nan_to_num(network.A**2 * h.var(axis=0), nan=np.inf)


def _contributes(network: ElmanParameters, h: Array, noise: float) -> bool:
    """Whether the hidden units do more than nothing: weights may be tiny, but not zero."""
    return bool(_contributions(network, h).sum(axis=1).max() > _DEAD * noise)
