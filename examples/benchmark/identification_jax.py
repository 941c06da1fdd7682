"""jax-sysid's residual network on records of a file; run in the environment that has it.

python identification_jax.py TASK.npz OUTCOME.npz
"""

import sys

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from jax_sysid.models import Model


def state_fcn(x, u, params):
    A, B, _, W1, W2, W3, b1, b2, *_ = params
    return A @ x + B @ u + W3 @ jax.nn.sigmoid(W1 @ x + W2 @ u + b1) + b2


def output_fcn(x, u, params):
    C, (W4, W5, b3, b4) = params[2], params[8:]
    return C @ x + W5 @ jax.nn.sigmoid(W4 @ x + b3) + b4


def initial(n_states: int, n_inputs: int, width: int, rng: np.random.Generator) -> list:
    """As in the package's README."""
    normal = rng.standard_normal
    state = [0.5 * np.eye(n_states), 0.1 * normal((n_states, n_inputs))]
    state += [0.1 * normal((1, n_states)), 0.1 * normal((width, n_states))]
    state += [0.5 * normal((width, n_inputs)), 0.5 * normal((n_states, width))]
    state += [np.zeros(width), np.zeros(n_states)]
    return [
        *state,
        0.5 * normal((width, n_states)),
        0.5 * normal((1, width)),
        np.zeros(width),
        np.zeros(1),
    ]


def main(task: str, outcome: str) -> None:
    with np.load(task) as file:
        arrays = dict(file)
    n_train = sum(name.startswith("train_u") for name in arrays)
    us = [arrays[f"train_u_{i}"] for i in range(n_train)]
    ys = [arrays[f"train_y_{i}"][:, None] for i in range(n_train)]
    mean_u, scale_u = np.vstack(us).mean(axis=0), np.vstack(us).std(axis=0)
    mean_y, scale_y = np.vstack(ys).mean(axis=0), np.vstack(ys).std(axis=0)
    us = [(u - mean_u) / scale_u for u in us]
    ys = [(y - mean_y) / scale_y for y in ys]
    n_states, width = int(arrays["n_states"]), int(arrays["width"])
    model = Model(n_states, 1, us[0].shape[1], state_fcn=state_fcn, output_fcn=output_fcn)
    rng = np.random.default_rng(int(arrays["seed"]))
    model.init(params=initial(n_states, us[0].shape[1], width, rng))
    model.loss(rho_x0=1e-4, rho_th=float(arrays["rho_th"]), train_x0=True)
    epochs = int(arrays["epochs"])
    model.optimization(adam_epochs=epochs, lbfgs_epochs=epochs, iprint=-1)
    model.fit(ys if n_train > 1 else ys[0], us if n_train > 1 else us[0])
    found = {}
    for i in range(sum(name.startswith("test_u") for name in arrays)):
        u = (arrays[f"test_u_{i}"] - mean_u) / scale_u
        first = (arrays[f"test_first_{i}"][:, None] - mean_y) / scale_y
        x0 = model.learn_x0(u[: len(first)], first, verbosity=False)
        found[f"y_{i}"] = np.ravel(model.predict(x0, u)[0]) * scale_y + mean_y
    np.savez(outcome, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
