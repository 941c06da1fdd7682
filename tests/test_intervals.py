"""Quantiles, intervals and variances: known answers, labels, determinism, bad input."""

import pickle
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.stats import norm

from sktime_alm import ALMElmanForecaster
from sktime_alm.bias import bias_of_skip, is_within
from sktime_alm.inputs import InputLayout, Rows
from sktime_alm.intervals import (
    NOMINAL,
    Scale,
    as_independent,
    draw_noise,
    followed,
    quantiles,
    releveled,
    stretch_factors,
    stretched,
)
from sktime_alm.posterior import (
    Posterior,
    as_new_errors,
    effective_parameters,
    lightest,
)
from sktime_alm.scalers import Standardizer
from sktime_alm.solver import ReLU, train
from sktime_alm.solver.datafits import Squared
from sktime_alm.solver.network import ElmanParameters, rollout
from tests.conftest import DESCENT, outcomes, with_network
from tests.test_forecaster import FAST, Y2, X, Y, make_data

METHODS = ("bootstrap", "conformal")
LONG_Y, LONG_X = make_data(T=160, m=2)


def autoregression(phi, T=1500, seed=0):
    rng = np.random.default_rng(seed)
    y = np.zeros(T)
    for t in range(1, T):
        y[t] = phi * y[t - 1] + rng.normal()
    return pd.Series(y)


def fitted(method="bootstrap", y=LONG_Y, X=LONG_X, **arguments):
    options = {**FAST, "interval_method": method, **arguments}
    return ALMElmanForecaster(**options).fit(y[:150], X[:150])


def test_quantiles_have_the_rank_that_counts_the_value_to_come():
    sample = np.arange(1.0, 100.0)[::-1, None]  # n + 1 = 100
    levels = np.array([0.001, 0.05, 0.055, 0.29, 0.5, 0.945, 0.95, 0.999])
    np.testing.assert_array_equal(quantiles(sample, levels)[:, 0], [1, 5, 5, 29, 50, 95, 95, 99])
    assert quantiles(np.array([[1.0], [2.0]]), np.array([0.5])) == 1.5


def test_errors_of_a_ridge_regression_are_inflated_to_the_size_of_the_noise():
    rng = np.random.default_rng(0)
    T, r = 60, 11
    h, penalties = rng.normal(size=(T, r)), np.full(r + 1, 0.1)
    Z = np.column_stack([h, np.ones(T)])
    hat = Z @ np.linalg.solve(Z.T @ Z + T * np.diag(penalties), Z.T)
    assert effective_parameters(Z, penalties) == pytest.approx(np.trace(hat))
    assert effective_parameters(Z, np.zeros(r + 1)) == pytest.approx(r + 1)
    noise = rng.normal(size=(T, 4000))
    fit = Z @ np.linalg.lstsq(Z, noise, rcond=None)[0]
    assert as_new_errors(noise - fit, r + 1).var() == pytest.approx(1.0, rel=0.01)
    # a fit that leaves no error free does not divide by 0
    assert np.isfinite(as_new_errors(noise, T)).all()


def test_noise_keeps_rows_together_and_does_not_depend_on_the_number_of_steps():
    rows = np.column_stack([np.arange(7.0), -np.arange(7.0)])
    noise = draw_noise(rows, 12, seed=3)
    np.testing.assert_array_equal(noise[..., 0], -noise[..., 1])
    np.testing.assert_array_equal(draw_noise(rows, 5, seed=3), noise[:, :5])


@pytest.mark.parametrize("method", METHODS)
def test_quantiles_of_an_autoregression_are_the_normal_ones(method):
    phi, y = 0.7, autoregression(0.7)
    options = {"alpha": 1e-3, "activation": "elu", "max_iter": 10, "random_state": 0}
    options["solver_options"] = DESCENT
    forecaster = ALMElmanForecaster(hidden_size=2, interval_method=method, **options).fit(y)
    steps = np.array([1, 2, 6])
    sd = np.sqrt(np.cumsum(phi ** (2.0 * np.arange(6))))[steps - 1]
    levels = [0.05, 0.25, 0.75, 0.95]
    found = forecaster.predict_quantiles(fh=steps, alpha=levels)[0].to_numpy()
    mean = y.iloc[-1] * phi**steps
    expected = mean[:, None] + sd[:, None] * norm.ppf(levels)
    coverage = norm.cdf((found[:, -1] - mean) / sd) - norm.cdf((found[:, 0] - mean) / sd)
    # 500 errors, of which those several steps ahead overlap, leave a few hundredths
    np.testing.assert_allclose(coverage, 0.9, atol=0.035)
    np.testing.assert_allclose(found, expected, atol=0.5)
    variance = forecaster.predict_var(fh=steps)[0]
    np.testing.assert_allclose(variance, sd**2, rtol=0.2)


@pytest.mark.parametrize("method", METHODS)
def test_intervals_of_a_random_walk_widen_with_the_horizon(method):
    y = autoregression(1.0, T=600)
    options = {"alpha": 1e-4, "activation": "leaky_relu", "max_iter": 10, "random_state": 0}
    options["solver_options"] = DESCENT
    forecaster = ALMElmanForecaster(hidden_size=2, interval_method=method, **options).fit(y)
    variance = forecaster.predict_var(fh=[1, 4, 16])[0].to_numpy()
    assert (variance[1:] > 1.7 * variance[:-1]).all()


@pytest.mark.parametrize("method", METHODS)
def test_quantiles_have_sktimes_labels_do_not_cross_and_do_not_depend_on_the_call(method):
    forecaster = fitted(method)
    levels = [0.05, 0.5, 0.25, 0.95]
    frame = forecaster.predict_quantiles(fh=np.arange(-2, 9), X=LONG_X, alpha=levels)
    assert frame.columns.equals(pd.MultiIndex.from_product([LONG_Y.columns, levels]))
    assert frame.index.equals(LONG_Y.index[147:158])
    for name in LONG_Y.columns:
        assert (np.diff(frame[name][sorted(levels)], axis=1) >= 0.0).all()
    alone = forecaster.predict_quantiles(fh=[8], X=LONG_X, alpha=[0.25])
    pd.testing.assert_frame_equal(alone, frame.loc[alone.index, alone.columns])
    interval = forecaster.predict_interval(fh=[8], X=LONG_X, coverage=0.9)
    ends = frame.loc[alone.index].xs(0.95, axis=1, level=1)
    pd.testing.assert_frame_equal(interval.xs("upper", axis=1, level=2).droplevel(1, axis=1), ends)
    variance = forecaster.predict_var(fh=[-1, 8], X=LONG_X)
    assert variance.columns.equals(LONG_Y.columns) and (variance > 0.0).all(axis=None)


@pytest.mark.parametrize("random_state", [0, None])
@pytest.mark.parametrize("method", METHODS)
def test_quantiles_are_reproducible_and_leave_the_forecaster_as_it_was(method, random_state):
    forecaster = fitted(method, random_state=random_state)
    forecaster.predict(fh=[1, 3], X=LONG_X)
    before = dict(vars(forecaster))
    copies = pickle.dumps(before["_fitted"].errors)
    first = forecaster.predict_quantiles(fh=[1, 3], X=LONG_X)
    forecaster.predict_var(fh=[1, 3], X=LONG_X)
    pd.testing.assert_frame_equal(forecaster.predict_quantiles(fh=[1, 3], X=LONG_X), first)
    after = vars(forecaster)
    assert after.keys() == before.keys()
    assert all(after[key] is value for key, value in before.items() if key != "_fh")
    assert pickle.dumps(after["_fitted"].errors) == copies
    if random_state is not None:
        again = fitted(method, random_state=random_state)
        pd.testing.assert_frame_equal(again.predict_quantiles(fh=[1, 3], X=LONG_X), first)


@pytest.mark.parametrize("method", METHODS)
def test_later_rows_of_X_do_not_matter_to_quantiles(method):
    garbage = LONG_X.copy()
    garbage[152:] = np.nan
    forecaster = fitted(method, exog_lags=1)
    expected = forecaster.predict_quantiles(fh=[1, 3], X=LONG_X)
    pd.testing.assert_frame_equal(forecaster.predict_quantiles(fh=[1, 3], X=garbage), expected)


def test_paths_keep_the_correlation_of_the_errors():
    rng = np.random.default_rng(0)
    errors = rng.multivariate_normal([0.0, 0.0], [[1.0, 0.9], [0.9, 1.0]], 400)
    y = pd.DataFrame(errors, columns=["a", "b"])
    forecaster = ALMElmanForecaster(**FAST).fit(y)
    for sample in outcomes(forecaster, [1, 5]):
        assert np.corrcoef(sample.T)[0, 1] == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("method", METHODS)
def test_updates_collect_errors_only_when_they_train(method):
    forecaster = fitted(method)
    errors = forecaster._fitted.errors
    forecaster.update(LONG_Y[150:155], LONG_X, update_params=False)
    assert forecaster._fitted.errors is errors
    forecaster.update(LONG_Y[155:], LONG_X, update_params=True)
    later = forecaster._fitted.errors
    assert len(later.one_step) > len(errors.one_step)
    assert method == "bootstrap" or len(later.by_step[0]) > len(errors.by_step[0])


def test_conformal_errors_are_those_of_forecasts_from_rolling_origins():
    # trained to the end, lest rounding be magnified
    fitted_errors = fitted("conformal", solver_options=None)._fitted.errors
    y, exogenous = (
        (data[:150] - data[:150].mean()) / data[:150].std(ddof=0) for data in (LONG_Y, LONG_X)
    )
    y, exogenous = y.to_numpy(), exogenous.to_numpy()
    inputs = np.hstack([y[:-1], exogenous[1:]])  # of the rows from 1 on
    cuts = [int(149 * share) for share in (0.55, 0.7, 0.85, 1.0)]
    expected: dict[int, list[np.ndarray]] = {1: [], 3: []}
    for cut, end in pairwise(cuts):
        # trained up to a cut, with a penalty of one row of prior, by 3 units
        data = inputs[:cut], y[1 : cut + 1]
        options = {
            "alpha": 3.0 * np.sqrt(inputs.shape[1] * y.shape[1]) / cut,
            "max_iter": 4,
            "random_state": 0,
            "max_recurrence": 0.98,
        }
        p = train(*data, 3, **options).parameters
        states = rollout(p, ReLU(), inputs)[1]
        for row in range(cut, end):
            h, value = states[row - 1], y[row]
            for step in range(1, min(3, 149 - row) + 1):
                x = np.concatenate([value, exogenous[row + step]])
                h = np.maximum(p.W @ h + p.V @ x + p.b, 0.0)
                value = p.A @ h + p.c
                if step in expected:
                    error = y[row + step] - value
                    expected[step].append(error / fitted_errors.scale.of(value))
    by_step = fitted_errors.by_step
    for step, errors in expected.items():
        np.testing.assert_allclose(by_step[step - 1], errors, rtol=1e-5, atol=1e-6)
    # 68 rows follow the first cut, and 19 errors are needed
    assert len(by_step) == 68 - 18


def test_overlapping_errors_are_spread_like_as_few_that_do_not_overlap():
    errors = np.random.default_rng(0).normal(size=(60, 2))
    np.testing.assert_allclose(as_independent(errors, 1), errors)
    wider = as_independent(errors, 6)

    def half_width(n):
        return np.sqrt(1.0 + 1.0 / n) * stats.t.ppf(0.95, n - 1.0)

    np.testing.assert_allclose(wider.mean(axis=0), errors.mean(axis=0))
    ratio = half_width(10.0) / half_width(60.0)
    np.testing.assert_allclose(wider.std(axis=0), ratio * errors.std(axis=0))


def test_paths_are_stretched_to_the_errors_of_forecasts_and_for_knowing_few_of_them():
    rng = np.random.default_rng(0)
    errors = [3.0 * rng.normal(size=(4000, 1)), 0.1 * rng.normal(size=(4000, 1)), np.ones((18, 1))]
    factors = stretch_factors(errors, [np.ones((3, 1))])
    # the third step has too few errors to go by; paths are never narrowed
    np.testing.assert_allclose(factors, [[3.0], [1.0]], rtol=0.03)
    few = stretch_factors([np.ones((20, 1)), np.ones((20, 1))], [np.ones((2, 1))])
    # ten that do not overlap, and three that the paths count for
    n = 13.0
    wider = np.sqrt(1.0 + 1.0 / n) * stats.t.ppf(0.95, n - 1.0) / norm.ppf(0.95)
    np.testing.assert_allclose(few[1], wider)
    paths = rng.normal(2.0, 1.0, (500, 3, 1))
    wide = stretched(paths, factors)
    np.testing.assert_allclose(wide.mean(axis=0), paths.mean(axis=0))
    np.testing.assert_allclose(wide.std(axis=0), factors[[0, 1, 1]] * paths.std(axis=0))


def test_errors_are_those_of_the_models_that_chose_the_penalties():
    y = autoregression(0.5, T=200)
    forecaster = ALMElmanForecaster(alpha=np.inf, random_state=0).fit(y)
    # 60 % of the rows follow the first of the regressions' cuts
    assert len(forecaster._fitted.errors.one_step) == 199 - int(0.4 * 199)
    given = ALMElmanForecaster(alpha=np.inf, skip_alpha=0.1, random_state=0).fit(y)
    errors = given._fitted.errors
    assert len(errors.one_step) == 199 and (errors.stretch == 1.0).all()
    # an update that trains keeps them, and collects training errors anew
    longer = autoregression(0.5, T=210)
    before = forecaster._fitted
    after = forecaster.update(longer, update_params=True)._fitted
    in_units = [each.errors.one_step * each.model.y_scaler.scale for each in (before, after)]
    np.testing.assert_allclose(*in_units)
    assert len(given.update(longer, update_params=True)._fitted.errors.one_step) == 209


def test_panels_have_the_quantiles_of_their_series():
    panel = pd.concat({"a": Y, "b": Y2[["y1"]].set_axis(["y0"], axis=1)}, names=["key", "time"])
    found = ALMElmanForecaster(**FAST).fit(panel).predict_quantiles(fh=[1, 2])
    alone = ALMElmanForecaster(**FAST).fit(Y).predict_quantiles(fh=[1, 2])
    np.testing.assert_allclose(found.loc["a"], alone)


def test_bad_input_is_refused_by_name():
    with pytest.raises(ValueError, match="interval_method must be one of"):
        ALMElmanForecaster(**FAST, interval_method="normal").fit(Y)
    with pytest.raises(ValueError, match="at least 58 rows for interval_method='conformal'"):
        ALMElmanForecaster(**FAST, interval_method="conformal").fit(Y, X)
    with pytest.raises(
        ValueError,
        match="fh must reach at most 50 steps ahead.* more rows reach up to 120, .*'bootstrap' any",
    ):
        fitted("conformal").predict_interval(
            fh=[1, 51], X=pd.concat([LONG_X, LONG_X.shift(50, "M")[-50:]])
        )
    with pytest.raises(NotImplementedError, match="cov must be False"):
        fitted("conformal").predict_var(fh=[1], X=LONG_X, cov=True)
    forecaster = ALMElmanForecaster(**FAST).fit(Y)
    p = forecaster.parameters_
    wild = ElmanParameters(p.A, np.full((3, 3), 1e3), p.V, p.b + 1.0, p.c)
    with_network(forecaster, wild)
    with pytest.raises(ValueError, match="overflow at step"):
        forecaster.predict_quantiles(fh=[300])


def test_the_scale_of_errors_is_found_where_there_is_one_and_constant_where_there_is_none():
    rng = np.random.default_rng(0)
    forecasts, noise = rng.normal(1.0, 2.0, (20000, 2)), rng.normal(size=(20000, 2))
    errors = noise * np.exp(np.array([-0.3, 0.0]) * forecasts)
    scale = Scale.fit(forecasts, errors)
    np.testing.assert_allclose(scale.slope, [-0.3, 0.0], atol=0.02)
    # twelve rows that show nothing leave a constant; none reaches beyond what was seen
    assert (Scale.fit(forecasts[:12], np.ones((12, 2))).slope == 0.0).all()
    far = np.array([[-99.0, 0.0], [99.0, 0.0]])
    np.testing.assert_array_equal(scale.of(far)[:, 0], scale.of(scale.extent)[:, 0])
    before, after = (
        Standardizer(np.array([1.0, 0.0]), np.array([2.0, 1.0])),
        Standardizer(np.array([-1.0, 3.0]), np.array([0.5, 4.0])),
    )
    moved = after.transform(before.inverse_transform(forecasts))
    expected = scale.of(forecasts)
    np.testing.assert_allclose(scale.in_units(before, after).of(moved), expected)


def test_followed_levels_hold_their_shares_where_the_spread_of_the_errors_drifts():
    rng = np.random.default_rng(0)
    sample, errors = rng.normal(size=(800, 1)), rng.normal(size=(4000, 1))
    errors *= np.linspace(1.0, 2.0, 4000)[:, None]
    levels = np.tile(NOMINAL[:, None], 1)
    inside = []
    for error in errors:
        ends = quantiles(releveled(sample, levels), np.array([0.1, 0.9]))[:, 0]
        inside.append(ends[0] <= error[0] <= ends[1])
        levels = followed(levels, error[None], sample)
    # those of the sample alone would hold 65 %
    assert np.mean(inside) == pytest.approx(0.8, abs=0.015)
    at_once = followed(np.tile(NOMINAL[:, None], 1), errors, sample)
    np.testing.assert_array_equal(at_once, levels)


def test_other_levels_move_a_sample_and_leave_its_order():
    sample = np.random.default_rng(0).normal(size=(1999, 1))
    levels = NOMINAL[:, None] ** 2
    moved = releveled(sample, levels)
    assert (np.diff(moved[np.argsort(sample[:, 0]), 0]) >= 0.0).all()
    inner = NOMINAL[4:-4]
    found, expected = quantiles(moved, inner), quantiles(sample, inner**2)
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert releveled(sample, NOMINAL[:, None]) is sample


@pytest.mark.parametrize("method", METHODS)
def test_levels_do_not_depend_on_how_the_rows_come(method):
    y = autoregression(0.5, T=450)
    options = {"interval_method": method, "alpha": np.inf, "random_state": 0}
    at_once = ALMElmanForecaster(**options).fit(y[:400])
    one_by_one = at_once.clone().fit(y[:400])
    at_once.update(y[400:], update_params=False)
    for row in range(400, 450):
        one_by_one.update(y[row : row + 1], update_params=False)
    levels = at_once._fitted.levels
    assert (levels != NOMINAL[:, None]).any()
    np.testing.assert_allclose(one_by_one._fitted.levels, levels)
    trained = ALMElmanForecaster(**options).fit(y[:400]).update(y[400:], update_params=True)
    np.testing.assert_allclose(trained._fitted.levels, levels)


def test_a_brief_update_adds_the_errors_of_forecasts_of_the_new_rows():
    y = autoregression(0.5, T=410)
    options = {"interval_method": "conformal", "alpha": np.inf, "random_state": 0}
    forecaster = ALMElmanForecaster(**options).fit(y[:400])
    before, scaler = forecaster._fitted.errors, forecaster._fitted.model.y_scaler
    network = forecaster.networks_[0]
    after = forecaster.update(y[400:])._fitted
    values = scaler.transform(y.to_numpy()[:, None])
    one = values[399:409] @ network.D.T + network.c
    two = np.clip(values[398:408] @ network.D.T + network.c, *forecaster._fitted.model.bounds)
    two = two @ network.D.T + network.c
    for step, forecast in ((1, one), (2, two)):
        new = (values[400:410] - forecast) / before.scale.of(forecast)
        expected = np.vstack([before.by_step[step - 1], new]) * scaler.scale
        found = after.errors.by_step[step - 1] * after.model.y_scaler.scale
        np.testing.assert_allclose(found, expected, atol=1e-10)


def test_the_bias_of_an_autoregression_is_the_known_one():
    # Marriott and Pope (1954): -(1 + 3 phi) / T
    T, phi = 50, 0.5
    network = ElmanParameters(
        np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)), np.zeros(1), np.zeros(1), [[phi]]
    )
    y = autoregression(phi, T=T + 1).to_numpy()[:, None]
    position, units = np.arange(1, T + 1) / T, np.ones((T, 1))
    rows = Rows(y[:-1], y[1:], (0,), position, y[:-1], units, Squared())
    noise = np.random.default_rng(0).normal(size=(2000, T, 1))
    bias = bias_of_skip(InputLayout((1,), ()), ReLU(), network, rows, np.zeros(3), noise)
    # of the weight of which this is the estimate
    expected = -(1.0 + 3.0 * (phi - bias[0, 1])) / T
    assert bias[0, 1] == pytest.approx(expected, abs=0.012)
    assert (bias[0, [0, 2]] == 0.0).all()
    # nothing is taken off that would leave an explosive recursion
    walk = ElmanParameters(*network.arrays()[:5], [[0.99]])
    bias = bias_of_skip(InputLayout((1,), ()), ReLU(), walk, rows, np.zeros(3), noise[:500])
    assert 0.99 - bias[0, 1] <= 1.0 + 1e-12


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("memory", [1, 2, 5, 30])
def test_a_recursion_is_held_for_stable_where_its_eigenvalues_are(memory, m):
    rng, outcomes = np.random.default_rng(memory), []
    for _ in range(100):
        answers = rng.normal(size=(m, memory * m)) * rng.uniform(0.1, 1.5) / np.sqrt(memory * m)
        companion = np.vstack([answers, np.eye(memory * m)[: (memory - 1) * m]])
        radius, limit = np.abs(np.linalg.eigvals(companion)).max(), rng.uniform(0.8, 1.2)
        outcomes.append(is_within(answers, limit))
        assert outcomes[-1] == (radius <= limit)
    assert any(outcomes) and not all(outcomes)
    # the difference of a random walk has its root on the circle
    walk = np.hstack([np.eye(m), np.zeros((m, (memory - 1) * m))])
    assert is_within(walk, 1.0) and not is_within(1.001 * walk, 1.0)


def test_the_penalties_of_few_rows_are_light_but_leave_half_of_the_degrees_of_freedom():
    rng = np.random.default_rng(0)
    Z = np.column_stack([rng.normal(size=(12, 8)), np.ones(12)])
    l2 = np.append(np.full(8, 10.0), 0.0)
    found = lightest(Z, l2, np.append(np.ones(8, dtype=bool), False))
    assert effective_parameters(Z, found) <= 6.0 < effective_parameters(Z, found / 4.0)
    assert (lightest(np.tile(Z, (20, 1)), l2, l2 > 0.0)[:8] == 1e-4).all()


def test_few_rows_count_the_weights_of_the_hidden_layer_as_well():
    """A network of weak penalties: what it leaves of noise is a fraction of the noise to come."""
    rng, inside = np.random.default_rng(0), []
    for _ in range(30):
        y = pd.Series(rng.normal(size=31))
        forecaster = ALMElmanForecaster(
            hidden_size=2,
            alpha=0.3,
            skip_alpha=0.1,
            max_iter=10,
            random_state=0,
            solver_options=DESCENT,
        ).fit(y[:30])
        low, high = forecaster.predict_interval(fh=[1], coverage=0.8).to_numpy()[0]
        inside.append(low <= y[30] <= high)
    (posterior,) = forecaster._fitted.errors.posteriors
    assert np.mean(inside) >= 0.7 and posterior.n_degrees < 29.0 - 6.0


def test_the_posterior_is_that_of_the_regression_whatever_the_network_is():
    rng = np.random.default_rng(0)
    Z = np.column_stack([rng.normal(size=(15, 2)), np.ones(15)])
    targets, readout = rng.normal(size=(15, 1)), rng.normal(size=(1, 3))
    posterior = Posterior.of(Z, np.zeros(3), readout, targets)
    expected = np.linalg.lstsq(Z, targets, rcond=None)[0].T
    np.testing.assert_allclose(readout + posterior.shift, expected)
    np.testing.assert_allclose(np.cov(posterior.errors.T, ddof=0), 1.0)
    noise = (targets - Z @ expected.T) / np.sqrt(15.0 - 3.0)
    assert posterior.scale**2 == pytest.approx((noise**2).sum())
    # what weights of the hidden layer took is missing twice: in the errors, and in what is known
    wider = Posterior.of(Z, np.zeros(3), readout, targets, n_hidden=2.0)
    assert wider.n_degrees == pytest.approx(10.0)
    ratio = (12.0 / 10.0) * (17.0 / 15.0)
    np.testing.assert_allclose((wider.scale / posterior.scale) ** 2, ratio)
    bias = np.array([[0.0, -0.2, 5.0]])
    corrected = readout + posterior.corrected(bias, Z).shift
    np.testing.assert_allclose(corrected[0, :2], expected[0, :2] - bias[0, :2])
    np.testing.assert_allclose((Z @ corrected.T).mean(), targets.mean())


@pytest.mark.parametrize("method", METHODS)
def test_distributions_are_the_samples_that_quantiles_are_taken_of(method):
    forecaster = fitted(method)
    distribution = forecaster.predict_proba(fh=[-1, 1, 4], X=LONG_X)
    assert list(distribution.columns) == list(LONG_Y.columns)
    assert distribution.index.equals(LONG_Y.index[[148, 150, 153]])
    variance = forecaster.predict_var(fh=[-1, 1, 4], X=LONG_X)
    np.testing.assert_allclose(distribution.var(), variance)
    expected = [sample.mean(axis=0) for sample in outcomes(forecaster, [-1, 1, 4], LONG_X)]
    np.testing.assert_allclose(distribution.mean(), expected)
    # skpro draws from all times at once, whose samples are of different sizes
    assert distribution.sample(5).shape == (15, 2)


def test_without_skpro_no_other_distribution_is_given_for_the_sample(monkeypatch):
    monkeypatch.setitem(sys.modules, "skpro.distributions", None)
    with pytest.raises(NotImplementedError, match="pip install skpro"):
        fitted(METHODS[0]).predict_proba(fh=[1], X=LONG_X)


@pytest.mark.parametrize("seed", [3, 16, 21])
def test_five_rows_with_more_weights_than_they_tell_have_intervals_around_forecasts(seed):
    rng = np.random.default_rng(seed)
    y, X = pd.Series(rng.normal(size=5).cumsum()), pd.DataFrame(rng.normal(size=(9, 2)))
    forecaster = ALMElmanForecaster(exog_lags=1, random_state=0).fit(y, X[:5].add_prefix("x"))
    fh, X = [1, 2, 3, 4], X[5:].add_prefix("x")
    forecasts = forecaster.predict(fh=fh, X=X).to_numpy()
    low, high = forecaster.predict_interval(fh=fh, X=X).to_numpy().T
    assert (low < forecasts).all() and (forecasts < high).all()
    # they are not interpolated
    assert y.min() <= forecasts.min() and forecasts.max() <= y.max()


def test_a_series_that_grew_has_no_interval_beyond_all_it_has_seen():
    """A readout of few rows that is not stable would send the paths to the bounds of forecasts."""
    y = pd.Series([3.6, 3.8, 3.7, 4.38, 6.45])
    found = ALMElmanForecaster(random_state=0).fit(y).predict_interval(fh=[1, 2]).to_numpy()
    assert (found[:, 0] < y.max()).all() and (found[:, 1] > y.max()).all()
