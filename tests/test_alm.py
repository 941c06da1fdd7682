"""Algorithm 3.1: the plain reference, its bookkeeping, and what the result promises."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sktime_alm.solver import (
    ALMSettings,
    ElmanParameters,
    ElmanProblem,
    Regularization,
    Status,
    solve,
)
from sktime_alm.solver.initialization import initialize
from sktime_alm.solver.lagrangian import Multipliers, augmented_lagrangian
from sktime_alm.solver.optimality import stationarity
from sktime_alm.solver.reformulation import Point
from tests import reference
from tests.conftest import ACTIVATION_NAMES, make_case
from tests.test_lagrangian import as_lam


def make_start(case, seed=1):
    problem, r = case.problem, case.point.h.shape[1]
    rng = np.random.default_rng(seed)
    return initialize(0.3, problem.n_inputs, r, problem.n_outputs, rng)


def fixed_sweeps(n_outer, n_inner, **changes):
    """Settings under which no stopping rule fires."""
    return ALMSettings(
        max_iter=n_outer,
        max_inner_iter=n_inner,
        tolerance=0.0,
        patience=None,
        inner_tolerance=1e-300,
        **changes,
    )


@pytest.mark.parametrize(
    ("size", "n_inner"),
    [((9, 5, 3, 4), 10), ((1, 1, 1, 1), 3), ((12, 2, 1, 6), 1), ((30, 3, 2, 5), 4)],
)
def test_iterates_equal_those_of_the_plain_reference(size, n_inner):
    T, n, m, r = size
    case = make_case(T, n, m, r, seed=T)
    problem, initial = case.problem, make_start(case)
    lam = as_lam(problem.regularization)
    iterates = reference.alm(
        initial.arrays(), problem.X, problem.Y, lam, n_outer=12, n_inner=n_inner
    )
    result = solve(problem, initial, fixed_sweeps(12, n_inner, penalty_exponent=0.01))
    for k, (weights, h, u, xi, zeta, gamma) in enumerate(iterates, start=1):
        assert result.history[k - 1].penalty == pytest.approx(gamma, rel=1e-9)
    last = result.last
    for array, expected in zip(last.parameters.arrays(), weights, strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-9, atol=1e-9)
    for array, expected in zip((last.h, last.u, last.xi, last.zeta), (h, u, xi, zeta), strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-9, atol=1e-9)


def test_the_safeguard_restarts_at_the_initial_point_as_in_the_reference():
    # from a good network the level is tight, and raising the penalty lifts L above it
    case = make_case(T=8, seed=2)
    problem = case.problem
    initial = solve(problem, make_start(case), fixed_sweeps(30, 10)).parameters
    lam, level = as_lam(problem.regularization), 1.0001 * problem.objective(initial)
    changes = {"penalty_exponent": 0.01, "penalty_update_factor": 50.0, "initial_penalty": 1e-3}
    result = solve(problem, initial, fixed_sweeps(8, 2, safeguard=level, **changes))
    reference_changes = {"gamma": 1e-3, "eta2": 1 / 50, "level": level}
    iterates = list(
        reference.alm(initial.arrays(), problem.X, problem.Y, lam, 8, 2, **reference_changes)
    )
    handed_on = [reference.lagrangian(*it, problem.X, problem.Y, lam) for it in iterates[:-1]]
    assert max(handed_on) > level, "the safeguard was never needed, so this test shows nothing"
    np.testing.assert_allclose(result.last.u, iterates[-1][2], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(result.last.xi, iterates[-1][3], rtol=1e-9, atol=1e-9)
    assert all(record.lagrangian <= level * (1 + 1e-12) for record in result.history)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**31), activation=st.sampled_from(ACTIVATION_NAMES))
def test_checks_13_bookkeeping(seed, activation):
    case = make_case(T=10, activation=activation, seed=seed)
    problem, initial = case.problem, make_start(case)
    settings = fixed_sweeps(15, 5)
    result = solve(problem, initial, settings)
    level = max(100.0, problem.objective(initial))

    gamma, violation = settings.initial_penalty, 0.0
    for record in result.history:
        worse = max(record.preactivation_violation, record.hidden_violation)
        feasibility_fell = worse <= settings.feasibility_decrease * violation
        assert (record.penalty == gamma) == feasibility_fell
        assert record.penalty >= gamma
        assert record.lagrangian <= level * (1.0 + 1e-12)
        gamma, violation = record.penalty, worse

    before = solve(problem, initial, dataclasses.replace(settings, max_iter=14)).last
    last = result.last
    C1, C2 = problem.constraints(Point(last.parameters, last.h, last.u))
    scale = 1e-12 * max(1.0, before.penalty)
    np.testing.assert_allclose(last.xi - before.xi, before.penalty * C1, rtol=1e-9, atol=scale)
    np.testing.assert_allclose(last.zeta - before.zeta, before.penalty * C2, rtol=1e-9, atol=scale)


@given(seed=st.integers(0, 2**31), activation=st.sampled_from(ACTIVATION_NAMES))
def test_checks_7_kkt_residuals_equal_stationarity_at_the_multipliers_before(seed, activation):
    case = make_case(T=10, activation=activation, seed=seed)
    problem, initial = case.problem, make_start(case)
    before = solve(problem, initial, fixed_sweeps(4, 5)).last
    result = solve(problem, initial, fixed_sweeps(5, 5))
    last = result.last
    point = Point(last.parameters, last.h, last.u)
    old = stationarity(problem, point, Multipliers(before.xi, before.zeta), before.penalty)
    np.testing.assert_allclose(
        result.certificate.stationarity_blocks, old, rtol=1e-8, atol=1e-10 * before.penalty
    )
    C1, C2 = problem.constraints(point)
    assert result.certificate.feasibility == pytest.approx(
        max(np.linalg.norm(C1), np.linalg.norm(C2)), rel=1e-12
    )


def test_the_best_network_seen_is_returned():
    case = make_case(T=20, seed=4)
    problem, initial = case.problem, make_start(case)
    result = solve(problem, initial, ALMSettings(max_iter=20, max_inner_iter=3, tolerance=0.0))
    seen = [problem.objective(initial), *(record.objective for record in result.history)]
    assert result.objective == min(seen)
    assert problem.objective(result.parameters) == result.objective


def test_the_start_is_returned_when_nothing_improves_on_it():
    # all-zero targets and weights: R = 0 at the start, the global minimum
    X = np.ones((5, 1))
    problem = ElmanProblem(X, np.zeros((5, 1)), Regularization.scaled(1.0, 1, 2, 1))
    zeros = ElmanParameters(
        np.zeros((1, 2)), np.zeros((2, 2)), np.zeros((2, 1)), np.zeros(2), np.zeros(1)
    )
    result = solve(problem, zeros)
    assert result.objective == 0.0
    assert result.status is Status.CONVERGED and result.certificate.is_kkt


def test_it_converges_to_a_kkt_point_and_says_so():
    case = make_case(T=8, alpha=2.0, seed=5)
    settings = ALMSettings(max_iter=400, max_inner_iter=200, tolerance=1e-4)
    result = solve(case.problem, make_start(case), settings)
    assert result.status is Status.CONVERGED
    assert result.certificate.is_kkt and "is KKT to 1e-04" in str(result.certificate)
    assert result.n_iter == len(result.history) < 400
    assert result.n_sweeps == sum(record.n_sweeps for record in result.history)


def test_an_overflow_ends_the_fit_with_a_status_and_finite_numbers():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(6, 2)), 1e120 * rng.normal(size=(6, 1))
    problem = ElmanProblem(X, Y, Regularization.scaled(1.0, 2, 3, 1))
    initial = initialize("normal", 2, 3, 1, rng)
    result = solve(problem, initial, ALMSettings(max_iter=50))
    assert result.status is Status.NON_FINITE
    assert result.parameters.is_finite() and np.isfinite(result.objective)
    assert np.isfinite(result.last.u).all() and np.isfinite(result.last.penalty)


def test_the_callback_sees_every_record_and_can_stop():
    case = make_case()
    seen = []

    def stop_at_three(record):
        seen.append(record)
        return record.iteration == 3

    result = solve(case.problem, make_start(case), ALMSettings(tolerance=0.0), stop_at_three)
    assert result.status is Status.CALLBACK and result.n_iter == 3
    assert tuple(seen) == result.history
    assert [record.seconds for record in seen] == sorted(record.seconds for record in seen)


def test_inputs_are_left_alone():
    case = make_case()
    problem, initial = case.problem, make_start(case)
    copies = [array.copy() for array in (problem.X, problem.Y, *initial.arrays())]
    solve(problem, initial, ALMSettings(max_iter=3))
    for array, copy in zip((problem.X, problem.Y, *initial.arrays()), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_the_lagrangian_recorded_is_that_before_the_multiplier_update():
    case = make_case(T=8)
    problem, initial = case.problem, make_start(case)
    result = solve(problem, initial, fixed_sweeps(1, 4))
    last = result.last
    zeros = Multipliers.zeros(8, 4)
    value = augmented_lagrangian(problem, Point(last.parameters, last.h, last.u), zeros, 1.0)
    assert result.history[0].lagrangian == pytest.approx(value, rel=1e-14)


def test_table_2_presets():
    small, sp500, large = (
        ALMSettings.paper(name) for name in ("synthetic-10", "sp500", "synthetic-500")
    )
    for preset in (small, sp500, large):
        assert preset.initial_penalty == 1.0 and preset.inner_tolerance == 0.1
        assert preset.safeguard == 100.0 and preset.proximal_weight == 1e-5
    assert (small.max_iter, small.max_inner_iter) == (50, 10)
    assert (sp500.max_iter, sp500.max_inner_iter) == (200, 500)
    assert (large.max_iter, large.max_inner_iter) == (100, 500)
    assert small.feasibility_decrease == sp500.feasibility_decrease == 0.99
    assert 1.0 / small.penalty_update_factor == pytest.approx(5 / 6)
    assert (large.feasibility_decrease, large.penalty_exponent) == (0.90, 0.015)
    assert 1.0 / large.penalty_update_factor == pytest.approx(0.90)
    assert large.tolerance_update_factor == 0.8


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("inner_stop", "never", ValueError),
        ("inner_stop", np.ones(2), ValueError),
        ("inner_stop", pd.NA, ValueError),
        ("max_iter", 0, ValueError),
        ("max_iter", 10**30, ValueError),
        ("max_iter", 2.5, TypeError),
        ("max_inner_iter", -1, ValueError),
        ("tolerance", -1e-3, ValueError),
        ("initial_penalty", 0.0, ValueError),
        ("initial_penalty", np.nan, ValueError),
        ("penalty_update_factor", 1.0, ValueError),
        ("penalty_exponent", 0.0, ValueError),
        ("feasibility_decrease", 1.0, ValueError),
        ("tolerance_update_factor", 1.5, ValueError),
        ("inner_tolerance", -0.1, ValueError),
        ("proximal_weight", -1e-5, ValueError),
        ("proximal_weight", "small", TypeError),
        ("safeguard", -1.0, ValueError),
        ("safeguard", 10**400, ValueError),
    ],
)
def test_bad_settings_are_refused_by_name(name, value, error):
    with pytest.raises(error, match=f"{name} must be"):
        ALMSettings(**{name: value})


@pytest.mark.parametrize("dataset", [np.ones(2), pd.NA], ids=repr)
def test_what_is_no_data_set_of_the_paper_is_refused_by_name(dataset):
    with pytest.raises(ValueError, match="dataset must be one of"):
        ALMSettings.paper(dataset)


def test_a_safeguard_below_the_start_is_refused_by_name():
    case = make_case()
    problem, initial = case.problem, make_start(case)
    objective = problem.objective(initial)
    with pytest.raises(ValueError, match="safeguard must be at least the objective"):
        solve(problem, initial, ALMSettings(safeguard=0.99 * objective))
    solve(problem, initial, ALMSettings(safeguard=objective, max_iter=1))


def test_an_initial_network_that_does_not_fit_or_overflows_is_refused_by_name():
    case = make_case()
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="initial must take 3 inputs"):
        solve(case.problem, initialize(0.1, 2, 4, 2, rng))
    with pytest.raises(TypeError, match="initial must be ElmanParameters"):
        solve(case.problem, case.point.parameters.arrays())
    good = make_start(case)
    broken = dataclasses.replace(good, b=np.full(4, np.nan))
    with pytest.raises(ValueError, match="initial must be finite"):
        solve(case.problem, broken)
    exploding = dataclasses.replace(good, W=np.full((4, 4), 1e200), b=np.ones(4))
    with pytest.raises(ValueError, match="initial gives a network that overflows"):
        solve(case.problem, exploding)
