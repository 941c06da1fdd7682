"""Loaders and the synthetic generator."""

import numpy as np
import pandas as pd
import pytest

from sktime_alm.datasets import (
    load_paper_sp500,
    load_sp500_volatility,
    make_duffing,
    make_elman,
    make_tanks,
)
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
        ({"activation": "softplus"}, "activation must be one of"),
        ({"n_samples": 3000, "weight_scale": 5.0, "random_state": 0}, "weight_scale=5.0 gives"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_elman(**arguments)


@pytest.mark.parametrize("make", [make_elman, load_paper_sp500])
@pytest.mark.parametrize("standardize", ["no", None, 1], ids=repr)
def test_what_is_no_flag_is_refused_by_name(make, standardize):
    with pytest.raises(TypeError, match="standardize must be True or False"):
        make(standardize=standardize)


@pytest.mark.parametrize("make", [make_tanks, make_duffing])
def test_simulated_systems_are_seeded_and_refuse_bad_arguments(make):
    y, X = make(100, random_state=1)
    again, same = make(100, random_state=1)
    other, _ = make(100, random_state=2)
    assert y.shape == (100,) and X.shape == (100, 1) and y.index.equals(X.index)
    pd.testing.assert_series_equal(y, again)
    pd.testing.assert_frame_equal(X, same)
    assert not y.equals(other)
    with pytest.raises(ValueError, match="n_samples must be at least 1"):
        make(0)
    with pytest.raises(ValueError, match="noise must be 0 or more"):
        make(10, noise=-1.0)
    assert make(1, random_state=0)[0].notna().all()


def test_tanks_fill_as_they_are_pumped_and_may_overflow():
    y, X = make_tanks(random_state=1)
    assert y.min() >= 0.0 and y.max() == 10.0 and X["pump"].min() >= 0.0
    # at rest the level is (0.05 u / 0.06)^2
    assert y.mean() == pytest.approx((5.0 / 6.0 * X["pump"].mean()) ** 2, rel=0.1)
    quiet = [make_tanks(50, noise=0.0, random_state=0)[0] for _ in range(2)]
    assert quiet[0].diff().abs().max() < 1.0 and quiet[0].equals(quiet[1])


def test_the_oscillator_without_hardening_is_a_second_order_system():
    y, X = make_duffing(hardening=0.0, noise=0.0, random_state=0)
    # least squares on two lags of both: exact but for the integration of order four
    rows = np.column_stack([y.shift(1), y.shift(2), X["force"].shift(1), X["force"].shift(2)])[2:]
    weights, *_ = np.linalg.lstsq(rows, y[2:], rcond=None)
    assert np.abs(y[2:] - rows @ weights).max() < 1e-10
    assert np.abs(np.roots([1.0, -weights[0], -weights[1]])) == pytest.approx(0.984, abs=1e-3)
    small, large = (
        make_duffing(amplitude=amplitude, noise=0.0, random_state=0)[0].std()
        for amplitude in (1e-3, 1.0)
    )
    assert small == pytest.approx(0.01 * y.std(), rel=1e-3) and large < 800.0 * small
