"""Parameters, rollout, simulation and initial weights."""

import numpy as np
import pytest

from sktime_alm.solver.activations import ReLU
from sktime_alm.solver.initialization import initialize
from sktime_alm.solver.network import ElmanParameters, rollout, simulate
from tests import reference


@pytest.fixture
def parameters():
    return initialize(0.6, 3, 4, 2, np.random.default_rng(0))


def test_rollout_equals_the_plain_recursion(parameters):
    X = np.random.default_rng(1).normal(size=(9, 3))
    u, h = rollout(parameters, ReLU(), X)
    expected_u, expected_h = reference.rollout(parameters.arrays(), X)
    np.testing.assert_allclose(u, expected_u, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(h, expected_h, rtol=1e-14, atol=1e-14)


def test_rollout_restarts_at_every_start(parameters):
    X = np.random.default_rng(1).normal(size=(9, 3))
    u, h = rollout(parameters, ReLU(), X, starts=(0, 4))
    np.testing.assert_allclose(h[:4], rollout(parameters, ReLU(), X[:4])[1], rtol=1e-14)
    np.testing.assert_allclose(h[4:], rollout(parameters, ReLU(), X[4:])[1], rtol=1e-14)


def test_rollout_in_two_pieces_carries_the_state(parameters):
    X = np.random.default_rng(1).normal(size=(9, 3))
    whole = rollout(parameters, ReLU(), X)[1]
    first = rollout(parameters, ReLU(), X[:5])[1]
    second = rollout(parameters, ReLU(), X[5:], initial_state=first[-1])[1]
    np.testing.assert_allclose(np.vstack([first, second]), whole, rtol=1e-14, atol=1e-14)


def test_simulated_paths_equal_a_hand_rolled_recursion():
    rng = np.random.default_rng(2)
    # two lags of two outputs and one exogenous input
    A, W, V, b, c = initialize(0.5, 5, 3, 2, rng).arrays()
    b = rng.normal(size=3)
    parameters = ElmanParameters(A, W, V, b, c)
    state, past, exogenous = rng.normal(size=3), rng.normal(size=(2, 2)), rng.normal(size=(4, 1))
    noise = rng.normal(size=(3, 4, 2))
    noise[0] = 0.0
    found = simulate(parameters, ReLU(), state, past, exogenous, noise)
    for path, errors in zip(found, noise, strict=True):
        newest, older, h = past[0], past[1], state
        for output, row, error in zip(path, exogenous, errors, strict=True):
            h = np.maximum(W @ h + V @ np.concatenate([newest, older, row]) + b, 0.0)
            newest, older = A @ h + c + error, newest
            np.testing.assert_allclose(output, newest, rtol=1e-13)


@pytest.mark.parametrize(
    ("name", "shape"), [("W", (3, 3)), ("V", (3, 5)), ("b", (5,)), ("c", (1,)), ("b", (4, 1))]
)
def test_parameters_of_the_wrong_shape_are_refused_by_name(parameters, name, shape):
    arrays = dict(zip("AWVbc", parameters.arrays(), strict=True))
    with pytest.raises(ValueError, match=f"{name} must have shape"):
        ElmanParameters(**{**arrays, name: np.zeros(shape)})


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("b", None, ValueError, r"b must have shape \(4,\) .*, found \(\)"),
        ("A", "text", TypeError, "A must be an array of numbers"),
        ("c", np.ma.masked_array([1.0, 2.0], [0, 1]), ValueError, "c must have no masked values"),
    ],
)
def test_parameters_of_the_wrong_kind_are_refused_by_name(parameters, name, value, error, message):
    arrays = dict(zip("AWVbc", parameters.arrays(), strict=True))
    with pytest.raises(error, match=message):
        ElmanParameters(**{**arrays, name: value})


@pytest.mark.parametrize(
    ("initialization", "of_A", "of_W", "of_V"),
    [
        ("he", 2 / 200, 2 / 200, 2 / 100),
        ("glorot", 2 / 250, 2 / 400, 2 / 300),
        ("lecun", 1 / 200, 1 / 200, 1 / 100),
        ("normal", 0.01, 0.01, 0.01),
        (0.3, 0.09, 0.09, 0.09),
    ],
)
def test_initial_weights_have_the_stated_variances(initialization, of_A, of_W, of_V):
    drawn = initialize(initialization, 100, 200, 50, np.random.default_rng(0))
    for array, variance in ((drawn.A, of_A), (drawn.W, of_W), (drawn.V, of_V)):
        # 10,000 draws and more: four standard errors of a variance are 6 %
        assert np.var(array) == pytest.approx(variance, rel=0.06)
    assert not drawn.b.any() and not drawn.c.any()


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("xavier", ValueError),
        (0.0, ValueError),
        (-1.0, ValueError),
        (np.inf, ValueError),
        (10**400, ValueError),
        (None, TypeError),
        (True, TypeError),
    ],
)
def test_unknown_initializations_are_refused_by_name(value, error):
    with pytest.raises(error, match="initialization must be"):
        initialize(value, 1, 1, 1, np.random.default_rng(0))
