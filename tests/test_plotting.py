"""Pictures: what is drawn, not how it looks."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from sktime_alm import ALMElmanForecaster
from sktime_alm.plotting import plot_convergence, plot_forecast

INDEX = pd.period_range("2000-01", periods=20, freq="M")
Y = pd.Series(np.sin(np.arange(20.0)), index=INDEX)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def forecaster():
    return ALMElmanForecaster(hidden_size=2, max_iter=5, random_state=0).fit(Y)


def test_convergence_shows_the_history(forecaster):
    ax = plot_convergence(forecaster)
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    history = forecaster.result_.history
    np.testing.assert_array_equal(lines["penalty"], [record.penalty for record in history])
    np.testing.assert_array_equal(
        lines["objective of the network"], [record.objective for record in history]
    )
    assert len(lines) == 5 and ax.get_yscale() == "log"
    other = plt.subplots()[1]
    assert plot_convergence(forecaster.result_, ax=other) is other and len(other.lines) == 5
    for wrong in ("a", None):
        with pytest.raises(TypeError, match=f"fit must be an ALMResult or .*, found {wrong!r}"):
            plot_convergence(wrong)
    with pytest.raises(TypeError, match="ax must be Axes of matplotlib, found 'a'"):
        plot_convergence(forecaster, ax="a")


def test_forecasts_are_drawn_beside_the_actual_values(forecaster):
    forecast = forecaster.predict(fh=np.arange(-5, 3))
    ax = plot_forecast(Y, {"ours": forecast})
    assert [line.get_label() for line in ax.lines] == ["actual", "ours"]
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), forecast)
    for wrong in (None, "a", {"ours": None}):
        with pytest.raises(TypeError, match="y and forecasts must be of type pandas.Series, found"):
            plot_forecast(Y, wrong)
    with pytest.raises(TypeError, match="ax must be Axes of matplotlib, found 'a'"):
        plot_forecast(Y, forecast, ax="a")
