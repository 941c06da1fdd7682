"""The three block updates: against dense systems, optimality, descent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sktime_alm.solver.bcd import (
    descend,
    distance,
    stationary_to,
    step_within,
    sweep,
    update_hidden_states,
    update_parameters,
    update_preactivations,
)
from sktime_alm.solver.lagrangian import (
    Multipliers,
    augmented_lagrangian,
    gradient,
    lipschitz_constants,
)
from sktime_alm.solver.optimality import stationarity
from sktime_alm.solver.reformulation import ElmanProblem, Point
from sktime_alm.solver.regularization import Regularization
from tests import reference
from tests.conftest import cases, make_case
from tests.test_lagrangian import as_lam


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [(1, 1, 1, 1), (2, 1, 1, 1), (6, 3, 2, 4), (9, 2, 3, 2)])
def test_checks_1_weight_update_solves_the_kronecker_systems(size, seed):
    T, n, m, r = size
    problem, point, multipliers, gamma, _ = make_case(T, n, m, r, seed=seed)
    found = update_parameters(problem, point.h, point.u, multipliers, gamma)
    dense = reference.update_weights(
        point.h,
        point.u,
        multipliers.xi,
        gamma,
        problem.X,
        problem.Y,
        as_lam(problem.regularization),
    )
    for array, expected in zip(found.arrays(), dense, strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1, 1, 1), (2, 1, 1, 1), (6, 3, 2, 4)])
def test_hidden_and_preactivation_updates_equal_the_plain_ones(size):
    T, n, m, r = size
    problem, point, multipliers, gamma, mu = make_case(T, n, m, r)
    weights, lam = point.parameters.arrays(), as_lam(problem.regularization)
    h = update_hidden_states(problem, point.parameters, point.u, multipliers, gamma)
    expected_h = reference.update_hidden(
        weights, point.u, *multipliers, gamma, problem.X, problem.Y
    )
    np.testing.assert_allclose(h, expected_h, rtol=1e-12, atol=1e-12)
    u = update_preactivations(problem, point.parameters, h, point.u, multipliers, gamma, mu)
    expected_u = reference.update_preactivations(
        weights, expected_h, point.u, *multipliers, gamma, mu, problem.X, lam
    )
    np.testing.assert_allclose(u, expected_u, rtol=1e-12, atol=1e-12)


@given(case=cases())
def test_checks_2_gradients_vanish_after_the_weight_and_the_hidden_step(case):
    problem, point, multipliers, gamma, _ = case
    parameters = update_parameters(problem, point.h, point.u, multipliers, gamma)
    after_weights = Point(parameters, point.h, point.u)
    h = update_hidden_states(problem, parameters, point.u, multipliers, gamma)
    after_hidden = Point(parameters, h, point.u)
    scale = 1.0 + gamma * sum(float(np.sum(array**2)) for array in (h, point.h, point.u))
    at_weights = stationarity(problem, after_weights, multipliers, gamma)
    at_hidden = stationarity(problem, after_hidden, multipliers, gamma)
    assert at_weights.parameters <= 1e-10 * scale
    # the norm covers every row, the last of each sequence (D2) included
    assert at_hidden.hidden <= 1e-10 * scale


@given(case=cases())
def test_checks_3_every_block_descends_by_its_quantitative_drop(case):
    problem, point, multipliers, gamma, mu = case

    def value(s):
        return augmented_lagrangian(problem, s, multipliers, gamma)

    parameters, h, u = sweep(problem, point, multipliers, gamma, mu)
    points = [
        point,
        Point(parameters, point.h, point.u),
        Point(parameters, h, point.u),
        Point(parameters, h, u),
    ]
    start, after_weights, after_hidden, after_u = (value(s) for s in points)
    slack = 1e-12 * max(abs(start), 1.0)
    assert after_weights <= start + slack
    assert after_hidden <= after_weights - 0.5 * gamma * np.sum((h - point.h) ** 2) + slack
    assert after_u <= after_hidden - 0.5 * mu * np.sum((u - point.u) ** 2) + slack


@given(case=cases())
def test_checks_6_stationarity_is_bounded_by_the_step(case):
    problem, point, multipliers, gamma, mu = case
    level = augmented_lagrangian(problem, point, multipliers, gamma)
    L1, L2 = lipschitz_constants(problem, multipliers, gamma, level)
    for _ in range(5):
        previous, point = point, sweep(problem, point, multipliers, gamma, mu)
        found = stationarity(problem, point, multipliers, gamma).norm
        bound = np.sqrt(L1**2 + L2**2 + mu**2) * distance(problem, point, previous)
        assert found <= bound + 1e-9 * (1.0 + gamma)


@given(case=cases(), tolerance=st.floats(1e-3, 10.0))
def test_sweeps_stop_at_the_first_stationary_point(case, tolerance):
    problem, point, multipliers, gamma, mu = case
    rule = stationary_to(problem, multipliers, gamma, tolerance)
    found, n_sweeps = descend(problem, point, multipliers, gamma, mu, 50, rule)
    assert 1 <= n_sweeps <= 50
    s = point
    for j in range(1, n_sweeps + 1):
        s = sweep(problem, s, multipliers, gamma, mu)
        stationary = stationarity(problem, s, multipliers, gamma).norm <= tolerance
        assert stationary == (j == n_sweeps) or n_sweeps == 50
    assert distance(problem, s, found) == 0.0


def test_the_papers_step_rule_is_stricter_than_stationarity():
    problem, point, multipliers, gamma, mu = make_case(alpha=50.0, gamma=1e-2, seed=3)
    level = augmented_lagrangian(problem, point, multipliers, gamma)
    eps = 0.1
    strict = step_within(problem, multipliers, gamma, mu, eps, level)
    found, n_sweeps = descend(problem, point, multipliers, gamma, mu, 20_000, strict)
    assert n_sweeps < 20_000, "the rule never fired, so this test shows nothing"
    assert stationarity(problem, found, multipliers, gamma).norm <= eps
    direct = stationary_to(problem, multipliers, gamma, eps)
    assert descend(problem, point, multipliers, gamma, mu, 20_000, direct)[1] <= n_sweeps


def test_zero_penalties_and_dead_units_fall_back_to_least_squares():
    rng = np.random.default_rng(0)
    problem = ElmanProblem(rng.normal(size=(6, 2)), rng.normal(size=(6, 1)), Regularization())
    h, u = np.zeros((6, 3)), rng.normal(size=(6, 3))
    parameters = update_parameters(problem, h, u, Multipliers.zeros(6, 3), 1.0)
    assert parameters.is_finite()
    blocks = gradient(problem, Point(parameters, h, u), Multipliers.zeros(6, 3), 1.0)
    for array in blocks.parameters.arrays():
        np.testing.assert_allclose(array, 0.0, atol=1e-12)
