"""Training as a constrained problem (2.6): data, penalties, objective and constraints.

    minimise   R(z, h, u) = 1/T sum_t ||y_t - A h_t - D x_t - c||^2 + P(z, u)
    subject to C1 = u_t - (W h_{t-1} + V x_t + b) = 0,   C2 = h_t - sigma(u_t) = 0

with z = (A, W, V, b, c, D), hidden states h and pre-activations u of shape (T, r), and
h_0 = 0 before each sequence. The paper's problem has no D. Rows without targets have no part
in the loss, whose mean is over the others, but in all else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from sktime_alm.solver._typing import Array, BoolArray, IntArray
from sktime_alm.solver._validation import check_count, check_flag, check_matrix, check_sequence
from sktime_alm.solver.activations import Activation, get_activation
from sktime_alm.solver.contraction import Contraction
from sktime_alm.solver.datafits import Datafit, Squared
from sktime_alm.solver.network import ElmanParameters, complete_rollout
from sktime_alm.solver.regularization import Regularization

# what a function of rows gives: arrays and numbers, to be summed
Sums = tuple[Any, ...]


def squares(*arrays: Array) -> tuple[float, ...]:
    """Squares of Euclidean norms, which add up over rows as norms do not."""
    return tuple(float(np.vdot(array, array)) for array in arrays)


def roots(*sums: float) -> tuple[float, ...]:
    """Norms from the sums of their squares."""
    return tuple(float(np.sqrt(total)) for total in sums)


class Point(NamedTuple):
    """s = (z, h, u): weights and auxiliary states, feasible or not.

    Of rows in blocks h and u stay with these, or are empty where the weights alone matter.
    """

    parameters: ElmanParameters
    h: Array
    u: Array

    def is_finite(self) -> bool:
        """Whether every number in it is finite."""
        # a sum is not finite as soon as one term is not, and needs no array of flags
        return self.parameters.is_finite() and bool(np.isfinite(self.h.sum() + self.u.sum()))


class Trial(NamedTuple):
    """The rollout of B with a readout [A D c], its (working) errors, and R.

    The errors are minus half the derivative of the loss: y - A h - D x - c if it is squared. Of
    rows in blocks u, h and errors are empty: they stay with the blocks.
    """

    hidden_layer: Array
    readout: Array
    u: Array
    h: Array
    errors: Array
    objective: float

    @property
    def point(self) -> Point:
        """As a feasible point s."""
        parameters = ElmanParameters.from_layers(self.hidden_layer, self.readout)
        return Point(parameters, self.h, self.u)


class TrainingProblem(ABC):
    """What a problem is without its rows, which may be here or in blocks elsewhere."""

    regularization: Regularization
    linear_skip: bool
    datafit: Datafit
    sigma: Activation
    contraction: Contraction

    @property
    @abstractmethod
    def n_samples(self) -> int:
        """T."""

    @property
    @abstractmethod
    def n_observed(self) -> int:
        """Number of rows with targets: the T of the loss."""

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """n."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """m."""

    @property
    @abstractmethod
    def target_size(self) -> float:
        """Root of the mean variance of the columns of Y; 1 if they are constant."""

    @property
    @abstractmethod
    def loss_of_targets(self) -> float:
        """The sum of the losses where all outputs are 0, whatever the states."""

    @property
    @abstractmethod
    def skip_gram(self) -> Array:
        """skip'skip over the rows with targets, skip being [x; 1], or [1] without D."""

    @property
    @abstractmethod
    def skip_product(self) -> Array:
        """skip'Y over the rows with targets."""

    @abstractmethod
    def total(
        self, function: Callable[..., Sums], *arguments: Any, states: Sequence[Array] = ()
    ) -> Sums:
        """The sums over all rows of ``function(part, *states, *arguments)``.

        A part is a problem of some of the rows; ``states`` are arrays with a row for each, of
        which it is given its own.
        """

    @abstractmethod
    def keep(
        self, function: Callable[..., Sums], *arguments: Any, states: Sequence[Array] = ()
    ) -> tuple[Array, Array]:
        """Two arrays with a row for each of the problem's, which the function gives of each part.

        They are where the rows are.
        """

    def feasible_point(self, parameters: ElmanParameters) -> Point:
        """The point s = (z, h, u) with both constraints satisfied."""
        return Point(parameters, *self.keep(_feasible_states, parameters))

    def objective_at(self, point: Point) -> float:
        """R(s) of (2.6) at a point, feasible or not; infinity if it is not finite."""
        parameters, h, u = point
        (of_rows,) = self.total(objective_of_rows, parameters, states=(h, u))
        value = float(of_rows) + self.regularization.of_weights(parameters)
        return value if np.isfinite(value) else np.inf

    @property
    def n_skip(self) -> int:
        """Number of columns of D, 0 without a linear skip."""
        return self.n_inputs if self.linear_skip else 0

    @property
    def is_squared(self) -> bool:
        """Whether the loss is the squared one, with which blocks are closed."""
        return isinstance(self.datafit, Squared)

    def check_parameters(self, parameters: ElmanParameters, name: str = "parameters") -> None:
        """Raise a ValueError unless the parameters are finite and fit the data."""
        if not isinstance(parameters, ElmanParameters):
            raise TypeError(f"{name} must be ElmanParameters, found {type(parameters).__name__}")
        found = (parameters.n_inputs, parameters.n_outputs)
        if found != (self.n_inputs, self.n_outputs):
            raise ValueError(
                f"{name} must take {self.n_inputs} inputs (columns of X) and give {self.n_outputs} "
                f"outputs (columns of Y), found {found[0]} and {found[1]}"
            )
        if (parameters.D is not None) != self.linear_skip:
            needs = "must" if self.linear_skip else "must not"
            raise ValueError(f"{name} {needs} have D, since linear_skip={self.linear_skip}")
        if not parameters.is_finite():
            raise ValueError(f"{name} must be finite, found NaN or infinity")


# the powers of ten that sizes of X and Y may reach together, or Y fall to
_MOST_DECADES = 150.0


@dataclass(frozen=True, eq=False)
class ElmanProblem(TrainingProblem):
    """Inputs, targets and penalties of one training problem (2.6).

    Parameters
    ----------
    X : array of shape (T, n)
        Inputs.
    Y : array of shape (T, m)
        Targets. A row with NaN has no part in the loss.
    regularization : Regularization
    activation : {"relu", "leaky_relu", "elu", "tanh"} or Activation, default="relu"
    starts : sequence of int, default=(0,)
        First rows of the sequences that X and Y lay end to end, beginning with 0. The
        hidden state is 0 before each; the loss is the mean over the rows of all.
    linear_skip : bool, default=False
        Whether the outputs have the term D x.
    max_recurrence : float, default=inf
        A bound on the norm of W; R is infinite beyond it. Below 1 the network contracts: the
        activations do not stretch, so that its state forgets, and is bounded for bounded
        inputs.
    recurrence_norm : {"spectral", "diagonal"}, default="spectral"
        The norm that is bounded: ||W||_2, or the least ||P W P^-1||_2 over diagonal matrices
        P. The latter contracts as well, and admits more: a lightly damped oscillation above all.
    datafit : Datafit, default=Squared()
        The loss of a row.

    Attributes
    ----------
    sigma : Activation
        The activation, its name resolved.
    contraction : Contraction
        The set of hidden layers within the bound, and coordinates of it.
    missing : array of int
        The rows without targets.
    targets : array of shape (T, m)
        Y, with zeros in the rows without targets.
    inputs : array of shape (T, n + 1)
        [X 1]: what V and b act on. X is a view of it, so that rows are stored once.

    Raises
    ------
    ValueError, TypeError
        If an array is not a finite matrix of the right shape, a start is out of range, the
        activation unknown, the bound not above 0 or ``linear_skip`` neither True nor False; the
        message names the argument.
    """

    X: Array
    Y: Array
    regularization: Regularization
    activation: str | Activation = "relu"
    starts: Sequence[int] = (0,)
    linear_skip: bool = False
    max_recurrence: float = np.inf
    recurrence_norm: str = "spectral"
    datafit: Datafit = field(default_factory=Squared)
    sigma: Activation = field(init=False, repr=False)
    contraction: Contraction = field(init=False, repr=False)
    missing: IntArray = field(init=False, repr=False)
    targets: Array = field(init=False, repr=False)
    inputs: Array = field(init=False, repr=False)
    _n_averaged: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        X, Y = check_matrix(self.X, "X"), check_matrix(self.Y, "Y", may_miss=True)
        if len(X) != len(Y):
            raise ValueError(f"X and Y must have equally many rows, found {len(X)} and {len(Y)}")
        if not isinstance(self.regularization, Regularization):
            raise TypeError(
                "regularization must be a Regularization, such as "
                f"Regularization.scaled(alpha, ...), found {self.regularization!r}"
            )
        is_missing = np.asarray(np.isnan(Y).any(axis=1))
        if is_missing.all():
            raise ValueError("Y must have a row without NaN, found none")
        object.__setattr__(self, "missing", np.flatnonzero(is_missing))
        object.__setattr__(self, "_n_averaged", int((~is_missing).sum()))
        object.__setattr__(self, "inputs", np.hstack([X, np.ones((len(X), 1))]))
        object.__setattr__(self, "X", self.inputs[:, :-1])
        targets = np.where(is_missing[:, None], 0.0, Y)
        object.__setattr__(self, "targets", targets)
        # its own, and without missing rows no second one
        object.__setattr__(self, "Y", Y.copy() if is_missing.any() else targets)
        object.__setattr__(self, "sigma", get_activation(self.activation))
        object.__setattr__(self, "starts", _check_starts(self.starts, len(X)))
        object.__setattr__(self, "linear_skip", check_flag(self.linear_skip, "linear_skip"))
        contraction = Contraction(self.max_recurrence, self.recurrence_norm, _sizes(X))
        object.__setattr__(self, "contraction", contraction)
        _check_datafit(self.datafit, self.targets)
        _check_sizes(self.X, self.targets)

    def __sizeof__(self) -> int:
        # Dask moves a block to an idle worker where that seems cheap
        return object.__sizeof__(self) + self.inputs.nbytes + self.targets.nbytes + self.Y.nbytes

    @property
    def n_samples(self) -> int:
        """T."""
        return len(self.X)

    @property
    def n_observed(self) -> int:
        """Number of rows with targets: the T of the loss. Of a part, those of the whole."""
        return self._n_averaged

    def as_part(self, n_observed: int, l2_preactivation: float) -> ElmanProblem:
        """The same rows as some of a larger problem's, which keeps the penalties of its weights.

        ``n_observed`` and ``l2_preactivation`` are those of the larger problem, whose loss is the
        mean over all its rows.
        """
        # before it is copied, so that no part works it out again
        for name in _OF_ROWS:
            getattr(self, name)
        part = copy(self)
        part.__dict__.pop("_part", None)
        penalties = Regularization(l2_preactivation=l2_preactivation)
        object.__setattr__(part, "_n_averaged", n_observed)
        object.__setattr__(part, "regularization", penalties)
        return part

    @cached_property
    def _part(self) -> ElmanProblem:
        return self.as_part(self.n_observed, self.regularization.l2_preactivation)

    def total(
        self, function: Callable[..., Sums], *arguments: Any, states: Sequence[Array] = ()
    ) -> Sums:
        """All rows are here: the function of them."""
        return function(self._part, *states, *arguments)

    def keep(
        self, function: Callable[..., Sums], *arguments: Any, states: Sequence[Array] = ()
    ) -> tuple[Array, Array]:
        """All rows are here: what the function gives."""
        first, second = function(self._part, *states, *arguments)
        return first, second

    @property
    def n_inputs(self) -> int:
        """n."""
        return self.X.shape[1]

    @property
    def n_outputs(self) -> int:
        """m."""
        return self.targets.shape[1]

    @cached_property
    def target_size(self) -> float:
        """Root of the mean variance of the columns of Y; 1 if they are constant."""
        observed = np.delete(self.targets, self.missing, axis=0)
        # the mean is a readout bias away
        sizes = _sizes(observed - observed.mean(axis=0))
        varies = np.ptp(observed, axis=0) > 0.0
        if not varies.any():
            return 1.0
        # as shares of the largest: squares might overflow
        largest = float(sizes[varies].max())
        squares = np.where(varies, sizes / largest, 0.0) ** 2
        return largest * float(np.sqrt(squares.mean()))

    @cached_property
    def ends(self) -> Array:
        """Last row of each sequence."""
        return np.append(np.asarray(self.starts[1:], dtype=int), self.n_samples) - 1

    @cached_property
    def is_start(self) -> BoolArray:
        """Whether a row is the first of a sequence."""
        flags = np.zeros(self.n_samples, dtype=bool)
        flags[list(self.starts)] = True
        return flags

    @cached_property
    def is_end(self) -> BoolArray:
        """Whether a row is the last of a sequence."""
        return np.roll(self.is_start, -1)

    @cached_property
    def input_gram(self) -> Array:
        """[X 1]'[X 1], of shape (n + 1, n + 1): it never changes."""
        return self.inputs.T @ self.inputs

    @cached_property
    def skip(self) -> Array:
        """[X 1], or [1] without a linear skip: what the readout acts on beside the states."""
        return np.ascontiguousarray(self.inputs[:, self.n_inputs - self.n_skip :])

    @cached_property
    def skip_gram(self) -> Array:
        """skip'skip over the rows with targets."""
        rows = self.observed(self.skip)
        return rows.T @ rows

    @cached_property
    def skip_product(self) -> Array:
        """skip'Y over the rows with targets."""
        return self.skip.T @ self.targets

    def observed(self, rows: Array) -> Array:
        """The rows, those without targets set to 0."""
        if len(self.missing):
            rows = rows.copy()
            rows[self.missing] = 0.0
        return rows

    def rollout(self, parameters: ElmanParameters) -> tuple[Array, Array]:
        """The feasible (u, h) of these parameters, each of shape (T, r)."""
        return self.rollout_of(parameters.hidden_layer)

    def rollout_of(self, hidden_layer: Array) -> tuple[Array, Array]:
        """The feasible (u, h) of the hidden layer [W V b]."""
        r = len(hidden_layer)
        u = self.inputs @ hidden_layer[:, r:].T
        restart = np.zeros(r)
        return u, complete_rollout(u, hidden_layer[:, :r], self.sigma, restart, self.is_start)

    def objective(self, parameters: ElmanParameters) -> float:
        """R of the rolled-out network; infinity if it overflows, or is not contractive enough."""
        if not self.contraction.contains(parameters.W):
            return np.inf
        return self.objective_at(self.feasible_point(parameters))

    def loss(self, readout: Array, h: Array) -> float:
        """The sum of the losses of the rows with targets."""
        return self._loss_of(self.outputs(readout, h))

    @cached_property
    def loss_of_targets(self) -> float:
        """The sum of the losses where all outputs are 0, whatever the states."""
        return self._loss_of(np.zeros_like(self.targets))

    def _loss_of(self, outputs: Array) -> float:
        losses = self.datafit.value(self.targets, outputs)
        losses[self.missing] = 0.0
        return float(losses.sum())

    def outputs(self, readout: Array, h: Array) -> Array:
        """A h + D x + c of every row, of shape (T, m)."""
        r = h.shape[1]
        # np.matmul is several times slower than np.dot where Y has one column
        return np.dot(h, readout[:, :r].T) + np.dot(self.skip, readout[:, r:].T)

    def pull(self, readout: Array, h: Array) -> Array:
        """Minus the derivative of the mean loss in the outputs, 0 where y is missing.

        2/T (y - yhat) with the squared loss: what the adjoint recursion starts from.
        """
        return 2.0 / self.n_observed * self.errors(readout, h)

    def errors(self, readout: Array, h: Array) -> Array:
        """Minus half the derivative of each row's loss in the outputs, 0 where y is missing.

        y - A h - D x - c with the squared loss, its working residual with another; shape (T, m).
        """
        errors = -0.5 * self.datafit.derivative(self.targets, self.outputs(readout, h))
        errors[self.missing] = 0.0
        return errors

    def curvature(self, readout: Array, h: Array) -> Array:
        """Second derivatives of the mean loss in the outputs, (T, m): 2/T with the squared loss."""
        curvature = self.datafit.curvature(self.targets, self.outputs(readout, h)) / self.n_observed
        curvature[self.missing] = 0.0
        return curvature

    def targets_of_states(self, readout: Array, hidden_size: int) -> Array:
        """y - D x - c, what A h is to fit, 0 where y is missing; shape (T, m)."""
        targets = self.targets - np.dot(self.skip, readout[:, hidden_size:].T)
        targets[self.missing] = 0.0
        return targets

    def recurrent_drive(self, W: Array, h: Array) -> Array:
        """W h_{t-1} of every row, 0 at the start of each sequence; shape (T, r)."""
        drive = np.empty_like(h)
        np.matmul(h[:-1], W.T, out=drive[1:])
        drive[list(self.starts)] = 0.0
        return drive

    def fed_back(self, W: Array, rows: Array) -> Array:
        """W' rows_{t+1} of every row, 0 at the end of each sequence: the adjoint in h."""
        fed = np.empty_like(rows)
        np.matmul(rows[1:], W, out=fed[:-1])
        fed[self.ends] = 0.0
        return fed

    def previous_product(self, h: Array, rows: Array) -> Array:
        """The sum over t of h_{t-1} rows_t', without a shifted copy of h."""
        product = h[:-1].T @ rows[1:]
        later = list(self.starts[1:])
        if later:
            product -= h[self.ends[:-1]].T @ rows[later]
        return product

    def regressor_product(self, h: Array, rows: Array) -> Array:
        """P' rows, the rows of P being [h_{t-1}; x_t; 1] as in (3.14)."""
        return np.vstack([self.previous_product(h, rows), self.inputs.T @ rows])

    def input_drive(self, parameters: ElmanParameters) -> Array:
        """V x_t + b of every row; shape (T, r)."""
        return self.inputs @ np.column_stack([parameters.V, parameters.b]).T

    def drive(self, parameters: ElmanParameters, h: Array) -> Array:
        """W h_{t-1} + V x_t + b of every row, from given hidden states; shape (T, r)."""
        drive = self.recurrent_drive(parameters.W, h)
        drive += self.input_drive(parameters)
        return drive

    def constraints(self, point: Point) -> tuple[Array, Array]:
        """C1 = u - (W h_{t-1} + V x_t + b) and C2 = h - sigma(u), each of shape (T, r)."""
        C1 = point.u - self.drive(point.parameters, point.h)
        C2 = point.h - self.sigma.value(point.u)
        return C1, C2


# what is worked out from the rows once, whatever they are a part of
_OF_ROWS = "ends", "is_start", "is_end", "input_gram", "skip", "skip_gram", "skip_product"


def _feasible_states(problem: ElmanProblem, parameters: ElmanParameters) -> Sums:
    u, h = problem.rollout(parameters)
    return h, u


def objective_of_rows(
    problem: ElmanProblem, h: Array, u: Array, parameters: ElmanParameters
) -> Sums:
    """R(s) of the rows of a part, without the penalties of the weights."""
    with np.errstate(over="ignore", invalid="ignore"):
        loss = problem.loss(parameters.readout, h) / problem.n_observed
        return (loss + problem.regularization.l2_preactivation * float(np.vdot(u, u)),)


def _sizes(X: Array) -> Array:
    """The root mean square of each input, 1 of one that is 0; squares must not overflow."""
    largest = np.abs(X).max(axis=0)
    largest = np.where(largest > 0.0, largest, 1.0)
    shares = X / largest
    sizes = largest * np.sqrt(np.mean(shares**2, axis=0))
    return np.where(sizes > 0.0, sizes, 1.0)


def _check_datafit(datafit: Datafit, Y: Array) -> None:
    """Refuse a loss that is not one of targets of this shape."""
    try:
        shape = np.shape(datafit.value(Y, Y))
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"datafit must be a loss of targets of shape {Y.shape}, found {datafit!r}: {error}"
        ) from error
    if shape != (len(Y),):
        raise ValueError(
            f"datafit must have a value for each of the {len(Y)} rows of Y, found shape {shape}"
        )


def _check_sizes(X: Array, Y: Array) -> None:
    """Refuse values whose squares, or products, double precision does not hold."""
    largest = [float(np.abs(values).max(initial=0.0)) for values in (X, Y)]
    # as logarithms: the products would overflow
    of_X, of_Y = (np.log10(size) if size > 0.0 else 0.0 for size in largest)
    if of_Y < -_MOST_DECADES:
        raise ValueError(f"Y is too small for double precision, at most {largest[1]:.1g}; scale it")
    if max(of_X, 0.0) + max(of_Y, 0.0) > _MOST_DECADES:
        raise ValueError("X or Y is too large for a network in double precision; scale them down")


def _check_starts(starts: Sequence[int], n_samples: int) -> tuple[int, ...]:
    expected = f"starts must begin with 0 and increase within the {n_samples} rows"
    items = check_sequence(starts, "starts", "a sequence of integers")
    found = tuple(check_count(item, "each of starts", 0) for item in items)
    increasing = all(a < b for a, b in pairwise(found))
    if found[:1] != (0,) or not increasing or found[-1] >= n_samples:
        raise ValueError(f"{expected}, found {starts!r}")
    return found
