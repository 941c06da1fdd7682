"""Averages of a network with the regression, and the weight that it has earned in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sktime_alm.solver import ElmanParameters
from sktime_alm.solver._typing import Array

# Losses that follow one another are alike: their mean is known as well as those of so many pieces
# say, if these are longer than a shock lasts.
_N_PIECES = 10
# the average of a regression and a network leaves the former only where the weight is more than so
# many of its standard errors above 0, and is that of the network alone within one of 1
_ABOVE_NONE, _BELOW_FULL = 2.5, 1.0
# mean losses of standardised values that differ by less are the same
_TIE = 1e-12


def average(
    network: ElmanParameters, regression: ElmanParameters, weight: float
) -> ElmanParameters:
    """The network whose outputs are averages of theirs: ``weight`` of the first's, on its states.

    The readout is linear: it is averaged, with an A of 0 for the regression.
    """
    rest, D = 1.0 - weight, None
    if network.D is not None and regression.D is not None:
        D = weight * network.D + rest * regression.D
    c = weight * network.c + rest * regression.c
    return replace(network, A=weight * network.A, D=D, c=c)


def standard_error(values: Array) -> float:
    """The standard error of the mean of values that are alike where they are near (batch means).

    It is that of the mean of as many means of successive pieces.

    Parameters
    ----------
    values : array of shape (T,)
        In the order of time.
    """
    pieces = np.array_split(values, min(_N_PIECES, len(values)))
    means = [piece.mean() for piece in pieces]
    return float(np.std(means, ddof=1) / np.sqrt(len(means))) if len(means) > 1 else np.inf


def earned_weight(none: Sequence[Array], half: Sequence[Array], full: Sequence[Array]) -> float:
    """The weight of a network in its average with the regression, between 0 and 1.

    The mean loss of the average is a parabola in the weight, for squared errors; other losses
    are followed by the parabola through the weights 0, 1/2 and 1. Of the minimisers of each
    origin the median is taken, lest one network that was trained badly count. Its distances from
    0 and from 1 are multiplied by max(0, 1 - (k standard errors / distance)^4): what is not known
    to differ from the regression is the regression. With a square that is the factor of James
    and Stein; the fourth power leaves more of what is clear.

    Parameters
    ----------
    none, half, full : sequences of arrays
        Losses with the weights 0, 1/2 and 1 after each origin, in the order of time.
    """
    parabolas = [
        (4.0 * h - 3.0 * n - f, 2.0 * (n + f - 2.0 * h))
        for n, h, f in zip(none, half, full, strict=True)
    ]
    slope, bend = (np.concatenate(parts) for parts in zip(*parabolas, strict=True))
    curvature = 2.0 * float(bend.mean())
    if not (np.isfinite(curvature) and curvature > _TIE):
        # the network runs away, or is the regression
        return 0.0
    lowest = [-s.mean() / max(2.0 * b.mean(), _TIE) for s, b in parabolas]
    weight = float(np.median(np.clip(lowest, 0.0, 1.0)))
    error = standard_error(slope + 2.0 * weight * bend) / curvature
    from_none = _shrinkage(weight, _ABOVE_NONE * error)
    return from_none * (1.0 - _shrinkage(1.0 - weight, _BELOW_FULL * error) * (1.0 - weight))


def _shrinkage(distance: float, error: float) -> float:
    return max(1.0 - (error / max(distance, _TIE)) ** 4, 0.0)
