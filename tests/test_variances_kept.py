"""Variances over time: updates at the cost of the new rows, files, intervals, panels."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sktime.base import load
from sktime.forecasting.base import ForecastingHorizon

from sktime_alm import ALMElmanForecaster
from sktime_alm.solver.network import rollout
from tests.conftest import named
from tests.test_persistence import KINDS, assert_forecasts_equal, copy_of
from tests.test_variances import QUICK, make_variances

NETWORK = {**QUICK, "alpha": 2.0, "half_lives": [1, 5], "max_iter": 4, "exog_lags": 1}


def two_variances(T=160):
    """Two series in different units, a value of the second one missing now and then."""
    y = pd.concat([make_variances(T, seed)[0] for seed in (0, 1)], axis=1)
    y.columns = ["v", "w"]
    y["w"] *= 1e-4
    y.loc[y.index[[30, 31, 131, 145]], "w"] = np.nan
    return y, make_variances(T)[1]


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_updates_in_pieces_end_where_one_pass_does(n_outputs, monkeypatch):
    y, X = two_variances()
    y = y.iloc[:, :n_outputs]
    forecaster = ALMElmanForecaster(**NETWORK).fit(y[:120], X[:120])
    assert forecaster.networks_[0].W.any() and forecaster.networks_[0].A.any()
    at_once, in_pieces = (pickle.loads(pickle.dumps(forecaster)) for _ in range(2))
    at_once.update(y[120:], X[120:], update_params=False)
    run_over = []

    def counted(network, sigma, inputs, *arguments):
        run_over.append(len(inputs))
        return rollout(network, sigma, inputs, *arguments)

    monkeypatch.setattr("sktime_alm.model.rollout", counted)
    for first, stop in ((120, 121), (118, 134), (134, 160)):
        in_pieces.update(y[first:stop], X[first:stop], update_params=False)
    # the network is run over the new rows alone
    assert run_over == [1, 13, 26]
    pairs = (
        (in_pieces._fitted.states[0], at_once._fitted.states[0]),
        (in_pieces._fitted.level.factors(0), at_once._fitted.level.factors(0)),
        (in_pieces._fitted.levels, at_once._fitted.levels),
    )
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    # the level has moved, and the weights have not
    assert (at_once._fitted.level.factors(0) != forecaster._fitted.level.factors(0)).all()
    for name, array in named(forecaster.networks_[0]).items():
        np.testing.assert_array_equal(named(at_once.networks_[0])[name], array)
    pd.testing.assert_frame_equal(
        in_pieces.predict(fh=[-3, 0, 1]), at_once.predict(fh=[-3, 0, 1]), rtol=1e-10
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_loaded_keeps_its_level(kind, tmp_path):
    y, X = two_variances()
    forecaster = ALMElmanForecaster(**NETWORK).fit(y[:120], X[:120])
    forecaster.update(3.0 * y[120:130], X[120:130], update_params=False)
    found = copy_of(forecaster, kind, tmp_path)
    assert_forecasts_equal(found, forecaster, X[130:])
    for each in (found, forecaster):
        each.update(y[130:140], X[130:140], update_params=False)
    assert_forecasts_equal(found, forecaster, X[140:])


@pytest.mark.parametrize("method", ["bootstrap", "conformal"])
def test_intervals_hold_what_they_say(method):
    y, X = make_variances(2400)
    options = {**QUICK, "interval_method": method, "half_lives": [1, 5], "lags": 0}
    forecaster = ALMElmanForecaster(**options).fit(y[:1600], X[:1600])
    held: dict[int, list[bool]] = {1: [], 5: []}
    for t in range(1600, 2390, 5):
        found = forecaster.predict_quantiles(fh=[1, 5], X=X[t : t + 5], alpha=[0.1, 0.5, 0.9])
        bounds = found.to_numpy()
        assert (bounds[:, 0] > 0.0).all() and (np.diff(bounds) > 0.0).all()
        for row, step in enumerate(held):
            actual = y[t + step - 1]
            held[step].append(bounds[row, 0] <= actual <= bounds[row, 2])
        forecaster.update(y[t : t + 5], X[t : t + 5], update_params=False)
    for step, of_step in held.items():
        share, error = np.mean(of_step), np.sqrt(0.8 * 0.2 / len(of_step))
        assert abs(share - 0.8) < 3.0 * error, (step, share)


def test_series_of_a_panel_are_updated_with_rows_of_their_own(few_replays):
    panel = pd.concat(
        {k: make_variances(150, seed=k)[0].to_frame() * 10.0**k for k in range(4)},
        names=["series", "time"],
    )
    options = {**QUICK, "alpha": 2.0, "half_lives": [1, 5], "max_iter": 4}
    pretrained = ALMElmanForecaster(**options).pretrain(panel)
    y = 1e-3 * make_variances(200, seed=7)[0].to_frame()
    anew = pretrained.clone().fit(y[:180])
    updated = pretrained.clone().fit(y[:100]).update(y[100:180], update_params=True)
    for name, array in named(anew.networks_[0]).items():
        np.testing.assert_allclose(named(updated.networks_[0])[name], array, rtol=1e-8, atol=1e-12)
    # the hidden units are those of the panel, the readout is not
    of_panel = pretrained.pretrained_.pretrained.trained.networks[0]
    np.testing.assert_array_equal(updated.networks_[0].hidden_layer, of_panel.hidden_layer)
    assert not np.allclose(updated.networks_[0].readout, of_panel.readout, rtol=1e-3)
    # what rows have told about the level, they tell by the networks of now
    fitted = anew.predict(fh=ForecastingHorizon(range(100, 180), is_relative=False))
    ratio = anew._fitted.level.ratio
    expected = anew._fitted.level.followed(ratio * (y[100:180] / fitted).to_numpy())
    np.testing.assert_allclose(updated._fitted.level.slow, expected.slow, rtol=1e-9)
    loaded = load(updated.save())
    pd.testing.assert_frame_equal(loaded.predict(fh=[1, 3]), updated.predict(fh=[1, 3]))
