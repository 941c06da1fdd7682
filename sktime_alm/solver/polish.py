"""The polish: SciPy's L-BFGS-B on the rolled-out objective, in the metric of the weight block."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrf
from scipy.optimize import minimize

from sktime_alm.solver._typing import Array
from sktime_alm.solver.execution import time_is_up
from sktime_alm.solver.reduced import Iterate, differentiate, evaluate, metric_at
from sktime_alm.solver.reformulation import ElmanProblem

_N_CORRECTIONS = 20
# the line search needs a finite number where the network overflows or is unstable
_OVERFLOWN = 1e3


class _Ended(Exception):
    """The gradient is as small as asked, or the time is up."""


def polish(
    problem: ElmanProblem,
    iterate: Iterate,
    max_steps: int,
    tolerance: float,
    steepest: float = np.inf,
) -> tuple[Iterate, int]:
    """Lower R from an iterate by at most ``max_steps`` quasi-Newton steps.

    In the coordinates times L / s, where L L' is the metric at the iterate and s the norm of the
    gradient, the curvature is near the identity and the first step of length 1 is the
    damped step of the weight block.

    Points where the gradient is above ``steepest`` are passed over.

    Returns
    -------
    iterate : Iterate
        The best one evaluated; its objective is never above that of the given one.
    n_steps : int
        Evaluations of R.
    """
    best, n_steps = iterate, 0
    shape = iterate.gradient.shape
    factor, info = dpotrf(metric_at(problem, iterate), lower=1, clean=1)
    if info != 0 or not np.isfinite(factor).all():
        return best, n_steps
    scale = float(np.linalg.norm(solve_triangular(factor, iterate.gradient.T, lower=True)))
    if not scale > 0.0:
        return best, n_steps

    def coordinates(scaled: Array) -> Array:
        rows = scale * scaled.reshape(shape)
        return solve_triangular(factor, rows.T, lower=True, trans="T", check_finite=False).T

    def objective_and_gradient(scaled: Array) -> tuple[float, Array]:
        nonlocal best, n_steps
        if time_is_up():
            raise _Ended
        n_steps += 1
        frame = problem.contraction.frame(coordinates(scaled))
        trial = evaluate(problem, frame.hidden_layer, best.trial.readout)
        found = None if trial is None else differentiate(problem, frame, trial, steepest)
        if found is None:
            return _OVERFLOWN * iterate.objective, np.zeros_like(scaled)
        if found.objective < best.objective:
            best = found
            if np.linalg.norm(found.gradient) <= tolerance:
                raise _Ended
        gradient = (
            scale * solve_triangular(factor, found.gradient.T, lower=True, check_finite=False).T
        )
        return found.objective, gradient.ravel()

    options = {"maxcor": _N_CORRECTIONS, "maxiter": max_steps, "maxfun": 2 * max_steps + 20}
    with suppress(_Ended):
        minimize(
            objective_and_gradient,
            (iterate.variables @ factor / scale).ravel(),
            jac=True,
            method="L-BFGS-B",
            options=options | {"ftol": 0.0, "gtol": 0.0},
        )
    return best, n_steps
