"""jax-sysid: its L-BFGS-B in JAX, double precision, one thread."""

import contextlib
import io
import os

# read when JAX starts
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
from jax_sysid import _model
from jax_sysid.models import Model

from benchmark_utils.recording import UNLIMITED
from benchmark_utils.watching import WatchedSolver
from sktime_alm.solver import ElmanParameters

jax.config.update("jax_enable_x64", True)


def preactivation(h, x, params):
    _, W, V, b, _ = params
    return W @ h + V @ x + b


def state(h, x, params):
    return jax.nn.relu(preactivation(h, x, params))


def output(h, x, params):
    # the pre-activations are outputs as well, for their penalty
    u = preactivation(h, x, params)
    return jnp.concatenate([params[0] @ jax.nn.relu(u) + params[4], u])


class Solver(WatchedSolver):
    """On a model that is written out in JAX; ReLU networks without a bound."""

    name = "jax-sysid"
    requirements = ["pip::jax-sysid"]

    def skip(self, problem, **_):
        if np.isfinite(problem.max_recurrence) or problem.linear_skip:
            return True, "it has no bound on the norm of W"
        return False, None

    def minimise(self, problem, initial, record):
        model = self._model(problem, initial)
        targets = np.hstack([problem.Y, np.zeros((problem.n_samples, initial.hidden_size))])
        cuts = list(problem.starts[1:])
        # it offers no callback of the user's
        original, _model.lbfgs_callback = _model.lbfgs_callback, self._watched(problem, record)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                model.fit(np.split(targets, cuts), np.split(problem.X, cuts))
        finally:
            _model.lbfgs_callback = original

    def _model(self, problem, initial):
        reg, m, T = problem.regularization, problem.n_outputs, problem.n_samples

        def loss(outputs, targets):
            # of one sequence; jax-sysid adds them up
            errors, u = outputs[:, :m] - targets[:, :m], outputs[:, m:]
            return jnp.sum(errors**2) / T + reg.l2_preactivation * jnp.sum(u**2)

        def penalty(weights, _):
            hidden = reg.l2_recurrent, reg.l2_input, reg.l2_bias
            strengths = reg.l2_readout, *hidden, reg.l2_readout_bias
            pairs = zip(strengths, weights, strict=True)
            return sum(strength * jnp.sum(array**2) for strength, array in pairs)

        r, n = initial.V.shape
        model = Model(r, m + r, n, state_fcn=state, output_fcn=output)
        model.init(params=[jnp.asarray(array) for array in initial.arrays()], x0=np.zeros(r))
        unpenalised = {"rho_x0": 0.0, "rho_th": 0.0, "train_x0": False, "xsat": 1e300}
        model.loss(output_loss=loss, custom_regularization=penalty, **unpenalised)
        limits = {"adam_epochs": 0, "lbfgs_epochs": UNLIMITED, "lbfgs_tol": 1e-15, "memory": 20}
        model.optimization(iprint=0, **limits)
        return model

    def _watched(self, problem, record):
        """What jax-sysid makes its callback with; the clock starts after the compilation."""

        def make(*_):
            has_begun = False

            def report(weights):
                nonlocal has_begun
                if not has_begun:
                    has_begun = True
                    self.restart_clock()
                # R is not handed over: whoever watches evaluates it, on no one's clock
                found = ElmanParameters(*(np.asarray(array) for array in weights))
                record(None, lambda: found)

            return report, None

        return make
