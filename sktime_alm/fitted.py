"""What a fit leaves behind, and what it says about rows: forecasts, states, outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sktime_alm.inputs import Series, full_rows
from sktime_alm.intervals import (
    MAX_STEPS,
    N_PATHS,
    Errors,
    Situation,
    as_independent,
    followed,
    forecast_errors,
    releveled,
    situations,
    spread,
)
from sktime_alm.level import Level
from sktime_alm.model import Model, bounds_of, extent_of
from sktime_alm.penalties import Penalties
from sktime_alm.solver import ALMResult
from sktime_alm.solver._typing import Array, BoolArray, IntArray


@dataclass(frozen=True, eq=False)
class Fitted:
    """Networks with all that their forecasts need.

    Attributes
    ----------
    model : Model
        The networks that forecast, and the scalers.
    states : tuple of arrays of shape (r,)
        The hidden state of each network after the last row with a value of y.
    result : ALMResult
        That of the best network.
    penalties : Penalties
    seed_spread : array of shape (m,)
        How much the starts differ, in units of y; NaN with a single one.
    errors : Errors
    seed : int
        Of the simulated paths.
    extent : array of shape (2, m)
        The least and the largest value of y seen, standardised.
    levels : array of shape (n_levels, m)
        The levels of the errors at which quantiles have lately held what they should.
    level : Level or None
        Of the means of y, where logarithms are taken.
    """

    model: Model
    states: tuple[Array, ...]
    result: ALMResult
    penalties: Penalties
    seed_spread: Array
    errors: Errors
    seed: int
    extent: Array
    levels: Array
    level: Level | None = None

    def advanced(self, series: Series, n_before: int) -> Fitted:
        """The same after more rows, those from ``n_before`` on: the weights stay as they are."""
        # not of all rows: those before may be left out of a file
        seen = np.vstack([self.extent, self.model.y_scaler.transform(series.y[n_before:])])
        extent = extent_of(seen)
        model = replace(self.model, bounds=bounds_of(extent, self.model.y_scaler.is_log))
        known = series.last_known(n_before - 1) + 1
        inputs, states, is_full = self._new_rows(series, known)
        n_new = series.n_known - known
        after = tuple(of[n_new - 1] for of in states) if n_new else self.states
        new = slice(n_before - known, None)
        inputs, states, is_full = inputs[new], [of[new] for of in states], is_full[new]
        forecasts = np.clip(self.model.combined(self.model.outputs(inputs, states)), *model.bounds)
        errors = (self.model.y_scaler.transform(series.y[n_before:]) - forecasts)[is_full]
        errors = errors / self.errors.scale.of(forecasts[is_full])
        levels = self.levels
        # Student's distributions of few rows are wide enough by themselves
        if not self.errors.posteriors:
            errors = errors[~np.isnan(errors).any(axis=1)]
            levels = followed(levels, errors, self.errors.of_first_step())
        level = self.level
        if level is not None:
            ratios = series.y[n_before:] / self.model.y_scaler.inverse_transform(forecasts)
            level = level.followed(np.where(is_full[:, None], ratios, np.nan))
        found = replace(self, model=model, states=after, extent=extent)
        return replace(found, levels=levels, level=level)

    def carried_on(self, series: Series, before: Fitted) -> Fitted:
        """The same with what rows have told since the first fit, of which ``before`` knows."""
        level = self.level
        if level is not None and before.level is not None and before.level.n_followed:
            # by the networks of now, which those rows have moved already
            ratios = series.y / self.model.y_scaler.inverse_transform(self._fitted_values(series))
            full, _ = full_rows(self.model.layout.context, series)
            ratios[np.delete(np.arange(len(ratios)), full)] = np.nan
            level = level.followed(ratios[-before.level.n_followed :])
        return replace(self, levels=before.levels, level=level)

    def new_errors(
        self, series: Series, n_before: int, n_steps: int
    ) -> tuple[list[Array], list[Array]]:
        """Errors of forecasts of the rows from ``n_before`` on, and the forecasts, standardised.

        Those of each number of steps ahead are of shape (n_errors, m). The networks have seen
        none of these rows.
        """
        full, first = full_rows(self.model.layout.context, series)
        rows = np.delete(full, list(first))
        rows = rows[rows > n_before - n_steps]
        found = situations_of(self.model, series, rows, n_steps)
        seen = np.maximum(n_before - rows, 0)
        unseen = (
            one._replace(actual=np.vstack([np.full_like(one.actual[:n], np.nan), one.actual[n:]]))
            for one, n in zip(found, seen, strict=True)
        )
        return forecast_errors(self.model, unseen, n_steps)

    def forecasts(self, series: Series, rows: IntArray, steps: IntArray, X: Array) -> Array:
        """Fitted values of rows, then forecasts so many steps ahead, in units of y.

        Parameters
        ----------
        series : Series
            The rows seen.
        rows : array of int
            Rows whose fitted values are asked for.
        steps : array of int
            Steps after the present, above 0.
        X : array of shape (max(steps), n)
            X of the steps ahead.

        Returns
        -------
        array of shape (n_rows + n_steps, m)
        """
        # the first step comes last, whether it was asked for or not
        asked = np.append(steps, 1) if len(steps) else steps
        values = self._forecasts(series, rows, asked, X)
        if len(steps) and self.level is None and self.errors.runs is not None:
            bias = self.errors.runs.of_steps(int(asked.max())).bias[asked - 1]
            values[len(rows) :] += self.errors.scale.of(values[len(rows) :]) * bias
        values = self.model.y_scaler.inverse_transform(values)
        values, first = values[: len(rows) + len(steps)], values[-1]
        if self.level is None:
            return values
        present = self.level.factors(len(series.y) - 1 - series.present)
        values[: len(rows)] *= self.level.factors(len(series.y) - rows)
        values[len(rows) :] *= present
        first = first * present
        is_later = steps > 1
        if is_later.any():
            # means of paths, as many times those one step ahead as they are in the simulation
            paths = self._of_moments.paths(series, np.append(1, steps[is_later]), X).mean(axis=0)
            values[len(rows) :][is_later] = first * (paths[1:] / paths[0])
        return values

    @property
    def _of_moments(self) -> Fitted:
        """The same, without what few errors and few rows leave unknown where logarithms are taken.

        It would rule the moments of an exponential, and with Student's tails there are none.
        """
        if self.level is None:
            return self
        plain = replace(self.errors, posteriors=(), stretch=np.ones((1, len(self.level.ratio))))
        return replace(self, errors=plain)

    def variances(self, series: Series, rows: IntArray, steps: IntArray, X: Array) -> Array:
        """Variances of y at each of the times of :meth:`forecasts`, of shape (k, m)."""
        return np.array([s.var(axis=0) for s in self._about_forecasts(series, rows, steps, X)])

    def _about_forecasts(
        self, series: Series, rows: IntArray, steps: IntArray, X: Array
    ) -> list[Array]:
        """The samples whose moments are asked for; where the level moves, with it."""
        samples = self._of_moments.outcomes(series, rows, steps, X)
        if self.level is None:
            return samples
        pairs = zip(samples, self.forecasts(series, rows, steps, X), strict=True)
        return [sample * (forecast / sample.mean(axis=0)) for sample, forecast in pairs]

    def outcomes(self, series: Series, rows: IntArray, steps: IntArray, X: Array) -> list[Array]:
        """For each of the times of :meth:`forecasts` a sample of y, of shape (n, m)."""
        errors, n_rows = self.errors, len(rows)
        point = self._forecasts(series, rows, steps if errors.by_step else steps[:0], X)
        pairs = zip(point, self._errors_of_fitted(point[:n_rows]), strict=False)
        samples = [value + of_fitted for value, of_fitted in pairs]
        if errors.by_step:
            self._check_calibrated(int(steps.max(initial=1)))
            for step, value in zip(steps, point[n_rows:], strict=True):
                of_step = as_independent(errors.by_step[step - 1], int(step))
                samples.append(value + errors.scale.of(value) * releveled(of_step, self.levels))
        samples = [self.model.y_scaler.inverse_transform(sample) for sample in samples]
        if errors.by_step or not len(steps):
            return samples
        return [*samples, *np.swapaxes(self.paths(series, steps, X), 0, 1)]

    def paths(self, series: Series, steps: IntArray, X: Array) -> Array:
        """Simulated paths at so many steps ahead, of shape (n_paths, n_steps, m)."""
        paths = spread(self.model, self.errors, self._situation(series, X), self.seed)
        _check_finite(paths)
        of_steps = [releveled(paths[:, step - 1], self.levels) for step in steps]
        return self.model.y_scaler.inverse_transform(np.stack(of_steps, axis=1))

    def covariances(self, series: Series, rows: IntArray, steps: IntArray, X: Array) -> Array:
        """Covariances between the times of :meth:`forecasts`, of shape (k, m k).

        Those of the first output with all times come first. Errors of fitted values are taken to
        be independent.
        """
        if self.errors.by_step:
            raise NotImplementedError(
                "cov must be False with interval_method='conformal', which knows the errors of "
                "each time by themselves"
            )
        n_rows, samples = len(rows), self._about_forecasts(series, rows, steps, X)
        variances = np.array([sample.var(axis=0) for sample in samples])
        values = np.stack([np.diag(of_output) for of_output in variances.T])
        if len(steps):
            # those ahead are of the same paths
            for output, paths in enumerate(np.moveaxis(np.stack(samples[n_rows:]), 2, 0)):
                values[output, n_rows:, n_rows:] = np.cov(paths, ddof=0)
        return np.hstack(list(values))

    def without_rows(self, series: Series) -> Fitted:
        """The same as of the present, without what grows with the rows, but for the errors."""
        result, penalties = self.result.without_states(), self.penalties.without_models()
        known = series._replace(present=series.last_known(series.present))
        states = tuple(self._states_after_present(known))
        level = None if self.level is None else self.level.without_rows()
        return replace(self, states=states, result=result, penalties=penalties, level=level)

    def _forecasts(self, series: Series, rows: IntArray, steps: IntArray, X: Array) -> Array:
        """Those of :meth:`forecasts`, standardised."""
        values = np.empty((len(rows) + len(steps), series.y.shape[1]))
        if len(rows):
            values[: len(rows)] = self._fitted_values(series)[rows]
        if len(steps):
            found = self._situation(series, X)
            forecasts = self.model.forecast(found.states, found.past, found.exogenous)
            _check_finite(forecasts[None])
            values[len(rows) :] = forecasts[steps - 1]
        return values

    def _errors_of_fitted(self, forecasts: Array) -> list[Array]:
        """Errors of one step ahead: samples, of Student's distribution where rows were few."""
        errors = self.errors
        if errors.share < 0.5 or errors.by_step:
            one_step = errors.by_step[0] if errors.by_step else errors.one_step
            return [errors.scale.of(forecast) * one_step for forecast in forecasts]
        if not len(forecasts):
            return []
        # not of the forecast: the same for all
        _, noise = errors.draw(1, self.seed, N_PATHS)
        return [noise[:, 0]] * len(forecasts)

    def _situation(self, series: Series, X: Array) -> Situation:
        """What forecasts from the present on start from."""
        start = max(start for start in series.starts if start <= series.present)
        known = slice(max(series.present + 1 - self.model.layout.span, start), series.present + 1)
        past = self.model.y_scaler.transform(series.y[start : series.present + 1])
        of_X = self.model.X_scaler.transform(np.vstack([series.X[known], X]))
        exogenous = self.model.layout.exogenous(of_X)[len(of_X) - len(X) :]
        return Situation(self._states_after_present(series), past, exogenous, past[:0])

    def _fitted_values(self, series: Series) -> Array:
        """Forecasts of the rows seen, one step ahead each, standardised."""
        check_complete(series, "an in-sample prediction")
        inputs = self.model.inputs(series.y, series.X, series.starts)
        outputs = self.model.outputs(inputs, all_states(self.model, series))
        return np.clip(self.model.combined(outputs), *self.model.bounds)

    def _states_after_present(self, series: Series) -> list[Array]:
        origin = series.present
        start = max(start for start in series.starts if start <= origin)
        if origin + 1 == start + self.model.layout.context:
            # they start anew at the first full row
            return [np.zeros_like(state) for state in self.states]
        if origin == series.n_known - 1:
            return list(self.states)
        check_complete(series, "a prediction from an earlier cutoff")
        return [states[origin] for states in all_states(self.model, series)]

    def _new_rows(self, series: Series, n_before: int) -> tuple[Array, list[Array], BoolArray]:
        """Inputs and states of the rows from ``n_before`` on, and which have all their inputs."""
        context, start = self.model.layout.context, series.starts[-1]
        rows = np.arange(n_before, len(series.y))
        sequence = np.searchsorted(series.starts, rows, side="right") - 1
        is_full = np.asarray(rows - np.asarray(series.starts)[sequence] >= context)
        if start + context >= n_before:
            # they start anew within these rows
            inputs = self.model.inputs(series.y, series.X, series.starts)
            states = [of_network[n_before:] for of_network in all_states(self.model, series)]
            return inputs[n_before:], states, is_full
        first = max(n_before - self.model.layout.span, start)
        # a value missing before the new rows is stood in for by one that may lie further back
        y = series.y[start if np.isnan(series.y[first:n_before]).any() else first :]
        inputs = self.model.inputs(y, series.X[len(series.y) - len(y) :], (0,))
        inputs = inputs[n_before - (len(series.y) - len(y)) :]
        return inputs, self.model.states(inputs, (0,), self.states), is_full

    def _check_calibrated(self, step: int) -> None:
        n_steps = len(self.errors.by_step)
        if step > n_steps:
            raise ValueError(
                f"fh must reach at most {n_steps} steps ahead for quantiles with "
                f"interval_method='conformal', which calibrated no more, found a step of {step} "
                "from the last value of y that is not missing; "
                f"more rows reach up to {MAX_STEPS}, interval_method='bootstrap' any number"
            )


def all_states(model: Model, series: Series) -> list[Array]:
    """Hidden states of the rows seen; they start anew at the first full row of a sequence."""
    full, first = full_rows(model.layout.context, series)
    inputs = model.inputs(series.y, series.X, series.starts)
    return model.states(inputs, sorted({*series.starts, *full[list(first)].tolist()}))


def situations_of(
    model: Model, series: Series, rows: Iterable[int], n_steps: int
) -> Iterator[Situation]:
    """The situations of forecasts of up to ``n_steps`` steps from each of the rows seen on."""
    y, X = model.y_scaler.transform(series.y), model.X_scaler.transform(series.X)
    states, exogenous = all_states(model, series), model.layout.exogenous(X, series.starts)
    return situations(model, states, y, exogenous, series.starts, rows, n_steps)


def last_states(model: Model, series: Series) -> tuple[Array, ...]:
    """Hidden states after the last row with a value of y."""
    return tuple(states[series.n_known - 1] for states in all_states(model, series))


def check_complete(series: Series, purpose: str) -> None:
    """Refuse what needs the rows trained on, where they were left out of a file."""
    if not series.is_complete:
        raise ValueError(
            f"{purpose} needs the training rows, which this forecaster was saved without; "
            "use save(..., training_rows=True)"
        )


def _check_finite(paths: Array) -> None:
    is_finite = np.isfinite(paths)
    if not is_finite.all():
        step = int(np.argmin(is_finite.all(axis=(0, 2)))) + 1
        raise ValueError(
            f"the forecasts overflow at step {step} of fh: the trained recurrence is unstable; fit "
            "with the default method, a smaller max_recurrence or a larger alpha"
        )


def combined_spread(networks: Sequence[Array]) -> Array:
    """The root mean square of the deviations between outputs of several networks."""
    return np.sqrt(np.mean(np.var(networks, axis=0), axis=0))
