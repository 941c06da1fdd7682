"""The rows that a forecaster has seen, by their labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sktime_alm.calendar import Calendar, check_unique
from sktime_alm.frames import as_floats, check_columns, listed, reordered
from sktime_alm.inputs import InputLayout, Series
from sktime_alm.solver._typing import Array, IntArray

# powers of ten that y may reach to, and so many times its range beyond, where paths may end
_MOST_DECADES, _REACH = 300.0, 1.5


class HoleInX(ValueError):
    """X lacks times before others that it has."""


@dataclass(frozen=True, eq=False)
class History:
    """The rows of y and X that a forecaster has seen.

    Attributes
    ----------
    times : pandas.Index of length T
        Labels of the rows.
    steps : array of shape (T,)
        Steps of the calendar from the first row to each.
    y, X : arrays of shape (T, m) and (T, n)
        NaN where y is missing; n is 0 without X.
    y_columns, X_columns : pandas.Index
    calendar : Calendar
    present : int
        The row that forecasts go on from: the last one, unless an update ended before it.
    has_features : bool
        Whether the features of the calendar are inputs, which the columns of X go before.
    is_complete : bool
        Whether the rows trained on are all here.
    """

    times: pd.Index
    steps: IntArray
    y: Array
    X: Array
    y_columns: pd.Index
    X_columns: pd.Index
    calendar: Calendar
    present: int
    has_features: bool = False
    is_complete: bool = True

    @classmethod
    def of(
        cls,
        y: pd.DataFrame,
        X: pd.DataFrame | None,
        X_columns: pd.Index | None = None,
        calendar: Calendar | None = None,
    ) -> History:
        """The history that begins with these rows.

        ``X_columns`` gives the order of the columns of X, ``calendar`` a calendar that holds for
        rows too few to tell.
        """
        if y.empty:
            raise ValueError(f"y must have a row and a column, found the shape {y.shape}")
        # of all rows, also those that X is too short for
        calendar = Calendar.of(y.index, calendar)
        y = y.iloc[_first_complete(X, y.index) :]
        steps = calendar.steps(y.index[0], y.index)
        rows = as_floats(y, "y", may_miss=True)
        if rows.isna().all(axis=0).any():
            raise ValueError("y must be observed in some row, found a column of missing values")
        X_columns = (y.columns[:0] if X is None else X.columns) if X_columns is None else X_columns
        # a copy: the user's frame may change
        values, present = np.array(rows, order="C"), len(y) - 1
        none = np.empty((len(y), 0))
        first = cls(y.index, steps, values, none, y.columns, X_columns, calendar, present)
        return replace(first, X=first._X_of(X, y.index, "fit"))

    def seen_by(self, layout: InputLayout) -> History:
        """The same with the features of the calendar where they are inputs."""
        return replace(self, has_features=layout.n_exogenous > len(self.X_columns))

    def extended(self, y: pd.DataFrame, X: pd.DataFrame | None) -> History:
        """The history after these rows too; those of times already seen are left out."""
        check_unique(y.index, "y")
        times = self.calendar.comparable(y.index, "y")
        is_new = np.asarray(times > self.times[-1])
        if not is_new.any():
            # sktime's cutoff is then the last of these times
            return replace(self, present=self._row_of_last(times))
        new, times = y.loc[is_new], times[is_new]
        calendar = self.calendar.learned(self.times[-1:], times, n_seen=len(self.times))
        steps = calendar.steps(self.times[-1], times)
        if new.shape[1] == len(self.y_columns) == 1:
            new = new.set_axis(self.y_columns, axis=1)  # a series need keep no name
        check_columns(new.columns, self.y_columns, "y")
        rows = as_floats(new[self.y_columns], "y", may_miss=True).to_numpy()
        return replace(
            self,
            times=self.times.append(times),
            steps=np.append(self.steps, self.steps[-1] + steps),
            y=_below(self.y, rows),
            X=_below(self.X, self._X_of(X, times, "update")),
            calendar=calendar,
            present=len(self.times) + len(times) - 1,
        )

    def revisions(self, y: pd.DataFrame) -> str | None:
        """What becomes of values that differ from those seen at the same times, if any do."""
        times = self.calendar.comparable(y.index, "y")
        is_old = np.asarray(times <= self.times[-1])
        if not is_old.any():
            # as mostly: to look times up costs in proportion to all that there are
            return None
        rows = self.times.get_indexer(times[is_old])
        y = reordered(y, self.y_columns) if set(y.columns) == set(self.y_columns) else y
        values, seen = np.asarray(y, dtype=float)[is_old][rows >= 0], self.y[rows[rows >= 0]]
        # to single precision, in which y may have come before
        if (np.isnan(values) | np.isclose(values, seen, rtol=1e-6, atol=0.0)).all():
            return None
        return (
            "y passed to update holds other values at times that were seen before, such as those "
            "of a transformer that was fitted anew: what was seen stays. To take revisions in, and "
            "values that came late, fit anew."
        )

    def foreseeing(self, index: pd.Index, name: str) -> History:
        """The history that takes the times of a horizon, or of X, for the trading days to come."""
        if not self.calendar.is_trading:
            return self
        times = self.calendar.comparable(index, name)
        ahead = times[np.asarray(times > self.times[-1])]
        return replace(self, calendar=self.calendar.learned(self.times[-1:], ahead, is_dense=True))

    def shortened(self, n_rows: int) -> History:
        """Rows up to the last one known, as many, and those missing since, up to the present.

        What is missing among the first ones is replaced by the value before it.
        """
        stop, known = self.present + 1, self.series.last_known(self.present) + 1
        # the state begins anew at a gap, so that what lies before it is not needed
        start = max(row for row in self.starts if row < stop)
        first = max(known - n_rows, start)
        filled = pd.DataFrame(self.y[start:known]).ffill().to_numpy()
        y = np.vstack([filled[first - start :], self.y[known:stop]])
        return replace(
            self,
            times=self.times[first:stop],
            steps=self.steps[first:stop] - self.steps[first],
            y=y,
            X=self.X[first:stop],
            present=len(y) - 1,
            is_complete=False,
        )

    @property
    def starts(self) -> tuple[int, ...]:
        """First rows of the sequences of consecutive times."""
        return (0, *(int(row) + 1 for row in np.flatnonzero(np.diff(self.steps) != 1)))

    @property
    def cutoff(self) -> pd.Index:
        """The present time, with its frequency where pandas has room for it."""
        cutoff = self.times[self.present : self.present + 1].rename(None)
        return self.calendar.with_frequency(cutoff)

    def gaps(self, before: int = 1) -> str | None:
        """What becomes of the gaps before the rows from ``before`` on, if there are any."""
        rows = [row for row in self.starts if row >= before]
        if not rows:
            return None
        more = f" and in {len(rows) - 1} other places" if len(rows) > 1 else ""
        return (
            f"Time steps are missing in y before {self.times[rows[0]]}{more}: the hidden state and "
            "the lags begin anew there. If nothing happened in them, as on holidays, count "
            "observations instead: y.reset_index(drop=True), and X alike. If values were not "
            "seen, put rows of missing values in: y.asfreq(...)."
        )

    def zeros(self, first: int = 0) -> str | None:
        """What becomes of zeros where logarithms are taken, in the rows from ``first`` on.

        Raises
        ------
        ValueError
            If a value is below 0 or beyond use, or a column holds no other than zeros.
        """
        is_wrong = (self.y < 0.0).any(axis=1)
        if is_wrong.any():
            row = int(np.argmax(is_wrong))
            raise ValueError(
                f"y must not be below 0 with a loss of logarithms, such as 'qlike'; found "
                f"{self.y[row].min():g} at {self.times[row]}. Pass variances or volatilities, not "
                "returns and not logarithms"
            )
        is_zero = self.y == 0.0
        if self.is_complete and not (self.y > 0.0).any(axis=0).all():
            raise ValueError("y must be above 0 in some row, found a column without such a value")
        self._check_decades()
        if not is_zero[first:].any():
            return None
        # no numbers: Python shows a warning of one text once
        return (
            "y is 0 in some rows: there it counts as the smallest value above 0, since the loss is "
            "one of logarithms. If nothing was traded, put NaN in, a missing value."
        )

    def _check_decades(self) -> None:
        """Refuse variances so far apart, or so far from 1, that forecasts might overflow."""
        is_above = self.y > 0.0
        # 1 where nothing is above 0, as in a file of few rows
        extent = (
            self.y.min(axis=0, where=is_above, initial=np.inf),
            self.y.max(axis=0, where=is_above, initial=0.0),
        )
        least, largest = np.log10(np.where(is_above.any(axis=0), extent, 1.0))
        furthest = np.maximum(largest, -least) + _REACH * (largest - least)
        if (furthest > _MOST_DECADES).any():
            column = int(np.argmax(furthest))
            raise ValueError(
                "y must not be so far from 1, nor reach over so many powers of ten, that forecasts "
                "with a loss of logarithms are beyond double precision; found values from "
                f"{10.0 ** least[column]:g} to {10.0 ** largest[column]:g}. Use other units, or "
                "put NaN where nothing was measured"
            )

    @property
    def series(self) -> Series:
        """The rows as arrays."""
        X = self.X
        if self.has_features:
            X = np.hstack([X, self.calendar.features(self.times, None)])
        return Series(self.y, X, self.starts, self.present, self.is_complete)

    def frame(self) -> pd.DataFrame:
        """y of the rows seen."""
        return pd.DataFrame(self.y, self.times, self.y_columns)

    def steps_ahead(self, horizon: pd.Index, is_relative: bool) -> IntArray:
        """Steps from the present to each time of a horizon; 0 and less are in-sample.

        Parameters
        ----------
        horizon : pandas.Index
            Times, or counts of steps or durations after the present if ``is_relative``.
        is_relative : bool
        """
        if is_relative and pd.api.types.is_integer_dtype(horizon):
            return horizon.to_numpy().astype(int)
        # durations
        if is_relative:
            horizon = self.calendar.later(self.times[self.present], horizon)
        times = self.calendar.comparable(horizon, "fh")
        steps = np.empty(len(times), dtype=int)
        is_seen = np.asarray(times <= self.times[-1])
        rows = self.times.get_indexer(times[is_seen])
        if (rows < 0).any():
            raise self._not_seen(times[is_seen][rows < 0])
        steps[is_seen] = self.steps[rows]
        if not is_seen.all():
            last = self.times[-1]
            ahead = self.calendar.steps(last, times[~is_seen], "fh")
            steps[~is_seen] = self.steps[-1] + ahead
        return steps - self.steps[self.present]

    def rows_at(self, steps: IntArray) -> IntArray:
        """The rows so many steps after the present, none of them after the last row."""
        wanted = self.steps[self.present] + steps
        # sorted steps, in which gaps have no row
        rows = np.minimum(np.searchsorted(self.steps, wanted), len(self.steps) - 1)
        is_missing = self.steps[rows] != wanted
        if is_missing.any():
            missing = wanted[is_missing]
            if (missing < 0).any():
                names = pd.Index([f"{step} steps after the cutoff" for step in steps[is_missing]])
            else:
                names = self.calendar.after(self.times[0], missing)
            raise self._not_seen(names)
        return rows

    def times_at(self, steps: IntArray) -> pd.Index:
        """The times so many steps after the present, in-sample ones first."""
        is_ahead = steps > 0
        seen = self.times[self.rows_at(steps[~is_ahead])]
        times = seen
        if is_ahead.any():
            times = seen.append(self.calendar.after(self.times[self.present], steps[is_ahead]))
        times = times.rename(None)
        # pandas refuses a frequency of times with gaps
        is_regular = len(times) > 0 and bool((np.diff(steps) == 1).all())
        return self.calendar.with_frequency(times) if is_regular else times

    def future_X(self, X: pd.DataFrame | None, n_steps: int, reach: IntArray) -> Array:
        """X of the steps after the present, as far as each column is needed; zeros elsewhere.

        Parameters
        ----------
        X : pandas.DataFrame or None
        n_steps : int
        reach : array of shape (n,)
            The smallest lag of each column among the inputs, the features of the calendar last.

        Returns
        -------
        array of shape (n_steps, n)

        Raises
        ------
        ValueError
            If X is missing, not finite, or has other columns, where it is needed.
        """
        if self.has_features:
            times = self.calendar.after(self.times[self.present], np.arange(1, n_steps + 1))
            features = self.calendar.features(times, self.times[self.present])
            without = replace(self, has_features=False)
            of_X = without.future_X(X, n_steps, reach[: len(self.X_columns)])
            return np.hstack([of_X, features])
        is_needed = np.arange(n_steps)[:, None] < n_steps - reach
        n_rows = int(is_needed.any(axis=1).sum())
        self._check_X(X, n_rows, "predict")
        if n_rows == 0:
            return np.zeros((n_steps, len(reach)))
        times = self.calendar.after(self.times[self.present], np.arange(1, n_rows + 1))
        # the present may lie before the last row, as in update_predict: X after it has been seen
        known = pd.DataFrame(self.X, self.times, self.X_columns)[self.present + 1 :]
        rows = _found(X, times, self.X_columns, self.calendar)
        rows = known.reindex(times) if rows is None else rows.fillna(known.reindex(times))
        missing = times[~np.isin(times, known.index)]
        missing = missing if X is None else missing.difference(
            self.calendar.comparable(X.index, "X"), sort=False
        )  # fmt: skip
        if len(missing):
            # as where evaluate passes X of the times of fh alone: the caller has to say more
            is_hole = X is not None and len(X) and (X.index.max() > missing[-1])
            kind = HoleInX if is_hole else ValueError
            found = _without_X(X, missing, n_steps, list(self.X_columns))
            if self.calendar.is_trading:
                found += ". If such a day is a holiday, count steps, as fh=[1], instead of dates"
            raise kind(found)
        # what is not needed may be missing
        values = np.zeros((n_steps, len(reach)))
        values[:n_rows] = np.where(is_needed[:n_rows], rows.to_numpy(dtype=float), 0.0)
        as_floats(pd.DataFrame(values[:n_rows], times, self.X_columns), "X")
        return values

    def _X_of(self, X: pd.DataFrame | None, times: pd.Index, caller: str) -> Array:
        """X of the times of y."""
        self._check_X(X, len(times), caller)
        if self.X_columns.empty or X is None:
            return np.empty((len(times), 0))
        rows = _found(X, times, self.X_columns, self.calendar)
        missing = times.difference(self.calendar.comparable(X.index, "X"), sort=False)
        if len(missing):
            raise ValueError(
                f"X passed to {caller} must have the times of y; missing {listed(missing)}"
            )
        return np.array(as_floats(rows, "X"), order="C")

    def _check_X(self, X: pd.DataFrame | None, n_needed: int, caller: str) -> None:
        if self.X_columns.empty:
            if X is not None:
                raise ValueError(
                    f"X was passed to {caller}, but the forecaster was fitted without X; found "
                    f"columns {list(X.columns)}"
                )
            return
        if X is not None:
            check_unique(X.index, "X")
            check_columns(X.columns, self.X_columns, "X")
        elif n_needed and caller != "predict":
            raise ValueError(
                f"X must be passed to {caller}, since the forecaster was fitted with X: columns "
                f"{list(self.X_columns)}"
            )

    def _row_of_last(self, times: pd.Index) -> int:
        row = int(self.times.get_indexer(times[-1:])[0])
        if row < 0:
            # of a time off the grid the calendar says so
            if times[-1] > self.times[0]:
                self.calendar.steps(self.times[0], times[-1:])
            raise ValueError(
                f"y must have times of the rows seen, or later ones; not seen: {times[-1]}"
            )
        return row

    def _not_seen(self, times: pd.Index) -> ValueError:
        first, last = self.times[0], self.times[-1]
        return ValueError(
            f"fh must name times of the training window, {first} to {last}, or later ones; not "
            f"seen: {listed(times)}"
        )


def _below(above: Array, below: Array) -> Array:
    """Rows under rows; always laid out alike, since sums depend on it in their last digits."""
    return np.ascontiguousarray(np.vstack([above, below]))


def _first_complete(X: pd.DataFrame | None, times: pd.Index) -> int:
    """The number of times before the first one at which no column of X is missing any more.

    X that begins later than y, as an index that was not published yet, lets training begin later.
    """
    if X is None or not X.index.is_unique or not times.isin(X.index).all():
        return 0
    is_complete = X.reindex(times).notna().all(axis=1).to_numpy()
    return int(is_complete.argmax()) if is_complete.any() else 0


def _found(
    X: pd.DataFrame | None, times: pd.Index, columns: pd.Index, calendar: Calendar
) -> pd.DataFrame | None:
    """The rows of X at these times, missing where there are none."""
    if X is None:
        return None
    rows = X.set_axis(calendar.comparable(X.index, "X"))
    return reordered(rows, columns).reindex(times)


def _without_X(X: pd.DataFrame | None, missing: pd.Index, n_steps: int, columns: list[Any]) -> str:
    """What X lacks, and the remedies."""
    remedy = (
        f"To do without X of the times ahead set exog_lags to {n_steps} steps or more, such as "
        f"exog_lags=[{n_steps}]; or let sktime's ForecastX forecast X; in evaluate, pass cv_X"
    )
    if X is None:
        return (
            f"X must be passed to predict, since the forecaster was fitted with X: columns "
            f"{columns} at {listed(missing)}. {remedy}"
        )
    return (
        f"X passed to predict must have a row for every time after the cutoff up to the last one "
        f"needed, since the hidden state runs through all of them; missing {listed(missing)}, "
        f"found rows from {X.index.min()} to {X.index.max()}. {remedy}"
    )
