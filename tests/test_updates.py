"""Updates row by row: states in pieces equal one pass, and training goes on at little cost."""

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sktime_alm import ALMElmanForecaster
from sktime_alm.solver import kernels
from tests.conftest import NETWORK, QUICK, named
from tests.test_forecaster import make_data
from tests.test_penalties import threshold_autoregression

Y, X = make_data(T=80, m=2)
Y_MISSING = Y.copy()
Y_MISSING.iloc[[20, 41, 42, 50], 0] = np.nan
CASES: dict[str, tuple[pd.DataFrame, dict[str, Any]]] = {
    "plain": (Y, {}),
    "missing": (Y_MISSING, {"lags": 2}),
    "ensemble": (Y, {"n_init": 3, "lags": [1, 4], "exog_lags": [0, 2]}),
    "gaps": (Y.drop(Y.index[[15, 45, 46, 55]]), {"lags": 3, "window_means": (2,)}),
    "no lags": (Y.drop(Y.index[[45]]), {"lags": 0}),
    "no skip": (Y, {"skip_alpha": np.inf, "window_means": (1, 3), "lags": 0}),
}


@pytest.mark.filterwarnings("ignore:Time steps are missing in y:UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_the_state_after_updates_in_pieces_is_that_of_one_pass(case):
    y, arguments = CASES[case]
    forecaster = ALMElmanForecaster(**{**NETWORK, **arguments}).fit(y[:38], X.loc[y.index[:38]])
    at_once = pickle.loads(pickle.dumps(forecaster)).update(y[:70], X, update_params=False)
    rng = np.random.default_rng(0)
    for _ in range(3):
        in_pieces = pickle.loads(pickle.dumps(forecaster))
        cuts = np.sort(rng.choice(np.arange(39, 70), 8, replace=False))
        for cut in [*cuts, 70]:
            # overlapping rows, which are ignored
            first = max(cut - int(rng.integers(1, 40)), 0)
            seen = len(in_pieces._history.y)
            in_pieces.update(y[min(first, seen) : cut], X, update_params=False)
        assert len(in_pieces._history.y) == 70
        for state, expected in zip(in_pieces._fitted.states, at_once._fitted.states, strict=True):
            np.testing.assert_allclose(state, expected, rtol=1e-12)
        steps = [-20, -1, 0, 1, 3] if case not in ("gaps", "no lags") else [-1, 0, 1, 3]
        pd.testing.assert_frame_equal(
            in_pieces.predict(fh=steps, X=X), at_once.predict(fh=steps, X=X), rtol=1e-12
        )
    assert at_once.parameters_ is not None and any(p.W.any() for p in at_once.networks_)
    for name, array in named(forecaster.parameters_).items():
        np.testing.assert_array_equal(array, named(at_once.parameters_)[name])


def count_rows(monkeypatch):
    """A list whose sum is the number of rows that networks are run over in training."""
    rows, evaluate = [], kernels.evaluate

    def counted(u, *arguments):
        rows.append(len(u))
        return evaluate(u, *arguments)

    monkeypatch.setattr(kernels, "evaluate", counted)
    return rows


@pytest.mark.parametrize("alpha", ["auto", 0.1])
def test_training_on_costs_a_fraction_of_a_fresh_fit(alpha, monkeypatch):
    T = 400
    y = threshold_autoregression(T + 10)
    options = {"hidden_size": 4, "alpha": alpha, "random_state": 0}
    rows = count_rows(monkeypatch)
    forecaster = ALMElmanForecaster(**options).fit(y[:T])
    assert np.isfinite(forecaster.alpha_) and forecaster.parameters_.A.any()
    of_fit, before = sum(rows), forecaster.objective_
    for stop in (T + 1, T + 10):
        updated = pickle.loads(pickle.dumps(forecaster))
        rows.clear()
        updated.update(y[T:stop], update_params=True)
        assert T <= sum(rows) < of_fit / 5
        # and ends as low: as a fit that begins at random, or where a path led to, as the first did
        fresh = before
        if alpha != "auto":
            fresh = ALMElmanForecaster(**options).fit(y[:stop]).objective_
        assert updated.objective_ <= 1.01 * fresh


def test_values_that_were_seen_otherwise_are_said_to_stay_as_they_were(recwarn):
    y = Y_MISSING["y0"]
    forecaster = ALMElmanForecaster(**NETWORK).fit(y[:45])
    forecaster.update(y[30:50], update_params=False)
    assert not [w for w in recwarn if "other values" in str(w.message)]
    forecaster.update(y[30:50].astype("float32"), update_params=False)
    both = ALMElmanForecaster(**NETWORK).fit(Y[:45])
    both.update(Y[Y.columns[::-1]][40:50], update_params=False)
    assert not [w for w in recwarn if "other values" in str(w.message)]
    expected = forecaster.predict(fh=[1])
    for late in (Y["y0"][41:42], 1.01 * y[48:50]):
        known = pickle.loads(pickle.dumps(forecaster))
        with pytest.warns(
            UserWarning, match="times that were seen before, such as .* anew: what was seen stays"
        ):
            known.update(late, update_params=False)
        with pytest.warns(UserWarning, match="other values at times"):
            pickle.loads(pickle.dumps(forecaster)).update(
                pd.concat([late, y[50:52]]), update_params=False
            )
        known.update(y[48:50], update_params=False)
        pd.testing.assert_series_equal(known.predict(fh=[1]), expected)


@pytest.mark.parametrize("value", ["no", 0, None])
def test_update_params_is_true_or_false(value):
    y = pd.Series(np.random.default_rng(0).normal(size=40))
    forecaster = ALMElmanForecaster(**QUICK).fit(y[:30])
    with pytest.raises(TypeError, match="update_params must be True or False"):
        forecaster.update(y[30:], update_params=value)
    assert forecaster.cutoff[0] == 29
