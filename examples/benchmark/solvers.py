"""Ours, and the compiled rivals: SciPy's optimisers on our own compiled objective and gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import numpy as np
from scipy.optimize import least_squares, minimize

from sktime_alm.solver import ALMSettings, ElmanParameters, ElmanProblem, Status, reduced, solve
from sktime_alm.solver import safeguarded as safeguarded_module
from sktime_alm.solver.reduced import Trial, differentiate, iterate_at
from timing import Diverged, Stopped, Trace

Solver = Callable[[ElmanProblem, ElmanParameters, Trace], None]

_UNLIMITED = 10**9
_LBFGS = {"maxcor": 20, "maxiter": _UNLIMITED, "maxfun": _UNLIMITED, "ftol": 1e-15, "gtol": 1e-9}
# what a line search is told where the network overflows
_OVERFLOWN = 1e3


def safeguarded(
    problem: ElmanProblem, initial: ElmanParameters, trace: Trace, **settings: object
) -> None:
    """Our method. Every network that it evaluates and would keep counts, as for the rivals."""

    def watched(*arguments):
        found = differentiate(*arguments)
        if found is not None:
            trace.record(found.objective, found.trial.point.parameters)
        return found

    with (
        patch.object(reduced, "differentiate", watched),
        patch.object(safeguarded_module, "differentiate", watched),
    ):
        # a search that finds nothing to evaluate ends in time, too
        is_over = lambda _: trace.seconds > trace.budget  # noqa: E731
        settings = ALMSettings(max_iter=_UNLIMITED, **settings)
        found = solve(problem, initial, settings, is_over)
    check(found.status)


def paper(problem: ElmanProblem, initial: ElmanParameters, trace: Trace) -> None:
    """Algorithm 3.1 with default settings; R is known once an outer iteration."""

    def is_over(iteration):
        try:
            trace.record(iteration.objective)
        except Stopped:
            return True
        return False

    settings = ALMSettings("paper", max_iter=_UNLIMITED, patience=None)
    found = solve(problem, initial, settings, is_over)
    trace.parameters = found.parameters
    check(found.status)


def check(status: Status) -> None:
    if status is Status.NON_FINITE:
        raise Diverged


def lbfgs(problem: ElmanProblem, initial: ElmanParameters, trace: Trace) -> None:
    """SciPy's L-BFGS-B on all weights, with our compiled rollout and gradient."""
    r, k = initial.hidden_size, initial.hidden_layer.size
    ridge = 2.0 * problem.regularization.of_readout(r)

    def objective_and_gradient(weights):
        hidden_layer = weights[:k].reshape(r, -1).copy()
        readout = weights[k:].reshape(problem.n_outputs, -1).copy()
        u, h = problem.rollout_of(hidden_layer)
        errors = problem.Y - np.dot(h, readout[:, :r].T) - readout[:, r]
        objective = problem.objective_of(hidden_layer, readout, errors, u)
        trial = Trial(hidden_layer, readout, u, h, errors, objective)
        iterate = differentiate(problem, trial) if np.isfinite(objective) else None
        if iterate is None:
            return _OVERFLOWN * max(1.0, trace.best), np.zeros_like(weights)
        trace.record(objective, trial.point.parameters)
        scaled = (2.0 / problem.n_samples) * errors
        slope = ridge * readout
        slope[:, :r] -= np.dot(scaled.T, h)
        slope[:, r] -= scaled.sum(axis=0)
        return objective, np.concatenate([iterate.gradient.ravel(), slope.ravel()])

    start = np.concatenate([initial.hidden_layer.ravel(), initial.readout.ravel()])
    minimize(objective_and_gradient, start, jac=True, method="L-BFGS-B", options=_LBFGS)


def variable_projection(problem: ElmanProblem, initial: ElmanParameters, trace: Trace) -> None:
    """SciPy's L-BFGS-B on [W V b], with the best readout put in."""
    shape = initial.hidden_layer.shape

    def objective_and_gradient(weights):
        iterate = iterate_at(problem, weights.reshape(shape).copy())
        if iterate is None:
            return _OVERFLOWN * max(1.0, trace.best), np.zeros_like(weights)
        trace.record(iterate.objective, iterate.trial.point.parameters)
        return iterate.objective, iterate.gradient.ravel()

    start = initial.hidden_layer.ravel()
    minimize(objective_and_gradient, start, jac=True, method="L-BFGS-B", options=_LBFGS)


def levenberg_marquardt(problem: ElmanProblem, initial: ElmanParameters, trace: Trace) -> None:
    """MINPACK's Levenberg-Marquardt with the exact Jacobian, by forward sensitivities.

    Its residuals leave out the penalty of the pre-activations, 1e-8 ||u||^2, which would make
    them r times as many; the R that is recorded has it.
    """
    (r, n), m, T = initial.V.shape, problem.n_outputs, problem.n_samples
    width = r + n + 1
    reg = problem.regularization
    roots = np.sqrt(
        np.concatenate([np.tile(reg.of_hidden_layer(n, r), r), np.tile(reg.of_readout(r), m)])
    )
    k = r * width
    starts = set(problem.starts)

    def unpack(weights):
        return ElmanParameters.from_layers(
            weights[:k].reshape(r, -1).copy(), weights[k:].reshape(m, -1).copy()
        )

    def residuals(weights):
        point = problem.feasible_point(unpack(weights))
        objective = problem.objective_at(point)
        if not np.isfinite(objective):
            return np.full(T * m + len(weights), np.sqrt(_OVERFLOWN * trace.best))
        trace.record(objective, point.parameters)
        errors = (point.parameters.outputs(point.h) - problem.Y) / np.sqrt(T)
        return np.concatenate([errors.ravel(), roots * weights])

    def jacobian(weights):
        A, W, _, _, _ = (parameters := unpack(weights)).arrays()
        _, h, u = problem.feasible_point(parameters)
        slope = problem.sigma.derivative(u)
        sensitivity, own = np.zeros((r, r, width)), np.arange(r)
        rows = np.zeros((T, m, len(weights)))
        regressors = np.ones(width)
        for t in range(T):
            if t in starts:
                sensitivity[:] = 0.0
                regressors[:r] = 0.0
            else:
                sensitivity = (W @ sensitivity.reshape(r, -1)).reshape(r, r, width)
                regressors[:r] = h[t - 1]
            regressors[r:-1] = problem.X[t]
            sensitivity[own, own] += regressors
            sensitivity *= slope[t][:, None, None]
            rows[t, :, :k] = A @ sensitivity.reshape(r, -1)
            for i in range(m):
                rows[t, i, k + i * (r + 1) : k + (i + 1) * (r + 1) - 1] = h[t]
                rows[t, i, k + (i + 1) * (r + 1) - 1] = 1.0
        return np.vstack([rows.reshape(T * m, -1) / np.sqrt(T), np.diag(roots)])

    start = np.concatenate([initial.hidden_layer.ravel(), initial.readout.ravel()])
    tight = {"xtol": 1e-12, "ftol": 1e-12, "gtol": 1e-12, "max_nfev": _UNLIMITED}
    least_squares(residuals, start, jacobian, method="lm", **tight)


OURS: dict[str, Solver] = {
    # beyond its defaults it is only told to look on for better points until its time is up
    "safeguarded": partial(safeguarded, n_relaxations=_UNLIMITED, patience=None),
    "safeguarded, no polish": partial(safeguarded, polish=False, patience=None),
    "paper": paper,
}
COMPILED: dict[str, Solver] = {
    "L-BFGS-B": lbfgs,
    "variable projection": variable_projection,
    "Levenberg-Marquardt": levenberg_marquardt,
}
