"""Algorithm 3.1: the augmented Lagrangian method of the paper, its steps as one loop."""

from __future__ import annotations

from collections.abc import Generator

from sktime_alm.solver.bcd import SweepRule, descend, stationary_to, step_within
from sktime_alm.solver.lagrangian import (
    Multipliers,
    augmented_lagrangian,
    norms,
    update_multipliers,
)
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.optimality import feasibility
from sktime_alm.solver.reformulation import TrainingProblem
from sktime_alm.solver.result import Status, Step
from sktime_alm.solver.settings import ALMSettings


def steps(
    problem: TrainingProblem, initial: ElmanParameters, settings: ALMSettings
) -> Generator[Step, None, Status]:
    """The outer iterations k = 1, 2, ... of Algorithm 3.1, without end.

    Raises
    ------
    ValueError
        If the safeguard is below the objective at the initial point.
    """
    start = point = problem.feasible_point(initial)
    level = _safeguard_level(settings, problem.objective_at(start))
    multipliers = Multipliers.zeros_at(problem, start)
    gamma, mu = float(settings.initial_penalty), float(settings.proximal_weight)
    eps, violation = settings.inner_tolerance, 0.0
    while True:
        # Step 1: from s^{k-1}, or from s^0 where (3.13) asks for it, Algorithm 3.2
        before = augmented_lagrangian(problem, point, multipliers, gamma)
        if not before <= level:
            point = start
            before = augmented_lagrangian(problem, point, multipliers, gamma)
        rule = _sweep_rule(problem, multipliers, gamma, eps, before, settings)
        point, n_sweeps = descend(
            problem, point, multipliers, gamma, mu, settings.max_inner_iter, rule
        )
        after = augmented_lagrangian(problem, point, multipliers, gamma)

        # Step 2: (3.7)
        multipliers = update_multipliers(problem, point, multipliers, gamma)
        eps = settings.tolerance_update_factor * eps

        # Step 3: (3.8), (3.9)
        previous, violation = violation, feasibility(problem, point).norm
        if not violation <= settings.feasibility_decrease * previous:
            power = 1.0 + settings.penalty_exponent
            sizes = [norm**power for norm in norms(problem, multipliers)]
            gamma = max(settings.penalty_update_factor * gamma, *sizes)
        yield Step(point, multipliers, gamma, after, n_sweeps)


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


def _sweep_rule(
    problem: TrainingProblem,
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
