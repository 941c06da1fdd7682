"""How wrong the forecasts of few rows are: pieces of a panel's series, taken for whole ones.

What the network of a panel forecasts is in units of the series, and few rows hardly tell these.
How much that costs, the panel shows by itself: the rows that follow a piece are forecast from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from sktime_alm.fitted import situations_of
from sktime_alm.inputs import Series
from sktime_alm.intervals import MIN_ERRORS, SIZE, Errors
from sktime_alm.model import Model
from sktime_alm.solver._typing import Array

# so many pieces of each length, and forecasts from so many rows in turn after each
_N_PIECES, _N_ORIGINS = 80, 2
# the most steps ahead of these forecasts, as a number and as a share of the rows of most series
_MOST_STEPS, _SHARE = 24, 0.2


class Piece(NamedTuple):
    """Rows taken for a whole series, and the same with those that follow."""

    known: Series
    longer: Series


@dataclass(frozen=True, eq=False)
class Replay:
    """Errors of the forecasts of what followed so many rows."""

    n_rows: int
    errors: Errors

    def between(self, longer: Replay, n_rows: int) -> Errors:
        """Those after a number of rows between the two."""
        # in proportion to powers of the number of rows, as standard errors are
        share = np.log(max(n_rows / self.n_rows, 1.0)) / np.log(longer.n_rows / self.n_rows)
        return self.errors.times(_excess(self.errors, longer.errors) ** -share)


def errors_after(replays: Sequence[Replay], n_rows: int) -> Errors | None:
    """Errors of the forecasts of what follows so few rows; None if they are as many as any."""
    for shorter, longer in pairwise(replays):
        if n_rows < longer.n_rows:
            return shorter.between(longer, n_rows)
    return None


def excess_after(replays: Sequence[Replay], errors: Errors, n_rows: int) -> Array:
    """How many times larger than those of whole series errors after many rows are.

    These are in units that later rows have told as well. What is not known of a mean and of a
    deviation falls with the number of rows.
    """
    if not replays:
        return np.ones(errors.one_step.shape[1])
    last = replays[-1]
    return np.asarray(_excess(last.errors, errors) ** (last.n_rows / max(n_rows, last.n_rows)))


def _excess(before: Errors, after: Errors) -> Array:
    """How many times larger errors one step ahead were: more rows do not make them larger."""
    sizes = (np.quantile(np.abs(e.one_step), SIZE, axis=0) for e in (before, after))
    of_before, of_after = (np.maximum(size, np.finfo(float).tiny) for size in sizes)
    return np.asarray(np.maximum(of_before / of_after, 1.0))


def replayed(
    panel: Sequence[Series], model_of: Callable[[Series], Model], is_log: bool
) -> Iterator[Replay]:
    """The replays of pieces of 1, 2, 3, 4, 8 rows and so on, up to most of those of a usual series.

    Parameters
    ----------
    panel : sequence of Series
    model_of : callable
        The model of a piece as a series of its own.
    is_log : bool
        Whether logarithms are taken, so that zeros alone tell nothing.
    """
    n_all = sum(len(series.y) for series in panel)
    # the longest pieces leave enough of a usual series to be forecast
    usual = int(np.median([np.diff([*series.starts, len(series.y)]).max() for series in panel]))
    n_steps = min(_MOST_STEPS, max(int(_SHARE * usual), 1))
    n_following = _N_ORIGINS + n_steps - 1
    longest = usual - max(n_following, usual // 4)
    if longest < 1:
        return
    # each about twice as long: errors change with the logarithm of the number of rows
    lengths = {3, *(2**k for k in range(longest.bit_length()))}
    for n_rows in [*(n for n in sorted(lengths) if n < 0.8 * longest), longest]:
        pairs = [
            _runs(model_of(piece.known), piece, n_steps)
            for piece in _pieces(panel, n_rows, n_following)
            if _tells_level(piece.known, is_log)
        ]
        if not pairs:
            continue
        errors, forecasts = (np.concatenate(part) for part in zip(*pairs, strict=True))
        n_known = _n_steps_known(errors)
        if n_known:
            errors, forecasts = _filled(errors[:, :n_known]), forecasts[:, :n_known]
            # so many pieces with what follows lie beside each other
            n_apart = np.minimum(len(errors), n_all / (n_rows + np.arange(1.0, n_known + 1.0)))
            yield Replay(n_rows, Errors.of_runs(errors, forecasts, n_apart))


def _n_steps_known(errors: Array) -> int:
    """The first steps of runs that enough values are known of."""
    is_enough = (~np.isnan(errors)).sum(axis=0).min(axis=-1) >= MIN_ERRORS
    return len(is_enough) if is_enough.all() else int(np.argmin(is_enough))


def _filled(errors: Array) -> Array:
    """Runs of errors in which those of the same step in other runs stand for missing ones."""
    filled = errors.copy()
    for step in range(errors.shape[1]):
        for output in range(errors.shape[2]):
            of_step = filled[:, step, output]
            is_missing = np.isnan(of_step)
            # a view: what is put in here is in the runs
            of_step[is_missing] = np.resize(of_step[~is_missing], int(is_missing.sum()))
    return filled


def _pieces(panel: Sequence[Series], n_rows: int, n_following: int) -> Iterator[Piece]:
    """Evenly spaced among all that the series have."""
    n_all = n_rows + n_following
    sequences = [
        (series, start, stop)
        for series in panel
        for start, stop in pairwise([*series.starts, len(series.y)])
        if stop - start >= n_all
    ]
    if not sequences:
        return
    # places among all possible first rows, so that long series have more pieces
    firsts = np.cumsum([0, *(stop - start - n_all + 1 for _, start, stop in sequences)])
    for place in np.unique(np.linspace(0, firsts[-1], _N_PIECES, endpoint=False).astype(int)):
        k = int(np.searchsorted(firsts, place, side="right")) - 1
        series, start, _ = sequences[k]
        first = start + int(place - firsts[k])
        known, longer = (_rows_of(series, first, first + n) for n in (n_rows, n_all))
        yield Piece(known, longer)


def _tells_level(series: Series, is_log: bool) -> bool:
    is_seen = series.y > 0.0 if is_log else ~np.isnan(series.y)
    return bool(is_seen.any(axis=0).all())


def _rows_of(series: Series, first: int, stop: int) -> Series:
    return Series(series.y[first:stop], series.X[first:stop], (0,), stop - first - 1)


def _runs(model: Model, piece: Piece, n_steps: int) -> tuple[Array, Array]:
    """Errors of each number of steps ahead from the same row, and forecasts, standardised.

    Of shape (n_runs, n_steps, m); NaN where a value is missing.
    """
    rows = range(len(piece.known.y), len(piece.known.y) + _N_ORIGINS)
    found = list(situations_of(model, piece.longer, rows, n_steps))
    forecasts = np.array([model.forecast(one.states, one.past, one.exogenous) for one in found])
    return np.array([one.actual for one in found]) - forecasts, forecasts
