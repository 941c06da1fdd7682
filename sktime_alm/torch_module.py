"""A trained network as a PyTorch module; torch is imported on use."""

from __future__ import annotations

from typing import Any

import numpy as np

from sktime_alm.solver import ELU, ElmanParameters, LeakyReLU, ReLU
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
    sigma: Any
    if isinstance(activation, ELU):
        sigma = nn.ELU()
    elif isinstance(activation, LeakyReLU):
        sigma = nn.LeakyReLU(activation.slope)
    elif is_relu:
        sigma = nn.ReLU()
    else:
        raise ValueError(
            f"activation must be ReLU, LeakyReLU or ELU for PyTorch, found {activation!r}"
        )

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
    names = (
        ("rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0")
        if is_relu
        else ("input_layer.weight", "recurrent_layer.weight", "input_layer.bias")
    )
    weights = dict(zip(names, (p.V, p.W, p.b), strict=True))
    weights |= {"readout.weight": p.A, "readout.bias": p.c}
    if is_relu:
        weights["rnn.bias_hh_l0"] = np.zeros(r)
    if p.D is not None:
        weights["skip.weight"] = p.D
    module.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    return module
