"""The method for rows in blocks: quasi-Newton steps that begin with the curvature of a sample.

A pass over all rows is dear, one over a sample of them is not, and the Hessians of R agree up to
what sampling leaves. So the first steps are Newton's, but for that, and secant pairs of all
rows make up for it.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from scipy.linalg import eigh

from sktime_alm.solver._typing import Array
from sktime_alm.solver.accelerated import accelerated_steps
from sktime_alm.solver.lagrangian import Multipliers
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.reduced import (
    Iterate,
    Mark,
    evaluate,
    gradient_of,
    iterate_at,
    penalty_of,
    steepest_from,
)
from sktime_alm.solver.result import Status, Step
from sktime_alm.solver.secants import FullMemory, LimitedMemory, Memory
from sktime_alm.solver.settings import SafeguardedSettings
from sktime_alm.solver.spread import SpreadProblem

# the step of differences: wide enough to pass over many kinks, whose slopes are curvature in all
_DIFFERENCE = 1e-4
# the least curvature that counts, relative to the largest
_FLATTEST = 1e-6
# of more weights the differences would take longer than they save
_MOST_WEIGHTS = 1_000
# so many steps that lower R relatively by less, and its gradient not by half, are the last ones
_PATIENCE, _LEAST_FALL = 20, 1e-4


def steps(
    problem: SpreadProblem, initial: ElmanParameters, settings: SafeguardedSettings
) -> Generator[Step, None, Status]:
    """One quasi-Newton step after the other, until they lower R no more; says why they end."""
    iterate = iterate_at(problem, initial.hidden_layer)
    if iterate is None:
        return Status.NON_FINITE
    steepest = steepest_from(iterate)
    yield _step(problem, iterate, 0)
    memory, n_steps, marks = _first_memory(problem, iterate), 1, [Mark.at(iterate)]
    while n_steps:
        known = memory
        iterate, memory, n_steps = accelerated_steps(problem, iterate, memory, 1, steepest)
        if n_steps and memory is not known:
            # what had been learned led nowhere: the curvature is another by now
            memory = _first_memory(problem, iterate)
        marks.append(Mark.at(iterate))
        yield _step(problem, iterate, n_steps)
        if _is_slow(marks):
            return Status.NO_PROGRESS
    return Status.AT_REST


def _is_slow(marks: list[Mark]) -> bool:
    """Whether the last steps hardly lowered R, nor made its gradient half as small."""
    if len(marks) <= _PATIENCE:
        return False
    fall = marks[-1 - _PATIENCE].objective - marks[-1].objective
    recent, earlier = marks[-_PATIENCE:], marks[:-_PATIENCE]
    is_steep = min(m.slope for m in recent) > 0.5 * min(m.slope for m in earlier)
    return fall <= _LEAST_FALL * marks[-1].objective and is_steep


def _step(problem: SpreadProblem, iterate: Iterate, n_steps: int) -> Step:
    """At a feasible point L is R, whatever the multipliers."""
    trial, R = iterate.trial, iterate.objective
    none = Multipliers.zeros(*trial.h.shape)
    return Step(trial.point, none, penalty_of(problem, trial), R, n_steps, objective=R)


def _first_memory(problem: SpreadProblem, iterate: Iterate) -> Memory:
    """The inverse of the sample's Hessian, or nothing but the metric for many weights."""
    if iterate.variables.size > _MOST_WEIGHTS:
        return LimitedMemory(iterate.variables)
    hessian = sampled_hessian(problem, iterate)
    if not np.isfinite(hessian).all():
        return LimitedMemory(iterate.variables)
    values, vectors = eigh(hessian)
    values = np.maximum(np.abs(values), _FLATTEST * np.abs(values).max())
    return FullMemory(np.asfortranarray((vectors / values) @ vectors.T))


def sampled_hessian(problem: SpreadProblem, iterate: Iterate) -> Array:
    """Second derivatives of R over the sample, by differences of its gradient.

    In the coordinates of the bound; of shape (n, n), n the number of weights in [W V b].
    """

    def gradient(variables: Array) -> Array:
        frame = problem.contraction.frame(variables)
        trial = evaluate(problem.like, frame.hidden_layer)
        if trial is None:
            return np.full(variables.size, np.nan)
        found = problem.contraction.pull_back(frame, gradient_of(problem.like, trial))
        return np.asarray(found).ravel()

    here, variables = gradient(iterate.variables), iterate.variables
    rows = np.empty((variables.size, variables.size))
    for k in range(variables.size):
        moved = variables.copy()
        step = _DIFFERENCE * (1.0 + abs(moved.flat[k]))
        moved.flat[k] += step
        rows[k] = (gradient(moved) - here) / step
    return 0.5 * (rows + rows.T)
