"""train: starts, seeds, arguments."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from sktime_alm.solver import Status, train

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 2)), RNG.normal(size=(30, 1))
FAST = {"max_iter": 3, "max_inner_iter": 3}


def test_the_best_start_is_returned_with_the_outcome_of_each():
    result = train(X, Y, 3, n_init=4, random_state=0, **FAST)
    objectives = [start.objective for start in result.starts]
    assert len(objectives) == 4 and len(set(objectives)) == 4
    assert result.objective == min(objectives)
    assert all(isinstance(start.status, Status) for start in result.starts)


def test_a_start_depends_on_the_seed_and_its_place_alone():
    few = train(X, Y, 3, n_init=2, random_state=5, **FAST)
    many = train(X, Y, 3, n_init=4, random_state=5, **FAST)
    assert many.starts[:2] == few.starts


def test_the_number_of_jobs_and_of_blas_threads_changes_no_bit():
    blas = ThreadpoolController()
    before = [library["num_threads"] for library in blas.info()]
    alone = train(X, Y, 3, n_init=5, random_state=5, **FAST)
    for n_jobs in (1, 3, -1):
        together = train(X, Y, 3, n_init=5, random_state=5, n_jobs=n_jobs, **FAST)
        assert together.starts == alone.starts
        np.testing.assert_array_equal(together.parameters.W, alone.parameters.W)
    with blas.limit(limits=1):
        limited = train(X, Y, 3, n_init=5, random_state=5, **FAST)
    np.testing.assert_array_equal(limited.parameters.W, alone.parameters.W)
    assert [library["num_threads"] for library in blas.info()] == before


def test_a_callback_watches_every_start_and_an_interrupt_ends_them_all():
    seen = []
    train(X, Y, 3, n_init=4, random_state=5, n_jobs=2, callback=seen.append, **FAST)
    assert sorted(record.iteration for record in seen) == sorted([1, 2, 3] * 4)

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
        result = train(long_X, long_Y, 5, initialization=30.0, random_state=0, **FAST)
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
        ({"method": "sgd"}, ValueError, "method must be one of"),
        ({"initialization": "xavier"}, ValueError, "initialization must be one of"),
        ({"random_state": -1}, ValueError, "random_state must be at least 0"),
        ({"random_state": "a"}, TypeError, "random_state must be an integer"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1"),
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
        result = train(inputs, targets, 200, initialization=0.12, random_state=0, **FAST)
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
