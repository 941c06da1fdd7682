"""Averages of a network with the regression, and the weight that it has earned in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.linalg import block_diag

from sktime_alm.solver import ElmanParameters
from sktime_alm.solver._typing import Array

# Losses that follow one another are alike: their mean is known as well as those of so many pieces
# say, if these are longer than a shock lasts.
_N_PIECES = 10
# mean losses of standardised values that differ by less are the same
_TIE = 1e-12
# Training that ends at so many times the error of the best has failed: it rests in a minimum far
# from the others. Where noise is most of the error no two starts differ nearly as much.
_FAILED = 4.0


def not_failed(errors: Sequence[float]) -> list[int]:
    """Which of several trainings have not failed, by their mean losses or objectives."""
    limit = _FAILED * min(errors, default=0.0)
    return [k for k, error in enumerate(errors) if error <= limit]


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


def joined(networks: Sequence[ElmanParameters]) -> ElmanParameters:
    """One network with the units of all, whose outputs are the mean of theirs."""
    skips = [network.D for network in networks if network.D is not None]
    return replace(
        networks[0],
        A=np.hstack([network.A for network in networks]) / len(networks),
        W=block_diag(*(network.W for network in networks)),
        V=np.vstack([network.V for network in networks]),
        b=np.concatenate([network.b for network in networks]),
        c=np.mean([network.c for network in networks], axis=0),
        D=np.mean(skips, axis=0) if skips else None,
    )


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
    origin the median is taken, lest one network that was trained badly count. It is multiplied by
    James and Stein's factor 1 - s^2 / g^2, or 0 below, for the gain g on the regression and its
    standard error s: what cannot be told from the regression is the regression, and hardly
    anything is taken of what is clear. The gain of a network that is nearly exact varies as the
    errors of the regression do, and yet the weight is known: s is the standard error of w times
    the derivative of the loss, if that is smaller.

    Parameters
    ----------
    none, half, full : sequences of arrays
        Losses with the weights 0, 1/2 and 1 after each origin, in the order of time.
    """
    if not all(np.isfinite(losses).all() for losses in full):
        # the network runs away
        return 0.0
    weights = [
        _lowest(float(n.mean()), float(h.mean()), float(f.mean()))
        for n, h, f in zip(none, half, full, strict=True)
    ]
    weight = float(np.median(weights))
    at_none, at_half, at_full = (np.concatenate(losses) for losses in (none, half, full))
    slope, bend = _parabola(at_none, at_half, at_full)
    return weight * _evidence(weight, slope, bend)


def _parabola(none: Any, half: Any, full: Any) -> tuple[Any, Any]:
    """The coefficients of w and w^2 of that through the values at 0, 1/2 and 1."""
    return 4.0 * half - 3.0 * none - full, 2.0 * (none + full - 2.0 * half)


def _lowest(none: float, half: float, full: float) -> float:
    """Where the parabola through the values at 0, 1/2 and 1 is lowest between 0 and 1."""
    slope, bend = _parabola(none, half, full)
    if bend <= _TIE:
        return float(full < none)
    return float(np.clip(-slope / (2.0 * bend), 0.0, 1.0))


def _evidence(weight: float, slope: Array, bend: Array) -> float:
    """How sure it is that a weight is above 0, from 0 to 1, by the parabolas of the losses."""
    gains = -slope * weight - bend * weight**2
    gain = float(gains.mean())
    if gain <= _TIE:
        return 0.0
    of_weight = weight * (slope + 2.0 * bend * weight)
    error = min(standard_error(gains), standard_error(of_weight))
    return float(max(0.0, 1.0 - (error / gain) ** 2))
