"""A panel in parts, too large for one problem: checked, sampled and loaded part by part.

Frames are pandas panels, cut between series here, or Dask frames, whose partitions are the parts.
Each part holds whole series. What happens to a part happens where it is; labels stay there too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sktime_alm.calendar import Calendar
from sktime_alm.engines import Engine
from sktime_alm.estimator import Estimator
from sktime_alm.inputs import Rows
from sktime_alm.panel import for_each_series, histories
from sktime_alm.solver import ElmanProblem, Regularization
from sktime_alm.solver._typing import IntArray
from sktime_alm.solver.spread import Block, Blocks

# a panel of as many rows is trained on as a whole, and a sample of a larger one has as many
SAMPLE_ROWS = 20_000
# rows whose states stay in the processor's cache
_IN_CACHE = 8_192
# sktime's mark of the columns of a Dask frame that are levels of its index
_INDEX = "__index__"


class Part(NamedTuple):
    """Whole series of a panel.

    ``y`` and ``X`` are pandas frames, or tasks of Dask that give them.
    """

    name: str
    y: Any
    X: Any


class _Survey(NamedTuple):
    """What a part holds: its series with their numbers of rows, and its columns."""

    series: list[tuple[Any, int]]
    y_columns: list[Any]
    X_columns: list[Any]


@dataclass(frozen=True, eq=False)
class Partitions:
    """The parts of a panel, checked.

    Attributes
    ----------
    parts : sequence of Part
    engine : Engine
    series : tuple of (key, int)
        The series in the order of the parts, with their numbers of rows.
    """

    parts: Sequence[Part]
    engine: Engine
    series: tuple[tuple[Any, int], ...]

    @classmethod
    def of(cls, y: Any, X: Any, engine: Engine) -> Partitions:
        """Look through all parts.

        Raises
        ------
        ValueError
            If a part has other columns than the first, a number that is not finite, unsorted
            times or a series that another part has too; the message names part, series and column.
        """
        parts = _parts_of(y, X)
        # before anything is trained, which may take hours
        surveys = engine.run(_survey, parts)
        first, found = surveys[0], []
        part_of: dict[Any, str] = {}
        for part, survey in zip(parts, surveys, strict=True):
            for name, columns, expected in (
                ("y", survey.y_columns, first.y_columns),
                ("X", survey.X_columns, first.X_columns),
            ):
                if columns != expected:
                    raise ValueError(
                        f"{name} must have the columns of {parts[0].name}, {expected}, in every "
                        f"part; found {columns} in {part.name}"
                    )
            for key, n_rows in survey.series:
                if key in part_of:
                    raise ValueError(
                        f"y must hold each series in one part, found series {key!r} in "
                        f"{part_of[key]} and {part.name}; repartition by series, as with "
                        "set_index on their key"
                    )
                part_of[key] = part.name
                found.append((key, n_rows))
        return cls(parts, engine, tuple(found))

    @property
    def n_rows(self) -> int:
        """Of all series."""
        return sum(n_rows for _, n_rows in self.series)

    def sample(self) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """Series evenly drawn, as many as have about ``SAMPLE_ROWS`` rows; all of a small panel."""
        # not at random: the same panel has the same sample, however it is cut into parts
        every = -(-self.n_rows // SAMPLE_ROWS)
        keys = {key for key, _ in self.series[::every]}
        found = self.engine.run(_chosen, [(*part[1:], keys) for part in self.parts])
        y = pd.concat([part[0] for part in found if len(part[0])])
        X = [part[1] for part in found if part[1] is not None and len(part[0])]
        return y, pd.concat(X) if X else None

    @property
    def is_small(self) -> bool:
        """Whether the sample is all."""
        return self.n_rows <= SAMPLE_ROWS

    @contextmanager
    def loaded(
        self, estimator: Estimator, X_columns: pd.Index, calendar: Calendar
    ) -> Iterator[Blocks]:
        """The rows that networks are trained on, in blocks."""
        parts = [(*part[1:], estimator, X_columns, calendar) for part in self.parts]
        blocks = self.engine.load(_block, parts)
        try:
            yield blocks
        finally:
            blocks.close()


def is_dask(y: Any) -> bool:
    """Whether it is a Dask frame."""
    # by name, so that Dask need not be there
    return type(y).__module__.split(".")[0] in ("dask", "dask_expr") and hasattr(y, "to_delayed")


def _parts_of(y: Any, X: Any) -> list[Part]:
    if not is_dask(y):
        return [Part(f"part {k}", *frames) for k, frames in enumerate(_cut(y, X))]
    of_y = y.to_delayed()
    if is_dask(X):
        of_X = X.to_delayed()
        if len(of_X) != len(of_y):
            raise ValueError(
                f"X must have the partitions of y, found {len(of_X)} and {len(of_y)}; take both "
                "from the same frame"
            )
    else:
        of_X = [X] * len(of_y)
    return [
        Part(f"partition {k}", *frames) for k, frames in enumerate(zip(of_y, of_X, strict=True))
    ]


def _cut(
    y: pd.DataFrame, X: pd.DataFrame | None
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame | None]]:
    """A pandas panel between series, into parts of about as many rows as a sample has."""
    keys = y.index.droplevel(-1)
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    group = first // SAMPLE_ROWS
    # at the first series that begins in another multiple of a sample's rows
    cuts = [*first[np.flatnonzero(np.diff(group, prepend=-1))], len(y)]
    if X is None or not isinstance(X.index, pd.MultiIndex):
        yield from ((y.iloc[start:stop], X) for start, stop in pairwise(cuts))
        return
    rows_of = _rows_of_series(X)
    for start, stop in pairwise(cuts):
        yield y.iloc[start:stop], X.iloc[rows_of(keys[start:stop].unique())]


def _rows_of_series(X: pd.DataFrame) -> Callable[[pd.Index], IntArray]:
    """What finds the rows of some series, in their order; the frame is gone through once."""
    codes, series = X.index.droplevel(-1).factorize()
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(series) + 1))

    def rows_of(some: pd.Index) -> IntArray:
        found = [k for k in series.get_indexer(some) if k >= 0]
        pieces = [order[bounds[k] : bounds[k + 1]] for k in found]
        return np.sort(np.concatenate([order[:0], *pieces]))

    return rows_of


def _frames(y: pd.DataFrame, X: pd.DataFrame | None) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """With series and times in the index; one X for all series repeated for each."""
    y = _indexed(y)
    X = None if X is None else _indexed(X)
    if X is not None and not isinstance(X.index, pd.MultiIndex):
        X = for_each_series(X, y.index.droplevel(-1))
    return y, X


def _indexed(frame: pd.DataFrame) -> pd.DataFrame:
    """sktime's marked columns as the levels of the index that they stand for."""
    marked = [name for name in frame.columns if str(name).startswith(_INDEX)]
    if not marked:
        return frame
    names = [name.removeprefix(_INDEX) for name in marked]
    return frame.set_index(marked).rename_axis(names)


def _survey(name: str, y: pd.DataFrame, X: pd.DataFrame | None) -> _Survey:
    """Look through a part; what is wrong with it is named."""
    y, X = _frames(y, X)
    if not isinstance(y.index, pd.MultiIndex):
        raise ValueError(
            f"y must be a panel, with the columns {_INDEX}series and {_INDEX}time beside those of "
            f"values; found {list(y.columns)} in {name}"
        )
    keys = y.index.droplevel(-1)
    begins = np.append(True, keys[1:] != keys[:-1])
    series = keys[begins]
    if not series.is_unique:
        key = series[series.duplicated()][0]
        raise ValueError(
            f"y must hold the rows of a series together, found series {key!r} in two places of "
            f"{name}"
        )
    times = y.index.get_level_values(-1)
    is_later = np.append(True, times[1:] > times[:-1])
    if not (is_later | begins).all():
        row = int(np.flatnonzero(~(is_later | begins))[0])
        raise ValueError(
            f"y must be sorted by time within each series, found {times[row]} after "
            f"{times[row - 1]} in series {keys[row]!r} of {name}"
        )
    columns = y.columns[:0] if X is None else X.columns
    try:
        # each is made as it will be, and let go
        for _ in histories(y, X, columns, None):
            pass
    except ValueError as error:
        raise ValueError(f"{error} ({name})") from error
    # numbers and names alone go back to the client
    counts = np.diff(np.append(np.flatnonzero(begins), len(y)))
    lengths = [(key, int(n_rows)) for key, n_rows in zip(series, counts, strict=True)]
    return _Survey(lengths, list(y.columns), list(columns))


def _chosen(
    y: pd.DataFrame, X: pd.DataFrame | None, keys: set[Any]
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The series of these keys."""
    y, X = _frames(y, X)
    y = y[y.index.droplevel(-1).isin(keys)]
    return y, None if X is None else X[X.index.droplevel(-1).isin(keys)]


def _block(
    y: pd.DataFrame,
    X: pd.DataFrame | None,
    estimator: Estimator,
    X_columns: pd.Index,
    calendar: Calendar,
) -> Block:
    """The rows of a part, in problems that the processor's cache has room for."""
    found = (
        estimator.rows(history.seen_by(estimator.layout).series)
        for history in histories(*_frames(y, X), X_columns, calendar, is_log=estimator.loss.is_log)
    )
    problems: list[ElmanProblem] = []
    pieces: list[Rows] = []
    # a series whose targets are all missing has no loss
    for rows in (rows for rows in found if rows.is_observed.any()):
        pieces.append(rows)
        if sum(len(piece.inputs) for piece in pieces) >= _IN_CACHE:
            problems.append(estimator.problem(Rows.stacked(pieces), Regularization()))
            pieces = []
    if pieces:
        problems.append(estimator.problem(Rows.stacked(pieces), Regularization()))
    return problems
