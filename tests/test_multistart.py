"""train: starts, seeds, arguments."""

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import ThreadpoolController

from sktime_alm.solver import (
    ALMSettings,
    ElmanProblem,
    IterationRecord,
    Regularization,
    ReLU,
    SafeguardedSettings,
    Status,
    solve,
    train,
)
from sktime_alm.solver.network import rollout

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 2)), RNG.normal(size=(30, 1))
# three steps from every start: so few that none has arrived anywhere
FAST = {"max_iter": 3, "max_inner_iter": 3, "active_set": False, "n_relaxations": 0}
METHODS = [SafeguardedSettings(**FAST), ALMSettings(max_iter=3, max_inner_iter=3)]


def test_the_best_start_is_returned_with_the_outcome_of_each():
    result = train(X, Y, 3, n_init=4, random_state=0, **FAST)
    objectives = [start.objective for start in result.starts]
    assert len(objectives) == 4 and len(set(objectives)) == 4
    assert result.objective == min(objectives)
    assert all(isinstance(start.status, Status) for start in result.starts)


def test_a_start_depends_on_the_seed_and_its_place_alone():
    few = train(X, Y, 3, n_init=2, random_state=5, **FAST)
    many = train(X, Y, 3, n_init=4, random_state=5, **FAST)
    assert [start.objective for start in many.starts[:2]] == [
        start.objective for start in few.starts
    ]


def test_the_number_of_jobs_and_of_blas_threads_changes_no_bit():
    blas = ThreadpoolController()
    before = [library["num_threads"] for library in blas.info()]
    alone = train(X, Y, 3, n_init=5, random_state=5, **FAST)
    for n_jobs in (1, 3, -1):
        together = train(X, Y, 3, n_init=5, random_state=5, n_jobs=n_jobs, **FAST)
        for start, expected in zip(together.starts, alone.starts, strict=True):
            assert start.objective == expected.objective and start.status is expected.status
        np.testing.assert_array_equal(together.parameters.W, alone.parameters.W)
    with blas.limit(limits=1):
        limited = train(X, Y, 3, n_init=5, random_state=5, **FAST)
    np.testing.assert_array_equal(limited.parameters.W, alone.parameters.W)
    assert [library["num_threads"] for library in blas.info()] == before


def test_a_callback_watches_every_start_and_an_interrupt_ends_them_all():
    alone: list[IterationRecord] = []
    seen: list[IterationRecord] = []
    train(X, Y, 3, n_init=4, random_state=5, callback=alone.append, **FAST)
    train(X, Y, 3, n_init=4, random_state=5, n_jobs=2, callback=seen.append, **FAST)
    objectives = [sorted(record.objective for record in records) for records in (alone, seen)]
    assert objectives[0] == objectives[1]
    assert sum(record.iteration == 1 for record in seen) == 4

    def interrupt(record):
        raise KeyboardInterrupt

    result = train(X, Y, 3, n_init=4, random_state=5, n_jobs=2, callback=interrupt, **FAST)
    assert result.status is Status.INTERRUPTED and result.parameters.is_finite()


@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_seed_gives_the_same_bits(seed):
    first, second = (train(X, Y, 3, random_state=seed, **FAST) for _ in range(2))
    for a, b in zip(first.parameters.arrays(), second.parameters.arrays(), strict=True):
        np.testing.assert_array_equal(a, b)
    other = train(X, Y, 3, random_state=seed + 1, **FAST)
    assert other.objective != first.objective


def test_generators_and_random_states_are_accepted():
    for make in (np.random.default_rng, np.random.RandomState):
        first, second = (train(X, Y, 3, random_state=make(3), **FAST) for _ in range(2))
        assert first.objective == second.objective


def test_a_start_that_overflows_is_tamed_and_said():
    long_X, long_Y = np.ones((400, 2)), np.ones((400, 1))
    with pytest.warns(UserWarning, match="initial network exploded"):
        result = train(
            long_X, long_Y, 5, initialization=30.0, random_state=0, max_recurrence=np.inf, **FAST
        )
    assert np.isfinite(result.objective)


def test_initial_weights_are_used_as_given():
    first = train(X, Y, 3, random_state=0, **FAST)
    again = train(X, Y, 3, initial=first.parameters, **FAST)
    assert again.objective <= first.objective


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"hidden_size": 0}, ValueError, "hidden_size must be at least 1, found 0"),
        ({"hidden_size": 2.0}, TypeError, "hidden_size must be an integer"),
        ({"n_init": 0}, ValueError, "n_init must be at least 1"),
        ({"n_jobs": 0}, ValueError, "n_jobs must not be 0"),
        ({"n_jobs": 1.5}, TypeError, "n_jobs must be an integer or None"),
        ({"alpha": -1.0}, ValueError, "alpha must be 0 or more"),
        ({"initialization": "xavier"}, ValueError, "initialization must be one of"),
        ({"random_state": -1}, ValueError, "random_state must be at least 0"),
        ({"random_state": "a"}, TypeError, "random_state must be an integer"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1"),
        ({"max_iter": 10**30}, ValueError, f"max_iter must be at most {sys.maxsize}, found 10"),
        ({"n_init": 10**30}, ValueError, "n_init must be at most 20000"),
        ({"alpha": 10**400}, ValueError, "alpha must be finite"),
        ({"initialization": 10**400}, ValueError, "initialization must be finite"),
        ({"linear_skip": np.ones(2)}, TypeError, "linear_skip must be True or False"),
        ({"linear_skip": pd.NA}, TypeError, "linear_skip must be True or False"),
        ({"max_recurrence": np.ones(2)}, TypeError, "max_recurrence must be a number"),
        ({"max_recurrence": pd.NA}, TypeError, "max_recurrence must be a number"),
        ({"recurrence_norm": pd.NA}, ValueError, "recurrence_norm must be one of"),
        ({"starts": np.array(0)}, TypeError, "starts must be a sequence of integers"),
        ({"X": X.astype(str)}, TypeError, "X must be an array of numbers"),
        ({"Y": Y.astype(complex)}, TypeError, "Y must be an array of numbers"),
        ({"Y": np.ma.masked_array(Y, Y > 1.0)}, ValueError, "Y must have no masked values"),
        ({"settings": METHODS[1]}, TypeError, "pass settings or its fields, not both"),
        ({"X": X[:, 0]}, ValueError, "X must have two dimensions"),
        ({"Y": Y[:3]}, ValueError, "X and Y must have equally many rows"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        train(**{"X": X, "Y": Y, "hidden_size": 3, **FAST, **arguments})


@pytest.mark.parametrize("seed", [0, 2])
def test_targets_that_are_fitted_to_the_last_digit_are_no_division_by_zero(seed):
    inputs = np.random.default_rng(0).normal(size=(20, 2))
    options = {"tolerance": 0.0, "max_iter": 300, "random_state": seed}
    result = train(inputs, np.zeros((20, 1)), 5, **options)
    assert 0.0 <= result.objective < 1e-12


@pytest.mark.parametrize("scale", [1e-77, 1e77])
def test_gradients_whose_squares_overflow_are_no_error(scale):
    result = train(X, Y * scale, 3, random_state=0, **FAST)
    assert result.parameters.is_finite() and np.isfinite(result.objective)


def test_states_beyond_any_use_are_tamed():
    # 200 units of N(0, 0.12) have a spectral radius above 1
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(1_000, 3)), rng.normal(size=(1_000, 1))
    with pytest.warns(UserWarning, match="initial network exploded"):
        result = train(
            inputs, targets, 200, initialization=0.12, random_state=0, max_recurrence=np.inf, **FAST
        )
    assert result.objective < 2.0


def test_numbers_beyond_double_precision_are_refused():
    with pytest.raises(ValueError, match="X or Y is too large"):
        train(X, np.full((30, 1), 1e160), 3, random_state=0, **FAST)


def test_given_weights_must_have_the_hidden_size():
    five = train(X, Y, 5, random_state=0, **FAST).parameters
    with pytest.raises(ValueError, match="initial must have hidden_size = 3 units, found 5"):
        train(X, Y, 3, initial=five, **FAST)


def test_fits_that_overlap_in_threads_leave_blas_as_it_was():
    blas = ThreadpoolController()
    before = [library["num_threads"] for library in blas.info()]
    first_began, second_ended = Event(), Event()

    def wait_for_the_second(record):
        first_began.set()
        second_ended.wait(60)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(train, X, Y, 3, callback=wait_for_the_second, max_iter=1)
        first_began.wait(60)
        pool.submit(train, X, Y, 3, max_iter=1).result()
        second_ended.set()
        first.result()
    assert [library["num_threads"] for library in blas.info()] == before


def ridge(X, Y, skip_alpha, observed=slice(None)):
    """D and c of the ridge regression, by centring."""
    X, Y = X[observed], Y[observed]
    x, y = X - X.mean(axis=0), Y - Y.mean(axis=0)
    l2 = skip_alpha / (X.shape[1] * Y.shape[1])
    D = np.linalg.solve(x.T @ x / len(x) + l2 * np.eye(x.shape[1]), x.T @ y / len(x)).T
    return D, Y.mean(axis=0) - D @ X.mean(axis=0)


@pytest.mark.parametrize("settings", METHODS)
def test_a_strong_penalty_leaves_exactly_the_ridge_regression(settings):
    targets = Y.copy()
    targets[3] = np.nan
    options = {"linear_skip": True, "skip_alpha": 0.7, "settings": settings, "random_state": 0}
    result = train(X, targets, 3, alpha=1e6, **options)
    D, c = ridge(X, Y, 0.7, np.arange(len(Y)) != 3)
    np.testing.assert_allclose(result.parameters.D, D, rtol=1e-10)
    np.testing.assert_allclose(result.parameters.c, c, rtol=1e-10)
    assert not result.parameters.A.any() and not result.parameters.W.any()
    assert result.certificate.is_kkt and len(result.starts) == 2


@pytest.mark.parametrize("settings", METHODS)
@pytest.mark.parametrize("alpha", [0.01, 1.0, 100.0])
def test_no_network_with_a_linear_skip_is_worse_than_the_ridge_regression(settings, alpha):
    options = {"linear_skip": True, "skip_alpha": 0.5, "settings": settings, "random_state": 1}
    result = train(X, Y, 3, alpha=alpha, **options)
    D, c = ridge(X, Y, 0.5)
    loss = np.mean(np.sum((Y - X @ D.T - c) ** 2, axis=1))
    assert result.objective <= (loss + 0.5 * np.mean(D**2)) * (1.0 + 1e-12)


def test_rows_without_targets_are_no_part_of_the_loss_but_move_the_state():
    rng = np.random.default_rng(3)
    inputs, state, rows = rng.normal(size=(200, 1)), 0.0, []
    for x in inputs[:, 0]:
        state = 0.8 * state + x
        rows.append([max(state, 0.0)])
    targets = np.array(rows)
    missing = rng.random(200) < 0.3
    with_gaps = np.where(missing[:, None], np.nan, targets)
    options = {"alpha": 1e-5, "n_init": 3, "random_state": 0, "initialization": 0.3}
    result = train(inputs, with_gaps, 4, **options)
    h = rollout(result.parameters, ReLU(), inputs)[1]
    errors = targets - result.parameters.outputs(h)
    # the state runs on through the gaps: their rows, never seen, are fitted as well
    assert np.mean(errors[missing] ** 2) < 0.05 * targets.var()
    with pytest.raises(ValueError, match="Y must have a row without NaN"):
        train(inputs, 0.0 * targets * np.nan, 4)


def test_settings_that_are_none_are_refused_by_name():
    for wrong in ("paper", {"max_iter": 3}, SafeguardedSettings):
        with pytest.raises(TypeError, match="settings must be SafeguardedSettings or ALMSettings"):
            train(X, Y, 3, settings=wrong)


def test_options_are_short_for_the_settings_of_the_default_method():
    short = train(X, Y, 3, random_state=0, **FAST)
    long = train(X, Y, 3, random_state=0, settings=SafeguardedSettings(**FAST))
    np.testing.assert_array_equal(short.parameters.W, long.parameters.W)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"callback": 1}, "callback must be callable, found 1"),
        ({"initial": "x"}, "initial must be ElmanParameters, found str"),
    ],
    ids=str,
)
def test_what_is_no_callback_and_no_network_is_refused_by_name(arguments, message):
    with pytest.raises(TypeError, match=message):
        train(X, Y, 3, **arguments)


@pytest.mark.parametrize("problem", ["a", None, ElmanProblem], ids=repr)
def test_what_is_no_problem_is_refused_by_name(problem):
    initial = train(X, Y, 3, random_state=0, **FAST).parameters
    with pytest.raises(TypeError, match="problem must be an ElmanProblem or a SpreadProblem"):
        solve(problem, initial)


def test_a_random_state_may_be_a_long_integer():
    assert train(X, Y, 3, random_state=2**127, **FAST).n_iter > 0


def test_what_is_no_callback_is_refused_by_solve_too():
    problem = ElmanProblem(X, Y, Regularization.scaled(1.0, X.shape[1], 3, Y.shape[1]))
    initial = train(X, Y, 3, random_state=0, **FAST).parameters
    with pytest.raises(TypeError, match="callback must be callable, found 1"):
        solve(problem, initial, callback=1)
