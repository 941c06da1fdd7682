"""Averages with the regression: outputs, weights against a grid, standard errors."""

import numpy as np
import pytest

from sktime_alm.averaging import average, earned_weight, joined, not_failed, standard_error
from sktime_alm.solver import ElmanParameters
from sktime_alm.solver.activations import ReLU
from sktime_alm.solver.network import rollout


def test_the_average_has_the_averaged_outputs():
    rng = np.random.default_rng(0)
    draw = rng.normal
    network, regression = (
        ElmanParameters(
            scale * draw(size=(2, 3)),
            draw(size=(3, 3)),
            draw(size=(3, 4)),
            draw(size=3),
            draw(size=2),
            draw(size=(2, 4)),
        )
        for scale in (1.0, 0.0)
    )
    h, x = draw(size=(20, 3)), draw(size=(20, 4))
    expected = 0.3 * network.outputs(h, x) + 0.7 * regression.outputs(h, x)
    found = average(network, regression, 0.3)
    np.testing.assert_allclose(found.outputs(h, x), expected, rtol=1e-12)
    assert found.W is network.W and found.V is network.V


@pytest.mark.parametrize("has_skip", [True, False])
def test_joined_networks_have_the_mean_of_the_outputs(has_skip):
    rng = np.random.default_rng(4)
    draw, x = rng.normal, rng.normal(size=(30, 4))
    networks = [
        ElmanParameters(
            draw(size=(2, 3)),
            0.2 * draw(size=(3, 3)),
            draw(size=(3, 4)),
            draw(size=3),
            draw(size=2),
            draw(size=(2, 4)) if has_skip else None,
        )
        for _ in range(3)
    ]

    def outputs(network):
        return network.outputs(rollout(network, ReLU(), x, (0,))[1], x)

    expected = np.mean([outputs(network) for network in networks], axis=0)
    np.testing.assert_allclose(outputs(joined(networks)), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("share", [0.2, 0.6, 1.0])
def test_a_clear_weight_is_that_of_the_least_squares(share):
    rng = np.random.default_rng(1)
    signal = rng.normal(size=(3, 4000))
    errors = share * signal + 0.1 * rng.normal(size=signal.shape)

    def losses(weight):
        return list((errors - weight * signal) ** 2)

    grid = np.linspace(0.0, 1.0, 1001)
    best = grid[np.argmin([np.mean(losses(weight)) for weight in grid])]
    assert earned_weight(losses(0.0), losses(0.5), losses(1.0)) == pytest.approx(best, abs=0.005)


def test_hardly_anything_is_taken_of_a_nearly_exact_network_whatever_the_regression_misses():
    rng = np.random.default_rng(3)
    # the regression misses a few blocks, which its mean loss comes from
    missed = rng.normal(size=(3, 400)) * np.repeat([0.1, 0.1, 3.0, 0.1], 100)
    of_network = missed + 0.01 * rng.normal(size=missed.shape)
    at = [list((missed - weight * of_network) ** 2) for weight in (0.0, 0.5, 1.0)]
    assert earned_weight(*at) == pytest.approx(1.0, abs=1e-3)


def test_a_network_of_noise_has_no_weight():
    rng = np.random.default_rng(2)
    weights = []
    for _ in range(200):
        errors, noise = rng.normal(size=(2, 3, 100))
        at = [list((errors - weight * noise) ** 2) for weight in (0.0, 0.5, 1.0)]
        weights.append(earned_weight(*at))
    assert np.mean(np.array(weights) == 0.0) > 0.9 and np.mean(weights) < 0.01
    runaway = [np.full(100, np.inf)] * 3
    assert earned_weight(at[0], runaway, runaway) == 0.0


def test_trainings_fail_by_their_distance_to_the_best():
    assert not_failed([1.0, 5.0, 3.9, np.inf, np.nan]) == [0, 2]
    assert not_failed([]) == [] and not_failed([0.0, 0.0, 1e-9]) == [0, 1]


def test_standard_errors_know_that_neighbours_are_alike():
    rng = np.random.default_rng(3)
    means, found = [], []
    for _ in range(300):
        values = np.zeros(1000)
        for t in range(1, 1000):
            values[t] = 0.9 * values[t - 1] + rng.normal()
        means.append(values.mean())
        found.append(standard_error(values))
    # independent errors would be held for 4.4 times smaller
    assert np.mean(found) == pytest.approx(np.std(means), rel=0.15)
    assert standard_error(np.ones(1)) == np.inf
