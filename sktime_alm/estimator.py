"""From the rows of a series to what forecasts them: networks, their state, their errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from sktime_alm.averaging import joined
from sktime_alm.bias import bias_of_skip
from sktime_alm.fitted import Fitted, combined_spread, last_states
from sktime_alm.inputs import InputLayout, Rows, Series, full_rows, n_seen
from sktime_alm.intervals import (
    MAX_STEPS,
    MIN_ERRORS,
    NOMINAL,
    Errors,
    Scale,
)
from sktime_alm.level import Level
from sktime_alm.model import Model, bounds_of, extent_of
from sktime_alm.penalties import (
    NETWORK_ORIGINS,
    Origin,
    Penalties,
    ValidationModel,
    make_origins,
)
from sktime_alm.pooling import choose_prior, own_readout
from sktime_alm.posterior import (
    Posterior,
    as_new_errors,
    effective_parameters,
    lightest,
    with_changed_readout,
)
from sktime_alm.progress import Progress
from sktime_alm.replays import Replay, errors_after, excess_after, replayed
from sktime_alm.scalers import Standardizer
from sktime_alm.solver import (
    ALMResult,
    ElmanParameters,
    Regularization,
)
from sktime_alm.solver._typing import Array
from sktime_alm.solver.curvature import output_jacobian
from sktime_alm.solver.multistart import seed_sequence
from sktime_alm.trainer import Trained, Trainer

# a smaller share of new rows makes an update brief
_SMALL_UPDATE = 0.1
# series that tell the bias of a skip from lags of y
_N_SIMULATED = 100
# so many rows, the last ones, tell how many weights the rows are fitted by
_N_COUNTED = 500
# updates keep so many errors of each number of steps ahead, the last ones
_MOST_ERRORS = 2000
# rows that the scale of a panel counts for where logarithms are taken
_ROWS_OF_SCALE = 5.0


@dataclass(frozen=True, eq=False)
class Pretrained:
    """What a panel has taught: networks in the standardised units of each series.

    ``prior`` is how many rows of a series their readout counts for against its own, ``scales``
    are those of y and X that half of the series exceed, for a series that does not tell its own.
    """

    layout: InputLayout
    trained: Trained
    penalties: Penalties
    errors: Errors
    prior: float
    scales: tuple[Array, Array]
    replays: tuple[Replay, ...] = ()

    def without_rows(self) -> Pretrained:
        """The same without what grows with the rows of the panel, but for the errors."""
        # the states of all rows are many times what a forecast needs
        result = self.trained.result.without_states()
        return replace(self, trained=self.trained._replace(result=result))


@dataclass(frozen=True, eq=False)
class Estimator(Trainer):
    """How networks are fitted to series, to panels, and anew: with their state and errors."""

    interval_method: str

    def fit(
        self,
        series: Series,
        progress: Progress,
        steps: Sequence[int] = (1,),
        previous: Fitted | None = None,
        n_before: int = 0,
    ) -> Fitted:
        """Fit to all rows of a series, up to the last one with a value of y.

        Parameters
        ----------
        series : Series
        progress : Progress
        steps : sequence of int, default=(1,)
            The steps ahead by whose forecasts penalties are chosen.
        previous : Fitted, optional
            Train on from its networks, with its penalties.
        n_before : int, default=0
            Number of rows that it was fitted to.
        """
        self.check(series)
        known = series.until_known
        scalers = self._scalers(known)
        rows = self._rows(known, scalers)
        if previous is not None:
            bounded = self.within_bound(previous.penalties.max_recurrence)
            return bounded._trained_on(series, rows, scalers, progress, previous, n_before)
        penalties = self._choose_penalties(rows, steps, progress, has_mean=True)
        bounded = self.within_bound(penalties.max_recurrence)
        trained = bounded._train(rows, penalties, progress)
        errors = bounded._errors(rows, trained, penalties, progress)
        model = self._model(known, scalers, trained.networks)
        return self._fitted(known, rows, model, trained.result, penalties, errors)

    def _trained_on(
        self,
        series: Series,
        rows: Rows,
        scalers: tuple[Standardizer, Standardizer],
        progress: Progress,
        previous: Fitted,
        n_before: int,
    ) -> Fitted:
        """Trained on from what was fitted to the first rows, with its penalties."""
        penalties, is_brief = previous.penalties, self.is_brief(n_before, len(series.y))
        # the same network: new rows have moved mean and scale
        initial = self._in_units(previous.model, *scalers)
        # networks that were stopped early are not trained to the end by the way
        trained = self._continued(is_brief or penalties.is_mean)._train(
            rows, penalties, progress, initial
        )
        errors = self._training_errors(rows, trained.networks, penalties)
        if previous.errors.is_validated:
            # those of the models that chose the penalties serve on where these are kept
            validated = previous.errors.in_units(previous.model.y_scaler, scalers[0])
            errors = replace(validated, posteriors=errors.posteriors)
        if self.interval_method == "conformal":
            errors = (
                _extended(errors, previous, series, n_before, scalers[0])
                if previous.errors.by_step and is_brief
                else self._calibrated(errors, rows, penalties, progress)
            )
        model = self._model(series, scalers, trained.networks)
        fitted = self._fitted(series, rows, model, trained.result, penalties, errors)
        return fitted.carried_on(series, previous.advanced(series, n_before))

    def is_brief(self, n_before: int, n_rows: int) -> bool:
        """Whether an update brings so few rows that it trains for a few iterations only."""
        return 1.0 - n_before / n_rows <= _SMALL_UPDATE

    def fit_panel(
        self, panel: Sequence[Series], progress: Progress, previous: Pretrained | None = None
    ) -> Pretrained:
        """Train on all series of a panel, each standardised by itself; or train on from before."""
        pieces = [self.rows(series) for series in panel]
        rows = Rows.stacked(pieces)
        if rows.is_observed.sum() < 2:
            raise ValueError(
                f"y must have series of more than {self.layout.context} rows, which the inputs "
                "reach back, with observed values among the others"
            )
        if previous is not None:
            bounded = self.within_bound(previous.penalties.max_recurrence)
            trained = bounded._train(rows, previous.penalties, progress, previous.trained.networks)
            # the errors and the prior of the first panel's models serve on, as in an update
            return replace(previous, trained=trained)
        penalties = self._choose_penalties(rows, (1,), progress)
        bounded = self.within_bound(penalties.max_recurrence)
        trained = bounded._train(rows, penalties, progress)
        # conformal errors are a series' own, of rows that it is adopted with
        errors = replace(bounded, interval_method="bootstrap")._errors(
            rows, trained, penalties, progress
        )
        ends = np.cumsum([0, *(len(piece.inputs) for piece in pieces)])
        prior = choose_prior(rows, self.sigma, ends, penalties.models)
        scales = self._typical_scales(panel)
        found = Pretrained(self.layout, trained, penalties.without_models(), errors, prior, scales)
        replays = replayed(panel, lambda piece: self._adopted(found, piece)[1], self.loss.is_log)
        return replace(found, replays=tuple(replays))

    def _typical_scales(self, panel: Sequence[Series]) -> tuple[Array, Array]:
        """The medians over the series that have a scale; 1 where none has."""
        of_y, of_X = zip(
            *(self._scalers(series, (np.nan, np.nan)) for series in panel), strict=True
        )

        def median(scalers: Sequence[Standardizer]) -> Array:
            scales = np.array([scaler.scale for scaler in scalers])
            return np.nanmedian(np.where(np.isnan(scales).all(axis=0), 1.0, scales), axis=0)

        return median(of_y), median(of_X)

    def adopt(
        self,
        pretrained: Pretrained,
        series: Series,
        previous: Fitted | None = None,
        n_before: int = 0,
    ) -> Fitted:
        """The networks of a panel for a series of its own: its scale, its own readout.

        ``previous`` is what was adopted for its first ``n_before`` rows.
        """
        rows, model = self._adopted(pretrained, series)
        errors = self._errors_of_adopted(pretrained, rows, n_seen(series))
        result = pretrained.trained.result
        fitted = self._fitted(series, rows, model, result, pretrained.penalties, errors)
        if previous is None:
            return fitted
        return fitted.carried_on(series, previous.advanced(series, n_before))

    def _errors_of_adopted(self, pretrained: Pretrained, rows: Rows, n_rows: int) -> Errors:
        """Those of the panel for a series of so many rows; conformal ones of many are its own."""
        errors = errors_after(pretrained.replays, n_rows)
        if errors is None:
            errors = pretrained.errors
            errors = errors.times(excess_after(pretrained.replays, errors, n_rows))
        if self.interval_method != "conformal":
            return errors
        by_step: tuple[Array, ...] = ()
        if errors.runs is None and len(rows.inputs):
            everywhere = np.ones(len(rows.inputs), dtype=bool)
            # the networks have seen none of these rows
            unseen = Origin(~everywhere, everywhere), joined(pretrained.trained.networks)
            found = self._validation.backtest(rows, [unseen], MAX_STEPS)
            by_step = _by_step(*found, errors.scale)
        return replace(errors, by_step=by_step or errors.of_steps())

    def _adopted(self, pretrained: Pretrained, series: Series) -> tuple[Rows, Model]:
        """The rows of a series, and the networks of a panel as its own."""
        y_scaler, X_scaler = self._scalers(series, pretrained.scales)
        if self.loss.is_log:
            # logarithms have no unit: what few rows do not tell, other series do
            weight = _ROWS_OF_SCALE / (_ROWS_OF_SCALE + n_seen(series))
            y_scaler = y_scaler.towards(pretrained.scales[0], weight)
        scalers = y_scaler, X_scaler
        rows = self._rows(series, scalers)
        networks = tuple(
            own_readout(network, self.sigma, rows, pretrained.prior)
            for network in pretrained.trained.networks
        )
        return rows, self._model(series, scalers, networks)

    def _model(
        self,
        series: Series,
        scalers: tuple[Standardizer, Standardizer],
        networks: tuple[ElmanParameters, ...],
    ) -> Model:
        bounds = bounds_of(extent_of(scalers[0].transform(series.y)), scalers[0].is_log)
        return Model(self.layout, self.sigma, *scalers, networks, bounds)

    def _scalers(
        self, series: Series, of_constant: tuple[float | Array, float | Array] = (1.0, 1.0)
    ) -> tuple[Standardizer, Standardizer]:
        """Of y, or its logarithms, and of X."""
        return (
            Standardizer.fit(series.y, self.loss.is_log, of_constant[0]),
            Standardizer.fit(series.X, of_constant=of_constant[1]),
        )

    def rows(self, series: Series) -> Rows:
        """What networks are trained on, standardised by the series itself."""
        return self._rows(series, self._scalers(series))

    def _rows(self, series: Series, scalers: tuple[Standardizer, Standardizer]) -> Rows:
        return Rows.of(self.layout, series, *scalers, self.loss)

    def _fitted(
        self,
        series: Series,
        rows: Rows,
        model: Model,
        result: ALMResult,
        penalties: Penalties,
        errors: Errors,
    ) -> Fitted:
        networks, y_scaler = model.networks, model.y_scaler
        spread = np.full(series.y.shape[1], np.nan)
        outputs: list[Array] = []
        if len(rows.inputs) and (self.loss.is_log or len(networks) > 1):
            outputs = [self._validation.outputs(network, rows)[0] for network in networks]
        # of one network there is no telling
        if len(outputs) > 1:
            spread = combined_spread(outputs)
        extent = extent_of(y_scaler.transform(series.y))
        level = None
        if self.loss.is_log and rows.is_observed.any():
            seen = rows.is_observed
            level = Level.of(rows.targets[seen], model.combined(outputs)[seen], y_scaler.scale)
        # intervals do not depend on how often they are asked for: their seed is drawn here
        seed = int(seed_sequence(self.random_state).generate_state(1, np.uint64)[0])
        return Fitted(
            model,
            last_states(model, series),
            result,
            penalties.without_models(),
            spread * y_scaler.scale,
            errors,
            seed,
            extent,
            np.tile(NOMINAL[:, None], series.y.shape[1]),
            level,
        )

    def check(self, series: Series) -> None:
        """Refuse too few rows; those missing at the end are none."""
        layout, n_given, series = self.layout, len(series.y), series.until_known
        n_rows = len(series.y)
        found = f"found {n_rows}"
        if n_rows < n_given:
            found += f" before {n_given - n_rows} missing"
        # with one row there is no scale
        full, _ = full_rows(layout.context, series)
        if len(full) < 2:
            name = layout.longest()
            where = " in one piece" if len(series.starts) > 1 else ""
            raise ValueError(
                f"y must have at least {name} + 2 = {layout.context + 2} rows{where}, "
                f"{found}; {name} reaches {layout.context} rows back"
            )
        if np.isnan(series.y[full]).any(axis=1).all():
            raise ValueError(
                "y must be observed, all columns at once, in some row after the first "
                f"{layout.context}, which only serve as inputs"
            )
        n_needed = 3 * MIN_ERRORS
        if self.interval_method == "conformal" and len(full) < n_needed:
            raise ValueError(
                f"y must have at least {layout.context + n_needed} rows for "
                f"interval_method='conformal', which calibrates on {MIN_ERRORS} errors or more, "
                f"{found}"
            )

    def _errors(
        self, rows: Rows, trained: Trained, penalties: Penalties, progress: Progress
    ) -> Errors:
        """What the rows say about the errors of forecasts."""
        errors = self._training_errors(rows, trained.networks, penalties)
        if penalties.models:
            validated = self._validation.errors(rows, penalties.models)
            # of one error there is no distribution
            if len(validated.one_step) > 1:
                errors = replace(validated, posteriors=errors.posteriors)
        if self.interval_method != "conformal":
            return errors
        return self._calibrated(errors, rows, penalties, progress)

    def _calibrated(
        self, errors: Errors, rows: Rows, penalties: Penalties, progress: Progress
    ) -> Errors:
        """With the errors of each number of steps ahead, of models that had not seen the rows."""
        models = penalties.models or tuple(self._calibration_models(rows, penalties, progress))
        found, forecasts = (
            self._validation.backtest(rows, models, MAX_STEPS) if models else ([], [])
        )
        if not found or len(found[0]) < MIN_ERRORS:
            raise ValueError(
                f"interval_method='conformal' needs {MIN_ERRORS} observed rows or more to "
                "calibrate on, after those that it trains on"
            )
        scale = Scale.fit(forecasts[0], found[0])
        return replace(errors, scale=scale, by_step=_by_step(found, forecasts, scale))

    def _training_errors(
        self, rows: Rows, networks: Sequence[ElmanParameters], penalties: Penalties
    ) -> Errors:
        pairs = [self._validation.outputs(network, rows) for network in networks]
        n_inputs = rows.inputs.shape[1] if self.linear_skip else 0
        direct = np.hstack([rows.inputs[:, :n_inputs], np.ones((len(rows.inputs), 1))])
        # of a regression alone the penalty of hidden units does not matter
        alpha = penalties.alpha if np.isfinite(penalties.alpha) else 1.0
        regularization = self.penalties_of(rows, alpha, penalties.skip_alpha)
        l2 = regularization.of_readout(self.hidden_size, n_inputs)
        outputs = np.mean([pair[0] for pair in pairs], axis=0)
        outputs, targets = outputs[rows.is_observed], rows.targets[rows.is_observed]
        p, posteriors = [], []
        for network, (_, states) in zip(networks, pairs, strict=True):
            Z = np.hstack([states, direct])[rows.is_observed]
            n_hidden = self._parameters_of_hidden_layer(rows, network, Z, regularization)
            p.append(effective_parameters(Z, l2) + n_hidden)
            posteriors.append(self._posterior(rows, network, Z, l2, n_hidden))
        # a mean of networks has the mean of their degrees of freedom
        n_fitted, is_centred = float(np.mean(p)), not self.loss.is_log
        one_step = as_new_errors(targets - outputs, n_fitted, is_centred)
        scale = Scale.fit(outputs, one_step)
        return Errors(
            one_step / scale.of(outputs),
            np.ones((1, targets.shape[1])),
            scale,
            posteriors=tuple(posteriors) if any(one.share for one in posteriors) else (),
        )

    def _parameters_of_hidden_layer(
        self, rows: Rows, network: ElmanParameters, Z: Array, regularization: Regularization
    ) -> float:
        """Degrees of freedom that a network has taken beside those of its readout, an output."""
        if not network.A.any():
            return 0.0
        # the last rows, since the derivatives of all would fill memory
        Z, observed = Z[-_N_COUNTED:], np.flatnonzero(rows.is_observed)[-_N_COUNTED:]
        last = rows.among(np.arange(len(rows.inputs)) >= observed[0])
        problem, m = self.problem(last, regularization), network.n_outputs
        of_hidden_layer = output_jacobian(problem, network, observed - observed[0])
        J = np.hstack([of_hidden_layer.reshape(len(Z) * m, -1), np.kron(Z, np.eye(m))])
        l2 = regularization.of_readout(self.hidden_size, Z.shape[1] - self.hidden_size - 1)
        l2_hidden = regularization.of_hidden_layer(problem.n_inputs, self.hidden_size)
        of_all = np.concatenate([np.tile(l2_hidden, self.hidden_size), np.repeat(l2, m)])
        # the objective is a mean over rows, J has one row for each of their outputs
        return effective_parameters(J, of_all / m) / m - effective_parameters(Z, l2)

    def _posterior(
        self, rows: Rows, network: ElmanParameters, Z: Array, l2: Array, n_hidden: float
    ) -> Posterior:
        """What the rows leave unknown about a network's readout."""
        is_skip = np.zeros(len(l2), dtype=bool)
        is_skip[self.hidden_size : -1] = True
        light = lightest(Z, l2, is_skip)
        posterior = Posterior.of(
            Z, light, network.readout, rows.targets[rows.is_observed], n_hidden
        )
        if posterior.share == 0.0 or self.layout.memory == 0 or not self.linear_skip:
            return posterior
        found = with_changed_readout(network, posterior.shift)
        noise = posterior.noise(len(rows.inputs), _N_SIMULATED)
        bias = bias_of_skip(self.layout, self.sigma, found, rows, light, noise)
        return posterior.corrected(bias, Z)

    def _calibration_models(
        self, rows: Rows, penalties: Penalties, progress: Progress
    ) -> Iterator[ValidationModel]:
        """Models trained alike on the rows before some of them."""
        for origin in make_origins(NETWORK_ORIGINS, rows):
            trained = self._train(rows.among(origin.kept), penalties, progress.quietly())
            yield origin, joined(trained.networks)


def _by_step(
    errors: Sequence[Array], forecasts: Sequence[Array], scale: Scale
) -> tuple[Array, ...]:
    """Errors of the first steps in units of their scale, as long as there are enough of them."""
    pairs = zip(errors, forecasts, strict=True)
    enough = takewhile(lambda pair: len(pair[0]) >= MIN_ERRORS, pairs)
    return tuple(of_step / scale.of(forecast) for of_step, forecast in enough)


def _extended(
    errors: Errors, previous: Fitted, series: Series, n_before: int, y_scaler: Standardizer
) -> Errors:
    """With the errors of each number of steps ahead of before, and those on the new rows."""
    before, units = previous.errors, (previous.model.y_scaler, y_scaler)
    found, forecasts = previous.new_errors(series, n_before, len(before.by_step))
    by_step = tuple(
        np.vstack([of_step, new / before.scale.of(forecast)])[-_MOST_ERRORS:]
        for of_step, new, forecast in zip(before.by_step, found, forecasts, strict=True)
    )
    kept = replace(before, by_step=by_step).in_units(*units)
    return replace(errors, scale=kept.scale, by_step=kept.by_step)
