"""No input of a time is made of y of that time or later, nor of X but by lag 0."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sktime_alm import ALMElmanForecaster
from sktime_alm.inputs import InputLayout
from tests.test_forecaster import FAST, make_data

T = 40


@st.composite
def layouts(draw):
    """Lags, windows and half-lives of y, and as much of two columns of X."""
    of_y = st.sets(st.integers(1, 9), max_size=3).map(sorted)
    lives = st.sets(st.sampled_from([0.5, 1, 3.3, 12]), max_size=2).map(sorted)
    of_X = st.sets(st.integers(0, 5), min_size=1, max_size=3).map(sorted)
    return InputLayout.from_arguments(
        draw(of_y),
        {"y": draw(of_y), "a": draw(of_y)},
        {"y": draw(lives), "b": draw(lives)},
        {"a": draw(of_X), "b": draw(of_X)},
        ["a", "b"],
    )


@given(layouts(), st.integers(0, T - 1), st.sampled_from([(0,), (0, 17)]), st.booleans())
def test_what_comes_later_is_no_input(layout, t, starts, is_missing):
    rng = np.random.default_rng(t)
    y, X = rng.normal(size=(T, 2)), rng.normal(size=(T, 2))
    before = layout.rows(y, X, starts)
    y[t:], X[t:] = (np.nan if is_missing else 1e6), 1e6
    after = layout.rows(y, X, starts)
    np.testing.assert_array_equal(after[:t], before[:t])
    is_present = np.array([term.first == 0 for term in layout.terms])
    n_from_y = layout.n_from_y(2)
    np.testing.assert_array_equal(after[t, :n_from_y], before[t, :n_from_y])
    changed = after[t, n_from_y:] != before[t, n_from_y:]
    np.testing.assert_array_equal(changed, is_present)


@given(layouts(), st.integers(0, T - 1))
def test_every_input_says_something_of_what_came_before(layout, t):
    """The test above could not fail of inputs that are always 0."""
    y, X = np.zeros((2, T, 2)), np.zeros((2, T, 2))
    y[1, :t], X[1, : t + 1] = 1.0, 1.0
    inputs = [layout.rows(*pair)[t] for pair in zip(y, X, strict=True)]
    if t >= layout.span:
        assert (inputs[0] == 0.0).all()
        np.testing.assert_allclose(inputs[1], 1.0, rtol=1e-12)


@pytest.mark.parametrize("loss", ["squared", "qlike"])
@pytest.mark.parametrize("n_seen", [60, 75])
def test_fitted_values_do_not_change_with_what_comes_at_their_time(loss, n_seen):
    """Of rows that came by update: what was fitted is that of the rows before."""
    y, X = make_data(T=90)
    y, arguments = np.exp(y / 10.0), {"exog_lags": 1, "half_lives": [2.0], "window_means": [3]}
    forecaster = ALMElmanForecaster(loss=loss, **arguments, **FAST).fit(y[:50], X[:50])
    step_by_step = forecaster.clone().fit(y[:50], X[:50])
    step_by_step.update(y[50:n_seen], X[50:n_seen], update_params=False)
    expected = step_by_step.predict(fh=[1]).iloc[0, 0]
    wild = y.copy()
    wild.iloc[n_seen:] *= 1e3
    for later in (y, wild):
        seen = forecaster.clone().fit(y[:50], X[:50])
        seen.update(later[50:], X[50:], update_params=False)
        fitted = seen.predict(fh=[n_seen - 89]).iloc[0, 0]
        assert fitted == pytest.approx(expected, rel=1e-9)
    assert isinstance(expected, float) and np.isfinite(expected) and isinstance(y, pd.DataFrame)
