"""Between series and network: standardisation and the matrix of the network's inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sktime_alm.solver._typing import Array
from sktime_alm.solver.elman import ElmanParameters


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
        """Means and standard deviations of the columns."""
        # through the largest value, so that squares neither overflow nor vanish
        size = np.maximum(np.abs(values).max(axis=0, initial=0.0), np.finfo(float).tiny)
        relative = values / size
        mean, scale = relative.mean(axis=0), relative.std(axis=0)
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


def lag_matrix(values: Array, n_lags: int) -> Array:
    """The ``n_lags`` rows before each row, newest first; zeros before the first row.

    Parameters
    ----------
    values : array of shape (T, m)
    n_lags : int

    Returns
    -------
    array of shape (T, n_lags m)
    """
    T, m = values.shape
    lagged = np.zeros((T, n_lags, m))
    for lag in range(1, n_lags + 1):
        lagged[lag:, lag - 1] = values[: T - lag]
    return lagged.reshape(T, n_lags * m)


def change_units(
    parameters: ElmanParameters,
    inputs: tuple[Standardizer, Standardizer],
    outputs: tuple[Standardizer, Standardizer],
) -> ElmanParameters:
    """The same network in other units: ``(old, new)`` of its inputs and of its outputs.

    With x_old = x_new s + d the input layer becomes V s, b + V d, and likewise for the
    readout, so that its forecasts in original units do not change.
    """
    A, W, V, b, c = parameters.arrays()
    (old_in, new_in), (old_out, new_out) = inputs, outputs
    in_ratio, out_ratio = new_in.scale / old_in.scale, old_out.scale / new_out.scale
    return ElmanParameters(
        A=A * out_ratio[:, None],
        W=W,
        V=V * in_ratio,
        b=b + V @ old_in.transform(new_in.mean),
        c=new_out.transform(old_out.inverse_transform(c)),
    )
