"""Between series and network: scalers, and the network's inputs from y and X."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import lfilter

from sktime_alm.scalers import Standardizer
from sktime_alm.solver._typing import Array, BoolArray, IntArray
from sktime_alm.solver._validation import (
    MOST,
    check_count,
    check_counts,
    check_positive,
    check_sequence,
)
from sktime_alm.solver.activations import Activation
from sktime_alm.solver.datafits import Datafit
from sktime_alm.solver.network import ElmanParameters, simulate

# weighted means reach back so many half-lives, of so many rows at most
_N_HALF_LIVES, _LONGEST_HALF_LIFE = 5.0, 10_000
_KIND = "an integer or a sequence of integers"
# names the series among the columns of X, one of which may be called "y"
OF_SERIES = object()


class Series(NamedTuple):
    """The rows of a series, in original units.

    Attributes
    ----------
    y : array of shape (T, m)
        NaN where missing.
    X : array of shape (T, n)
    starts : tuple of int
        First rows of the sequences of consecutive times.
    present : int
        The row that forecasts go on from.
    is_complete : bool
        Whether all rows trained on are here.
    """

    y: Array
    X: Array
    starts: tuple[int, ...]
    present: int
    is_complete: bool = True

    def last_known(self, row: int) -> int:
        """The last row of its sequence, no later than a row, with a value of y.

        The row itself where there is none.
        """
        if not np.isnan(self.y[row]).all():
            return row
        # before a gap in time lie values of another sequence
        start = max(start for start in self.starts if start <= row)
        known = np.flatnonzero(~np.isnan(self.y[start : row + 1]).all(axis=1))
        return start + int(known[-1]) if len(known) else row

    @property
    def n_known(self) -> int:
        """Number of rows up to the last one with a value of y."""
        return self.last_known(len(self.y) - 1) + 1

    @property
    def until_known(self) -> Series:
        """The rows up to the last one with a value of y."""
        n_rows = self.n_known
        starts = tuple(start for start in self.starts if start < n_rows)
        present = min(self.present, n_rows - 1)
        return Series(self.y[:n_rows], self.X[:n_rows], starts, present, self.is_complete)

    def as_last_known(
        self, rows: IntArray, steps: IntArray, X: Array
    ) -> tuple[Series, IntArray, IntArray, Array]:
        """A question about rows, and steps ahead of the present, put where y was last known.

        Missing values since are steps ahead then, forecast on the way to later ones; so what is
        not known about them counts. X is that of the steps.
        """
        known = self.last_known(self.present)
        missing = self.X[known + 1 : self.present + 1]
        ahead = np.concatenate([rows[rows > known] - known, steps + len(missing)])
        return (
            self._replace(present=known),
            rows[rows <= known],
            ahead,
            np.vstack([missing, X]),
        )


class Term(NamedTuple):
    """An input made of X: the mean of a column over the lags from ``first`` to ``last``.

    With a ``half_life``, in rows, later ones weigh more.
    """

    column: int
    first: int
    last: int
    half_life: float | None = None


@dataclass(frozen=True)
class InputLayout:
    """Which values are inputs of the network at a time t, in the order of its columns.

    Attributes
    ----------
    lags : tuple of int
        y of t - lag, for each lag.
    windows : tuple of int
        Averages of the last values of y before t, for each number of values.
    half_lives : tuple of float
        Exponentially weighted averages of them, by the rows after which a weight is a half.
    terms : tuple of Term
        What X contributes; lag 0 is X of t itself.
    n_exogenous : int
        Number of columns of X.
    """

    lags: tuple[int, ...]
    windows: tuple[int, ...]
    half_lives: tuple[float, ...] = ()
    terms: tuple[Term, ...] = ()
    n_exogenous: int = 0

    @classmethod
    def from_arguments(
        cls,
        lags: Any,
        window_means: Any,
        half_lives: Any,
        exog_lags: Any,
        columns: Sequence[Any] = (),
        n_calendar: int = 0,
    ) -> InputLayout:
        """From the arguments of the forecaster; an error names the one that is wrong.

        ``columns`` are those of X, which ``n_calendar`` columns of the calendar follow. For y an
        integer k means the lags 1 to k, and for X too; 0 is X of the time itself.
        """
        columns = list(columns)
        windows, windows_of_X = _by_column(window_means, "window_means", columns, check_counts)
        lives, lives_of_X = _by_column(half_lives, "half_lives", columns, _check_half_lives)
        of_windows = (
            Term(columns.index(name), 1, window)
            for name, of_column in windows_of_X.items()
            for window in of_column
        )
        of_lives = (
            Term(columns.index(name), 1, _reach_of(half_life), half_life)
            for name, of_column in lives_of_X.items()
            for half_life in of_column
        )
        of_calendar = (Term(len(columns) + k, 0, 0) for k in range(n_calendar))
        of_lags = _lag_terms(exog_lags, columns, {**windows_of_X, **lives_of_X})
        terms = *of_lags, *of_windows, *of_lives, *of_calendar
        layout = cls(_counted(lags, "lags", 1), windows, lives, terms, len(columns) + n_calendar)
        layout._check(lags, exog_lags, columns, n_calendar)
        return layout

    def _check(self, lags: Any, exog_lags: Any, columns: list[Any], n_calendar: int) -> None:
        """Refuse arguments that do not fit X, or leave no inputs."""
        if exog_lags is not None and not columns:
            raise ValueError(f"exog_lags={exog_lags!r} are lags of X, but fit was passed no X")
        if columns and len(self.terms) == n_calendar:
            raise ValueError("exog_lags must hold at least one lag; pass no X to fit to use none")
        if not columns and self.memory == 0:
            raise ValueError(
                f"lags={lags!r} leaves the network without inputs; pass X, or use lags or "
                "window_means"
            )

    def check_unchanged(self, before: InputLayout, caller: str) -> None:
        """Refuse arguments that have changed since networks were trained by ``caller``."""
        if self != before:
            raise ValueError(
                "loss, calendar_inputs, half_lives, lags, window_means and exog_lags must be those "
                f"of {caller}, {before}; found {self}"
            )

    @property
    def memory(self) -> int:
        """Number of last values of y that the inputs of a time depend on."""
        return max((*self.lags, *self.windows, *map(_reach_of, self.half_lives)), default=0)

    @property
    def span(self) -> int:
        """Number of rows before a time that its inputs are made of."""
        return max(self.memory, max((term.last for term in self.terms), default=0))

    @property
    def least_memory(self) -> int:
        """Number of these that must be there.

        Weighted means begin at the mean of the series, and ask for one row alone.
        """
        return max((*self.lags, *self.windows, min(len(self.half_lives), 1)), default=0)

    @property
    def context(self) -> int:
        """Number of rows at the beginning of a sequence that only serve as inputs."""
        # weighted means of X begin with one row, as those of y
        of_X = (term.last if term.half_life is None else 1 for term in self.terms)
        return max((self.least_memory, *of_X))

    @property
    def n_averages(self) -> int:
        """Number of inputs that are made of a column of y."""
        return len(self.lags) + len(self.windows) + len(self.half_lives)

    @property
    def reach(self) -> IntArray:
        """The smallest lag of each column of X; very large where it is no input."""
        reach = np.full(self.n_exogenous, np.iinfo(np.int32).max)
        for term in self.terms:
            reach[term.column] = min(reach[term.column], term.first)
        return reach

    def longest(self) -> str:
        """The argument whose inputs reach back furthest."""
        of_X = [term.last for term in self.terms if term.half_life is None]
        reach = {
            "lags": max(self.lags, default=0),
            "window_means": max(self.windows, default=0),
            "exog_lags": max(of_X, default=0),
            # of weighted means one row has to be there
            "half_lives": int(bool(self.half_lives) or len(of_X) < len(self.terms)),
        }
        return max(reach, key=reach.__getitem__)

    def scaler(self, y: Standardizer, X: Standardizer) -> Standardizer:
        """Scaler of the inputs: an average of standardised values needs none of its own."""
        columns = [term.column for term in self.terms]
        return Standardizer(
            np.concatenate([np.tile(y.mean, self.n_averages), X.mean[columns]]),
            np.concatenate([np.tile(y.scale, self.n_averages), X.scale[columns]]),
        )

    def rows(self, y: Array, X: Array, starts: Sequence[int] = (0,)) -> Array:
        """Inputs of each row, with zeros in place of what came before its sequence.

        Parameters
        ----------
        y : array of shape (T, m)
            The last value before a missing one stands in for it, and 0 where there is none.
        X : array of shape (T, n)
        starts : sequence of int, default=(0,)
            First rows of the sequences of consecutive times.

        Returns
        -------
        array of shape (T, (n_lags + n_windows + n_half_lives) m + n_terms)
        """
        y, pieces = carried_forward(y, starts), []
        for start, stop in pairwise([*starts, len(y)]):
            means = [trailing_mean(y[start:stop], window) for window in self.windows]
            means += [weighted_mean(y[start:stop], half_life) for half_life in self.half_lives]
            pieces.append(np.hstack([lag_matrix(y[start:stop], self.lags), *means]))
        return np.hstack([np.vstack(pieces), self.exogenous(X, starts)])

    def exogenous(self, X: Array, starts: Sequence[int] = (0,)) -> Array:
        """The part of :meth:`rows` that is made of X, of shape (T, n_terms)."""
        inputs = np.zeros((len(X), len(self.terms)))
        for start, stop in pairwise([*starts, len(X)]):
            for k, (column, first, last, half_life) in enumerate(self.terms):
                values = X[start:stop, column : column + 1]
                lagged = values
                if half_life is not None:
                    lagged = weighted_mean(values, half_life)
                elif last > first:
                    # the mean of the lags 1 to last
                    lagged = trailing_mean(values, last)
                elif last > 0:
                    lagged = lag_matrix(values, (last,))
                inputs[start:stop, k] = lagged[:, 0]
        return inputs

    def n_from_y(self, n_outputs: int) -> int:
        """Number of inputs that are made of y, the first ones."""
        return self.n_averages * n_outputs

    def simulate(
        self,
        parameters: ElmanParameters,
        sigma: Activation,
        state: Array,
        y: Array,
        X: Array,
        noise: Array,
        bounds: Array | None = None,
        changes: Array | None = None,
    ) -> Array:
        """Paths of the network after the rows of y, run on its own outputs with noise.

        Parameters
        ----------
        parameters : ElmanParameters
        sigma : Activation
        state : array of shape (r,)
            Hidden state after the last row of y.
        y : array of shape (T, m)
            The last ``memory`` rows count; what stands in for others is as in :meth:`rows`.
        X : array of shape (n_steps, n_terms)
            Exogenous inputs of each step, as in :meth:`rows`.
        noise : array of shape (n_paths, n_steps, m)
            Added to the outputs.
        bounds : array of shape (2, m), optional
            Where the noisy outputs are cut off.
        changes : array of shape (n_paths, m, k), optional
            Added to the readout [A D c], k columns wide, for each path.

        Returns
        -------
        array of shape (n_paths, n_steps, m)
        """
        m = y.shape[1]
        recent = np.zeros((self.memory, m))
        newest_first = carried_forward(y)[::-1][: self.memory]
        recent[: len(newest_first)] = newest_first
        # run on the last values of y, with V times the map from them to the inputs
        of_recent = self.map_from_recent(m)

        def on_recent(weights: Array) -> Array:
            of_y, others = weights[..., : len(of_recent)], weights[..., len(of_recent) :]
            return np.concatenate([of_y @ of_recent, others], axis=-1)

        # so the compiled loop need not know windows and weighted means
        V, D, r = on_recent(parameters.V), parameters.D, parameters.hidden_size
        on_values = replace(parameters, V=V, D=None if D is None else on_recent(D))
        if changes is not None and D is not None:
            of_h, of_inputs = changes[..., :r], changes[..., r:]
            changes = np.concatenate([of_h, on_recent(of_inputs)], axis=-1)
        return simulate(on_values, sigma, state, recent, X, noise, bounds, changes)

    def map_from_recent(self, n_outputs: int) -> Array:
        """The linear map from the last values of y to the inputs made of them.

        Of shape (n_from_y, memory n_outputs): the newest value of all outputs comes first.
        """
        weights = np.zeros((self.n_averages, self.memory))
        for row, lag in enumerate(self.lags):
            weights[row, lag - 1] = 1.0
        for row, window in enumerate(self.windows, start=len(self.lags)):
            weights[row, :window] = 1.0 / window
        for row, half_life in enumerate(self.half_lives, start=len(self.lags + self.windows)):
            reach = _reach_of(half_life)
            falling = 0.5 ** (np.arange(reach) / half_life)
            weights[row, :reach] = falling / falling.sum()
        return np.asarray(np.kron(weights, np.eye(n_outputs)), dtype=float)


def _reach_of(half_life: float) -> int:
    """Rows that a weighted mean reaches back: what lies further would weigh a thirtieth in all."""
    return int(np.ceil(_N_HALF_LIVES * half_life))


def _by_column(
    value: Any, name: str, columns: Sequence[Any], check: Any
) -> tuple[tuple[Any, ...], dict[Any, tuple[Any, ...]]]:
    """What an argument holds for y, and for columns of X where it is a dict."""
    of_columns = dict(value) if isinstance(value, Mapping) else {OF_SERIES: value}
    if OF_SERIES not in of_columns and "y" in of_columns:
        if "y" in columns:
            raise ValueError(
                f"{name} must not name 'y' where a column of X has that name, as this may be "
                "either; rename the column"
            )
        of_columns[OF_SERIES] = of_columns.pop("y")
    of_y = of_columns.pop(OF_SERIES, None)
    _check_names(of_columns, columns, name)
    checked = {key: check(item, name, 1) for key, item in of_columns.items()}
    return () if of_y is None else check(of_y, name, 1), checked


def _check_half_lives(value: Any, name: str, minimum: int) -> tuple[float, ...]:
    """Distinct numbers above 0."""
    items = check_sequence(value, name, "a sequence of numbers, in rows")
    numbers = tuple(check_positive(item, name) for item in items)
    if max(numbers, default=0.0) > _LONGEST_HALF_LIFE:
        raise ValueError(f"{name} must be at most {_LONGEST_HALF_LIFE} rows, found {value!r}")
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"{name} must not hold a number twice, found {value!r}")
    return numbers


def _counted(value: Any, name: str, first: int) -> tuple[int, ...]:
    """Lags as they are passed: all up to an integer, or exactly those of a sequence."""
    if isinstance(value, Integral):
        count = check_count(value, name, minimum=0, maximum=MOST)
        return (0,) if count == 0 and first == 0 else tuple(range(1, count + 1))
    return check_counts(value, name, first, _KIND)


def _check_names(by_column: Mapping[Any, Any], columns: Sequence[Any], name: str) -> None:
    unknown = [column for column in by_column if column not in columns]
    if unknown:
        raise ValueError(f"{name} must name columns of X, {list(columns)}; found {unknown}")


def _lag_terms(exog_lags: Any, columns: Sequence[Any], windows: Mapping[Any, Any]) -> list[Term]:
    """The lags of X: those of all columns at one lag, then at the next; or column by column."""
    if not isinstance(exog_lags, Mapping):
        lags = (0,) if exog_lags is None else _counted(exog_lags, "exog_lags", 0)
        if exog_lags is not None and not lags and not windows:
            raise ValueError("exog_lags must hold at least one lag; pass no X to fit to use none")
        return [Term(column, lag, lag) for lag in lags for column in range(len(columns))]
    _check_names(exog_lags, columns, "exog_lags")
    unnamed = [name for name in columns if name not in exog_lags and name not in windows]
    if unnamed:
        raise ValueError(
            f"exog_lags must name every column of X; {unnamed} are missing. Use [] for a column "
            "that is no input"
        )
    return [
        Term(columns.index(name), lag, lag)
        for name, lags in exog_lags.items()
        for lag in _counted(lags, "exog_lags", 0)
    ]


class Rows(NamedTuple):
    """What networks are trained on: sequences of standardised rows laid end to end.

    Attributes
    ----------
    inputs : array of shape (T, n)
    targets : array of shape (T, m)
        NaN where missing.
    starts : tuple of int
        First rows of the sequences.
    position : array of shape (T,)
        The place of a row in its series, from above 0 to 1.
    previous : array of shape (T, m)
        The last targets seen before the row; NaN if there are none.
    scale : array of shape (T, m)
        The units of the targets, which differ between the series of a panel.
    loss : Datafit
        Of targets that are not standardised.
    """

    inputs: Array
    targets: Array
    starts: tuple[int, ...]
    position: Array
    previous: Array
    scale: Array
    loss: Datafit

    @classmethod
    def of(
        cls,
        layout: InputLayout,
        series: Series,
        y_scaler: Standardizer,
        X_scaler: Standardizer,
        loss: Datafit,
    ) -> Rows:
        """The rows of a series that have all their inputs."""
        targets, X = y_scaler.transform(series.y), X_scaler.transform(series.X)
        inputs = layout.rows(targets, X, series.starts)
        # the first rows lack lags, and would teach the network that y begins at its mean
        full, first = full_rows(layout.context, series)
        position = np.arange(1, len(full) + 1) / max(len(full), 1)
        last_seen = carried_forward(targets, series.starts)
        previous = np.vstack([np.full(targets.shape[1], np.nan), last_seen])[full]
        scale = np.broadcast_to(y_scaler.scale, targets[full].shape)
        return cls(inputs[full], targets[full], first, position, previous, scale, loss)

    @classmethod
    def stacked(cls, pieces: Sequence[Rows]) -> Rows:
        """The rows of several series."""
        offsets = np.cumsum([0, *(len(piece.inputs) for piece in pieces[:-1])])
        starts = [
            int(offset) + start
            for offset, piece in zip(offsets, pieces, strict=True)
            for start in piece.starts
        ]
        inputs, targets, _, position, previous, scale, losses = zip(*pieces, strict=True)
        return cls(
            np.vstack(inputs),
            np.vstack(targets),
            tuple(starts),
            np.concatenate(position),
            np.vstack(previous),
            np.vstack(scale),
            losses[0],
        )

    @property
    def datafit(self) -> Datafit:
        """The loss of the standardised targets."""
        return self.loss.in_units(self.scale)

    @property
    def is_observed(self) -> BoolArray:
        """Whether no target of a row is missing."""
        return np.asarray(~np.isnan(self.targets).any(axis=1))

    @property
    def place(self) -> IntArray:
        """Number of rows before a row in its sequence."""
        row = np.arange(len(self.inputs))
        sequence = np.searchsorted(self.starts, row, side="right") - 1
        return np.asarray(row - np.asarray(self.starts)[sequence])

    def among(self, kept: BoolArray) -> Rows:
        """Some of the rows; a sequence begins with its first row, or the first row of all."""
        is_start = np.zeros(len(kept), dtype=bool)
        is_start[[*self.starts, int(np.argmax(kept))]] = True
        starts = tuple(int(row) for row in np.flatnonzero(is_start[kept]))
        return Rows(
            self.inputs[kept],
            self.targets[kept],
            starts,
            self.position[kept],
            self.previous[kept],
            self.scale[kept],
            self.loss,
        )


def n_seen(series: Series) -> int:
    """Number of values that the rows hold of the column of y with the fewest."""
    return int((~np.isnan(series.y)).sum(axis=0).min())


def full_rows(context: int, series: Series) -> tuple[IntArray, tuple[int, ...]]:
    """The rows that have all their inputs, and the first of each sequence among them."""
    sequences = [
        np.arange(start + context, stop)
        for start, stop in pairwise([*series.starts, len(series.y)])
        if start + context < stop
    ]
    first = np.cumsum([0, *(len(sequence) for sequence in sequences)])[:-1]
    return np.concatenate([np.empty(0, int), *sequences]), tuple(int(row) for row in first)


def carried_forward(values: Array, starts: Sequence[int] = (0,)) -> Array:
    """The last value of its sequence before a missing one (NaN) in its place, 0 if there is none.

    Parameters
    ----------
    values : array of shape (T, m)
    starts : sequence of int, default=(0,)
        First rows of the sequences.
    """
    is_missing = np.isnan(values)
    if not is_missing.any():
        return values
    rows = np.arange(len(values))[:, None]
    first = np.asarray(starts)[np.searchsorted(starts, rows, side="right") - 1]
    last_seen = np.maximum.accumulate(np.where(is_missing, first, rows), axis=0)
    filled = np.take_along_axis(values, last_seen, axis=0)
    return np.where(np.isnan(filled), 0.0, filled)


def lag_matrix(values: Array, lags: Sequence[int]) -> Array:
    """For each row the rows ``lags`` before it, side by side; zeros before the first row.

    Parameters
    ----------
    values : array of shape (T, m)
    lags : sequence of int

    Returns
    -------
    array of shape (T, n_lags m)
    """
    T, m = values.shape
    lagged = np.zeros((T, len(lags), m))
    for column, lag in enumerate(lags):
        lagged[lag:, column] = values[: max(T - lag, 0)]
    return lagged.reshape(T, len(lags) * m)


def trailing_mean(values: Array, window: int) -> Array:
    """Mean of the ``window`` rows before each row; zeros stand before the first row.

    Parameters
    ----------
    values : array of shape (T, m)
    window : int

    Returns
    -------
    array of shape (T, m)
    """
    padded = np.vstack([np.zeros((window, values.shape[1])), values[:-1]])
    # not from cumulative sums, whose rounding errors add up along the series
    return sliding_window_view(padded, window, axis=0).mean(axis=-1)


def weighted_mean(values: Array, half_life: float) -> Array:
    """Mean of the rows before each row with weights that halve every ``half_life`` rows.

    Zeros stand before the first row.

    Parameters
    ----------
    values : array of shape (T, m)
    half_life : float

    Returns
    -------
    array of shape (T, m)
    """
    reach, decay = _reach_of(half_life), 0.5 ** (1.0 / half_life)
    before = np.vstack([np.zeros((1, values.shape[1])), values[:-1]])
    total = lfilter([1.0], [1.0, -decay], before, axis=0)
    beyond = np.zeros_like(total)
    beyond[reach:] = total[: max(len(total) - reach, 0)]
    share = decay**reach
    return (total - share * beyond) * (1.0 - decay) / (1.0 - share)
