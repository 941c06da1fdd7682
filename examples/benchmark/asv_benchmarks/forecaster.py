"""The forecaster as a user calls it."""

import warnings
from typing import Any

import numpy as np

from sktime_alm import ALMElmanForecaster
from sktime_alm.datasets import load_sp500_volatility

_ARGUMENTS: dict[str, Any] = {
    "hidden_size": 8,
    "activation": "elu",
    "exog_lags": [1],
    "random_state": 0,
}
_N_TRAIN = 400


class Forecaster:
    """Monthly volatility: a given penalty, and one that is chosen."""

    params = [20.0, "auto"]
    param_names = ["alpha"]
    timeout = 120

    def setup(self, alpha):
        warnings.simplefilter("ignore")
        self.y, self.X = load_sp500_volatility()
        self.train = self.y[:_N_TRAIN], self.X[:_N_TRAIN]
        # compiled by the first fit
        self.forecaster = self.new(alpha).fit(*self.train)

    def new(self, alpha):
        return ALMElmanForecaster(alpha=alpha, **_ARGUMENTS)

    def time_fit(self, alpha):
        self.new(alpha).fit(*self.train)

    def time_predict_one_step(self, alpha):
        self.forecaster.predict(fh=1)

    def time_predict_in_sample(self, alpha):
        self.forecaster.predict(fh=np.arange(-299, 1))

    def time_predict_interval(self, alpha):
        self.forecaster.predict_interval(fh=1, coverage=0.9)


class Update:
    """A month of news; a forecaster is updated once, or the rows would be known already."""

    number, repeat, warmup_time = 1, 10, 0.0
    params = [False, True]
    param_names = ["update_params"]
    timeout = 120

    def setup(self, update_params):
        warnings.simplefilter("ignore")
        y, X = load_sp500_volatility()
        forecaster = ALMElmanForecaster(alpha=20.0, **_ARGUMENTS)
        self.forecaster = forecaster.fit(y[:_N_TRAIN], X[:_N_TRAIN])
        self.news = y[_N_TRAIN : _N_TRAIN + 1], X[_N_TRAIN : _N_TRAIN + 1]

    def time_update(self, update_params):
        self.forecaster.update(*self.news, update_params=update_params)
