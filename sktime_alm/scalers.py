"""Between units: standardisation, and networks in other units."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sktime_alm.solver._typing import Array
from sktime_alm.solver.network import ElmanParameters


@dataclass(frozen=True, eq=False)
class Standardizer:
    """Columns to mean 0 and standard deviation 1; a constant column is only centred.

    Attributes
    ----------
    mean, scale : arrays of shape (n_columns,)
        Those of the logarithms where these are taken.
    smallest : array of shape (n_columns,), optional
        If given, logarithms are taken first, in which a zero counts as the smallest value above
        it that was seen.
    """

    mean: Array
    scale: Array
    smallest: Array | None = None

    @classmethod
    def fit(
        cls, values: Array, is_log: bool = False, of_constant: float | Array = 1.0
    ) -> Standardizer:
        """Means and standard deviations of the columns, or of their logarithms; NaN left out.

        ``of_constant`` is the scale of columns that have none of their own.
        """
        if is_log:
            smallest = np.nanmin(np.where(values > 0.0, values, np.nan), axis=0)
            plain = cls.fit(_logarithms(values, smallest), of_constant=of_constant)
            return cls(plain.mean, plain.scale, smallest)
        # through the largest value, so that squares neither overflow nor vanish
        size = np.nanmax(np.abs(values), axis=0, initial=np.finfo(float).tiny)
        relative = values / size
        mean, scale = np.nanmean(relative, axis=0), np.nanstd(relative, axis=0)
        # rounding leaves a constant column a deviation of a few units in the last place
        is_constant = scale <= 1e-13
        return cls(mean * size, np.where(is_constant, of_constant, scale * size))

    @classmethod
    def identity(cls, n_columns: int) -> Standardizer:
        """Leaves values as they are."""
        return cls(np.zeros(n_columns), np.ones(n_columns))

    def towards(self, scale: Array, weight: float) -> Standardizer:
        """With variances that are means of its own and of other ones, these of a weight."""
        variance = (1.0 - weight) * self.scale**2 + weight * scale**2
        return replace(self, scale=np.sqrt(variance))

    @property
    def is_log(self) -> bool:
        """Whether logarithms are taken."""
        return self.smallest is not None

    def transform(self, values: Array) -> Array:
        """Original units to standard ones."""
        if self.smallest is not None:
            values = _logarithms(values, self.smallest)
        return (values - self.mean) / self.scale

    def inverse_transform(self, values: Array) -> Array:
        """Standard units to original ones."""
        values = values * self.scale + self.mean
        return np.exp(values) if self.is_log else values


def _logarithms(values: Array, smallest: Array) -> Array:
    return np.log(np.where(values == 0.0, smallest, values))


def change_units(
    parameters: ElmanParameters,
    inputs: tuple[Standardizer, Standardizer],
    outputs: tuple[Standardizer, Standardizer],
) -> ElmanParameters:
    """The same network in other units: ``(old, new)`` of its inputs and of its outputs.

    With x_old = x_new s + d the input layer becomes V s, b + V d, and likewise for the
    readout, so that its forecasts in original units do not change. Where logarithms are taken,
    the units are those of the logarithms.
    """
    (old_in, new_in), (old_out, new_out) = inputs, outputs
    in_ratio, out_ratio = new_in.scale / old_in.scale, old_out.scale / new_out.scale
    shift, V, D = (new_in.mean - old_in.mean) / old_in.scale, parameters.V, parameters.D
    c = parameters.c if D is None else parameters.c + D @ shift
    return ElmanParameters(
        A=parameters.A * out_ratio[:, None],
        W=parameters.W,
        V=V * in_ratio,
        b=parameters.b + V @ shift,
        c=(c * old_out.scale + old_out.mean - new_out.mean) / new_out.scale,
        D=None if D is None else D * in_ratio * out_ratio[:, None],
    )
