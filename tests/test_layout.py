"""Standardisation, and the network's inputs."""

from dataclasses import replace

import numpy as np
import pytest

from sktime_alm.inputs import InputLayout, lag_matrix, trailing_mean, weighted_mean
from sktime_alm.posterior import with_changed_readout
from sktime_alm.scalers import Standardizer
from sktime_alm.solver import ELU, ReLU
from sktime_alm.solver.initialization import initialize
from sktime_alm.solver.network import rollout


def test_lags_are_newest_first_and_zero_before_the_series():
    values = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    expected = [[0, 0, 0, 0], [1, 10, 0, 0], [2, 20, 1, 10]]
    np.testing.assert_array_equal(lag_matrix(values, (1, 2)), expected)
    np.testing.assert_array_equal(lag_matrix(values, (2, 0))[2], [1, 10, 3, 30])
    assert lag_matrix(values, ()).shape == (3, 0)


def test_more_lags_than_rows():
    np.testing.assert_array_equal(
        lag_matrix(np.ones((2, 1)), range(1, 8))[1], [1, 0, 0, 0, 0, 0, 0]
    )


@pytest.mark.parametrize("window", [1, 3, 20])
def test_trailing_means_are_of_the_rows_before(window):
    values = np.random.default_rng(0).normal(size=(9, 2))
    padded = np.vstack([np.zeros((window, 2)), values])
    expected = [padded[t : t + window].mean(axis=0) for t in range(9)]
    np.testing.assert_allclose(trailing_mean(values, window), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("half_life", [0.5, 1, 3.3, 40])
def test_weighted_means_halve_with_every_half_life_and_begin_at_zero(half_life):
    values, reach = np.random.default_rng(0).normal(size=(60, 2)), int(np.ceil(5.0 * half_life))
    weights = 0.5 ** (np.arange(reach) / half_life)
    weights /= weights.sum()
    padded = np.vstack([np.zeros((reach, 2)), values])
    expected = [weights @ padded[t : t + reach][::-1] for t in range(60)]
    np.testing.assert_allclose(weighted_mean(values, half_life), expected, atol=1e-13)


def test_weighted_means_cost_a_series_one_row_and_reach_far():
    layout = InputLayout.from_arguments(
        0, None, {"y": (1, 80), "b": (10,)}, {"a": 0, "b": []}, "ab"
    )
    assert (layout.context, layout.memory, layout.span) == (1, 400, 400)
    assert layout.terms[-1] == (1, 1, 50, 10) and layout.longest() == "half_lives"


@pytest.mark.parametrize("n_rows", [3, 12])
@pytest.mark.parametrize("sigma", [ReLU(), ELU()], ids=str)
def test_a_free_run_is_the_rollout_over_inputs_made_of_its_own_outputs(sigma, n_rows):
    rng = np.random.default_rng(1)
    layout = InputLayout.from_arguments((4, 1), (2, 7), (0.7, 3), (1, 0), range(3))
    parameters = initialize(0.4, 6 * 2 + 2 * 3, 5, 2, rng)
    y, X = rng.normal(size=(n_rows, 2)), rng.normal(size=(n_rows + 6, 3))
    state = rollout(parameters, sigma, layout.rows(y, X[:n_rows]))[1][-1]
    exogenous = lag_matrix(X, (1, 0))[n_rows:]
    noise = np.zeros((1, 6, 2))
    found = layout.simulate(parameters, sigma, state, y, exogenous, noise)[0]
    inputs = layout.rows(np.vstack([y, found]), X)
    expected = parameters.outputs(rollout(parameters, sigma, inputs)[1][n_rows:])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("linear_skip", [True, False])
def test_paths_with_changed_readouts_are_those_of_the_changed_networks(linear_skip):
    rng = np.random.default_rng(1)
    layout = InputLayout.from_arguments((2, 1), (3,), (), (0,), range(1))
    network = initialize(0.4, 3 * 2 + 1, 4, 2, rng)
    if linear_skip:
        network = replace(network, D=0.2 * rng.normal(size=(2, 7)))
    y, X, noise = rng.normal(size=(5, 2)), rng.normal(size=(6, 1)), rng.normal(size=(3, 6, 2))
    changes = 0.1 * rng.normal(size=(3, *network.readout.shape))
    state = rng.normal(size=4)
    found = layout.simulate(network, ELU(), state, y, X, noise, changes=changes)
    for path, change, errors in zip(found, changes, noise, strict=True):
        changed = with_changed_readout(network, change)
        expected = layout.simulate(changed, ELU(), state, y, X, errors[None])[0]
        np.testing.assert_allclose(path, expected, rtol=1e-10)


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e300])
def test_standardised_columns_and_back(size):
    values = size * np.random.default_rng(0).normal(3.0, 2.0, (50, 3))
    scaler = Standardizer.fit(values)
    standard = scaler.transform(values)
    np.testing.assert_allclose(standard.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(standard.std(axis=0), 1.0, rtol=1e-12)
    np.testing.assert_allclose(scaler.inverse_transform(standard), values, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9])
def test_constant_columns_are_only_centred(value):
    scaler = Standardizer.fit(np.full((7, 1), value))
    assert scaler.scale[0] == 1.0
    np.testing.assert_allclose(scaler.transform(np.full((2, 1), value)), 0.0, atol=1e-6)
