"""Frames of pandas: their values and columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sktime_alm.solver._validation import holds_numbers


def as_floats(data: pd.DataFrame, name: str, may_miss: bool = False) -> pd.DataFrame:
    """The frame as doubles; an error names the first value that is not finite.

    ``may_miss`` allows missing values.
    """
    check_numeric(data, name)
    data = data.astype(float)
    values = data.to_numpy()
    is_wrong = np.isinf(values) if may_miss else ~np.isfinite(values)
    if is_wrong.any():
        row, column = np.argwhere(is_wrong)[0]
        hint = " Fill missing values for instance with sktime's Imputer." if name == "X" else ""
        if may_miss and values[row, column] < 0.0:
            hint = " Zeros have no logarithm: replace them by NaN."
        raise ValueError(
            f"{name} must be finite, found {values[row, column]} in column "
            f"{data.columns[column]!r} at {data.index[row]}.{hint}"
        )
    return data


def check_numeric(data: pd.DataFrame, name: str) -> None:
    """Refuse a frame that holds text or dates."""
    if not holds_numbers(data.to_numpy()):
        others = [column for column, values in data.items() if not holds_numbers(values)]
        raise TypeError(f"{name} must hold numbers, found others in the columns {listed(others)}")


def check_columns(found: pd.Index, expected: pd.Index, name: str, caller: str = "fit") -> None:
    """Refuse a frame whose columns are not those of ``caller``, in whatever order."""
    missing = expected.difference(found, sort=False)
    unknown = found.difference(expected, sort=False)
    if len(missing) or len(unknown):
        raise ValueError(
            f"{name} must have the columns of {caller}, {list(expected)}; missing {list(missing)}, "
            f"unknown {list(unknown)}"
        )


def reordered(data: pd.DataFrame, columns: pd.Index) -> pd.DataFrame:
    """The frame with its columns in this order."""
    return data if data.columns.equals(columns) else data[columns]


def listed(times: Any) -> str:
    """The first few times, in words."""
    shown = ", ".join(str(time) for time in times[:5])
    return shown if len(times) <= 5 else f"{shown} and {len(times) - 5} more"
