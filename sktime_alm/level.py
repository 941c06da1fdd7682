"""The level of forecasts of y where logarithms are trained on: means, and slow changes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sktime_alm.solver._typing import Array, IntArray

# what later rows say about the level is forgotten by half in so many rows, and held against so
# many rows in which it was right
_HALF_LIFE, _PRIOR = 22.0, 100.0
_DECAY = 0.5 ** (1.0 / _HALF_LIFE)
# one row says no more than so large a ratio: a crash, or a slip in the data, is no level
_LARGEST = 10.0


@dataclass(frozen=True, eq=False)
class Level:
    """What exp(z) of a forecast z is multiplied by to be right in the mean.

    That is the mean of v / exp(z) over the rows trained on, times a slow correction

        (P + sum_i d^i q_i) / (P + sum_i d^i),

    of the ratios q of the values that came since to their forecasts, the last one first, each
    taken for 10 if it is more.

    Attributes
    ----------
    ratio : array of shape (m,)
        The mean over the rows trained on.
    total, weight : arrays of shape (m,)
        The sums of the ratios since, and of their weights.
    slow : array of shape (k + 1, m)
        The slow correction before the first of the k rows since, and after each of them.
    """

    ratio: Array
    total: Array
    weight: Array
    slow: Array

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
        none, ratio = np.zeros(len(scale)), ratios.mean(axis=0)
        return cls(ratio, none, none, np.ones((1, len(scale))))

    def factors(self, n_later: IntArray | int) -> Array:
        """What forecasts are multiplied by before the last so many rows seen, of shape (n, m)."""
        return self.ratio * self.slow[np.maximum(self.n_followed - n_later, 0)]

    def followed(self, ratios: Array) -> Level:
        """The level after rows that were so many times exp(z), of shape (n, m); NaN is missing."""
        total, weight, slow = self.total, self.weight, [self.slow]
        for row in np.minimum(ratios / self.ratio, _LARGEST):
            is_seen = ~np.isnan(row)
            # a missing value says nothing, and makes nothing forgotten
            total = np.where(is_seen, _DECAY * total + row, total)
            weight = np.where(is_seen, _DECAY * weight + 1.0, weight)
            slow.append(((_PRIOR + total) / (_PRIOR + weight))[None])
        return replace(self, total=total, weight=weight, slow=np.concatenate(slow))

    @property
    def n_followed(self) -> int:
        """Number of rows since."""
        return len(self.slow) - 1

    def without_rows(self) -> Level:
        """That of the present alone."""
        return replace(self, slow=self.slow[-1:])
