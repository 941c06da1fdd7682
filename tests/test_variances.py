"""Variances by the gamma deviance: positive, right in the mean, the same in any unit."""

import pickle
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from sktime.forecasting.base import ForecastingHorizon
from sktime.split import ExpandingWindowSplitter

from sktime_alm import ALMElmanForecaster, mean_of_others
from sktime_alm.level import _DECAY, _PRIOR, Level
from sktime_alm.solver.datafits import QLIKE
from tests.conftest import DESCENT

QUICK = {"loss": "qlike", "hidden_size": 3, "alpha": np.inf, "skip_alpha": 1.0, "random_state": 0}


def make_variances(T=600, seed=0, index=None):
    """Gamma noise on a variance whose logarithm is an autoregression, and a driver of it."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=T), np.zeros(T)
    for t in range(1, T):
        z[t] = 0.9 * z[t - 1] + 0.2 * x[t - 1] + 0.1 * rng.normal()
    v = np.exp(z) * rng.gamma(2.0, 0.5, T)
    index = pd.RangeIndex(T) if index is None else index
    return pd.Series(v, index, name="v"), pd.DataFrame({"x": x}, index)


def test_forecasts_are_positive_and_right_in_the_mean_at_all_horizons():
    y, X = make_variances(3000)
    past, new = y[:2000], y[2000:]
    forecaster = ALMElmanForecaster(half_lives=[1, 5], **QUICK).fit(past, X[:2000])
    ratios: dict[int, list[float]] = {1: [], 5: []}
    for t in range(2000, 2990, 5):
        found = forecaster.predict(fh=[1, 5], X=X[t : t + 5])
        assert (found > 0.0).all()
        for step in ratios:
            ratios[step].append(y[t + step - 1] / found[t + step - 1])
        forecaster.update(new[t - 2000 : t - 1995], X[t : t + 5], update_params=False)
    for step, of_step in ratios.items():
        error = np.std(of_step) / np.sqrt(len(of_step))
        assert abs(np.mean(of_step) - 1.0) < 3.0 * error, step
        assert error < 0.08


def test_a_network_is_trained_and_used_where_the_logarithm_bends():
    rng = np.random.default_rng(1)
    z = np.zeros(800)
    for t in range(1, 800):
        z[t] = 0.3 - 0.8 * abs(z[t - 1]) + 0.3 * rng.normal()
    y = pd.Series(np.exp(z) * rng.gamma(200.0, 0.005, 800))
    options = {"loss": "qlike", "hidden_size": 3, "lags": 1, "random_state": 0}
    network = ALMElmanForecaster(**options).fit(y[:600])
    regression = ALMElmanForecaster(alpha=np.inf, **options).fit(y[:600])
    assert np.isfinite(network.alpha_) and network.certificate_.residual < 1e-3
    losses = []
    for model in (network, regression):
        model.update(y[600:], update_params=False)
        ratio = y[600:] / model.predict(fh=np.arange(-199, 1))
        losses.append((ratio - np.log(ratio) - 1.0).mean())
    assert losses[0] < 0.9 * losses[1]


@pytest.mark.parametrize("unit", [1e-8, 1e6])
def test_units_of_y_go_through(unit):
    y, X = make_variances(200)
    ours = ALMElmanForecaster(**QUICK).fit(y, X)
    scaled = ALMElmanForecaster(**QUICK).fit(unit * y, X)
    for step in ([1], [1, 2, 3]):
        future = X[:3].set_axis([200, 201, 202])
        np.testing.assert_allclose(
            scaled.predict(fh=step, X=future), unit * ours.predict(fh=step, X=future), rtol=1e-8
        )
    np.testing.assert_allclose(
        scaled.predict_quantiles(fh=[1], alpha=[0.1, 0.9]),
        unit * ours.predict_quantiles(fh=[1], alpha=[0.1, 0.9]),
        rtol=1e-8,
    )


@pytest.mark.parametrize("name", ["y", "v", 0])
def test_what_a_column_of_X_is_called_does_not_matter(name):
    """Such as "y", by which a dict of half-lives names the series."""
    y, X = make_variances(200)
    expected = ALMElmanForecaster(**QUICK).fit(y, X)
    found = ALMElmanForecaster(**QUICK).fit(y, X.set_axis([name], axis=1))
    np.testing.assert_array_equal(found.predict(fh=[1]), expected.predict(fh=[1]))


@pytest.mark.parametrize("argument", ["window_means", "half_lives"])
def test_a_name_that_is_y_and_a_column_of_X_is_refused(argument):
    y, X = make_variances(50)
    forecaster = ALMElmanForecaster(**{**QUICK, argument: {"y": [2]}})
    with pytest.raises(ValueError, match=f"{argument} must not name 'y' where a column"):
        forecaster.fit(y, X.set_axis(["y"], axis=1))


def test_zeros_are_said_once_and_negative_values_refused_by_name():
    y, _ = make_variances(120)
    y[[7, 60]] = 0.0
    with pytest.warns(UserWarning, match="y is 0 in some rows: there it counts as the smallest"):
        forecaster = ALMElmanForecaster(**QUICK).fit(y)
    assert (forecaster.predict(fh=np.arange(-100, 3)) > 0.0).all()
    forecaster.update(pd.Series([0.0], [120]), update_params=False)
    before = forecaster.predict(fh=[1])
    assert 0.0 < before.iloc[0] < np.inf
    with pytest.raises(ValueError, match="y must not be below 0.*found -1 at 121"):
        forecaster.update(pd.Series([-1.0], [121]), update_params=False)
    pd.testing.assert_series_equal(forecaster.predict(fh=[1]), before)
    with pytest.raises(ValueError, match="y must not be below 0"):
        ALMElmanForecaster(**QUICK).fit(-y)
    with pytest.raises(ValueError, match="y must be above 0 in some row"):
        ALMElmanForecaster(**QUICK).fit(0.0 * y)


def test_a_file_whose_rows_are_zeros_takes_updates():
    y, _ = make_variances(80)
    y[-3:] = 0.0
    with pytest.warns(UserWarning, match="y is 0 in some rows"):
        forecaster = ALMElmanForecaster(**QUICK, lags=1).fit(y)
    loaded = ALMElmanForecaster.load_from_serial(forecaster.save()[1])
    for value in (np.nan, 0.0, 1.0):
        row = pd.Series([value], loaded.cutoff + 1)
        for known in (forecaster, loaded):
            known.update(row, update_params=False)
        pd.testing.assert_series_equal(loaded.predict(fh=[1, 4]), forecaster.predict(fh=[1, 4]))


@pytest.mark.parametrize("far", [1e-250, 1e250])
def test_values_whose_forecasts_might_overflow_are_refused(far):
    y, _ = make_variances(60)
    y[50] *= far
    with pytest.raises(ValueError, match=r"beyond double precision; found values from .*e[+-]2"):
        ALMElmanForecaster(**QUICK).fit(y)
    forecaster = ALMElmanForecaster(**QUICK).fit(y[:50])
    before = forecaster.predict(fh=[1])
    with pytest.raises(ValueError, match="Use other units"):
        forecaster.update(y[50:], update_params=False)
    pd.testing.assert_series_equal(forecaster.predict(fh=[1]), before)


@pytest.mark.parametrize("unit", [1e-250, 1e140, 1e250])
def test_as_far_from_one_all_together_they_are_fine(unit):
    y, _ = make_variances(60)
    expected = ALMElmanForecaster(**QUICK).fit(y)
    found = ALMElmanForecaster(**QUICK).fit(unit * y)
    for name in ("predict", "predict_interval"):
        asked = (getattr(forecaster, name)(fh=[1, 4]) for forecaster in (found, expected))
        np.testing.assert_allclose(next(asked) / unit, next(asked), rtol=1e-6)


def test_weighted_means_ask_for_no_more_rows_than_they_need():
    y, _ = make_variances(100)
    forecaster = ALMElmanForecaster(**QUICK, interval_method="conformal").fit(y)
    n_errors = [len(of_step) for of_step in forecaster._fitted.errors.by_step]
    # of models of 55, 70 and 85 % of 99 rows, on those that follow
    assert n_errors[0] == 45 and len(n_errors) > 20
    found = forecaster.predict_interval(fh=[1, 20], coverage=0.9)
    assert (found.to_numpy() > 0.0).all()


@pytest.mark.parametrize("update_params", [False, True])
def test_updates_files_and_quantiles(update_params):
    days = pd.bdate_range("2020-01-01", periods=260)
    y, X = make_variances(260, index=days)
    forecaster = ALMElmanForecaster(**QUICK).fit(y[:250], X[:250])
    forecaster.update(y[250:], X[250:], update_params=update_params)
    loaded = pickle.loads(pickle.dumps(forecaster))
    found = forecaster.predict(fh=[1])
    pd.testing.assert_series_equal(loaded.predict(fh=[1]), found)
    bounds = forecaster.predict_interval(fh=[1], coverage=0.9).to_numpy()[0]
    assert 0.0 < bounds[0] < found.iloc[0] < bounds[1]
    # the features of the calendar, and X of the row before, need nothing to be passed
    layout = forecaster._fitted.model.layout
    assert layout.half_lives == (1, 2, 5, 12, 30, 80) and layout.n_exogenous == 1 + 5
    assert {term.first for term in layout.terms if term.column == 0} == {1}


def test_the_level_follows_the_ratios_of_later_rows():
    level = Level(np.array([1.1]), np.zeros(1), np.zeros(1), np.ones((1, 1)))
    ratios = np.array([2.2, 1.1, 0.55, np.nan, 3.3])
    found = level.followed(ratios[:, None]).factors(0)
    # a missing value is no row
    q = ratios[~np.isnan(ratios)] / 1.1
    weights = _DECAY ** np.arange(3, -1, -1)
    expected = 1.1 * (_PRIOR + (weights * q).sum()) / (_PRIOR + weights.sum())
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_one_row_moves_the_level_no_further_than_ten_times_its_forecast():
    level = Level(np.ones(1), np.zeros(1), np.zeros(1), np.ones((1, 1)))
    ten, slip = (level.followed(np.array([[ratio]])).factors(0) for ratio in (10.0, 1e6))
    assert slip == ten == (_PRIOR + 10.0) / (_PRIOR + 1.0)


def test_a_level_that_moved_is_followed_and_no_more_than_slowly():
    y, X = make_variances(900)
    forecaster = ALMElmanForecaster(lags=0, exog_lags=0, **QUICK).fit(y[:600], X[:600])
    before = forecaster._fitted.level.factors(0)
    forecaster.update(2.0 * y[600:], X[600:], update_params=False)
    assert 1.05 < forecaster._fitted.level.factors(0) / before < 2.0


def test_fitted_values_of_later_rows_are_the_forecasts_before_each_of_them():
    y, X = make_variances(400)
    forecaster = ALMElmanForecaster(**QUICK).fit(y[:300], X[:300])
    first, later = (
        ForecastingHorizon(rows, is_relative=False) for rows in (y.index[100:300], y.index[300:380])
    )
    training = forecaster.predict(fh=first)
    expected = []
    for row in range(300, 380):
        expected.append(forecaster.predict(fh=[1]).iloc[0])
        forecaster.update(y[row : row + 1], X[row : row + 1], update_params=False)
    np.testing.assert_allclose(forecaster.predict(fh=later), expected, rtol=1e-12)
    np.testing.assert_array_equal(forecaster.predict(fh=first), training)
    # from an earlier cutoff alike
    cv = ExpandingWindowSplitter(initial_window=310, step_length=10, fh=[1])
    found = forecaster.update_predict(y[:380], cv, X[:380], update_params=False)
    np.testing.assert_allclose(found, np.array(expected)[10::10], rtol=1e-12)


def test_training_on_does_not_count_the_new_rows_twice():
    """In the network and its mean, and again in ratios to the forecasts of before."""
    y, X = make_variances(400)
    y[300:] *= 4.0
    updated = ALMElmanForecaster(**QUICK).fit(y[:300], X[:300])
    moved = updated.clone().fit(y[:300], X[:300]).update(y[300:], X[300:], update_params=False)
    updated.update(y[300:], X[300:])
    slow = [of._fitted.level.slow[-1, 0] for of in (updated, moved)]
    # ratios to forecasts of the weights of now
    assert abs(slow[0] - 1.0) < 0.5 * (slow[1] - 1.0)


def test_series_of_a_panel_are_forecast_in_their_own_units(few_replays):
    series = {k: make_variances(150, seed=k)[0].to_frame() * 10.0**k for k in range(4)}
    panel = pd.concat(series, names=["series", "time"])
    X = mean_of_others(np.log(panel))
    forecaster = ALMElmanForecaster(**QUICK).pretrain(panel, X)
    for k, of_series in series.items():
        single = forecaster.clone().fit(of_series, X.loc[k])
        ratio = of_series["v"] / single.predict(fh=np.arange(-140, 1))["v"]
        assert 0.9 < ratio.mean() < 1.1
    # a series that the panel did not hold, of few rows
    new = 1e-3 * make_variances(12, seed=9)[0]
    fitted = forecaster.clone().fit(new.to_frame(), X.loc[0][:12])
    assert 0.0 < fitted.predict(fh=[1]).iloc[0, 0] < 1e-1


@dataclass(frozen=True)
class Expectile:
    """Errors above 0 cost three times those below: a loss of one's own."""

    is_log: ClassVar[bool] = False

    def in_units(self, scale):
        return self

    def _weight(self, Y, outputs):
        return np.where(outputs < Y, 1.5, 0.5)

    def value(self, Y, outputs):
        return (self._weight(Y, outputs) * (Y - outputs) ** 2).sum(axis=1)

    def derivative(self, Y, outputs):
        return 2.0 * self._weight(Y, outputs) * (outputs - Y)

    def curvature(self, Y, outputs):
        return 2.0 * self._weight(Y, outputs)


def test_a_loss_of_ones_own_is_an_object():
    y, X = make_variances(300)
    found, mean = (
        ALMElmanForecaster(loss=loss, exog_lags=1, alpha=1.0, max_iter=5, random_state=0).fit(y, X)
        for loss in (Expectile(), "squared")
    )
    fitted, of_mean = (f.predict(fh=np.arange(-290, 1)) for f in (found, mean))
    # the derivative in the unpenalised constant is 0
    errors = (y[9:] - fitted).to_numpy()
    assert abs(np.where(errors > 0.0, 1.5, 0.5) @ errors) < 0.05 * np.abs(errors).sum()
    assert fitted.mean() > of_mean.mean() + 0.1 * y.std()


def test_the_power_is_an_argument_of_the_loss():
    y, _ = make_variances(400)
    found = [
        ALMElmanForecaster(**{**QUICK, "loss": QLIKE(power=p)}).fit(y).predict(fh=[1]).iloc[0]
        for p in (1.0, 0.5, 1e-6)
    ]
    assert len(set(found)) == 3 and max(found) < 1.2 * min(found)


@pytest.mark.parametrize(
    ("n_rows", "seed"),
    [*((n_rows, seed) for n_rows in (8, 12) for seed in range(3)), (40, 0), (40, 2), (60, 1)],
)
def test_means_far_ahead_are_of_the_size_of_the_variances_seen(n_rows, seed):
    """Student's tails of what few rows leave unknown must not enter the mean of an exponential."""
    rng = np.random.default_rng(seed)
    log = np.zeros(n_rows)
    for t in range(1, n_rows):
        log[t] = 0.6 * log[t - 1] + rng.normal()
    y = pd.Series(np.exp(log), pd.date_range("2020-01-01", periods=n_rows))
    options = {
        "loss": "qlike",
        "hidden_size": 3,
        "max_iter": 3,
        "random_state": 0,
        "solver_options": DESCENT,
    }
    forecaster = ALMElmanForecaster(**options).fit(y)
    found = forecaster.predict(fh=[2, 5, 10, 20])
    assert (found > 0.0).all() and (found < 10.0 * y.max()).all()


@pytest.mark.parametrize("n_rows", [7, 15])
def test_the_spread_of_few_rows_is_no_matter_of_the_largest_paths(n_rows):
    largest = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        y = pd.Series(np.exp(rng.normal(size=n_rows)), pd.period_range("2000", periods=n_rows))
        forecaster = ALMElmanForecaster(loss="qlike", random_state=0).fit(y)
        deviation = forecaster.predict_var(fh=[6]).iloc[0, 0] ** 0.5
        largest.append(max(deviation / 10.0, forecaster.predict(fh=[1, 3, 6]).max()) / y.max())
    assert np.median(largest) < 3.0


@pytest.mark.parametrize("seed", range(3))
def test_far_ahead_intervals_and_variances_are_of_the_size_of_the_variances_seen(seed):
    """The few errors so far ahead that do not overlap rule neither, in logarithms."""
    rng, h = np.random.default_rng(seed), np.zeros(200)
    for t in range(1, 200):
        h[t] = 0.95 * h[t - 1] + 0.25 * rng.normal()
    y = pd.Series(np.exp(h + 0.5 * rng.normal(size=200)))
    forecaster = ALMElmanForecaster(loss="qlike", alpha=np.inf, random_state=0).fit(y)
    forecast = forecaster.predict(fh=[22]).iloc[0]
    upper = forecaster.predict_interval(fh=[22], coverage=0.9).iloc[0, 1]
    assert upper < 20.0 * forecast
    deviation = np.sqrt(forecaster.predict_var(fh=[22]).iloc[0, 0])
    assert 0.3 * forecast < deviation < 3.0 * forecast
    covariance = forecaster.predict_var(fh=[1, 22], cov=True)
    np.testing.assert_allclose(np.sqrt(covariance.iloc[1, 1]), deviation)
