"""The synthetic data of the paper: the outputs of a random Elman network, with noise."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sktime_alm.solver._validation import check_count, check_flag, check_nonnegative, check_positive
from sktime_alm.solver.activations import get_activation
from sktime_alm.solver.network import ElmanParameters, rollout


def make_elman(
    n_samples: int = 10,
    n_inputs: int = 5,
    n_outputs: int = 3,
    hidden_size: int = 4,
    weight_scale: float = 0.8,
    noise: float = 1e-3,
    activation: str = "relu",
    standardize: bool = False,
    random_state: int | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, ElmanParameters]:
    """Simulate a random Elman network; the defaults are the first row of Table 1.

    All weights and biases are N(0, ``weight_scale``), inputs are uniform on (-1, 1) and
    the outputs carry additive noise N(0, ``noise``), both numbers standard deviations.
    The second row of Table 1 is ``make_elman(500, 80, 30, 100, 0.05, 1e-5)``. The paper
    trains on the first 9 of 10 rows.

    Parameters
    ----------
    n_samples, n_inputs, n_outputs, hidden_size : int
        T, n, m and r.
    weight_scale : float, default=0.8
    noise : float, default=1e-3
    activation : {"relu", "leaky_relu", "elu"}, default="relu"
    standardize : bool, default=False
        Scale every output to mean 0 and variance 1 over all rows, as the errors of
        Table 3 imply; a constant output is only centred. The teacher is rescaled with
        its outputs.
    random_state : int, optional

    Returns
    -------
    y : pandas.DataFrame of shape (n_samples, n_outputs)
    X : pandas.DataFrame of shape (n_samples, n_inputs)
    teacher : ElmanParameters
        The network whose outputs, but for the noise, are ``y``.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range; the message names it.

    Examples
    --------
    >>> from sktime_alm.datasets import make_elman
    >>> y, X, teacher = make_elman(random_state=0)
    >>> y.shape, X.shape, teacher.W.shape
    ((10, 3), (10, 5), (4, 4))
    """
    T = check_count(n_samples, "n_samples")
    n = check_count(n_inputs, "n_inputs")
    m = check_count(n_outputs, "n_outputs")
    r = check_count(hidden_size, "hidden_size")
    check_positive(weight_scale, "weight_scale")
    check_nonnegative(noise, "noise")
    check_flag(standardize, "standardize")
    rng = np.random.default_rng(random_state)

    shapes = {"A": (m, r), "W": (r, r), "V": (r, n), "b": (r,), "c": (m,)}
    drawn = {name: rng.normal(0.0, weight_scale, shape) for name, shape in shapes.items()}
    teacher = ElmanParameters(**drawn)
    X = rng.uniform(-1.0, 1.0, (T, n))
    _, h = rollout(teacher, get_activation(activation), X)
    with np.errstate(over="ignore", invalid="ignore"):
        Y = teacher.outputs(h) + rng.normal(0.0, noise, (T, m))
    if not np.isfinite(Y).all():
        raise ValueError(
            f"weight_scale={weight_scale!r} gives a network that overflows within "
            f"n_samples={n_samples} rows; use a smaller one"
        )
    if standardize:
        mean, scale = Y.mean(axis=0), Y.std(axis=0)
        scale = np.where(scale > 0.0, scale, 1.0)
        Y = (Y - mean) / scale
        A, W, V, b, c = teacher.arrays()
        teacher = ElmanParameters(A / scale[:, None], W, V, b, (c - mean) / scale)
    y = pd.DataFrame(Y, columns=[f"y{i}" for i in range(m)])
    return y, pd.DataFrame(X, columns=[f"x{i}" for i in range(n)]), teacher
