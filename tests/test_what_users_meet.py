"""X column by column and for whole panels, residuals, covariances, warnings that come once."""

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
from sktime.forecasting.base import ForecastingHorizon
from sktime.forecasting.compose import EnsembleForecaster, MultiplexForecaster
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.naive import NaiveForecaster
from sktime.performance_metrics.forecasting import MeanSquaredError
from sktime.split import ExpandingWindowSplitter
from sktime.transformations.series.boxcox import LogTransformer
from sktime.transformations.series.detrend import Detrender

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
    forecaster = ALMElmanForecaster(**{**FAST, "solver_options": options}).fit(Y)
    assert forecaster.predict(fh=[1]).notna().all(axis=None)
    assert forecaster.clone().get_params()["solver_options"] == options


def test_frames_that_change_after_fit_change_nothing():
    index = pd.date_range("2020-01-01", periods=60)
    rng = np.random.default_rng(0)
    y = pd.DataFrame({"y": rng.normal(size=60)}, index)
    X = pd.DataFrame({"x": rng.normal(size=60)}, index)
    forecaster = ALMElmanForecaster(exog_lags=1, **FAST).fit(y, X)
    before, residuals = forecaster.predict(fh=[1]), forecaster.predict_residuals()
    y.loc[index[-1], "y"] = X.loc[index[-1], "x"] = 99.0
    pd.testing.assert_frame_equal(forecaster.predict(fh=[1]), before)
    pd.testing.assert_frame_equal(forecaster.predict_residuals(), residuals)


@pytest.mark.filterwarnings("ignore:(?s).*remember_data:FutureWarning")
@pytest.mark.parametrize("freq", ["D", "B", "h", "W-WED", "ME"])
@pytest.mark.parametrize("fh", [1, [0], [1, 2], [1, 3]])
def test_forecasts_carry_the_frequency_that_sktime_gives_them(freq, fh):
    index = pd.date_range("2020-01-01", periods=60, freq=freq)
    y = pd.Series(np.random.default_rng(0).normal(size=60), pd.DatetimeIndex(list(index)))
    found = ALMElmanForecaster(**FAST).fit(y).predict(fh=fh).index
    assert found.freq == NaiveForecaster().fit(y).predict(fh=fh).index.freq


@pytest.mark.filterwarnings("ignore:(?s).*remember_data:FutureWarning")
@pytest.mark.parametrize("n_holidays", [0, 2])
def test_business_days_go_through_compositions(n_holidays):
    days = pd.bdate_range("2020-01-01", periods=80)
    y = pd.Series(np.random.default_rng(0).normal(size=80), pd.DatetimeIndex(list(days)))
    y = y.drop(y.index[[20, 45][:n_holidays]])
    expected = ALMElmanForecaster(**FAST).fit(y).predict(fh=[1, 2])
    multiplexer = MultiplexForecaster(
        [("elman", ALMElmanForecaster(**FAST))], selected_forecaster="elman"
    )
    pd.testing.assert_series_equal(multiplexer.fit(y).predict(fh=[1, 2]), expected)
    stamped = ForecastingHorizon([1, 2], freq="B")
    found = ALMElmanForecaster(**FAST).fit(y).predict(fh=stamped)
    pd.testing.assert_series_equal(found, expected)


@pytest.mark.filterwarnings("ignore:(?s).*remember_data:FutureWarning")
@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize(
    "wrapped",
    [
        lambda forecaster: LogTransformer() * forecaster,
        lambda forecaster: Detrender() * forecaster,
        lambda forecaster: EnsembleForecaster([("a", forecaster), ("b", forecaster.clone())]),
        lambda forecaster: MultiplexForecaster([("a", forecaster)], selected_forecaster="a"),
    ],
    ids=["log", "detrended", "ensemble", "multiplexed"],
)
def test_a_week_of_business_days_is_one_inside_of_a_composition(wrapped, n):
    days = pd.DatetimeIndex(list(pd.bdate_range("2024-01-01", periods=90)))
    y = pd.Series(20.0 + np.random.default_rng(0).normal(size=90), days)
    forecaster = wrapped(ALMElmanForecaster(**FAST)).fit(y[:80])
    found = forecaster.update(y[80 : 80 + n], update_params=False).predict(fh=[1, 2])
    assert list(found.index) == list(days[80 + n : 82 + n])


@pytest.mark.parametrize("freq", ["W-WED", "ME", "h", "D", "B"])
def test_a_horizon_of_every_other_time_is_one_of_these_times(freq):
    times = pd.date_range("2001-01-01", periods=66, freq=freq)
    y = pd.Series(np.random.default_rng(0).normal(size=60), times[:60])
    forecaster = ALMElmanForecaster(**FAST).fit(y)
    found = forecaster.predict(fh=ForecastingHorizon(times[60::2], is_relative=False))
    pd.testing.assert_series_equal(found, forecaster.predict(fh=[1, 3, 5]))


@pytest.mark.parametrize("day", [0, 4])
def test_the_last_weekday_of_a_month_is_not_the_fourth(day):
    offset = pd.offsets.LastWeekOfMonth(weekday=day)
    index = pd.date_range("2001-01-01", periods=64, freq=offset)
    y = pd.Series(np.arange(60.0) % 7.0, pd.DatetimeIndex(list(index[:60])))
    found = ALMElmanForecaster(**FAST).fit(y).predict(fh=[1, 2, 3, 4])
    assert list(found.index) == list(index[60:])


@pytest.mark.parametrize(
    "y",
    [
        pd.Series([], dtype=float),
        np.array([]),
        pd.DataFrame(index=pd.date_range("2020", periods=9)),
    ],
)
def test_y_without_rows_or_columns_is_refused(y):
    with pytest.raises(ValueError, match="y must have a row and a column, found the shape"):
        ALMElmanForecaster(**FAST).fit(y)


def test_X_of_other_times_is_refused_with_the_times():
    index = pd.date_range("2020-01-01", periods=60)
    y, x = pd.Series(np.arange(60.0) % 7.0, index), np.arange(60.0) % 5.0
    for times, message in (
        (index[:58], "X passed to fit must have the times of y; missing 2020-02-28"),
        (index.tz_localize("UTC"), "X must have times with no time zone"),
        (pd.RangeIndex(60), "X must be indexed by time stamps"),
    ):
        X = pd.DataFrame({"x": x[: len(times)]}, times)
        with pytest.raises(ValueError, match=message):
            ALMElmanForecaster(exog_lags=1, **FAST).fit(y, X)


def test_columns_of_forecasts_keep_their_name():
    y = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
    forecaster = ALMElmanForecaster(**FAST).fit(y.rename_axis(columns="asset"))
    assert forecaster.predict_quantiles(fh=[1], alpha=[0.5]).columns.names[0] == "asset"
    assert forecaster.predict_var(fh=[1]).columns.name == "asset"


def test_residuals_do_not_depend_on_where_the_cutoff_is():
    y = pd.Series(np.sin(np.arange(60.0) / 3.0))
    forecaster = ALMElmanForecaster(**FAST).fit(y)
    expected = forecaster.predict_residuals()
    forecaster.update(y[:40], update_params=False)
    pd.testing.assert_series_equal(forecaster.predict_residuals(), expected)


def test_inputs_that_changed_since_fit_are_refused_by_an_update():
    y = pd.Series(np.sin(np.arange(60.0) / 3.0))
    forecaster = ALMElmanForecaster(**FAST).fit(y[:50])
    forecaster.lags = 3
    with pytest.raises(ValueError, match=r"lags.* must be those of fit"):
        forecaster.update(y[50:])


def test_variances_of_any_size_have_means_ahead():
    y = pd.Series(5.0 + np.sin(np.arange(60.0) / 3.0))
    options = {**FAST, "loss": "qlike", "alpha": np.inf, "skip_alpha": 1.0}
    expected = ALMElmanForecaster(**options).fit(y).predict(fh=[1, 3])
    found = ALMElmanForecaster(**options).fit(1e160 * y).predict(fh=[1, 3])
    np.testing.assert_allclose(found / 1e160, expected, rtol=1e-6)
