"""The safeguarded method: feasible restarts, adjoint multipliers, and R that never rises.

Every step starts at a feasible point with adjoint multipliers. There the weight block
(3.14) of a sweep is the gradient step of R in the metric gamma P'P + 2 Lambda; secant pairs
of earlier steps, a window of them or a matrix of all, correct it (a quasi-Newton method), a
line search on R accepts it, and the rollout makes the point feasible again.

When that has come to rest, relaxation looks further: with the multipliers dropped the
same feasible point is *not* stationary for the augmented Lagrangian. Some sweeps there
trade feasibility for fit, and the weights that they end with are a new start, which is
kept if it leads to a smaller R.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from sktime_alm.solver._typing import Array
from sktime_alm.solver.bcd import inverse_of, sweep
from sktime_alm.solver.elman import ElmanParameters
from sktime_alm.solver.lagrangian import Multipliers, adjoint_multipliers
from sktime_alm.solver.polish import polish
from sktime_alm.solver.reduced import (
    Iterate,
    Trial,
    differentiate,
    evaluate,
    metric,
    penalty_of,
)
from sktime_alm.solver.reformulation import ElmanProblem, Point
from sktime_alm.solver.secants import LimitedMemory, Memory
from sktime_alm.solver.settings import ALMSettings

_SUFFICIENT_DECREASE = 1e-4
# the share of the slope that may remain at the end of a step
_FLATTENING = 0.9
_MAX_TRIALS = 15
# Multiples of the first objective and gradient above which the gradient is that of a cliff:
# the recurrence is unstable there, and fits noise by its sensitivity.
_STEEPEST = 30.0

# An outer iteration that lowers R by less than this share calls for a memory of all pairs: the
# metric, which changes with the weights, is no longer what a step depends on.
_SLOW = 0.1
# one that lowers it by less than this has come to rest, and hands over to the polish
_REST = {"alm": 1e-6, "polish": 1e-5}
_FIRST_POLISH, _LAST_POLISH = 50, 400
# a relaxed start is given up if so many more iterations at its present rate would not pay
_HORIZON = 10
# how far it goes from the best point towards what the sweeps found
_SHARES = 1.0, 0.5, 0.25


def accelerated_steps(
    problem: ElmanProblem,
    iterate: Iterate,
    memory: Memory,
    max_steps: int,
    steepest: float = np.inf,
) -> tuple[Iterate, Memory, int]:
    """At most ``max_steps`` steps of the weight block, each from a feasible point.

    No step ends where the gradient is above ``steepest``.

    Returns
    -------
    iterate : Iterate
        R never rises from one step to the next.
    memory : Memory
        A new one if the old led nowhere.
    n_steps : int
        Fewer than ``max_steps`` if not even the damped step of the weight block lowers R: at
        a stationary point, at a kink, or where rounding hides the decrease.
    """
    memory.renew(inverse_of(metric(problem, iterate.trial)))
    n_steps = 0
    while n_steps < max_steps:
        following = _line_search(problem, iterate, memory.direction(iterate.gradient), steepest)
        if following is None and memory.is_empty:
            break
        if following is None:
            memory = LimitedMemory(iterate.hidden_layer)
            memory.renew(inverse_of(metric(problem, iterate.trial)))
            continue
        memory.append(
            following.hidden_layer - iterate.hidden_layer, following.gradient - iterate.gradient
        )
        iterate = following
        n_steps += 1
    return iterate, memory, n_steps


def _line_search(
    problem: ElmanProblem, iterate: Iterate, direction: Array, steepest: float
) -> Iterate | None:
    """A point along a direction where R is lower by its share and has flattened.

    The weak Wolfe conditions, found by doubling and bisection, which kinks do not disturb
    (Lewis and Overton, 2013). None if R does not fall.
    """
    # the ball of the recurrent weights is convex: short of a point in it the way is free
    end = problem.contracted(iterate.hidden_layer + direction)
    direction = end - iterate.hidden_layer
    slope = float(np.vdot(iterate.gradient, direction))
    if not slope < 0.0:
        return None
    found, length, low, high = None, 1.0, 0.0, np.inf
    for _ in range(_MAX_TRIALS):
        hidden_layer = iterate.hidden_layer + length * direction
        is_admitted = length <= 1.0 or problem.admits(hidden_layer[:, : len(hidden_layer)])
        trial = evaluate(problem, hidden_layer) if is_admitted else None
        rise = np.inf if trial is None else trial.objective - iterate.objective
        is_low = rise <= _SUFFICIENT_DECREASE * length * slope and rise < 0.0
        following = None
        if trial is not None and is_low:
            following = differentiate(problem, trial, steepest)
        if following is None:
            high = length
        else:
            if found is None or following.objective < found.objective:
                found = following
            if float(np.vdot(following.gradient, direction)) >= _FLATTENING * slope:
                return following
            low = length
        if low == 0.0:
            # the minimiser of the parabola through what is known, within bounds
            excess = rise - length * slope
            shrink = -0.5 * length * slope / excess if 0.0 < excess < np.inf else 0.0
            length *= min(max(shrink, 0.1), 0.5)
        else:
            length = 2.0 * length if high == np.inf else 0.5 * (low + high)
    return found


class Descent(NamedTuple):
    """A descent of R on its way.

    ``steepest`` is the largest norm of the gradient allowed, ``phase`` "alm", "polish" or
    "rest", and ``decrease`` what the last iteration gained.
    """

    iterate: Iterate
    memory: Memory
    steepest: float
    phase: str = "alm"
    n_polishes: int = 0
    decrease: float = np.inf
    n_steps: int = 0

    @classmethod
    def begin(
        cls, problem: ElmanProblem, trial: Trial | None, steepest: float | None = None
    ) -> Descent | None:
        """At a trial; None if it overflows or is too steep.

        Without a limit given, it is a multiple of the objective and the gradient there.
        """
        if trial is None:
            return None
        iterate = differentiate(problem, trial, np.inf if steepest is None else steepest)
        if iterate is None:
            return None
        if steepest is None:
            steepness = float(np.linalg.norm(iterate.gradient))
            steepest = _STEEPEST * max(iterate.objective, steepness)
        return cls(iterate, LimitedMemory(iterate.hidden_layer), steepest)

    def advance(self, problem: ElmanProblem, settings: ALMSettings) -> Descent:
        """One outer iteration: accelerated steps in one metric, or a polish."""
        before, memory, phase, n_polishes = self.iterate, self.memory, self.phase, self.n_polishes
        is_stuck = False
        if phase == "alm":
            max_steps = settings.max_inner_iter
            iterate, memory, n_steps = accelerated_steps(
                problem, before, memory, max_steps, self.steepest
            )
            is_stuck = n_steps < max_steps
        else:
            max_steps = min(_FIRST_POLISH * 2**n_polishes, _LAST_POLISH)
            # half of it: the certificate counts rounding in the states as well
            tolerance = 0.5 * settings.tolerance
            iterate, n_steps = polish(problem, before, max_steps, tolerance, self.steepest)
            n_polishes += 1

        decrease = before.objective - iterate.objective
        residual, residual_before = (float(np.linalg.norm(x.gradient)) for x in (iterate, before))
        # without a fall of R nor of its gradient there is no way on: a kink, most often
        has_gained = decrease > _REST[phase] * before.objective or residual <= 0.5 * residual_before
        if residual <= 0.5 * settings.tolerance:
            phase = "rest"
        elif is_stuck or not has_gained:
            phase = "polish" if phase == "alm" and settings.polish else "rest"
        elif phase == "alm" and decrease <= _SLOW * before.objective:
            memory = memory.to_full()
        return Descent(iterate, memory, self.steepest, phase, n_polishes, decrease, n_steps)


def relax(problem: ElmanProblem, iterate: Iterate, trial: int) -> tuple[Array, int]:
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
    gamma = penalty_of(problem, iterate.trial) * 10.0 ** (-1.0 + 3.0 * (0.7548776662 * trial % 1.0))
    n_sweeps = 1 + int(20.0 * (0.5698402910 * trial % 1.0))
    point, none = iterate.trial.point, Multipliers.zeros(*iterate.trial.h.shape)
    for _ in range(n_sweeps):
        point = sweep(problem, point, none, gamma, 1e-5 * gamma)
    return point.parameters.hidden_layer, n_sweeps


@dataclass(frozen=True, eq=False)
class Search:
    """The state between two outer iterations: the best point, and how it is being improved.

    ``phase`` is what the last outer iteration did: "alm", "polish" or "relax".
    """

    problem: ElmanProblem
    best: Iterate
    descent: Descent
    phase: str = "alm"
    n_sweeps: int = 0
    n_relaxations: int = 0

    @classmethod
    def begin(cls, problem: ElmanProblem, initial: ElmanParameters) -> Search | None:
        """At the rollout of initial weights with the best readout; None if R is infinite."""
        if not problem.admits(initial.W):
            return None
        descent = Descent.begin(problem, evaluate(problem, initial.hidden_layer))
        return None if descent is None else cls(problem, descent.iterate, descent)

    @cached_property
    def point(self) -> Point:
        """The best feasible point."""
        return self.best.trial.point

    @cached_property
    def multipliers(self) -> Multipliers:
        """The adjoint multipliers there."""
        return adjoint_multipliers(self.problem, self.point)

    @cached_property
    def gamma(self) -> float:
        """The penalty of the metric there."""
        return penalty_of(self.problem, self.best.trial)

    def is_settled(self, settings: ALMSettings) -> bool:
        """Whether the descent has come to rest and every relaxation has been tried."""
        return self.descent.phase == "rest" and self.n_relaxations >= settings.n_relaxations

    def advance(self, settings: ALMSettings) -> Search:
        """One outer iteration."""
        problem = self.problem
        if self.descent.phase != "rest":
            descent, phase = self.descent.advance(problem, settings), self.descent.phase
            return Search(
                problem, descent.iterate, descent, phase, descent.n_steps, self.n_relaxations
            )

        trial = self.n_relaxations + 1
        hidden_layer, n_sweeps = relax(problem, self.best, trial)
        relaxed = self._restart(hidden_layer)
        while relaxed is not None and relaxed.phase == "alm":
            relaxed = relaxed.advance(problem, settings)
            n_sweeps += relaxed.n_steps
            within_reach = relaxed.iterate.objective - _HORIZON * relaxed.decrease
            if within_reach >= self.best.objective:
                break
        after = replace(self, phase="relax", n_sweeps=n_sweeps, n_relaxations=trial)
        if relaxed is not None and relaxed.iterate.objective < self.best.objective:
            return replace(after, best=relaxed.iterate, descent=relaxed)
        return after

    def _restart(self, hidden_layer: Array) -> Descent | None:
        """A descent from a hidden layer, or part of the way to it where R is a cliff."""
        if not np.isfinite(hidden_layer).all():
            return None
        here, descent = self.best.hidden_layer, None
        for share in _SHARES:
            if descent is None:
                restart = self.problem.contracted(here + share * (hidden_layer - here))
                trial = evaluate(self.problem, restart)
                descent = Descent.begin(self.problem, trial, self.descent.steepest)
        return descent
