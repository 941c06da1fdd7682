"""Lags, window means and lags of X: values by hand, and which X a forecast reads."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler
from sktime.forecasting.compose import ForecastingPipeline, ForecastX, TransformedTargetForecaster
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.forecasting.naive import NaiveForecaster
from sktime.performance_metrics.forecasting import MeanSquaredError
from sktime.split import ExpandingWindowSplitter, SameLocSplitter, SlidingWindowSplitter
from sktime.transformations.series.adapt import TabularToSeriesAdaptor

from sktime_alm import ALMElmanForecaster
from sktime_alm.solver import ReLU
from sktime_alm.solver.network import rollout
from tests.conftest import record_training
from tests.test_forecaster import FAST, Y2, X, Y

# of sktime's own compositions: the default of a setting will change
pytestmark = pytest.mark.filterwarnings("ignore:(?s).*remember_data:FutureWarning")

GARBAGE = [1e6, np.nan, np.inf]
LAYOUTS = [
    {"lags": [1, 4]},
    {"lags": 0, "window_means": (1, 3, 6)},
    {"lags": 0, "exog_lags": 1},
    {"lags": [3, 1], "window_means": [2], "exog_lags": [0, 2]},
    {"lags": 2, "window_means": (4,), "exog_lags": (3, 2)},
]


def har(exog_lags=1, **arguments):
    return ALMElmanForecaster(
        lags=[2], window_means=(1, 3), exog_lags=exog_lags, **{**FAST, **arguments}
    )


def spoiled(n_clean, value, data=X):
    """X with garbage from a row on."""
    data = data.copy()
    data.iloc[n_clean:] = value
    return data


def as_lags(value, of_int):
    return of_int(value) if isinstance(value, int) else list(value)


def by_hand(forecaster, y, X, n_fit, n_steps, n_seen=None):
    """Outputs for every row from the first full one on; forecasts feed back after ``n_seen``."""
    n_seen = n_seen or n_fit
    p = forecaster.parameters_
    lags = as_lags(forecaster.lags, lambda n: list(range(1, n + 1)))
    windows = list(forecaster.window_means or [])
    exog_lags = as_lags(forecaster.exog_lags or 0, lambda lag: [lag])
    y, X = y.to_numpy(), X.to_numpy()
    y_mean, y_std = y[:n_fit].mean(axis=0), y[:n_fit].std(axis=0)
    v = (X - X[:n_fit].mean(axis=0)) / X[:n_fit].std(axis=0)
    z = [(row - y_mean) / y_std for row in y[:n_seen]]
    h = np.zeros(forecaster.hidden_size)
    outputs = []
    for t in range(max([*lags, *windows, *exog_lags]), n_seen + n_steps):
        past = [z[t - lag] for lag in lags]
        means = [np.mean(z[t - window : t], axis=0) for window in windows]
        x = np.concatenate([*past, *means, *(v[t - lag] for lag in exog_lags)])
        h = np.maximum(p.W @ h + p.V @ x + p.b, 0.0)
        outputs.append(p.A @ h + p.c)
        if t >= n_seen:
            z.append(outputs[-1])
    return np.array(outputs) * y_std + y_mean


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("y", [Y, Y2], ids=["univariate", "multivariate"])
def test_forecasts_and_fitted_values_equal_a_hand_rolled_recursion(y, layout):
    forecaster = ALMElmanForecaster(**layout, **FAST).fit(y[:34], X[:34])
    expected = by_hand(forecaster, y, X, 34, 6)
    fh = np.arange(7 - len(expected), 7)
    found = forecaster.predict(fh=fh, X=X)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    gapped = forecaster.predict(fh=[-3, 2, 5], X=X)
    pd.testing.assert_frame_equal(gapped, found.loc[gapped.index])

    forecaster.update(y[34:36], X[34:36], update_params=False)
    found = forecaster.predict(fh=[1, 2, 3], X=X)
    np.testing.assert_allclose(found, by_hand(forecaster, y, X, 34, 3, 36)[-3:], rtol=1e-9)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_training_sees_the_full_rows_only_and_update_starts_from_the_network(layout, monkeypatch):
    forecaster = ALMElmanForecaster(**layout, **FAST).fit(Y[:30], X[:30])
    frozen = pickle.loads(pickle.dumps(forecaster)).update(Y[30:36], X, update_params=False)
    calls = record_training(monkeypatch)
    forecaster.update(Y[28:36], X, update_params=True)
    ((inputs, arguments),) = calls
    initial = arguments["initial"]
    # in the units of all 36 rows the start is the network as it was
    outputs = initial.outputs(rollout(initial, ReLU(), inputs)[1])
    values = Y[:36].to_numpy()
    expected = frozen.predict(fh=np.arange(1 - len(inputs), 1)).to_numpy()
    np.testing.assert_allclose(
        outputs * values.std(axis=0) + values.mean(axis=0), expected, rtol=1e-9
    )
    assert len(inputs) == len(by_hand(frozen, Y, X, 30, 0, 36))


def test_lags_named_one_by_one_are_those_of_an_integer():
    one = ALMElmanForecaster(lags=3, **FAST).fit(Y[:34], X[:34]).predict(fh=[1, 4], X=X)
    for lags in ([1, 2, 3], (1, 2, 3), np.arange(1, 4), range(1, 4)):
        other = ALMElmanForecaster(lags=lags, exog_lags=[0], **FAST).fit(Y[:34], X[:34])
        pd.testing.assert_frame_equal(one, other.predict(fh=[1, 4], X=X), check_exact=True)


def test_a_lag_of_X_is_that_of_X_shifted():
    shifted = X.shift(1)
    # a regression, which scales do not matter to: that of X sees one row more of X
    options = {"lags": 0, "alpha": np.inf, "skip_alpha": 1e-12}
    inside = ALMElmanForecaster(exog_lags=1, **options).fit(Y[:34], X[:34])
    by_user = ALMElmanForecaster(**options).fit(Y[1:34], shifted[1:34])
    pd.testing.assert_frame_equal(
        inside.predict(fh=[1, 2], X=X), by_user.predict(fh=[1, 2], X=shifted[1:])
    )


@pytest.mark.parametrize("value", GARBAGE)
@pytest.mark.parametrize(
    ("exog_lags", "fh", "n_needed"),
    [
        (None, [1, 3], 3),
        ([0, 2], [1, 3], 3),
        (1, [1], 0),
        (1, [-2, 0], 0),
        (1, [2, 5], 4),
        ([2, 1], [1, 2], 1),
        ([3], [1, 2, 3], 0),
        ([3, 5], [-1, 2, 5], 2),
    ],
)
def test_only_the_X_a_horizon_needs_is_read(exog_lags, fh, n_needed, value):
    expected = har(exog_lags).fit(Y[:34], X[:34]).predict(fh=fh, X=X)
    garbage = spoiled(34 + n_needed, value)
    forecaster = har(exog_lags).fit(Y[:34], garbage if n_needed else X)
    # the past is known: X need not contain it, and what it says of it is not read
    past = spoiled(0, value)[:34]
    for exogenous in (
        garbage,
        garbage[34:],
        X[34 : 34 + max(n_needed, 1)],
        pd.concat([past, garbage[34:]]),
    ):
        found = forecaster.predict(fh=fh, X=exogenous)
        pd.testing.assert_frame_equal(found, expected)
    if n_needed == 0:
        pd.testing.assert_frame_equal(forecaster.predict(fh=fh), expected)
        pd.testing.assert_frame_equal(forecaster.predict(fh=fh, X=X[:34]), expected)
        return
    last = Y.index[34 + n_needed - 1]
    with pytest.raises(ValueError, match=f"X must be finite, found .* in column 'x0' at {last}"):
        forecaster.predict(fh=fh, X=spoiled(34 + n_needed - 1, np.nan))
    with pytest.raises(ValueError, match=f"missing {last}"):
        forecaster.predict(fh=fh, X=X[: 34 + n_needed - 1])
    with pytest.raises(ValueError, match="X must be passed to predict"):
        forecaster.predict(fh=fh)


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(40),
        pd.Index(np.arange(5, 45)),
        pd.date_range("2000-01-31", periods=40, freq="ME"),
        pd.DatetimeIndex(list(pd.date_range("2000-01-01", periods=40, freq="h"))),
    ],
    ids=["range", "int", "month end", "inferred hours"],
)
def test_index_types(index):
    expected = har().fit(Y[:34], X[:34]).predict(fh=[-1, 1, 3], X=X)
    y, exogenous = Y.set_axis(index), spoiled(36, np.nan).set_axis(index)
    forecaster = har().fit(y[:34], exogenous)
    np.testing.assert_allclose(forecaster.predict(fh=[-1, 1, 3], X=exogenous), expected)
    np.testing.assert_allclose(forecaster.predict(fh=[1], X=exogenous[38:]), expected[1:2])


def test_columns_of_X_are_checked_even_where_no_row_is_needed():
    with pytest.raises(ValueError, match="X must have the columns of fit"):
        har().fit(Y[:34], X[:34]).predict(fh=[1], X=X[["x0"]])


def test_X_that_is_not_finite_while_y_is_seen_is_refused_by_name():
    broken = X.copy()
    broken.iloc[4, 1] = np.nan
    with pytest.raises(ValueError, match="X must be finite, found nan in column 'x1' at 2000-05"):
        har().fit(Y[:34], broken)
    forecaster = har().fit(Y[:34], X)
    expected = forecaster.predict(fh=[1])
    with pytest.raises(ValueError, match="X must be finite, found nan in column 'x0' at 2002-12"):
        forecaster.update(Y[34:36], spoiled(35, np.nan), update_params=False)
    with pytest.raises(ValueError, match="y must be finite, found inf in column 'y0' at 2002-12"):
        forecaster.update(spoiled(35, np.inf, Y)[34:36], X, update_params=False)
    pd.testing.assert_frame_equal(forecaster.predict(fh=[1]), expected)


@pytest.mark.parametrize("value", GARBAGE)
@pytest.mark.parametrize("update_params", [False, True])
def test_updates_read_X_of_the_times_of_y_only(update_params, value):
    expected = har().fit(Y[:30], X[:30])
    found = pickle.loads(pickle.dumps(expected))
    expected.update(Y[30:33], X[30:33], update_params=update_params)
    expected.update(Y[33:36], X[33:36], update_params=update_params)
    # overlapping windows; X longer than they are, and wrong about what is known already
    found.update(Y[20:33], spoiled(33, value), update_params=update_params)
    found.update(Y[25:36], pd.concat([spoiled(0, value)[:33], X[33:]]), update_params=update_params)
    pd.testing.assert_frame_equal(
        found.predict(fh=[-3, 1, 2], X=spoiled(37, value)),
        expected.predict(fh=[-3, 1, 2], X=X[36:37]),
    )


@pytest.mark.parametrize("strategy", ["refit", "update", "no-update_params"])
def test_evaluate_reads_no_X_that_is_not_needed(strategy):
    cv = ExpandingWindowSplitter(initial_window=30, step_length=4, fh=[1, 2])
    options = {
        "scoring": MeanSquaredError(),
        "strategy": strategy,
        "return_data": True,
        "error_score": "raise",
    }
    expected = evaluate(har(), cv, Y, X, **options)
    # of the last fold, made after row 37, X of row 38 is needed and X of row 39 is not
    found = [evaluate(har(), cv, Y, spoiled(39, value), **options) for value in GARBAGE]
    # X of the test rows alone
    of_test = SameLocSplitter(cv, Y)
    found.append(evaluate(har(), cv, Y, spoiled(39, np.nan), cv_X=of_test, **options))
    assert len(expected) == 3
    for fold in range(3):
        for each in found:
            pd.testing.assert_frame_equal(each["y_pred"][fold], expected["y_pred"][fold])


@pytest.mark.filterwarnings("ignore:X passed to predict must have a row:UserWarning")
def test_evaluate_with_X_up_to_the_cutoff_alone():
    cv = ExpandingWindowSplitter(initial_window=30, step_length=4, fh=[2])
    known = ExpandingWindowSplitter(initial_window=30, step_length=4, fh=[0])
    options = {"scoring": MeanSquaredError(), "return_data": True, "error_score": "raise"}
    expected = evaluate(har(exog_lags=[2]), cv, Y, X, **options)
    found = evaluate(har(exog_lags=[2]), cv, Y, X, cv_X=known, **options)
    for one, other in zip(expected["y_pred"], found["y_pred"], strict=True):
        pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("value", GARBAGE)
@pytest.mark.parametrize("update_params", [False, True])
def test_update_predict_reads_no_X_that_is_not_needed(update_params, value):
    forecaster = har().fit(Y[:30], X[:30])
    cv = SlidingWindowSplitter(window_length=2, step_length=1, fh=[2])
    found = forecaster.update_predict(
        Y[28:38], cv, X=spoiled(37, value), update_params=update_params
    )
    expected = []
    for t in range(30, 37):
        forecaster.update(Y[t - 2 : t], X, update_params=update_params)
        expected.append(forecaster.predict(fh=[2], X=X))
    pd.testing.assert_frame_equal(found, pd.concat(expected), check_freq=False)


def test_update_predict_over_the_first_rows_forecasts_from_each_cutoff():
    # cutoffs before the longest window is full
    forecaster = ALMElmanForecaster(lags=[5], window_means=(8,), exog_lags=6, **FAST).fit(Y, X)
    cv = ExpandingWindowSplitter(initial_window=2, step_length=3, fh=[1])
    found = forecaster.update_predict(Y, cv, X=X, update_params=False)
    fitted = forecaster.predict(fh=np.arange(-39, 1)).loc[found.index]
    pd.testing.assert_frame_equal(found, fitted, check_freq=False)


@pytest.mark.parametrize("value", GARBAGE)
def test_ForecastX_forecasts_the_X_that_is_needed(value):
    composed = ForecastX(har(), NaiveForecaster()).fit(Y[:34], X[:34], fh=[1, 2, 3])
    repeated = pd.DataFrame(np.tile(X[33:34], (2, 1)), X.index[34:36], X.columns)
    expected = har().fit(Y[:34], X[:34]).predict(fh=[1, 2, 3], X=repeated)
    pd.testing.assert_frame_equal(composed.predict(fh=[1, 2, 3]), expected)
    found = composed.predict(fh=[1, 2, 3], X=spoiled(36, value))
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.filterwarnings("ignore:X passed to predict must have a row:UserWarning")
def test_ForecastX_with_gaps_in_fh():
    composed = ForecastX(har(), NaiveForecaster(), fh_X=[1, 2, 3, 4], behaviour="refit")
    composed.fit(Y[:30], X[:30], fh=[2, 5])
    repeated = pd.DataFrame(np.tile(X[29:30], (4, 1)), X.index[30:34], X.columns)
    expected = har().fit(Y[:30], X[:30]).predict(fh=[2, 5], X=repeated)
    pd.testing.assert_frame_equal(composed.predict(), expected)
    # two lags back, the second step needs no X
    assert ForecastX(har([2]), NaiveForecaster()).fit(Y, X, fh=[2]).predict().notna().all(axis=None)


@pytest.mark.parametrize("value", GARBAGE)
def test_pipelines_read_no_X_that_is_not_needed(value):
    garbage = spoiled(35, value)
    target = TransformedTargetForecaster(
        [("scale", TabularToSeriesAdaptor(StandardScaler())), ("net", har(alpha=5.0))]
    )
    target.fit(Y[:34], X[:34])
    expected = target.predict(fh=[1, 2], X=X[34:])
    pd.testing.assert_frame_equal(target.predict(fh=[1, 2], X=garbage), expected)
    pd.testing.assert_frame_equal(target.predict(fh=[1]), expected[:1])
    if np.isinf(value):
        return  # scikit-learn's scaler refuses infinity before we see it
    pipeline = ForecastingPipeline(
        [("scale", TabularToSeriesAdaptor(StandardScaler())), har(alpha=5.0)]
    )
    pipeline.fit(Y[:34], X[:34])
    expected = har(alpha=5.0).fit(Y[:34], X[:34]).predict(fh=[1, 2], X=X)
    # the network scales for itself: scaling before it changes rounding only
    for exogenous in (X, garbage):
        found = pipeline.predict(fh=[1, 2], X=exogenous)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(pipeline.predict(fh=[1], X=X[:34]), expected[:1], rtol=1e-6)


def test_grid_search_over_inputs():
    cv = ExpandingWindowSplitter(initial_window=28, step_length=3, fh=[1, 2])
    grid = {"exog_lags": [None, [1, 2]], "window_means": [None, (1, 3)]}
    options = {"backend": None, "error_score": "raise"}
    clean, *spoilt = (
        ForecastingGridSearchCV(har(), cv, grid, **options).fit(Y[:34], exogenous)
        for exogenous in (X, *(spoiled(34, value) for value in GARBAGE))
    )
    expected = clean.predict(fh=[1, 2], X=X)
    for garbage in spoilt:
        assert clean.best_params_ == garbage.best_params_
        pd.testing.assert_frame_equal(expected, garbage.predict(fh=[1, 2], X=X))


@pytest.mark.parametrize("value", GARBAGE)
def test_hierarchical_data_read_no_X_that_is_not_needed(value):
    parts = {"a": (Y, X), "b": (Y[::-1].set_axis(Y.index), 2.0 * X)}
    names = ["series", "time"]

    def stack(which, stop, n_clean=40):
        return pd.concat(
            {key: spoiled(n_clean, value, data[which])[:stop] for key, data in parts.items()},
            names=names,
        )

    forecaster = har().fit(stack(0, 34), stack(1, 34))
    forecaster.update(stack(0, 36), stack(1, 40, 36), update_params=False)
    found = forecaster.predict(fh=[1, 2], X=stack(1, 40, 37))
    for key, (y, exogenous) in parts.items():
        single = har().fit(y[:34], exogenous[:34])
        single.update(y[34:36], exogenous[34:36], update_params=False)
        expected = single.predict(fh=[1, 2], X=exogenous)
        np.testing.assert_allclose(found.loc[key], expected, rtol=1e-12)


def test_the_first_rows_take_what_came_before_at_the_training_mean():
    forecaster = har().fit(Y[:34], X[:34])
    p = forecaster.parameters_
    mean, std = Y[:34].to_numpy().mean(), Y[:34].to_numpy().std()
    z = (Y.to_numpy()[:34] - mean) / std
    v = (X.to_numpy() - X[:34].to_numpy().mean(axis=0)) / X[:34].to_numpy().std(axis=0)
    first = np.maximum(p.b, 0.0)
    x = np.concatenate([[0.0], z[0], z[0] / 3, v[0]])
    second = np.maximum(p.W @ first + p.V @ x + p.b, 0.0)
    expected = [(p.A @ h + p.c) * std + mean for h in (first, second)]
    np.testing.assert_allclose(forecaster.predict(fh=[-33, -32]), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "exogenous", "error", "message"),
    [
        ({"lags": "12"}, X, TypeError, "lags must be an integer or a sequence"),
        ({"lags": True}, X, TypeError, "lags must be an integer, found True"),
        ({"lags": [1, 2.0]}, X, TypeError, "each of lags must be an integer, found 2.0"),
        ({"lags": [0, 1]}, X, ValueError, "each of lags must be at least 1, found 0"),
        ({"lags": [2, 1, 2]}, X, ValueError, r"lags must not name a number twice.*\[2, 1, 2\]"),
        ({"window_means": 3}, X, TypeError, "window_means must be a sequence of integers, found 3"),
        ({"window_means": [1, "3"]}, X, TypeError, "each of window_means must be an integer"),
        ({"window_means": [0]}, X, ValueError, "each of window_means must be at least 1"),
        ({"window_means": (3, 3)}, X, ValueError, "window_means must not name a number twice"),
        ({"exog_lags": -1}, X, ValueError, "exog_lags must be at least 0, found -1"),
        ({"exog_lags": 0.5}, X, TypeError, "exog_lags must be an integer or a sequence"),
        ({"exog_lags": [0, -1]}, X, ValueError, "each of exog_lags must be at least 0, found -1"),
        ({"exog_lags": (1, 1)}, X, ValueError, "exog_lags must not name a number twice"),
        ({"exog_lags": []}, X, ValueError, "exog_lags must hold at least one lag"),
        ({"exog_lags": 1}, None, ValueError, "exog_lags=1 are lags of X, but fit was passed no X"),
        ({"lags": []}, None, ValueError, r"lags=\[\] leaves the network without inputs; pass X"),
        (
            {"lags": [1, 39]},
            X,
            ValueError,
            r"2 = 41 rows, found 40; lags reaches 39 rows",
        ),
        ({"window_means": (50,)}, X, ValueError, r"at least window_means \+ 2 = 52 rows, found 40"),
        ({"exog_lags": [0, 60]}, X, ValueError, r"at least exog_lags \+ 2 = 62 rows, found 40"),
    ],
)
def test_bad_inputs_are_refused_by_name(arguments, exogenous, error, message):
    with pytest.raises(error, match=message):
        ALMElmanForecaster(**{**FAST, **arguments}).fit(Y, exogenous)
