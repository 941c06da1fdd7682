"""The level of forecasts of y where logarithms are trained on: means, and slow changes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sktime_alm.solver._typing import Array

# what later rows say about the level is forgotten by half in so many rows, and held against so
# many rows in which it was right
_HALF_LIFE, _PRIOR = 22.0, 100.0
_DECAY = 0.5 ** (1.0 / _HALF_LIFE)


@dataclass(frozen=True, eq=False)
class Level:
    """What exp(z) of a forecast z is multiplied by to be right in the mean.

    That is the mean of v / exp(z) over the rows trained on, times a slow correction

        (P + sum_i d^i q_i) / (P + sum_i d^i),

    of the ratios q of the values that came since to their forecasts, the last one first.

    Attributes
    ----------
    ratio : array of shape (m,)
        The mean over the rows trained on.
    total, weight : arrays of shape (m,)
        The sums of the ratios since, and of their weights.
    """

    ratio: Array
    total: Array
    weight: Array

    @classmethod
    def of(cls, targets: Array, outputs: Array, scale: Array) -> Level:
        """That of the rows trained on.

        Parameters
        ----------
        targets, outputs : arrays of shape (T, m)
            Standardised logarithms, those of rows observed.
        scale : array of shape (m,)
            Their units.
        """
        ratios = np.exp(scale * (targets - outputs))
        none = np.zeros(len(scale))
        return cls(ratios.mean(axis=0), none, none)

    @property
    def factor(self) -> Array:
        """What forecasts are multiplied by, of shape (m,)."""
        return self.ratio * (_PRIOR + self.total) / (_PRIOR + self.weight)

    def followed(self, ratios: Array) -> Level:
        """The level after rows that were so many times exp(z), of shape (n, m); NaN is missing."""
        total, weight = self.total, self.weight
        for row in ratios / self.ratio:
            is_seen = ~np.isnan(row)
            # a missing value says nothing, and makes nothing forgotten
            total = np.where(is_seen, _DECAY * total + row, total)
            weight = np.where(is_seen, _DECAY * weight + 1.0, weight)
        return replace(self, total=total, weight=weight)

    def carried_on(self, before: Level) -> Level:
        """The slow correction of before with the ratio of now."""
        return replace(self, total=before.total, weight=before.weight)
