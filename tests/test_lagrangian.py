"""The augmented Lagrangian and its gradients (Lemmas 3.1 and 3.2)."""

import numpy as np
import pytest
from hypothesis import given

from sktime_alm.solver.lagrangian import (
    Multipliers,
    augmented_lagrangian,
    gradient,
    lipschitz_constants,
    update_multipliers,
)
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.reformulation import Point
from tests import reference
from tests.conftest import cases, make_case, named


def as_lam(reg):
    return (
        reg.l2_readout,
        reg.l2_recurrent,
        reg.l2_input,
        reg.l2_bias,
        reg.l2_readout_bias,
        reg.l2_preactivation,
    )


def central_difference(function, array, step=1e-5):
    numerical = np.empty_like(array)
    for index in np.ndindex(array.shape):
        shifted = array.copy()
        shifted[index] += step
        upper = function(shifted)
        shifted[index] -= 2.0 * step
        numerical[index] = (upper - function(shifted)) / (2.0 * step)
    return numerical


@pytest.mark.parametrize("starts", [(0,), (0, 3, 4)])
@pytest.mark.parametrize("block", "AWVbcD")
def test_checks_1_gradients_in_the_weights(case, block, starts):
    problem, point, multipliers, gamma, _ = make_case(
        activation=case.problem.activation, starts=starts, linear_skip=True, missing=(2, 6)
    )
    arrays = named(point.parameters)

    def value(array):
        parameters = ElmanParameters(**{**arrays, block: array})
        shifted = Point(parameters, point.h, point.u)
        return augmented_lagrangian(problem, shifted, multipliers, gamma)

    found = getattr(gradient(problem, point, multipliers, gamma).parameters, block)
    numerical = central_difference(value, arrays[block])
    np.testing.assert_allclose(found, numerical, rtol=1e-6, atol=1e-6 * np.abs(numerical).max())


@pytest.mark.parametrize("starts", [(0,), (0, 3, 4)])
def test_checks_1_gradients_in_the_states(case, starts):
    problem, point, multipliers, gamma, _ = make_case(
        activation=case.problem.activation, starts=starts, linear_skip=True, missing=(2, 6)
    )
    found = gradient(problem, point, multipliers, gamma)

    def value_h(h):
        shifted = Point(point.parameters, h, point.u)
        return augmented_lagrangian(problem, shifted, multipliers, gamma)

    def value_u(u):
        shifted = Point(point.parameters, point.h, u)
        return augmented_lagrangian(problem, shifted, multipliers, gamma)

    numerical_h = central_difference(value_h, point.h)
    np.testing.assert_allclose(found.h, numerical_h, rtol=1e-6, atol=1e-6)
    of_u = found.u_smooth - found.u_slope * problem.sigma.derivative(point.u)
    np.testing.assert_allclose(of_u, central_difference(value_u, point.u), rtol=1e-6, atol=1e-6)


@given(case=cases())
def test_checks_12_both_forms_agree_and_bound_from_below(case):
    problem, point, multipliers, gamma, _ = case
    C1, C2 = problem.constraints(point)
    xi, zeta = multipliers
    completed = (
        problem.objective_at(point)
        + 0.5 * gamma * np.sum((C1 + xi / gamma) ** 2)
        + 0.5 * gamma * np.sum((C2 + zeta / gamma) ** 2)
        - (np.sum(xi**2) + np.sum(zeta**2)) / (2.0 * gamma)
    )
    found = augmented_lagrangian(problem, point, multipliers, gamma)
    scale = 1.0 + abs(found) + (np.sum(xi**2) + np.sum(zeta**2)) / gamma
    assert abs(found - completed) <= 1e-12 * scale
    assert found >= -(np.sum(xi**2) + np.sum(zeta**2)) / (2.0 * gamma)


def test_checks_12_value_against_the_plain_reference():
    problem, point, multipliers, gamma, _ = make_case()
    weights, lam = point.parameters.arrays(), as_lam(problem.regularization)
    arguments = (weights, point.h, point.u, *multipliers, gamma, problem.X, problem.Y, lam)
    found = augmented_lagrangian(problem, point, multipliers, gamma)
    assert found == pytest.approx(reference.lagrangian(*arguments), rel=1e-12)
    assert found == pytest.approx(reference.lagrangian_completed(*arguments), rel=1e-12)


@given(case=cases())
def test_checks_14_on_a_rolled_out_point_it_is_the_objective(case):
    problem, point, multipliers, gamma, _ = case
    feasible = problem.feasible_point(point.parameters)
    value = augmented_lagrangian(problem, feasible, multipliers, gamma)
    assert value == pytest.approx(problem.objective(point.parameters), rel=1e-12)


@given(case=cases())
def test_checks_10_lipschitz_bounds_within_the_level_set(case):
    problem, point, multipliers, gamma, _ = case
    rng = np.random.default_rng(0)
    parameters, h, u = point
    nearby = [
        Point(parameters, h + dh, u + du) for dh, du in 0.3 * rng.normal(size=(5, 2, *h.shape))
    ]
    level = max(augmented_lagrangian(problem, s, multipliers, gamma) for s in [point, *nearby])
    L1, L2 = lipschitz_constants(problem, multipliers, gamma, level)
    of_point = gradient(problem, point, multipliers, gamma)
    for s in nearby:
        of_s = gradient(problem, s, multipliers, gamma)
        arrays = zip(of_s.parameters.arrays(), of_point.parameters.arrays(), strict=True)
        of_z = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in arrays))
        step = np.sqrt(np.sum((s.h - h) ** 2) + np.sum((s.u - u) ** 2))
        assert of_z <= L1 * step * (1.0 + 1e-12)

        only_u = gradient(problem, Point(parameters, h, s.u), multipliers, gamma)
        of_h = np.linalg.norm(only_u.h - of_point.h)
        assert of_h <= L2 * np.linalg.norm(s.u - u) * (1.0 + 1e-12)


def test_lipschitz_constants_are_infinite_without_penalties():
    problem, point, multipliers, gamma, _ = make_case(alpha=0.0)
    assert lipschitz_constants(problem, multipliers, gamma, 10.0) == (np.inf, np.inf)


def test_multipliers_move_by_gamma_times_the_constraints():
    problem, point, multipliers, gamma, _ = make_case()
    updated = update_multipliers(problem, point, multipliers, gamma)
    C1, C2 = problem.constraints(point)
    np.testing.assert_allclose(updated.xi - multipliers.xi, gamma * C1, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(updated.zeta - multipliers.zeta, gamma * C2, rtol=1e-12, atol=1e-14)
    assert isinstance(updated, Multipliers)
