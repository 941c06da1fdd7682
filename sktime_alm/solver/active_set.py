"""The finish: an active-set Newton method on R, which ends at a KKT point.

R of a network with kinked units is smooth on pieces, and its minima lie on their edges: there
some pre-activations are 0. Such a unit is *held*; its slope, anything between those of its two
sides, is its multiplier. A step is that of a quadratic program with the kinks nearby
(:mod:`kink_program`), or of the Lagrangian on the units that it holds. Either is put back onto
u = 0 there, and the one with the smallest R is taken if R falls. The bound on ||W|| is kept in the
same way (:mod:`rim`). Without kinks this is Newton's method, damped.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import NamedTuple

import numpy as np

from sktime_alm.solver._typing import Array, BoolArray
from sktime_alm.solver.accelerated import accelerated_steps
from sktime_alm.solver.curvature import Piece, expand
from sktime_alm.solver.execution import time_is_up
from sktime_alm.solver.kink_program import Local, Restoration, Step, newton_step
from sktime_alm.solver.optimality import relative_size
from sktime_alm.solver.reduced import gradient_of, iterate_at
from sktime_alm.solver.reformulation import ElmanProblem, TrainingProblem, Trial
from sktime_alm.solver.secants import LimitedMemory
from sktime_alm.solver.subgradients import balanced_piece

# Singular values of W relatively so near to the bound are held there if their multiplier agrees:
# at first, where that does not lead on, and in the end.
_NEAR_RIM, _ON_RIM, _AT_RIM = 1e-3, 1e-7, 1e-10
# without a rim to hold, as in the diagonal norm, W must be inside of its bound by this share
_INSIDE = 2e-3
# pre-activations so small, relative to those of the network, may be held, and must end so near
_KINK, _ON_KINK = 1e-6, 1e-11
_FIRST_DAMPING, _LEAST_DAMPING, _AFTER_STALL = 1e-3, 1e-9, 1e-2
# the damping is multiplied by the first where a step fails, by the others where one is good
_RAISE, _LOWER, _AFTER_NEWTON = 8.0, 0.4, 0.01
_MAX_TRIES, _TRIES_UNBALANCED, _TRIES_NEAR_RIM, _LONGEST = 20, 8, 3, 64.0
# the share of the predicted fall that must come, that makes a step good, and a better one likely
_ENOUGH, _GOOD, _EXACT = 0.05, 0.5, 0.9
# quasi-Newton steps where no model with kinks helps: after a stall, or with damping above this
_MAX_STALLS, _BURST, _UNTRUSTED = 3, 200, 0.1
# Networks whose largest sensitivity times sqrt(R), in the metric, is above this at the start are
# not near any KKT point: a step moves hundreds of units over their kinks.
_CHAOTIC = 1e4
# of n weights the quadratic program sees the n + 100 nearest kinks: n may be held
_N_NEAR = 100
_MOST_WEIGHTS = 1_000
# What things cost, as measured on x86-64 cores, in operations at the pace of a matrix product:
# an evaluation of R with its gradient, and more for a row, for a row and weight, and for a row and
# unit of a smooth activation;
_CALL, _ROW, _WEIGHT, _EXPONENTIAL = 6e5, 2_500.0, 16.0, 500.0
# a sensitivity, which is read and written some ten times; and the coefficients of n^3 in an
# eigendecomposition and in a step
_SENSITIVITY, _EIGEN, _SOLVE = 90.0, 9.0, 4.0
# evaluations of R that a model and the candidates of a step cost in any case
_MODEL, _TRY = 15.0, 10.0
# multiples of the first objective and gradient above which the gradient is that of a cliff
_STEEPEST = 30.0
# so many steps must lower R relatively by this much, or halve the residual
_PATIENCE, _LEAST_FALL = 30, 1e-7


class Ending(Enum):
    """Why the finish ended, in a sentence."""

    STATIONARY = "The gradient of the Lagrangian is within the tolerance."
    SPENT = "The limit on steps, work or seconds was reached."
    STALLED = "No step lowers the objective any more."
    SLOW = "Many steps lowered neither the objective nor the residual by much."
    CHAOTIC = "The network is chaotic: its kinks lie too close to each other."
    TOO_LARGE = "The network has too many weights for second derivatives."
    SCALED = "W is on its bound in the diagonal norm, which Newton steps cannot hold."


class Outcome(NamedTuple):
    """What :func:`finish` ends with.

    ``held`` and ``slopes``, both (T, r), are the units on their kink and the slopes of all;
    ``recurrence``, (r, r), is the multiplier of the bound on ||W||: of the singular values held.
    ``residual`` is the relative stationarity of the Lagrangian at the last step; ``work`` is
    what the steps cost, in evaluations of R with its gradient.
    """

    trial: Trial
    held: BoolArray
    slopes: Array
    recurrence: Array
    ending: Ending
    residual: float = np.inf
    n_steps: int = 0
    work: float = 0.0


def finish(
    problem: ElmanProblem,
    trial: Trial,
    *,
    tolerance: float = 1e-6,
    max_steps: int = 300,
    max_work: float = np.inf,
    steepest: float | None = None,
) -> Outcome:
    """Lower R from a trial until it is stationary.

    Parameters
    ----------
    problem : ElmanProblem
    trial : Trial
    tolerance : float, default=1e-6
        For the relative stationarity, as in :class:`Certificate`.
    max_steps : int, default=300
    max_work : float, default=inf
        In evaluations of R with its gradient; the work is counted, not timed, so that the outcome
        does not depend on the machine.
    steepest : float, optional
        No step ends where the norm of the gradient, with inputs in units of their size, is above
        this; by default a multiple of R and the gradient at the beginning.

    Returns
    -------
    Outcome
        R of its trial is never above that of the given one. It ends early where the time of the
        fit is up.
    """
    budget = _Budget(problem, trial.hidden_layer.shape, max_steps, max_work)
    slope = relative_size(problem, trial.objective, gradient_of(problem, trial))
    ending = _needless(problem, trial, budget, slope <= tolerance)
    if ending is not None:
        r, piece = len(trial.hidden_layer), Piece.at(problem, trial.u)
        return Outcome(trial, *piece, np.zeros((r, r)), ending, slope)
    if steepest is None:
        steepest = _STEEPEST * max(trial.objective, _steepness(problem, trial))
    with np.errstate(all="ignore"):
        return _Finish(problem, trial, tolerance, steepest, budget).run()


def _needless(
    problem: ElmanProblem, trial: Trial, budget: _Budget, is_stationary: bool
) -> Ending | None:
    """Why not even a first step is taken."""
    if is_stationary:
        return Ending.STATIONARY
    if trial.hidden_layer.size > _MOST_WEIGHTS:
        return Ending.TOO_LARGE
    if problem.contraction.has_scaling and not _is_inside(problem, trial):
        return Ending.SCALED
    return Ending.SPENT if budget.is_spent else None


def _is_inside(problem: ElmanProblem, trial: Trial) -> bool:
    """Whether W is away from its bound."""
    bound = (1.0 - _INSIDE) * problem.contraction.bound
    W = trial.hidden_layer[:, : len(trial.hidden_layer)]
    return replace(problem.contraction, bound=bound).contains(W)


def model_cost(problem: TrainingProblem, shape: tuple[int, int]) -> float:
    """What R to second order costs, in evaluations of R with its gradient."""
    (r, q), T, m = shape, problem.n_samples, problem.n_outputs
    n = r * q
    over_time = T * n * (_SENSITIVITY * r + 4 * r * r + 2 * m * (2 * r + q) + m * n)
    if not problem.sigma.has_kink:
        over_time += T * n * n * r
    return _MODEL + (over_time + _EIGEN * n**3) / _evaluation(problem, shape)


def _evaluation(problem: TrainingProblem, shape: tuple[int, int]) -> float:
    """R with its gradient, in operations at the pace of a matrix product."""
    (r, q), T = shape, problem.n_samples
    exponential = 0 if problem.sigma.has_kink else _EXPONENTIAL * r
    return _CALL + T * (_ROW + _WEIGHT * r * q + exponential)


class _Budget:
    """What has been spent, in evaluations of R with its gradient, and whether it is all."""

    def __init__(
        self,
        problem: ElmanProblem,
        shape: tuple[int, int],
        max_steps: int,
        max_work: float,
    ) -> None:
        self.of_model = model_cost(problem, shape)
        self.of_try = _TRY + _SOLVE * (shape[0] * shape[1]) ** 3 / _evaluation(problem, shape)
        self.max_steps, self.max_work = max_steps, max_work
        self.n_steps, self.work = 0, 0.0

    @property
    def is_spent(self) -> bool:
        """Whether there is no more for another step."""
        return (
            self.n_steps >= self.max_steps
            or self.work + self.of_model + self.of_try > self.max_work
            or time_is_up()
        )


class _Accepted(NamedTuple):
    """A trial with a lower R, and the damping to go on with."""

    trial: Trial
    damping: float


class _Finish:
    """A run: where it is, and how well it goes."""

    def __init__(
        self,
        problem: ElmanProblem,
        trial: Trial,
        tolerance: float,
        steepest: float,
        budget: _Budget,
    ) -> None:
        self.problem, self.trial, self.budget = problem, trial, budget
        self.tolerance, self.steepest = tolerance, steepest
        self.ceiling, self.n_near = trial.objective, _N_NEAR + trial.hidden_layer.size
        self.damping, self.n_stalls, self.residual = _FIRST_DAMPING, 0, np.inf
        self._take(Piece.at(problem, trial.u))
        self.objectives: list[float] = []
        self.residuals: list[float] = []

    def run(self) -> Outcome:
        """Steps until one of the endings."""
        outcome = None
        while outcome is None:
            # a model holds several arrays of all states, and is gone before the next one is made
            outcome = self._advance()
        return outcome

    def _advance(self) -> Outcome | None:
        """A step, and the outcome if it was the last one."""
        budget, local = self.budget, self._local(_NEAR_RIM)
        if not budget.n_steps and local.model.sensitivity > _CHAOTIC:
            return self._outcome(local, Ending.CHAOTIC)
        local, step, found = self._search(local)
        budget.n_steps += 1
        self.residual = step.residual
        if self._is_stationary(local, step):
            self.piece = self._piece_of(step)
            return self._outcome(local, Ending.STATIONARY)
        if found is not None:
            self._move(found, step)
        elif not self.is_balanced:
            # slopes depend on each other along time: none is tried by itself
            self._balance()
        elif self.n_stalls == _MAX_STALLS:
            return self._outcome(local, Ending.STALLED)
        else:
            self.n_stalls += 1
            self._burst()
            self.damping = _AFTER_STALL
        if self._is_slow(step):
            return self._outcome(local, Ending.SLOW)
        return self._outcome(local, Ending.SPENT) if budget.is_spent else None

    def _outcome(self, local: Local, ending: Ending) -> Outcome:
        budget = self.budget
        return Outcome(
            self.trial,
            *self.piece,
            local.recurrence,
            ending,
            self.residual,
            budget.n_steps,
            budget.work,
        )

    def _local(self, near_rim: float) -> Local:
        """The model at the iterate."""
        self.budget.work += self.budget.of_model
        trial = self.trial
        model = expand(self.problem, trial, self.piece, self._alive(trial.u), self.n_near)
        return Local(self.problem, model, near_rim)

    def _alive(self, u: Array) -> BoolArray:
        """The units with kinks that are on at some time: the others are smooth at 0."""
        return (u.max(axis=0) > _KINK * _size(u)) & self.problem.sigma.has_kink

    def _is_stationary(self, local: Local, step: Step) -> bool:
        """Whether the gradient is within the tolerance, with all that is held in its place."""
        off = float(np.abs(step.u).max(initial=0.0))
        gap = float(np.abs(step.rim_gaps).max(initial=0.0))
        is_held = off <= _ON_KINK * _size(self.trial.u) and not local.is_off_rim(_AT_RIM)
        is_held = is_held and gap <= _AT_RIM * self.problem.max_recurrence
        return step.residual <= self.tolerance and is_held

    def _is_slow(self, step: Step) -> bool:
        """Whether the last steps gained too little for more to pay."""
        self.objectives.append(self.trial.objective)
        self.residuals.append(step.residual)
        if len(self.objectives) <= _PATIENCE:
            return False
        fall = self.objectives[-1 - _PATIENCE] - self.objectives[-1]
        earlier, recent = self.residuals[:-_PATIENCE], self.residuals[-_PATIENCE:]
        has_fallen = fall > _LEAST_FALL * self.trial.objective
        return not has_fallen and min(recent) > 0.5 * min(earlier)

    def _search(self, local: Local) -> tuple[Local, Step, _Accepted | None]:
        """Raise the damping until a step lowers R by its share; with the model that it is of."""
        damping, n_tries = self.damping, 0
        most = _MAX_TRIES if self.is_balanced else _TRIES_UNBALANCED
        while True:
            step = local.solve(damping, self.n_near)
            n_tries += 1
            if self._is_stationary(local, step):
                return local, step, None
            found = self._try(local, step, damping)
            if found is not None or n_tries == most:
                return local, step, found
            damping *= _RAISE
            if n_tries == _TRIES_NEAR_RIM and local.is_off_rim(_ON_RIM):
                # what was in the way is what was held, not the length of the step
                local, damping = Local(self.problem, local.model, _ON_RIM), self.damping

    def _try(self, local: Local, step: Step, damping: float) -> _Accepted | None:
        """The best of the candidates of a step, if it is good enough."""
        self.budget.work += self.budget.of_try
        R, restore = self.trial.objective, Restoration(local, step)
        candidates = step.d, newton_step(local.H, step), restore.onto_kinks()
        best, trial = 0, None
        for number, d in enumerate(candidates):
            found = None if d is None else self._admissible(restore.at(d))
            if found is not None and (trial is None or found.objective < trial.objective):
                best, trial = number, found
        if trial is None:
            return None
        fall, rounding = R - trial.objective, 2e-15 * abs(R)
        is_enough = fall >= _ENOUGH * step.predicted and fall > 0.0
        # where the prediction is rounding, so is the fall
        is_rounding = step.predicted < 10.0 * rounding and fall >= -rounding
        if not (is_enough or is_rounding):
            return None
        if fall < _GOOD * step.predicted:
            return _Accepted(trial, damping)
        if best == 1:
            return _Accepted(trial, max(_AFTER_NEWTON * damping, _LEAST_DAMPING))
        length = 1.0
        if best == 0 and fall > _EXACT * step.predicted:
            trial, length = self._lengthened(restore, step, trial)
        return _Accepted(trial, max(_LOWER / length * damping, _LEAST_DAMPING))

    def _lengthened(self, restore: Restoration, step: Step, trial: Trial) -> tuple[Trial, float]:
        """Double a step while R falls: along negative curvature the model is too timid."""
        length = 1.0
        while length < _LONGEST:
            longer = self._admissible(restore.at(2.0 * length * step.d))
            if longer is None or not longer.objective < trial.objective:
                break
            trial, length = longer, 2.0 * length
        return trial, length

    def _admissible(self, trial: Trial | None) -> Trial | None:
        """A trial, unless R is above that of the start or it ends on a cliff."""
        if trial is None or not trial.objective <= self.ceiling:
            return None
        is_refused = trial.objective >= self.trial.objective
        if is_refused or _steepness(self.problem, trial) <= self.steepest:
            return trial
        return None

    def _take(self, piece: Piece) -> None:
        """A piece whose slopes at kinks, if there are any, were not chosen together."""
        self.piece, self.is_balanced = piece, not self.problem.sigma.has_kink

    def _balance(self) -> None:
        """Begin anew here, with the slopes at the kinks that leave the least of the gradient."""
        self.piece, self.is_balanced = balanced_piece(self.problem, self.trial, _ON_KINK), True
        self.budget.work += self.budget.of_model

    def _move(self, found: _Accepted, step: Step) -> None:
        self.trial, self.damping = found
        if self.damping > _UNTRUSTED:
            self._burst()
        self._take(self._piece_of(step))

    def _piece_of(self, step: Step) -> Piece:
        """The units that a step holds and that are on their kinks at the iterate."""
        u = self.trial.u
        held = np.zeros(u.shape, bool)
        held.flat[step.held] = True
        held &= (np.abs(u) <= _KINK * _size(u)) & self._alive(u)
        return Piece(held, np.where(held, step.slopes, self.problem.sigma.derivative(u)))

    def _burst(self) -> None:
        """Quasi-Newton steps, cheap ones; they forget which units are held."""
        iterate = iterate_at(self.problem, self.trial.hidden_layer)
        if iterate is not None:
            memory = LimitedMemory(iterate.variables).to_full()
            iterate, _, n_steps = accelerated_steps(
                self.problem, iterate, memory, _BURST, self.steepest
            )
            self.budget.work += 2.0 * n_steps
            # where W is on its bound they begin a little inside, at a larger R
            if iterate.objective < self.trial.objective:
                self.trial = iterate.trial
        self._take(Piece.at(self.problem, self.trial.u))


def _size(u: Array) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(u * u)))


def _steepness(problem: ElmanProblem, trial: Trial) -> float:
    """Norm of the gradient of R, with inputs in units of their size."""
    gradient, r = gradient_of(problem, trial), len(trial.hidden_layer)
    gradient[:, r:-1] /= problem.contraction.sizes
    return float(np.linalg.norm(gradient))
