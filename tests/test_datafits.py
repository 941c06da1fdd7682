"""Losses of a row: their derivatives."""

import numpy as np
import pytest

from sktime_alm.solver.datafits import Squared


@pytest.mark.parametrize("m", [1, 3])
def test_the_squared_loss_against_finite_differences(m):
    rng = np.random.default_rng(0)
    Y, outputs = rng.normal(size=(2, 7, m))
    datafit, step = Squared(), 1e-4
    np.testing.assert_allclose(
        datafit.value(Y, outputs), [np.sum((y - o) ** 2) for y, o in zip(Y, outputs, strict=True)]
    )
    for j in range(m):
        change = step * (np.arange(m) == j)
        values = [datafit.value(Y, outputs + s * change) for s in (-1.0, 0.0, 1.0)]
        first = (values[2] - values[0]) / (2.0 * step)
        second = (values[2] - 2.0 * values[1] + values[0]) / step**2
        np.testing.assert_allclose(datafit.derivative(Y, outputs)[:, j], first, rtol=1e-6)
        np.testing.assert_allclose(datafit.curvature(Y, outputs)[:, j], second, rtol=1e-5)
    assert datafit.curvature(Y, outputs).shape == Y.shape
