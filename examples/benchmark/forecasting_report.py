"""The outcome of the forecasting study: losses, tests, tables, picture."""

from __future__ import annotations

import re
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from forecasting_data import Data
from sktime_alm.evaluation import (
    QLIKE,
    diebold_mariano,
    model_confidence_set,
    variance_from_log_volatility,
)
from timing import ROOT

PAGE = ROOT / "docs" / "forecasting_benchmark.md"
SETUP = ["horizon", "windows"]
# errors of a model that must be known before its variance forecasts are scored
MIN_KNOWN_ERRORS = 24
_PACKAGES = (
    "sktime", "scikit-learn", "arch", "statsmodels", "statsforecast", "neuralforecast", "torch",
    "numpy", "pandas",
)  # fmt: skip


def report(
    forecasts: pd.DataFrame, data: dict[str, Data], benchmark: str, ours: list[str], folder: Path
) -> None:
    """Write a CSV and Markdown tables for each series and the picture."""
    blocks = {}
    tables = {}
    for name, rows in forecasts.groupby("data", sort=False):
        table = summarise(rows, benchmark, data[name].is_log_volatility)
        table.to_csv(folder / f"forecasting_{name}.csv", index=False, float_format="%.5g")
        tables[name], blocks[name] = table, markdown(table)
        print(f"\n{name}, {data[name].period}\n\n{blocks[name]}")
    blocks["versions"] = versions()
    draw(tables, benchmark, ours, folder / "forecasting.png")
    # the page shows the full study, which is written beside it
    if folder.resolve() == (PAGE.parent / "benchmark").resolve():
        PAGE.write_text(fill(PAGE.read_text(), blocks))


def summarise(forecasts: pd.DataFrame, benchmark: str, is_log_volatility: bool) -> pd.DataFrame:
    """A row for each setup and model of one series.

    Losses are means over the steps of a forecast, then over forecasts. Forecasts h steps ahead
    that begin every k steps overlap: their Diebold-Mariano test has h/k - 1 autocovariances.
    """
    tables = []
    for (horizon, windows), rows in forecasts.groupby(SETUP, sort=False):
        rows = rows.assign(loss=(rows["y"] - rows["forecast"]) ** 2)
        losses = rows.pivot_table(index="cutoff", columns="model", values="loss", sort=False)
        overlap = -(-horizon // int(rows["step"].iloc[0]))
        by_model = rows.groupby("model", sort=False)
        confidence = model_confidence_set(losses, size=0.1, random_state=0)
        table = pd.DataFrame(
            {
                "MSE": losses.mean(),
                "relative MSE": losses.mean() / losses[benchmark].mean(),
                "DM p-value": {
                    model: diebold_mariano(losses[model], losses[benchmark], h=overlap).p_value
                    for model in losses.columns.drop(benchmark)
                },
                "MCS p-value": confidence["p_value"],
                "in MCS": confidence["included"],
                "CRPS": by_model["CRPS"].mean(),
                "fit seconds": by_model["seconds"].median(),
                "forecasts": len(losses),
            },
            index=losses.columns,
        )
        if is_log_volatility:
            table["QLIKE"] = {model: qlike(group) for model, group in by_model}
        table = table.rename_axis("model").reset_index()
        table.insert(0, "horizon", horizon)
        table.insert(1, "windows", windows)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def qlike(rows: pd.DataFrame) -> float:
    """The mean QLIKE loss of the variance that forecasts of log volatility imply.

    The lognormal correction takes the mean squared error of all earlier forecasts of the same
    model whose outcome was known at the cutoff; the first forecasts, which lack them, are left
    out. So the correction is the same for models with and without a variance of their own.
    """
    losses = []
    for cutoff, group in rows.groupby("cutoff"):
        known = rows[(rows["cutoff"] < cutoff) & (rows["time"] <= cutoff)]
        if len(known) >= MIN_KNOWN_ERRORS:
            variance = float(np.mean((known["y"] - known["forecast"]) ** 2))
            implied = variance_from_log_volatility(group["forecast"].to_numpy(), variance)
            losses.append(QLIKE()(np.exp(2.0 * group["y"].to_numpy()), implied))
    return float(np.mean(losses)) if losses else np.nan


def markdown(table: pd.DataFrame) -> str:
    """Tables of one series, one for each horizon; expanding and rolling windows side by side."""
    parts = []
    for horizon, rows in table.groupby("horizon", sort=False):
        losses = [loss for loss in ("MSE", "QLIKE", "CRPS") if loss in rows]
        kinds = list(rows["windows"].unique())
        header = [f"{loss}, {kind}" for loss in losses for kind in kinds]
        header = ["model", *header, *(f"DM p, {kind}" for kind in kinds), "fit, s"]
        lines = [header, ["---"] * len(header)]
        by_kind = {kind: rows[rows["windows"] == kind].set_index("model") for kind in kinds}
        for model in dict.fromkeys(rows["model"]):
            found = [by_kind[kind].reindex([model]).iloc[0] for kind in kinds]
            cells = [_cell(row, loss) for loss in losses for row in found]
            cells += [_number(row["DM p-value"], ".2f") for row in found]
            lines.append([model, *cells, _number(found[0]["fit seconds"], ".2g")])
        n_forecasts = rows["forecasts"].iloc[0]
        title = "One step ahead" if horizon == 1 else f"1 to {horizon} steps ahead"
        text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        parts.append(f"{title}, {n_forecasts} forecasts:\n\n{text}")
    return "\n\n".join(parts)


def _cell(row: pd.Series, loss: str) -> str:
    text = _number(row[loss], ".4g")
    return f"**{text}**" if text and loss == "MSE" and row["in MCS"] else text


def _number(value: float, form: str) -> str:
    return "" if pd.isna(value) else f"{value:{form}}"


def versions() -> str:
    """The installed versions of the packages that took part."""
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except ModuleNotFoundError:
            found.append(f"{package} not installed")
    return ", ".join(found) + "."


def _between(text: str, found: re.Match[str]) -> str:
    return f"{found[1]}{text}\n{found[2]}"


def fill(page: str, blocks: dict[str, str]) -> str:
    """The page with new text between ``<!-- name -->`` and ``<!-- /name -->``."""
    for name, text in blocks.items():
        pattern = rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)"
        page = re.sub(pattern, partial(_between, text), page, flags=re.DOTALL)
    return page


def draw(tables: dict[str, pd.DataFrame], benchmark: str, ours: list[str], path: Path) -> None:
    """MSE over the benchmark's, a panel for each series and horizon; filled: in the set."""
    horizons = list(dict.fromkeys(h for table in tables.values() for h in table["horizon"]))
    models = list(dict.fromkeys(model for table in tables.values() for model in table["model"]))
    size = (3.4 * len(tables) + 1.5, (0.28 * len(models) + 1.2) * len(horizons))
    figure, axes = plt.subplots(
        len(horizons), len(tables), figsize=size, sharey=True, squeeze=False
    )
    for column, (name, table) in enumerate(tables.items()):
        for ax, horizon in zip(axes[:, column], horizons, strict=True):
            title = "1 step ahead" if horizon == 1 else f"1 to {horizon} steps ahead"
            ax.set_title(f"{name}, {title}", fontsize=9)
            _panel(ax, table[table["horizon"] == horizon], models, ours)
    for ax in axes[:, 0]:
        ax.set_yticks(range(len(models)), models, fontsize=8)
        ax.set_ylim(len(models) - 0.5, -0.5)
    for ax in axes[-1]:
        ax.set_xlabel(f"MSE / MSE of {benchmark}", fontsize=8)
    handles, labels = _legend()
    n_columns = 4 if len(tables) > 1 else 2
    figure.legend(handles, labels, loc="lower center", ncols=n_columns, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.2 / n_columns, 1, 1))
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"\nPicture: {path}")


_MARKERS = {"expanding": ("o", -0.15), "rolling": ("s", 0.15)}
_WIDEST = 2.0


def _panel(ax: Axes, table: pd.DataFrame, models: list[str], ours: list[str]) -> None:
    for kind, rows in table.groupby("windows", sort=False):
        marker, shift = _MARKERS[kind]
        for _, row in rows.iterrows():
            colour = "tab:red" if row["model"] in ours else "tab:blue"
            is_outside = row["relative MSE"] > _WIDEST
            ax.plot(
                min(row["relative MSE"], _WIDEST),
                models.index(row["model"]) + shift,
                ">" if is_outside else marker,
                color=colour,
                markerfacecolor=colour if row["in MCS"] else "white",
                markersize=5.5,
            )
    ax.axvline(1.0, color="0.5", lw=0.8, ls=":")
    ax.grid(axis="y", alpha=0.25)
    ax.tick_params(axis="x", labelsize=8)


def _legend() -> tuple[list[Line2D], list[str]]:
    style: dict[str, Any] = {"color": "0.3", "linestyle": "", "markersize": 6}
    handles = [
        Line2D([], [], marker="o", **style),
        Line2D([], [], marker="s", **style),
        Line2D([], [], marker="o", markerfacecolor="white", **style),
        Line2D([], [], marker=">", **style),
    ]
    labels = ["expanding windows", "rolling windows"]
    return handles, [*labels, "white: not in the confidence set", f"beyond {_WIDEST:g}"]
