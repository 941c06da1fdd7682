"""Activations: derivatives, the scalar minimisers against a grid, subdifferentials."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sktime_alm import ALMElmanForecaster
from sktime_alm.solver import ELU, LeakyReLU, ReLU, Smooth, Tanh, scalar, train
from sktime_alm.solver.activations import get_activation, scalar_objective
from tests.conftest import log_floats

ACTIVATIONS = (ReLU(), LeakyReLU(0.1), LeakyReLU(0.7), ELU(), Tanh())
GRID = np.linspace(-1.0, 1.0, 4001)


def grid_minimum(activation, theta1, theta2, theta3, gamma, mu, l2):
    """The smallest phi on a dense grid that holds the minimiser, refined around its best."""
    # phi(u) <= phi(0) bounds |u - theta1| and |u - theta3|
    bound = 1.0 + 2.0 * (abs(theta1) + abs(theta2) + abs(theta3))
    center, width, best = 0.0, bound, np.inf
    for _ in range(6):
        u = center + width * GRID
        values = scalar_objective(activation, u, theta1, theta2, theta3, gamma, mu, l2)
        center, best = u[values.argmin()], min(best, values.min())
        width /= 100.0
    return best


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
@given(
    seed=st.integers(0, 2**31),
    gamma=log_floats(-3, 3),
    mu=log_floats(-8, 1),
    l2=st.sampled_from([0.0, 1e-8, 0.1]),
    spread=log_floats(-2, 1),
)
def test_checks_4_prox_reaches_the_minimum_of_a_dense_grid(activation, seed, gamma, mu, l2, spread):
    theta = np.random.default_rng(seed).normal(0.0, spread, (3, 10))
    found = activation.prox(*theta, gamma, mu, l2)
    values = scalar_objective(activation, found, *theta, gamma, mu, l2)
    for i, value in enumerate(values):
        best = grid_minimum(activation, *theta[:, i], gamma, mu, l2)
        assert value <= best + 1e-10 * (1.0 + abs(best))


def test_checks_4_elu_prox_where_two_minima_compete():
    # theta2 above 1.83 makes phi nonconvex below 0; theta1 sweeps from one basin to the other
    theta1 = np.linspace(-8.0, 2.0, 400)
    theta2, theta3 = np.full_like(theta1, 6.0), np.zeros_like(theta1)
    found = ELU().prox(theta1, theta2, theta3, 1.0, 1e-5, 1e-8)
    values = scalar_objective(ELU(), found, theta1, theta2, theta3, 1.0, 1e-5, 1e-8)
    best = [grid_minimum(ELU(), a, 6.0, 0.0, 1.0, 1e-5, 1e-8) for a in theta1]
    assert (values <= np.array(best) + 1e-10).all()
    assert found.min() < -2.0 and found.max() > 0.0


def test_checks_4_an_exact_tie_goes_to_the_nonnegative_candidate():
    # curvatures 16 and 25, linear terms -4 and 5: u- = -1/4 and u+ = 1/5 both lower phi by 1/2
    theta1, theta2, theta3 = np.array([0.0]), np.array([1.0]), np.array([-4.0])
    gamma, mu, l2 = 9.0, 1.0, 3.0
    values = [
        scalar_objective(ReLU(), np.array([u]), theta1, theta2, theta3, gamma, mu, l2)[0]
        for u in (-0.25, 0.2)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-15)
    assert ReLU().prox(theta1, theta2, theta3, gamma, mu, l2)[0] == 0.2


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_checks_4_solutions_at_exactly_zero(activation):
    # theta1 <= 0 pulls left, theta2 = 0 and theta3 = 0 hold u at 0 only if theta1 = 0
    zeros = np.zeros(3)
    assert (activation.prox(zeros, zeros, zeros, 2.0, 0.1, 1e-8) == 0.0).all()


def test_relu_prox_is_exactly_zero_on_an_open_set():
    # gamma theta1 > 0 forbids u < 0 and gamma (theta1 + theta2) < 0 forbids u > 0
    found = ReLU().prox(np.array([1.0]), np.array([-2.0]), np.array([0.0]), 1.0, 0.1, 1e-8)
    assert found[0] == 0.0


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_derivative_against_central_differences(activation):
    u = np.random.default_rng(0).normal(size=200)
    u = u[np.abs(u) > 1e-3]
    step = 1e-6
    numerical = (activation.value(u + step) - activation.value(u - step)) / (2.0 * step)
    np.testing.assert_allclose(activation.derivative(u), numerical, rtol=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_lipschitz_constant_bounds_every_slope(activation):
    u = np.sort(np.random.default_rng(0).normal(0.0, 3.0, 500))
    slopes = np.diff(activation.value(u)) / np.diff(u)
    assert slopes.max() <= activation.lipschitz * (1.0 + 1e-12)


@pytest.mark.parametrize(
    ("u", "s", "q", "expected"),
    [
        (2.0, 0.7, 0.3, 0.4),  # right of 0: |s - q|
        (-2.0, 0.7, 0.3, 0.7),  # left of 0: |s|
        (0.0, 0.7, 0.3, 0.4),  # concave kink: the nearer of the two slopes
        (0.0, 0.1, 0.3, 0.1),
        (0.0, 0.1, 0.0, 0.1),  # no kink at all
        (0.0, -0.1, -0.3, 0.0),  # convex kink with 0 in [s, s - q] = [-0.1, 0.2]
        (0.0, 0.1, -0.3, 0.1),  # 0 left of [0.1, 0.4]
        (0.0, -0.5, -0.3, 0.2),  # 0 right of [-0.5, -0.2]
    ],
)
def test_checks_5_distance_to_the_subdifferential_of_relu(u, s, q, expected):
    found = ReLU().subdifferential_distance(np.array([u]), np.array([s]), np.array([q]))
    assert found[0] == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("u", "s", "q", "expected"),
    [
        (2.0, 0.7, 0.3, 0.4),
        (-2.0, 0.7, 0.3, 0.55),  # |s - slope q|
        (0.0, 0.1, 0.3, 0.05),  # min(|0.1 - 0.15|, |0.1 - 0.3|)
        (0.0, -0.2, -0.3, 0.0),  # [s - slope q, s - q] = [-0.05, 0.1]
        (0.0, -0.1, -0.3, 0.05),  # [0.05, 0.2]
    ],
)
def test_checks_5_distance_to_the_subdifferential_of_leaky_relu(u, s, q, expected):
    found = LeakyReLU(0.5).subdifferential_distance(np.array([u]), np.array([s]), np.array([q]))
    assert found[0] == pytest.approx(expected, abs=1e-15)


def test_checks_5_distance_to_the_subdifferential_of_elu():
    u = np.array([1.0, 0.0, -1.0])
    found = ELU().subdifferential_distance(u, np.full(3, 0.7), np.full(3, 0.3))
    np.testing.assert_allclose(found, [0.4, 0.4, 0.7 - 0.3 * np.exp(-1.0)], rtol=1e-15)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"activation must be one of .*'relu'.* found 'gelu'"):
        get_activation("gelu")
    with pytest.raises(TypeError, match="activation must be"):
        get_activation(np.tanh)
    with pytest.raises(ValueError, match="slope must be in"):
        LeakyReLU(1.5)


@scalar
def identity(u):
    return u


@scalar
def one(u):
    return 1.0


@scalar
def zero(u):
    return 0.0


class Identity(Smooth):
    """An activation of the user's own: the network becomes linear."""

    scalars = identity, one, zero


@scalar
def softsign(u):
    return u / (1.0 + abs(u))


@scalar
def softsign_derivative(u):
    return 1.0 / (1.0 + abs(u)) ** 2


@scalar
def softsign_curvature(u):
    return (-2.0 if u > 0.0 else 2.0) / (1.0 + abs(u)) ** 3


class Softsign(Smooth):
    """u / (1 + |u|)."""

    scalars = softsign, softsign_derivative, softsign_curvature


def test_a_users_own_activation_is_a_class_with_three_scalar_functions():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 2))
    Y = X @ [[1.0], [-2.0]]
    result = train(X, Y, 2, alpha=1e-3, activation=Identity(), random_state=0, max_iter=200)
    # a linear target that a linear network fits
    assert result.objective < 0.05 * np.mean(Y**2)
    y = pd.Series(np.cumsum(rng.normal(size=40)))
    forecaster = ALMElmanForecaster(2, activation=Identity(), max_iter=5, random_state=0)
    assert np.isfinite(forecaster.fit(y).predict(fh=[1, 2])).all()


@given(seed=st.integers(0, 2**31), gamma=log_floats(-3, 3), mu=log_floats(-8, 1))
def test_the_prox_of_a_users_own_activation_is_found_from_its_scalars(seed, gamma, mu):
    theta = np.random.default_rng(seed).normal(0.0, 3.0, (3, 10))
    linear = (gamma * (theta[0] + theta[1]) + mu * theta[2]) / (2.0 * gamma + mu)
    found = Identity().prox(*theta, gamma, mu, 0.0)
    np.testing.assert_allclose(found, linear, rtol=1e-9, atol=1e-12)
    found = Softsign().prox(*theta, gamma, mu, 0.0)
    values = scalar_objective(Softsign(), found, *theta, gamma, mu, 0.0)
    for i, value in enumerate(values):
        best = grid_minimum(Softsign(), *theta[:, i], gamma, mu, 0.0)
        assert value <= best + 1e-10 * (1.0 + abs(best))


@pytest.mark.parametrize("activation", [ELU(), Tanh(), Softsign()], ids=lambda a: type(a).__name__)
def test_curvature_against_central_differences(activation):
    u = np.random.default_rng(0).normal(size=200)
    u = u[np.abs(u) > 1e-3]
    step = 1e-6
    numerical = (activation.derivative(u + step) - activation.derivative(u - step)) / (2.0 * step)
    np.testing.assert_allclose(activation.curvature(u), numerical, rtol=1e-8, atol=1e-9)


def test_curvature_of_piecewise_linear_activations_is_0():
    assert not LeakyReLU(0.1).curvature(np.linspace(-2.0, 2.0, 5)).any()


def test_checks_4_tanh_prox_where_two_minima_compete():
    # theta2 far beyond the range of tanh bends phi: theta1 sweeps from one basin to the other
    theta1 = np.linspace(-8.0, 4.0, 400)
    theta2, theta3 = np.full_like(theta1, 12.0), np.zeros_like(theta1)
    found = Tanh().prox(theta1, theta2, theta3, 1.0, 1e-5, 1e-8)
    values = scalar_objective(Tanh(), found, theta1, theta2, theta3, 1.0, 1e-5, 1e-8)
    best = [grid_minimum(Tanh(), a, 12.0, 0.0, 1.0, 1e-5, 1e-8) for a in theta1]
    assert (values <= np.array(best) + 1e-10).all()
    assert np.diff(np.sort(found)).max() > 2.0  # it leaps


def test_the_papers_condition_for_leaky_relu_misses_minima():
    """(4.35) takes u- by the sign of gamma theta1 + mu theta3, without the term in theta2."""
    slope, gamma, mu, l2 = 0.1, 1.0, 1e-5, 1e-8
    theta = np.random.default_rng(0).normal(size=(3, 4000))
    top = gamma * (theta[0] + slope * theta[1]) + mu * theta[2]
    printed_minus = np.where(
        gamma * theta[0] + mu * theta[2] < 0.0,
        np.minimum(top / (gamma + gamma * slope**2 + 2.0 * l2 + mu), 0.0),
        0.0,
    )
    activation = LeakyReLU(slope)
    found = activation.prox(*theta, gamma, mu, l2)
    values = scalar_objective(activation, found, *theta, gamma, mu, l2)
    printed = scalar_objective(activation, printed_minus, *theta, gamma, mu, l2)
    u_plus = np.maximum(gamma * (theta[0] + theta[1]) + mu * theta[2], 0.0)
    u_plus /= 2.0 * gamma + 2.0 * l2 + mu
    printed = np.minimum(printed, scalar_objective(activation, u_plus, *theta, gamma, mu, l2))
    assert (values <= printed + 1e-14).all()
    assert (values < printed - 1e-6).sum() >= 10
