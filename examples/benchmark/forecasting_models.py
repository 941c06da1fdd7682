"""The forecasters of the study: ours, and peers that choose their penalties themselves."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LassoCV, RidgeCV
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.forecasting.arch import ARCH
from sktime.forecasting.ardl import ARDL
from sktime.forecasting.base import BaseForecaster
from sktime.forecasting.compose import RecursiveReductionForecaster
from sktime.forecasting.naive import NaiveForecaster
from sktime.forecasting.neuralforecast import NeuralForecastRNN
from sktime.forecasting.sarimax import SARIMAX
from sktime.forecasting.statsforecast import StatsForecastAutoARIMA
from sktime.transformations.adapt import TabularToSeriesAdaptor

from forecasting_data import Data
from sktime_alm import ALMElmanForecaster

BENCHMARK = "HAR-X"


class Model(NamedTuple):
    """How to make a forecaster for a series, the package it needs, and the windows it is fitted on.

    Slow peers are fitted on expanding windows only.
    """

    build: Callable[[Data], BaseForecaster]
    package: str | None = None
    windows: tuple[str, ...] = ("expanding", "rolling")

    @property
    def is_missing(self) -> bool:
        """Whether the package cannot be imported; it is loaded here, not in the first fit."""
        try:
            import_module(self.package or "sktime")
        except ImportError:
            return True
        return False


def ours() -> dict[str, Model]:
    """Our networks. Rows of X are those of the time forecast already: they get no more lags."""

    def elman(**arguments: Any) -> ALMElmanForecaster:
        return ALMElmanForecaster(random_state=0, **arguments)

    without_skip = {"hidden_size": 4, "activation": "elu", "skip_alpha": np.inf, "alpha": 30.0}
    return {
        "Elman (ALM)": Model(lambda data: elman(lags=max(data.windows))),
        "Elman (ALM), HAR inputs": Model(lambda data: elman(lags=0, window_means=data.windows)),
        "Elman (ALM), HAR inputs, no skip": Model(
            lambda data: elman(lags=0, window_means=data.windows, **without_skip)
        ),
    }


def peers() -> dict[str, Model]:
    """Those that people use instead."""
    slow = ("expanding",)
    return {
        "random walk": Model(lambda data: NaiveForecaster(strategy="last")),
        "HAR": Model(lambda data: _har("HAR", data), "arch"),
        BENCHMARK: Model(lambda data: _har("HARX", data), "arch"),
        "ARMA-X": Model(lambda data: _arma(), "statsmodels.api"),
        "ARDL": Model(lambda data: ARDL(lags=max(data.windows), order=0), "statsmodels.api"),
        "AutoARIMA-X": Model(lambda data: StatsForecastAutoARIMA(), "statsforecast", slow),
        "ridge": Model(lambda data: _reduction(RidgeCV(np.logspace(-1, 4, 11)), data)),
        "LASSO": Model(lambda data: _reduction(LassoCV(cv=TimeSeriesSplit(5)), data)),
        "boosting": Model(lambda data: _reduction(_boosting(), data), windows=slow),
        "MLP": Model(lambda data: _reduction(_mlp(), data), windows=slow),
        "RNN (PyTorch)": Model(_torch_rnn, "neuralforecast", slow),
    }


def _har(mean: str, data: Data) -> ARCH:
    """Least squares on averages of y (and X); iterated, it forecasts and has a variance."""
    return ARCH(mean, lags=list(data.windows), vol="Constant", method="analytic")


def _arma() -> BaseForecaster:
    """A regression with ARMA errors; without the scaler its optimiser often stops early."""
    return TabularToSeriesAdaptor(StandardScaler()) ** SARIMAX(order=(1, 0, 1), trend="c")


def _reduction(regressor: BaseEstimator, data: Data) -> RecursiveReductionForecaster:
    """A regression on lags of y and on the X of the time forecast, iterated."""
    pipeline = make_pipeline(StandardScaler(), regressor)
    return RecursiveReductionForecaster(pipeline, window_length=max(data.windows))


def _search(regressor: BaseEstimator, **grid: list[float]) -> GridSearchCV:
    """The best of a grid on later parts of the training window."""
    return GridSearchCV(regressor, grid, scoring="neg_mean_squared_error", cv=TimeSeriesSplit(3))


def _boosting() -> GridSearchCV:
    trees = GradientBoostingRegressor(
        n_estimators=50, learning_rate=0.1, subsample=0.5, max_features="sqrt", random_state=0
    )
    return _search(trees, max_depth=[1, 3])


def _mlp() -> GridSearchCV:
    network = MLPRegressor(
        hidden_layer_sizes=(4,), activation="relu", solver="lbfgs", max_iter=200, random_state=0
    )
    return _search(network, alpha=[1.0, 10.0, 100.0])


def _torch_rnn(data: Data) -> NeuralForecastRNN:
    """An Elman encoder with a small decoder, trained by Adam."""
    _, X = data.known(1)
    quiet = ("logger", "enable_progress_bar", "enable_checkpointing", "enable_model_summary")
    return NeuralForecastRNN(
        futr_exog_list=list(X.columns),
        input_size=2 * max(data.windows),
        inference_input_size=2 * max(data.windows),
        encoder_n_layers=1,
        encoder_hidden_size=8,
        decoder_hidden_size=8,
        max_steps=100,
        learning_rate=0.003,
        scaler_type="standard",
        random_seed=0,
        trainer_kwargs={"accelerator": "cpu", **dict.fromkeys(quiet, False)},
    )
