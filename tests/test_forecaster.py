"""ALMElmanForecaster: values against hand-rolled recursions, labels, updates, bad input."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler
from sktime.forecasting.base import ForecastingHorizon
from sktime.forecasting.compose import ForecastingPipeline, TransformedTargetForecaster
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.performance_metrics.forecasting import MeanSquaredError
from sktime.split import ExpandingWindowSplitter, SlidingWindowSplitter
from sktime.transformations.impute import Imputer
from sktime.transformations.series.adapt import TabularToSeriesAdaptor

from sktime_alm import ALMElmanForecaster
from sktime_alm.datasets import load_sp500_volatility
from sktime_alm.scalers import Standardizer, change_units
from sktime_alm.solver import (
    ALMSettings,
    ElmanParameters,
    ElmanProblem,
    Regularization,
    ReLU,
    Status,
    solve,
)
from sktime_alm.solver.initialization import initialize
from sktime_alm.solver.network import rollout
from tests.conftest import DESCENT, record_training, with_network

# the network alone, with a given penalty
FAST = {
    "hidden_size": 3,
    "skip_alpha": np.inf,
    "alpha": 1.0,
    "max_iter": 4,
    "random_state": 0,
    "solver_options": DESCENT,
}
PAPER = ALMSettings()


def make_data(T=40, m=1, n=2, seed=0):
    rng = np.random.default_rng(seed)
    index = pd.period_range("2000-01", periods=T, freq="M")
    X = pd.DataFrame(3.0 + rng.normal(size=(T, n)), index, [f"x{i}" for i in range(n)])
    noise = rng.normal(size=(T, m)).cumsum(axis=0) * 0.3
    y = pd.DataFrame(10.0 + noise, index, [f"y{i}" for i in range(m)])
    y += X.to_numpy()[:, :1]
    return y, X


Y, X = make_data()
Y2, _ = make_data(m=2)


def by_hand(forecaster, y, X, n_fit, n_steps):
    """Fitted values of rows lags..n_fit-1 and forecasts of the next rows, one step at a time."""
    lags, p = forecaster.lags, forecaster.parameters_
    sigma = {"relu": lambda u: np.maximum(u, 0.0)}[forecaster.activation]
    y, X = y.to_numpy(), X.to_numpy()
    y_mean, y_std = y[:n_fit].mean(axis=0), y[:n_fit].std(axis=0)
    X_mean, X_std = X[:n_fit].mean(axis=0), X[:n_fit].std(axis=0)
    z = [(row - y_mean) / y_std for row in y[:n_fit]]
    h = np.zeros(forecaster.hidden_size)
    outputs = []
    for t in range(lags, n_fit + n_steps):
        past = [z[t - lag] for lag in range(1, lags + 1)]
        x = np.concatenate([*past, (X[t] - X_mean) / X_std])
        h = sigma(p.W @ h + p.V @ x + p.b)
        output = p.A @ h + p.c
        outputs.append(output * y_std + y_mean)
        if t >= n_fit:
            z.append(output)
    return np.array(outputs)


@pytest.mark.parametrize("lags", [0, 1, 3])
@pytest.mark.parametrize("y", [Y, Y2], ids=["univariate", "multivariate"])
def test_forecasts_and_fitted_values_equal_a_hand_rolled_recursion(y, lags):
    forecaster = ALMElmanForecaster(lags=lags, **FAST).fit(y[:34], X[:34])
    expected = by_hand(forecaster, y, X, 34, 6)
    found = forecaster.predict(fh=np.arange(1, 7), X=X)
    np.testing.assert_allclose(found, expected[-6:], rtol=1e-10)
    assert found.index.equals(y.index[34:]) and found.columns.equals(y.columns)
    in_sample = forecaster.predict(fh=np.arange(lags - 33, 1), X=X)
    np.testing.assert_allclose(in_sample, expected[:-6], rtol=1e-10)


def test_the_first_rows_take_lags_at_the_training_mean():
    forecaster = ALMElmanForecaster(lags=2, **FAST).fit(Y[:34])
    p = forecaster.parameters_
    mean, std = Y[:34].to_numpy().mean(), Y[:34].to_numpy().std()
    h = np.maximum(p.V @ np.zeros(2) + p.b, 0.0)
    first = (p.A @ h + p.c) * std + mean
    np.testing.assert_allclose(forecaster.predict(fh=[-33]), [first], rtol=1e-12)


def test_horizons_with_gaps_and_of_both_kinds_agree_with_the_full_one():
    forecaster = ALMElmanForecaster(**FAST).fit(Y[:34], X[:34])
    full = forecaster.predict(fh=np.arange(-4, 7), X=X)
    found = forecaster.predict(fh=[-3, 2, 5], X=X)
    pd.testing.assert_frame_equal(found, full.loc[found.index])
    absolute = ForecastingHorizon(Y.index[[30, 35, 38]], is_relative=False)
    pd.testing.assert_frame_equal(forecaster.predict(fh=absolute, X=X), found)


def test_X_is_found_by_label_whatever_its_order_and_extra_rows():
    forecaster = ALMElmanForecaster(**FAST).fit(Y[:34], X)
    expected = forecaster.predict(fh=[1, 2, 3], X=X[34:37])
    for other in (X, X[30:], X[["x1", "x0"]]):
        pd.testing.assert_frame_equal(forecaster.predict(fh=[1, 2, 3], X=other), expected)


def test_later_rows_of_X_do_not_matter():
    garbage = X.copy()
    garbage[37:] = 1e6
    one = ALMElmanForecaster(**FAST).fit(Y[:34], X).predict(fh=[1, 3], X=X)
    other = ALMElmanForecaster(**FAST).fit(Y[:34], garbage).predict(fh=[1, 3], X=garbage)
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("lags", [0, 1, 3])
def test_update_without_training_runs_the_state_over_new_rows_only(lags):
    forecaster = ALMElmanForecaster(lags=lags, **FAST).fit(Y[:30], X[:30])
    weights = forecaster.parameters_
    in_pieces = pickle.loads(pickle.dumps(forecaster))
    forecaster.update(Y[30:36], X[30:36], update_params=False)
    in_pieces.update(Y[30:31], X, update_params=False)
    # overlapping windows, as evaluate and update_predict pass them
    in_pieces.update(Y[20:34], X, update_params=False).update(Y[:36], X, update_params=False)
    assert forecaster.parameters_ is weights
    expected = forecaster.predict(fh=[-2, 1, 4], X=X)
    pd.testing.assert_frame_equal(in_pieces.predict(fh=[-2, 1, 4], X=X), expected)

    # the hand-rolled recursion with the scalers of the first 30 rows and actual lags
    p, y, rows = forecaster.parameters_, Y.to_numpy(), X.to_numpy()
    z = (y - y[:30].mean(axis=0)) / y[:30].std(axis=0)
    v = (rows - rows[:30].mean(axis=0)) / rows[:30].std(axis=0)
    h = np.zeros(3)
    for t in range(lags, 37):
        x = np.concatenate([*(z[t - lag] for lag in range(1, lags + 1)), v[t]])
        h = np.maximum(p.W @ h + p.V @ x + p.b, 0.0)
    one_ahead = (p.A @ h + p.c) * y[:30].std(axis=0) + y[:30].mean(axis=0)
    np.testing.assert_allclose(expected.loc[Y.index[36]], one_ahead, rtol=1e-10)


def test_update_with_training_starts_from_the_present_network(monkeypatch):
    options = {**FAST, "lags": 2, "solver_options": None}
    forecaster = ALMElmanForecaster(**options).fit(Y[:30], X[:30])
    frozen = pickle.loads(pickle.dumps(forecaster)).update(Y[30:36], X, update_params=False)
    calls = record_training(monkeypatch)
    forecaster.update(Y[30:36], X[30:36], update_params=True)
    ((inputs, arguments),) = calls
    initial = arguments["initial"]
    # in the units of all 36 rows the start is the network as it was
    outputs = initial.outputs(rollout(initial, ReLU(), inputs)[1])
    values = Y[:36].to_numpy()
    expected = frozen.predict(fh=np.arange(-33, 1), X=X).to_numpy()
    np.testing.assert_allclose(
        outputs * values.std(axis=0) + values.mean(axis=0), expected, rtol=1e-10
    )
    targets = (values - values.mean(axis=0)) / values.std(axis=0)
    shape = inputs.shape[1], 3, targets.shape[1]
    penalties = Regularization.scaled(arguments["alpha"], *shape)
    problem = ElmanProblem(inputs, targets[-len(inputs) :], penalties, starts=arguments["starts"])
    assert forecaster.objective_ == pytest.approx(problem.objective(forecaster.parameters_))
    assert forecaster.objective_ < problem.objective(initial)


def test_units_change_without_changing_the_network():
    rng = np.random.default_rng(0)
    p = initialize(0.5, 3, 4, 2, rng)
    p = ElmanParameters(p.A, p.W, p.V, rng.normal(size=4), rng.normal(size=2))
    raw = rng.normal(5.0, 3.0, (20, 3))
    old_in, new_in, old_out, new_out = (
        Standardizer(rng.normal(size=k), rng.uniform(0.5, 2.0, k)) for k in (3, 3, 2, 2)
    )
    q = change_units(p, (old_in, new_in), (old_out, new_out))
    with_p = p.outputs(rollout(p, ReLU(), old_in.transform(raw))[1])
    with_q = q.outputs(rollout(q, ReLU(), new_in.transform(raw))[1])
    np.testing.assert_allclose(
        old_out.inverse_transform(with_p), new_out.inverse_transform(with_q), rtol=1e-12
    )


def test_update_with_nothing_new_changes_nothing():
    forecaster = ALMElmanForecaster(**FAST).fit(Y[:30], X[:30])
    result = forecaster.result_
    forecaster.update(Y[20:30], X[20:30], update_params=True)
    assert forecaster.result_ is result


def test_prediction_leaves_the_forecaster_as_it_was():
    forecaster = ALMElmanForecaster(**FAST).fit(Y[:34], X[:34])
    forecaster.predict(fh=[1, 2], X=X)
    before = {key: value for key, value in vars(forecaster).items() if key != "_fh"}
    copies = pickle.dumps([before["_fitted"].states, before["_history"].y])
    first = forecaster.predict(fh=[1, 2], X=X)
    second = forecaster.predict(fh=[1, 2], X=X)
    pd.testing.assert_frame_equal(first, second)
    after = vars(forecaster)
    assert all(after[key] is value for key, value in before.items())
    assert pickle.dumps([after["_fitted"].states, after["_history"].y]) == copies


@pytest.mark.parametrize("strategy", ["refit", "update", "no-update_params"])
def test_evaluate_uses_no_value_from_the_future(strategy):
    cv = ExpandingWindowSplitter(initial_window=30, step_length=2, fh=[1, 2])
    options = {
        "scoring": MeanSquaredError(),
        "strategy": strategy,
        "return_data": True,
        "error_score": "raise",
    }
    found = evaluate(ALMElmanForecaster(**FAST), cv, Y, X, **options)
    assert np.isfinite(found["test_MeanSquaredError"]).all()
    # values after the second fold's cutoff must not change the first two folds
    changed_y, changed_X = Y.copy(), X.copy()
    changed_y[34:] += 100.0
    changed_X[34:] += 100.0
    changed = evaluate(ALMElmanForecaster(**FAST), cv, changed_y, changed_X, **options)
    for fold in range(2):
        pd.testing.assert_frame_equal(found["y_pred"][fold], changed["y_pred"][fold])


def test_update_predict_equals_updates_and_predictions_one_by_one():
    forecaster = ALMElmanForecaster(**FAST).fit(Y[:30], X[:30])
    cv = SlidingWindowSplitter(window_length=1, step_length=1, fh=[1], start_with_window=True)
    found = forecaster.update_predict(Y[30:38], cv, X=X, update_params=False)
    expected = []
    for t in range(30, 37):
        forecaster.update(Y[t : t + 1], X[t : t + 1], update_params=False)
        expected.append(forecaster.predict(fh=[1], X=X))
    pd.testing.assert_frame_equal(found, pd.concat(expected)[: len(found)], check_freq=False)


def test_update_predict_single_returns_the_type_of_y():
    y = Y["y0"]
    forecaster = ALMElmanForecaster(**FAST).fit(y[:30], X[:30])
    found = forecaster.update_predict_single(y[25:34], fh=[1, 2], X=X, update_params=False)
    expected = forecaster.predict(fh=[1, 2], X=X)
    pd.testing.assert_series_equal(found, expected)
    assert forecaster.cutoff[0] == Y.index[33]


def test_X_where_fit_had_none_is_refused():
    forecaster = ALMElmanForecaster(**FAST).fit(Y[:34])
    with pytest.raises(ValueError, match="X was passed to predict, but the forecaster was fitted"):
        forecaster.predict(fh=[1], X=X)


def test_update_predict_over_rows_already_seen_forecasts_from_each_cutoff():
    forecaster = ALMElmanForecaster(**FAST).fit(Y, X)
    cv = ExpandingWindowSplitter(initial_window=10, step_length=5, fh=[1])
    found = forecaster.update_predict(Y, cv, X=X, update_params=False)
    # one step ahead with the actual past: the fitted values
    fitted = forecaster.predict(fh=ForecastingHorizon(found.index, is_relative=False), X=X)
    pd.testing.assert_frame_equal(found, fitted, check_freq=False)


# of sktime's own compositions: the default of a setting will change
@pytest.mark.filterwarnings("ignore:(?s).*remember_data:FutureWarning")
def test_sktime_compositions():
    y = Y["y0"]
    pipeline = ForecastingPipeline(
        [("scale", TabularToSeriesAdaptor(StandardScaler())), ("net", ALMElmanForecaster(**FAST))]
    )
    assert pipeline.fit(y[:34], X[:34]).predict(fh=[1, 2], X=X[34:36]).notna().all()
    detrended = TransformedTargetForecaster(
        [("fill", Imputer()), ("net", ALMElmanForecaster(**FAST))]
    )
    assert detrended.fit(y[:34]).predict(fh=[1, 2]).notna().all()
    search = ForecastingGridSearchCV(
        ALMElmanForecaster(**FAST),
        ExpandingWindowSplitter(initial_window=30, step_length=5, fh=[1]),
        {"alpha": [0.1, 10.0]},
        backend=None,
    )
    search.fit(y, X)
    assert search.best_params_["alpha"] in (0.1, 10.0)


def test_hierarchical_data_are_fitted_one_by_one():
    panel = pd.concat({"a": Y["y0"], "b": 2.0 * Y["y0"]}, names=["series", "time"])
    panel = panel.to_frame("y")
    found = ALMElmanForecaster(**FAST).fit(panel).predict(fh=[1, 2])
    single = ALMElmanForecaster(**FAST).fit(Y["y0"]).predict(fh=[1, 2])
    np.testing.assert_allclose(found.loc["a", "y"], single, rtol=1e-12)
    # standardisation makes the second series the same problem, a power of two without rounding
    np.testing.assert_allclose(found.loc["b", "y"], 2.0 * single, rtol=1e-12)


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(40),
        pd.Index(np.arange(5, 45)),
        pd.date_range("2000-01-31", periods=40, freq="ME"),
        pd.bdate_range("2000-01-03", periods=40),
        pd.period_range("2000Q1", periods=40, freq="Q"),
        pd.DatetimeIndex(list(pd.date_range("2000-01-01", periods=40, freq="h"))),
    ],
    ids=["range", "int", "month end", "business day", "quarter", "inferred hours"],
)
def test_index_types(index):
    y, exogenous = Y.set_axis(index), X.set_axis(index)
    expected = ALMElmanForecaster(**FAST).fit(Y[:30], X[:30])
    found = ALMElmanForecaster(**FAST).fit(y[:30], exogenous[:30])
    for step in (expected, found):
        labels = (Y, X) if step is expected else (y, exogenous)
        step.update(labels[0][30:34], labels[1][30:34], update_params=False)
    forecasts = found.predict(fh=[-1, 1, 3], X=exogenous)
    np.testing.assert_allclose(forecasts, expected.predict(fh=[-1, 1, 3], X=X), rtol=1e-12)
    assert list(forecasts.index) == [index[32], index[34], index[36]]


def test_seeds_are_honoured_zero_included():
    first, second = (ALMElmanForecaster(**FAST).fit(Y).parameters_ for _ in range(2))
    other = ALMElmanForecaster(**{**FAST, "random_state": 1}).fit(Y).parameters_
    np.testing.assert_array_equal(first.W, second.W)
    assert not np.array_equal(first.W, other.W)


def test_fitted_attributes_and_solver_options():
    paper = ALMSettings(tolerance=0.0, max_inner_iter=3, inner_tolerance=1e-300)
    forecaster = ALMElmanForecaster(**{**FAST, "solver_options": paper}, n_init=2).fit(Y)
    assert forecaster.n_iter_ == forecaster.result_.n_iter == 4
    assert forecaster.result_.n_sweeps == 12
    assert len(forecaster.result_.starts) == 2
    assert forecaster.objective_ == forecaster.result_.objective
    assert forecaster.parameters_.hidden_size == 3


def test_silence_by_default_and_a_bar_on_request(capsys):
    ALMElmanForecaster(**FAST).fit(Y)
    assert capsys.readouterr() == ("", "")
    ALMElmanForecaster(**{**FAST, "solver_options": PAPER}, n_init=2, verbose=1).fit(Y)
    printed = capsys.readouterr()
    assert printed.out == "" and "8it" in printed.err and "objective=" in printed.err


def test_constant_and_huge_columns_do_not_divide_by_zero_or_overflow():
    constant = ALMElmanForecaster(**FAST).fit(0.0 * Y + 7.0, 0.0 * X + 1.1)
    forecasts = constant.predict(fh=[1, 9], X=(0.0 * X + 1.1).shift(40, freq="M"))
    np.testing.assert_allclose(forecasts, 7.0, rtol=1e-6)
    huge = ALMElmanForecaster(**FAST).fit(1e300 * Y, 1e-300 * X).predict(fh=[0])
    usual = ALMElmanForecaster(**FAST).fit(Y, X).predict(fh=[0])
    np.testing.assert_allclose(huge / 1e300, usual, rtol=1e-6)


Y_INF = Y.copy()
Y_INF.iloc[3] = np.inf


@pytest.mark.filterwarnings("ignore:Time steps are missing in y:UserWarning")
@pytest.mark.parametrize(
    ("arguments", "y", "exogenous", "error", "message"),
    [
        ({"hidden_size": 0}, Y, X, ValueError, "hidden_size must be at least 1, found 0"),
        ({"hidden_size": "8"}, Y, X, TypeError, "hidden_size must be an integer"),
        ({"activation": "gelu"}, Y, X, ValueError, "activation must be one of"),
        ({"lags": -1}, Y, X, ValueError, "lags must be at least 0"),
        ({"lags": 1.5}, Y, X, TypeError, "lags must be an integer"),
        ({"lags": np.array(3)}, Y, X, TypeError, "lags must be an integer"),
        ({"lags": 0}, Y, None, ValueError, "lags=0 leaves the network without inputs"),
        ({"alpha": -0.1}, Y, X, ValueError, "alpha must be 0 or more, found -0.1"),
        ({"max_iter": 0}, Y, X, ValueError, "max_iter must be at least 1"),
        ({"solver_options": {"tolerance": -1.0}}, Y, X, ValueError, "tolerance must be 0 or more"),
        ({"solver_options": 3}, Y, X, TypeError, "solver_options must be settings"),
        ({"solver_options": {"max_recurrence": -1.0}}, Y, X, ValueError, "max_recurrence must be"),
        ({"n_init": 0}, Y, X, ValueError, "n_init must be at least 1"),
        ({"verbose": "loud"}, Y, X, TypeError, "verbose must be an integer"),
        ({"callback": 3}, Y, X, TypeError, "callback must be callable"),
        ({"random_state": -1}, Y, X, ValueError, "random_state must be at least 0"),
        ({"solver_options": {"mu": 1.0}}, Y, X, ValueError, r"solver_options.*found \['mu'\]"),
        ({}, Y_INF, X, ValueError, "y must be finite, found inf in column 'y0' at 2000-04"),
        ({}, Y * np.nan, X, ValueError, "y must be observed in some row"),
        ({"alpha": "best"}, Y, X, ValueError, r"alpha must be one of \['auto'\], found 'best'"),
        ({"alpha": np.inf}, Y, X, ValueError, "alpha must be finite with skip_alpha=inf"),
        ({"alpha": np.float32(np.inf)}, Y, X, ValueError, "alpha must be finite with skip_alpha"),
        ({"skip_alpha": -1.0}, Y, X, ValueError, "skip_alpha must be 0 or more"),
        ({"loss": "absolute"}, Y, X, ValueError, "loss must be one of"),
        ({"calendar_inputs": 2}, Y, X, TypeError, "calendar_inputs must be True, False or None"),
        ({"calendar_inputs": True}, Y, X, ValueError, "calendar_inputs must be False unless"),
        ({"half_lives": 3}, Y, X, TypeError, "half_lives must be a sequence of numbers"),
        ({"half_lives": np.array(3)}, Y, X, TypeError, "half_lives must be a sequence of numbers"),
        ({"half_lives": b"a"}, Y, X, TypeError, "half_lives must be a sequence of numbers"),
        ({"half_lives": {"y": {3: 1}}}, Y, X, TypeError, "half_lives must be a sequence of numb"),
        ({"lags": [1, [2]]}, Y, X, TypeError, r"each of lags must be an integer, found \[2\]"),
        ({"max_iter": 10**30}, Y, X, ValueError, "max_iter must be at most"),
        ({"interval_method": np.ones(2)}, Y, X, ValueError, "interval_method must be one of"),
        ({}, Y.to_numpy().astype(str), None, TypeError, "y must hold numbers, found others in the"),
        ({"half_lives": [0]}, Y, X, ValueError, "half_lives must be above 0"),
        ({"half_lives": [2, 2]}, Y, X, ValueError, "half_lives must not hold a number twice"),
        ({"half_lives": "har"}, Y, X, ValueError, r"half_lives must be one of \['ladder'\]"),
        ({"window_means": {"z": [3]}}, Y, X, ValueError, "window_means must name columns of X"),
        ({}, Y, X.where(X.max().max() > X, np.inf), ValueError, "X must be finite, found inf"),
        ({}, Y[:1], X[:1], ValueError, r"y must have at least lags \+ 2 = 3 rows, found 1"),
        ({"lags": 12}, Y[:13], None, ValueError, "at least lags . 2 = 14 rows, found 13"),
        ({}, Y[::2], None, ValueError, "at least lags . 2 = 3 rows in one piece, found 20"),
    ],
)
def test_bad_input_to_fit_is_refused_by_name(arguments, y, exogenous, error, message):
    with pytest.raises(error, match=message):
        ALMElmanForecaster(**{**FAST, **arguments}).fit(y, exogenous)


_DAYS = pd.date_range("2000-01-03", periods=40, freq="D")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (_DAYS + pd.to_timedelta(np.arange(40) % 7, unit="h"), "found irregular time stamps.*Use"),
        (pd.DatetimeIndex(["2000-01-03", "2000-01-04"]), "found 2 time stamps, too few.*Use"),
        (pd.RangeIndex(0, 80, 2), r"counts by 1.*found one that counts by 2.*reset_index"),
        (pd.Index([0, *range(39)]), "without repetitions, found 0 twice"),
        (_DAYS[:39].insert(0, _DAYS[0]), "without repetitions, found 2000-01-03 00:00:00 twice"),
    ],
)
def test_an_index_without_a_common_step_is_refused_with_a_way_out(index, message):
    with pytest.raises(ValueError, match=message):
        ALMElmanForecaster(**FAST).fit(Y[: len(index)].set_axis(index))


@pytest.mark.filterwarnings("ignore:X passed to predict must have a row:UserWarning")
@pytest.mark.parametrize(
    ("exogenous", "message"),
    [
        (None, r"X must be passed to predict.*x0.*2002-11, 2002-12, 2003-01, 2003-02"),
        (X[36:], r"missing 2002-11, 2002-12, found rows from 2003-01 to 2003-04.*exog_lags.*cv_X"),
        # arrays are numbered from 0 by sktime
        (X[34:].reset_index(drop=True), "X must be indexed by periods.*found integers"),
        (X[:34], "missing 2002-11, 2002-12, 2003-01, 2003-02"),
        (X.iloc[[35, 37]], "missing 2002-11, 2003-01"),
        (X[["x0"]], r"X must have the columns of fit.*missing \['x1'\]"),
        (X.rename(columns={"x1": "z"}), r"missing \['x1'\], unknown \['z'\]"),
        (X.assign(z=0.0), r"missing \[\], unknown \['z'\]"),
        (X.replace(X.iloc[35, 0], np.inf), "X must be finite, found inf in column 'x0' at 2002-12"),
    ],
    ids=["none", "late", "numbered", "past", "gapped", "fewer", "renamed", "more", "infinite"],
)
def test_bad_X_at_prediction_is_refused_by_name(exogenous, message):
    forecaster = ALMElmanForecaster(**FAST).fit(Y[:34], X[:34])
    with pytest.raises(ValueError, match=message):
        forecaster.predict(fh=[2, 4], X=exogenous)


def test_bad_updates_are_refused_by_name_and_leave_the_forecaster_usable():
    forecaster = ALMElmanForecaster(**FAST).fit(Y[:30], X[:30])
    expected = forecaster.predict(fh=[1, 2], X=X)
    with pytest.raises(ValueError, match="X must be passed to update"):
        forecaster.update(Y[30:32], update_params=False)
    with pytest.raises(ValueError, match="y must have the columns of fit"):
        ALMElmanForecaster(**FAST).fit(Y2[:30]).update(Y[30:32], update_params=False)
    pd.testing.assert_frame_equal(forecaster.predict(fh=[1, 2], X=X), expected)
    assert forecaster.cutoff[0] == Y.index[29]


def test_fh_before_the_training_window_is_refused():
    with pytest.raises(ValueError, match="fh must name times of the training window, 2000-01 to"):
        ALMElmanForecaster(**FAST).fit(Y).predict(fh=[-40])


def test_forecasts_that_overflow_raise_instead_of_returning_infinity():
    forecaster = ALMElmanForecaster(**FAST).fit(Y)
    p = forecaster.parameters_
    wild = ElmanParameters(p.A, np.full((3, 3), 1e3), p.V, p.b + 1.0, p.c)
    with_network(forecaster, wild)
    with pytest.raises(ValueError, match="overflow at step .* larger alpha"):
        forecaster.predict(fh=np.arange(1, 300))


def test_the_safeguarded_method_ends_below_the_papers_on_volatility():
    y, X = load_sp500_volatility()
    lagged = X.shift(1).iloc[1:]
    y_train, X_train = y.iloc[1:-1], lagged.iloc[:-1]
    safeguarded, paper = (
        ALMElmanForecaster(
            hidden_size=4, skip_alpha=np.inf, alpha=1.0, solver_options=options, random_state=0
        ).fit(y_train, X_train)
        for options in (None, PAPER)
    )
    assert safeguarded.objective_ < 0.75 * paper.objective_
    assert np.isfinite(safeguarded.predict([1], X=lagged.iloc[-1:]).to_numpy()).all()


def test_bounds_of_forecasts_move_with_the_rows_seen():
    trend = pd.Series(np.arange(460.0))
    forecaster = ALMElmanForecaster(alpha=np.inf, random_state=0).fit(trend[:60])
    forecaster.update(trend[60:], update_params=False)
    np.testing.assert_allclose(forecaster.predict(fh=[1, 2]), [460.0, 461.0], rtol=1e-3)


@pytest.mark.parametrize("holes", [slice(0, 740), slice(300, None)], ids=["leading", "trailing"])
def test_missing_values_at_either_end_leave_penalties_to_choose(holes):
    y = pd.Series(np.sin(np.arange(800.0)))
    y[holes] = np.nan
    forecaster = ALMElmanForecaster(hidden_size=2, max_iter=5, random_state=0).fit(y)
    assert np.isfinite(forecaster.predict(fh=[1, 5])).all()


def test_an_interrupt_while_penalties_are_chosen_ends_the_fit(monkeypatch):
    def interrupted(*arguments, **options):
        return replace(solve(*arguments, **options), status=Status.INTERRUPTED)

    monkeypatch.setattr("sktime_alm.trainer.solve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ALMElmanForecaster(hidden_size=2, random_state=0).fit(Y)


def test_an_update_that_cannot_calibrate_changes_nothing():
    options = {"interval_method": "conformal", "alpha": 1.0, "skip_alpha": 0.1, "random_state": 0}
    y = pd.Series(np.sin(np.arange(60.0)))
    forecaster = ALMElmanForecaster(hidden_size=2, max_iter=5, **options).fit(y)
    expected = forecaster.predict(fh=[1])
    longer = pd.Series(np.nan, index=range(160))
    longer[[60, 159]] = 0.5
    with pytest.raises(ValueError, match="conformal"):
        forecaster.update(longer[60:], update_params=True)
    pd.testing.assert_series_equal(forecaster.predict(fh=[1]), expected)


@pytest.mark.parametrize(
    "arguments",
    [{"solver_options": {"patience": 0}}, {"activation": "gelu"}, {"n_jobs": 0}],
    ids=str,
)
def test_arguments_are_checked_whatever_the_penalties_turn_out_to_be(arguments):
    name = next(iter(arguments.get("solver_options", arguments)))
    with pytest.raises(ValueError, match=name):
        ALMElmanForecaster(alpha=np.inf, **arguments).fit(Y)
