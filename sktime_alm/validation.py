"""How well validation models forecast the rows after their origins: losses and errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sktime_alm.inputs import InputLayout, Rows
from sktime_alm.intervals import (
    Errors,
    Scale,
    Situation,
    forecast_errors,
    path_variances,
    situations,
    stretch_factors,
)
from sktime_alm.model import Model, bounds_of
from sktime_alm.penalties import Losses, Origin, ValidationModel
from sktime_alm.scalers import Standardizer
from sktime_alm.solver import ElmanParameters
from sktime_alm.solver._typing import Array, BoolArray
from sktime_alm.solver.activations import Activation
from sktime_alm.solver.network import rollout

# the steps at which paths are held against errors, and the rows and paths this is done with
_N_STRETCHED, _N_SAMPLED, _N_PATHS = 24, 5, 200
# errors of so many forecasts from each origin say how wide intervals are
_N_CALIBRATED = 400


@dataclass(frozen=True, eq=False)
class Validation:
    """Forecasts within standardised rows, by networks of this layout and activation."""

    layout: InputLayout
    sigma: Activation

    def errors(self, rows: Rows, models: Sequence[ValidationModel]) -> Errors:
        """Errors one step ahead; how much more than paths made with them further ones spread."""
        outputs = [self.outputs(network, rows)[0][origin.following] for origin, network in models]
        forecasts = np.concatenate(outputs)
        actual = np.concatenate([rows.targets[origin.following] for origin, _ in models])
        errors = actual - forecasts
        if not rows.loss.is_log:
            # a loss of logarithms is right in the mean of y, not of its logarithm
            errors -= errors.mean(axis=0)
        scale, stretch = Scale.fit(forecasts, errors), np.ones((1, errors.shape[1]))
        if self.layout.memory > 0:
            variances = [
                variance
                for model in models
                for variance in path_variances(
                    *self._situations(model, rows, _N_STRETCHED, _N_SAMPLED), errors, _N_PATHS
                )
            ]
            stretch = stretch_factors(self.backtest(rows, models, _N_STRETCHED)[0], variances)
        # without lags of y forecasts do not enter the inputs: the errors are those of any step
        return Errors(errors / scale.of(forecasts), stretch, scale, is_validated=True)

    def backtest(
        self, rows: Rows, models: Sequence[ValidationModel], n_steps: int
    ) -> tuple[list[Array], list[Array]]:
        """Errors of each number of steps ahead, and the forecasts, from the rows after origins."""
        pairs = [
            forecast_errors(*self._situations(model, rows, n_steps, _N_CALIBRATED), n_steps)
            for model in models
        ]
        errors, forecasts = (
            [np.concatenate(of_step) for of_step in zip(*of_models, strict=True)]
            for of_models in zip(*pairs, strict=True)
        )
        return errors, forecasts

    def _situations(
        self, validation: ValidationModel, rows: Rows, n_steps: int, n_sampled: int | None = None
    ) -> tuple[Model, Iterator[Situation]]:
        """Those of the rows after an origin, or of some of them, and the network as a model."""
        origin, network = validation
        first = np.flatnonzero(origin.following & self._has_lags(rows))
        if n_sampled is not None:
            first = first[:: max(len(first) // n_sampled, 1)]
        n_outputs = rows.targets.shape[1]
        units = Standardizer.identity(n_outputs), Standardizer.identity(0)
        bounds = bounds_of(rows.targets, rows.loss.is_log)
        model = Model(self.layout, self.sigma, *units, (network,), bounds)
        states = model.states(rows.inputs, rows.starts)
        exogenous = rows.inputs[:, self.layout.n_from_y(n_outputs) :]
        return model, situations(
            model, states, rows.targets, exogenous, rows.starts, first, n_steps
        )

    def outputs(self, network: ElmanParameters, rows: Rows) -> tuple[Array, Array]:
        """Forecasts of the rows, one step ahead each, and their hidden states."""
        h = rollout(network, self.sigma, rows.inputs, rows.starts)[1]
        return network.outputs(h, rows.inputs), h

    def _has_lags(self, rows: Rows) -> BoolArray:
        """Whether the lags that a row must have, and the state before it, come from the rows."""
        return np.asarray(rows.place >= max(self.layout.least_memory, 1))

    def steps_within(
        self, rows: Rows, origins: Sequence[Origin], steps: Sequence[int]
    ) -> tuple[int, ...]:
        """The steps that some forecast within the rows can be held to; 1 if there are none."""
        if self.layout.memory == 0:
            # without y among the inputs the errors so many steps ahead are those of one step
            return (1,)
        is_first = self._has_lags(rows) & np.any([o.following for o in origins], axis=0)
        place, observed = rows.place, np.flatnonzero(rows.is_observed)

        def can_be(step: int) -> bool:
            last = observed[place[observed] >= step - 1]
            return bool(is_first[last - (step - 1)].any())

        return tuple(step for step in steps if can_be(step)) or (1,)

    def losses(self, rows: Rows, steps: Sequence[int]) -> Losses:
        """Losses of a model's forecasts of the rows after its origin, so far ahead, by output.

        They are in the order of time, so that those alike are next to one another.
        """
        m = rows.targets.shape[1]

        def one_step(model: ValidationModel) -> Array:
            origin, network = model
            # a network that runs away is as bad as can be, not an error
            with np.errstate(all="ignore"):
                losses = rows.datafit.value(rows.targets, self.outputs(network, rows)[0])
                found = np.nan_to_num(losses[origin.following] / m, nan=np.inf)
            # those of one time next to one another, also in a panel
            return found[np.argsort(rows.position[origin.following], kind="stable")]

        def several_steps(model: ValidationModel) -> Array:
            errors, _ = self.backtest(rows, [model], max(steps))
            of_series = rows.loss.in_units(rows.scale[:1])
            found = [of_series.value(errors[s - 1], 0.0 * errors[s - 1]) / m for s in steps]
            places = np.concatenate([np.arange(len(of_step)) for of_step in found])
            return np.concatenate(found)[np.argsort(places, kind="stable")]

        return one_step if tuple(steps) == (1,) else several_steps
