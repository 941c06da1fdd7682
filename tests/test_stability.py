"""Contractive recurrences, bounded forecasts, and series that are meant to break a fit."""

import numpy as np
import pandas as pd
import pytest

from sktime_alm import ALMElmanForecaster
from tests.conftest import DESCENT

N_QUICK, N_ALL = 20, 1000


def bounds_by_hand(y, reach=3.0):
    """So many times the range of y beyond its least and largest values."""
    least, largest = np.nanmin(y, axis=0), np.nanmax(y, axis=0)
    return least - reach * (largest - least), largest + reach * (largest - least)


def assert_within(values, y, reach=3.0):
    least, largest = bounds_by_hand(y, reach)
    slack = 1e-9 * (np.abs(least) + np.abs(largest) + 1e-300)
    assert np.isfinite(values).all()
    assert (values >= least - slack).all() and (values <= largest + slack).all()


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu"])
@pytest.mark.parametrize("skip_alpha", ["auto", np.inf])
def test_the_recurrence_contracts_where_the_data_call_for_more(skip_alpha, activation):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 1)))
    # a sum without end of X: the state should forget nothing, and even grow
    y = pd.Series(1.02 ** np.arange(120) * X[0].cumsum())
    forecaster = ALMElmanForecaster(
        hidden_size=3,
        activation=activation,
        lags=0,
        skip_alpha=skip_alpha,
        alpha=4e-5,
        max_iter=20,
        random_state=0,
    ).fit(y, X)
    # the limit is what keeps it there
    assert 0.97 < np.linalg.norm(forecaster.parameters_.W, 2) <= 0.98 * (1.0 + 1e-8)


@pytest.mark.parametrize("lags", [1, 3])
@pytest.mark.parametrize("activation", ["relu", "elu"])
@pytest.mark.parametrize("skip_alpha", [2.5e-5, np.inf])
def test_a_long_run_on_wild_X_stays_within_bounds(skip_alpha, activation, lags):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(80, 2)))
    y = pd.Series(1.05 ** np.arange(80) * (1.0 + 0.1 * rng.normal(size=80)) + X[0])
    forecaster = ALMElmanForecaster(
        hidden_size=3,
        activation=activation,
        lags=lags,
        skip_alpha=skip_alpha,
        alpha=1.5e-3,
        max_iter=20,
        random_state=0,
        solver_options=DESCENT,
    ).fit(y, X)
    n_steps = 10_000
    wild = pd.DataFrame(rng.choice([-10.0, 10.0], (n_steps, 2)), range(80, 80 + n_steps))
    forecasts = forecaster.predict(fh=np.arange(1, n_steps + 1), X=wild)
    assert_within(forecasts.to_numpy(), y.to_numpy())
    if skip_alpha < np.inf:
        assert np.isclose(forecasts.to_numpy()[:, None], bounds_by_hand(y)).any()
    quantiles = forecaster.predict_quantiles(fh=[1, 20, 200], X=wild, alpha=[0.01, 0.5, 0.99])
    # what few rows do not rule out lies further out, by half of the width of these bounds
    assert_within(quantiles.to_numpy(), y.to_numpy(), reach=6.5)


def adversarial(seed, longest):
    """A series, perhaps with X, that is meant to break a fit, and arguments: by a seed."""
    rng = np.random.default_rng(seed)
    lags = int(rng.integers(1, 4))
    T = int(rng.choice([lags + 2, 5, 8, 15, 29, 31, 45, 80, longest]))
    T, t = max(T, lags + 2), np.arange(max(T, lags + 2))
    noise = rng.normal(size=T)
    jump = int(rng.integers(1, T))
    kinds = {
        "noise": noise,
        "trend": t + 0.1 * noise,
        "quadratic": t**2.0 + noise,
        "growth": 1.08**t * (1.0 + 0.05 * noise),
        "decay": 0.9**t + 1e-6 * noise,
        "unit root": noise.cumsum(),
        "two unit roots": noise.cumsum().cumsum(),
        "outlier": noise + 1e6 * (t == jump),
        "last outlier": noise + 1e6 * (t == T - 1),
        "constant": np.full(T, 7.3),
        "jump": 5.0 + (t >= jump),
        "jump and noise": 100.0 * (t >= jump) + noise,
        "spike": 1.0 * (t == jump),
        "Cauchy": rng.standard_cauchy(T),
        "heavy": rng.standard_t(1.5, T).cumsum(),
        "lognormal": np.exp(3.0 * noise),
        "alternating": (-1.0) ** t,
        "explosive alternating": (-1.05) ** t,
        "seasonal": np.sin(2.0 * np.pi * t / 12) + 0.1 * noise,
        "intermittent": noise * (rng.uniform(size=T) < 0.1),
        "chaos": _logistic_map(T),
        "volatile": noise * np.exp(np.abs(noise.cumsum()) / 3.0),
        "exact line": 1.0 * t,
    }
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    y = kinds[kind] * 10.0 ** rng.choice([-150, -12, -3, 0, 0, 0, 3, 12, 150])
    if rng.uniform() < 0.2:
        y = y + 1e6 * np.abs(y).max()
    y = pd.DataFrame({"y": y})
    if rng.uniform() < 0.15:
        y["other"] = 1e-3 * y["y"] + noise
    if rng.uniform() < 0.2 and T >= 15:
        is_missing = rng.uniform(size=y.shape) < 0.2
        is_missing[lags : lags + 2] = False
        y = y.mask(is_missing)
    arguments = {"lags": lags, "random_state": seed % 7, "hidden_size": int(rng.choice([1, 4, 8]))}
    if rng.uniform() < 0.5:
        return kind, y, None, arguments
    base = rng.normal(size=(T + 10, 1))
    exogenous = {
        "plain": rng.normal(size=(T + 10, 2)),
        "collinear": np.hstack([base, base, -2.0 * base, base + 1e-9]),
        "constant": np.hstack([base, np.ones((T + 10, 1))]),
        "wide": rng.normal(size=(T + 10, T + 3)),
        "scales": np.hstack([1e-200 * base, 1e12 * base, 1e150 * base]),
        "trend": np.arange(T + 10.0)[:, None],
        "outlier": base + 1e9 * (np.arange(T + 10)[:, None] == T // 2),
        "wild ahead": np.vstack([base[:T], 1e6 * base[T:]]),
    }
    which = list(exogenous)[int(rng.integers(len(exogenous)))]
    arguments["exog_lags"] = [None, 1, [0, 1]][int(rng.integers(3))]
    return f"{kind}, {which} X", y, pd.DataFrame(exogenous[which]), arguments


def _logistic_map(T):
    y = np.full(T, 0.3)
    for t in range(1, T):
        y[t] = 3.99 * y[t - 1] * (1.0 - y[t - 1])
    return y


def check_adversarial(seed, longest, **settings):
    """Finite forecasts and intervals within bounds, and fitted values no naive one puts to shame"""
    kind, y, X, arguments = adversarial(seed, longest)
    T, fh = len(y), np.arange(1, 11)
    forecaster = ALMElmanForecaster(**arguments, **settings).fit(y, None if X is None else X[:T])
    assert_within(forecaster.predict(fh=fh, X=X).to_numpy(), y.to_numpy())
    assert np.isfinite(forecaster.predict_interval(fh=fh, X=X, coverage=[0.5, 0.99])).all(axis=None)
    assert np.linalg.norm(forecaster.parameters_.W, 2) <= 0.98 * (1.0 + 1e-8)
    context = forecaster._fitted.model.layout.context
    fitted = forecaster.predict(fh=np.arange(context + 1 - T, 1)).to_numpy()
    assert np.isfinite(fitted).all()
    # differences first: their squares, and sums of them, may overflow
    error = (y - np.vstack([np.full((context, y.shape[1]), np.nan), fitted])).abs()
    naive_error = (y - y.ffill().shift(1).fillna(y.mean())).abs()[context:]
    size = (y.max() - y.min()).replace(0.0, 1.0) + 1e-10 * y.abs().max()
    ratio = ((error / size).mean() / ((naive_error / size).mean() + 1e-6)).max()
    assert ratio <= 3.0, f"{kind}: {ratio}"


@pytest.mark.parametrize("seed", range(N_QUICK))
def test_adversarial_series(seed):
    check_adversarial(seed, longest=100, max_iter=20)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(N_QUICK, N_ALL))
def test_many_adversarial_series(seed):
    check_adversarial(seed, longest=200)
