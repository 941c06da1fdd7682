"""The compiled rivals: SciPy's optimisers on our own compiled objective and gradient.

Each is called with a problem, a start and ``record``, to which it reports every R that it knows
with a function that gives the weights; ``record`` raises ``Stopped`` when time is up.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import least_squares, minimize

from benchmark_utils.recording import UNLIMITED, Record
from benchmark_utils.smooth_ball import coordinates_of, place_of
from sktime_alm.solver import ElmanParameters, ElmanProblem
from sktime_alm.solver.reduced import evaluate, gradient_of
from sktime_alm.solver.reformulation import Trial

_LBFGS = {"maxcor": 20, "maxiter": UNLIMITED, "maxfun": UNLIMITED, "ftol": 1e-15, "gtol": 1e-9}
# what a line search is told where the network overflows, in units of the start's R
_OVERFLOWN = 1e3


def lbfgs(problem: ElmanProblem, initial: ElmanParameters, record: Record) -> None:
    """SciPy's L-BFGS-B on all weights, W in smooth coordinates where it is bounded."""
    shape, r = initial.hidden_layer.shape, initial.hidden_size
    k, radius = initial.hidden_layer.size, problem.max_recurrence
    ridge = 2.0 * problem.regularization.of_readout(r, problem.n_skip)
    wall = _OVERFLOWN * max(1.0, problem.objective(initial))

    def objective_and_gradient(weights):
        place = place_of(weights[:k].reshape(shape).copy(), radius)
        readout = weights[k:].reshape(problem.n_outputs, -1).copy()
        trial = _trial(problem, place.hidden_layer, readout)
        gradient = gradient_of(problem, trial)
        if not np.isfinite(trial.objective) or not np.isfinite(gradient).all():
            return wall, np.zeros_like(weights)
        record(trial.objective, lambda: trial.point.parameters)
        slope = ridge * readout
        scaled = (2.0 / problem.n_observed) * trial.errors
        slope[:, :r] -= np.dot(scaled.T, trial.h)
        slope[:, r:] -= np.dot(scaled.T, problem.skip)
        gradient = place.pull_back(gradient)
        return trial.objective, np.concatenate([gradient.ravel(), slope.ravel()])

    start = coordinates_of(initial.hidden_layer, radius)
    start = np.concatenate([start.ravel(), initial.readout.ravel()])
    minimize(objective_and_gradient, start, jac=True, method="L-BFGS-B", options=_LBFGS)


def variable_projection(problem: ElmanProblem, initial: ElmanParameters, record: Record) -> None:
    """SciPy's L-BFGS-B on [W V b], with the best readout put in."""
    shape, radius = initial.hidden_layer.shape, problem.max_recurrence
    wall = _OVERFLOWN * max(1.0, problem.objective(initial))

    def objective_and_gradient(weights):
        place = place_of(weights.reshape(shape).copy(), radius)
        trial = evaluate(problem, place.hidden_layer)
        if trial is None:
            return wall, np.zeros_like(weights)
        gradient = gradient_of(problem, trial)
        if not np.isfinite(gradient).all():
            return wall, np.zeros_like(weights)
        record(trial.objective, lambda: trial.point.parameters)
        return trial.objective, place.pull_back(gradient).ravel()

    start = coordinates_of(initial.hidden_layer, radius).ravel()
    minimize(objective_and_gradient, start, jac=True, method="L-BFGS-B", options=_LBFGS)


def levenberg_marquardt(problem: ElmanProblem, initial: ElmanParameters, record: Record) -> None:
    """MINPACK's Levenberg-Marquardt with the exact Jacobian, by forward sensitivities.

    Its residuals leave out the penalty of the pre-activations, 1e-8 ||u||^2, which would make
    them r times as many; the R that is recorded has it.
    """
    r, m, T = initial.hidden_size, problem.n_outputs, problem.n_samples
    shape, radius = initial.hidden_layer.shape, problem.max_recurrence
    k, roots = initial.hidden_layer.size, _roots_of_penalties(problem, initial)
    wall = np.sqrt(_OVERFLOWN * max(1.0, problem.objective(initial)))

    def unpack(weights):
        place = place_of(weights[:k].reshape(shape).copy(), radius)
        return place, weights[k:].reshape(m, -1).copy()

    def residuals(weights):
        place, readout = unpack(weights)
        trial = _trial(problem, place.hidden_layer, readout)
        if not np.isfinite(trial.objective):
            return np.full(T * m + len(weights), wall)
        record(trial.objective, lambda: trial.point.parameters)
        shrunk = roots * np.concatenate([place.hidden_layer.ravel(), readout.ravel()])
        return np.concatenate([-trial.errors.ravel() / np.sqrt(T), shrunk])

    def jacobian(weights):
        place, readout = unpack(weights)
        of_layer, h = _sensitivities(problem, place.hidden_layer)
        rows = np.zeros((T, m, len(weights)))
        of_outputs = np.einsum("ij,tjkl->tikl", readout[:, :r], of_layer)
        rows[..., :k] = place.pull_back(of_outputs).reshape(T, m, k)
        regressors = np.hstack([h, problem.skip])
        for i in range(m):
            columns = slice(k + i * readout.shape[1], k + (i + 1) * readout.shape[1])
            rows[:, i, columns] = regressors
        of_penalty = np.diag(roots)
        of_penalty[:k, :k] = place.pull_back(of_penalty[:k, :k].reshape(k, *shape)).reshape(k, k)
        return np.vstack([rows.reshape(T * m, -1) / np.sqrt(T), of_penalty])

    start = coordinates_of(initial.hidden_layer, radius)
    start = np.concatenate([start.ravel(), initial.readout.ravel()])
    tight = {"xtol": 1e-12, "ftol": 1e-12, "gtol": 1e-12, "max_nfev": UNLIMITED}
    least_squares(residuals, start, jacobian, method="lm", **tight)


def _roots_of_penalties(problem: ElmanProblem, initial: ElmanParameters) -> np.ndarray:
    """What the weights are multiplied by, so that their squares are their penalties."""
    reg, r = problem.regularization, initial.hidden_size
    of_layer = np.tile(reg.of_hidden_layer(problem.n_inputs, r), r)
    of_readout = np.tile(reg.of_readout(r, problem.n_skip), problem.n_outputs)
    return np.sqrt(np.concatenate([of_layer, of_readout]))


def _trial(problem: ElmanProblem, hidden_layer: np.ndarray, readout: np.ndarray) -> Trial:
    """The rollout of all weights, with R."""
    u, h = problem.rollout_of(hidden_layer)
    errors = problem.errors(readout, h)
    loss, reg = float(np.vdot(errors, errors)) / problem.n_observed, problem.regularization
    of_u = reg.l2_preactivation * float(np.vdot(u, u))
    objective = loss + of_u + reg.of_layers(hidden_layer, readout)
    return Trial(hidden_layer, readout, u, h, errors, objective)


def _sensitivities(
    problem: ElmanProblem, hidden_layer: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The derivatives of every state in [W V b], of shape (T, r, r, r + n + 1), and the states."""
    r, width = hidden_layer.shape
    u, h = problem.rollout_of(hidden_layer)
    slope, own, W = problem.sigma.derivative(u), np.arange(r), hidden_layer[:, :r]
    found = np.zeros((len(h), r, r, width))
    for t, is_start in enumerate(problem.is_start):
        if not is_start:
            found[t] = np.tensordot(W, found[t - 1], 1)
            found[t, own, own, :r] += h[t - 1]
        found[t, own, own, r:] += problem.inputs[t]
        found[t] *= slope[t][:, None, None]
    return found, h


# beyond these a step of Levenberg-Marquardt takes longer than the whole budget
_MOST_WEIGHTS, _LARGEST = 1_000, 10**7


def is_small(problem: ElmanProblem, initial: ElmanParameters) -> bool:
    """Whether a dense Jacobian can be factorised in every step."""
    n_weights = sum(array.size for array in initial.arrays())
    return n_weights <= _MOST_WEIGHTS and n_weights * problem.n_samples <= _LARGEST
