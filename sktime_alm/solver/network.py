"""The Elman network: parameters, rollout over given inputs, simulation on its own outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from sktime_alm.solver import kernels
from sktime_alm.solver._typing import Array, BoolArray
from sktime_alm.solver._validation import check_array
from sktime_alm.solver.activations import Activation


@dataclass(frozen=True, eq=False)
class ElmanParameters:
    """The weights of u_t = W h_{t-1} + V x_t + b, h_t = sigma(u_t), yhat_t = A h_t + D x_t + c.

    With n inputs, r hidden units and m outputs:

    Parameters
    ----------
    A : array of shape (m, r)
        Readout matrix.
    W : array of shape (r, r)
        Recurrent matrix.
    V : array of shape (r, n)
        Input matrix.
    b : array of shape (r,)
        Bias of the hidden units.
    c : array of shape (m,)
        Bias of the readout.
    D : array of shape (m, n), optional
        Linear skip from the inputs to the outputs; without it the network has none.

    Raises
    ------
    ValueError, TypeError
        If the shapes do not fit together, or an array is not one of numbers; the message names it.
    """

    A: Array
    W: Array
    V: Array
    b: Array
    c: Array
    D: Array | None = None

    def __post_init__(self) -> None:
        for name in (item.name for item in fields(self)):
            if name != "D" or self.D is not None:
                object.__setattr__(self, name, check_array(getattr(self, name), name))
        if self.A.ndim != 2 or self.V.ndim != 2:
            raise ValueError(
                f"A must have shape (m, r) and V shape (r, n), found {self.A.shape} "
                f"and {self.V.shape}"
            )
        (m, r), n = self.A.shape, self.V.shape[1]
        expected = {"W": (r, r), "V": (r, n), "b": (r,), "c": (m,)}
        if self.D is not None:
            expected["D"] = (m, n)
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(
                    f"{name} must have shape {shape} to fit A of shape {(m, r)}, found {found}"
                )

    @property
    def n_inputs(self) -> int:
        """n."""
        return self.V.shape[1]

    @property
    def hidden_size(self) -> int:
        """r."""
        return self.V.shape[0]

    @property
    def n_outputs(self) -> int:
        """m."""
        return self.A.shape[0]

    @classmethod
    def from_layers(cls, hidden_layer: Array, readout: Array) -> ElmanParameters:
        """The parameters with [W V b] = ``hidden_layer`` and [A D c], or [A c], = ``readout``."""
        r = len(hidden_layer)
        W, V, b = hidden_layer[:, :r], hidden_layer[:, r:-1], hidden_layer[:, -1]
        A, D, c = readout[:, :r], readout[:, r:-1], readout[:, -1]
        return cls(A=A, W=W, V=V, b=b, c=c, D=D if D.shape[1] else None)

    @property
    def hidden_layer(self) -> Array:
        """[W V b], of shape (r, r + n + 1)."""
        return np.hstack([self.W, self.V, self.b[:, None]])

    @property
    def readout(self) -> Array:
        """[A D c], of shape (m, r + n + 1); [A c] of shape (m, r + 1) without a linear skip."""
        layers = [self.A, self.c[:, None]] if self.D is None else [self.A, self.D, self.c[:, None]]
        return np.hstack(layers)

    def is_finite(self) -> bool:
        """Whether every weight is a finite number."""
        return all(bool(np.isfinite(array).all()) for array in self.arrays())

    def arrays(self) -> tuple[Array, ...]:
        """(A, W, V, b, c), and D if there is one."""
        arrays = self.A, self.W, self.V, self.b, self.c
        return arrays if self.D is None else (*arrays, self.D)

    def outputs(self, h: Array, X: Array | None = None) -> Array:
        """yhat = A h + D x + c of shape (T, m).

        Parameters
        ----------
        h : array of shape (T, r)
            Hidden states.
        X : array of shape (T, n), optional
            Inputs; read only if there is a linear skip.
        """
        outputs = h @ self.A.T + self.c
        if self.D is None:
            return outputs
        if X is None:
            raise ValueError("X must be passed to outputs, since the network has a linear skip D")
        return outputs + X @ self.D.T


def rollout(
    parameters: ElmanParameters,
    activation: Activation,
    X: Array,
    starts: Sequence[int] = (0,),
    initial_state: Array | None = None,
) -> tuple[Array, Array]:
    """Pre-activations u and hidden states h of the network run over the inputs X.

    Parameters
    ----------
    parameters : ElmanParameters
    activation : Activation
    X : array of shape (T, n)
    starts : sequence of int, default=(0,)
        First rows of the sequences that X lays end to end.
    initial_state : array of shape (r,), optional
        h before the first row of each sequence; zeros if not given.

    Returns
    -------
    u, h : arrays of shape (T, r)
        Not finite where the network overflows.
    """
    restart = np.zeros(parameters.hidden_size) if initial_state is None else initial_state
    is_start = np.zeros(len(X), dtype=bool)
    is_start[list(starts)] = True
    u = X @ parameters.V.T + parameters.b
    return u, complete_rollout(u, parameters.W, activation, restart, is_start)


def complete_rollout(
    u: Array, W: Array, activation: Activation, restart: Array, is_start: BoolArray
) -> Array:
    """Add W h_{t-1} to u = V x + b in place, and return h = sigma(u)."""
    h = np.empty_like(u)
    # an unstable network overflows; the caller sees it in the result
    kernels.rollout(u, h, np.ascontiguousarray(W.T), restart, is_start, activation.kernel)
    return h


def simulate(
    parameters: ElmanParameters,
    activation: Activation,
    state: Array,
    past_outputs: Array,
    exogenous: Array,
    noise: Array,
    bounds: Array | None = None,
    changes: Array | None = None,
) -> Array:
    """Paths of the network run on its own outputs, with noise, as the lagged inputs.

    The inputs of a step are the ``n_lags`` last outputs of the path, newest first, followed
    by the row of exogenous inputs.

    Parameters
    ----------
    parameters : ElmanParameters
        With n = n_lags m + n_exogenous inputs.
    activation : Activation
    state : array of shape (r,)
        Hidden state before the first step.
    past_outputs : array of shape (n_lags, m)
        The last outputs before the first step, newest first; n_lags may be 0.
    exogenous : array of shape (n_steps, n_exogenous)
        n_exogenous may be 0.
    noise : array of shape (n_paths, n_steps, m)
        Added to the outputs; one path of zeros is the forecast.
    bounds : array of shape (2, m), optional
        Least and largest values of the noisy outputs, which are cut off there.
    changes : array of shape (n_paths, m, k), optional
        Added to the readout [A D c], k columns wide, for each path.

    Returns
    -------
    array of shape (n_paths, n_steps, m)
        Each path not finite from the step on where the network overflows.
    """
    readouts = parameters.readout[np.newaxis]
    if changes is not None:
        readouts = readouts + changes
    # the compiled loop knows networks with a D alone
    if parameters.D is None:
        nothing = np.zeros((*readouts.shape[:2], parameters.n_inputs))
        readouts = np.concatenate([readouts[..., :-1], nothing, readouts[..., -1:]], axis=2)
    if bounds is None:
        bounds = np.array([[-np.inf], [np.inf]]) * np.ones(len(parameters.c))
    return kernels.simulate(
        np.ascontiguousarray(parameters.hidden_layer),
        np.ascontiguousarray(readouts),
        state,
        past_outputs.ravel(),
        np.ascontiguousarray(exogenous),
        np.ascontiguousarray(noise),
        bounds,
        activation.kernel,
    )
