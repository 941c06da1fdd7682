"""Checks of arguments: each error names the argument, what was found and what is needed."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sktime_alm.solver._typing import Array

# units, lags in a row, or starts: a matrix of so many rows and columns is 3 GB
MOST = 20_000


def check_count(value: Any, name: str, minimum: int = 1, maximum: int | None = sys.maxsize) -> int:
    """An integer of at least ``minimum`` and at most ``maximum``, by default the largest index."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, found {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, found {value!r}")
    if maximum is not None and int(value) > maximum:
        raise ValueError(f"{name} must be at most {maximum}, found {value!r}")
    return int(value)


def check_sequence(value: Any, name: str, kind: str) -> tuple[Any, ...]:
    """The items of a list, an array of one dimension or the like; ``kind`` says what they are."""
    is_one = isinstance(value, (str, bytes, Mapping)) or getattr(value, "ndim", 1) != 1
    if is_one or not isinstance(value, Collection):
        raise TypeError(f"{name} must be {kind}, found {value!r}")
    return tuple(value)


def check_counts(
    value: Any, name: str, minimum: int, kind: str = "a sequence of integers"
) -> tuple[int, ...]:
    """Distinct integers of at least ``minimum``; ``kind`` says in errors what may be passed."""
    items = check_sequence(value, name, kind)
    counts = tuple(check_count(item, f"each of {name}", minimum) for item in items)
    if len(set(counts)) < len(counts):
        raise ValueError(f"{name} must not name a number twice, found {value!r}")
    return counts


def check_number(value: Any, name: str) -> float:
    """A finite real number."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, found {value!r}")
    try:
        number = float(value)
    except OverflowError:  # an integer
        number = np.inf
    if not np.isfinite(number):
        raise ValueError(f"{name} must be finite in double precision, found {value!r}")
    return number


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


def check_bound(value: Any, name: str) -> float:
    """A finite number above 0, or infinity for none."""
    is_none = isinstance(value, float) and value == np.inf
    return float(value) if is_none else check_positive(value, name)


def holds_numbers(value: ArrayLike) -> bool:
    """Whether these are numbers: NumPy makes doubles of text, dates and complex ones as well."""
    found = np.asarray(value)
    if found.dtype == object:
        return not any(isinstance(item, (str, bytes)) for item in found.flat)
    return found.dtype.kind in "biuf"


def check_array(value: ArrayLike, name: str) -> Array:
    """An array of doubles."""
    if type(value) is np.ndarray and value.dtype == float:
        return value  # a network in a loop of the solver costs little
    try:
        if not holds_numbers(value):
            raise TypeError(f"found {np.asarray(value).dtype}")
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be an array of numbers: {error}") from error
    if np.ma.is_masked(value):
        raise ValueError(f"{name} must have no masked values, found {np.ma.getmask(value).sum()}")
    return array


def check_matrix(value: ArrayLike, name: str, may_miss: bool = False) -> Array:
    """A finite two-dimensional array of doubles with at least one row and one column.

    ``may_miss`` allows NaN.
    """
    matrix = np.ascontiguousarray(check_array(value, name))
    if not matrix.flags.writeable:
        matrix = matrix.copy()  # compiled code would be compiled again for a read-only array
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
    if not isinstance(value, str) or value not in tuple(choices):
        raise ValueError(f"{name} must be one of {sorted(choices)}, found {value!r}")
    return str(value)
