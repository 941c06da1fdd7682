"""The safeguarded method: R never rises, its gradient is right, its fixed points are KKT."""

import time
import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sktime_alm.datasets import make_elman
from sktime_alm.solver import (
    ElmanProblem,
    Regularization,
    SafeguardedSettings,
    Status,
    solve,
    train,
)
from sktime_alm.solver.accelerated import accelerated_steps
from sktime_alm.solver.initialization import initialize
from sktime_alm.solver.lagrangian import adjoint_multipliers, gradient
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.optimality import certify
from sktime_alm.solver.reduced import gradient_of, iterate_at, metric, metric_at
from sktime_alm.solver.safeguarded import relax
from sktime_alm.solver.secants import LimitedMemory
from tests.conftest import ACTIVATION_NAMES, DESCENT, cases, make_case


def make_problem(activation="elu", T=60, n=3, m=2, alpha=0.5, starts=(0,), seed=0):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(T, n)), rng.normal(size=(T, m))
    penalties = Regularization.scaled(alpha, n, 4, m)
    problem = ElmanProblem(X, Y, penalties, activation, starts)
    return problem, initialize(0.3, n, 4, m, rng)


@given(case=cases())
def test_the_reduced_gradient_is_that_of_the_objective_at_the_best_readout(case):
    problem = case.problem
    found = iterate_at(problem, case.point.parameters.hidden_layer)
    point = found.trial.point
    blocks = gradient(problem, point, adjoint_multipliers(problem, point), gamma=0.0)
    of_layer = gradient_of(problem, found.trial)
    scale = 1.0 + np.abs(of_layer).max()
    np.testing.assert_allclose(
        of_layer, blocks.parameters.hidden_layer, rtol=1e-9, atol=1e-10 * scale
    )
    # without a bound the coordinates are the hidden layer, inputs in units of their sizes
    n = problem.n_inputs
    of_layer[:, -1 - n : -1] /= problem.contraction.sizes
    np.testing.assert_allclose(found.gradient, of_layer, rtol=1e-14, atol=1e-14 * scale)
    # the readout is stationary, so nothing is lost by leaving it out
    for array in (blocks.parameters.A, blocks.parameters.c):
        np.testing.assert_allclose(array, 0.0, atol=1e-9 * scale)
    assert found.objective <= problem.objective(case.point.parameters) * (1.0 + 1e-12)


def test_the_reduced_gradient_equals_finite_differences():
    problem, initial = make_problem(starts=(0, 25))
    B = initial.hidden_layer
    of_layer = gradient_of(problem, iterate_at(problem, B).trial)
    rng = np.random.default_rng(1)
    for _ in range(5):
        direction = rng.normal(size=B.shape)
        step = 1e-6
        ahead, behind = (iterate_at(problem, B + s * step * direction) for s in (1.0, -1.0))
        slope = (ahead.objective - behind.objective) / (2.0 * step)
        assert slope == pytest.approx(float(np.vdot(of_layer, direction)), rel=1e-6)


def test_one_step_without_memory_is_the_damped_step_of_the_weight_block():
    problem, initial = make_problem()
    iterate = iterate_at(problem, initial.hidden_layer)
    matrix = metric_at(problem, iterate)
    units = np.concatenate([np.ones(4), problem.contraction.sizes, [1.0]])
    np.testing.assert_allclose(
        matrix, metric(problem, iterate.trial) / np.outer(units, units), rtol=1e-14
    )
    memory = LimitedMemory(iterate.variables)
    memory.renew(np.linalg.inv(matrix))
    expected = -np.linalg.solve(matrix, iterate.gradient.T).T
    np.testing.assert_allclose(memory.direction(iterate.gradient), expected, rtol=1e-10, atol=1e-14)


@given(
    activation=st.sampled_from(ACTIVATION_NAMES),
    scale=st.floats(0.01, 3.0),
    alpha=st.sampled_from([0.0, 0.01, 1.0]),
    finished=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_the_objective_never_rises_and_is_that_of_the_network(
    activation, scale, alpha, finished, seed
):
    problem, _ = make_problem(activation, T=25, alpha=alpha, starts=(0, 10), seed=seed)
    initial = initialize(scale, 3, 4, 2, np.random.default_rng(seed))
    before = problem.objective(initial)
    if not np.isfinite(before):
        return
    settings = SafeguardedSettings(
        max_iter=12, max_inner_iter=5, active_set=finished, n_relaxations=3
    )
    result = solve(problem, initial, settings)
    objectives = [before, *(record.objective for record in result.history)]
    assert all(np.isfinite(objectives))
    assert all(b <= a * (1.0 + 1e-12) for a, b in pairwise(objectives))
    assert result.objective == pytest.approx(problem.objective(result.parameters), rel=1e-12)
    # pre-activations next to a kink are taken to be on it where units are held there
    assert result.certificate.relative_feasibility <= (1e-6 if finished else 1e-12)


@pytest.mark.parametrize("finished", [True, False])
def test_it_converges_to_a_kkt_point_where_the_objective_is_smooth(finished):
    problem, initial = make_problem("elu")
    settings = SafeguardedSettings(tolerance=1e-5, active_set=finished, max_iter=2_000)
    result = solve(problem, initial, settings)
    assert result.status is Status.CONVERGED
    # judged afresh, from the network alone
    iterate = iterate_at(problem, result.parameters.hidden_layer)
    point = iterate.trial.point
    again = certify(problem, point, adjoint_multipliers(problem, point), 1e-5)
    assert again.residual <= 1e-5


def test_a_kkt_point_is_a_fixed_point():
    problem, initial = make_problem("elu")
    settings = SafeguardedSettings(tolerance=1e-7, max_iter=500)
    result = solve(problem, initial, settings)
    iterate = iterate_at(problem, result.parameters.hidden_layer)
    assert np.linalg.norm(iterate.gradient) <= 1e-7 * iterate.objective
    moved, _, _ = accelerated_steps(problem, iterate, LimitedMemory(iterate.variables), 5)
    np.testing.assert_allclose(moved.variables, iterate.variables, atol=1e-5)


def test_relaxation_leaves_a_kkt_point_and_is_kept_only_if_it_pays():
    problem, initial = make_problem("relu", alpha=0.01)
    plain = SafeguardedSettings(n_relaxations=0, max_iter=1_000)
    relaxed = SafeguardedSettings(n_relaxations=5, patience=None, max_iter=1_000)
    without, with_relaxations = (solve(problem, initial, s) for s in (plain, relaxed))
    assert with_relaxations.objective < without.objective
    frame = with_relaxations.history.to_frame()
    assert (frame["phase"] == "relax").sum() == 5
    iterate = iterate_at(problem, without.parameters.hidden_layer)
    hidden_layer, n_sweeps = relax(problem, iterate.trial, 1)
    assert n_sweeps >= 1
    assert np.abs(hidden_layer - iterate.trial.hidden_layer).max() > 1e-3


def test_relaxations_that_no_iteration_is_left_for_take_no_time():
    problem, initial = make_problem("relu")
    result = solve(problem, initial, SafeguardedSettings(max_iter=2, n_relaxations=10**18))
    assert result.n_iter == 2


@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_a_descent_without_a_finish_ends_where_another_gains_nothing(activation):
    problem, initial = make_problem(activation)
    first = solve(problem, initial, SafeguardedSettings(**DESCENT))
    again = solve(problem, first.parameters, SafeguardedSettings(**DESCENT))
    assert again.n_iter <= 3 and again.status in (Status.AT_REST, Status.CONVERGED)
    assert again.objective >= (1.0 - 1e-5) * first.objective


def test_it_is_deterministic():
    problem, initial = make_problem("relu")
    settings = SafeguardedSettings(n_relaxations=2)
    first, second = (solve(problem, initial, settings) for _ in range(2))
    np.testing.assert_array_equal(first.parameters.W, second.parameters.W)
    assert first.history[-1].objective == second.history[-1].objective


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_a_start_of_spectral_radius_3_gives_a_finite_network(activation):
    problem, initial = make_problem(activation, T=200)
    W = initial.W * (3.0 / np.abs(np.linalg.eigvals(initial.W)).max())
    wild = ElmanParameters(initial.A, W, initial.V, initial.b, initial.c)
    settings = SafeguardedSettings(n_relaxations=3)
    result = solve(problem, wild, settings)
    assert result.parameters.is_finite()
    # Through a chaotic network a rounding error grows to the size of the states: where the descent
    # ends is not the same on every machine. That it descends is.
    assert result.objective < problem.objective(wild)
    # kept contractive, as the forecaster does, it forgets: no worse than to predict the mean
    bounded = replace(problem, max_recurrence=0.98)
    layer = bounded.contraction.nearest(wild.hidden_layer)
    tame = ElmanParameters(wild.A, layer[:, :4], layer[:, 4:-1], layer[:, -1], wild.c)
    result = solve(bounded, tame, settings)
    assert result.objective < float(np.mean(np.sum(problem.Y**2, axis=1)))


def test_he_weights_on_500_rows_of_100_units_give_finite_networks():
    y, X, _ = make_elman(
        500, n_inputs=80, n_outputs=30, hidden_size=100, weight_scale=0.05, random_state=0
    )
    options = {"alpha": 500.0, "initialization": "he", "random_state": 0, "max_iter": 4}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a start may have to be tamed
        result = train(X.to_numpy(), y.to_numpy(), 100, **options)
    assert result.parameters.is_finite()
    assert result.objective < float(np.mean(np.sum(y.to_numpy() ** 2, axis=1)))
    assert np.isfinite([record.objective for record in result.history]).all()


@pytest.mark.exhaustive
def test_long_series_are_trained_in_linear_time_and_stay_finite():
    y, X, _ = make_elman(
        100_000, n_inputs=11, n_outputs=1, hidden_size=20, weight_scale=0.2, noise=0.1,
        standardize=True, random_state=0,
    )  # fmt: skip
    seconds = []
    for n_samples in (10_000, 100_000):
        began = time.perf_counter()
        inputs, targets = X.to_numpy()[:n_samples], y.to_numpy()[:n_samples]
        result = train(inputs, targets, 20, alpha=0.1, random_state=0, max_iter=5)
        seconds.append(time.perf_counter() - began)
        assert result.parameters.is_finite() and result.objective < 0.5
        objectives = [record.objective for record in result.history]
        assert all(b <= a for a, b in pairwise(objectives))
    assert seconds[1] < 40.0 * seconds[0]


def test_dead_units_are_no_obstacle():
    case = make_case(activation="relu")
    A, W, V, b, c = case.point.parameters.arrays()
    dead = ElmanParameters(A, W, 0.0 * V, -np.ones_like(b), c)
    result = solve(case.problem, dead, SafeguardedSettings(max_iter=5))
    assert result.parameters.is_finite()
    assert result.objective <= case.problem.objective(dead)
