"""The ridge penalty P of (2.5), one weight for each block."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np

from sktime_alm.solver._typing import Array
from sktime_alm.solver._validation import check_count, check_nonnegative
from sktime_alm.solver.network import ElmanParameters


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
            l2_skip=check_nonnegative(0.0 if skip_alpha is None else skip_alpha, "skip_alpha")
            / (n * m),
        )

    def of_rows(self, factor: float) -> Regularization:
        """That of so many times as many rows: ||u||^2 is a sum over them, the loss a mean."""
        return replace(self, l2_preactivation=self.l2_preactivation / factor)

    def of_hidden_layer(self, n_inputs: int, hidden_size: int) -> Array:
        """Weights of the columns of [W V b], shape (r + n + 1,)."""
        weights = self.l2_recurrent, self.l2_input, self.l2_bias
        return _spread(weights, (hidden_size, n_inputs, 1))

    def of_readout(self, hidden_size: int, n_skip: int = 0) -> Array:
        """Weights of the columns of [A D c], shape (r + n_skip + 1,)."""
        weights = self.l2_readout, self.l2_skip, self.l2_readout_bias
        return _spread(weights, (hidden_size, n_skip, 1))

    def of_weights(self, parameters: ElmanParameters) -> float:
        """P(z, 0): the part of the weights."""
        return self.of_layers(parameters.hidden_layer, parameters.readout)

    def of_layers(self, hidden_layer: Array, readout: Array) -> float:
        """The same of [W V b] and [A D c]."""
        (r, width), n_skip = hidden_layer.shape, readout.shape[1] - len(hidden_layer) - 1
        squares = (np.einsum("ij,ij->j", layer, layer) for layer in (hidden_layer, readout))
        of_hidden_layer, of_readout = squares
        return float(
            self.of_hidden_layer(width - r - 1, r) @ of_hidden_layer
            + self.of_readout(r, n_skip) @ of_readout
        )

    def gradient(self, hidden_layer: Array, readout: Array) -> tuple[Array, Array]:
        """Of P in [W V b] and [A D c]."""
        (r, width), n_skip = hidden_layer.shape, readout.shape[1] - len(hidden_layer) - 1
        of_hidden_layer = 2.0 * self.of_hidden_layer(width - r - 1, r) * hidden_layer
        return of_hidden_layer, 2.0 * self.of_readout(r, n_skip) * readout


@lru_cache(maxsize=256)
def _spread(weights: tuple[float, ...], counts: tuple[int, ...]) -> Array:
    """Each weight as often as its count says; asked for in every evaluation of R."""
    # shared by all who ask, and so not to be written to
    columns = np.repeat(weights, counts)
    columns.setflags(write=False)
    return columns
