"""From standardised rows to networks: penalties, starts, early stopping, ensembles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from sktime_alm.features import InputLayout, Standardizer
from sktime_alm.intervals import (
    Situation,
    as_new_errors,
    effective_parameters,
    forecast_errors,
    path_variances,
    situations,
    stretch_factors,
)
from sktime_alm.model import COMBINATIONS, Model, bounds_of
from sktime_alm.selection import (
    NETWORK_ORIGINS,
    SKIP_ORIGINS,
    Candidate,
    Judge,
    Losses,
    Origin,
    choose_alpha,
    choose_skip_alpha,
    is_enough,
    make_origins,
    ridge,
    starts_within,
)
from sktime_alm.solver import ALMResult, ElmanParameters, Regularization, Status, train
from sktime_alm.solver._typing import Array, BoolArray, IntArray
from sktime_alm.solver.activations import Activation
from sktime_alm.solver.network import rollout
from sktime_alm.solver.result import Callback

# the largest spectral norm of W of the safeguarded method: the state forgets within a few
# hundred steps
_MAX_RECURRENCE = 0.98
# where rows are too few for a choice: hardly any shrinkage, as the fewest rows call for no more
_LIGHT_SKIP_PENALTY = 1e-4
# the steps at which paths are held against errors, and the rows and paths this is done with
_N_STRETCHED, _N_SAMPLED, _N_PATHS = 24, 5, 200


class Rows(NamedTuple):
    """What networks are trained on: sequences of standardised rows laid end to end.

    Attributes
    ----------
    inputs : array of shape (T, n)
    targets : array of shape (T, m)
        NaN where missing.
    starts : tuple of int
        First rows of the sequences.
    position : array of shape (T,)
        The place of a row in its series, from above 0 to 1.
    previous : array of shape (T, m)
        The last targets seen before the row; NaN if there are none.
    """

    inputs: Array
    targets: Array
    starts: tuple[int, ...]
    position: Array
    previous: Array

    @classmethod
    def stacked(cls, pieces: Sequence[Rows]) -> Rows:
        """The rows of several series."""
        offsets = np.cumsum([0, *(len(piece.inputs) for piece in pieces[:-1])])
        starts = [
            int(offset) + start
            for offset, piece in zip(offsets, pieces, strict=True)
            for start in piece.starts
        ]
        inputs, targets, _, position, previous = zip(*pieces, strict=True)
        arrays = np.vstack(inputs), np.vstack(targets)
        return cls(*arrays, tuple(starts), np.concatenate(position), np.vstack(previous))

    @property
    def is_observed(self) -> BoolArray:
        """Whether no target of a row is missing."""
        return np.asarray(~np.isnan(self.targets).any(axis=1))

    @property
    def place(self) -> IntArray:
        """Number of rows before a row in its sequence."""
        row = np.arange(len(self.inputs))
        sequence = np.searchsorted(self.starts, row, side="right") - 1
        return np.asarray(row - np.asarray(self.starts)[sequence])


class Penalties(NamedTuple):
    """The strengths of the penalties, what was tried to find them, and the models of the best.

    ``judges`` were each trained on the rows before an origin; there are none where nothing was
    chosen.
    """

    alpha: float
    skip_alpha: float
    path: tuple[Candidate, ...] = ()
    judges: tuple[Judge, ...] = ()


class Fit(NamedTuple):
    """The outcome of a training, in standardised units.

    Attributes
    ----------
    result : ALMResult
        That of the best network.
    networks : tuple of ElmanParameters
        Those that forecast.
    spread : array of shape (m,)
        How much the starts differ; NaN with a single one.
    errors : array of shape (n, m)
        Errors one step ahead, as large as those on new rows.
    stretch : array of shape (n_steps, m)
        How much wider than simulated paths the errors so many steps ahead are; the last row
        stands for all further steps.
    """

    result: ALMResult
    networks: tuple[ElmanParameters, ...]
    spread: Array
    errors: Array
    stretch: Array


@dataclass(frozen=True)
class Trainer:
    """How networks are trained; the attributes are arguments of the forecaster.

    ``options`` holds those that only :func:`sktime_alm.solver.train` needs.
    """

    layout: InputLayout
    sigma: Activation
    hidden_size: int
    linear_skip: bool
    n_init: int
    ensemble: str | None
    held_out_share: float
    n_iter_no_change: int
    random_state: Any
    method: str
    options: Mapping[str, Any]

    def choose_penalties(
        self,
        rows: Rows,
        alpha: float | str,
        skip_alpha: float | str,
        rule: str,
        steps: Sequence[int],
    ) -> Penalties:
        """Replace "auto" by what forecasts best within the rows.

        ``steps`` are those that the forecasts are judged by.
        """
        path: tuple[Candidate, ...] = ()
        judges: tuple[Judge, ...] = ()
        data = rows.position, rows.starts, rows.is_observed
        origins = make_origins(SKIP_ORIGINS, *data)
        if not self.linear_skip:
            skip_alpha = np.nan
        elif skip_alpha == "auto" and origins:
            losses = self._losses(rows, self._judged(rows, origins, steps))
            choice = choose_skip_alpha(
                rows.inputs, rows.targets, rows.previous, origins, self.hidden_size, losses
            )
            skip_alpha, path = choice.strength, choice.candidates
            judges = choice.judges
        elif skip_alpha == "auto":
            skip_alpha = _LIGHT_SKIP_PENALTY * rows.inputs.shape[1] * rows.targets.shape[1]
        origins = make_origins(NETWORK_ORIGINS, *data)
        if alpha == "auto" and origins and is_enough(int(rows.is_observed.sum())):
            choice = choose_alpha(
                rows.inputs,
                rows.targets,
                origins,
                self._losses(rows, self._judged(rows, origins, steps)),
                rule,
                hidden_size=self.hidden_size,
                skip_alpha=float(skip_alpha) if self.linear_skip else None,
                random_state=self.random_state,
                **self._options,
            )
            alpha, path = choice.strength, path + choice.candidates
            # trained on more rows than those of the skip, they are more like the final model
            judges = choice.judges
        elif alpha == "auto":
            alpha = np.inf if self.linear_skip else 1.0
        else:
            # the regressions say nothing about the errors of a network
            judges = judges if np.isinf(float(alpha)) else ()
        return Penalties(float(alpha), float(skip_alpha), path, judges)

    def train(
        self,
        rows: Rows,
        penalties: Penalties,
        initial: Sequence[ElmanParameters] | None,
        callback: Callback | None = None,
    ) -> Fit:
        """Train from random starts, or from the networks of an earlier fit."""
        arguments: dict[str, Any] = {
            "hidden_size": self.hidden_size,
            "alpha": penalties.alpha,
            "random_state": self.random_state,
            "n_init": self.n_init,
            "callback": callback,
            "linear_skip": self.linear_skip,
            "skip_alpha": penalties.skip_alpha if self.linear_skip else 0.0,
            **self._options,
        }
        first = initial
        if penalties.alpha == np.inf:
            # no penalty is without bounds: the regression alone, at which training rests
            arguments |= {"alpha": 1.0, "method": "safeguarded"}
            skip_alpha = arguments["skip_alpha"]
            first = [ridge(rows.inputs, rows.targets, self.hidden_size, skip_alpha)]
        kept = np.ones(len(rows.inputs), dtype=bool)
        if self.held_out_share > 0.0 and np.isfinite(penalties.alpha):
            kept = rows.position <= 1.0 - self.held_out_share
            arguments |= self._early_stopping(rows, kept)
            # fewer rows are penalised as much more
            arguments["alpha"] /= kept.mean()
            arguments["skip_alpha"] /= kept.mean()
        data = rows.inputs[kept], rows.targets[kept]
        starts = starts_within(rows.starts, kept)
        if first is None:
            results = [train(*data, starts=starts, **arguments)]
        else:
            results = []
            for start in first:
                results.append(train(*data, starts=starts, initial=start, **arguments))
                if results[-1].status is Status.INTERRUPTED:
                    break
        return self._chosen(rows, results, penalties)

    @property
    def _options(self) -> dict[str, Any]:
        limit = _MAX_RECURRENCE if self.method == "safeguarded" else np.inf
        options = {"activation": self.sigma, "method": self.method, "max_recurrence": limit}
        return {**options, **self.options}

    def _early_stopping(self, rows: Rows, kept: BoolArray) -> dict[str, Any]:
        """Settings that stop training by the loss on the rows not kept."""
        held_out, kept = ~kept & rows.is_observed, kept & rows.is_observed
        if not held_out.any() or not kept.any():
            raise ValueError(
                "early_stopping needs observed rows both to train on and to hold out, found "
                f"{kept.sum()} and {held_out.sum()}"
            )

        def held_out_loss(network: ElmanParameters) -> float:
            errors = (rows.targets - self._outputs(network, rows)[0])[held_out]
            return float(np.mean(errors**2))

        return {"held_out_loss": held_out_loss, "patience": self.n_iter_no_change}

    def _chosen(self, rows: Rows, results: Sequence[ALMResult], penalties: Penalties) -> Fit:
        """The best network, those that forecast, and their errors."""
        # the last outcome of a training with a linear skip is the regression: no start
        drawn = [
            start.parameters
            for result in results
            for start in (result.starts[:-1] if self.linear_skip else result.starts)
            if start.parameters is not None
        ]
        best = min(results, key=self._rank)
        best = replace(best, starts=tuple(start for result in results for start in result.starts))
        if any(result.status is Status.INTERRUPTED for result in results):
            best = replace(best, status=Status.INTERRUPTED)
        networks: tuple[ElmanParameters, ...] = (best.parameters,)
        if self.ensemble is not None and np.isfinite(penalties.alpha):
            networks = tuple(drawn)
        outputs = [self._outputs(network, rows)[0] for network in drawn]
        spread = np.full(rows.targets.shape[1], np.nan)
        if len(outputs) > 1:
            spread = np.sqrt(np.mean(np.var(outputs, axis=0), axis=0))
        if penalties.judges:
            errors, stretch = self._errors_of_judges(rows, penalties.judges)
        else:
            errors = self._training_errors(rows, networks, penalties)
            stretch = np.ones((1, rows.targets.shape[1]))
        return Fit(best, networks, spread, errors, stretch)

    def _rank(self, result: ALMResult) -> float:
        losses = [start.held_out_loss for start in result.starts]
        return result.objective if np.isnan(losses[0]) else min(losses)

    def _outputs(self, network: ElmanParameters, rows: Rows) -> tuple[Array, Array]:
        h = rollout(network, self.sigma, rows.inputs, rows.starts)[1]
        return network.outputs(h, rows.inputs), h

    def _training_errors(
        self, rows: Rows, networks: Sequence[ElmanParameters], penalties: Penalties
    ) -> Array:
        pairs = [self._outputs(network, rows) for network in networks]
        n_inputs = rows.inputs.shape[1] if self.linear_skip else 0
        ones = np.ones((len(rows.inputs), 1))
        Z = np.hstack([pairs[0][1], rows.inputs[:, :n_inputs], ones])[rows.is_observed]
        shape = rows.inputs.shape[1], self.hidden_size, rows.targets.shape[1]
        is_network = np.isfinite(penalties.alpha)
        l2 = Regularization.scaled(
            penalties.alpha if is_network else 1.0,
            *shape,
            skip_alpha=penalties.skip_alpha if self.linear_skip else None,
        ).of_readout(self.hidden_size, n_inputs)
        outputs = COMBINATIONS[self.ensemble or "mean"]([pair[0] for pair in pairs], axis=0)
        errors = (rows.targets - outputs)[rows.is_observed]
        return as_new_errors(errors, effective_parameters(Z, l2))

    def _has_lags(self, rows: Rows) -> BoolArray:
        """Whether all lags of a row, and the state before it, come from the rows."""
        return np.asarray(rows.place >= max(self.layout.memory, 1))

    def _judged(
        self, rows: Rows, origins: Sequence[Origin], steps: Sequence[int]
    ) -> tuple[int, ...]:
        """The steps that some forecast within the rows can be judged by; 1 if there are none."""
        is_first = self._has_lags(rows) & np.any([o.following for o in origins], axis=0)
        place, observed = rows.place, np.flatnonzero(rows.is_observed)

        def is_judged(step: int) -> bool:
            last = observed[place[observed] >= step - 1]
            return bool(is_first[last - (step - 1)].any())

        return tuple(step for step in steps if is_judged(step)) or (1,)

    def judges_of(self, rows: Rows, penalties: Penalties) -> tuple[Judge, ...]:
        """The models that chose the penalties; where these were given, models trained alike."""
        if penalties.judges:
            return penalties.judges
        alone = replace(self, n_init=1, ensemble=None, held_out_share=0.0)
        judges = []
        for origin in make_origins(NETWORK_ORIGINS, rows.position, rows.starts, rows.is_observed):
            before = Rows(
                rows.inputs[origin.rows],
                rows.targets[origin.rows],
                origin.starts,
                rows.position[origin.rows],
                rows.previous[origin.rows],
            )
            share = origin.share
            raised = Penalties(penalties.alpha / share, penalties.skip_alpha / share)
            judges.append((origin, alone.train(before, raised, None).networks[0]))
        return tuple(judges)

    def errors_by_step(self, rows: Rows, judges: Sequence[Judge], n_steps: int) -> list[Array]:
        """Errors of each number of steps ahead, of forecasts from the rows after an origin."""
        errors = [
            forecast_errors(*self._situations(judge, rows, n_steps), n_steps) for judge in judges
        ]
        return [np.concatenate(of_step) for of_step in zip(*errors, strict=True)]

    def _errors_of_judges(self, rows: Rows, judges: Sequence[Judge]) -> tuple[Array, Array]:
        """Errors one step ahead; how much more than paths made with them further ones spread."""
        of_origins = [
            (rows.targets - self._outputs(network, rows)[0])[origin.following]
            for origin, network in judges
        ]
        errors = np.concatenate(of_origins)
        errors -= errors.mean(axis=0)
        variances = [
            variance
            for judge in judges
            for variance in path_variances(
                *self._situations(judge, rows, _N_STRETCHED, _N_SAMPLED), errors, _N_PATHS
            )
        ]
        return errors, stretch_factors(self.errors_by_step(rows, judges, _N_STRETCHED), variances)

    def _situations(
        self, judge: Judge, rows: Rows, n_steps: int, n_sampled: int | None = None
    ) -> tuple[Model, Iterator[Situation]]:
        """Those of the rows after an origin, or of some of them, and the judge as a model."""
        origin, network = judge
        first = np.flatnonzero(origin.following & self._has_lags(rows))
        if n_sampled is not None:
            first = first[:: max(len(first) // n_sampled, 1)]
        n_outputs = rows.targets.shape[1]
        units = Standardizer.identity(n_outputs), Standardizer.identity(0)
        bounds = bounds_of(rows.targets)
        model = Model(self.layout, self.sigma, *units, (network,), "mean", bounds)
        states = model.states(rows.inputs, rows.starts)
        exogenous = rows.inputs[:, self.layout.n_from_y(n_outputs) :]
        return model, situations(
            model, states, rows.targets, exogenous, rows.starts, first, n_steps
        )

    def _losses(self, rows: Rows, steps: Sequence[int]) -> Losses:
        """Squared errors of a judge's forecasts of the rows after its origin, so far ahead."""

        def one_step(judge: Judge) -> Array:
            origin, network = judge
            # a network that runs away is as bad as can be, not an error
            with np.errstate(all="ignore"):
                errors = (rows.targets - self._outputs(network, rows)[0])[origin.following]
                return np.nan_to_num((errors**2).mean(axis=1), nan=np.inf)

        def several_steps(judge: Judge) -> Array:
            errors = self.errors_by_step(rows, [judge], max(steps))
            return np.concatenate([(errors[step - 1] ** 2).mean(axis=1) for step in steps])

        return one_step if tuple(steps) == (1,) else several_steps
