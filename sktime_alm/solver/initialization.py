"""Random initial weights: A, W and V are normal, b and c are zero (as in section 5.4)."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real

import numpy as np

from sktime_alm.solver._validation import check_positive
from sktime_alm.solver.network import ElmanParameters

# Standard deviation of a weight matrix of shape (fan_out, fan_in).
INITIALIZATIONS: dict[str, Callable[[int, int], float]] = {
    "he": lambda fan_in, fan_out: np.sqrt(2.0 / fan_in),
    "glorot": lambda fan_in, fan_out: np.sqrt(2.0 / (fan_in + fan_out)),
    "lecun": lambda fan_in, fan_out: np.sqrt(1.0 / fan_in),
    "normal": lambda fan_in, fan_out: 0.1,
}


def initialize(
    initialization: str | float,
    n_inputs: int,
    hidden_size: int,
    n_outputs: int,
    generator: np.random.Generator,
) -> ElmanParameters:
    """Draw initial weights.

    Parameters
    ----------
    initialization : {"he", "glorot", "lecun", "normal"} or float
        "normal" is N(0, 0.1); a positive number is the standard deviation of another
        normal distribution.
    n_inputs, hidden_size, n_outputs : int
    generator : numpy.random.Generator

    Returns
    -------
    ElmanParameters

    Raises
    ------
    ValueError, TypeError
        If ``initialization`` is neither a known name nor a positive number.
    """
    deviation = _deviation(initialization)
    shapes = {
        "A": (n_outputs, hidden_size),
        "W": (hidden_size, hidden_size),
        "V": (hidden_size, n_inputs),
    }
    matrices = {
        name: generator.normal(0.0, deviation(fan_in, fan_out), (fan_out, fan_in))
        for name, (fan_out, fan_in) in shapes.items()
    }
    return ElmanParameters(**matrices, b=np.zeros(hidden_size), c=np.zeros(n_outputs))


def _deviation(initialization: str | float) -> Callable[[int, int], float]:
    if isinstance(initialization, str):
        if initialization not in INITIALIZATIONS:
            raise ValueError(
                f"initialization must be one of {sorted(INITIALIZATIONS)} or a positive number, "
                f"found {initialization!r}"
            )
        return INITIALIZATIONS[initialization]
    if not isinstance(initialization, Real) or isinstance(initialization, bool):
        raise TypeError(
            f"initialization must be one of {sorted(INITIALIZATIONS)} or a positive number, "
            f"found {initialization!r}"
        )
    deviation = check_positive(initialization, "initialization")
    return lambda fan_in, fan_out: deviation
