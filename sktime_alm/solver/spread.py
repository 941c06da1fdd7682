"""One problem whose rows lie in blocks: in this process, or on the workers of a cluster.

R, its gradient and what a step asks besides are sums over rows. To the blocks go the weights, and
back come sums whose size does not depend on the number of rows, in two passes an evaluation:

    1. the rollout of B, and with it the sums of the readout's system (3.14);
    2. the readout known, R, the adjoint recursion and the gradient of R in B.

A block keeps nothing from one pass to the next. So one that is lost with its worker is read
again elsewhere, and the pass gives the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from sktime_alm.solver import kernels
from sktime_alm.solver._typing import Array
from sktime_alm.solver.activations import Activation
from sktime_alm.solver.bcd import hidden_layer_gram, readout_of
from sktime_alm.solver.contraction import Contraction
from sktime_alm.solver.datafits import Datafit
from sktime_alm.solver.execution import one_blas_thread
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.optimality import Certificate, certificate_of, norm_in_units
from sktime_alm.solver.readout import expansion_of, newton
from sktime_alm.solver.reformulation import ElmanProblem, Point, TrainingProblem, Trial
from sktime_alm.solver.regularization import Regularization

# a block: sequences of a few thousand rows each, whose states stay in the processor's cache
Block = Sequence[ElmanProblem]
# what a function of a sequence gives: arrays, to be summed
Sums = tuple[Any, ...]
# of evaluations before the last ones the driver has no use
_N_KEPT = 4


class Lost(RuntimeError):
    """The blocks cannot be reached any more."""


class Blocks(Protocol):
    """Where the blocks are, and how a function is taken over all of them.

    Loading is the constructor's; there is nothing else that an engine must do.
    """

    def map(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """``function(block, *arguments)`` of every block, in their order.

        Raises
        ------
        Lost
            If the blocks cannot be reached any more.
        """

    def close(self) -> None:
        """Let go of the blocks."""


class _Sample:
    """Every so many sequences of the blocks."""

    def __init__(self, blocks: Blocks, every: int) -> None:
        self._blocks, self._every = blocks, every

    def map(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Of what is in the sample of every block."""
        return self._blocks.map(_of_sample, self._every, function, *arguments)

    def close(self) -> None:
        """The blocks are needed on."""


def _of_sample(block: Block, every: int, function: Callable[..., Any], *arguments: Any) -> Any:
    return function(block[::every], *arguments)


class _Rows(NamedTuple):
    """What does not depend on the weights: numbers of rows, and sums over them."""

    n_samples: int
    n_observed: int
    skip_gram: Array
    skip_product: Array
    squares: Array
    targets: Array


class Derivatives(NamedTuple):
    """Sums over rows at weights [W V b], [A D c].

    ``loss`` is that of the losses, ``size`` that of ||u_t||^2. ``hidden_layer`` is minus the sum
    of xi_t p_t', the gradient of the mean loss, ``readout`` the sum of e_t q_t' and ``errors`` of
    e_t e_t', with e_t minus half the derivative of a loss in the outputs.
    """

    loss: float
    size: float
    hidden_layer: Array
    readout: Array
    errors: Array


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
    _kept: dict[tuple[bytes, bytes], Derivatives] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        like, rows = self.like, _Rows(*self.total(_rows_of))
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
        # a sum over rows against a mean: it keeps the part in R that it has here
        reg, share = self.regularization, self.n_samples / sample.n_samples
        reg = replace(reg, l2_preactivation=share * reg.l2_preactivation)
        return replace(sample, like=replace(self.like, regularization=reg))

    def total(self, function: Callable[..., Sums], *arguments: Any) -> Sums:
        """The sum over all sequences of a function of each and the arguments.

        Over those of a block first, and then over the blocks, in their order: so it does not
        depend on which worker is the fastest.
        """
        return _added(self.blocks.map(_total, function, *arguments))

    def evaluate(self, hidden_layer: Array, near: Array | None = None) -> Trial | None:
        """As :func:`sktime_alm.solver.reduced.evaluate`."""
        readout = near
        if readout is None or self.is_squared:
            gram, cross, product = self.total(_readout_sums, hidden_layer)
            if not np.isfinite(gram).all():
                return None
            readout = readout_of(
                self, gram, cross, product, self.rows.skip_gram, self.rows.skip_product
            )
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
        sums = self.derivatives(hidden_layer, readout)
        none, of_u = np.empty((0, len(hidden_layer))), self.regularization.l2_preactivation
        objective = sums.loss / self.n_observed + of_u * sums.size
        objective += self.regularization.of_layers(hidden_layer, readout, none)
        if not np.isfinite(objective):
            return None
        no_errors = np.empty((0, self.n_outputs))
        return Trial(hidden_layer, readout, none, none, no_errors, float(objective))

    def derivatives(self, hidden_layer: Array, readout: Array) -> Derivatives:
        """The second pass, or its sums if it is among the last ones taken."""
        key = hidden_layer.tobytes(), readout.tobytes()
        if key not in self._kept:
            if len(self._kept) == _N_KEPT:
                self._kept.pop(next(iter(self._kept)))
            of_u = self.regularization.l2_preactivation
            sums = self.total(_derivatives, hidden_layer, readout, self.n_observed, of_u)
            self._kept[key] = Derivatives(*sums)
        return self._kept[key]

    def gradient(self, hidden_layer: Array, readout: Array) -> Array:
        """The gradient of R in B."""
        sums = self.derivatives(hidden_layer, readout)
        return self._slope_of_penalty(hidden_layer) + sums.hidden_layer

    def _slope_of_penalty(self, hidden_layer: Array) -> Array:
        l2 = self.regularization.of_hidden_layer(self.n_inputs, len(hidden_layer))
        slope: Array = 2.0 * l2 * hidden_layer
        return slope

    def hidden_layer_gram(self, trial: Trial) -> Array:
        """P'P of (3.14)."""
        gram: Array = self.total(_hidden_layer_gram, trial.hidden_layer)[0]
        return gram

    def feasible_point(self, parameters: ElmanParameters) -> Point:
        """The weights alone: the states stay with the blocks."""
        none = np.empty((0, parameters.hidden_size))
        return Point(parameters, none, none)

    def objective(self, parameters: ElmanParameters) -> float:
        """R; infinity if the network overflows, or is not contractive enough."""
        if not self.contraction.contains(parameters.W):
            return np.inf
        trial = self._trial(parameters.hidden_layer, parameters.readout)
        return np.inf if trial is None else trial.objective

    def objective_at(self, point: Point) -> float:
        """R of the weights of a point."""
        return self.objective(point.parameters)

    def certificate(
        self, parameters: ElmanParameters, tolerance: float, of_losses: Array | None = None
    ) -> Certificate:
        """KKT residuals at the rollout with multipliers by the adjoint recursion.

        These leave nothing but the slope in the weights. ``of_losses`` is the gradient of the
        losses in the hidden layer, by default that at the slopes of the activation.
        """
        B, readout = parameters.hidden_layer, parameters.readout
        r, reg, N = len(B), self.regularization, self.n_observed
        sums = self.derivatives(B, readout)
        if of_losses is None:
            of_losses = sums.hidden_layer
        of_readout = 2.0 * reg.of_readout(r, self.n_skip) * readout - 2.0 / N * sums.readout
        of_h = 2.0 / N * float(np.sqrt(np.sum((parameters.A.T @ sums.errors) * parameters.A.T)))
        of_u = 2.0 * reg.l2_preactivation * float(np.sqrt(sums.size))
        at_rest = self._slope_of_penalty(B)
        return certificate_of(
            self,
            parameters,
            ElmanParameters.from_layers(at_rest + of_losses, of_readout),
            (0.0, 0.0),
            self.objective(parameters),
            norm_in_units(self, ElmanParameters.from_layers(at_rest, of_readout), of_h, of_u),
            tolerance,
        )


def _total(block: Block, function: Callable[..., Sums], *arguments: Any) -> Sums:
    """The sum over the sequences of a block, () of none: what a worker does in a pass."""
    with one_blas_thread, np.errstate(all="ignore"):
        return _added([function(sequence, *arguments) for sequence in block])


def _added(sums: Sequence[Sums]) -> Sums:
    """Term by term, from the first to the last."""
    found = [terms for terms in sums if terms]
    total = list(found[0]) if found else []
    for terms in found[1:]:
        total = [so_far + term for so_far, term in zip(total, terms, strict=True)]
    return tuple(total)


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
    h = problem.rollout_of(hidden_layer)[1]
    observed = problem.observed(h)
    return observed.T @ observed, observed.T @ problem.skip, np.dot(observed.T, problem.targets)


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


def _derivatives(
    problem: ElmanProblem, hidden_layer: Array, readout: Array, n_observed: int, of_u: float
) -> Sums:
    """The second pass; ``n_observed`` is that of all blocks, ``of_u`` the penalty of ||u||^2."""
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
        n_observed,
        problem.is_end,
        np.zeros(hidden_layer.shape[1]),
        of_u,
        problem.sigma.kernel,
    )
    return (
        problem.loss(readout, h),
        float(np.vdot(u, u)),
        slope,
        np.hstack([errors.T @ h, errors.T @ problem.skip]),
        errors.T @ errors,
    )
