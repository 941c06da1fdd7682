"""X column by column and for whole panels, residuals, covariances, warnings that come once."""

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
from sktime.forecasting.model_evaluation import evaluate
from sktime.performance_metrics.forecasting import MeanSquaredError
from sktime.split import ExpandingWindowSplitter

from sktime_alm import ALMElmanForecaster
from sktime_alm.solver import ALMSettings, SafeguardedSettings
from tests.test_forecaster import FAST, X, Y

LINEAR = {"alpha": np.inf, "skip_alpha": 1e-9}


def test_the_constructor_has_at_most_18_arguments():
    assert len(inspect.signature(ALMElmanForecaster.__init__).parameters) - 1 <= 18


def test_an_integer_means_the_same_for_X_as_for_y():
    one = ALMElmanForecaster(lags=3, exog_lags=3, **FAST).fit(Y, X)
    other = ALMElmanForecaster(lags=[1, 2, 3], exog_lags=[1, 2, 3], **FAST).fit(Y, X)
    np.testing.assert_array_equal(one.parameters_.V, other.parameters_.V)


def test_lags_and_windows_of_each_column_of_X():
    by_hand = pd.DataFrame(
        {
            "x0 1": X["x0"].shift(1),
            "x0 5": X["x0"].shift(5),
            "x1 0": X["x1"],
            "x1 mean": X["x1"].shift(1).rolling(3).mean(),
        }
    )
    # the row before the first full one gives the lag of y alone
    by_hand = by_hand.fillna(0.0)
    expected = ALMElmanForecaster(exog_lags=0, **LINEAR).fit(Y[4:34], by_hand[4:34])
    found = ALMElmanForecaster(
        exog_lags={"x0": [1, 5], "x1": 0}, window_means={"x1": [3]}, **LINEAR
    ).fit(Y[:34], X[:34])
    partly = X[34:36].copy()
    partly.iloc[1, 0] = np.nan  # of the time to come x1 alone is needed
    np.testing.assert_allclose(
        found.predict(fh=[1, 2], X=partly), expected.predict(fh=[1, 2], X=by_hand), rtol=1e-5
    )
    with pytest.raises(ValueError, match=r"exog_lags must name every column of X; \['x1'\]"):
        ALMElmanForecaster(exog_lags={"x0": 1}).fit(Y, X)
    with pytest.raises(ValueError, match=r"exog_lags must name columns of X.*found \['z'\]"):
        ALMElmanForecaster(exog_lags={"z": 1, "x0": 1, "x1": 1}).fit(Y, X)


def test_one_X_for_all_series_of_a_panel():
    panel = pd.concat({"a": Y, "b": 2.0 * Y}, names=["key", "time"])
    each = pd.concat({"a": X, "b": X}, names=["key", "time"])
    for exogenous in (X, each):
        forecaster = ALMElmanForecaster(exog_lags=[0, 1], **FAST)
        rows = [data.loc[pd.IndexSlice[:, : Y.index[33]], :] for data in (panel, each)]
        forecaster.fit(rows[0], exogenous[:34] if exogenous is X else rows[1])
        later = panel.loc[pd.IndexSlice[:, Y.index[34] : Y.index[35]], :]
        forecaster.update(later, exogenous, update_params=False)
        found = forecaster.predict(fh=[1, 2], X=exogenous)
        if exogenous is X:
            expected = found
    pd.testing.assert_frame_equal(found, expected)


def test_residuals_and_covariances():
    forecaster = ALMElmanForecaster(**FAST).fit(Y["y0"])
    pd.testing.assert_series_equal(
        forecaster.predict_residuals(), forecaster.predict_residuals(Y["y0"])
    )
    cov = forecaster.predict_var(fh=[1, 2, 3], cov=True)
    var = forecaster.predict_var(fh=[1, 2, 3])
    np.testing.assert_allclose(np.diag(cov), var.to_numpy().ravel())
    np.testing.assert_allclose(cov, cov.T.to_numpy())
    assert np.linalg.eigvalsh(cov).min() >= 0.0


def test_warnings_come_once_and_not_in_each_fold():
    cv = ExpandingWindowSplitter(initial_window=30, step_length=2, fh=[1])
    forecaster = ALMElmanForecaster(**FAST)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        evaluate(forecaster, cv, Y, X, scoring=MeanSquaredError(), error_score="raise")
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == len(set(texts)) <= 2
    assert any(text.startswith("X of time t is an input") for text in texts)
    with pytest.warns(UserWarning, match="exog_lags=1 for what is observed"):
        ALMElmanForecaster(**FAST).fit(Y, X)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        ALMElmanForecaster(exog_lags=0, **{**FAST, "solver_options": {"tolerance": 1e3}}).fit(Y, X)


@pytest.mark.parametrize(
    "options",
    [{"max_inner_iter": 3}, SafeguardedSettings(max_inner_iter=3), ALMSettings()],
    ids=str,
)
def test_solver_options_are_settings_or_a_dict_of_them(options):
    forecaster = ALMElmanForecaster(**FAST, solver_options=options).fit(Y)
    assert forecaster.predict(fh=[1]).notna().all(axis=None)
    assert forecaster.clone().get_params()["solver_options"] == options
