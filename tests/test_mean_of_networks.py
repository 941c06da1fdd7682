"""The mean of networks stopped early, which forecasts where noise is most of the error."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sktime.base import load

from sktime_alm import ALMElmanForecaster
from tests.conftest import named


def simulated(scale):
    """A series whose input counts where it is above 0, with noise of this scale."""
    rng = np.random.default_rng(10)
    x, y = rng.normal(size=260), np.zeros(260)
    for t in range(1, 260):
        y[t] = 0.5 * y[t - 1] + 0.8 * max(x[t], 0.0) + scale * rng.normal()
    return pd.Series(y), pd.DataFrame({"x": x})


@pytest.fixture(scope="module")
def noisy():
    y, X = simulated(1.0)
    with warnings.catch_warnings():
        # networks that are meant to stop early are no failure to converge
        warnings.simplefilter("error")
        forecaster = ALMElmanForecaster(hidden_size=3, exog_lags=0, random_state=0)
        return forecaster.fit(y[:250], X[:250])


def test_it_takes_the_place_of_one_network_where_noise_is_most_of_the_error(noisy):
    penalties = noisy._fitted.penalties
    assert penalties.is_mean and 0.0 < penalties.weight < 1.0
    assert len(noisy.networks_) == 6 and noisy.seed_spread_[0] > 0.0
    hidden_layers = [network.hidden_layer for network in noisy.networks_]
    assert not np.allclose(hidden_layers[0], hidden_layers[1])
    y, X = simulated(0.5)
    clear = ALMElmanForecaster(hidden_size=3, exog_lags=0, random_state=0).fit(y[:250], X[:250])
    assert not clear._fitted.penalties.is_mean and len(clear.networks_) == 1
    assert clear._fitted.penalties.weight > 0.5


def test_the_forecast_is_the_mean_of_those_of_the_networks(noisy):
    _, X = simulated(1.0)
    model, state = noisy._fitted.model, noisy._fitted.states
    past = noisy._fitted.model.y_scaler.transform(noisy._history.series.y[-1:])
    future = model.X_scaler.transform(X[250:251].to_numpy())
    x = np.concatenate([past, future], axis=1)[0]
    outputs = []
    for network, before in zip(model.networks, state, strict=True):
        u = network.W @ before + network.V @ x + network.b
        outputs.append(network.A @ np.maximum(u, 0.0) + network.D @ x + network.c)
    expected = model.y_scaler.inverse_transform(np.mean(outputs, axis=0)[None])[0, 0]
    assert noisy.predict(fh=1, X=X[250:251]).iloc[0] == pytest.approx(expected, rel=1e-10)


def test_an_update_and_a_file_keep_it(noisy, tmp_path):
    y, X = simulated(1.0)
    noisy.save(tmp_path / "mean.zip", training_rows=True)
    found = load(tmp_path / "mean.zip")
    pd.testing.assert_series_equal(
        found.predict(fh=[1, 2], X=X[250:]), noisy.predict(fh=[1, 2], X=X[250:])
    )
    before = [named(network) for network in found.networks_]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.update(y[250:255], X[250:255])
    assert found._fitted.penalties.is_mean and len(found.networks_) == 6
    for network, old in zip(found.networks_, before, strict=True):
        change = np.abs(network.V - old["V"]).max()
        assert 0.0 < change < 0.5 * np.abs(old["V"]).max()
