"""sktime's methods made safe: each happens as a whole or not at all, and says things once."""

from __future__ import annotations

import copy
import pickle
import threading
import warnings
from functools import wraps
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pandas as pd
from sktime.datatypes import VectorizedDF, convert_to
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon
from sktime.forecasting.base._base import _format_moving_cutoff_predictions

from sktime_alm import files
from sktime_alm.calendar import as_horizon
from sktime_alm.panel import by_series, for_each_series
from sktime_alm.partitions import is_dask
from sktime_alm.solver._validation import check_flag

# what pretrain takes X as; elsewhere it goes to the forecasters of the single series
_PANELS = ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"]


class _Turn:
    """A lock of which each copy of its owner has one of its own."""

    def __init__(self) -> None:
        self.lock = threading.RLock()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Turn, ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Turn)

    __hash__ = None  # type: ignore[assignment]


def _moving(name: str) -> Any:
    """A method of the base class that changes a twin, which takes our place in a single step.

    So whatever fails or interrupts it leaves everything as it was, and a forecast made beside it
    sees what was before or what comes after, never something between.
    """
    base = getattr(BaseForecaster, name)

    @wraps(base)
    def moved(self: AtomicForecaster, *arguments: Any, **named: Any) -> Any:
        with self._turn().lock:
            twin, before = self._twin(), dict(own := self.__dict__)
            outcome = base(twin, *arguments, **named)
            if self.__dict__ is not own:
                raise RuntimeError(
                    f"{name} is undone, since its callback changed the forecaster by fit, update "
                    "or the like. End the training with True, and call that then"
                )
            # what else a callback, or another thread, has set meanwhile stays
            now = dict(own)
            is_set = (key for key in now if now[key] is not before.get(key))
            twin.__dict__.update({key: now[key] for key in is_set})
            self.__dict__ = twin.__dict__
        return self if outcome is twin else outcome

    return moved


def _asking(name: str) -> Any:
    """A method of the base class that asks a twin, which nothing changes meanwhile."""
    base = getattr(BaseForecaster, name)

    @wraps(base)
    def asked(self: AtomicForecaster, *arguments: Any, **named: Any) -> Any:
        twin = self._twin()
        answer = base(twin, *arguments, **named)
        self._fh = twin._fh
        return answer

    return asked


def fitted_attribute(value: Any) -> property:
    """An attribute of the networks fitted; there is none before ``fit``."""

    def found(self: Any) -> Any:
        if "_fitted" not in self.__dict__:
            is_panel = getattr(self, "_is_vectorized", False)
            where = "of a panel with each series, in forecasters_" if is_panel else "not before fit"
            raise AttributeError(f"attributes of networks are {where}")
        return value(self._fitted)

    return property(found)


class AtomicForecaster(BaseForecaster):
    """A forecaster whose methods work on a twin, which takes its place at the end.

    Between them, a series holds nothing but immutable objects, so that a twin costs nothing.
    """

    # sktime's methods, with their documentation, but each as a whole or not at all
    fit = _moving("fit")
    pretrain = _moving("pretrain")
    update = _moving("update")
    update_predict = _moving("update_predict")
    update_predict_single = _moving("update_predict_single")
    predict = _asking("predict")
    predict_quantiles = _asking("predict_quantiles")
    predict_interval = _asking("predict_interval")
    predict_var = _asking("predict_var")
    predict_proba = _asking("predict_proba")

    def clone(self) -> AtomicForecaster:
        """An unfitted copy; what its original has been warned of it does not repeat."""
        twin = super().clone()
        twin.__dict__.update({"__told": self._told(), "__is_clone": True})
        return twin

    def _check_X_y(self, X: Any = None, y: Any = None, **named: Any) -> Any:
        """As the base class, after X without columns and X for all series of a panel."""
        if isinstance(X, pd.DataFrame) and X.columns.empty:
            X = None
        # pretrain alone says which types of y it takes, and takes other series than fit did
        is_pretrain = "y_inner_mtype" in named
        is_known = getattr(self, "_is_vectorized", False) and not is_pretrain
        known = self.forecasters_.index if is_known else None
        is_panel = isinstance(y, pd.DataFrame) and isinstance(y.index, pd.MultiIndex)
        if known is not None and isinstance(y, (pd.Series, pd.DataFrame)):
            # sktime would hand rows out by their place
            y = by_series(y, known, "y", is_exact=True)
        elif is_panel and self.is_fitted and not is_pretrain:
            raise ValueError(
                "y must be one series, as in fit; found a panel. Fit a panel, or each of its series"
            )
        keys = y.index.droplevel(-1).unique() if is_panel else known
        if keys is not None and isinstance(X, pd.Series):
            X = X.to_frame()
        if keys is not None and isinstance(X, pd.DataFrame):
            is_for_all = not isinstance(X.index, pd.MultiIndex)
            X = for_each_series(X, keys) if is_for_all else by_series(X, keys, "X")
        if not is_pretrain:
            return super()._check_X_y(X=X, y=y, **named)
        # Dask frames stay where they are
        if is_dask(y):
            return X, y
        # it takes panels of y whatever our types are, but panels of X by the tag alone
        of_series = self.get_tag("X_inner_mtype")
        self.set_tags(X_inner_mtype=_PANELS)
        try:
            return super()._check_X_y(X=X, y=y, **named)
        finally:
            self.set_tags(X_inner_mtype=of_series)

    def _check_fh(self, fh: Any, pred_int: bool = False) -> ForecastingHorizon | None:
        if isinstance(fh, ForecastingHorizon):
            # steps are those of the calendar, whatever frequency a wrapper or a few dates suggest
            fh = ForecastingHorizon(as_horizon(fh.to_pandas()), is_relative=fh.is_relative)
        return super()._check_fh(as_horizon(fh), pred_int)

    def _set_cutoff_from_y(self, y: pd.DataFrame) -> None:
        if isinstance(y.index, pd.MultiIndex):
            super()._set_cutoff_from_y(y)
        else:
            # sktime would guess a frequency from these rows alone; that of the history follows
            last = y.index[-1:]
            self._set_cutoff(
                pd.DatetimeIndex(last, freq=None) if isinstance(last, pd.DatetimeIndex) else last
            )

    def _predict_moving_cutoff(
        self,
        y: Any,
        cv: Any,
        X: Any = None,
        update_params: bool = True,
        reset_forecaster: bool = True,
    ) -> Any:
        """As the base class, but without its step back, of a frequency guessed from a few rows."""
        mtype, store = self._y_metadata["mtype"], self._converter_store_y
        moving = self._twin() if reset_forecaster else self
        y, X = (data.X if isinstance(data, VectorizedDF) else data for data in (y, X))
        forecasts, cutoffs = [], []
        for rows, _ in cv.split(y):
            forecast = moving.update_predict_single(y.iloc[rows], cv.get_fh(), X, update_params)
            forecasts.append(convert_to(forecast, mtype, store=store, store_behaviour="freeze"))
            cutoffs.append(moving.cutoff)
        return _format_moving_cutoff_predictions(forecasts, cutoffs)

    def _twin(self) -> AtomicForecaster:
        """A copy to be changed: what it is made of is immutable, or copied here."""
        twin = object.__new__(type(self))
        for name, value in self.__dict__.items():
            is_changed_in_place = name.startswith("_") and isinstance(value, (dict, list))
            twin.__dict__[name] = copy.copy(value) if is_changed_in_place else value
        if getattr(self, "_is_vectorized", False):
            twin.forecasters_ = self.forecasters_.map(AtomicForecaster._twin)
        return twin

    def _turn(self) -> _Turn:
        # by a name that reset leaves alone
        return self.__dict__.setdefault("__turn", _Turn())

    def _told(self) -> set[str]:
        return self.__dict__.setdefault("__told", set())

    def _tell(self, text: str | None, category: type[Warning] = UserWarning) -> None:
        """Warn, but not once more in each fold of a cross-validation, which fits clones."""
        if text is not None and text not in self._told():
            self._told().add(text)
            warnings.warn(text, category, stacklevel=5)

    def save(
        self,
        path: str | Path | None = None,
        serialization_format: str = "pickle",
        training_rows: bool = False,
    ) -> Any:
        """Save to memory or to a file, by default without the rows trained on.

        Parameters
        ----------
        path : str or Path, optional
            A .zip file to be written, its name with or without the ending; by default the
            outcome is in memory. A file of this name is replaced once the new one is complete.
        serialization_format : {"pickle", "cloudpickle"}, default="pickle"
        training_rows : bool, default=False
            Keep the rows. Without them the loaded forecaster predicts, with intervals, and
            updates its state; in-sample predictions and training on need them.

        Returns
        -------
        tuple or ZipFile
            As that of sktime's ``save``.
        """
        has_rows = check_flag(training_rows, "training_rows")
        kept = self._twin() if has_rows else self._without_training_rows()
        kind, content = super(AtomicForecaster, kept).save(None, serialization_format)
        if path is None:
            return kind, content
        target = files.named(path)
        files.write(target, {"_metadata": pickle.dumps(kind), "_obj": content})
        return ZipFile(target)

    @classmethod
    def load_from_path(cls, serial: str | Path) -> AtomicForecaster:
        """Read a file that ``save`` wrote; sktime's ``load`` comes here.

        Raises
        ------
        ValueError
            If the file is damaged, or of a newer version.
        """
        path = files.named(serial)
        found = files.read(path)
        if not isinstance(found, AtomicForecaster):
            raise ValueError(f"{path} is no file of this forecaster, found {type(found).__name__}")
        return found

    def _without_training_rows(self) -> AtomicForecaster:
        """A copy that forecasts alike and is small."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return files.stamped(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(files.checked(state))
