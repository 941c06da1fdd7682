"""The choice of the penalties: forecasts of rows that follow the training rows in time.

The rows are cut at several origins. Up to each a validation model is trained, whose loss on the
rows up to the next origin counts. The penalty of the linear skip is chosen first, for the ridge
regression alone; then that of the network, in :mod:`sktime_alm.alpha_path`.

Strengths are in rows of prior: penalties of a sum over rows, which say the same whatever their
number. :func:`sktime_alm.regression.strengths_of_mean` turns them into those of the solver's
objective, a mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from sktime_alm.averaging import standard_error
from sktime_alm.inputs import Rows
from sktime_alm.regression import ridge, sensible
from sktime_alm.solver import ElmanParameters
from sktime_alm.solver._typing import Array, BoolArray

# where the training rows end, as shares of all; the last block ends with the rows
SKIP_ORIGINS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
NETWORK_ORIGINS = (0.55, 0.7, 0.85, 1.0)
# The path of skip_alpha a row. The weakest leaves a trend to its slope, the strongest leaves
# little but the mean.
SKIP_PENALTIES = tuple(10.0 ** np.arange(-8.0, 1.1, 0.5))
# fewer rows say too little about a network
_FEWEST_ROWS = 30


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


class Penalties(NamedTuple):
    """The strengths of the penalties, what was tried to find them, and the models of the best.

    Networks trained with them forecast with a share of ``weight``, the regression with the rest.
    ``models`` were each trained on the rows before an origin, and averaged; there are none where
    nothing was chosen. ``start`` is the last of them that has not failed, before it was, to train
    on from. With ``is_mean`` the mean of several networks forecasts, drawn and trained briefly.
    ``max_recurrence`` is the bound chosen with them, if one was.
    """

    alpha: float
    skip_alpha: float
    weight: float = 1.0
    path: tuple[Candidate, ...] = ()
    models: tuple[ValidationModel, ...] = ()
    start: ElmanParameters | None = None
    is_mean: bool = False
    max_recurrence: float | None = None

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
    found = [np.concatenate(losses_of(ridges, origins, losses)) for ridges in models]
    candidates = compared([(np.inf, skip_alpha, 0.0) for skip_alpha in path], found)
    allowed = sensible(rows, hidden_size, path)
    best = min(allowed, key=lambda k: candidates[k].loss)
    chosen = tuple(zip(origins, models[best], strict=True))
    return Penalties(np.inf, path[best], path=candidates, models=chosen)


def losses_of(
    networks: Sequence[ElmanParameters], origins: Sequence[Origin], losses: Losses
) -> list[Array]:
    """Those of networks trained before each of the origins."""
    return [losses(model) for model in zip(origins, networks, strict=True)]


def compared(
    strengths: Sequence[tuple[float, float, float]], losses: Sequence[Array]
) -> tuple[Candidate, ...]:
    """Points of a path, by their strengths and weights, beside the best of them."""
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
