"""Several networks as one forecast, and how much they differ."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sktime_alm import ALMElmanForecaster
from sktime_alm.alpha_path import last_sound
from sktime_alm.intervals import N_PATHS, draw_noise
from sktime_alm.solver import ElmanParameters, ReLU, train
from sktime_alm.solver.datafits import Squared
from sktime_alm.solver.network import rollout
from tests.conftest import named, outcomes, without_posterior
from tests.test_forecaster import Y2, X, Y

FOUR = {"hidden_size": 3, "alpha": 0.1, "skip_alpha": 0.1, "n_init": 4, "max_iter": 4}


def scaled(data, n_fit):
    values = data.to_numpy()
    return (values - values[:n_fit].mean(axis=0)) / values[:n_fit].std(axis=0)


def run(p, z, v, n_seen, n_steps, noise=None):
    """One network with two lags: fitted values of rows 2 on, then its own free run."""
    z, h, outputs = list(z[:n_seen]), np.zeros(len(p.b)), []
    for t in range(2, n_seen + n_steps):
        x = np.concatenate([z[t - 1], z[t - 2], v[t]])
        h = np.maximum(p.W @ h + p.V @ x + p.b, 0.0)
        outputs.append(p.A @ h + p.D @ x + p.c)
        if t >= n_seen:
            z.append(outputs[-1] + (0.0 if noise is None else noise[t - n_seen]))
    return np.array(outputs)


@pytest.mark.parametrize("y", [Y, Y2], ids=["univariate", "multivariate"])
def test_the_forecast_is_the_mean_of_the_runs_of_its_networks(y):
    forecaster = ALMElmanForecaster(lags=2, random_state=0, **FOUR)
    forecaster.fit(y[:34], X[:34])
    networks = forecaster.networks_
    assert len(networks) == 4 and len({p.W.tobytes() for p in networks}) == 4
    mean, std = y[:34].to_numpy().mean(axis=0), y[:34].to_numpy().std(axis=0)
    runs = [run(p, scaled(y, 34), scaled(X, 34), 34, 6) for p in networks]
    expected = np.mean(runs, axis=0) * std + mean
    found = forecaster.predict(fh=np.arange(-31, 7), X=X)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    spread = np.sqrt(np.mean(np.var([r[:32] for r in runs], axis=0), axis=0)) * std
    np.testing.assert_allclose(forecaster.seed_spread_, spread)
    assert (spread > 0.0).all()

    # states of all networks go on over new rows
    forecaster.update(y[34:36], X[34:36], update_params=False)
    runs = [run(p, scaled(y, 34), scaled(X, 34), 36, 3)[-3:] for p in networks]
    expected = np.mean(runs, axis=0) * std + mean
    np.testing.assert_allclose(forecaster.predict(fh=[1, 2, 3], X=X), expected, rtol=1e-10)


def test_the_networks_are_those_of_single_fits_and_the_best_is_the_best_of_them():
    options = {**FOUR, "random_state": 0}
    several = ALMElmanForecaster(**options).fit(Y, X)
    best = named(several.parameters_)
    assert any(
        all(np.array_equal(array, best[name]) for name, array in named(network).items())
        for network in several.networks_
    )
    objectives = [start.objective for start in several.result_.starts]
    assert several.objective_ == min(objectives) and len(objectives) == 5  # and the regression
    single = ALMElmanForecaster(**{**options, "n_init": 1}).fit(Y, X)
    np.testing.assert_array_equal(single.seed_spread_, [np.nan])
    np.testing.assert_array_equal(single.parameters_.V, several.networks_[0].V)


def test_starts_that_failed_are_left_out_of_the_mean(monkeypatch):
    expected = ALMElmanForecaster(random_state=0, **FOUR).fit(Y, X).networks_

    def failing(*arguments, **options):
        result = train(*arguments, **options)
        starts = list(result.starts)
        starts[1] = starts[1]._replace(objective=5.0 * result.objective)
        return replace(result, starts=tuple(starts))

    monkeypatch.setattr("sktime_alm.trainer.train", failing)
    found = ALMElmanForecaster(random_state=0, **FOUR).fit(Y, X).networks_
    # all four where none has failed
    assert len(expected) == 4 and len(found) == 3
    for network, other in zip(found, (expected[0], *expected[2:]), strict=True):
        np.testing.assert_array_equal(network.W, other.W)


def test_training_goes_on_from_the_last_network_unless_it_has_failed():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1))
    rows = SimpleNamespace(
        inputs=x, targets=x, is_observed=np.ones(200, dtype=bool), datafit=Squared()
    )
    zeros = np.zeros((2, 2)), np.zeros((2, 1)), np.zeros(2), np.zeros(1)
    networks = [
        ElmanParameters(np.zeros((1, 2)), *zeros, np.array([[1.0 - miss]]))
        for miss in (0.1, 0.11, 0.19, 0.5)
    ]

    def start(candidates):
        return last_sound(candidates, rows, lambda network, rows: np.zeros((200, 2)))

    # 3.6 times the least error is no failure, 25 times is one
    assert start(networks[:3]) is networks[2]
    assert start(networks) is networks[2] and start(networks[3:]) is networks[3]


def test_each_network_has_a_posterior_of_its_own():
    forecaster = ALMElmanForecaster(lags=2, random_state=0, **FOUR).fit(Y[:34], X[:34])
    z, v = scaled(Y[:34], 34), scaled(X, 34)[:34]
    inputs = np.column_stack([z[1:-1], z[:-2], v[2:]])
    posteriors = forecaster._fitted.errors.posteriors
    for network, posterior in zip(forecaster.networks_, posteriors, strict=True):
        _, states = rollout(network, ReLU(), inputs)
        Z = np.column_stack([states, inputs, np.ones(32)])
        # the root of (Z'Z + N)^-1, with a diagonal N
        difference = np.linalg.pinv(posterior.root @ posterior.root) - Z.T @ Z
        is_known = np.abs(Z).any(axis=0)
        difference = difference[np.ix_(is_known, is_known)]
        assert np.abs(difference - np.diag(np.diag(difference))).max() <= 1e-8


def test_the_networks_take_equal_shares_of_the_paths():
    y = Y[:34]
    forecaster = ALMElmanForecaster(lags=2, random_state=0, **FOUR).fit(y, X[:34])
    scale = y.to_numpy().std()
    without_posterior(forecaster)
    errors, seed = forecaster._fitted.errors, forecaster._fitted.seed
    noise = draw_noise(errors.one_step, 3, seed)
    z, v, share = scaled(y, 34), scaled(X, 34), N_PATHS // 4
    paths = []
    for k in (0, share - 1, share, 3 * share, N_PATHS - 1):
        outputs = run(forecaster.networks_[k // share], z, v, 34, 3, noise[k])[-3:]
        paths.append((outputs + noise[k]) * scale + y.to_numpy().mean())
    sample = outcomes(forecaster, [1, 2, 3], X)
    for step in range(3):
        found = sample[step][[0, share - 1, share, 3 * share, N_PATHS - 1]]
        np.testing.assert_allclose(found, [path[step] for path in paths], rtol=1e-9)


def test_the_number_of_threads_does_not_matter():
    options = {**FOUR, "random_state": 0}
    one, two = (ALMElmanForecaster(n_jobs=n_jobs, **options).fit(Y, X) for n_jobs in (None, 2))
    pd.testing.assert_frame_equal(
        one.predict(fh=[-3, 0, 1], X=X.shift(1, freq="M")),
        two.predict(fh=[-3, 0, 1], X=X.shift(1, freq="M")),
        check_exact=True,
    )
    np.testing.assert_array_equal(one.seed_spread_, two.seed_spread_)


def test_an_update_trains_every_network_on():
    options = {**FOUR, "max_iter": 2, "random_state": 0}
    forecaster = ALMElmanForecaster(**options).fit(Y[:34], X[:34])
    before = forecaster.networks_
    forecaster.update(Y[34:], X[34:])
    assert len(forecaster.networks_) == 4
    assert not any(
        np.array_equal(p.W, q.W) for p, q in zip(before, forecaster.networks_, strict=True)
    )
    assert (forecaster.seed_spread_ > 0.0).all()


def test_the_regression_is_one_whatever_the_number_of_starts():
    options = {**FOUR, "alpha": np.inf}
    forecaster = ALMElmanForecaster(random_state=0, **options).fit(Y, X)
    assert len(forecaster.networks_) == 1 and np.isnan(forecaster.seed_spread_).all()
