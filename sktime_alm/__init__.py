"""An Elman recurrent network for sktime, trained by an augmented Lagrangian method."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sktime_alm._version import __version__

if TYPE_CHECKING:
    from sktime_alm.forecaster import ALMElmanForecaster
    from sktime_alm.panel import mean_of_others

__all__ = ["ALMElmanForecaster", "__version__", "mean_of_others"]

_MODULES = {"ALMElmanForecaster": "forecaster", "mean_of_others": "panel"}


def __getattr__(name: str) -> Any:
    """What stands on sktime, imported when it is asked for: solver and workers need not wait."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
