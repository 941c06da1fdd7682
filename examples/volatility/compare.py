"""How models are run over the rows to forecast, compared and reported."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from sktime_alm.evaluation import diebold_mariano, model_confidence_set
from volatility import learners, linear
from volatility.data import Data
from volatility.linear import Windows
from volatility.ours import LEVELS, ours

BENCHMARK = "HAR in logs"
OURS = "Elman (ALM)"


class Model(NamedTuple):
    """A function of train and test, how often it is fitted anew, and the package it needs.

    ``n_blocks`` are the blocks of rows that one fit forecasts.
    """

    forecast: Callable[..., pd.DataFrame]
    n_blocks: int = 1
    package: str = "sklearn"


class Run(NamedTuple):
    """Forecasts of the variance, quantiles if the model has them, and seconds."""

    forecasts: pd.DataFrame
    quantiles: pd.DataFrame | None
    seconds: float


def models(windows: Windows) -> dict[str, Model]:
    """All models of the study; those that are slow to fit are fitted less often."""
    with_windows = {
        "HAR": Model(linear.har_levels),
        BENCHMARK: Model(linear.har_logs),
        "pooled HAR in logs": Model(linear.pooled_har),
        "HAR by QLIKE": Model(linear.har_qlike),
        "HAR in logs, returns": Model(linear.leverage_har),
        "ridge, market, returns": Model(linear.ridge),
        "QLIKE, market, returns": Model(partial(linear.har_qlike, market=True, returns=True)),
        "average of five linear": Model(linear.average),
        "LightGBM, pooled": Model(learners.boosting, 4, "lightgbm"),
        "MLP (PyTorch), pooled": Model(learners.mlp, 4, "torch"),
    }
    return {
        "random walk": Model(linear.random_walk),
        "GARCH(1, 1)": Model(linear.garch, 4, "arch"),
        **{
            name: model._replace(forecast=partial(model.forecast, windows=windows))
            for name, model in with_windows.items()
        },
        f"{OURS}, each series": Model(ours, 24),
        f"{OURS}, pretrained": Model(partial(ours, pretrained=True), 24),
    }


def installed(candidates: dict[str, Model]) -> dict[str, Model]:
    """Those whose package can be imported."""
    return {name: model for name, model in candidates.items() if find_spec(model.package)}


def walk_forward(name: str, model: Model, data: Data, first: int) -> Run:
    """Forecasts of the rows from first on, in blocks, each by a fit to all rows before it."""
    began, T = time.perf_counter(), len(data.panel.variances)
    n_rows = data.refit_every * model.n_blocks
    starts = tqdm(range(first, T, n_rows), desc=f"{name:30s}", unit="fit")
    blocks = [
        model.forecast(data.panel.rows(0, start), data.panel.rows(start, start + n_rows))
        for start in starts
    ]
    forecasts, quantiles = pd.concat(blocks), None
    if forecasts.columns.nlevels == 2:
        forecasts, quantiles = forecasts.xs("mean", axis=1, level=1), forecasts
    return Run(forecasts, quantiles, time.perf_counter() - began)


def qlike(variances: pd.DataFrame, forecasts: pd.DataFrame) -> pd.DataFrame:
    """The losses v/f - log(v/f) - 1 (Patton 2011) of each row and series."""
    ratio = variances / forecasts
    return ratio - np.log(ratio) - 1.0


def summarise(data: Data, fitted: dict[str, Run], reps: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table of models, and their mean QLIKE of each series."""
    variances = data.panel.variances.loc[fitted[BENCHMARK].forecasts.index]
    losses = {name: qlike(variances, run.forecasts) for name, run in fitted.items()}
    squares = {
        name: (np.sqrt(variances) - np.sqrt(run.forecasts)) ** 2 for name, run in fitted.items()
    }
    each = pd.DataFrame({name: loss.mean() for name, loss in losses.items()})
    error = pd.DataFrame({name: loss.mean() for name, loss in squares.items()})
    tests = {name: _significant(loss, losses[BENCHMARK]) for name, loss in losses.items()}
    table = pd.DataFrame(
        {
            "QLIKE": each.mean(),
            "relative QLIKE": each.div(each[BENCHMARK], axis=0).mean(),
            "relative MSE": error.div(error[BENCHMARK], axis=0).mean(),
            "better": {name: better for name, (better, _) in tests.items()},
            "worse": {name: worse for name, (_, worse) in tests.items()},
            "in MCS": _in_confidence_sets(losses, reps),
            "rows a fit": {
                name: data.refit_every * model.n_blocks
                for name, model in models(data.windows).items()
                if name in fitted
            },
            "seconds": {name: run.seconds for name, run in fitted.items()},
        }
    )
    return table.loc[list(fitted)], each


def _significant(losses: pd.DataFrame, benchmark: pd.DataFrame) -> tuple[int, int]:
    """Series with a mean loss below and above the benchmark's, at 5 % of Diebold and Mariano."""
    tests = [diebold_mariano(losses[name], benchmark[name]) for name in losses]
    signs = [np.sign(test.statistic) for test in tests if test.p_value < 0.05]
    return signs.count(-1.0), signs.count(1.0)


def _in_confidence_sets(losses: dict[str, pd.DataFrame], reps: int) -> pd.Series:
    """In how many series each model may be the best, with 90 % confidence."""
    series = losses[BENCHMARK].columns
    sets = [
        model_confidence_set(
            pd.DataFrame({model: loss[name] for model, loss in losses.items()}),
            random_state=0,
            reps=reps,
        )["included"]
        for name in tqdm(series, desc="model confidence sets", unit="series")
    ]
    return pd.concat(sets, axis=1).sum(axis=1)


def coverage(data: Data, run: Run) -> pd.Series:
    """The share of variances within the central intervals, over all series."""
    quantiles = run.quantiles
    assert quantiles is not None
    values = data.panel.variances.loc[quantiles.index]
    n = len(LEVELS) // 2
    shares = {}
    for low, high in zip(LEVELS[:n], LEVELS[: n - 1 : -1], strict=True):
        lower, upper = (quantiles.xs(q, axis=1, level=1)[values.columns] for q in (low, high))
        shares[f"{high - low:.0%}"] = ((values >= lower) & (values <= upper)).to_numpy().mean()
    return pd.Series(shares)


def to_markdown(name: str, data: Data, table: pd.DataFrame, fitted: dict[str, Run]) -> str:
    """The table of a data set with what is to be known about it."""
    index = fitted[BENCHMARK].forecasts.index
    n_series = data.panel.variances.shape[1]
    digits = {"QLIKE": 4, "relative QLIKE": 3, "relative MSE": 3, "seconds": 0}
    lines = [
        f"### {name}",
        "",
        f"{n_series} {data.description}; {len(index)} {data.unit} forecast, {_day(index[0])} to "
        f"{_day(index[-1])}, one step ahead. Better and worse than {BENCHMARK}: series at 5 %.",
        "",
        "| model | " + " | ".join(table.columns) + " |",
        "|---" * (len(table.columns) + 1) + "|",
    ]
    for model, row in table.iterrows():
        cells = [f"{row[column]:.{digits.get(column, 0)}f}" for column in table.columns]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    for model, run in fitted.items():
        if run.quantiles is not None:
            shares = ", ".join(f"{k}: {v:.1%}" for k, v in coverage(data, run).items())
            lines += ["", f"Coverage of the intervals of {model}: {shares}."]
    return "\n".join(lines) + "\n"


def _day(time_: pd.Period | pd.Timestamp) -> str:
    stamp = time_.end_time if isinstance(time_, pd.Period) else time_
    return f"{stamp:%Y-%m-%d}"


def draw(results: dict[str, pd.DataFrame], path: Path) -> None:
    """QLIKE of each series relative to the benchmark's, one panel a data set."""
    figure, axes = plt.subplots(1, len(results), figsize=(5 * len(results), 5), sharey=True)
    for ax, (name, each) in zip(np.atleast_1d(axes), results.items(), strict=True):
        relative = each.div(each[BENCHMARK], axis=0)
        for row, model in enumerate(relative):
            ax.plot(relative[model], [row] * len(relative), "o", color="C0", alpha=0.35, ms=5)
            ax.plot(relative[model].mean(), row, "|", color="k", ms=16, mew=2)
        ax.axvline(1.0, color="0.6", lw=1)
        ax.set(title=name, xlabel=f"QLIKE relative to {BENCHMARK}", xlim=(0.7, 1.4))
        ax.set_yticks(range(len(relative.columns)), relative.columns)
    np.atleast_1d(axes)[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
