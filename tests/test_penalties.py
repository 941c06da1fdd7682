"""The linear skip and the choice of the penalties: ridge regressions by hand, paths, windows."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter
from sklearn.linear_model import Ridge
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.model_selection import ForecastingGridSearchCV, ForecastingOptunaSearchCV
from sktime.performance_metrics.forecasting import MeanSquaredError
from sktime.split import ExpandingWindowSplitter

from sktime_alm import ALMElmanForecaster
from sktime_alm.datasets import make_tanks
from sktime_alm.penalties import SKIP_ORIGINS, SKIP_PENALTIES
from sktime_alm.solver import ALMSettings, train
from tests.conftest import DESCENT, named
from tests.test_forecaster import Y2, X, Y

# of sktime's own compositions: the default of a setting will change
pytestmark = pytest.mark.filterwarnings("ignore:(?s).*remember_data:FutureWarning")

QUICK = {
    "hidden_size": 3,
    "max_iter": 4,
    "random_state": 0,
    "solver_options": DESCENT,
}
# where the choice takes its course, whatever it ends with
BRIEF = {**QUICK, "hidden_size": 2, "max_iter": 2}
N_SKIP = len(SKIP_PENALTIES)


def autoregression(T, seed=0):
    rng = np.random.default_rng(seed)
    y = np.zeros(T)
    for t in range(1, T):
        y[t] = 0.7 * y[t - 1] + rng.normal()
    return pd.Series(y)


def threshold_autoregression(T, seed=0):
    """A tent map with noise: no correlation of y with its past says where it goes."""
    rng = np.random.default_rng(seed)
    y = np.zeros(T)
    for t in range(1, T):
        y[t] = 1.0 - 1.6 * abs(y[t - 1]) + 0.1 * rng.normal()
    return pd.Series(y)


class RidgeByHand:
    """scikit-learn's ridge regression of standardised y on lags, window means and lags of X."""

    def __init__(self, y, X, lags=(), windows=(), exog_lags=(0,)):
        self.lags, self.windows, self.exog_lags = lags, windows, exog_lags
        self.mean, self.scale = y.mean(axis=0), y.std(axis=0)
        self.X_mean, self.X_scale = X.mean(axis=0), X.std(axis=0)
        self.z = (y - self.mean) / self.scale
        self.context = max([*lags, *windows, *exog_lags])

    def inputs(self, z, X, t):
        v = (X - self.X_mean) / self.X_scale
        means = [z[t - window : t].mean(axis=0) for window in self.windows]
        return np.concatenate(
            [*(z[t - lag] for lag in self.lags), *means, *(v[t - lag] for lag in self.exog_lags)]
        )

    def fit(self, X, skip_alpha, stop=None):
        """On the rows before ``stop`` that have all their inputs."""
        times = range(self.context, stop or len(self.z))
        inputs = np.array([self.inputs(self.z, X, t) for t in times])
        targets = self.z[list(times)]
        regression = Ridge(skip_alpha, solver="cholesky").fit(inputs, targets)
        self.D, self.c = np.atleast_2d(regression.coef_), regression.intercept_
        return self

    def forecast(self, X, start, n_steps):
        """Standardised forecasts of n_steps rows from ``start`` on, within the bounds."""
        full = self.z[self.context :]
        least, largest = full.min(axis=0), full.max(axis=0)
        margin = 3.0 * (largest - least)
        z = list(self.z[:start])
        for t in range(start, start + n_steps):
            x = self.inputs(np.array(z), X, t)
            z.append(np.clip(self.D @ x + self.c, least - margin, largest + margin))
        return np.array(z[start:])


LAYOUTS = [
    {"lags": (1, 2), "windows": (), "exog_lags": (0,)},
    {"lags": (), "windows": (1, 3, 6), "exog_lags": (1,)},
    {"lags": (3,), "windows": (2,), "exog_lags": (0, 2)},
]
LAYOUT_IDS = ["ARX", "HARX", "both"]


def arguments(layout):
    """The forecaster's arguments of a layout."""
    return {
        "lags": list(layout["lags"]),
        "window_means": layout["windows"],
        "exog_lags": list(layout["exog_lags"]),
    }


@pytest.mark.parametrize("alpha", [np.inf, 1e6])
@pytest.mark.parametrize("layout", LAYOUTS, ids=LAYOUT_IDS)
@pytest.mark.parametrize("y", [Y, Y2], ids=["univariate", "multivariate"])
def test_without_use_for_hidden_units_it_is_a_ridge_regression(y, layout, alpha):
    options = {**QUICK, "alpha": alpha, "skip_alpha": 0.3}
    forecaster = ALMElmanForecaster(**arguments(layout), **options).fit(y[:34], X[:34])
    by_hand = RidgeByHand(y[:34].to_numpy(), X[:34].to_numpy(), **layout).fit(X.to_numpy(), 0.3)
    p = forecaster.parameters_
    np.testing.assert_allclose(p.D, by_hand.D, atol=1e-10)
    np.testing.assert_allclose(p.c, by_hand.c, atol=1e-10)
    assert not p.A.any() and not p.V.any() and not p.W.any()
    expected = by_hand.forecast(X.to_numpy(), 34, 6) * by_hand.scale + by_hand.mean
    np.testing.assert_allclose(forecaster.predict(fh=np.arange(1, 7), X=X), expected, rtol=1e-9)
    assert forecaster.alpha_ == alpha and forecaster.skip_alpha_ == 0.3
    assert forecaster.alpha_path_.empty


def test_a_network_is_at_no_less_penalty_than_its_regression():
    y = threshold_autoregression(200)
    options = {**QUICK, "skip_alpha": 0.1}
    strong, weak = (
        ALMElmanForecaster(alpha=alpha, **options).fit(y).objective_ for alpha in (np.inf, 0.01)
    )
    assert weak < 0.5 * strong


@pytest.mark.parametrize("linear_skip", [True, False])
def test_the_path_of_penalties(linear_skip):
    y = threshold_autoregression(160)
    options = {**QUICK, "skip_alpha": "auto" if linear_skip else np.inf}
    forecaster = ALMElmanForecaster(**options).fit(y)
    path = forecaster.alpha_path_
    assert list(path) == ["alpha", "skip_alpha", "weight", "loss", "excess", "standard_error"]
    networks = path
    if linear_skip:
        of_skip, networks = path[:N_SKIP], path[N_SKIP:]
        assert np.isinf(of_skip["alpha"]).all()
        # a penalty for each of the rows that have their lag
        np.testing.assert_allclose(of_skip["skip_alpha"], 159 * np.array(SKIP_PENALTIES))
        chosen = of_skip["skip_alpha"][of_skip["loss"].idxmin()]
        assert (networks["skip_alpha"] == chosen).all()
        np.testing.assert_allclose(
            of_skip["excess"], of_skip["loss"] - of_skip["loss"].min(), atol=1e-14
        )
        assert np.isinf(networks["alpha"].iloc[0])
        strengths = networks["alpha"].iloc[1:]
    else:
        chosen = np.nan
        assert networks["skip_alpha"].isna().all()
        strengths = networks["alpha"]
    ratios = strengths.to_numpy()[:-1] / strengths.to_numpy()[1:]
    np.testing.assert_allclose(ratios, 4.0)
    np.testing.assert_allclose(
        networks["excess"], networks["loss"] - networks["loss"].min(), atol=1e-14
    )
    assert (networks["standard_error"] >= 0.0).all()
    assert networks["weight"].between(0.0, 1.0).all()
    if linear_skip:
        assert networks["weight"][networks["loss"].idxmin()] > 0.5
    else:
        assert (networks["weight"] == 1.0).all()
    within = networks[networks["excess"] <= networks["standard_error"]]
    assert forecaster.alpha_ == within["alpha"][within["weight"] > 0.0].max()
    np.testing.assert_equal(forecaster.skip_alpha_, chosen)


@pytest.mark.parametrize("fh", [None, [1], list(range(1, 13)), [2, 5]], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS[:2], ids=LAYOUT_IDS[:2])
def test_the_losses_of_the_regression_are_those_of_rolling_forecasts(layout, fh):
    y, exogenous = Y2.to_numpy(), X.to_numpy()
    forecaster = ALMElmanForecaster(**arguments(layout), **{**QUICK, "alpha": np.inf})
    found = forecaster.fit(Y2, X, fh=fh).alpha_path_
    by_hand = RidgeByHand(y, exogenous, **layout)
    first, T = by_hand.context, len(y)
    cuts = [first + int(np.floor((T - first) * share + 1e-9)) for share in SKIP_ORIGINS]
    # forecasts of several steps have their lags within the rows that are not the first ones
    steps = fh or [1]
    memory = max([*layout["lags"], *layout["windows"]]) if steps != [1] else 0
    for row, penalty in zip(found.itertuples(), SKIP_PENALTIES, strict=True):
        losses = []
        for cut, end in pairwise(cuts):
            by_hand.fit(exogenous, (T - first) * penalty, stop=cut)
            for start in range(max(cut, first + memory), end):
                forecasts = by_hand.forecast(exogenous, start, min(max(steps), T - start))
                errors = by_hand.z[start : start + max(steps)] - forecasts
                kept = [step - 1 for step in steps if step <= len(errors)]
                losses += (errors[kept] ** 2).mean(axis=1).tolist()
        assert row.loss == pytest.approx(np.mean(losses), rel=1e-8)
        assert row.skip_alpha == pytest.approx((T - first) * penalty)
    assert forecaster.skip_alpha_ == found["skip_alpha"][found["loss"].idxmin()]


def test_penalties_are_chosen_within_the_window():
    expected = ALMElmanForecaster(**BRIEF).fit(Y[:34], X[:34])
    garbage = X.copy()
    garbage[34:] = np.nan
    found = ALMElmanForecaster(**BRIEF).fit(Y[:34], garbage)
    pd.testing.assert_frame_equal(found.alpha_path_, expected.alpha_path_)


@pytest.mark.parametrize("strategy", ["refit", "update"])
def test_evaluate_chooses_penalties_without_the_future(strategy):
    cv = ExpandingWindowSplitter(initial_window=32, step_length=3, fh=[1, 2])
    y, exogenous = Y[:37], X[:37]
    changed_y, changed_X = y.copy(), exogenous.copy()
    changed_y[35:] = 1e3
    changed_X[35:] = -1e3
    options = {"scoring": MeanSquaredError(), "return_model": True, "error_score": "raise"}
    clean, changed = (
        evaluate(ALMElmanForecaster(**BRIEF), cv, *data, strategy=strategy, **options)
        for data in ((y, exogenous), (changed_y, changed_X))
    )
    for fold in range(2):
        paths = [found["fitted_forecaster"][fold].alpha_path_ for found in (clean, changed)]
        pd.testing.assert_frame_equal(*paths)


@pytest.mark.parametrize("fh", [[1], [1, 2, 3]], ids=str)
def test_the_regression_is_chosen_for_linear_series_and_a_network_for_others(fh):
    options = {"hidden_size": 3, "random_state": 0, "solver_options": DESCENT}
    linear = ALMElmanForecaster(**options).fit(autoregression(150), fh=fh)
    assert linear.alpha_ == np.inf
    # of half as many rows the choice is a matter of rounding
    y = threshold_autoregression(400)
    network = ALMElmanForecaster(**options).fit(y[:300], fh=fh)
    assert np.isfinite(network.alpha_)
    ridge = ALMElmanForecaster(alpha=np.inf, **options).fit(y[:300])
    mse = []
    for forecaster in (network, ridge):
        forecaster.update(y[300:], update_params=False)
        one_ahead = forecaster.predict(fh=np.arange(-99, 1))
        mse.append(np.mean((one_ahead - y[300:]) ** 2))
    assert mse[0] < 0.2 * mse[1]


def test_grid_search_over_penalties_and_sizes():
    y = threshold_autoregression(120)
    cv = ExpandingWindowSplitter(initial_window=100, step_length=20, fh=np.arange(1, 21))
    grid = [
        {"alpha": ["auto"], "skip_alpha": ["auto"]},
        {"alpha": [0.1, np.inf], "skip_alpha": [0.1], "hidden_size": [1, 4]},
    ]
    search = ForecastingGridSearchCV(
        ALMElmanForecaster(**QUICK),
        cv,
        grid,
        scoring=MeanSquaredError(),
        backend=None,
        error_score="raise",
    )
    search.fit(y)
    assert len(search.cv_results_) == 5
    assert search.predict(fh=[1, 2]).notna().all()


@pytest.mark.filterwarnings("ignore:.*ForecastingOptunaSearchCV:UserWarning")
def test_optuna_search():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    y = threshold_autoregression(80)
    space = {
        "alpha": optuna.distributions.FloatDistribution(1e-3, 10.0, log=True),
        "skip_alpha": optuna.distributions.CategoricalDistribution(["auto", 0.1]),
        "hidden_size": optuna.distributions.IntDistribution(1, 4),
    }
    search = ForecastingOptunaSearchCV(
        ALMElmanForecaster(**QUICK),
        ExpandingWindowSplitter(initial_window=60, step_length=10, fh=[1]),
        space,
        n_evals=4,
        sampler=optuna.samplers.RandomSampler(seed=0),
        backend=None,
    )
    search.fit(y)
    assert set(search.best_params_) == set(space)
    assert search.best_forecaster_.alpha_ == search.best_params_["alpha"]
    assert search.predict(fh=[1, 2]).notna().all()


@pytest.mark.parametrize("fh", [None, [1, 2, 12], [24]], ids=str)
@pytest.mark.parametrize("lags", [1, 3])
@pytest.mark.parametrize("n_rows", [5, 14, 29])
def test_too_few_rows_for_a_network_leave_the_regression(n_rows, lags, fh):
    y = threshold_autoregression(n_rows)
    forecaster = ALMElmanForecaster(lags=lags, **QUICK).fit(y, fh=fh)
    assert forecaster.alpha_ == np.inf
    assert np.isfinite(forecaster.skip_alpha_) and not forecaster.parameters_.A.any()
    assert forecaster.predict(fh=np.arange(1, 25)).notna().all()
    paper = ALMElmanForecaster(lags=lags, **{**QUICK, "skip_alpha": np.inf}).fit(y, fh=fh)
    assert paper.alpha_ == 1.0 and np.isnan(paper.skip_alpha_)


@pytest.mark.parametrize("fh", [[1], [1, 12], [60]], ids=str)
@pytest.mark.parametrize(("lags", "n_rows"), [(12, 20), (1, 40), (30, 62)])
def test_horizons_and_lags_beyond_the_blocks_that_judge(lags, n_rows, fh):
    y = autoregression(n_rows)
    forecaster = ALMElmanForecaster(lags=lags, **BRIEF).fit(y, fh=fh)
    assert forecaster.predict(fh=fh).notna().all()
    assert np.isfinite(forecaster.alpha_path_["loss"]).all()


@pytest.mark.filterwarnings("ignore:Time steps are missing in y:UserWarning")
@pytest.mark.parametrize("fh", [None, [1, 3]], ids=str)
def test_missing_values_and_gaps_in_the_window(fh):
    y = threshold_autoregression(130)
    y[[0, 7, 40, 41, 85, 129]] = np.nan
    gapped = y.drop([*range(20, 25), 60, *range(90, 105)])
    for data in (y, gapped) if fh is None else (gapped,):
        forecaster = ALMElmanForecaster(**QUICK).fit(data, fh=fh)
        judged = forecaster.alpha_path_[["loss", "excess", "standard_error"]]
        assert np.isfinite(judged).all(axis=None)
        assert np.isfinite(forecaster.alpha_)
        assert forecaster.predict(fh=[1, 2, 3]).notna().all()


def test_updates_keep_the_penalties(monkeypatch):
    y = threshold_autoregression(200)
    forecaster = ALMElmanForecaster(**QUICK).fit(y[:180])
    alpha, skip_alpha, path = forecaster.alpha_, forecaster.skip_alpha_, forecaster.alpha_path_
    assert np.isfinite(alpha)
    forecaster.update(y[180:190], update_params=False)
    calls = []

    def spy(inputs, targets, **arguments):
        calls.append((arguments["alpha"], arguments["skip_alpha"]))
        return train(inputs, targets, **arguments)

    monkeypatch.setattr("sktime_alm.trainer.train", spy)
    forecaster.update(y[190:], update_params=True)
    # against the mean over 199 rows, with 3 units, one input and one column
    assert calls == [(pytest.approx(3 * alpha / 199), pytest.approx(skip_alpha / 199))]
    assert (forecaster.alpha_, forecaster.skip_alpha_) == (alpha, skip_alpha)
    pd.testing.assert_frame_equal(forecaster.alpha_path_, path)


def test_an_update_of_the_regression_is_the_regression_of_all_rows():
    options = {**QUICK, "alpha": np.inf, "skip_alpha": 0.2, "lags": 2}
    updated = ALMElmanForecaster(**options).fit(Y2[:30], X[:30]).update(Y2[30:36], X[30:36])
    fresh = ALMElmanForecaster(**options).fit(Y2[:36], X[:36])
    for name, array in named(fresh.parameters_).items():
        np.testing.assert_allclose(named(updated.parameters_)[name], array, atol=1e-12)


def test_the_papers_network_has_no_linear_skip():
    options = {"hidden_size": 3, "max_iter": 5, "random_state": 0}
    # the paper's tau of 1.2 in rows of prior: 34 of them, 3 units, 2 inputs, 2 columns
    alpha = 1.2 * 34 / (3 * np.sqrt(2 * 2))
    forecaster = ALMElmanForecaster(
        lags=0, skip_alpha=np.inf, alpha=alpha, solver_options=ALMSettings(), **options
    )
    forecaster.fit(Y2[:34], X[:34])
    y, exogenous = Y2[:34].to_numpy(), X[:34].to_numpy()
    z = (y - y.mean(axis=0)) / y.std(axis=0)
    v = (exogenous - exogenous.mean(axis=0)) / exogenous.std(axis=0)
    settings = ALMSettings(max_iter=options.pop("max_iter"))
    expected = train(v, z, alpha=1.2, settings=settings, **options)
    assert forecaster.parameters_.D is None and forecaster.objective_ == pytest.approx(
        expected.objective
    )
    for name, array in named(expected.parameters).items():
        np.testing.assert_allclose(named(forecaster.parameters_)[name], array, rtol=1e-9)
    assert np.isnan(forecaster.skip_alpha_) and forecaster.alpha_ == alpha


def oscillation(radius, noise, T=400):
    """A resonance at which white noise u works: poles of this radius and a period of 12."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=T)
    filtered = lfilter([0.0, 1.0], [1.0, -np.sqrt(3.0) * radius, radius**2], u)
    return pd.Series(filtered / filtered.std() + noise * rng.normal(size=T)), pd.DataFrame({"u": u})


def simulated(y, X, n_ahead=100, **arguments):
    """A network that is given X alone, and the error of its run over the last rows."""
    arguments = {"lags": 0, "exog_lags": [0, 1], "random_state": 0, **arguments}
    forecaster = ALMElmanForecaster(hidden_size=3, activation="tanh", **arguments)
    forecaster.fit(y[:-n_ahead], X[:-n_ahead])
    found = forecaster.predict(fh=np.arange(1, n_ahead + 1), X=X[-n_ahead:])
    return forecaster, float(np.sqrt(((found - y[-n_ahead:]) ** 2).mean()))


def norm_of(forecaster):
    return np.linalg.norm(forecaster.parameters_.W, 2)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_bound_makes_way_for_a_light_damping_unless_it_is_given():
    y, X = oscillation(0.995, 0.003)
    bounded, error = simulated(y, X, solver_options={"max_recurrence": 0.98})
    free, smaller = simulated(y, X)
    assert norm_of(bounded) <= 0.98 + 1e-9 < norm_of(free) <= 1.2 + 1e-9
    assert smaller < 0.25 * error
    # updates train on within the same bound
    free.update(y[-100:-50], X[-100:-50])
    assert 0.98 < norm_of(free) <= 1.2 + 1e-9


@pytest.mark.parametrize(
    ("record", "arguments"),
    [
        # noise is most of what is left: nothing tells whether a longer memory would be better
        (oscillation(0.7, 0.3), {}),
        (make_tanks(300, random_state=0), {}),
        # with lags of y memory does not rest with the recurrence alone
        (oscillation(0.995, 0.003), {"lags": 1}),
    ],
    ids=["damped", "tanks", "with lags"],
)
def test_the_bound_stays_where_it_costs_little(record, arguments):
    y, X = record
    options = {**DESCENT, "max_iter": 20}
    found, _ = simulated(y, X, solver_options=options, **arguments)
    given, _ = simulated(y, X, solver_options={**options, "max_recurrence": 0.98}, **arguments)
    np.testing.assert_array_equal(found.parameters_.W, given.parameters_.W)
