"""The method for rows in blocks: quasi-Newton steps over more and more of the rows.

A pass over all rows is dear, one over a sample of them is not, and the minima of R agree up to
what sampling leaves. So R is minimised over samples first, each several times as large as the one
before, and in the end over all rows, from a point that is nearly their minimum.

Steps are Newton's in the beginning, and again every so many: Hessians are sums over rows as well.
In between secant pairs make up for what changes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import islice

import numpy as np
from scipy.linalg import eigh

from sktime_alm.solver._typing import Array
from sktime_alm.solver.accelerated import accelerated_steps
from sktime_alm.solver.active_set import model_cost
from sktime_alm.solver.curvature import SecondOrder, second_order
from sktime_alm.solver.lagrangian import Multipliers
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.optimality import error_level
from sktime_alm.solver.reduced import Iterate, Mark, iterate_at, penalty_of, steepest_from
from sktime_alm.solver.reformulation import ElmanProblem, Sums, Trial
from sktime_alm.solver.result import Status, Step
from sktime_alm.solver.secants import FullMemory, LimitedMemory, Memory
from sktime_alm.solver.settings import SafeguardedSettings
from sktime_alm.solver.spread import SpreadProblem

# a sample is so many times as large as the one before, and none has fewer rows
_GROWTH, _LEAST_ROWS = 6, 100_000
# kinks nearer than this, relative to the size of their unit, are curvature
_WIDTH = 0.1
# the least curvature that counts, relative to the largest
_FLATTEST = 1e-6
# of more weights a Hessian would take longer than it saves
_MOST_WEIGHTS = 1_000
# steps from one Hessian to the next, and as many as show whether it helps
_RENEWAL, _TRIAL = 25, 8
# the share of the tolerance within which a gradient needs no more steps
_ENOUGH = 0.1
# so many steps that lower R relatively by less, and its gradient not by half, are the last ones
_PATIENCE, _LEAST_FALL, _SAMPLE_FALL = 25, 1e-7, 1e-6
_MOST_SAMPLE_STEPS = 500
# steps from one report to the next
_REPORT, _SAMPLE_REPORT = 5, 50


def steps(
    problem: SpreadProblem, initial: ElmanParameters, settings: SafeguardedSettings
) -> Generator[Step, None, Status]:
    """Minimise R over the samples and then over all rows; says why that ends."""
    hidden_layer, status = initial.hidden_layer, None
    for every in _samples(problem):
        sample, is_whole, n_reported = problem.sample(every), every == 1, 0
        least_fall, period = (_LEAST_FALL, _REPORT) if is_whole else (_SAMPLE_FALL, _SAMPLE_REPORT)
        descent = _descent(sample, hidden_layer, settings.tolerance, least_fall)
        descent = islice(descent, None if is_whole else _MOST_SAMPLE_STEPS)
        for n_steps, (iterate, status) in enumerate(descent):
            if iterate is None:
                return Status.NON_FINITE
            hidden_layer, n_unreported = iterate.trial.hidden_layer, n_steps - n_reported
            if n_unreported == period or (is_whole and (n_steps == 0 or status)):
                step = _step(problem, iterate, n_unreported)
                # of a sample's network R over all rows is not known yet
                yield step if is_whole else step._replace(objective=None, phase="sample")
                n_reported = n_steps
    return status or Status.AT_REST


def _samples(problem: SpreadProblem) -> list[int]:
    """Of how many sequences each sample has one; the last one has all."""
    found = [1]
    while problem.n_samples > found[0] * _GROWTH * _LEAST_ROWS:
        found.insert(0, _GROWTH * found[0])
    return found


def _descent(
    problem: SpreadProblem, hidden_layer: Array, tolerance: float, least_fall: float
) -> Iterator[tuple[Iterate | None, Status | None]]:
    """The start and each step, the last one with why it is that; None if the start overflows."""
    iterate = iterate_at(problem, hidden_layer)
    yield iterate, None
    if iterate is None:
        return
    steepest, marks, status = steepest_from(iterate), [Mark.at(iterate)], None
    period = max(_RENEWAL, int(model_cost(problem, hidden_layer.shape)))
    memory: Memory = LimitedMemory(iterate.variables)
    n_since = period
    while status is None:
        if n_since == period:
            memory, n_since = _newton_memory(problem, iterate, memory), 0
        iterate, memory, n_steps = accelerated_steps(problem, iterate, memory, 1, steepest)
        n_since += 1
        marks.append(Mark.at(iterate))
        # of all rows the certificate says whether it is small enough
        level = error_level(problem, iterate.objective)
        is_small = marks[-1].slope <= _ENOUGH * tolerance * level
        if not n_steps or is_small:
            status = Status.AT_REST
        elif n_since >= _TRIAL and _is_slow(marks, least_fall):
            # not before it was tried with a Hessian of here
            status = Status.NO_PROGRESS if n_since == _TRIAL else None
            n_since = period
        yield iterate, status


def _is_slow(marks: list[Mark], least_fall: float) -> bool:
    """Whether the last steps hardly lowered R, nor made its gradient half as small."""
    if len(marks) <= _PATIENCE:
        return False
    fall = marks[-1 - _PATIENCE].objective - marks[-1].objective
    recent, earlier = marks[-_PATIENCE:], marks[:-_PATIENCE]
    is_steep = min(m.slope for m in recent) > 0.5 * min(m.slope for m in earlier)
    return fall <= least_fall * marks[-1].objective and is_steep


def _step(problem: SpreadProblem, iterate: Iterate, n_steps: int) -> Step:
    """At a feasible point L is R, whatever the multipliers."""
    trial, R = iterate.trial, iterate.objective
    none = Multipliers.zeros(*trial.h.shape)
    return Step(trial.point, none, penalty_of(problem, trial), R, n_steps, objective=R)


def _newton_memory(problem: SpreadProblem, iterate: Iterate, memory: Memory) -> Memory:
    """The inverse of the Hessian, or what is known already where there are many weights."""
    if iterate.variables.size > _MOST_WEIGHTS:
        return memory
    hessian = hessian_at(problem, iterate)
    if hessian is None:
        return memory
    values, vectors = eigh(hessian)
    # along a direction in which R is concave, downhill as far as if it were convex
    values = np.maximum(np.abs(values), _FLATTEST * np.abs(values).max())
    return FullMemory(np.asfortranarray((vectors / values) @ vectors.T))


def hessian_at(problem: SpreadProblem, iterate: Iterate) -> Array | None:
    """Second derivatives of R in the coordinates of the bound; its kinks are spread a little.

    None if the sensitivities overflow.
    """
    trial = iterate.trial
    layers = trial.hidden_layer, trial.readout
    sums = SecondOrder(*problem.total(_second_order, *layers))
    if not all(np.isfinite(term).all() for term in sums):
        return None
    plain = sums.hessian(problem, np.eye(trial.hidden_layer.shape[1]))
    return problem.contraction.hessian(iterate.frame, problem.gradient(*layers), plain)


def _second_order(problem: ElmanProblem, hidden_layer: Array, readout: Array) -> Sums:
    """What a part adds to the sums."""
    u, h = problem.rollout_of(hidden_layer)
    trial = Trial(hidden_layer, readout, u, h, problem.errors(readout, h), np.nan)
    return second_order(problem, trial, _WIDTH)
