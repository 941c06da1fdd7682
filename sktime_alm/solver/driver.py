"""The one loop: takes the steps of a method, keeps the best network, records, decides when to end.

A method is a generator of :class:`Step`; it neither logs nor stops nor judges itself. It ends
where it has nothing left to try.
"""

from __future__ import annotations

import time
from collections.abc import Generator

import numpy as np

from sktime_alm.solver._typing import Array
from sktime_alm.solver.block_kinks import certify_blocks
from sktime_alm.solver.execution import interruptible, limited, take_interrupt, time_is_up
from sktime_alm.solver.lagrangian import Multipliers, adjoint_multipliers
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.optimality import Certificate, certify
from sktime_alm.solver.reformulation import ElmanProblem, Point
from sktime_alm.solver.result import (
    IMPROVEMENT,
    ALMIterate,
    ALMResult,
    Callback,
    History,
    IterationRecord,
    StartOutcome,
    Status,
    Step,
)
from sktime_alm.solver.settings import Settings
from sktime_alm.solver.spread import Kept, Lost, SpreadProblem

Steps = Generator[Step, None, Status]


def run(
    problem: ElmanProblem | SpreadProblem,
    initial: ElmanParameters,
    steps: Steps,
    settings: Settings,
    callback: Callback | None = None,
) -> ALMResult:
    """Take the steps of a method until one of the ends of :class:`Status`.

    Parameters
    ----------
    problem : ElmanProblem or SpreadProblem
    initial : ElmanParameters
        The network that the method starts at.
    steps : generator of Step
        It returns the status it ends with, where it ends by itself.
    settings : Settings
    callback : callable, optional
        Called with the record of each outer iteration; the fit stops when it returns True.

    Returns
    -------
    ALMResult
        An interrupt (Ctrl-C) ends the fit with the best network so far.
    """
    # An overflow shows in the iterate, where it is caught: NumPy need not warn as well.
    with np.errstate(all="ignore"), limited(settings.max_seconds):
        return _run(problem, initial, steps, settings, callback)


def _run(
    problem: ElmanProblem | SpreadProblem,
    initial: ElmanParameters,
    steps: Steps,
    settings: Settings,
    callback: Callback | None,
) -> ALMResult:
    last = _first(problem, initial)
    best, objective = initial, last.lagrangian
    certificate = None
    if isinstance(problem, SpreadProblem):
        # asked while the workers are there; in process only where no step follows
        certificate = _certified(problem, last, settings.tolerance)
    history: list[IterationRecord] = []
    status: Status | None = None
    began = time.perf_counter()
    try:
        while status is None:
            step, why = _next(steps)
            # the method has nothing left to try
            if step is None:
                certificate = certificate or _certified(problem, last, settings.tolerance)
                status = Status.CONVERGED if certificate.is_kkt else why
            elif not step.is_finite():
                status = Status.NON_FINITE
            else:
                last, reached = step, step.objective
                if reached is None:
                    reached = problem.objective(step.point.parameters)
                # the paper's method may raise R on its way
                if reached < objective:
                    best, objective = step.point.parameters, reached
                certificate = _certified(problem, step, settings.tolerance)
                history.append(_record(len(history) + 1, step, reached, certificate, began))
                is_asked = callback is not None and bool(callback(history[-1]))
                status = _verdict(history, step, certificate, is_asked, settings)
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    except Lost:
        status = Status.LOST
    # one that came too late for a step to raise it
    if take_interrupt():
        status = Status.INTERRUPTED
    certificate = certificate or _certified(problem, last, settings.tolerance)
    return _result(best, objective, status, history, last, certificate)


def _result(
    best: ElmanParameters,
    objective: float,
    status: Status,
    history: list[IterationRecord],
    last: Step,
    certificate: Certificate,
) -> ALMResult:
    """The best network, and the iterate that the certificate is of."""
    h, u, xi, zeta = (_here(states) for states in (*last.point[1:], *last.multipliers))
    return ALMResult(
        parameters=best,
        objective=objective,
        status=status,
        n_iter=len(history),
        n_sweeps=sum(record.n_sweeps for record in history),
        history=History(history),
        last=ALMIterate(last.point.parameters, h, u, xi, zeta, last.penalty),
        certificate=certificate,
        starts=(StartOutcome(best, objective, status),),
    )


def _first(problem: ElmanProblem | SpreadProblem, initial: ElmanParameters) -> Step:
    """Where the method begins; of rows in blocks the weights alone."""
    if isinstance(problem, SpreadProblem):
        none = np.empty((0, initial.hidden_size))
        point, multipliers = Point(initial, none, none), Multipliers(none, none)
        return Step(point, multipliers, 0.0, problem.objective(initial))
    point = problem.feasible_point(initial)
    return Step(point, adjoint_multipliers(problem, point), 0.0, problem.objective_at(point))


def _certified(problem: ElmanProblem | SpreadProblem, step: Step, tolerance: float) -> Certificate:
    """KKT residuals of an iterate; of weights alone, at their rollout."""
    if isinstance(problem, SpreadProblem) and not isinstance(step.point.h, Kept):
        return certify_blocks(problem, step.point.parameters, tolerance)
    return certify(problem, *step[:2], tolerance)


def _here(states: Array | Kept) -> Array:
    """States as a result has them: those with the blocks are left there."""
    return np.empty((0, 0)) if isinstance(states, Kept) else states


def _next(steps: Steps) -> tuple[Step | None, Status]:
    """The next step; without one, why the method ends."""
    try:
        with interruptible():
            return next(steps), Status.AT_REST
    except StopIteration as end:
        return None, end.value


def _verdict(
    history: list[IterationRecord],
    step: Step,
    certificate: Certificate,
    is_asked: bool,
    settings: Settings,
) -> Status | None:
    """Whether the fit ends after the last record, and why."""
    status: Status | None = None
    if is_asked:
        status = Status.CALLBACK
    elif time_is_up():
        status = Status.TIME_IS_UP
    elif len(history) >= settings.max_iter:
        status = Status.MAX_ITER
    elif step.is_settled and settings.patience and not _improved(history, settings.patience):
        status = Status.NO_PROGRESS
    # a KKT point is one whatever else would have ended the fit
    if certificate.is_kkt and (step.is_settled or status is not None):
        return Status.CONVERGED
    return status


def _improved(history: list[IterationRecord], patience: int) -> bool:
    """Whether the last records hold a better objective or KKT residual than all before."""
    if len(history) <= patience:
        return True
    # either may stand still for long while the other falls
    earlier, recent = history[:-patience], history[-patience:]

    def best(records: list[IterationRecord], measure: str) -> float:
        return min(getattr(record, measure) for record in records)

    return any(
        best(recent, measure) < IMPROVEMENT * best(earlier, measure)
        for measure in ("objective", "kkt_residual")
    )


def _record(
    iteration: int, step: Step, objective: float, certificate: Certificate, began: float
) -> IterationRecord:
    violations = certificate.feasibility_blocks
    return IterationRecord(
        iteration=iteration,
        lagrangian=step.lagrangian,
        objective=objective,
        stationarity=certificate.stationarity,
        kkt_residual=certificate.residual,
        preactivation_violation=violations.preactivation,
        hidden_violation=violations.hidden,
        penalty=step.penalty,
        n_sweeps=step.n_sweeps,
        phase=step.phase,
        seconds=time.perf_counter() - began,
    )
