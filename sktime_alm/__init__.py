"""An Elman recurrent network for sktime, trained by an augmented Lagrangian method."""

from sktime_alm._version import __version__
from sktime_alm.forecaster import ALMElmanForecaster
from sktime_alm.panel import mean_of_others

__all__ = ["ALMElmanForecaster", "__version__", "mean_of_others"]
