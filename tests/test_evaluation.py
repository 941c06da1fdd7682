"""Losses and tests of forecasts: against formulas, references and simulations."""

import re
import sys

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from arch.bootstrap import MCS
from scipy import stats
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.forecasting.naive import NaiveForecaster
from sktime.split import ExpandingWindowSplitter
from sktime.utils.estimator_checks import check_estimator, parametrize_with_checks

from sktime_alm.datasets import load_sp500_volatility
from sktime_alm.evaluation import (
    QLIKE,
    diebold_mariano,
    mincer_zarnowitz,
    model_confidence_set,
    out_of_sample_r2,
    variance_from_log_volatility,
)

INDEX = pd.period_range("2000-01", periods=60, freq="M")


def variances(seed=0, n_series=2):
    """Lognormal variances and forecasts of them."""
    logs = np.random.default_rng(seed).normal(-2.0, 0.7, (2, len(INDEX), n_series))
    return (pd.DataFrame(np.exp(values), INDEX, list("ab")[:n_series]) for values in logs)


def qlike(variance, forecast):
    return variance / forecast - np.log(variance / forecast) - 1.0


# --- QLIKE ---


def test_qlike_is_the_formula_on_every_scale():
    v, f = variances()
    expected = qlike(v, f).to_numpy().mean()
    assert QLIKE()(v, f) == pytest.approx(expected, rel=1e-12)
    assert QLIKE("volatility")(np.sqrt(v), np.sqrt(f)) == pytest.approx(expected, rel=1e-12)
    assert QLIKE("log_volatility")(np.log(v) / 2, np.log(f) / 2) == pytest.approx(expected)


def test_residual_variance_forecasts_the_mean_of_a_lognormal_variable():
    v, g = variances()
    log_volatility, g = np.log(v) / 2, np.log(g) / 2
    loss = QLIKE("log_volatility", residual_variance=0.3)(log_volatility, g)
    assert loss == pytest.approx(qlike(v, np.exp(2 * g + 2 * 0.3)).to_numpy().mean())
    # where the errors are normal with this variance, the correction is the best of its kind
    actual = np.random.default_rng(1).normal(0.0, np.sqrt(0.3), 100_000)
    losses = {
        s2: QLIKE("log_volatility", residual_variance=s2)(actual, np.zeros_like(actual))
        for s2 in (0.0, 0.2, 0.3, 0.4)
    }
    assert min(losses, key=losses.get) == 0.3


def test_variance_from_log_volatility_is_the_mean_of_the_simulated_variance():
    errors = np.random.default_rng(0).normal(size=400_000)
    f, s2 = pd.Series([-2.0, -3.0], name="f"), pd.DataFrame({"f": [0.1, 0.2]})
    found = variance_from_log_volatility(f, s2)
    simulated = [np.exp(2 * (f[i] + np.sqrt(s2["f"][i]) * errors)).mean() for i in (0, 1)]
    np.testing.assert_allclose(found, simulated, rtol=0.01)
    assert found.index.equals(f.index) and found.name == "f"
    pd.testing.assert_series_equal(variance_from_log_volatility(f, s2[::-1]), found)
    with pytest.raises(ValueError, match="residual_variance must have one value, or as many"):
        variance_from_log_volatility(f, [0.1, 0.1, 0.1])
    with pytest.raises(ValueError, match="residual_variance must be 0 or more"):
        variance_from_log_volatility(f, -0.1)
    with pytest.raises(ValueError, match="residual_variance must have the same 2 labels"):
        variance_from_log_volatility(f, s2.set_axis([5, 6]))
    with pytest.raises(TypeError, match="residual_variance must be an array of numbers"):
        variance_from_log_volatility(f, "a")
    with pytest.raises(TypeError, match="y_pred must be an array of numbers"):
        variance_from_log_volatility("a", 0.1)
    np.testing.assert_array_equal(variance_from_log_volatility(list(f), s2["f"]), found)


def test_qlike_is_zero_for_perfect_forecasts_alone():
    v, f = variances()
    assert QLIKE()(v, v) == 0.0
    assert (QLIKE(multioutput="raw_values", by_index=True)(v, f) > 0.0).to_numpy().all()
    # log(1 + 1e-7) is 1e-7 - 5e-15: the formula as written would lose all digits
    assert QLIKE()(v * (1.0 + 1e-7), v) == pytest.approx(5e-15, rel=1e-6, abs=0.0)


@pytest.mark.parametrize("unit", [1e-8, 252.0, 1e8])
def test_qlike_has_no_unit(unit):
    v, f = variances()
    assert QLIKE()(unit * v, unit * f) == pytest.approx(QLIKE()(v, f), rel=1e-10)
    shift = np.log(unit)
    logs = QLIKE("log_volatility")(np.log(v) + shift, np.log(f) + shift)
    assert logs == pytest.approx(QLIKE("log_volatility")(np.log(v), np.log(f)), rel=1e-10)


def test_qlike_of_several_series_and_times():
    v, f = variances()
    losses = qlike(v, f)
    weights = np.linspace(0.5, 1.5, len(v))
    np.testing.assert_allclose(QLIKE(multioutput="raw_values")(v, f), losses.mean())
    assert QLIKE(multioutput=[0.2, 0.8])(v, f) == pytest.approx(losses.mean() @ [0.2, 0.8])
    by_time = QLIKE(by_index=True)(v, f)
    pd.testing.assert_series_equal(by_time, losses.mean(axis=1))
    weighted = losses.mul(weights, axis=0).to_numpy().mean()
    assert QLIKE()(v, f, sample_weight=weights) == pytest.approx(weighted)


def test_qlike_of_a_hopeless_forecast_is_infinite():
    assert QLIKE("log_volatility")(np.array([0.0, 1.0]), np.array([-500.0, 1.0])) == np.inf


# sktime announces a change of its forecasters
@pytest.mark.filterwarnings("ignore:(?s).*remember_data:FutureWarning")
def test_qlike_scores_evaluations_and_grid_searches():
    y = load_sp500_volatility()[0][:72]
    cv = ExpandingWindowSplitter(fh=[1], initial_window=60, step_length=4)
    metric = QLIKE("log_volatility")
    table = evaluate(NaiveForecaster(), cv, y, scoring=metric, return_data=True)
    pairs = zip(table["y_test"], table["y_pred"], strict=True)
    expected = [qlike(np.exp(2 * true.iloc[0]), np.exp(2 * pred.iloc[0])) for true, pred in pairs]
    np.testing.assert_allclose(table["test_QLIKE"], expected)
    grid = {"strategy": ["last", "mean"]}
    search = ForecastingGridSearchCV(NaiveForecaster(), cv, grid, scoring=metric, backend=None)
    search.fit(y)
    means = search.cv_results_["mean_test_QLIKE"]
    assert search.best_score_ == means.min() and means[0] == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(
    ("metric", "true", "pred", "message"),
    [
        (QLIKE(), [1.0, 0.0], [1.0, 1.0], "y_true must be above 0 with scale='variance', found 0"),
        (QLIKE("volatility"), [1.0, 1.0], [1.0, -2.0], "y_pred must be above 0 with scale='vol"),
        (QLIKE(), [1.0, np.nan], [1.0, 1.0], "y_true must be finite, found nan in row 1"),
        (QLIKE("log_volatility"), [1.0, 1.0], [np.inf, 1.0], "y_pred must be finite, found inf"),
        (QLIKE("log"), [1.0, 1.0], [1.0, 1.0], "scale must be one of"),
        (QLIKE(residual_variance=0.1), [1.0, 1.0], [1.0, 1.0], "residual_variance must be 0 unl"),
        (QLIKE("log_volatility", -1.0), [1.0, 1.0], [1.0, 1.0], "residual_variance must be 0 or"),
    ],
)
def test_qlike_errors_name_the_argument(metric, true, pred, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        metric(np.array(true), np.array(pred))


# the checks themselves warn: of numpy and pandas, and of what sktime will change
@pytest.mark.filterwarnings("default")
@parametrize_with_checks([QLIKE])
def test_sktime_metric_checks(obj, test_name):
    check_estimator(obj, tests_to_run=test_name, raise_exceptions=True, verbose=False)


# --- out-of-sample R2 ---


def test_out_of_sample_r2():
    y, forecast, benchmark = np.random.default_rng(0).normal(size=(3, 40))
    expected = 1.0 - np.mean((y - forecast) ** 2) / np.mean((y - benchmark) ** 2)
    assert out_of_sample_r2(y, forecast, benchmark) == pytest.approx(expected)
    assert out_of_sample_r2(y, benchmark, benchmark) == 0.0
    assert out_of_sample_r2(y, y, benchmark) == 1.0
    with pytest.raises(ValueError, match="y_benchmark must differ from y_true"):
        out_of_sample_r2(y, forecast, y)


# --- Diebold-Mariano ---


def reference_diebold_mariano(difference, h):
    """The formulas term by term."""
    T, mean = len(difference), np.mean(difference)
    gamma = [
        sum((difference[t] - mean) * (difference[t - k] - mean) for t in range(k, T)) / T
        for k in range(h)
    ]
    long_run = gamma[0] + 2 * sum(gamma[1:])
    if long_run <= 0:
        long_run = gamma[0] + 2 * sum((1 - k / h) * gamma[k] for k in range(1, h))
    factor = np.sqrt((T + 1 - 2 * h + h * (h - 1) / T) / T)
    return factor * mean / np.sqrt(long_run / T)


@pytest.mark.parametrize("h", [1, 2, 5, 12])
@pytest.mark.parametrize("seed", range(5))
def test_diebold_mariano_is_the_reference(h, seed):
    loss, benchmark = np.random.default_rng(seed).gamma(1.0, 1.0, (2, 50))
    expected = reference_diebold_mariano(loss - benchmark, h)
    test = diebold_mariano(loss, benchmark, h)
    assert test.statistic == pytest.approx(expected)
    assert test.p_value == pytest.approx(2.0 * stats.t.sf(abs(expected), 49))
    assert test.mean_difference == pytest.approx(np.mean(loss) - np.mean(benchmark))


def test_diebold_mariano_is_a_t_test_one_step_ahead():
    loss, benchmark = np.random.default_rng(0).gamma(1.0, 1.0, (2, 30))
    for alternative in ("two-sided", "less", "greater"):
        expected = stats.ttest_rel(loss, benchmark, alternative=alternative)
        test = diebold_mariano(loss, benchmark, alternative=alternative)
        assert test[:2] == pytest.approx((expected.statistic, expected.pvalue))


def test_diebold_mariano_falls_back_to_the_bartlett_kernel():
    rng = np.random.default_rng(0)
    difference = 0.1 + np.resize([1.0, -1.0], 40) + 0.01 * rng.normal(size=40)
    centred = difference - difference.mean()
    assert centred @ centred + 2.0 * centred[1:] @ centred[:-1] < 0.0
    test = diebold_mariano(difference, np.zeros(40), h=2)
    assert test.statistic == pytest.approx(reference_diebold_mariano(difference, 2))
    assert 0.0 < test.p_value < 1.0


@pytest.mark.parametrize("h", [1, 4])
def test_diebold_mariano_rejects_a_true_hypothesis_at_its_level(h):
    rng = np.random.default_rng(0)
    shocks = rng.normal(size=(800, 2, 120 + h - 1))
    # errors h steps ahead are a moving average of h shocks
    errors = sum(shocks[..., k : k + 120] for k in range(h))
    p_values = [diebold_mariano(a, b, h=h).p_value for a, b in errors**2]
    # 5 % with a standard error of 0.8 %; several steps ahead the test is a little oversized
    assert 0.03 <= np.mean(np.array(p_values) < 0.05) <= (0.07 if h == 1 else 0.09)


def test_diebold_mariano_signs():
    benchmark = np.random.default_rng(0).gamma(1.0, 1.0, 60)
    better = 0.5 * benchmark
    test = diebold_mariano(better, benchmark)
    assert test.statistic < 0.0 and test.mean_difference < 0.0 and test.p_value < 1e-6
    assert diebold_mariano(better, benchmark, alternative="less").p_value < 1e-6
    assert diebold_mariano(better, benchmark, alternative="greater").p_value > 1.0 - 1e-6
    opposite = diebold_mariano(benchmark, better)
    assert opposite.statistic == -test.statistic and opposite.p_value == test.p_value


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_the_same_losses_are_no_evidence(alternative):
    loss = np.random.default_rng(0).gamma(1.0, 1.0, 60)
    rounded = loss * (1.0 + 1e-15 * np.random.default_rng(1).normal(size=60))
    assert diebold_mariano(loss, loss, alternative=alternative) == (0.0, 1.0, 0.0)
    assert diebold_mariano(loss, rounded, alternative=alternative) == (0.0, 1.0, 0.0)
    assert diebold_mariano(np.zeros(9), np.zeros(9), 3, alternative) == (0.0, 1.0, 0.0)


def test_diebold_mariano_errors_name_the_argument():
    loss, benchmark = np.random.default_rng(0).gamma(1.0, 1.0, (2, 10))
    with pytest.raises(ValueError, match="h must be below the number of losses, found 10 with 10"):
        diebold_mariano(loss, benchmark, h=10)
    with pytest.raises(ValueError, match="h must be at least 1"):
        diebold_mariano(loss, benchmark, h=0)
    with pytest.raises(TypeError, match="h must be an integer"):
        diebold_mariano(loss, benchmark, h=1.5)
    with pytest.raises(ValueError, match="loss must have no masked values, found 1"):
        diebold_mariano(np.ma.masked_array(loss, np.arange(10) == 3), benchmark)
    with pytest.raises(TypeError, match="loss_benchmark must be an array of numbers"):
        diebold_mariano(loss, benchmark.astype(str))
    with pytest.raises(ValueError, match="alternative must be one of"):
        diebold_mariano(loss, benchmark, alternative="better")
    with pytest.raises(ValueError, match="loss and loss_benchmark must not differ by a constant"):
        diebold_mariano(loss + 0.3, loss)


# --- alignment, for all functions of series ---


def test_series_are_aligned_by_their_labels():
    v, f = (frame["a"] for frame in variances())
    expected = out_of_sample_r2(v, f, v.shift(1, fill_value=0.1))
    shuffled = f.sample(frac=1.0, random_state=0)
    assert out_of_sample_r2(v, shuffled, v.shift(1, fill_value=0.1)) == pytest.approx(expected)
    assert mincer_zarnowitz(v, shuffled) == pytest.approx(mincer_zarnowitz(v, f))
    assert diebold_mariano(v, shuffled, h=3) == pytest.approx(diebold_mariano(v, f, h=3))
    # without labels the order counts; a data frame of one column is a series
    assert diebold_mariano(v.to_numpy(), f.to_frame(), h=3) == diebold_mariano(v, f, h=3)
    assert diebold_mariano(list(v), f, h=3) == diebold_mariano(v, f, h=3)


@pytest.mark.parametrize(
    ("benchmark", "message"),
    [
        (lambda v: v[1:], "loss_benchmark must have the same 60 labels .* found 59 labels, 59"),
        (lambda v: v.shift(1, freq="M"), "found 60 labels, 59 of them the same"),
        (lambda v: v.to_timestamp(), "found 60 labels, 0 of them the same"),
        (lambda v: v.reset_index(drop=True), "found 60 labels, 0 of them the same"),
        (lambda v: v.iloc[[0, *range(59)]], "found 60 labels, 60 of them the same"),
        (lambda v: v.to_numpy()[1:], "loss_benchmark must be as long as loss, found 59 and 60"),
        (lambda v: v.where(v.index != INDEX[3]), "loss_benchmark must be finite, found nan in row"),
        (lambda v: pd.concat([v, v], axis=1), "loss_benchmark must be one series, found 2 columns"),
        (lambda v: v.to_numpy()[:, None, None], "loss_benchmark must have two dimensions"),
    ],
)
def test_series_that_do_not_match_are_refused(benchmark, message):
    v, f = (frame["a"] for frame in variances())
    with pytest.raises(ValueError, match=message):
        diebold_mariano(v, benchmark(f))


# --- Mincer-Zarnowitz ---


@pytest.mark.parametrize("n_lags", [None, 0, 5])
def test_mincer_zarnowitz_is_the_regression_of_statsmodels(n_lags):
    v, f = (frame["a"] for frame in variances())
    lags = 3 if n_lags is None else n_lags  # 4 (60/100)^(2/9) = 3.57
    fit = sm.OLS(v, sm.add_constant(f)).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True}, use_t=True
    )
    wald = fit.f_test("const = 0, a = 1")
    regression = mincer_zarnowitz(v, f, n_lags)
    assert (regression.intercept, regression.slope) == pytest.approx(tuple(fit.params))
    assert (regression.intercept_error, regression.slope_error) == pytest.approx(tuple(fit.bse))
    assert regression.r2 == pytest.approx(np.corrcoef(v, f)[0, 1] ** 2)
    assert (regression.statistic, regression.p_value) == pytest.approx((wald.fvalue, wald.pvalue))


def test_mincer_zarnowitz_recovers_a_bias():
    rng = np.random.default_rng(0)
    forecast = rng.normal(size=2000)
    noise = 0.3 * rng.normal(size=2000)
    biased = mincer_zarnowitz(0.5 + 0.8 * forecast + noise, forecast)
    assert abs(biased.intercept - 0.5) < 3.0 * biased.intercept_error < 0.03
    assert abs(biased.slope - 0.8) < 3.0 * biased.slope_error < 0.03
    assert biased.p_value < 1e-6
    assert mincer_zarnowitz(forecast + noise, forecast).p_value > 0.05


def test_mincer_zarnowitz_errors_name_the_argument():
    y, forecast = np.random.default_rng(0).normal(size=(2, 10))
    with pytest.raises(ValueError, match="y_true must have at least 3 values, found 2"):
        mincer_zarnowitz(y[:2], forecast[:2])
    with pytest.raises(ValueError, match="n_lags must be below the number of values, found 10"):
        mincer_zarnowitz(y, forecast, n_lags=10)
    with pytest.raises(ValueError, match="n_lags must be at least 0"):
        mincer_zarnowitz(y, forecast, n_lags=-1)
    with pytest.raises(ValueError, match="y_pred must vary, found 0.1 at every time"):
        mincer_zarnowitz(y, np.full(10, 0.1))
    with pytest.raises(ValueError, match="y_true must not be an exact linear function of y_pred"):
        mincer_zarnowitz(2.0 - 3.0 * forecast, forecast)


# --- the model confidence set ---


def model_losses(seed=0, T=200, means=(0.0, 0.05, 0.1, 1.0)):
    shocks = np.random.default_rng(seed).normal(size=(T, len(means)))
    return pd.DataFrame((shocks + np.sqrt(means)) ** 2, columns=list("wxyz")[: len(means)])


def test_the_set_is_that_of_arch_without_ties():
    losses = model_losses()
    reference = MCS(losses, 0.1, 500, seed=3)
    reference.compute()
    table = model_confidence_set(losses, random_state=3, reps=500)
    np.testing.assert_array_equal(table["p_value"], reference.pvalues["Pvalue"][list("wxyz")])
    assert sorted(table.index[table["included"]]) == reference.included
    assert table.index.equals(losses.columns) and list(table) == ["p_value", "included"]
    pd.testing.assert_frame_equal(table, model_confidence_set(losses, 0.1, 3, 500))
    by_number = model_confidence_set(losses.to_numpy(), random_state=3, reps=500)
    np.testing.assert_array_equal(by_number, table)


def test_a_clearly_best_model_stands_alone():
    table = model_confidence_set(model_losses(means=(4.0, 0.0, 4.0, 9.0)), random_state=0)
    assert list(table["included"]) == [False, True, False, False]
    assert table["p_value"]["x"] == 1.0 and table["p_value"].drop("x").max() < 0.01


def test_ties_share_the_outcome_and_change_no_other():
    losses = model_losses()
    alone = model_confidence_set(losses, random_state=0)
    rounded = losses["z"] * (1.0 + 1e-15)
    tied = losses.assign(w2=losses["w"], z2=rounded)[["z2", "w", "x", "w2", "y", "z"]]
    table = model_confidence_set(tied, random_state=0)
    assert list(table.index) == ["z2", "w", "x", "w2", "y", "z"]
    assert table["p_value"]["w2"] == table["p_value"]["w"]
    assert table["p_value"]["z2"] == table["p_value"]["z"]
    assert table["included"]["w2"] and not table["included"]["z2"]
    # the bootstrap samples are the same, so the column order of the others alone could matter
    pd.testing.assert_frame_equal(table.loc[list("wxyz")], alone)


def test_a_far_worse_model_changes_no_other():
    losses = model_losses()
    table = model_confidence_set(losses.assign(v=1e9 * losses["z"] ** 2), random_state=0)
    assert table["p_value"]["v"] < 0.01
    pd.testing.assert_frame_equal(table.drop("v"), model_confidence_set(losses, random_state=0))


def test_all_tied_or_a_single_model_is_the_set():
    losses = model_losses()[["x"]]
    for table in (losses, losses.assign(x2=losses["x"], x3=losses["x"])):
        outcome = model_confidence_set(table)
        assert (outcome["p_value"] == 1.0).all() and outcome["included"].all()


@pytest.mark.parametrize("unit", [2.0**-20, 1.0, 2.0**20])
def test_equal_means_of_different_losses_are_no_evidence(unit):
    a = np.arange(40.0)
    losses = unit * np.column_stack([a, a[::-1], np.roll(a, 20)])
    assert len(set(losses.mean(axis=0))) == 1
    outcome = model_confidence_set(losses, random_state=0, reps=200)
    assert outcome["included"].all() and outcome["p_value"].min() > 0.9


@pytest.mark.parametrize(
    ("losses", "arguments", "message"),
    [
        (model_losses()[:1], {}, "losses must have at least two rows, found 1"),
        (model_losses().replace(model_losses().iloc[2, 1], np.nan), {}, "losses must be finite"),
        (model_losses()["x"], {}, "losses must have two dimensions"),
        (model_losses().set_axis(list("aabc"), axis=1), {}, "losses must have columns of differ"),
        (model_losses().eval("v = w + 1"), {}, "losses of 'w' and 'v' must not differ by a const"),
        (model_losses().eval("v = 1e15 * w"), {}, "losses must be of comparable size, found mean"),
        (np.ma.masked_less([[1.0], [0.0]], 0.1), {}, "losses must have no masked values"),
        (model_losses(), {"size": 0.0}, "size must be between 0 and 1, found 0.0"),
        (model_losses(), {"size": 10}, "size must be between 0 and 1, found 10"),
        (model_losses(), {"reps": 0}, "reps must be at least 1"),
        (model_losses(), {"block_size": 0}, "block_size must be at least 1"),
        (model_losses(), {"block_size": 201}, "block_size must be at most the number of rows"),
    ],
)
def test_model_confidence_set_errors_name_the_argument(losses, arguments, message):
    with pytest.raises(ValueError, match=message):
        model_confidence_set(losses, **arguments)


# --- optional packages ---


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("arch.bootstrap", lambda: model_confidence_set(model_losses())),
        (
            "statsmodels.regression.linear_model",
            lambda: mincer_zarnowitz([1.0, 2.0, 4.0], [1.0, 2.0, 3.0]),
        ),
    ],
)
def test_a_missing_package_says_what_to_install(monkeypatch, module, call):
    monkeypatch.setitem(sys.modules, module, None)
    package = module.split(".")[0]
    with pytest.raises(ImportError, match=rf"{package} must be installed.*sktime-alm\[evaluation"):
        call()


@pytest.mark.parametrize("unit", [1e-170, 1e170])
def test_tests_have_no_unit(unit):
    a, b, c = np.random.default_rng(0).normal(size=(3, 40))
    assert out_of_sample_r2(unit * a, unit * b, unit * c) == pytest.approx(
        out_of_sample_r2(a, b, c)
    )
    one, other = diebold_mariano(a, b), diebold_mariano(unit * a, unit * b)
    assert other[:2] == pytest.approx(one[:2])
    assert other.mean_difference == pytest.approx(unit * one.mean_difference)
    regression, scaled = mincer_zarnowitz(a, a + b), mincer_zarnowitz(unit * a, unit * (a + b))
    assert scaled.intercept_error == pytest.approx(unit * regression.intercept_error)
    assert (scaled.slope, *scaled[4:]) == pytest.approx((regression.slope, *regression[4:]))
