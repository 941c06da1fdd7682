"""The matrix of secant pairs, against the textbook recursion."""

import numpy as np
import pytest

from sktime_alm.solver import secants
from sktime_alm.solver.secants import FullMemory, LimitedMemory

SHAPE = (3, 5)


def make_pairs(n_pairs, seed=0):
    """Steps and changes of the gradient of a quadratic."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(15, 15))
    steps = rng.normal(size=(n_pairs, *SHAPE))
    hessian = root @ root.T + np.eye(15)
    return [(step, (hessian @ step.ravel()).reshape(SHAPE)) for step in steps]


def make_metric(seed=1):
    root = np.random.default_rng(seed).normal(size=(5, 5))
    return root @ root.T + np.eye(5)


def bfgs(start, pairs):
    """H <- (I - s y'/s'y) H (I - y s'/s'y) + s s'/s'y, pair by pair."""
    matrix = start.copy()
    for step, change in pairs:
        s, y = step.ravel(), change.ravel()
        project = np.eye(len(s)) - np.outer(s, y) / (s @ y)
        matrix = project @ matrix @ project.T + np.outer(s, s) / (s @ y)
    return matrix


def scales(inverse, pairs):
    """The curvature of each pair as a multiple of the metric's."""
    y_of = [change.ravel() for _, change in pairs]
    return [s.ravel() @ y / (y @ inverse @ y) for (s, _), y in zip(pairs, y_of, strict=True)]


def fill(pairs, metric):
    memory = LimitedMemory(np.zeros(SHAPE))
    memory.renew(np.linalg.inv(metric))
    for pair in pairs:
        memory.append(*pair)
    return memory


@pytest.mark.parametrize("n_pairs", [1, 4, secants._N_PAIRS, secants._N_PAIRS + 7])
def test_the_compact_form_is_the_recursion_over_the_last_pairs(n_pairs):
    pairs, metric = make_pairs(n_pairs), make_metric()
    memory, kept = fill(pairs, metric), pairs[-secants._N_PAIRS :]
    inverse = np.kron(np.eye(3), np.linalg.inv(metric))
    matrix = bfgs(scales(inverse, kept)[-1] * inverse, kept)
    gradient = np.random.default_rng(2).normal(size=SHAPE)
    expected = -(matrix @ gradient.ravel()).reshape(SHAPE)
    size = np.abs(expected).max()
    np.testing.assert_allclose(memory.direction(gradient), expected, rtol=1e-6, atol=1e-6 * size)


def test_another_metric_changes_the_start_of_the_recursion_alone():
    pairs, other = make_pairs(5), make_metric(seed=7)
    renewed = fill(pairs, make_metric())
    renewed.renew(np.linalg.inv(other))
    gradient = np.ones(SHAPE)
    np.testing.assert_allclose(
        renewed.direction(gradient), fill(pairs, other).direction(gradient), rtol=1e-10
    )


def test_the_full_memory_goes_on_where_the_limited_one_was():
    pairs, metric = make_pairs(9), make_metric()
    limited = fill(pairs[:6], metric)
    full = limited.to_full()
    assert isinstance(full, FullMemory)
    for pair in pairs[6:]:
        full.append(*pair)
    inverse = np.kron(np.eye(3), np.linalg.inv(metric))
    matrix = bfgs(max(scales(inverse, pairs[:6])) * inverse, pairs)
    gradient = np.random.default_rng(2).normal(size=SHAPE)
    expected = -(matrix @ gradient.ravel()).reshape(SHAPE)
    np.testing.assert_allclose(full.direction(gradient), expected, rtol=1e-7, atol=1e-8)


def test_the_last_pair_is_met_and_concave_ones_are_passed_over():
    pairs, metric = make_pairs(4), make_metric()
    for memory in (fill(pairs, metric), fill(pairs, metric).to_full()):
        step, change = pairs[-1]
        np.testing.assert_allclose(memory.direction(change), -step, rtol=1e-8, atol=1e-9)
        before = memory.direction(np.ones(SHAPE))
        memory.append(step, -change)
        np.testing.assert_array_equal(memory.direction(np.ones(SHAPE)), before)


def test_no_matrix_is_stored_for_many_weights():
    rng = np.random.default_rng(0)
    memory = LimitedMemory(np.zeros((40, 60)))
    memory.renew(np.eye(60))
    assert memory.is_empty and memory.to_full() is memory
    step = rng.normal(size=(40, 60))
    memory.append(step, 2.0 * step)
    assert memory.to_full() is memory
