"""Training as a constrained problem (2.6): data, penalties, objective and constraints.

    minimise   R(z, h, u) = 1/T sum_t ||y_t - A h_t - D x_t - c||^2 + P(z, u)
    subject to C1 = u_t - (W h_{t-1} + V x_t + b) = 0,   C2 = h_t - sigma(u_t) = 0

with z = (A, W, V, b, c, D), hidden states h and pre-activations u of shape (T, r), and
h_0 = 0 before each sequence. The paper's problem has no D. Rows without targets have no part
in the loss, whose mean is over the others, but in all else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.linalg import eigvalsh, svd

from sktime_alm.solver._typing import Array, BoolArray, IntArray
from sktime_alm.solver._validation import check_count, check_matrix, check_nonnegative
from sktime_alm.solver.activations import Activation, get_activation
from sktime_alm.solver.elman import ElmanParameters, complete_rollout


class Point(NamedTuple):
    """s = (z, h, u): weights and auxiliary states, feasible or not."""

    parameters: ElmanParameters
    h: Array
    u: Array

    def is_finite(self) -> bool:
        """Whether every number in it is finite."""
        # a sum is not finite as soon as one term is not, and needs no array of flags
        return self.parameters.is_finite() and bool(np.isfinite(self.h.sum() + self.u.sum()))


@dataclass(frozen=True)
class Regularization:
    """The weights of P (2.5), one per block; the paper's lambda_1 to lambda_6, and that of D.

    P = l2_readout ||A||^2 + l2_recurrent ||W||^2 + l2_input ||V||^2 + l2_bias ||b||^2
        + l2_readout_bias ||c||^2 + l2_preactivation ||u||^2 + l2_skip ||D||^2,

    Frobenius norms throughout.

    Raises
    ------
    ValueError, TypeError
        If a weight is negative or not a finite number.
    """

    l2_readout: float = 0.0
    l2_recurrent: float = 0.0
    l2_input: float = 0.0
    l2_bias: float = 0.0
    l2_readout_bias: float = 0.0
    l2_preactivation: float = 0.0
    l2_skip: float = 0.0

    def __post_init__(self) -> None:
        for name in (item.name for item in fields(self)):
            object.__setattr__(self, name, check_nonnegative(getattr(self, name), name))

    @classmethod
    def scaled(
        cls,
        alpha: float,
        n_inputs: int,
        hidden_size: int,
        n_outputs: int,
        l2_preactivation: float = 1e-8,
        skip_alpha: float | None = None,
    ) -> Regularization:
        """Table 2: each block is penalised by alpha over its number of weights.

        Parameters
        ----------
        alpha : float
            The paper's tau; 1.2, 1 and 500 for its three data sets.
        n_inputs, hidden_size, n_outputs : int
        l2_preactivation : float, default=1e-8
            The weight of ||u||^2, which Table 2 does not scale.
        skip_alpha : float, optional
            The strength for D. With it c belongs to the linear part, and is not penalised,
            so that a network without hidden units is a ridge regression.
        """
        check_nonnegative(alpha, "alpha")
        n = check_count(n_inputs, "n_inputs")
        r = check_count(hidden_size, "hidden_size")
        m = check_count(n_outputs, "n_outputs")
        return cls(
            l2_readout=alpha / (r * m),
            l2_recurrent=alpha / r**2,
            l2_input=alpha / (r * n),
            l2_bias=alpha / r,
            l2_readout_bias=alpha / m if skip_alpha is None else 0.0,
            l2_preactivation=l2_preactivation,
            l2_skip=check_nonnegative(skip_alpha or 0.0, "skip_alpha") / (n * m),
        )

    def of_hidden_layer(self, n_inputs: int, hidden_size: int) -> Array:
        """Weights of the columns of [W V b], shape (r + n + 1,)."""
        weights = self.l2_recurrent, self.l2_input, self.l2_bias
        return _spread(weights, (hidden_size, n_inputs, 1))

    def of_readout(self, hidden_size: int, n_skip: int = 0) -> Array:
        """Weights of the columns of [A D c], shape (r + n_skip + 1,)."""
        weights = self.l2_readout, self.l2_skip, self.l2_readout_bias
        return _spread(weights, (hidden_size, n_skip, 1))

    def value(self, parameters: ElmanParameters, u: Array) -> float:
        """P(z, u)."""
        return self.of_layers(parameters.hidden_layer, parameters.readout, u)

    def of_layers(self, hidden_layer: Array, readout: Array, u: Array) -> float:
        """P(z, u) of [W V b] and [A D c]."""
        (r, width), n_skip = hidden_layer.shape, readout.shape[1] - len(hidden_layer) - 1
        squares = (np.einsum("ij,ij->j", layer, layer) for layer in (hidden_layer, readout))
        of_hidden_layer, of_readout = squares
        return float(
            self.of_hidden_layer(width - r - 1, r) @ of_hidden_layer
            + self.of_readout(r, n_skip) @ of_readout
            + self.l2_preactivation * _squared_norm(u)
        )


@dataclass(frozen=True, eq=False)
class ElmanProblem:
    """Inputs, targets and penalties of one training problem (2.6).

    Parameters
    ----------
    X : array of shape (T, n)
        Inputs.
    Y : array of shape (T, m)
        Targets. A row with NaN has no part in the loss; it is kept as zeros.
    regularization : Regularization
    activation : {"relu", "leaky_relu", "elu"} or Activation, default="relu"
    starts : sequence of int, default=(0,)
        First rows of the sequences that X and Y lay end to end, beginning with 0. The
        hidden state is 0 before each; the loss is the mean over the rows of all.
    linear_skip : bool, default=False
        Whether the outputs have the term D x.
    max_recurrence : float, default=inf
        A bound on the spectral norm of W; R is infinite beyond it. Below 1 the network
        contracts: the activations do not stretch, so that its state forgets, and is bounded
        for bounded inputs.

    Attributes
    ----------
    sigma : Activation
        The activation, its name resolved.
    missing : array of int
        The rows without targets.

    Raises
    ------
    ValueError, TypeError
        If an array is not a finite matrix of the right shape, a start is out of range
        or the activation is unknown; the message names the argument.
    """

    X: Array
    Y: Array
    regularization: Regularization
    activation: str | Activation = "relu"
    starts: tuple[int, ...] = (0,)
    linear_skip: bool = False
    max_recurrence: float = np.inf
    sigma: Activation = field(init=False, repr=False)
    missing: IntArray = field(init=False, repr=False)

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
        object.__setattr__(self, "X", X)
        object.__setattr__(self, "Y", np.where(is_missing[:, None], 0.0, Y))
        object.__setattr__(self, "sigma", get_activation(self.activation))
        object.__setattr__(self, "starts", _check_starts(self.starts, len(X)))

    @property
    def n_samples(self) -> int:
        """T."""
        return len(self.X)

    @property
    def n_observed(self) -> int:
        """Number of rows with targets: the T of the loss."""
        return len(self.X) - len(self.missing)

    @property
    def n_inputs(self) -> int:
        """n."""
        return self.X.shape[1]

    @property
    def n_outputs(self) -> int:
        """m."""
        return self.Y.shape[1]

    @cached_property
    def target_size(self) -> float:
        """Root of the mean variance of the columns of Y; 1 if they are constant."""
        observed = np.delete(self.Y, self.missing, axis=0)
        # the mean is a readout bias away
        size = float(np.sqrt(observed.var(axis=0).mean()))
        return size if size > 0.0 else 1.0

    @cached_property
    def input_sizes(self) -> Array:
        """Root mean square of each column of X; 1 if it is 0."""
        sizes = np.sqrt(np.mean(self.X**2, axis=0))
        return np.where(sizes > 0.0, sizes, 1.0)

    @property
    def n_skip(self) -> int:
        """Number of columns of D, 0 without a linear skip."""
        return self.n_inputs if self.linear_skip else 0

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
    def inputs(self) -> Array:
        """[X 1], of shape (T, n + 1): what V and b act on."""
        return np.hstack([self.X, np.ones((self.n_samples, 1))])

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
        return self.skip.T @ self.Y

    def observed(self, rows: Array) -> Array:
        """The rows, those without targets set to 0."""
        if len(self.missing):
            rows = rows.copy()
            rows[self.missing] = 0.0
        return rows

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

    def admits(self, W: Array) -> bool:
        """Whether the spectral norm of W is at most ``max_recurrence``, up to rounding."""
        limit = (1.0 + 1e-9) * self.max_recurrence
        if limit == np.inf:
            return True
        # the Frobenius norm, a bound on the spectral one, costs next to nothing
        squares = float(np.einsum("ij,ij->", W, W))
        if not np.isfinite(squares):
            return False
        return squares <= limit**2 or bool(eigvalsh(W @ W.T)[-1] <= limit**2)

    def contracted(self, hidden_layer: Array) -> Array:
        """[W V b] with the nearest W that is admitted: its singular values are cut off."""
        r = len(hidden_layer)
        W = hidden_layer[:, :r]
        if self.admits(W) or not np.isfinite(W).all():
            return hidden_layer
        left, values, right = svd(W)
        nearest = (left * np.minimum(values, self.max_recurrence)) @ right
        return np.hstack([nearest, hidden_layer[:, r:]])

    def rollout(self, parameters: ElmanParameters) -> tuple[Array, Array]:
        """The feasible (u, h) of these parameters, each of shape (T, r)."""
        return self.rollout_of(parameters.hidden_layer)

    def rollout_of(self, hidden_layer: Array) -> tuple[Array, Array]:
        """The feasible (u, h) of the hidden layer [W V b]."""
        r = len(hidden_layer)
        u = self.inputs @ hidden_layer[:, r:].T
        restart = np.zeros(r)
        return u, complete_rollout(u, hidden_layer[:, :r], self.sigma, restart, self.is_start)

    def feasible_point(self, parameters: ElmanParameters) -> Point:
        """The point s = (z, h, u) with both constraints satisfied."""
        u, h = self.rollout(parameters)
        return Point(parameters, h, u)

    def objective(self, parameters: ElmanParameters) -> float:
        """R of the rolled-out network; infinity if it overflows, or is not contractive enough."""
        if not self.admits(parameters.W):
            return np.inf
        return self.objective_at(self.feasible_point(parameters))

    def objective_at(self, point: Point) -> float:
        """R(s) of (2.6) at a point, feasible or not; infinity if it is not finite."""
        parameters, h, u = point
        with np.errstate(over="ignore", invalid="ignore"):
            errors = self.errors(parameters.readout, h)
            value = self.objective_of(parameters.hidden_layer, parameters.readout, errors, u)
        return value if np.isfinite(value) else np.inf

    def errors(self, readout: Array, h: Array) -> Array:
        """y - A h - D x - c of every row, 0 where y is missing; shape (T, m)."""
        # np.matmul is several times slower than np.dot where Y has one column
        errors = self.targets_of_states(readout, h.shape[1])
        errors -= np.dot(h, readout[:, : h.shape[1]].T)
        errors[self.missing] = 0.0
        return errors

    def targets_of_states(self, readout: Array, hidden_size: int) -> Array:
        """y - D x - c, what A h is to fit, 0 where y is missing; shape (T, m)."""
        targets = self.Y - np.dot(self.skip, readout[:, hidden_size:].T)
        targets[self.missing] = 0.0
        return targets

    def objective_of(self, hidden_layer: Array, readout: Array, errors: Array, u: Array) -> float:
        """R given [W V b], [A D c], the errors and u."""
        loss = _squared_norm(errors) / self.n_observed
        return loss + self.regularization.of_layers(hidden_layer, readout, u)

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


@lru_cache(maxsize=256)
def _spread(weights: tuple[float, ...], counts: tuple[int, ...]) -> Array:
    """Each weight as often as its count says; asked for in every evaluation of R."""
    columns = np.repeat(weights, counts)
    columns.setflags(write=False)
    return columns


def _squared_norm(array: Array) -> float:
    """Squared Frobenius norm."""
    flat = array.ravel()
    return float(flat @ flat)


def _check_starts(starts: Sequence[int], n_samples: int) -> tuple[int, ...]:
    found = tuple(int(start) for start in starts)
    increasing = all(a < b for a, b in pairwise(found))
    if found[:1] != (0,) or not increasing or found[-1] >= n_samples:
        raise ValueError(
            f"starts must begin with 0 and increase within the {n_samples} rows, found {starts!r}"
        )
    return found
