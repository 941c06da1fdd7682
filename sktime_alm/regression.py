"""The ridge regression as a network, the strengths of penalties, and which are out of question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sktime_alm.inputs import Rows
from sktime_alm.solver import ElmanParameters, ElmanProblem, Regularization
from sktime_alm.solver._typing import Array
from sktime_alm.solver.multistart import linear_model

# how many times the error of repeating the last value a regression may have, or, if none is as
# good, must one have for that to count; and an error, of standardised values, that is rounding
_TIMES_NAIVE, _MOST_NAIVE, _ROUNDING = 2.5, 3.0, 1e-6


def strengths_of_mean(
    rows: Rows, hidden_size: int, alpha: float, skip_alpha: float, n_rows: int | None = None
) -> tuple[float, float]:
    """The solver's strengths, for those in rows of prior.

    Against a sum over the observed rows, ``skip_alpha`` is the penalty of ||D||^2, as in any ridge
    regression. Table 2's penalties of a_i and v_i, the weights of unit i, have the product that
    ``alpha`` ||a_i||^2 and ``alpha`` ||v_i||^2 would have, whatever the sizes: where one can grow
    as the other shrinks, 2 ``alpha`` |a_i| |v_i| is the least that they come to. ``n_rows`` is the
    number of rows observed, where these are a sample of them.
    """
    (_, n), m = rows.inputs.shape, rows.targets.shape[1]
    T = max(int(rows.is_observed.sum()), 1) if n_rows is None else n_rows
    return alpha * hidden_size * np.sqrt(n * m) / T, skip_alpha * n * m / T


def ridge(rows: Rows, hidden_size: int, skip_alpha: float | None) -> ElmanParameters:
    """The ridge regression of the targets, as a network; the mean without a linear skip."""
    shape = rows.inputs.shape[1], hidden_size, rows.targets.shape[1]
    of_skip = strengths_of_mean(rows, hidden_size, 0.0, skip_alpha or 0.0)[1]
    penalties = Regularization.scaled(
        1.0, *shape, skip_alpha=None if skip_alpha is None else of_skip
    )
    has_skip = skip_alpha is not None
    problem = ElmanProblem(
        rows.inputs, rows.targets, penalties, linear_skip=has_skip, datafit=rows.datafit
    )
    return linear_model(problem, hidden_size)


def sensible(rows: Rows, hidden_size: int, path: Sequence[float]) -> list[int]:
    """The points of the path at which no output is fitted far worse than by its last value."""
    changes = np.abs(rows.targets - rows.previous)
    is_known = ~np.isnan(changes)
    naive = np.where(is_known, changes, 0.0).sum(axis=0) / np.maximum(is_known.sum(axis=0), 1)
    ratios = []
    for skip_alpha in path:
        errors = np.abs(_residuals(rows, ridge(rows, hidden_size, skip_alpha)))
        ratio = np.max(np.nanmean(errors, axis=0) / (naive + _ROUNDING))
        ratios.append(float(ratio) if np.isfinite(ratio) else np.inf)
    least = min(ratios)
    limit = max(_TIMES_NAIVE, 1.05 * least) if least <= _MOST_NAIVE else np.inf
    return [k for k, ratio in enumerate(ratios) if ratio <= limit]


def residual_variance(rows: Rows, hidden_size: int, skip_alpha: float | None) -> float:
    """What the ridge regression leaves, as a mean square over outputs."""
    errors = _residuals(rows, ridge(rows, hidden_size, skip_alpha))
    return max(float(np.nanmean(errors**2)), _ROUNDING**2)


def _residuals(rows: Rows, regression: ElmanParameters) -> Array:
    states = np.zeros((len(rows.inputs), regression.hidden_size))
    return rows.targets - regression.outputs(states, rows.inputs)
