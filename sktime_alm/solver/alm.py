"""The augmented Lagrangian methods: Algorithm 3.1 of the paper, and the safeguarded one.

A step computes the next iterate; one loop takes the steps, keeps the best network, records
and decides whether to go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial
from threading import Lock
from typing import Any, NamedTuple, Protocol

import numpy as np
from threadpoolctl import ThreadpoolController

from sktime_alm.solver.bcd import SweepRule, descend, stationary_to, step_within
from sktime_alm.solver.elman import ElmanParameters
from sktime_alm.solver.lagrangian import Multipliers, augmented_lagrangian, update_multipliers
from sktime_alm.solver.optimality import Certificate, certify, feasibility
from sktime_alm.solver.reformulation import ElmanProblem, Point
from sktime_alm.solver.result import (
    ALMIterate,
    ALMResult,
    Callback,
    History,
    IterationRecord,
    Loss,
    StartOutcome,
    Status,
)
from sktime_alm.solver.safeguarded import Search
from sktime_alm.solver.settings import ALMSettings

_OVERFLOW = (
    "initial gives a network that overflows on X or whose W is beyond max_recurrence; use smaller "
    "weights, in W above all"
)
# what the best value of a measure must shrink by to count as progress
_IMPROVEMENT = 0.999


class _State(Protocol):
    """What one outer iteration hands to the next, of either method."""

    @property
    def point(self) -> Point: ...

    @property
    def multipliers(self) -> Multipliers: ...

    @property
    def gamma(self) -> float: ...


class _PaperState(NamedTuple):
    """The state of Algorithm 3.1."""

    point: Point
    multipliers: Multipliers
    gamma: float
    eps: float
    violation: float


class _Step(NamedTuple):
    """An outer iteration: the new state, the Lagrangian reached and the sweeps it took.

    ``objective`` is R of its network where the step knows it, ``is_settled`` says whether the
    method would stop here if the point is KKT, and ``is_exhausted`` that it has nothing left
    to try.
    """

    state: _State
    lagrangian: float
    n_sweeps: int
    phase: str = "alm"
    objective: float | None = None
    is_settled: bool = True
    is_exhausted: bool = False

    def is_finite(self) -> bool:
        """Whether the iterate can be kept."""
        multipliers = (array.sum() for array in self.state.multipliers)
        numbers = [self.lagrangian, self.state.gamma, *multipliers]
        return self.state.point.is_finite() and bool(np.isfinite(numbers).all())


class _Best(NamedTuple):
    """The best network so far: by its loss on rows held out if there are any, else by R."""

    parameters: ElmanParameters
    objective: float
    held_out_loss: float = np.nan

    def or_better(self, other: _Best) -> _Best:
        if np.isnan(self.held_out_loss):
            return other if other.objective < self.objective else self
        return other if other.held_out_loss < self.held_out_loss else self


def solve(
    problem: ElmanProblem,
    initial: ElmanParameters,
    settings: ALMSettings | None = None,
    callback: Callback | None = None,
    held_out_loss: Loss | None = None,
) -> ALMResult:
    """Train a network from given initial weights.

    Parameters
    ----------
    problem : ElmanProblem
    initial : ElmanParameters
        The initial point is their rollout, which is feasible.
    settings : ALMSettings, optional
    callback : callable, optional
        Called with the :class:`IterationRecord` of each outer iteration; the fit stops
        when it returns True.
    held_out_loss : callable, optional
        Early stopping: the loss of a network on rows held out. The network with the smallest
        one is returned, and the fit ends after ``patience`` outer iterations without a
        smaller one.

    Returns
    -------
    ALMResult
        An interrupt (Ctrl-C) ends the fit with the best network so far.

    Raises
    ------
    ValueError
        If ``initial`` does not fit the problem or overflows in the rollout, or if the
        safeguard is below the objective there.
    """
    settings = settings or ALMSettings()
    problem.check_parameters(initial, "initial")
    # An overflow shows in the iterate, where it is caught: NumPy need not warn as well. A
    # second BLAS thread makes products of this size slower, many times so on a busy machine.
    with np.errstate(all="ignore"), _one_blas_thread:
        if settings.method == "safeguarded":
            search = Search.begin(problem, initial)
            if search is None:
                raise ValueError(_OVERFLOW)
            safeguarded_step = partial(_safeguarded_step, settings)
            objective = search.best.objective
            return _iterate(
                problem, safeguarded_step, search, objective, settings, callback, held_out_loss
            )
        start = problem.feasible_point(initial)
        objective = problem.objective_at(start)
        if not np.isfinite(objective):
            raise ValueError(_OVERFLOW)
        level = _safeguard_level(settings, objective)
        state = _PaperState(
            point=start,
            multipliers=Multipliers.zeros(*start.h.shape),
            gamma=float(settings.initial_penalty),
            eps=settings.inner_tolerance,
            violation=0.0,
        )
        step = partial(_paper_step, problem, start, level, settings)
        return _iterate(problem, step, state, objective, settings, callback, held_out_loss)


class _OneBLASThread:
    """Holds BLAS to one thread while any fit runs.

    The number of threads is the process's: of fits that overlap in threads the first one
    limits it, and the last one restores it.
    """

    def __init__(self) -> None:
        self._lock, self._n_fits = Lock(), 0
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._n_fits == 0:
                self._limit = _blas().limit(limits=1, user_api="blas")
            self._n_fits += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._n_fits -= 1
            if self._n_fits == 0:
                self._limit.restore_original_limits()


_one_blas_thread = _OneBLASThread()


@cache
def _blas() -> ThreadpoolController:
    """The BLAS libraries in use; finding them takes milliseconds, limiting them does not."""
    return ThreadpoolController()


def _safeguard_level(settings: ALMSettings, initial_objective: float) -> float:
    """Gamma of (3.10), which must not be below the objective at the initial point."""
    if settings.safeguard is None:
        return max(100.0, initial_objective)
    if settings.safeguard < initial_objective:
        raise ValueError(
            f"safeguard must be at least the objective at the initial point, "
            f"{initial_objective:.6g}, found {settings.safeguard!r}; None chooses it"
        )
    return settings.safeguard


def _iterate(
    problem: ElmanProblem,
    step: Callable[[Any], _Step],
    state: _State,
    objective: float,
    settings: ALMSettings,
    callback: Callback | None,
    held_out_loss: Loss | None,
) -> ALMResult:
    """Take steps until one of the ends of :class:`Status`."""

    def rated(objective: float) -> _Best:
        parameters = state.point.parameters
        loss = np.nan if held_out_loss is None else held_out_loss(parameters)
        return _Best(parameters, objective, loss)

    best = rated(objective)
    history: list[IterationRecord] = []
    status: Status | None = None
    began = time.perf_counter()
    try:
        while status is None:
            following = step(state)
            if not following.is_finite():
                status = Status.NON_FINITE
                break
            state = following.state
            reached = following.objective
            if reached is None:
                reached = problem.objective(state.point.parameters)
            found = rated(reached)
            best = best.or_better(found)
            certificate = certify(problem, state.point, state.multipliers, settings.tolerance)
            record = _record(len(history) + 1, following, found, certificate, began)
            history.append(record)
            asked_to_stop = callback is not None and bool(callback(record))
            status = _verdict(history, following, certificate, asked_to_stop, settings)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED

    point = state.point
    return ALMResult(
        parameters=best.parameters,
        objective=best.objective,
        status=status,
        n_iter=len(history),
        n_sweeps=sum(record.n_sweeps for record in history),
        history=History(history),
        last=ALMIterate(point.parameters, point.h, point.u, *state.multipliers, state.gamma),
        certificate=certify(problem, point, state.multipliers, settings.tolerance),
        starts=(StartOutcome(best.parameters, best.objective, status, best.held_out_loss),),
    )


def _safeguarded_step(settings: ALMSettings, search: Search) -> _Step:
    """An outer iteration of :class:`Search`; at its feasible points L is R."""
    search = search.advance(settings)
    is_settled = search.is_settled(settings)
    objective = search.best.objective
    return _Step(
        search, objective, search.n_sweeps, search.phase, objective, is_settled, is_settled
    )


def _paper_step(
    problem: ElmanProblem, start: Point, level: float, settings: ALMSettings, state: _PaperState
) -> _Step:
    """Steps 1 to 3 of Algorithm 3.1."""
    point, multipliers, gamma, eps, previous_violation = state
    mu = float(settings.proximal_weight)

    # Step 1: (3.13), then Algorithm 3.2
    before = augmented_lagrangian(problem, point, multipliers, gamma)
    if not before <= level:
        point = start
        before = augmented_lagrangian(problem, point, multipliers, gamma)
    may_stop = _sweep_rule(problem, multipliers, gamma, eps, before, settings)
    point, n_sweeps = descend(
        problem, point, multipliers, gamma, mu, settings.max_inner_iter, may_stop
    )
    after = augmented_lagrangian(problem, point, multipliers, gamma)

    # Step 2: (3.7)
    multipliers = update_multipliers(problem, point, multipliers, gamma)
    eps = settings.tolerance_update_factor * eps

    # Step 3: (3.8), (3.9)
    violation = feasibility(problem, point).norm
    if not violation <= settings.feasibility_decrease * previous_violation:
        power = 1.0 + settings.penalty_exponent
        norms = (float(np.linalg.norm(array)) for array in multipliers)
        gamma = max(settings.penalty_update_factor * gamma, *(norm**power for norm in norms))
    return _Step(_PaperState(point, multipliers, gamma, eps, violation), after, n_sweeps)


def _sweep_rule(
    problem: ElmanProblem,
    multipliers: Multipliers,
    gamma: float,
    eps: float,
    lagrangian: float,
    settings: ALMSettings,
) -> SweepRule:
    """(3.6), or (3.17) with the Lipschitz constants of the level where the sweeps begin."""
    if settings.inner_stop == "stationarity":
        return stationary_to(problem, multipliers, gamma, eps)
    return step_within(problem, multipliers, gamma, settings.proximal_weight, eps, lagrangian)


def _verdict(
    history: list[IterationRecord],
    step: _Step,
    certificate: Certificate,
    asked_to_stop: bool,
    settings: ALMSettings,
) -> Status | None:
    """Whether the fit ends after the last record, and why."""
    status: Status | None = None
    if asked_to_stop:
        status = Status.CALLBACK
    elif len(history) >= settings.max_iter:
        status = Status.MAX_ITER
    elif step.is_exhausted:
        status = Status.AT_REST
    elif settings.patience is not None and not _generalised(history, settings.patience):
        status = Status.EARLY_STOPPED
    elif settings.patience is not None and not _improved(history, settings.patience):
        status = Status.NO_PROGRESS
    # a KKT point is one whatever else would have ended the fit
    if certificate.is_kkt and (step.is_settled or status is not None):
        return Status.CONVERGED
    return status


def _generalised(history: list[IterationRecord], patience: int) -> bool:
    """Whether the smallest loss on rows held out, if there are any, is among the last records."""
    losses = [record.held_out_loss for record in history]
    return bool(np.isnan(losses[0])) or len(losses) - int(np.argmin(losses)) <= patience


def _improved(history: list[IterationRecord], patience: int) -> bool:
    """Whether the last records hold a better objective or KKT residual than all before."""
    if len(history) <= patience:
        return True
    earlier, recent = history[:-patience], history[-patience:]

    def best(records: list[IterationRecord], measure: str) -> float:
        return min(getattr(record, measure) for record in records)

    return any(
        best(recent, measure) < _IMPROVEMENT * best(earlier, measure)
        for measure in ("objective", "kkt_residual")
    )


def _record(
    iteration: int, step: _Step, found: _Best, certificate: Certificate, began: float
) -> IterationRecord:
    violations = certificate.feasibility_blocks
    return IterationRecord(
        iteration=iteration,
        lagrangian=step.lagrangian,
        objective=found.objective,
        stationarity=certificate.stationarity,
        kkt_residual=certificate.residual,
        preactivation_violation=violations.preactivation,
        hidden_violation=violations.hidden,
        penalty=step.state.gamma,
        n_sweeps=step.n_sweeps,
        phase=step.phase,
        seconds=time.perf_counter() - began,
        held_out_loss=found.held_out_loss,
    )
