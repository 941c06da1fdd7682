"""Gradient training in PyTorch: its RNN on the same objective, double precision."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import cos, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark_utils.recording import Record, Stopped
from benchmark_utils.smooth_ball import Place, coordinates_of, place_of
from sktime_alm.solver import ElmanParameters, ElmanProblem

_CHUNK, _MINI_BATCH = 50, 4
LEARNING_RATES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
SCHEDULES = ("constant", "cosine")
# a run whose objective rises to this many times that of the start has diverged
_BLOW_UP = 1e3


class _Ball(torch.autograd.Function):
    """W of its smooth coordinates."""

    @staticmethod
    def forward(context, coordinates: Tensor, radius: float) -> Tensor:
        context.place = place_of(coordinates.detach().numpy(), radius)
        return torch.tensor(context.place.hidden_layer)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        place: Place = context.place
        return torch.tensor(place.pull_back(gradient.numpy())), None


class Elman(nn.Module):
    """The network and its penalised loss (2.6); sequences of one length lie side by side.

    ReLU and tanh run in PyTorch's own recurrent kernels, other activations in a loop.
    """

    def __init__(self, problem: ElmanProblem, initial: ElmanParameters) -> None:
        super().__init__()
        self.penalties, self.radius = problem.regularization, problem.max_recurrence
        self.activation = problem.activation if isinstance(problem.activation, str) else "relu"
        n, m = problem.n_inputs, problem.n_outputs
        coordinates = coordinates_of(initial.W, self.radius)
        W, V, b, A, c = (coordinates, initial.V, initial.b, initial.A, initial.c)
        self.recurrent, self.input, self.bias, self.readout, self.readout_bias = (
            nn.Parameter(torch.tensor(array)) for array in (W, V, b, A, c)
        )
        if initial.D is not None:
            self.skip = nn.Parameter(torch.tensor(initial.D))
        n_sequences = len(problem.starts)
        self.X = torch.tensor(problem.X).reshape(n_sequences, -1, n)
        self.Y = torch.tensor(problem.Y).reshape(n_sequences, -1, m)

    def recurrence(self) -> Tensor:
        """W."""
        if not np.isfinite(self.radius):
            return self.recurrent
        return _Ball.apply(self.recurrent, self.radius)

    def states(self, X: Tensor, state: Tensor, W: Tensor) -> Tensor:
        """h of every row, from a state before the first."""
        if self.activation in ("relu", "tanh"):
            run = torch.rnn_relu if self.activation == "relu" else torch.rnn_tanh
            # one bias is the network's; a second one would be a second variable for the same thing
            weights = [self.input, W, self.bias, torch.zeros_like(self.bias)]
            return run(X, state[None], weights, True, 1, 0.0, self.training, False, True)[0]
        drive, rows = X @ self.input.T + self.bias, []
        for t in range(X.shape[1]):
            state = nn.functional.elu(drive[:, t] + state @ W.T)
            rows.append(state)
        return torch.stack(rows, dim=1)

    def forward(self, X: Tensor, Y: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """R on some rows from some states, and the states after them."""
        W = self.recurrence()
        before = X.new_zeros(len(X), len(W)) if state is None else state
        h = self.states(X, before, W)
        previous = torch.cat([before[:, None], h[:, :-1]], dim=1)
        u = previous @ W.T + X @ self.input.T + self.bias
        outputs = h @ self.readout.T + self.readout_bias
        if hasattr(self, "skip"):
            outputs = outputs + X @ self.skip.T
        loss = (outputs - Y).square().sum() / (Y.shape[0] * Y.shape[1])
        return loss + self._penalty(W, u, X), h[:, -1].detach()

    def _penalty(self, W: Tensor, u: Tensor, X: Tensor) -> Tensor:
        reg, of_all_rows = self.penalties, self.X[..., 0].numel() / X[..., 0].numel()
        penalty = (
            reg.l2_readout * self.readout.square().sum()
            + reg.l2_recurrent * W.square().sum()
            + reg.l2_input * self.input.square().sum()
            + reg.l2_bias * self.bias.square().sum()
            + reg.l2_readout_bias * self.readout_bias.square().sum()
            + reg.l2_preactivation * of_all_rows * u.square().sum()
        )
        if hasattr(self, "skip"):
            penalty = penalty + reg.l2_skip * self.skip.square().sum()
        return penalty

    def objective(self) -> Tensor:
        """R on all rows."""
        return self(self.X, self.Y)[0]

    def weights(self) -> list[Tensor]:
        return list(self.parameters())

    def to_parameters(self) -> ElmanParameters:
        with torch.no_grad():
            tensors = [self.readout, self.recurrence(), self.input, self.bias, self.readout_bias]
            tensors += [self.skip] if hasattr(self, "skip") else []
            return ElmanParameters(*(tensor.numpy().copy() for tensor in tensors))


def train(
    problem: ElmanProblem,
    initial: ElmanParameters,
    record: Record,
    *,
    seconds: float,
    method: str,
    learning_rate: float,
    schedule: str,
) -> None:
    """Gradient descent, its variants and Adam; the cosine schedule runs over ``seconds``."""
    network = _prepare(problem, initial)
    optimiser = optimiser_of(method, network, learning_rate)
    wall, began = _BLOW_UP * max(1.0, network.objective().item()), time.perf_counter()
    while True:
        if schedule == "cosine":
            done = min(1.0, (time.perf_counter() - began) / seconds)
            optimiser.param_groups[0]["lr"] = learning_rate * 0.5 * (1.0 + cos(pi * done))
        if method == "SGD":
            if not np.isfinite(_epoch_of_chunks(network, optimiser)):
                return
            # R on all rows is not known here: whoever watches evaluates it, on no one's clock
            record(None, network.to_parameters)
            continue
        loss = network.objective()
        objective = loss.item()
        if not objective <= wall:
            return
        record(objective, network.to_parameters)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def lbfgs(problem: ElmanProblem, initial: ElmanParameters, record: Record) -> None:
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
    best = np.inf

    def closure():
        nonlocal best
        optimiser.zero_grad()
        loss = network.objective()
        if torch.isfinite(loss):
            best = min(best, loss.item())
            record(loss.item(), network.to_parameters)
        loss.backward()
        return loss

    before = np.inf
    while best < before or not np.isfinite(before):
        before = best
        optimiser.step(closure)


def best_rate(
    problem: ElmanProblem, initial: ElmanParameters, method: str, seconds: float
) -> tuple[float, str]:
    """The learning rate and schedule that get furthest in some seconds each."""
    reached = {}
    for rate in LEARNING_RATES:
        for schedule in SCHEDULES:
            run = partial(train, method=method, learning_rate=rate, schedule=schedule)
            run = partial(run, seconds=seconds)
            reached[rate, schedule] = _outcome(problem, initial, run, seconds)
    return min(reached, key=lambda tried: reached[tried])


def _outcome(
    problem: ElmanProblem, initial: ElmanParameters, run: Callable, seconds: float
) -> float:
    """The last R of a run that is stopped after some seconds; the best of a descent."""
    best, last, began = np.inf, initial, time.perf_counter()

    def record(objective: float | None, parameters: Callable[[], ElmanParameters]) -> None:
        nonlocal best, last
        if objective is None:
            last = parameters()
        else:
            best = min(best, objective)
        if time.perf_counter() - began > seconds:
            raise Stopped

    with suppress(Stopped):
        run(problem, initial, record)
    return min(best, problem.objective(last) if last.is_finite() else np.inf)


def _prepare(problem: ElmanProblem, initial: ElmanParameters) -> Elman:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return Elman(problem, initial)


def optimiser_of(
    method: str, network: Elman, learning_rate: float, **options: Any
) -> torch.optim.Optimizer:
    """PyTorch's Adam, or its gradient descent with or without Nesterov's momentum."""
    weights = network.weights()
    if method == "Adam":
        return torch.optim.Adam(weights, lr=learning_rate, **options)
    if method == "Nesterov":
        options |= {"momentum": 0.9, "nesterov": True}
    return torch.optim.SGD(weights, lr=learning_rate, **options)


def _epoch_of_chunks(network: Elman, optimiser: torch.optim.Optimizer) -> float:
    """Mini-batches: some of many short sequences, or stretches of one with the state kept."""

    def step(X: Tensor, Y: Tensor, state: Tensor | None) -> tuple[Tensor, float]:
        loss, state = network(X, Y, state)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return state, loss.item()

    if len(network.X) > 1:
        for batch in torch.randperm(len(network.X)).split(_MINI_BATCH):
            _, loss = step(network.X[batch], network.Y[batch], None)
        return loss
    state = None
    stretches = zip(network.X.split(_CHUNK, dim=1), network.Y.split(_CHUNK, dim=1), strict=True)
    for X, Y in stretches:
        state, loss = step(X, Y, state)
    return loss
