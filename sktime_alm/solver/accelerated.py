"""Accelerated steps of the weight block: a quasi-Newton method, in coordinates of the bound."""

from __future__ import annotations

import numpy as np

from sktime_alm.solver._typing import Array
from sktime_alm.solver.bcd import inverse_of
from sktime_alm.solver.execution import time_is_up
from sktime_alm.solver.reduced import Iterate, differentiate, evaluate, metric_at
from sktime_alm.solver.reformulation import ElmanProblem
from sktime_alm.solver.secants import LimitedMemory, Memory
from sktime_alm.solver.spread import SpreadProblem

_SUFFICIENT_DECREASE = 1e-4
# the share of the slope that may remain at the end of a step
_FLATTENING = 0.9
_MAX_TRIALS = 15
# the plain gradient is what a step is tried along last, and farther down
_MOST_TRIALS = 40


def accelerated_steps(
    problem: ElmanProblem | SpreadProblem,
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
        Fewer than ``max_steps`` if neither the damped step of the weight block nor the plain
        gradient lowers R: at a stationary point, at a kink, or where rounding hides the decrease.
    """
    if isinstance(memory, LimitedMemory):
        memory.renew(inverse_of(metric_at(problem, iterate)))
    n_steps = 0
    while n_steps < max_steps and not time_is_up():
        following = _line_search(problem, iterate, memory.direction(iterate.gradient), steepest)
        if following is None and not memory.is_empty:
            memory = LimitedMemory(iterate.variables)
            memory.renew(inverse_of(metric_at(problem, iterate)))
            continue
        if following is None:
            direction = -iterate.gradient
            following = _line_search(problem, iterate, direction, steepest, _MOST_TRIALS)
        if following is None:
            break
        memory.append(
            following.variables - iterate.variables, following.gradient - iterate.gradient
        )
        iterate = following
        n_steps += 1
    return iterate, memory, n_steps


def _line_search(
    problem: ElmanProblem | SpreadProblem,
    iterate: Iterate,
    direction: Array,
    steepest: float,
    max_trials: int = _MAX_TRIALS,
) -> Iterate | None:
    """A point along a direction where R is lower by its share and has flattened.

    The weak Wolfe conditions, found by doubling and bisection, which kinks do not disturb
    (Lewis and Overton, 2013). None if R does not fall.
    """
    slope = float(np.vdot(iterate.gradient, direction))
    if not slope < 0.0:
        return None
    found, length, low, high = None, 1.0, 0.0, np.inf
    for _ in range(max_trials):
        frame = problem.contraction.frame(iterate.variables + length * direction)
        trial = evaluate(problem, frame.hidden_layer, iterate.trial.readout)
        rise = np.inf if trial is None else trial.objective - iterate.objective
        following = None
        if trial is not None and rise <= _SUFFICIENT_DECREASE * length * slope and rise < 0.0:
            following = differentiate(problem, frame, trial, steepest)
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
