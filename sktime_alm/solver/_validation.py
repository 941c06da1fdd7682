"""Checks of arguments: each error names the argument, what was found and what is needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sktime_alm.solver._typing import Array

# units, or lags in a row: a matrix of so many rows and columns is 3 GB
MOST = 20_000


def check_count(value: Any, name: str, minimum: int = 1, maximum: int | None = None) -> int:
    """An integer of at least ``minimum`` and at most ``maximum``."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, found {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, found {value!r}")
    if maximum is not None and int(value) > maximum:
        raise ValueError(f"{name} must be at most {maximum}, found {value!r}")
    return int(value)


def check_counts(
    value: Any, name: str, minimum: int, kind: str = "a sequence of integers"
) -> tuple[int, ...]:
    """Distinct integers of at least ``minimum``; ``kind`` says in errors what may be passed."""
    is_sequence = isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str)
    if not is_sequence or np.ndim(value) != 1:
        raise TypeError(f"{name} must be {kind}, found {value!r}")
    counts = tuple(check_count(item, f"each of {name}", minimum) for item in value)
    if len(set(counts)) < len(counts):
        raise ValueError(f"{name} must not name a number twice, found {value!r}")
    return counts


def check_number(value: Any, name: str) -> float:
    """A finite real number."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, found {value!r}")
    if not np.isfinite(float(value)):
        raise ValueError(f"{name} must be finite, found {value!r}")
    return float(value)


def check_flag(value: Any, name: str) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, found {value!r}")
    return bool(value)


def check_callback(value: Any) -> None:
    """None, or what can be called."""
    if value is not None and not callable(value):
        raise TypeError(f"callback must be callable, found {value!r}")


def check_nonnegative(value: Any, name: str) -> float:
    """A finite number, 0 or more."""
    if check_number(value, name) < 0.0:
        raise ValueError(f"{name} must be 0 or more, found {value!r}")
    return float(value)


def check_positive(value: Any, name: str) -> float:
    """A finite number above 0."""
    if check_number(value, name) <= 0.0:
        raise ValueError(f"{name} must be above 0, found {value!r}")
    return float(value)


def check_matrix(value: ArrayLike, name: str, may_miss: bool = False) -> Array:
    """A finite two-dimensional array of doubles with at least one row and one column.

    ``may_miss`` allows NaN.
    """
    try:
        matrix = np.ascontiguousarray(value, dtype=float)
        if not matrix.flags.writeable:
            matrix = matrix.copy()  # compiled code would be compiled again for a read-only array
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be an array of numbers: {error}") from error
    if np.ndim(value) != 2:
        raise ValueError(
            f"{name} must have two dimensions (rows are time steps, columns are variables), "
            f"found shape {np.shape(value)}"
        )
    if 0 in matrix.shape:
        raise ValueError(f"{name} must have at least one row and one column, found {matrix.shape}")
    is_wrong = np.isinf(matrix) if may_miss else ~np.isfinite(matrix)
    if is_wrong.any():
        row, column = np.argwhere(is_wrong)[0]
        raise ValueError(
            f"{name} must be finite, found {matrix[row, column]} in row {row}, column {column}"
        )
    return matrix


def check_choice(value: Any, name: str, choices: Iterable[str]) -> str:
    """One of the known names."""
    if value not in tuple(choices):
        raise ValueError(f"{name} must be one of {sorted(choices)}, found {value!r}")
    return str(value)
