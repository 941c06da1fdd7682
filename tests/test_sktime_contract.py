"""All of sktime's own estimator checks."""

import pytest
from sktime.utils.estimator_checks import check_estimator, parametrize_with_checks

from sktime_alm import ALMElmanForecaster


# the checks themselves warn: of numpy and pandas, and of what sktime will change
@pytest.mark.filterwarnings("default", "ignore:Training did not converge")
@parametrize_with_checks([ALMElmanForecaster])
def test_sktime_estimator_checks(obj, test_name):
    check_estimator(obj, tests_to_run=test_name, raise_exceptions=True, verbose=False)
