"""The safeguarded method: feasible restarts, adjoint multipliers, and R that never rises.

Every step starts at a feasible point with adjoint multipliers. There the weight block
(3.14) of a sweep is the gradient step of R in the metric gamma P'P + 2 Lambda; secant pairs
of earlier steps, a window of them or a matrix of all, correct it (a quasi-Newton method), a
line search on R accepts it, and the rollout makes the point feasible again. Steps are taken in
coordinates in which the bound on W is no bound (``contraction``).

When that has come to rest, relaxation looks further: with the multipliers dropped the
same feasible point is *not* stationary for the augmented Lagrangian. Some sweeps there
trade feasibility for fit, and the weights that they end with are a new start, which is
kept if it leads to a smaller R. In the end Newton steps hold units on their kinks
(``active_set``).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np

from sktime_alm.solver._typing import Array
from sktime_alm.solver.accelerated import accelerated_steps
from sktime_alm.solver.active_set import finish
from sktime_alm.solver.bcd import sweep
from sktime_alm.solver.execution import time_is_up
from sktime_alm.solver.lagrangian import Multipliers, adjoint_multipliers
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.reduced import (
    Iterate,
    Mark,
    evaluate,
    iterate_at,
    penalty_of,
    steepest_from,
)
from sktime_alm.solver.reformulation import ElmanProblem, Point, Trial
from sktime_alm.solver.result import IMPROVEMENT, Status, Step
from sktime_alm.solver.secants import LimitedMemory, Memory
from sktime_alm.solver.settings import SafeguardedSettings
from sktime_alm.solver.subgradients import certify_network

# An outer iteration that lowers R by less than this share calls for a memory of all pairs: the
# metric, which changes with the weights, is no longer what a step depends on.
_SLOW = 0.1
# one that lowers it by less than this has come to rest
_REST = 1e-6
# a descent begun anew where one came to rest must gain more than this share to be worth another
_AGAIN = 1e-6
# slow or not, as the finish often takes a second or third round
_FEWEST_ROUNDS = 4
# a relaxed start is given up if so many more iterations at its present rate would not pay
_HORIZON = 10
# how far it goes from the best point towards what the sweeps found
_SHARES = 1.0, 0.5, 0.25

# The finish may cost so many times what came before, or so many evaluations of R if that is more,
# and goes to a share of the tolerance, though not below rounding.
_FINISH_WORK, _LEAST_WORK = 8.0, 1_000.0
_FINISH_TOLERANCE, _ROUNDING = 0.1, 1e-9


class Stage(NamedTuple):
    """What an outer iteration of a descent did, and where it ended."""

    iterate: Iterate
    n_steps: int
    decrease: float


def steps(
    problem: ElmanProblem, initial: ElmanParameters, settings: SafeguardedSettings
) -> Generator[Step, None, Status]:
    """The outer iterations, until nothing is left that lowers R; says why they end."""
    search = _Search.begun(problem, settings, initial)
    if search is None:
        return Status.NON_FINITE
    return (yield from search.run(initial))


class _Search:
    """The best network so far, and what is left to try."""

    def __init__(self, problem: ElmanProblem, settings: SafeguardedSettings, best: Trial) -> None:
        self.problem, self.settings, self.best = problem, settings, best
        self.objectives: list[float] = []
        self.n_evaluations, self.residual = 0, np.inf

    @classmethod
    def begun(
        cls, problem: ElmanProblem, settings: SafeguardedSettings, initial: ElmanParameters
    ) -> _Search | None:
        """From these weights; None if the network overflows."""
        best = evaluate(problem, initial.hidden_layer)
        return None if best is None else cls(problem, settings, best)

    def run(self, initial: ElmanParameters) -> Generator[Step, None, Status]:
        """A descent, the relaxations, then rounds of descent and finish.

        A descent that stays above the network without hidden units, as from chaotic weights, is
        given up for one that begins at a contraction, and if need be there.
        """
        no_units = np.zeros_like(initial.hidden_layer)
        level = _objective(evaluate(self.problem, no_units))
        starts = initial.hidden_layer, _contracted(self.problem, initial), no_units
        for number, start in enumerate(starts):
            if number == 0 or self.best.objective > level:
                yield from self._descend(start, self.settings.max_iter // 3, level)
        for trial in range(1, self.settings.n_relaxations + 1):
            if self._is_over:
                break
            found, n_sweeps = _relaxed(self.problem, self.best, trial, self.settings)
            yield self._step(found or self.best, "relax", n_sweeps)
        return (yield from self._to_rest())

    @property
    def _is_over(self) -> bool:
        """Whether no iteration is left but that of the finish."""
        n_left = self.settings.max_iter - len(self.objectives) - self.settings.active_set
        return n_left <= 0 < len(self.objectives) or time_is_up()

    def _to_rest(self) -> Generator[Step, None, Status]:
        """Rounds begun anew, with nothing of what was learned, until one ends at a KKT point.

        Or gains nothing, neither in R nor, by half, in what keeps the finish from the tolerance.
        """
        first, n_rounds, is_gaining = len(self.objectives), 0, True
        while is_gaining:
            before, residual = self.best.objective, self.residual
            yield from self._descend(self.best.hidden_layer, self.settings.max_iter)
            if self.settings.active_set:
                yield self._finish()
            n_rounds += 1
            is_slow = _is_slow(self.objectives[first:], self.settings.patience)
            if self._is_over or (is_slow and n_rounds >= _FEWEST_ROUNDS):
                return Status.NO_PROGRESS
            gain = before - self.best.objective
            # without a finish the residual stays infinite, which is not half of it
            is_gaining = self.residual > self.settings.tolerance and (
                gain > _AGAIN * self.best.objective or self.residual < 0.5 * residual
            )
        return Status.AT_REST

    def _descend(
        self, hidden_layer: Array, max_stages: int, level: float = np.inf
    ) -> Iterator[Step]:
        """At most so many iterations of a descent; no more than one that ends above a level."""
        if self._is_over:
            return
        stages = descend(self.problem, iterate_at(self.problem, hidden_layer), self.settings)
        for stage in islice(stages, max(max_stages, 1)):
            yield self._step(stage.iterate.trial, "alm", stage.n_steps)
            if self._is_over or stage.iterate.objective > level:
                return

    def _step(self, found: Trial, phase: str, n_steps: int) -> Step:
        """The best point after so many steps more."""
        self._keep(found, n_steps)
        point = self.best.point
        return self._at_best(phase, n_steps, point, adjoint_multipliers(self.problem, point))

    def _keep(self, found: Trial, n_steps: int) -> None:
        """Take a trial that so many steps led to, if it is the best."""
        self.best = min(self.best, found, key=lambda trial: trial.objective)
        self.n_evaluations += n_steps
        self.objectives.append(self.best.objective)

    def _at_best(self, phase: str, n_steps: int, point: Point, multipliers: Multipliers) -> Step:
        """At a feasible point L is R, whatever the multipliers."""
        penalty, R = penalty_of(self.problem, self.best), self.best.objective
        # it goes on from a KKT point as long as R falls, and ends by itself
        return Step(point, multipliers, penalty, R, n_steps, phase, R, is_settled=False)

    def _finish(self) -> Step:
        """Newton steps, and multipliers at the kinks."""
        n_steps = self._newton()
        parameters, tolerance = self.best.point.parameters, self.settings.tolerance
        _, point, multipliers = certify_network(self.problem, parameters, tolerance)
        return self._at_best("newton", n_steps, point, multipliers)

    def _newton(self) -> int:
        """The finish, for at most a multiple of what was spent; how many steps it took."""
        outcome = finish(
            self.problem,
            self.best,
            tolerance=max(_FINISH_TOLERANCE * self.settings.tolerance, _ROUNDING),
            max_work=max(_FINISH_WORK * self.n_evaluations, _LEAST_WORK),
        )
        self.residual = outcome.residual
        self._keep(outcome.trial, outcome.n_steps)
        return outcome.n_steps


def _is_slow(objectives: list[float], patience: int | None) -> bool:
    """Whether R fell too little in so many iterations to go on like that."""
    if patience is None or len(objectives) <= patience:
        return False
    return objectives[-1] > IMPROVEMENT * objectives[-1 - patience]


def _objective(trial: Trial | None) -> float:
    """R of a trial, infinite if it overflows."""
    return np.inf if trial is None else trial.objective


def _contracted(problem: ElmanProblem, initial: ElmanParameters) -> Array:
    """The same hidden layer but for a W that does not stretch."""
    contraction = replace(problem.contraction, bound=min(1.0, problem.contraction.bound))
    return contraction.nearest(initial.hidden_layer)


def descend(
    problem: ElmanProblem,
    iterate: Iterate | None,
    settings: SafeguardedSettings,
    steepest: float | None = None,
) -> Iterator[Stage]:
    """A descent of R by accelerated steps, to where they come to rest.

    ``steepest`` is the largest norm of the gradient allowed, by default a multiple of the
    objective and the gradient at the beginning.
    """
    if iterate is None:
        return
    if steepest is None:
        steepest = steepest_from(iterate)
    memory: Memory = LimitedMemory(iterate.variables)
    n_steps, is_falling, objectives = settings.max_inner_iter, True, [iterate.objective]
    while n_steps == settings.max_inner_iter and is_falling:
        before = Mark.at(iterate)
        iterate, memory, n_steps = accelerated_steps(
            problem, iterate, memory, settings.max_inner_iter, steepest
        )
        decrease = before.objective - iterate.objective
        if decrease <= _SLOW * before.objective:
            memory = memory.to_full()
        objectives.append(iterate.objective)
        is_falling = _is_falling(before, Mark.at(iterate), settings)
        is_falling = is_falling and not _is_slow(objectives, settings.patience)
        yield Stage(iterate, n_steps, decrease)


def _is_stationary(mark: Mark, settings: SafeguardedSettings) -> bool:
    """Whether the gradient of R is within the tolerance, relative to R."""
    return mark.slope <= 0.5 * settings.tolerance * mark.objective


def _is_falling(before: Mark, here: Mark, settings: SafeguardedSettings) -> bool:
    """Whether R or its gradient fell enough to go on; without that a kink is in the way, mostly."""
    if _is_stationary(here, settings):
        return False
    decrease = before.objective - here.objective
    return decrease > _REST * before.objective or here.slope <= 0.5 * before.slope


def relax(problem: ElmanProblem, best: Trial, trial: int) -> tuple[Array, int]:
    """Sweeps from a feasible point without multipliers: a hidden layer elsewhere.

    The penalty, from a tenth to a hundred times that of the steps, and the number of
    sweeps, up to 20, run through evenly spread values from trial to trial.

    Returns
    -------
    hidden_layer : array of shape (r, r + n + 1)
        Not finite if a sweep overflowed.
    n_sweeps : int
    """
    # multiples of the inverses of the plastic number and its square fill a square evenly
    gamma = penalty_of(problem, best) * 10.0 ** (-1.0 + 3.0 * (0.7548776662 * trial % 1.0))
    n_sweeps = 1 + int(20.0 * (0.5698402910 * trial % 1.0))
    point, none = best.point, Multipliers.zeros(*best.h.shape)
    for _ in range(n_sweeps):
        point = sweep(problem, point, none, gamma, 1e-5 * gamma)
    return point.parameters.hidden_layer, n_sweeps


def _steepest_at(problem: ElmanProblem, best: Trial) -> float | None:
    """The largest norm of the gradient that a descent from the best point may meet."""
    here = iterate_at(problem, best.hidden_layer)
    return None if here is None else steepest_from(here)


def _relaxed(
    problem: ElmanProblem, best: Trial, trial: int, settings: SafeguardedSettings
) -> tuple[Trial | None, int]:
    """The end of the accelerated steps from a relaxed start, and all the sweeps and steps."""
    hidden_layer, n_sweeps = relax(problem, best, trial)
    steepest = _steepest_at(problem, best)
    if steepest is None or not np.isfinite(hidden_layer).all():
        return None, n_sweeps
    # part of the way there where R is a cliff
    starts = (best.hidden_layer + share * (hidden_layer - best.hidden_layer) for share in _SHARES)
    iterates = (iterate_at(problem, problem.contraction.nearest(s), steepest) for s in starts)
    iterate = next((found for found in iterates if found is not None), None)
    stages = descend(problem, iterate, settings, steepest)
    for stage in islice(stages, max(settings.max_iter // 3, 1)):
        iterate, n_sweeps = stage.iterate, n_sweeps + stage.n_steps
        within_reach = iterate.objective - _HORIZON * stage.decrease
        if within_reach >= best.objective:
            break
    return None if iterate is None else iterate.trial, n_sweeps
