"""One problem whose rows lie in blocks: in this process, or on the workers of a cluster.

R, its gradient and what a step asks besides are sums over rows. To the blocks go the weights, and
back come sums whose size does not depend on the number of rows, in two passes an evaluation:

    1. the rollout of B, and with it the sums of the readout's system (3.14);
    2. the readout known, R, the adjoint recursion and the gradient of R in B.

With these a block keeps nothing from one pass to the next. So one that is lost with its worker is
read again elsewhere, and the pass gives the same. The states of the paper's method stay with the
blocks; those of a lost worker are worked out again from the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from operator import add
from typing import Any, NamedTuple, Protocol

import numpy as np

from sktime_alm.solver import kernels
from sktime_alm.solver._typing import Array
from sktime_alm.solver.activations import Activation
from sktime_alm.solver.bcd import hidden_layer_gram, readout_of, readout_sums
from sktime_alm.solver.contraction import Contraction
from sktime_alm.solver.datafits import Datafit
from sktime_alm.solver.execution import one_blas_thread
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.optimality import Certificate, Residuals, certificate_of
from sktime_alm.solver.readout import expansion_of, newton
from sktime_alm.solver.reformulation import ElmanProblem, Sums, TrainingProblem, Trial
from sktime_alm.solver.regularization import Regularization

# a block: sequences of a few thousand rows each, whose states stay in the processor's cache
Block = Sequence[ElmanProblem]
# what a function gives of each sequence of a block; or, where that stays elsewhere, a handle to it
States = Sequence[Sums]
# of evaluations before the last ones the driver has no use
_N_KEPT = 4


class Lost(RuntimeError):
    """The blocks cannot be reached any more."""


class Blocks(Protocol):
    """Where the blocks are, and how a function is taken over all of them.

    Loading is the constructor's; there is nothing else that an engine must do. ``kept`` are what
    the blocks have kept before.
    """

    def map(
        self, function: Callable[..., Any], *arguments: Any, kept: Sequence[Sequence[States]] = ()
    ) -> list[Any]:
        """``function(block, *kept, *arguments)`` of every block, in their order.

        Raises
        ------
        Lost
            If the blocks cannot be reached any more.
        """

    def keep(
        self, function: Callable[..., Any], *arguments: Any, kept: Sequence[Sequence[States]] = ()
    ) -> Sequence[States]:
        """The same, left with the blocks.

        Raises
        ------
        Lost
        """

    def close(self) -> None:
        """Let go of the blocks."""


class _Sample:
    """Every so many sequences of the blocks."""

    def __init__(self, blocks: Blocks, every: int) -> None:
        self._blocks, self._every = blocks, every

    def map(
        self, function: Callable[..., Any], *arguments: Any, kept: Sequence[Sequence[States]] = ()
    ) -> list[Any]:
        """Of what is in the sample of every block."""
        return self._blocks.map(partial(_of_sample, self._every, function), *arguments, kept=kept)

    def keep(
        self, function: Callable[..., Any], *arguments: Any, kept: Sequence[Sequence[States]] = ()
    ) -> Sequence[States]:
        """The same, left with the blocks."""
        return self._blocks.keep(partial(_of_sample, self._every, function), *arguments, kept=kept)

    def close(self) -> None:
        """The blocks are needed on."""


def _of_sample(every: int, function: Callable[..., Any], block: Block, *arguments: Any) -> Any:
    return function(block[::every], *arguments)


class _Rows(NamedTuple):
    """What does not depend on the weights: numbers of rows, and sums over them."""

    n_samples: int
    n_observed: int
    skip_gram: Array
    skip_product: Array
    squares: Array
    targets: Array


@dataclass(frozen=True, eq=False)
class Kept:
    """An array with a row for each of the problem's, which is with the blocks.

    Parameters
    ----------
    problem : SpreadProblem
    values : sequence
        What each block has kept.
    term : int
        Which of the arrays that it has of each sequence.
    """

    problem: SpreadProblem
    values: Sequence[States]
    term: int

    @property
    def shape(self) -> tuple[int, int]:
        """(T, r)."""
        n_rows, size = self.problem.total(_extent, states=(self,))
        return n_rows, size // n_rows

    def sum(self) -> float:
        """The sum of all numbers."""
        (total,) = self.problem.total(_sum, states=(self,))
        return float(total)


@dataclass(frozen=True, eq=False)
class SpreadProblem(TrainingProblem):
    """A problem (2.6) whose rows lie in blocks.

    Parameters
    ----------
    blocks : Blocks
        Their problems are alike in all but the rows; penalties are those of ``like``.
    like : ElmanProblem
        The kind of problem: penalties, activation, bound, loss and the numbers of columns.
    """

    blocks: Blocks
    like: ElmanProblem
    regularization: Regularization = field(init=False)
    linear_skip: bool = field(init=False)
    datafit: Datafit = field(init=False)
    sigma: Activation = field(init=False)
    contraction: Contraction = field(init=False)
    rows: _Rows = field(init=False, repr=False)
    _kept: dict[tuple[bytes, bytes], Residuals] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        like = self.like
        rows = _Rows(*_added(self.blocks.map(partial(_total, _rows_of, (), None))))
        for name in ("regularization", "linear_skip", "datafit", "sigma"):
            object.__setattr__(self, name, getattr(like, name))
        sizes = np.sqrt(rows.squares / rows.n_samples)
        sizes = np.where(sizes > 0.0, sizes, 1.0)
        contraction = Contraction(like.max_recurrence, like.recurrence_norm, sizes)
        object.__setattr__(self, "contraction", contraction)
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "_kept", {})

    @property
    def n_samples(self) -> int:
        """T, of all blocks."""
        return self.rows.n_samples

    @property
    def n_observed(self) -> int:
        """Number of rows with targets in all blocks."""
        return self.rows.n_observed

    @property
    def n_inputs(self) -> int:
        """n."""
        return self.like.n_inputs

    @property
    def n_outputs(self) -> int:
        """m."""
        return self.like.n_outputs

    @property
    def skip_gram(self) -> Array:
        """As in process."""
        return self.rows.skip_gram

    @property
    def skip_product(self) -> Array:
        """As in process."""
        return self.rows.skip_product

    @cached_property
    def target_size(self) -> float:
        """Root of the mean variance of the columns of Y; 1 if they are constant."""
        mean = self.rows.targets / self.n_observed
        (deviations,) = self.total(_deviations, mean)
        return float(np.sqrt(deviations.mean() / self.n_observed)) or 1.0

    @cached_property
    def loss_of_targets(self) -> float:
        """The sum of the losses where all outputs are 0, whatever the states."""
        return float(self.total(_loss_of_targets)[0])

    def sample(self, every: int) -> SpreadProblem:
        """The problem of every so many sequences of each block: R as they tell it."""
        if every == 1:
            return self
        sample = replace(self, blocks=_Sample(self.blocks, every))
        penalties = self.regularization.of_rows(sample.n_samples / self.n_samples)
        return replace(sample, like=replace(self.like, regularization=penalties))

    def total(
        self, function: Callable[..., Sums], *arguments: Any, states: Sequence[Any] = ()
    ) -> Sums:
        """The sums over all sequences of a function of each; ``states`` are :class:`Kept`.

        Over those of a block first, and then over the blocks, in their order: so it does not
        depend on which worker is the fastest.
        """
        return _added(self._ask(self.blocks.map, _total, function, arguments, states))

    def keep(
        self, function: Callable[..., Sums], *arguments: Any, states: Sequence[Any] = ()
    ) -> tuple[Any, Any]:
        """Two :class:`Kept` arrays, which the function gives of each sequence."""
        values = self._ask(self.blocks.keep, _states, function, arguments, states)
        return Kept(self, values, 0), Kept(self, values, 1)

    def _ask(
        self,
        ask: Callable[..., Any],
        of_block: Callable[..., Any],
        function: Callable[..., Sums],
        arguments: Sequence[Any],
        states: Sequence[Kept],
    ) -> Any:
        # blocks are loaded before penalties are chosen, so that these travel with each question
        whole = self.n_observed, self.regularization.l2_preactivation
        terms = tuple(state.term for state in states)
        kept = [state.values for state in states]
        return ask(partial(of_block, function, terms, whole), *arguments, kept=kept)

    def evaluate(self, hidden_layer: Array, near: Array | None = None) -> Trial | None:
        """As :func:`sktime_alm.solver.reduced.evaluate`."""
        readout = near
        # other losses begin with the readout of the squared one unless they have a nearer one
        if readout is None or self.is_squared:
            gram, cross, product = self.total(_readout_sums, hidden_layer)
            if not np.isfinite(gram).all():
                return None
            readout = readout_of(self, gram, cross, product)
        if not self.is_squared:
            readout = newton(
                self,
                readout,
                lambda readout: self.total(_loss, hidden_layer, readout)[0],
                lambda readout: self.total(_expansion, hidden_layer, readout),
            )
        return self._trial(hidden_layer, readout)

    def _trial(self, hidden_layer: Array, readout: Array) -> Trial | None:
        if not np.isfinite(readout).all():
            return None
        of_rows = self.residuals(hidden_layer, readout).objective
        objective = of_rows + self.regularization.of_layers(hidden_layer, readout)
        if not np.isfinite(objective):
            return None
        none, no_errors = np.empty((0, len(hidden_layer))), np.empty((0, self.n_outputs))
        return Trial(hidden_layer, readout, none, none, no_errors, objective)

    def residuals(self, hidden_layer: Array, readout: Array) -> Residuals:
        """The second pass, or its sums if it is among the last ones taken.

        Those at the rollout with multipliers by the adjoint recursion: ``hidden_layer`` is then
        the gradient of R.
        """
        # objective, gradient and certificate are asked for one by one, at the same weights
        key = hidden_layer.tobytes(), readout.tobytes()
        if key not in self._kept:
            if len(self._kept) == _N_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = Residuals(*self.total(_residuals, hidden_layer, readout))
        return self._kept[key]

    def gradient(self, hidden_layer: Array, readout: Array) -> Array:
        """The gradient of R in B."""
        of_penalties, _ = self.regularization.gradient(hidden_layer, readout)
        return of_penalties + self.residuals(hidden_layer, readout).hidden_layer

    def hidden_layer_gram(self, trial: Trial) -> Array:
        """P'P of (3.14)."""
        gram: Array = self.total(_hidden_layer_gram, trial.hidden_layer)[0]
        return gram

    def objective(self, parameters: ElmanParameters) -> float:
        """R; infinity if the network overflows, or is not contractive enough."""
        if not self.contraction.contains(parameters.W):
            return np.inf
        trial = self._trial(parameters.hidden_layer, parameters.readout)
        return np.inf if trial is None else trial.objective

    def certificate(self, parameters: ElmanParameters, tolerance: float) -> Certificate:
        """KKT residuals at the rollout with multipliers by the adjoint recursion."""
        sums = self.residuals(parameters.hidden_layer, parameters.readout)
        return certificate_of(self, parameters, sums, tolerance)


def _each(
    function: Callable[..., Sums],
    terms: Sequence[int],
    whole: tuple[int, float] | None,
    block: Block,
    *kept_and_arguments: Any,
) -> Iterator[Sums]:
    """Of each sequence of a block, as a part of the whole."""
    kept, arguments = kept_and_arguments[: len(terms)], kept_and_arguments[len(terms) :]
    for k, sequence in enumerate(block):
        states = [states[k][term] for states, term in zip(kept, terms, strict=True)]
        part = sequence.as_part(*whole) if whole else sequence
        yield function(part, *states, *arguments)


def _states(*of_block: Any) -> States:
    """What a worker keeps of each sequence."""
    with one_blas_thread, np.errstate(all="ignore"):
        return list(_each(*of_block))


def _total(*of_block: Any) -> Sums:
    """What a worker does in a pass: the sum over the sequences of a block, () of none."""
    with one_blas_thread, np.errstate(all="ignore"):
        return _added(_each(*of_block))


def _added(sums: Iterable[Sums]) -> Sums:
    """Term by term, from the first to the last; () of none."""
    total: Sums = ()
    for terms in sums:
        # a block without sequences has none
        if terms:
            total = tuple(map(add, total, terms)) if total else terms
    return total


def _rows_of(problem: ElmanProblem) -> Sums:
    """What does not depend on the weights: numbers of rows, sums of inputs and of targets."""
    return (
        problem.n_samples,
        problem.n_observed,
        problem.skip_gram,
        problem.skip_product,
        np.einsum("ij,ij->j", problem.X, problem.X),
        problem.targets.sum(axis=0),
    )


def _deviations(problem: ElmanProblem, mean: Array) -> Sums:
    """Squares of the targets about their mean."""
    return (np.sum(np.delete(problem.targets - mean, problem.missing, axis=0) ** 2, axis=0),)


def _readout_sums(problem: ElmanProblem, hidden_layer: Array) -> Sums:
    """The first pass."""
    return readout_sums(problem, problem.rollout_of(hidden_layer)[1])


def _loss_of_targets(problem: ElmanProblem) -> Sums:
    return (problem.loss_of_targets,)


def _loss(problem: ElmanProblem, hidden_layer: Array, readout: Array) -> Sums:
    return (problem.loss(readout, problem.rollout_of(hidden_layer)[1]),)


def _expansion(problem: ElmanProblem, hidden_layer: Array, readout: Array) -> Sums:
    h = problem.rollout_of(hidden_layer)[1]
    columns = problem.observed(np.hstack([h, problem.skip]))
    return expansion_of(problem, h, columns, readout)


def _hidden_layer_gram(problem: ElmanProblem, hidden_layer: Array) -> Sums:
    h = problem.rollout_of(hidden_layer)[1]
    return (hidden_layer_gram(problem, h, h.T @ h),)


def _residuals(problem: ElmanProblem, hidden_layer: Array, readout: Array) -> Residuals:
    """As :func:`sktime_alm.solver.optimality.residuals`: with these multipliers states balance."""
    reg, A = problem.regularization, readout[:, : len(hidden_layer)]
    u, h = problem.rollout_of(hidden_layer)
    errors, xi, zeta = problem.errors(readout, h), np.empty_like(u), np.empty_like(u)
    slope = kernels.differentiate(
        xi,
        zeta,
        problem.inputs,
        hidden_layer,
        readout,
        u,
        h,
        errors,
        problem.n_observed,
        problem.is_end,
        np.zeros(hidden_layer.shape[1]),
        reg.l2_preactivation,
        problem.sigma.kernel,
    )
    weight, of_u = -2.0 / problem.n_observed, float(np.vdot(u, u))
    return Residuals(
        hidden_layer=slope,
        readout=weight * np.hstack([errors.T @ h, errors.T @ problem.skip]),
        of_h=0.0,
        of_u=0.0,
        objective=problem.loss(readout, h) / problem.n_observed + reg.l2_preactivation * of_u,
        n_kinks=0,
        # ||e A||^2 without another array of T x r
        objective_h=weight**2 * float(np.sum(A @ A.T * (errors.T @ errors))),
        objective_u=4.0 * reg.l2_preactivation**2 * of_u,
        C1=0.0,
        C2=0.0,
        u=of_u,
        h=float(np.vdot(h, h)),
    )


def _extent(problem: ElmanProblem, states: Array) -> Sums:
    return states.shape[0], states.size


def _sum(problem: ElmanProblem, states: Array) -> Sums:
    return (float(states.sum()),)
