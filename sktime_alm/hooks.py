"""What sktime's methods call: hooks that hand on to history and estimator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sktime.forecasting.base import ForecastingHorizon

from sktime_alm.arguments import (
    CONTEMPORANEOUS,
    advice_on,
    check_arguments,
    is_bound_given,
    layout_of,
    settings_of,
)
from sktime_alm.atomic import AtomicForecaster
from sktime_alm.engines import engine_of
from sktime_alm.estimator import Estimator
from sktime_alm.fitted import Fitted, check_complete
from sktime_alm.history import History, HoleInX
from sktime_alm.inputs import Series
from sktime_alm.intervals import quantiles
from sktime_alm.panel import Pace, PanelNetwork, histories, refused
from sktime_alm.partitions import Partitions, is_dask
from sktime_alm.progress import watching
from sktime_alm.solver._typing import Array, IntArray
from sktime_alm.solver._validation import check_flag
from sktime_alm.solver.activations import Activation, get_activation
from sktime_alm.solver.datafits import Datafit, get_datafit
from sktime_alm.solver.result import Callback
from sktime_alm.spreading import fit_blocks

# steps ahead beyond which a horizon is a slip, and its rows would fill the memory
_FURTHEST = 1_000_000


class NetworkHooks(AtomicForecaster):
    """A forecaster's hooks; its arguments are those of ``ALMElmanForecaster``."""

    # the rows that forecasts and updates need are kept here, not by the base class
    _config = {"remember_data": False}  # noqa: RUF012
    _y = None
    _X = None

    # the rows seen, and what was fitted to them; each hook assigns the next pair as its last act
    _history: History
    _fitted: Fitted

    # arguments that are read here
    activation: str | Activation
    exog_lags: Any
    loss: str | Datafit
    max_iter: int | None
    verbose: int
    callback: Callback | None
    solver_options: Any

    def _fit(
        self, y: pd.DataFrame, X: pd.DataFrame | None, fh: ForecastingHorizon | None
    ) -> NetworkHooks:
        if not self.__dict__.get("__is_clone", False):
            self._told().clear()
        panel: PanelNetwork | None = getattr(self, "pretrained_", None)
        history = self._new_history(y, X)
        estimator = self._estimator(history)
        history = history.seen_by(estimator.layout)
        if panel is not None:
            estimator.layout.check_unchanged(panel.pretrained.layout, "pretrain")
        self._tell(history.gaps())
        self._tell(history.zeros() if estimator.loss.is_log else None)
        if X is not None and self.exog_lags is None and not estimator.loss.is_log:
            self._tell(CONTEMPORANEOUS)
        steps: tuple[int, ...] = ()
        if fh is not None:
            ahead = history.steps_ahead(fh.to_pandas(), fh.is_relative)
            steps = tuple(int(step) for step in ahead if step > 0)
        if panel is not None:
            return self._become(history, estimator.adopt(panel.pretrained, history.series))
        with watching(self.verbose, self.callback) as progress:
            fitted = estimator.fit(history.series, progress, steps or (1,))
        if not fitted.penalties.is_mean:
            self._tell(advice_on(fitted.result, estimator.settings), ConvergenceWarning)
        return self._become(history, fitted)

    def _vectorize(self, methodname: str, **named: Any) -> Any:
        """As the base class, but the series that is refused is named."""
        try:
            return super()._vectorize(methodname, **named)
        except ValueError as error:
            y, X = named.get("y"), named.get("X")
            if y is None or methodname not in ("fit", "update"):
                raise
            of_X = [None] * len(y) if X is None else X.as_list()
            for k, (key, _, of_y) in enumerate(y.items()):
                known = self if methodname == "fit" else self.forecasters_.iloc[k, 0]
                if known._refusal(of_y, of_X[k], methodname) == str(error):
                    raise refused(error, key) from error
            raise

    def _refusal(self, y: pd.DataFrame, X: pd.DataFrame | None, methodname: str) -> str | None:
        """Why a series, or more rows of it, are refused before anything is trained."""
        try:
            if methodname == "fit":
                history = self._new_history(y, X)
                if not hasattr(self, "pretrained_"):
                    self._estimator(history).check(history.series)
            else:
                self._history.extended(y, X)
        except ValueError as error:
            return str(error)
        return None

    def _new_history(self, y: pd.DataFrame, X: pd.DataFrame | None) -> History:
        """The history that begins with these rows, after the panel's calendar if there is one."""
        panel: PanelNetwork | None = getattr(self, "pretrained_", None)
        X_columns = y.columns[:0] if X is None else X.columns
        if panel is not None:
            X_columns = panel.checked_columns(y, X)
        history = History.of(y, X, X_columns, panel.calendar if panel else None)
        if panel is not None and panel.pace is not None:
            panel.pace.check(history.times, "the panel of pretrain")
        return history

    def _pretrain(
        self, y: pd.DataFrame, X: pd.DataFrame | None = None, fh: ForecastingHorizon | None = None
    ) -> NetworkHooks:
        with self._parts(y, X) as parts:
            if parts is not None:
                y, X = parts.sample()
            self.pretrained_ = self._panel_network(y, X, parts)
        result = self.pretrained_.result
        self._tell(
            advice_on(result, settings_of(self.solver_options, self.max_iter)), ConvergenceWarning
        )
        return self

    def _panel_network(
        self, y: pd.DataFrame, X: pd.DataFrame | None, parts: Partitions | None
    ) -> PanelNetwork:
        """Train on a panel, or on parts of which it is a sample."""
        before: PanelNetwork | None = getattr(self, "pretrained_", None)
        # the same columns in every series, and in the order of the first panel
        X_columns = y.columns[:0] if X is None else X.columns
        if before is not None:
            X_columns = before.checked_columns(y, X)
        known, pace = (before.calendar, before.pace) if before else (None, None)
        is_log = get_datafit(self.loss).is_log
        panel = list(histories(y, X, X_columns, known, pace, is_log))
        estimator = self._estimator(panel[0])
        if before is not None:
            estimator.layout.check_unchanged(before.pretrained.layout, "pretrain")
        panel = [history.seen_by(estimator.layout) for history in panel]
        for history in panel if is_log else ():
            self._tell(history.zeros())
        calendar = panel[0].calendar if before is None else before.calendar
        series = [history.series for history in panel]
        pretrained = before.pretrained if before else None
        with watching(self.verbose, self.callback) as progress:
            if parts is None or parts.is_small:
                trained = estimator.fit_panel(series, progress, pretrained)
            else:
                with parts.loaded(estimator, X_columns, calendar) as blocks:
                    trained = fit_blocks(estimator, series, blocks, progress, pretrained)
        paces = (pace, *(Pace.of(history.times) for history in panel))
        pace = next((pace for pace in paces if pace is not None), None)
        return PanelNetwork(trained, y.columns, X_columns, calendar, pace)

    @contextmanager
    def _parts(self, y: Any, X: Any) -> Iterator[Partitions | None]:
        """The panel in parts, where sktime's config names a backend or it is a Dask frame."""
        config = self.get_config()
        backend = config["backend:parallel"]
        if backend in (None, "None"):
            backend = "dask" if is_dask(y) else None
        if backend is None:
            yield None
            return
        with engine_of(backend, config["backend:parallel:params"]) as engine:
            yield Partitions.of(y, X, engine)

    def _predict(self, fh: ForecastingHorizon, X: pd.DataFrame | None) -> pd.DataFrame:
        times, asked = self._question(fh, X)
        return pd.DataFrame(self._fitted.forecasts(*asked), times, self._history.y_columns)

    def _predict_quantiles(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, alpha: list[float]
    ) -> pd.DataFrame:
        levels, (times, asked) = np.array(alpha, dtype=float), self._question(fh, X)
        # the columns are those of sktime: all levels of the first variable, then of the next
        rows = [quantiles(sample, levels).T.ravel() for sample in self._fitted.outcomes(*asked)]
        columns = self._named_columns("predict_quantiles", alpha=alpha)
        return pd.DataFrame(rows, times, columns)

    def _predict_var(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, cov: bool = False
    ) -> pd.DataFrame:
        times, asked = self._question(fh, X)
        columns = self._named_columns("predict_var")
        if cov:
            values = self._fitted.covariances(*asked)
            return pd.DataFrame(values, times, pd.MultiIndex.from_product([columns, times]))
        return pd.DataFrame(self._fitted.variances(*asked), times, columns)

    def _predict_proba(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, marginal: bool = True
    ) -> Any:
        if not marginal:
            raise NotImplementedError("marginal must be True: each time has a sample of its own")
        try:
            from skpro.distributions import Empirical
        except ImportError as error:
            # sktime's answer without skpro is a normal, which these samples are not
            raise NotImplementedError(
                "predict_proba needs skpro for its distributions: pip install skpro"
            ) from error
        times, asked = self._question(fh, X)
        samples = self._fitted.outcomes(*asked)
        columns = self._named_columns("predict_var")
        # draws are from all times at once: smaller samples are repeated, and weigh less
        n = max(map(len, samples))
        drawn = [np.arange(n) % len(sample) for sample in samples]
        values = [sample[rows] for sample, rows in zip(samples, drawn, strict=True)]
        weights = np.concatenate([1.0 / np.bincount(rows)[rows] for rows in drawn])
        index = pd.MultiIndex.from_arrays([np.tile(np.arange(n), len(times)), times.repeat(n)])
        return Empirical(
            pd.DataFrame(np.vstack(values), index, columns),
            None if (weights == 1.0).all() else pd.Series(weights, index),
        )

    def _named_columns(self, method: str, **arguments: Any) -> pd.Index:
        """sktime's columns, with the name that those of y have."""
        columns = self._get_columns(method=method, **arguments)
        if not isinstance(columns, pd.MultiIndex):
            return pd.Index(columns, name=self._history.y_columns.name)
        return columns.set_names(self._history.y_columns.name, level=0)

    def _update(
        self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True
    ) -> NetworkHooks:
        before, fitted = self._history, self._fitted
        if check_flag(update_params, "update_params"):
            check_complete(before.series, "update(update_params=True)")
        history, n_before = before.extended(y, X), len(before.times)
        self._tell(before.revisions(y))
        if len(history.times) == n_before:
            return self._become(history, fitted)
        self._tell(history.gaps(n_before))
        if fitted.model.y_scaler.is_log:
            self._tell(history.zeros(n_before))
        if not update_params:
            return self._become(history, fitted.advanced(history.series, n_before))
        estimator = self._estimator(history)
        estimator.layout.check_unchanged(fitted.model.layout, "fit")
        panel: PanelNetwork | None = getattr(self, "pretrained_", None)
        if panel is not None:
            before_rows = fitted, n_before
            adopted = estimator.adopt(panel.pretrained, history.series, *before_rows)
            return self._become(history, adopted)
        with watching(self.verbose, self.callback) as progress:
            fitted = estimator.fit(history.series, progress, previous=fitted, n_before=n_before)
        if not (fitted.penalties.is_mean or estimator.is_brief(n_before, len(history.times))):
            self._tell(advice_on(fitted.result, estimator.settings), ConvergenceWarning)
        return self._become(history, fitted)

    def _update_predict_single(
        self,
        y: pd.DataFrame,
        fh: ForecastingHorizon,
        X: pd.DataFrame | None = None,
        update_params: bool = True,
    ) -> pd.DataFrame:
        # the default calls the public update with the inner frame, which then passes for the
        # type of the user's y: a series would come back as a frame
        return self._update(y, X, update_params)._predict(fh, X)

    def _become(self, history: History, fitted: Fitted) -> NetworkHooks:
        self._set_cutoff(history.cutoff)
        self._history, self._fitted = history, fitted
        return self

    def _estimator(self, history: History) -> Estimator:
        """What fits, from the arguments."""
        arguments = self.get_params(deep=False)
        check_arguments(arguments)
        loss = get_datafit(self.loss)
        columns = list(history.X_columns)
        layout = layout_of(arguments, history.calendar, columns, loss.is_log)
        settings = settings_of(self.solver_options, self.max_iter)
        kept = {item.name for item in fields(Estimator)} & set(arguments) - {"loss"}
        return Estimator(
            layout=layout,
            sigma=get_activation(self.activation),
            loss=loss,
            settings=settings,
            is_bound_given=is_bound_given(self.solver_options),
            **{name: arguments[name] for name in kept},
        )

    def _question(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None
    ) -> tuple[pd.Index, tuple[Series, IntArray, IntArray, Array]]:
        """The times of a horizon, and what the networks are asked about them."""
        history, horizon = self._history, fh.to_pandas()
        if X is not None:
            history = history.foreseeing(X.index, "X")
        if not fh.is_relative:
            history = history.foreseeing(horizon, "fh")
        # those of 0 and less are in-sample
        steps = history.steps_ahead(horizon, fh.is_relative)
        ahead = steps[steps > 0]
        if ahead.max(initial=0) > _FURTHEST:
            raise ValueError(
                f"fh must end at most {_FURTHEST} steps after the cutoff, found {ahead.max()}"
            )
        reach = self._fitted.model.layout.reach
        if len(ahead) < len(steps):
            check_complete(history.series, "an in-sample prediction")
        try:
            future = history.future_X(X, int(ahead.max(initial=0)), reach)
        except HoleInX as error:
            # evaluate passes X of the times of fh alone, and keeps to itself what then fails
            self._tell(str(error))
            raise
        rows = history.rows_at(steps[steps <= 0])
        return history.times_at(steps), history.series.as_last_known(rows, ahead, future)

    def _without_training_rows(self) -> NetworkHooks:
        """A copy that forecasts alike and is small."""
        kept = self._twin()
        if hasattr(kept, "pretrained_"):
            kept.pretrained_ = kept.pretrained_.without_rows()
        if getattr(kept, "_is_vectorized", False):
            kept.forecasters_ = kept.forecasters_.map(NetworkHooks._without_training_rows)
        elif kept.is_fitted:
            # one row more than inputs reach back, lest the sequence seem to begin there
            kept._fitted = self._fitted.without_rows(self._history.series)
            kept._history = self._history.shortened(self._fitted.model.layout.span + 1)
        return kept
