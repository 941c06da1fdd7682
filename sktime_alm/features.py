"""Between series and network: standardisation, and the network's inputs from y and X."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sktime_alm.solver._typing import Array
from sktime_alm.solver._validation import check_count, check_counts
from sktime_alm.solver.activations import Activation
from sktime_alm.solver.network import ElmanParameters, simulate


@dataclass(frozen=True, eq=False)
class Standardizer:
    """Columns to mean 0 and standard deviation 1; a constant column is only centred.

    Attributes
    ----------
    mean, scale : arrays of shape (n_columns,)
    """

    mean: Array
    scale: Array

    @classmethod
    def fit(cls, values: Array) -> Standardizer:
        """Means and standard deviations of the columns, NaN left out."""
        # through the largest value, so that squares neither overflow nor vanish
        size = np.nanmax(np.abs(values), axis=0, initial=np.finfo(float).tiny)
        relative = values / size
        mean, scale = np.nanmean(relative, axis=0), np.nanstd(relative, axis=0)
        # rounding leaves a constant column a deviation of a few units in the last place
        is_constant = scale <= 1e-13
        return cls(mean * size, np.where(is_constant, 1.0, scale * size))

    @classmethod
    def identity(cls, n_columns: int) -> Standardizer:
        """Leaves values as they are."""
        return cls(np.zeros(n_columns), np.ones(n_columns))

    def transform(self, values: Array) -> Array:
        """Original units to standard ones."""
        return (values - self.mean) / self.scale

    def inverse_transform(self, values: Array) -> Array:
        """Standard units to original ones."""
        return values * self.scale + self.mean


@dataclass(frozen=True)
class InputLayout:
    """Which values are inputs of the network at a time t, in the order of its columns.

    Attributes
    ----------
    lags : tuple of int
        y of t - lag, for each lag.
    windows : tuple of int
        Averages of the last values of y before t, for each number of values.
    exog_lags : tuple of int
        X of t - lag, for each lag; 0 is X of t itself.
    """

    lags: tuple[int, ...]
    windows: tuple[int, ...]
    exog_lags: tuple[int, ...]

    @classmethod
    def from_arguments(cls, lags: Any, window_means: Any, exog_lags: Any) -> InputLayout:
        """From the arguments of the forecaster; an error names the one that is wrong."""
        if isinstance(lags, Integral):
            lags = range(1, check_count(lags, "lags", minimum=0) + 1)
        if isinstance(exog_lags, Integral):
            exog_lags = (check_count(exog_lags, "exog_lags", minimum=0),)
        windows = () if window_means is None else window_means
        exog_lags = (0,) if exog_lags is None else exog_lags
        kind = "an integer or a sequence of integers"
        layout = cls(
            check_counts(lags, "lags", 1, kind),
            check_counts(windows, "window_means", 1),
            check_counts(exog_lags, "exog_lags", 0, kind),
        )
        if not layout.exog_lags:
            raise ValueError("exog_lags must hold at least one lag; pass no X to fit to use none")
        return layout

    @property
    def memory(self) -> int:
        """Number of last values of y that the inputs of a time depend on."""
        return max((*self.lags, *self.windows), default=0)

    @property
    def context(self) -> int:
        """Number of rows before a time that its inputs are made of."""
        return max(self.memory, *self.exog_lags)

    def longest(self) -> str:
        """The argument whose inputs reach back furthest."""
        reach = {"lags": self.lags, "window_means": self.windows, "exog_lags": self.exog_lags}
        return max(reach, key=lambda name: max(reach[name], default=0))

    def scaler(self, y: Standardizer, X: Standardizer) -> Standardizer:
        """Scaler of the inputs: an average of standardised values needs none of its own."""
        scalers = [y] * len(self.lags + self.windows) + [X] * len(self.exog_lags)
        return Standardizer(
            np.concatenate([scaler.mean for scaler in scalers]),
            np.concatenate([scaler.scale for scaler in scalers]),
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
        array of shape (T, (n_lags + n_windows) m + n_exog_lags n)
        """
        y, pieces = carried_forward(y, starts), []
        for start, stop in pairwise([*starts, len(y)]):
            means = [trailing_mean(y[start:stop], window) for window in self.windows]
            pieces.append(np.hstack([lag_matrix(y[start:stop], self.lags), *means]))
        return np.hstack([np.vstack(pieces), self.exogenous(X, starts)])

    def exogenous(self, X: Array, starts: Sequence[int] = (0,)) -> Array:
        """The part of :meth:`rows` that is made of X, of shape (T, n_exog_lags n)."""
        edges = pairwise([*starts, len(X)])
        return np.vstack([lag_matrix(X[start:stop], self.exog_lags) for start, stop in edges])

    def n_from_y(self, n_outputs: int) -> int:
        """Number of inputs that are made of y, the first ones."""
        return (len(self.lags) + len(self.windows)) * n_outputs

    def simulate(
        self,
        parameters: ElmanParameters,
        sigma: Activation,
        state: Array,
        y: Array,
        X: Array,
        noise: Array,
        bounds: Array | None = None,
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
        X : array of shape (n_steps, n_exog_lags n)
            Exogenous inputs of each step, lagged as in :meth:`rows`.
        noise : array of shape (n_paths, n_steps, m)
            Added to the outputs.
        bounds : array of shape (2, m), optional
            Where the noisy outputs are cut off.

        Returns
        -------
        array of shape (n_paths, n_steps, m)
        """
        m = y.shape[1]
        recent = np.zeros((self.memory, m))
        newest_first = carried_forward(y)[::-1][: self.memory]
        recent[: len(newest_first)] = newest_first
        # inputs from y are a linear map of its last values: run on these, with V times the map
        of_recent = np.kron(self._map_from_recent(), np.eye(m))

        def on_recent(weights: Array) -> Array:
            of_y, of_x = np.split(weights, [len(of_recent)], axis=1)
            return np.hstack([of_y @ of_recent, of_x])

        V, D = on_recent(parameters.V), parameters.D
        on_values = replace(parameters, V=V, D=None if D is None else on_recent(D))
        return simulate(on_values, sigma, state, recent, X, noise, bounds)

    def _map_from_recent(self) -> Array:
        """The inputs from y as rows of weights of its last values, newest first."""
        weights = np.zeros((len(self.lags + self.windows), self.memory))
        for row, lag in enumerate(self.lags):
            weights[row, lag - 1] = 1.0
        for row, window in enumerate(self.windows, start=len(self.lags)):
            weights[row, :window] = 1.0 / window
        return weights


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


def change_units(
    parameters: ElmanParameters,
    inputs: tuple[Standardizer, Standardizer],
    outputs: tuple[Standardizer, Standardizer],
) -> ElmanParameters:
    """The same network in other units: ``(old, new)`` of its inputs and of its outputs.

    With x_old = x_new s + d the input layer becomes V s, b + V d, and likewise for the
    readout, so that its forecasts in original units do not change.
    """
    (old_in, new_in), (old_out, new_out) = inputs, outputs
    in_ratio, out_ratio = new_in.scale / old_in.scale, old_out.scale / new_out.scale
    shift, V, D = old_in.transform(new_in.mean), parameters.V, parameters.D
    c = parameters.c if D is None else parameters.c + D @ shift
    return ElmanParameters(
        A=parameters.A * out_ratio[:, None],
        W=parameters.W,
        V=V * in_ratio,
        b=parameters.b + V @ shift,
        c=new_out.transform(old_out.inverse_transform(c)),
        D=None if D is None else D * in_ratio * out_ratio[:, None],
    )
