"""Standardisation and lags."""

import numpy as np
import pytest

from sktime_alm.features import Standardizer, lag_matrix


def test_lags_are_newest_first_and_zero_before_the_series():
    values = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    expected = [[0, 0, 0, 0], [1, 10, 0, 0], [2, 20, 1, 10]]
    np.testing.assert_array_equal(lag_matrix(values, 2), expected)
    assert lag_matrix(values, 0).shape == (3, 0)


def test_more_lags_than_rows():
    np.testing.assert_array_equal(lag_matrix(np.ones((2, 1)), 4)[1], [1, 0, 0, 0])


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
