"""Gradient training in PyTorch: ``torch.nn.RNN`` on the same objective, double precision."""

from __future__ import annotations

from functools import partial
from math import cos, pi

import numpy as np
import torch
from torch import Tensor, nn

from sktime_alm.solver import ElmanParameters, ElmanProblem
from timing import Trace

_CLIP = 1.0
_CHUNK = 50
_MINI_BATCH = 4
LEARNING_RATES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
SCHEDULES = ("constant", "cosine")


class Elman(nn.Module):
    """The network and its penalised loss (2.6); sequences of one length lie side by side."""

    def __init__(self, problem: ElmanProblem, initial: ElmanParameters) -> None:
        super().__init__()
        torch.set_default_dtype(torch.float64)
        self.penalties = problem.regularization
        n, r, m = problem.n_inputs, initial.hidden_size, problem.n_outputs
        self.hidden = nn.RNN(n, r, nonlinearity="relu", batch_first=True)
        self.readout = nn.Linear(r, m)
        A, W, V, b, c = (torch.tensor(array) for array in initial.arrays())
        with torch.no_grad():
            self.readout.weight.copy_(A)
            self.hidden.weight_hh_l0.copy_(W)
            self.hidden.weight_ih_l0.copy_(V)
            self.hidden.bias_ih_l0.copy_(b)
            self.hidden.bias_hh_l0.zero_()
            self.readout.bias.copy_(c)
        # one bias is the network's; a second one would be a second variable for the same thing
        self.hidden.bias_hh_l0.requires_grad_(False)
        n_sequences = len(problem.starts)
        self.X = torch.tensor(problem.X).reshape(n_sequences, -1, n)
        self.Y = torch.tensor(problem.Y).reshape(n_sequences, -1, m)

    def forward(self, X: Tensor, Y: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """R on some rows from some states, and the states after them."""
        hidden = self.hidden
        before = X.new_zeros(len(X), 1, hidden.hidden_size) if state is None else state[0][:, None]
        h, state = hidden(X, state)
        previous = torch.cat([before, h[:, :-1]], dim=1)
        u = previous @ hidden.weight_hh_l0.T + X @ hidden.weight_ih_l0.T + hidden.bias_ih_l0
        loss = (self.readout(h) - Y).square().sum() / (Y.shape[0] * Y.shape[1])
        reg, of_all_rows = self.penalties, self.X[..., 0].numel() / X[..., 0].numel()
        penalty = (
            reg.l2_readout * self.readout.weight.square().sum()
            + reg.l2_recurrent * hidden.weight_hh_l0.square().sum()
            + reg.l2_input * hidden.weight_ih_l0.square().sum()
            + reg.l2_bias * hidden.bias_ih_l0.square().sum()
            + reg.l2_readout_bias * self.readout.bias.square().sum()
            + reg.l2_preactivation * of_all_rows * u.square().sum()
        )
        return loss + penalty, state.detach()

    def objective(self) -> Tensor:
        """R on all rows."""
        return self(self.X, self.Y)[0]

    def weights(self) -> list[Tensor]:
        return [weights for weights in self.parameters() if weights.requires_grad]

    def to_parameters(self) -> ElmanParameters:
        hidden, readout = self.hidden, self.readout
        tensors = (readout.weight, hidden.weight_hh_l0, hidden.weight_ih_l0)
        biases = (hidden.bias_ih_l0, readout.bias)
        arrays = (tensor.detach().numpy().copy() for tensor in (*tensors, *biases))
        return ElmanParameters(*arrays)


def train(
    problem: ElmanProblem,
    initial: ElmanParameters,
    trace: Trace,
    *,
    method: str,
    learning_rate: float,
    schedule: str,
) -> None:
    """Gradient descent, its variants and Adam; the cosine schedule runs over the budget."""
    network = _prepare(problem, initial)
    optimiser = optimiser_of(method, network, learning_rate)
    while True:
        if schedule == "cosine":
            decay = 0.5 * (1.0 + cos(pi * min(1.0, trace.seconds / trace.budget)))
            optimiser.param_groups[0]["lr"] = learning_rate * decay
        if method == "SGD":
            _epoch_of_chunks(network, optimiser)
            with trace.paused(), torch.no_grad():
                objective = network.objective().item()
                trace.check(objective)
                parameters = network.to_parameters()
            trace.record(objective, parameters)
            continue
        loss = network.objective()
        objective = loss.item()
        with trace.paused():
            trace.check(objective)
            parameters = network.to_parameters()
        trace.record(objective, parameters)
        optimiser.zero_grad()
        loss.backward()
        if method == "GD, clipped":
            nn.utils.clip_grad_norm_(network.weights(), _CLIP)
        optimiser.step()


def lbfgs(problem: ElmanProblem, initial: ElmanParameters, trace: Trace) -> None:
    """PyTorch's L-BFGS with the strong Wolfe line search."""
    network = _prepare(problem, initial)
    optimiser = torch.optim.LBFGS(
        network.weights(),
        max_iter=20,
        history_size=20,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-9,
        tolerance_change=0.0,
    )

    def closure():
        optimiser.zero_grad()
        loss = network.objective()
        with trace.paused():
            parameters = network.to_parameters()
        if torch.isfinite(loss):
            trace.record(loss.item(), parameters)
        loss.backward()
        return loss

    before = np.inf
    while trace.best < before:
        before = trace.best
        optimiser.step(closure)


def _prepare(problem: ElmanProblem, initial: ElmanParameters) -> Elman:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return Elman(problem, initial)


def optimiser_of(
    method: str, network: Elman, learning_rate: float, **options: bool
) -> torch.optim.Optimizer:
    """PyTorch's Adam, or its gradient descent with or without Nesterov's momentum."""
    weights = network.weights()
    if method == "Adam":
        return torch.optim.Adam(weights, lr=learning_rate, **options)
    if method == "Nesterov":
        options |= {"momentum": 0.9, "nesterov": True}
    return torch.optim.SGD(weights, lr=learning_rate, **options)


def _epoch_of_chunks(network: Elman, optimiser: torch.optim.Optimizer) -> None:
    """Mini-batches: some of many short sequences, or stretches of one with the state kept."""

    def step(X: Tensor, Y: Tensor, state: Tensor | None) -> Tensor:
        loss, state = network(X, Y, state)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return state

    if len(network.X) > 1:
        for batch in torch.randperm(len(network.X)).split(_MINI_BATCH):
            step(network.X[batch], network.Y[batch], None)
        return
    state = None
    stretches = zip(network.X.split(_CHUNK, dim=1), network.Y.split(_CHUNK, dim=1), strict=True)
    for X, Y in stretches:
        state = step(X, Y, state)


GRADIENT_METHODS = ("GD", "GD, clipped", "Nesterov", "SGD", "Adam")
CANDIDATES = {
    f"PyTorch {method} {rate:g} {schedule}": partial(
        train, method=method, learning_rate=rate, schedule=schedule
    )
    for method in GRADIENT_METHODS
    for rate in LEARNING_RATES
    for schedule in SCHEDULES
}
