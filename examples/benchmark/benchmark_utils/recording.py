"""What a solver reports to whoever watches it, and how it is told to end."""

from __future__ import annotations

from collections.abc import Callable

from sktime_alm.solver import ElmanParameters

# R, or None where a solver does not know it, and a function that gives the weights
Record = Callable[[float | None, Callable[[], ElmanParameters]], None]
# iterations that no budget of seconds allows
UNLIMITED = 10**9


class Stopped(Exception):
    """The time is used up."""
