"""The compiled loops against their plain NumPy twins."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sktime_alm.solver import (
    ELU,
    ElmanParameters,
    ElmanProblem,
    LeakyReLU,
    Regularization,
    ReLU,
    Tanh,
)
from sktime_alm.solver.activations import scalar_objective
from sktime_alm.solver.bcd import sweep
from sktime_alm.solver.initialization import initialize
from sktime_alm.solver.lagrangian import Multipliers, adjoint_multipliers
from sktime_alm.solver.network import rollout, simulate
from sktime_alm.solver.reduced import evaluate, gradient_of, iterate_at
from sktime_alm.solver.reformulation import Point
from tests import twins
from tests.conftest import log_floats

ACTIVATIONS = (ReLU(), LeakyReLU(0.1), ELU(), Tanh())


def relative_difference(a, b):
    return np.abs(a - b).max(initial=0.0) / (1.0 + np.abs(b).max(initial=0.0))


sizes = st.tuples(*(st.integers(1, limit) for limit in (12, 4, 3, 6)))


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
@given(size=sizes, seed=st.integers(0, 2**31))
def test_rollout_and_adjoint(activation, size, seed):
    T, n, m, r = size
    rng = np.random.default_rng(seed)
    parameters = initialize(0.5, n, r, m, rng)
    X, Y = rng.normal(size=(T, n)), rng.normal(size=(T, m))
    starts = (0, T // 2) if T > 1 else (0,)
    initial_state = rng.normal(size=r)
    compiled = rollout(parameters, activation, X, starts, initial_state)
    plain = twins.rollout(parameters, activation, X, starts, initial_state)
    for a, b in zip(compiled, plain, strict=True):
        assert relative_difference(a, b) <= 1e-12

    problem = ElmanProblem(X, Y, Regularization(l2_preactivation=0.1), activation, starts)
    point = problem.feasible_point(parameters)
    found = adjoint_multipliers(problem, point)
    expected = twins.adjoint(problem, parameters, point.u, point.h)
    for a, b in zip(found, expected, strict=True):
        assert relative_difference(a, b) <= 1e-12


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
@given(
    size=sizes,
    alpha=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 2**31),
    linear_skip=st.booleans(),
    n_missing=st.integers(0, 2),
)
def test_the_reduced_objective_and_its_gradient(
    activation, size, alpha, seed, linear_skip, n_missing
):
    T, n, m, r = size
    rng = np.random.default_rng(seed)
    hidden_layer = initialize(0.5, n, r, m, rng).hidden_layer
    X, Y = rng.normal(size=(T, n)), rng.normal(size=(T, m))
    starts = (0, T // 2) if T > 1 else (0,)
    Y[1 : 1 + n_missing, -1] = np.nan
    skip_alpha = 10.0 * alpha if linear_skip else None
    penalties = Regularization.scaled(alpha, n, r, m, 0.1, skip_alpha)
    problem = ElmanProblem(X, Y, penalties, activation, starts, linear_skip)
    found = evaluate(problem, hidden_layer)
    u, h = twins.rollout(found.point.parameters, activation, X, starts)
    readout = twins.best_readout(problem, h)
    expected = ElmanParameters.from_layers(hidden_layer, readout)
    assert found.objective == pytest.approx(twins.objective(problem, expected, u, h), rel=1e-9)
    if alpha > 0.0:  # without a penalty more units than rows leave the readout open
        errors = twins.errors_of(problem, expected, h)
        plain = {"readout": readout, "errors": errors, "u": u, "h": h}
        for name, array in plain.items():
            assert relative_difference(getattr(found, name), array) <= 1e-12
        gradient = twins.gradient(problem, expected, u, h)
        assert relative_difference(gradient_of(problem, found), gradient) <= 1e-12


def test_a_readout_that_is_not_unique_is_found_by_least_squares():
    # two units alike in every row, and no penalty to choose between them
    X, Y = np.ones((5, 1)), np.arange(5.0)[:, None]
    problem = ElmanProblem(X, Y, Regularization())
    trial = iterate_at(problem, np.zeros((2, 4))).trial
    assert trial.objective == pytest.approx(2.0) and np.isfinite(trial.readout).all()


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_the_distance_to_the_subdifferential(activation):
    rng = np.random.default_rng(0)
    u, s, q = rng.normal(size=(3, 40, 5))
    slope = activation.derivative(u)
    found = activation.subdifferential_distance(u, s, q)
    np.testing.assert_allclose(found, np.abs(s - q * slope), rtol=1e-14)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
@given(size=sizes, seed=st.integers(0, 2**31), gamma=log_floats(-2, 2))
def test_sweep(activation, size, seed, gamma):
    T, n, m, r = size
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(T, n)), rng.normal(size=(T, m))
    starts = (0, T // 2) if T > 1 else (0,)
    parameters = initialize(0.5, n, r, m, rng)
    point = Point(parameters, *rng.normal(size=(2, T, r)))
    multipliers = Multipliers(*rng.normal(size=(2, T, r)))
    problem = ElmanProblem(X, Y, Regularization.scaled(1.0, n, r, m), activation, starts)
    found = sweep(problem, point, multipliers, gamma, 0.1)
    # the weight block is held against dense systems in test_bcd
    h = twins.update_hidden(problem, found.parameters, point.u, *multipliers, gamma)
    assert relative_difference(found.h, h) <= 1e-12
    u = twins.update_preactivations(
        problem, found.parameters, found.h, point.u, *multipliers, gamma, 0.1
    )
    assert relative_difference(found.u, u) <= 1e-12


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
@given(size=sizes, n_lags=st.integers(0, 3), seed=st.integers(0, 2**31), linear_skip=st.booleans())
def test_simulate(activation, size, n_lags, seed, linear_skip):
    n_steps, n_exogenous, m, r = size
    rng = np.random.default_rng(seed)
    parameters = initialize(0.5, n_lags * m + n_exogenous, r, m, rng)
    if linear_skip:
        parameters = replace(parameters, D=0.3 * rng.normal(size=(m, parameters.n_inputs)))
    state, past = rng.normal(size=r), rng.normal(size=(n_lags, m))
    exogenous = rng.normal(size=(n_steps, n_exogenous))
    arrays = state, past, exogenous, rng.normal(size=(3, n_steps, m))
    copies = [array.copy() for array in arrays]
    found = simulate(parameters, activation, *arrays)
    expected = twins.simulate(parameters, activation, *arrays)
    assert relative_difference(found, expected) <= 1e-12
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def plain_piecewise_linear_prox(slope, theta1, theta2, theta3, gamma, mu, l2):
    top = gamma * theta1 + gamma * theta2 + mu * theta3
    low = gamma * theta1 + gamma * slope * theta2 + mu * theta3
    u_plus = np.maximum(top, 0.0) / (2.0 * gamma + mu + 2.0 * l2)
    u_minus = np.minimum(low, 0.0) / (gamma + gamma * slope**2 + mu + 2.0 * l2)
    values = [
        scalar_objective(LeakyReLU(slope), u, theta1, theta2, theta3, gamma, mu, l2)
        for u in (u_plus, u_minus)
    ]
    return np.where(values[0] <= values[1], u_plus, u_minus), np.abs(values[0] - values[1])


@given(
    seed=st.integers(0, 2**31),
    slope=st.floats(0.0, 0.9),
    gamma=log_floats(-3, 3),
    mu=log_floats(-8, 1),
)
def test_piecewise_linear_prox(seed, slope, gamma, mu):
    theta = np.random.default_rng(seed).normal(size=(3, 6, 5))
    expected, margin = plain_piecewise_linear_prox(slope, *theta, gamma, mu, 1e-8)
    found = LeakyReLU(slope).prox(*theta, gamma, mu, 1e-8)
    clear = margin > 1e-10 * gamma
    assert found.shape == (6, 5)
    assert relative_difference(found[clear], expected[clear]) <= 1e-12


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_a_number_that_is_not_finite_stays_visible(activation):
    parameters = initialize(0.5, 2, 3, 1, np.random.default_rng(0))
    X = np.ones((6, 2))
    X[2, 0] = np.nan
    for run in (rollout, twins.rollout):
        _, h = run(parameters, activation, X)
        assert np.isfinite(h[:2]).all() and np.isnan(h[2:]).all()


def test_transposed_and_strided_arrays_give_the_same_prox():
    theta = np.random.default_rng(0).normal(size=(3, 8, 6))
    for activation in ACTIVATIONS:
        expected = activation.prox(*theta, 1.0, 0.1, 1e-8)
        strided = [np.asfortranarray(array) for array in theta]
        np.testing.assert_array_equal(activation.prox(*strided, 1.0, 0.1, 1e-8), expected)
        views = [np.repeat(array, 2, axis=1)[:, ::2] for array in theta]
        np.testing.assert_array_equal(activation.prox(*views, 1.0, 0.1, 1e-8), expected)
