"""Pictures of a fit and of forecasts; matplotlib is imported on use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sktime_alm.forecaster import ALMElmanForecaster
from sktime_alm.solver.result import ALMResult

_FEW = 3

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_convergence(fit: ALMResult | ALMElmanForecaster, ax: Axes | None = None) -> Axes:
    """Objective, KKT residual, constraint violations and penalty against the outer iterations.

    Parameters
    ----------
    fit : ALMResult or fitted ALMElmanForecaster
    ax : matplotlib Axes, optional
        Drawn on; a new figure if not given.

    Returns
    -------
    matplotlib Axes
        With a logarithmic scale.

    Raises
    ------
    ValueError, TypeError
        If the fit is none or holds no iterations, or ``ax`` is no Axes.
    """
    from matplotlib.ticker import MaxNLocator

    if not isinstance(fit, (ALMResult, ALMElmanForecaster)):
        raise TypeError(f"fit must be an ALMResult or a fitted ALMElmanForecaster, found {fit!r}")
    result = fit if isinstance(fit, ALMResult) else fit.result_
    if not result.history:
        raise ValueError("fit must hold at least one iteration, found an empty history")
    ax = _axes(ax)
    curves = {
        "objective of the network": [record.objective for record in result.history],
        "KKT residual": [record.kkt_residual for record in result.history],
        "||u - (W h + V x + b)||": [record.preactivation_violation for record in result.history],
        "||h - sigma(u)||": [record.hidden_violation for record in result.history],
        "penalty": [record.penalty for record in result.history],
    }
    iterations = [record.iteration for record in result.history]
    for label, values in curves.items():
        # an overflowed rollout has no place on the axis
        ax.plot(iterations, np.where(np.isfinite(values), values, np.nan), label=label)
    ax.set(yscale="log", xlabel="outer iteration")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend()
    return ax


def plot_forecast(
    y: pd.Series,
    forecasts: pd.Series | Mapping[str, pd.Series],
    pred_interval: pd.DataFrame | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Forecasts against the actual values, by sktime's ``plot_series``.

    Parameters
    ----------
    y : pandas.Series
        The actual values.
    forecasts : pandas.Series or mapping of str to pandas.Series
        The forecasts, or label and values of several of them. Single points are dots.
    pred_interval : pandas.DataFrame, optional
        As returned by ``predict_interval``; drawn as a band.
    ax : matplotlib Axes, optional
        Drawn on; a new figure if not given.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError
        If ``y`` or a forecast is not of pandas, or ``ax`` is no Axes.
    """
    from sktime.utils.plotting import plot_series

    lines = forecasts if isinstance(forecasts, Mapping) else {"forecast": forecasts}
    drawn = y, *lines.values()
    if not all(isinstance(line, (pd.Series, pd.DataFrame)) for line in drawn):
        found = [type(line).__name__ for line in drawn]
        raise TypeError(f"y and forecasts must be of type pandas.Series, found {found}")
    ax = _axes(ax)
    plot_series(
        y,
        *lines.values(),
        labels=["actual", *lines],
        # a series of up to three rows is drawn as dots, which need a marker
        markers=["", *("o" if len(line) <= _FEW else "" for line in lines.values())],
        colors=["0.6", *(f"C{i}" for i in range(len(lines)))],
        # plot_series changes its index in place
        pred_interval=None if pred_interval is None else pred_interval.copy(),
        ax=ax,
    )
    return ax


def _axes(ax: Axes | None) -> Axes:
    import matplotlib.pyplot as plt

    if ax is not None and not isinstance(ax, plt.Axes):
        raise TypeError(f"ax must be Axes of matplotlib, found {ax!r}")
    return plt.subplots()[1] if ax is None else ax
