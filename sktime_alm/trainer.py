"""How networks are trained: their penalties are chosen, their starts drawn, and they are solved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sktime_alm.alpha_path import AlphaPath, Point, drawn
from sktime_alm.averaging import average, not_failed
from sktime_alm.inputs import InputLayout, Rows
from sktime_alm.model import Model
from sktime_alm.penalties import (
    NETWORK_ORIGINS,
    SKIP_ORIGINS,
    Losses,
    Origin,
    Penalties,
    choose_skip_alpha,
    is_enough,
    make_origins,
)
from sktime_alm.progress import Progress
from sktime_alm.regression import ridge, strengths_of_mean
from sktime_alm.scalers import Standardizer, change_units
from sktime_alm.solver import (
    ALMResult,
    ALMSettings,
    ElmanParameters,
    ElmanProblem,
    Regularization,
    SafeguardedSettings,
    Status,
    solve,
    train,
)
from sktime_alm.solver._typing import Array
from sktime_alm.solver.activations import Activation
from sktime_alm.solver.datafits import Datafit, Squared
from sktime_alm.solver.readout import solve_readout
from sktime_alm.validation import Validation

Method = SafeguardedSettings | ALMSettings
_Trainer = TypeVar("_Trainer", bound="Trainer")
# where rows are too few for a choice: hardly any shrinkage, as the fewest rows call for no more,
# but much of it, in rows of prior a row, where so few or fewer would be interpolated
_LIGHT_SKIP_PENALTY, _HEAVY_SKIP_PENALTY, _TOO_FEW = 1e-3, 10.0, 5
# a path is for comparison: its fits need not be as exact as the last one
_PATH_ITERATIONS = 5
# so many of them make a mean
_N_DRAWN = 6
# The bound on the recurrence, unless it was given, makes way for a looser one where that leaves
# such a share of the loss: it keeps simulations of what it does not suit, as a light damping, at
# twice the error or more, and networks of noisy rows from what they would do elsewhere.
_LOOSE_BOUND, _MUCH_LESS = 1.2, 0.25
# a norm of such a share of the bound is at it
_AT_BOUND = 0.99
# a descent alone, without what the default method does at its end to gain a little more
_PLAIN = {"active_set": False, "n_relaxations": 0}
# an update by few rows goes on for so many outer iterations at most: the networks hardly change,
# and the next one goes on from there
_BRIEF_ITERATIONS = 3


class Trained(NamedTuple):
    """The best result, and the networks that forecast, in standardised units."""

    result: ALMResult
    networks: tuple[ElmanParameters, ...]


@dataclass(frozen=True, eq=False)
class Trainer:
    """How networks are trained; the attributes are arguments of the forecaster.

    ``is_bound_given`` tells that ``settings`` have the bound on the recurrence from the user.
    """

    layout: InputLayout
    sigma: Activation
    hidden_size: int
    alpha: float | str
    skip_alpha: float | str
    n_init: int
    random_state: Any
    n_jobs: int | None
    settings: Method
    is_bound_given: bool
    loss: Datafit

    @property
    def linear_skip(self) -> bool:
        """Whether the outputs have the term D x, which an infinite penalty leaves out."""
        return self.skip_alpha != np.inf

    @property
    def _validation(self) -> Validation:
        return Validation(self.layout, self.sigma)

    def _choose_penalties(
        self, rows: Rows, steps: Sequence[int], progress: Progress, has_mean: bool = False
    ) -> Penalties:
        """Replace "auto" by what forecasts best within the rows, so many steps ahead."""
        chosen, validation = self._choose_skip_alpha(rows, steps), self._validation
        if self.alpha != "auto":
            # the regressions say nothing about the errors of a network
            models = chosen.models if self.alpha == np.inf else ()
            return chosen._replace(alpha=float(self.alpha), models=models)
        origins = make_origins(NETWORK_ORIGINS, rows)
        if not (origins and is_enough(rows)):
            return chosen if self.linear_skip else chosen._replace(alpha=1.0)
        losses = validation.losses(rows, validation.steps_within(rows, origins, steps))
        skip_alpha = chosen.skip_alpha if self.linear_skip else None
        judged = rows, origins, losses
        path, bound = self._along_path(*judged, skip_alpha, progress, has_mean), None
        if self._may_loosen(path.least):
            trainer = self.within_bound(_LOOSE_BOUND)
            looser = trainer._along_path(*judged, skip_alpha, progress, has_mean)
            if looser.least.loss < _MUCH_LESS * path.least.loss:
                path, bound = looser, _LOOSE_BOUND
        network = path.choose()
        # trained on more rows than those of the skip, its models are more like the final one
        return network._replace(path=chosen.path + network.path, max_recurrence=bound)

    def _choose_skip_alpha(self, rows: Rows, steps: Sequence[int]) -> Penalties:
        """The penalty of D, with what regressions show; no network is in them yet."""
        none = Penalties(np.inf, np.nan)
        if not self.linear_skip:
            return none
        if self.skip_alpha != "auto":
            return none._replace(skip_alpha=float(self.skip_alpha))
        n_rows, n_weights = int(rows.is_observed.sum()), rows.inputs.shape[1] + 1
        if n_rows <= min(n_weights, _TOO_FEW):
            return none._replace(skip_alpha=_HEAVY_SKIP_PENALTY * n_rows)
        origins, validation = make_origins(SKIP_ORIGINS, rows), self._validation
        if not origins:
            return none._replace(skip_alpha=_LIGHT_SKIP_PENALTY)
        losses = validation.losses(rows, validation.steps_within(rows, origins, steps))
        return choose_skip_alpha(rows, origins, self.hidden_size, losses)

    def _along_path(
        self,
        rows: Rows,
        origins: Sequence[Origin],
        losses: Losses,
        skip_alpha: float | None,
        progress: Progress,
        has_mean: bool,
    ) -> AlphaPath:
        """Networks at one strength after the other, judged by their forecasts."""
        return AlphaPath(
            rows,
            origins,
            losses,
            self._path_trainer(progress, is_brief=True),
            self._path_trainer(progress),
            self._states,
            partial(self._draw, progress) if has_mean else None,
            self.hidden_size,
            skip_alpha,
            self.random_state,
        )

    def _may_loosen(self, least: Point) -> bool:
        """Whether it may be the bound on the recurrence that keeps networks from their minimum."""
        is_simulation = self.layout.memory == 0 and isinstance(self.loss, Squared)
        if self.is_bound_given or not is_simulation or least.weight == 0.0:
            return False
        return bool(
            np.linalg.norm(least.networks[-1].W, 2) > _AT_BOUND * self.settings.max_recurrence
        )

    def within_bound(self: _Trainer, bound: float | None) -> _Trainer:
        """The same with another bound on the recurrence, if one was chosen."""
        if bound is None:
            return self
        return replace(self, settings=_changed(self.settings, max_recurrence=bound))

    def _states(self, network: ElmanParameters, rows: Rows) -> Array:
        return self._validation.outputs(network, rows)[1]

    def _draw(
        self, progress: Progress, rows: Rows, alpha: float, skip_alpha: float
    ) -> list[ElmanParameters]:
        """The networks of a mean, or their starts: drawn, and trained briefly."""
        return drawn(
            rows,
            alpha,
            skip_alpha,
            self._path_trainer(progress, is_brief=True),
            self._states,
            hidden_size=self.hidden_size,
            n_networks=max(_N_DRAWN, self.n_init),
            random_state=self.random_state,
        )

    def _path_trainer(self, progress: Progress, is_brief: bool = False) -> Any:
        """What trains a validation model; an end of it is one of the whole choice."""
        settings = self._judged.settings
        if is_brief:
            settings = _changed(settings, max_iter=_PATH_ITERATIONS, **_PLAIN)

        def trained(
            rows: Rows, alpha: float, skip_alpha: float, initial: ElmanParameters
        ) -> ElmanParameters:
            problem = self.problem(rows, self.penalties_of(rows, alpha, skip_alpha))
            solved = problem
            if is_brief and not problem.is_squared:
                # hidden units of the squared loss, whose blocks are closed, do for a comparison
                solved = replace(problem, datafit=Squared())
            # the regression beside it, which training compares with, is on the path already
            result = solve(solved, _within(problem, initial), settings, progress.choosing)
            if result.status is Status.INTERRUPTED:
                # there is no network yet that an end would leave the user with
                raise KeyboardInterrupt
            if solved is problem:
                return result.parameters
            hidden_layer = result.parameters.hidden_layer
            h = problem.rollout_of(hidden_layer)[1]
            return ElmanParameters.from_layers(hidden_layer, solve_readout(problem, h))

        return trained

    def _train(
        self,
        rows: Rows,
        penalties: Penalties,
        progress: Progress,
        initial: Sequence[ElmanParameters] | None = None,
    ) -> Trained:
        """Train from the network that was judged and random starts, or from networks of before."""
        alpha, skip_alpha = penalties.alpha, penalties.skip_alpha
        if alpha == np.inf:
            # no penalty is without bounds: the regression alone, at which training rests
            initial = [ridge(rows, self.hidden_size, skip_alpha if self.linear_skip else None)]
            settings = _changed(SafeguardedSettings(), **_PLAIN)
            plain = replace(self, settings=settings, n_init=1)
            return plain._train(rows, penalties._replace(alpha=1.0, weight=1.0), progress, initial)
        starts: list[tuple[Trainer, ElmanParameters | None]] = [(self, None)]
        if initial is not None:
            starts = [(self, start) for start in initial]
        elif penalties.is_mean:
            briefly = replace(self, settings=_changed(self.settings, max_iter=1, **_PLAIN))
            of_mean = self._draw(progress, rows, alpha, skip_alpha)
            starts = [(briefly, start) for start in of_mean]
        elif penalties.start is not None:
            drawn_too = replace(self._judged, n_init=self.n_init - 1)
            starts = [(self._judged, penalties.start), (drawn_too, None)][: self.n_init]
        results = []
        for trainer, start in starts:
            results.append(trainer._solve(rows, alpha, skip_alpha, progress.training, start))
            if results[-1].status is Status.INTERRUPTED:
                break
        kept = self._drawn(results)
        best = min(results, key=lambda result: result.objective)
        best = replace(best, starts=tuple(start for result in results for start in result.starts))
        if any(result.status is Status.INTERRUPTED for result in results):
            best = replace(best, status=Status.INTERRUPTED)
        # a single start may end above the regression, which training compares with
        networks = kept if len(kept) > 1 else [best.parameters]
        return Trained(best, tuple(map(self._combination(rows, penalties), networks)))

    def _drawn(self, results: Sequence[ALMResult]) -> list[ElmanParameters]:
        """The networks of all starts but those that failed, with which a mean is worse than one."""
        found = [
            (start.objective, start.parameters)
            for result in results
            # the last outcome of a training with a linear skip is the regression: no start
            for start in (result.starts[:-1] if self.linear_skip else result.starts)
            if start.parameters is not None
        ]
        return [found[k][1] for k in not_failed([objective for objective, _ in found])]

    def _combination(
        self, rows: Rows, penalties: Penalties
    ) -> Callable[[ElmanParameters], ElmanParameters]:
        """The average of a network with the regression, with the weight that was chosen."""
        if penalties.weight == 1.0 or not self.linear_skip:
            return lambda network: network
        regression = ridge(rows, self.hidden_size, penalties.skip_alpha)
        return lambda network: average(network, regression, penalties.weight)

    def _solve(
        self,
        rows: Rows,
        alpha: float,
        skip_alpha: float,
        callback: Any,
        initial: ElmanParameters | None = None,
    ) -> ALMResult:
        """Train to the end, with strengths in rows of prior."""
        alpha, skip_alpha = strengths_of_mean(rows, self.hidden_size, alpha, skip_alpha)
        return train(
            rows.inputs,
            rows.targets,
            hidden_size=self.hidden_size,
            alpha=alpha,
            activation=self.sigma,
            n_init=self.n_init,
            random_state=self.random_state,
            n_jobs=self.n_jobs,
            callback=callback,
            starts=rows.starts,
            initial=initial,
            linear_skip=self.linear_skip,
            skip_alpha=skip_alpha if self.linear_skip else 0.0,
            datafit=rows.datafit,
            settings=self.settings,
        )

    def problem(self, rows: Rows, regularization: Regularization) -> ElmanProblem:
        """The problem of these rows."""
        return ElmanProblem(
            rows.inputs,
            rows.targets,
            regularization,
            self.sigma,
            rows.starts,
            self.linear_skip,
            self.settings.max_recurrence,
            self.settings.recurrence_norm,
            rows.datafit,
        )

    def penalties_of(
        self, rows: Rows, alpha: float, skip_alpha: float, n_rows: int | None = None
    ) -> Regularization:
        """The penalties of these strengths, against the mean over the rows, or over so many."""
        alpha, skip_alpha = strengths_of_mean(rows, self.hidden_size, alpha, skip_alpha, n_rows)
        shape = rows.inputs.shape[1], self.hidden_size, rows.targets.shape[1]
        return Regularization.scaled(
            alpha, *shape, skip_alpha=skip_alpha if self.linear_skip else None
        )

    @property
    def _judged(self) -> Trainer:
        """How networks are trained that are judged by their forecasts, and the one that follows.

        Relaxation leaves a minimum for a deeper one far away, which nobody has judged.
        """
        return replace(self, settings=_changed(self.settings, n_relaxations=0))

    def _continued(self, is_brief: bool) -> Trainer:
        """How an update trains on.

        A warm start is at rest within a few steps. The finish would take many times as long,
        and hardly lower the objective.
        """
        settings = _changed(self.settings, **_PLAIN)
        if is_brief:
            settings = replace(settings, max_iter=min(settings.max_iter, _BRIEF_ITERATIONS))
        return replace(self, settings=settings)

    def _in_units(
        self, before: Model, y_scaler: Standardizer, X_scaler: Standardizer
    ) -> list[ElmanParameters]:
        """Networks of before in the standardised units of now."""
        inputs = (
            self.layout.scaler(before.y_scaler, before.X_scaler),
            self.layout.scaler(y_scaler, X_scaler),
        )
        outputs = before.y_scaler, y_scaler
        return [change_units(network, inputs, outputs) for network in before.networks]


def _within(problem: ElmanProblem, network: ElmanParameters) -> ElmanParameters:
    """The network with its recurrence within the bound of the problem, which rounding may miss."""
    return ElmanParameters.from_layers(
        problem.contraction.nearest(network.hidden_layer), network.readout
    )


def _changed(
    settings: SafeguardedSettings | ALMSettings, **changes: Any
) -> SafeguardedSettings | ALMSettings:
    """Other settings, as far as the method has them."""
    known = {item.name for item in fields(settings)}
    return replace(settings, **{name: value for name, value in changes.items() if name in known})
