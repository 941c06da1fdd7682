"""All of sktime's own estimator checks."""

import numpy as np
import pytest
from sktime.utils.estimator_checks import check_estimator, parametrize_with_checks

from sktime_alm import ALMElmanForecaster
from tests.conftest import DESCENT

QUICK = {
    "hidden_size": 2,
    "max_iter": 2,
    "random_state": 0,
    "solver_options": DESCENT,
}
MORE = [
    ALMElmanForecaster(),
    ALMElmanForecaster(alpha=np.inf, lags=0, window_means=(1, 2), exog_lags=None),
    ALMElmanForecaster(activation="tanh", exog_lags=None, n_init=2, **QUICK),
    ALMElmanForecaster(lags=3, window_means={"y": (2,)}, alpha=0.5, skip_alpha="auto", **QUICK),
]

# those that fit for every kind of index, of horizon and of data
LONG = (
    "test_hierarchical_with_exogenous",
    "test_predict_time_index",
    "test_predict_time_index_with_X",
    "test_update_predict_predicted_index",
)
NAMES, CHECKS = parametrize_with_checks([ALMElmanForecaster]).args


# the checks themselves warn: of numpy and pandas, and of what sktime will change
@pytest.mark.filterwarnings("default", "ignore:Training did not converge")
@pytest.mark.parametrize(
    NAMES,
    [pytest.param(*c, marks=pytest.mark.slow if c[1] in LONG else ()) for c in CHECKS],
)
def test_sktime_estimator_checks(obj, test_name, few_replays):
    check_estimator(obj, tests_to_run=test_name, raise_exceptions=True, verbose=False)


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("default", "ignore:Training did not converge")
@pytest.mark.parametrize("forecaster", MORE, ids=str)
def test_sktime_estimator_checks_of_other_arguments(forecaster):
    check_estimator(forecaster, raise_exceptions=True, verbose=False)
