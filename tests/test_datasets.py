"""Loaders and the synthetic generator."""

import numpy as np
import pandas as pd
import pytest

from sktime_alm.datasets import load_paper_sp500, load_sp500_volatility, make_elman
from sktime_alm.solver.activations import get_activation
from sktime_alm.solver.network import rollout

MONTHS = pd.period_range("1973-02", "2009-06", freq="M")


def test_volatility_is_the_volatility():
    y, X = load_sp500_volatility()
    assert y.name == "LRV" and y.index.equals(MONTHS) and X.index.equals(MONTHS)
    assert list(X) == ["DP", "EP", "MKT", "HML", "SMB", "STR", "TB", "TS", "DEF", "INF", "IP"]
    annual = 100.0 * np.sqrt(12.0) * np.exp(y)
    # the crash of 1987 and the crisis of 2008, in % a year
    assert annual["1987-10"] == pytest.approx(98.8, abs=0.1)
    assert annual["2008-10"] == pytest.approx(82.9, abs=0.1)
    assert y.autocorr() == pytest.approx(0.714, abs=0.002)
    assert y.notna().all() and X.notna().all(axis=None)


def test_the_three_targets_are_one_quantity():
    log, vol, var = (load_sp500_volatility(target)[0] for target in ("LRV", "RVOL", "RV"))
    np.testing.assert_allclose(np.exp(log), vol, rtol=1e-6)
    np.testing.assert_allclose(vol**2, var, rtol=1e-6)
    with pytest.raises(ValueError, match=r"target must be one of .*found 'VIX'"):
        load_sp500_volatility("VIX")


def test_the_papers_target_is_a_price_level():
    y, X = load_paper_sp500()
    assert y.name == "RV_SP500" and y.index.equals(MONTHS) and X.shape == (437, 11)
    for table in (y.to_frame(), X):
        np.testing.assert_allclose(table.mean(), 0.0, atol=1e-12)
        np.testing.assert_allclose(table.std(ddof=0), 1.0, rtol=1e-12)
    errors = y.diff().pow(2)
    assert errors[1:393].mean() == pytest.approx(0.0038, abs=1e-4)
    assert errors[393:].mean() == pytest.approx(0.0047, abs=1e-4)
    level, _ = load_paper_sp500(standardize=False)
    assert level["1987-10"] < level["1987-09"], "a volatility would have jumped"
    assert abs(y.corr(load_sp500_volatility()[0])) < 0.2


def test_synthetic_data_are_the_teachers_outputs_and_noise():
    y, X, teacher = make_elman(200, 5, 3, 4, weight_scale=0.3, noise=0.05, random_state=0)
    _, h = rollout(teacher, get_activation("relu"), X.to_numpy())
    residual = y.to_numpy() - teacher.outputs(h)
    assert residual.std() == pytest.approx(0.05, rel=0.1)
    assert np.abs(residual.mean()) < 0.01
    assert X.to_numpy().min() >= -1.0 and X.to_numpy().max() <= 1.0
    assert X.to_numpy().std() == pytest.approx(1.0 / np.sqrt(3.0), rel=0.05)


def test_standardised_synthetic_data_keep_their_teacher():
    y, X, teacher = make_elman(50, noise=0.0, standardize=True, random_state=1)
    np.testing.assert_allclose(y.mean(), 0.0, atol=1e-12)
    np.testing.assert_allclose(y.std(ddof=0), 1.0, rtol=1e-12)
    _, h = rollout(teacher, get_activation("relu"), X.to_numpy())
    np.testing.assert_allclose(teacher.outputs(h), y, atol=1e-12)
    # the zero predictor's errors over train and test, weighted 9 to 1, are m
    assert np.sum(y.to_numpy() ** 2) / 50 == pytest.approx(3.0)


def test_table_1_shapes_and_seeds():
    y, X, teacher = make_elman(random_state=3)
    assert (y.shape, X.shape, teacher.W.shape) == ((10, 3), (10, 5), (4, 4))
    again, _, _ = make_elman(random_state=3)
    pd.testing.assert_frame_equal(y, again)
    other, _, _ = make_elman(random_state=4)
    assert not y.equals(other)
    large = make_elman(500, 80, 30, 100, 0.05, 1e-5, random_state=0)
    assert large[0].shape == (500, 30) and large[1].shape == (500, 80)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_samples": 0}, "n_samples must be at least 1"),
        ({"hidden_size": 0}, "hidden_size must be at least 1"),
        ({"weight_scale": 0.0}, "weight_scale must be above 0"),
        ({"noise": -1.0}, "noise must be 0 or more"),
        ({"activation": "tanh"}, "activation must be one of"),
        ({"n_samples": 3000, "weight_scale": 5.0, "random_state": 0}, "weight_scale=5.0 gives"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_elman(**arguments)
