"""An Elman recurrent network for sktime, trained by an augmented Lagrangian method."""

from sktime_alm.forecaster import ALMElmanForecaster

__version__ = "0.1.0"

__all__ = ["ALMElmanForecaster", "__version__"]
