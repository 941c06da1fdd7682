"""A trained network as a PyTorch module; torch is imported on use."""

from __future__ import annotations

from typing import Any

import numpy as np

from sktime_alm.solver import ELU, ElmanParameters, LeakyReLU, ReLU
from sktime_alm.solver._typing import Array
from sktime_alm.solver.activations import Activation


def elman_module(parameters: ElmanParameters, activation: Activation) -> Any:
    """An equivalent ``torch.nn.Module`` in double precision.

    Its ``rnn`` is a ``torch.nn.RNN`` for ReLU; PyTorch has no RNN of other activations, whose
    steps are a loop over ``input_layer`` and ``recurrent_layer``. ``readout`` and, with a linear
    skip, ``skip`` are linear layers.

    Parameters
    ----------
    parameters : ElmanParameters
    activation : ReLU, LeakyReLU or ELU

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    ValueError
        If the activation has no PyTorch counterpart.
    """
    try:
        import torch
        from torch import nn
    except ImportError as error:
        raise ImportError("to_torch needs PyTorch: pip install torch") from error

    p, is_relu = parameters, isinstance(activation, ReLU)
    n, r, m = p.n_inputs, p.hidden_size, p.n_outputs
    sigma = _counterpart(activation, nn)

    class Elman(nn.Module):
        """u = W h + V x + b, h = sigma(u), y = A h + D x + c."""

        def __init__(self) -> None:
            super().__init__()
            if is_relu:
                self.rnn = nn.RNN(n, r, nonlinearity="relu")
            else:
                self.input_layer = nn.Linear(n, r)
                self.recurrent_layer = nn.Linear(r, r, bias=False)
                self.sigma = sigma
            self.readout = nn.Linear(r, m)
            if p.D is not None:
                self.skip = nn.Linear(n, m, bias=False)

        def forward(self, x: Any, state: Any = None) -> tuple[Any, Any]:
            """Outputs (T, m) and the last state (r,), of inputs (T, n) and a state (r,)."""
            state = x.new_zeros(r) if state is None else state
            if is_relu:
                states, last = self.rnn(x, state[None])
                state = last[0]
            else:
                rows = []
                for u in self.input_layer(x):
                    state = self.sigma(u + self.recurrent_layer(state))
                    rows.append(state)
                states = torch.stack(rows)
            outputs = self.readout(states)
            return (outputs if p.D is None else outputs + self.skip(x)), state

    module = Elman().double()
    weights = _named_weights(p, is_relu)
    module.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    return module


def _counterpart(activation: Activation, nn: Any) -> Any:
    """The activation as a module of PyTorch."""
    if isinstance(activation, ELU):
        return nn.ELU()
    if isinstance(activation, LeakyReLU):
        return nn.LeakyReLU(activation.slope)
    if isinstance(activation, ReLU):
        return nn.ReLU()
    raise ValueError(f"activation must be ReLU, LeakyReLU or ELU for PyTorch, found {activation!r}")


def _named_weights(p: ElmanParameters, is_relu: bool) -> dict[str, Array]:
    """The weights by the names that the module has for them."""
    weights = {"readout.weight": p.A, "readout.bias": p.c}
    if p.D is not None:
        weights["skip.weight"] = p.D
    if not is_relu:
        of_hidden_layer = "input_layer.weight", "recurrent_layer.weight", "input_layer.bias"
        return weights | dict(zip(of_hidden_layer, (p.V, p.W, p.b), strict=True))
    # a torch.nn.RNN has a second bias
    of_rnn = (f"rnn.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    return weights | dict(zip(of_rnn, (p.V, p.W, p.b, np.zeros_like(p.b)), strict=True))
