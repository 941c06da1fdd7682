"""The augmented Lagrangian method (Algorithm 3.1)."""

from __future__ import annotations

import time
from functools import cache
from typing import NamedTuple

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
    IterationRecord,
    StartOutcome,
    Status,
)
from sktime_alm.solver.settings import ALMSettings


class _State(NamedTuple):
    """What one outer iteration hands to the next."""

    point: Point
    multipliers: Multipliers
    gamma: float
    eps: float
    violation: float


class _Best(NamedTuple):
    """The network of the smallest rolled-out objective so far."""

    parameters: ElmanParameters
    objective: float

    def or_better(self, parameters: ElmanParameters, objective: float) -> _Best:
        return _Best(parameters, objective) if objective < self.objective else self


def solve(
    problem: ElmanProblem,
    initial: ElmanParameters,
    settings: ALMSettings | None = None,
    callback: Callback | None = None,
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

    Returns
    -------
    ALMResult

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
    with np.errstate(all="ignore"), _blas().limit(limits=1, user_api="blas"):
        return _solve(problem, initial, settings, callback)


@cache
def _blas() -> ThreadpoolController:
    """The BLAS libraries in use; finding them takes milliseconds, limiting them does not."""
    return ThreadpoolController()


def _solve(
    problem: ElmanProblem,
    initial: ElmanParameters,
    settings: ALMSettings,
    callback: Callback | None,
) -> ALMResult:
    """The outer loop: iterate, keep the best network, record, decide whether to go on."""
    start = problem.feasible_point(initial)
    best = _Best(initial, problem.objective_at(start))
    level = _safeguard_level(settings, best.objective)

    state = _State(
        point=start,
        multipliers=Multipliers.zeros(*start.h.shape),
        gamma=settings.initial_penalty,
        eps=settings.inner_tolerance,
        violation=0.0,
    )
    certificate = certify(problem, state.point, state.multipliers, settings.tolerance)
    history: list[IterationRecord] = []
    status = Status.MAX_ITER
    began = time.perf_counter()

    for iteration in range(1, settings.max_iter + 1):
        following, lagrangian, n_sweeps = _iterate(problem, state, start, level, settings)
        if not _is_finite(following, lagrangian):
            status = Status.NON_FINITE
            break
        state = following
        objective = problem.objective(state.point.parameters)
        best = best.or_better(state.point.parameters, objective)
        certificate = certify(problem, state.point, state.multipliers, settings.tolerance)
        record = _record(iteration, lagrangian, objective, certificate, state, n_sweeps, began)
        history.append(record)
        if callback is not None and callback(record):
            status = Status.CALLBACK
            break
        if certificate.is_kkt:
            status = Status.CONVERGED
            break

    return ALMResult(
        parameters=best.parameters,
        objective=best.objective,
        status=status,
        n_iter=len(history),
        n_sweeps=sum(record.n_sweeps for record in history),
        history=tuple(history),
        last=ALMIterate(
            state.point.parameters,
            state.point.h,
            state.point.u,
            *state.multipliers,
            penalty=state.gamma,
        ),
        certificate=certificate,
        starts=(StartOutcome(best.objective, status),),
    )


def _safeguard_level(settings: ALMSettings, initial_objective: float) -> float:
    """Gamma of (3.10), which must not be below the objective at the initial point."""
    if not np.isfinite(initial_objective):
        raise ValueError(
            "initial gives a network that overflows on X; use smaller weights, in W above all"
        )
    if settings.safeguard is None:
        return max(100.0, initial_objective)
    if settings.safeguard < initial_objective:
        raise ValueError(
            f"safeguard must be at least the objective at the initial point, "
            f"{initial_objective:.6g}, found {settings.safeguard!r}; None chooses it"
        )
    return settings.safeguard


def _iterate(
    problem: ElmanProblem, state: _State, start: Point, level: float, settings: ALMSettings
) -> tuple[_State, float, int]:
    """Steps 1 to 3 of Algorithm 3.1; also the Lagrangian reached and the sweeps it took."""
    point, multipliers, gamma, eps, violation = state

    # Step 1: (3.13), then Algorithm 3.2
    before = augmented_lagrangian(problem, point, multipliers, gamma)
    if not before <= level:
        point = start
        before = augmented_lagrangian(problem, point, multipliers, gamma)
    rule = _sweep_rule(problem, multipliers, gamma, eps, before, settings)
    point, n_sweeps = descend(
        problem,
        point,
        multipliers,
        gamma,
        settings.proximal_weight,
        settings.max_inner_iter,
        rule,
    )
    after = augmented_lagrangian(problem, point, multipliers, gamma)

    # Steps 2 and 3
    multipliers = update_multipliers(problem, point, multipliers, gamma)
    previous_violation, violation = violation, feasibility(problem, point).norm
    if not violation <= settings.feasibility_decrease * previous_violation:
        gamma = _raised_penalty(gamma, multipliers, settings)
    eps = settings.tolerance_update_factor * eps
    return _State(point, multipliers, gamma, eps, violation), after, n_sweeps


def _sweep_rule(
    problem: ElmanProblem,
    multipliers: Multipliers,
    gamma: float,
    eps: float,
    lagrangian: float,
    settings: ALMSettings,
) -> SweepRule:
    if settings.inner_stop == "stationarity":
        return stationary_to(problem, multipliers, gamma, eps)
    return step_within(problem, multipliers, gamma, settings.proximal_weight, eps, lagrangian)


def _raised_penalty(gamma: float, multipliers: Multipliers, settings: ALMSettings) -> float:
    """(3.9)."""
    power = 1.0 + settings.penalty_exponent
    norms = [float(np.linalg.norm(array)) for array in multipliers]
    return max(settings.penalty_update_factor * gamma, *(norm**power for norm in norms))


def _is_finite(state: _State, lagrangian: float) -> bool:
    """Whether an iterate can be kept: its point, multipliers, penalty and Lagrangian."""
    numbers = [lagrangian, state.gamma, *(array.sum() for array in state.multipliers)]
    return state.point.is_finite() and bool(np.isfinite(numbers).all())


def _record(
    iteration: int,
    lagrangian: float,
    objective: float,
    certificate: Certificate,
    state: _State,
    n_sweeps: int,
    began: float,
) -> IterationRecord:
    violations = certificate.feasibility_blocks
    return IterationRecord(
        iteration=iteration,
        lagrangian=lagrangian,
        objective=objective,
        stationarity=certificate.stationarity,
        preactivation_violation=violations.preactivation,
        hidden_violation=violations.hidden,
        penalty=state.gamma,
        n_sweeps=n_sweeps,
        seconds=time.perf_counter() - began,
    )
