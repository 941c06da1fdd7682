"""Our solvers, watched: every network that they evaluate and would keep counts, as for rivals."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from unittest.mock import patch

from benchmark_utils.recording import UNLIMITED, Record
from sktime_alm.solver import (
    ALMSettings,
    ElmanParameters,
    ElmanProblem,
    SafeguardedSettings,
    reduced,
    solve,
)

# with default settings; told to look on for better points until time is up; the descent alone
MODES = {
    "default": SafeguardedSettings(),
    "look-on": SafeguardedSettings(max_iter=UNLIMITED, n_relaxations=UNLIMITED),
    "descent-alone": SafeguardedSettings(max_iter=UNLIMITED, active_set=False, n_relaxations=0),
}


def safeguarded(
    problem: ElmanProblem, initial: ElmanParameters, record: Record, mode: str = "look-on"
) -> None:
    """The default method."""
    with _watched(record):
        found = solve(problem, initial, MODES[mode])
    record(found.objective, lambda: found.parameters)


class _Watched(ElmanProblem):
    """A problem that reports every network of which it is asked for R."""

    record: Record

    def objective(self, parameters: ElmanParameters) -> float:
        value = super().objective(parameters)
        self.record(value, lambda: parameters)
        return value


def paper(problem: ElmanProblem, initial: ElmanParameters, record: Record) -> None:
    """Algorithm 3.1 with default settings; R is known once an outer iteration."""
    given = {item.name: getattr(problem, item.name) for item in fields(problem) if item.init}
    watched = _Watched(**given)
    object.__setattr__(watched, "record", record)
    solve(watched, initial, ALMSettings(max_iter=UNLIMITED, patience=None))


# who asks for gradients; found here, since looking through all modules takes milliseconds
_differentiate = reduced.differentiate
_USERS = [
    module
    for name, module in list(sys.modules.items())
    if name.startswith("sktime_alm.solver.")
    and getattr(module, "differentiate", None) is _differentiate
]


@contextmanager
def _watched(record: Record) -> Iterator[None]:
    """Report every gradient that a module of the solver asks for."""

    def watched(*arguments, **options):
        found = _differentiate(*arguments, **options)
        if found is not None:
            record(found.objective, lambda: found.trial.point.parameters)
        return found

    with ExitStack() as stack:
        for module in _USERS:
            stack.enter_context(patch.object(module, "differentiate", watched))
        yield
