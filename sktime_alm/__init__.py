"""An Elman recurrent network for sktime, trained by an augmented Lagrangian method."""

from sktime_alm._version import __version__
from sktime_alm.forecaster import ALMElmanForecaster

__all__ = ["ALMElmanForecaster", "__version__"]
