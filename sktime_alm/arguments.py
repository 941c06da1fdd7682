"""The arguments of the forecaster: their checks, the solver's settings, advice on both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from numbers import Real
from typing import Any

import numpy as np

from sktime_alm.calendar import Calendar
from sktime_alm.inputs import OF_SERIES, InputLayout
from sktime_alm.solver import ALMResult, ALMSettings, SafeguardedSettings, Status
from sktime_alm.solver._validation import (
    MOST,
    check_callback,
    check_choice,
    check_count,
    check_nonnegative,
)
from sktime_alm.solver.activations import get_activation
from sktime_alm.solver.multistart import n_threads

# said in fit, where X is given
CONTEMPORANEOUS = (
    "X of time t is an input of the forecast of time t, since exog_lags was not given: right for "
    "what is known in advance, as a calendar or a plan is, a leak in a backtest otherwise. Pass "
    "exog_lags=0 to say so, or exog_lags=1 for what is observed together with y."
)

# windows and half-lives by the rhythm of a calendar: a week and a month of days, a month and a
# quarter of weeks, a quarter and a year of months; rows that are only counted pass for days
_HAR = {
    "business days": (5, 22),
    "days": (7, 30),
    "weeks": (4, 13),
    "months": (3, 12),
}
_LADDERS = {
    "business days": (1, 2, 5, 12, 30, 80),
    "weeks": (1, 2, 4, 13, 26),
    "months": (1, 3, 6, 12),
}


def layout_of(
    arguments: Mapping[str, Any], calendar: Calendar, columns: Sequence[Any], is_log: bool
) -> InputLayout:
    """The inputs that the arguments ask for; what is left out depends on the loss.

    One of logarithms is for variances, which remember long: if neither lags nor means are given,
    y and the columns of X enter by ladders of half-lives. X is taken to be observed with y.
    """
    names = ("lags", "window_means", "half_lives", "exog_lags", "calendar_inputs")
    lags, windows, half_lives, exog_lags, has_calendar = (arguments[name] for name in names)
    if is_log and columns and exog_lags is None:
        exog_lags = 1
    if is_log and lags is windows is half_lives is None:
        lags, half_lives = 0, dict.fromkeys([OF_SERIES, *columns], "ladder")
    # weekdays move variances; what they do to other series is left to the user
    if has_calendar is None:
        has_calendar = is_log and calendar.has_features
    return InputLayout.from_arguments(
        1 if lags is None else lags,
        _named(windows, "window_means", "har", _HAR, calendar),
        _named(half_lives, "half_lives", "ladder", _LADDERS, calendar),
        exog_lags,
        columns,
        calendar.n_features if has_calendar else 0,
    )


def _named(
    value: Any, argument: str, name: str, known: Mapping[str, Any], calendar: Calendar
) -> Any:
    """The value with what its names stand for."""
    if isinstance(value, Mapping):
        return {key: _named(item, argument, name, known, calendar) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    check_choice(value, argument, (name,))
    # a ladder in rows serves any series; a HAR's week and month are those of a calendar
    rhythm = calendar.rhythm
    found = known.get(rhythm or "", known["business days"] if argument == "half_lives" else None)
    if found is None:
        raise ValueError(
            f"{argument}={value!r} is known for days, business days, weeks and months; for other "
            f"steps pass the numbers, such as {argument}={known['business days']}"
        )
    return found


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuse what the solver does not see, or sees by another name.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, what was found and what is needed.
    """
    check_count(arguments["hidden_size"], "hidden_size", maximum=MOST)
    check_count(arguments["verbose"], "verbose", minimum=0)
    check_count(arguments["n_init"], "n_init", maximum=MOST)
    check_choice(arguments["interval_method"], "interval_method", ("bootstrap", "conformal"))
    for name in ("alpha", "skip_alpha"):
        value = arguments[name]
        if isinstance(value, str):
            check_choice(value, name, ("auto",))
        # infinity is a strength here, though no finite number
        elif not (isinstance(value, Real) and value == np.inf):
            check_nonnegative(value, name)
    # neither hidden units nor a linear part: nothing would be left but a constant
    if arguments["alpha"] == arguments["skip_alpha"] == np.inf:
        raise ValueError("alpha must be finite with skip_alpha=inf, found inf for both")
    get_activation(arguments["activation"])
    n_threads(arguments["n_jobs"])
    calendar_inputs = arguments["calendar_inputs"]
    if not (calendar_inputs is None or isinstance(calendar_inputs, (bool, np.bool_))):
        raise TypeError(f"calendar_inputs must be True, False or None, found {calendar_inputs!r}")
    check_callback(arguments["callback"])
    settings_of(arguments["solver_options"], arguments["max_iter"])


def settings_of(solver_options: Any, max_iter: Any) -> SafeguardedSettings | ALMSettings:
    """The settings that ``solver_options`` stands for: an object of them, or a dict of its fields.

    ``max_iter``, if it is given, takes the place of theirs.
    """
    options = {} if solver_options is None else solver_options
    if isinstance(options, Mapping):
        known = {item.name for item in fields(SafeguardedSettings)}
        unknown = sorted(set(options) - known)
        if unknown:
            raise ValueError(
                f"solver_options must hold fields of SafeguardedSettings, {sorted(known)}; found "
                f"{unknown}"
            )
        options = SafeguardedSettings(**options)
    if not isinstance(options, (SafeguardedSettings, ALMSettings)):
        raise TypeError(
            f"solver_options must be settings of the solver or a dict of them, found {options!r}"
        )
    return (
        options
        if max_iter is None
        else replace(options, max_iter=check_count(max_iter, "max_iter"))
    )


def is_bound_given(solver_options: Any) -> bool:
    """Whether ``solver_options`` say how the recurrence is bounded; settings always do."""
    if isinstance(solver_options, Mapping):
        return "max_recurrence" in solver_options
    return solver_options is not None


def advice_on(result: ALMResult, settings: SafeguardedSettings | ALMSettings) -> str | None:
    """Why training ended early, and what would help; None if it did not."""
    is_kkt = result.certificate.residual <= settings.tolerance
    if result.status in (Status.CONVERGED, Status.CALLBACK):
        return None
    if result.status is Status.AT_REST and is_kkt:
        return None
    if result.status is Status.INTERRUPTED:
        advice = "The best network so far is kept."
    elif result.status is Status.LOST:
        advice = "Once there are workers again, another pretrain trains on from there."
    elif result.status is Status.AT_REST:
        advice = "It is usable; another random_state, more starts or a larger alpha may end closer."
    elif result.status is Status.TIME_IS_UP:
        advice = "Raise max_seconds in solver_options."
    elif result.status is Status.NON_FINITE:
        advice = "Set a smaller initial_penalty in solver_options, or a larger alpha."
    elif isinstance(settings, SafeguardedSettings):
        advice = "Raise max_iter, or patience in solver_options."
    elif result.certificate.relative_feasibility <= settings.tolerance:
        advice = (
            "The constraints hold but the point is not stationary: the penalty grew faster "
            "than the sweeps could follow. Set a smaller initial_penalty, a smaller "
            "penalty_update_factor or a larger max_inner_iter in solver_options."
        )
    else:
        advice = "Raise max_iter, or max_inner_iter in solver_options."
    # no numbers: Python shows a warning of one text once, not once a fit
    return (
        f"Training did not converge to tolerance={settings.tolerance:g}. {result.status} {advice} "
        "The attribute certificate_ says how far it got."
    )
