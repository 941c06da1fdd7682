"""jax-sysid: its L-BFGS-B on the same objective, in double precision."""

from __future__ import annotations

import os

# one thread, as for everyone else; read when JAX starts
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import contextlib
import io

import jax
import jax.numpy as jnp
import numpy as np
from jax_sysid import _model
from jax_sysid.models import Model

from sktime_alm.solver import ElmanParameters, ElmanProblem
from timing import Trace

_MANY = 10**6


def jax_sysid(problem: ElmanProblem, initial: ElmanParameters, trace: Trace) -> None:
    """Its clock starts after the first iteration, that is, after the compilation."""
    jax.config.update("jax_enable_x64", True)
    reg, m, T = problem.regularization, problem.n_outputs, problem.n_samples
    r, n = initial.V.shape

    def preactivation(h, x, weights):
        _, W, V, b, _ = weights
        return W @ h + V @ x + b

    def state(h, x, weights):
        return jax.nn.relu(preactivation(h, x, weights))

    def output(h, x, weights):
        # the pre-activations are outputs as well, for their penalty
        u = preactivation(h, x, weights)
        return jnp.concatenate([weights[0] @ jax.nn.relu(u) + weights[4], u])

    def loss(outputs, targets):
        # of one sequence; jax-sysid adds them up
        errors, u = outputs[:, :m] - targets[:, :m], outputs[:, m:]
        return jnp.sum(errors**2) / T + reg.l2_preactivation * jnp.sum(u**2)

    def penalty(weights, _):
        A, W, V, b, c = weights
        return (
            reg.l2_readout * jnp.sum(A**2)
            + reg.l2_recurrent * jnp.sum(W**2)
            + reg.l2_input * jnp.sum(V**2)
            + reg.l2_bias * jnp.sum(b**2)
            + reg.l2_readout_bias * jnp.sum(c**2)
        )

    def watched(*_):
        has_begun = False

        def record(weights):
            nonlocal has_begun
            if not has_begun:
                has_begun = True
                trace.restart()
            with trace.paused():
                parameters = ElmanParameters(*(np.asarray(array) for array in weights))
                objective = problem.objective(parameters)
            trace.record(objective, parameters)

        return record, None

    model = Model(r, m + r, n, state_fcn=state, output_fcn=output)
    model.init(params=[jnp.asarray(array) for array in initial.arrays()], x0=np.zeros(r))
    model.loss(
        output_loss=loss,
        rho_x0=0.0,
        rho_th=0.0,
        train_x0=False,
        xsat=1e300,
        custom_regularization=penalty,
    )
    model.optimization(adam_epochs=0, lbfgs_epochs=_MANY, iprint=0, memory=20, lbfgs_tol=1e-15)
    targets = np.hstack([problem.Y, np.zeros((T, r))])
    cuts = list(problem.starts[1:])
    # it offers no callback of the user's
    original, _model.lbfgs_callback = _model.lbfgs_callback, watched
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            model.fit(np.split(targets, cuts), np.split(problem.X, cuts))
    finally:
        _model.lbfgs_callback = original
