"""The paper's gradient methods: PyTorch's optimisers on ``torch.nn.RNN`` and ``torch.nn.Linear``.

``nn.RNN`` steps through time in the interpreter, some 15 ms for an epoch of 400 rows. The study
has a million of them. So the weights, the optimisers and the clipping are PyTorch's, but the
gradient comes from this package's compiled backpropagation through time, in 0.2 ms.
:func:`check_gradient` holds it to PyTorch's own before the first training.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache

import numpy as np
import torch

from benchmark_utils.torch_training import Elman, optimiser_of
from reproduction.published import published_rates
from reproduction.study import (
    FAIR,
    LEARNING_RATES,
    PROBLEMS,
    Data,
    Task,
    initial_weights,
    load,
    outcome,
)
from sktime_alm.solver import ElmanParameters, ElmanProblem
from sktime_alm.solver.lagrangian import adjoint_multipliers, gradient
from sktime_alm.solver.network import rollout
from sktime_alm.solver.reformulation import Point

_VALIDATION_SHARE = 0.2
# the share of the epochs that a learning rate is tried for
_TRIAL_SHARE = 0.2
_QUICK_EPOCHS = 20
# errors are evaluated along the first start's training at so many epochs
_N_EVALUATIONS = 60
_TOLERANCE = 1e-9


def train_gradient(task: Task, quick: bool = False) -> dict:
    """One training by gradients, as published or fairly; see :class:`Task`."""
    data, specification = load(task.problem), PROBLEMS[task.problem]
    n_epochs = _QUICK_EPOCHS if quick else specification.n_epochs
    rate, clip = published_rates(task.problem)[task.method.split(",")[0], task.initialization]
    alpha = 0.0
    if task.variant == FAIR:
        alpha = specification.alpha
        rate = chosen_rate(task._replace(start=0), n_epochs, clip)
    errors, seconds, curve = descend(task, data, alpha, rate, clip, n_epochs, task.start == 0)
    return outcome(task, errors, seconds, curve) | {"learning rate": rate, "clipping norm": clip}


@cache
def chosen_rate(task: Task, n_epochs: int, clip: float | None) -> float:
    """The learning rate with the smallest error on the last fifth of the training rows.

    Each is tried from the first start of the initialization, with the penalty, for a fifth of
    the epochs. The test rows play no part.
    """
    data = load(task.problem)
    n_validation = max(1, round(_VALIDATION_SHARE * data.n_train))
    rows = slice(data.n_train)
    held_out = Data(data.X[rows], data.Y[rows], data.n_train - n_validation)
    alpha, n_trial_epochs = PROBLEMS[task.problem].alpha, max(1, round(_TRIAL_SHARE * n_epochs))

    def validation_error(rate: float) -> float:
        error = descend(task, held_out, alpha, rate, clip, n_trial_epochs)[0][1]
        return error if np.isfinite(error) else np.inf

    return min(LEARNING_RATES, key=validation_error)


def descend(
    task: Task,
    data: Data,
    alpha: float,
    rate: float,
    clip: float | None,
    n_epochs: int,
    has_curve: bool = False,
) -> tuple[tuple[float, float], float, list]:
    """Train; the errors at the end, the seconds that it took, and the curve on the way."""
    torch.set_num_threads(1)
    problem = data.problem(alpha, PROBLEMS[task.problem].hidden_size)
    network = Elman(problem, initial_weights(task))
    kind = "Nesterov" if task.method == "GDNM" else task.method.split(",")[0]
    optimiser = optimiser_of(kind, network, rate, fused=True)
    backpropagate = Backpropagation(network)
    is_stochastic = task.method in ("SGD", "Adam")
    batch_size = PROBLEMS[task.problem].batch_size if is_stochastic else data.n_train
    batches = stretches(problem, batch_size)
    at = set(np.unique(np.geomspace(1, n_epochs, _N_EVALUATIONS).astype(int))) if has_curve else ()
    curve, paused, began = [], 0.0, time.perf_counter()
    for epoch in range(1, n_epochs + 1):
        state = np.zeros(PROBLEMS[task.problem].hidden_size)
        for batch in batches:
            state = backpropagate(batch, state)
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(network.weights(), clip)
            optimiser.step()
        if not np.isfinite(state).all():
            break
        if epoch in at:
            before = time.perf_counter()
            curve.append((before - began - paused, *data.errors(network.to_parameters())))
            paused += time.perf_counter() - before
    seconds = time.perf_counter() - began - paused
    return data.errors(network.to_parameters()), seconds, curve


def stretches(problem: ElmanProblem, batch_size: int) -> list[ElmanProblem]:
    """Mini-batches: rows in their order, over which the state runs on. One holds all rows.

    The penalty of the pre-activations, a sum over rows, counts in full in each.
    """
    reg, T = problem.regularization, problem.n_samples
    found = []
    for first in range(0, T, batch_size):
        X, Y = problem.X[first : first + batch_size], problem.Y[first : first + batch_size]
        l2 = reg.l2_preactivation * T / len(X)
        found.append(ElmanProblem(X, Y, replace(reg, l2_preactivation=l2)))
    return found


class Backpropagation:
    """The compiled gradient of R on a batch, put where PyTorch's optimisers look for it."""

    def __init__(self, network: Elman) -> None:
        tensors = (
            network.readout,
            network.recurrent,
            network.input,
            network.bias,
            network.readout_bias,
        )
        for tensor in tensors:
            tensor.grad = torch.zeros_like(tensor)
        # views: the optimisers and this class share the memory of the network
        self.weights = ElmanParameters(*(tensor.detach().numpy() for tensor in tensors))
        self.gradient = ElmanParameters(*(tensor.grad.numpy() for tensor in tensors))

    def __call__(self, batch: ElmanProblem, state: np.ndarray) -> np.ndarray:
        """Set the gradient on a batch that begins in some state; return the state after it."""
        with np.errstate(over="ignore", invalid="ignore"):
            u, h = rollout(self.weights, batch.sigma, batch.X, initial_state=state)
            point = Point(self.weights, h, u)
            multipliers = adjoint_multipliers(batch, point)
            found = gradient(batch, point, multipliers, gamma=0.0)
            # the package's problems begin in state 0: what the first row adds otherwise
            found.hidden_layer[:, : len(state)] -= np.outer(multipliers.xi[0], state)
        for own, array in zip(self.gradient.arrays(), found.parameters.arrays(), strict=True):
            own[...] = array
        return h[-1]


def check_gradient(name: str) -> float:
    """The largest relative difference to PyTorch's gradient, in two mini-batches in a row.

    Raises
    ------
    AssertionError
        If it is not rounding.
    """
    task = Task(name, "SGD", FAIR, "Glorot", 0)
    specification = PROBLEMS[name]
    problem = load(name).problem(specification.alpha, specification.hidden_size)
    network = Elman(problem, initial_weights(task))
    state, of_torch, largest = np.zeros(specification.hidden_size), None, 0.0
    for batch in stretches(problem, specification.batch_size)[:2]:
        network.zero_grad()
        tensors = (torch.tensor(array)[None] for array in (batch.X, batch.Y))
        loss, of_torch = network(*tensors, of_torch)
        loss.backward()
        expected = [tensor.grad.clone() for tensor in network.weights()]
        state = Backpropagation(network)(batch, state)
        for tensor, slope in zip(network.weights(), expected, strict=True):
            difference = (tensor.grad - slope).norm() / slope.norm()
            largest = max(largest, difference.item())
    if not largest <= _TOLERANCE:
        raise AssertionError(f"{name}: the compiled gradient is {largest:.1e} off PyTorch's")
    return largest
