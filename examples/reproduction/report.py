"""What comes out of the study: Table 3 as CSV and Markdown, and Figure 2."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.ticker import LogFormatter

from reproduction.published import INITIALIZATIONS, published_errors
from reproduction.study import FAIR, GRADIENT_METHODS, PAPER, PROBLEMS, PUBLISHED, SAFEGUARDED, load

_KEYS = ["problem", "method", "variant", "initialization"]


# errors so many times those of predicting zero are divergence, as infinite ones and NaN are
_BLOW_UP = 100.0


def summarise(runs: Iterable[dict], references: pd.DataFrame) -> pd.DataFrame:
    """Means and standard deviations over the starts that did not diverge, and their number."""
    frame = pd.DataFrame(runs).astype({"train": float, "test": float})
    zero = references.query("forecast == 'zero'").set_index("problem")
    limits = _BLOW_UP * zero.loc[frame["problem"], ["train", "test"]].to_numpy()
    frame["diverged"] = ~(frame[["train", "test"]] <= limits).all(axis=1)
    frame.loc[frame["diverged"], ["train", "test"]] = np.nan
    if "learning rate" not in frame:
        frame["learning rate"] = np.nan
    table = frame.groupby(_KEYS, sort=False, dropna=False).agg(
        starts=("start", "size"),
        diverged=("diverged", "sum"),
        train=("train", "mean"),
        train_sd=("train", "std"),
        test=("test", "mean"),
        test_sd=("test", "std"),
        learning_rate=("learning rate", "first"),
        seconds=("seconds", "mean"),
    )
    table = table.reset_index()
    printed = [
        published_errors(problem).get((method, initialization), (np.nan, np.nan))
        for problem, method, _, initialization in table[_KEYS].itertuples(index=False)
    ]
    table[["published_train", "published_test"]] = printed
    return table


def write(folder: Path, **frames: pd.DataFrame) -> None:
    """One CSV file for each table."""
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.4g")


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Table 3 and the references as written, with the digits that the documentation shows."""
    table = pd.read_csv(folder / "table_3.csv").fillna({"variant": ""})
    return table, pd.read_csv(folder / "references.csv")


def to_markdown(table: pd.DataFrame, references: pd.DataFrame, problem: str) -> str:
    """Training / test errors of one problem: a row for each method, a column for each start."""
    lines = [["training / test error", *INITIALIZATIONS], ["---"] * (1 + len(INITIALIZATIONS))]
    for row in references.query("problem == @problem").itertuples():
        lines.append([row.forecast] + [f"{row.train:.3g} / {row.test:.3g}"] * len(INITIALIZATIONS))
    published = published_errors(problem)
    rows = {tuple(row[key] for key in _KEYS): row for _, row in table.iterrows()}
    for method in (PAPER, SAFEGUARDED, *GRADIENT_METHODS):
        if (method, next(iter(INITIALIZATIONS))) in published:
            cells = [published[method, name] for name in INITIALIZATIONS]
            lines.append([f"{method}, *printed*", *(f"{a:.3g} / {b:.3g}" for a, b in cells)])
        for variant in ("", PUBLISHED, FAIR):
            keys = [(problem, method, variant, name) for name in INITIALIZATIONS]
            if all(key in rows for key in keys):
                label = f"**{method}**" + (f", {variant}" if variant else "")
                lines.append([label, *(_cell(rows[key]) for key in keys)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(row: pd.Series) -> str:
    n_diverged, n_starts = int(row["diverged"]), int(row["starts"])
    if n_diverged == n_starts:
        return f"{n_diverged} of {n_starts} diverged"
    errors = f"{row['train']:.3g} / {row['test']:.3g}"
    return errors if n_diverged == 0 else f"{errors} ({n_diverged} of {n_starts} diverged)"


def unexplained_to_markdown(table: pd.DataFrame, references: pd.DataFrame) -> str:
    """Share of the variance, over all rows, that each method leaves: least and most of the starts.

    The targets have variance 1 over all rows, so that predicting zero leaves 1 on any draw of the
    data: shares compare with the printed numbers, where errors do not.
    """
    problems = list(dict.fromkeys(table["problem"]))
    variants = ("printed", PUBLISHED, FAIR)
    header = [f"{problem}, {variant}" for problem in problems for variant in variants]
    lines = [["share of variance left", *header], ["---"] * (1 + len(header))]
    for method in (PAPER, SAFEGUARDED, *GRADIENT_METHODS):
        cells = [
            _range(_shares(table, references, problem, method, variant))
            for problem in problems
            for variant in variants
        ]
        lines.append([method, *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shares(
    table: pd.DataFrame, references: pd.DataFrame, problem: str, method: str, variant: str
) -> np.ndarray:
    """One share for each initialization, of the starts that did not diverge."""
    own = table.query("problem == @problem and method == @method")
    if variant == "printed":
        # the same numbers stand beside both variants
        own = own.drop_duplicates("initialization")
        errors = own[["published_train", "published_test"]].to_numpy()
    else:
        errors = own[own["variant"].isin(["", variant])][["train", "test"]].to_numpy()
    zero = references.query("problem == @problem and forecast == 'zero'")
    n_train, n_rows = PROBLEMS[problem].n_train, len(load(problem).Y)
    rows = np.array([n_train, n_rows - n_train])
    shares = errors @ rows / (zero[["train", "test"]].to_numpy()[0] @ rows)
    return shares[np.isfinite(shares)]


def _range(shares: np.ndarray) -> str:
    if len(shares) == 0:
        return ""
    ends = shares.min(), shares.max()
    least, most = (f"{share:.2g}" if share < 0.1 else f"{share:.2f}" for share in ends)
    return least if least == most else f"{least} to {most}"


def best_initializations(table: pd.DataFrame) -> pd.DataFrame:
    """For each method the initialization of the smallest mean test error, as in Figure 2."""
    finished = table[(table["diverged"] == 0) & table["test"].notna()]
    best = finished.groupby(_KEYS[:3], sort=False)["test"].idxmin()
    return table.loc[best, _KEYS]


def curves_of(runs: Iterable[dict], table: pd.DataFrame) -> pd.DataFrame:
    """Errors against seconds of the first start of each method's best initialization."""
    best = set(best_initializations(table).itertuples(index=False, name=None))
    rows = [
        {**{key: run[key] for key in _KEYS}, "seconds": at, "train": train, "test": test}
        for run in runs
        if run["start"] == 0 and tuple(run[key] for key in _KEYS) in best
        for at, train, test in run["curve"]
    ]
    return pd.DataFrame(rows)


def draw_curves(curves: pd.DataFrame, references: pd.DataFrame, path: Path) -> None:
    """Figure 2: training and test error against seconds, as published and fairly."""
    problems = [name for name in ("sp500", "synthetic-500") if name in set(curves["problem"])]
    problems = problems or list(dict.fromkeys(curves["problem"]))
    methods = [PAPER, SAFEGUARDED, *GRADIENT_METHODS]
    palette = sns.color_palette("colorblind")
    styles = {
        method: {
            "color": palette[i],
            "linestyle": "-" if i < 2 else ("--", ":", "-.")[i % 3],
            "linewidth": 2.6 if i < 2 else 1.7,
            "zorder": 4 if i < 2 else 3,
        }
        for i, method in enumerate(methods)
    }
    with sns.axes_style("whitegrid"):
        figure, axes = plt.subplots(
            len(problems), 4, figsize=(16, 4.1 * len(problems) + 0.6), squeeze=False
        )
    for row, problem in zip(axes, problems, strict=True):
        for ax, (variant, error) in zip(
            row, [(v, e) for v in (PUBLISHED, FAIR) for e in ("train", "test")], strict=True
        ):
            _draw_panel(ax, curves.query("problem == @problem"), variant, error, styles)
            _draw_references(ax, references.query("problem == @problem"), error)
            title = {"train": "training", "test": "test"}[error]
            ax.set_title(f"{problem}: {title} error, {variant}", fontsize=11)
        row[0].set_ylabel("mean of ||y - ŷ||²")
    for ax in axes[-1]:
        ax.set_xlabel("seconds")
    handles: dict[str, Artist] = {}
    for ax in axes.ravel():
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=8)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_panel(ax, curves: pd.DataFrame, variant: str, error: str, styles: dict) -> None:
    for method, style in styles.items():
        shown = curves[(curves["method"] == method) & curves["variant"].isin(["", variant])]
        ax.plot(shown["seconds"], shown[error], label=method, **style)
    ax.set(xscale="log", yscale="log")
    # some panels span less than a decade
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(1.2, 0.5)))


def _draw_references(ax, references: pd.DataFrame, error: str) -> None:
    """Grey lines with their names, and the axis cut above the zero predictor."""
    named = references.set_index("forecast")[error]
    for name, label in (("zero", "zero"), ("OLS on the same inputs", "OLS")):
        ax.axhline(named[name], color="0.35", linewidth=1.0, linestyle=(0, (1, 1)), zorder=2)
        ax.text(1.0, named[name], f" {label}", transform=ax.get_yaxis_transform(), va="center")
    persistence = named["persistence"]
    if persistence < named["zero"]:
        ax.axhline(persistence, color="0.35", linewidth=1.0, linestyle=(0, (1, 1)), zorder=2)
        ax.text(1.0, persistence, " last", transform=ax.get_yaxis_transform(), va="center")
    # a curve that explodes would stretch the axis downwards as well
    lowest = min(np.nanmin(line.get_ydata()) for line in ax.lines if len(line.get_ydata()))
    ax.set_ylim(0.6 * lowest, 3.0 * named["zero"])
