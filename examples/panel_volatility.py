"""Forecasters of volatility compared: HAR and relations, GARCH, trees, networks, and ours.

    pip install '.[examples]'
    python examples/panel_volatility.py            # six minutes on two cores
    python examples/panel_volatility.py --quick    # under a minute: few series, few rows
    python examples/panel_volatility.py --period development

The data are in packages: weekly variances of 20 US stocks from daily prices (skfolio), and daily
variances of two indices from their ranges, without and with the VIX (arch). The stocks were chosen
in hindsight. Their weeks begin in 1993, before which one of them was hardly traded; a week in which
a price hardly moved counts as 1e-5, a volatility of .3 %.

All models forecast one step ahead from an expanding window. A forecast knows the rows before its
own and no others; a test replaces the future by noise. Regressions, trees and networks of days
have the weekday and the gap before it as inputs, all but HAR and HAR in logs. The last third of
the rows is the test period; whatever is chosen is chosen by ``--period development``, for which
these rows do not exist: it forecasts the middle third.

QLIKE is the mean of v/f - log(v/f) - 1 for the variance v and its forecast f, MSE that of
volatilities; relative ones are means over the series of the ratio to HAR in logs.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import pandas as pd
from joblib import Parallel, delayed

from volatility.compare import (
    Model,
    Run,
    draw,
    installed,
    models,
    summarise,
    to_markdown,
    walk_forward,
)
from volatility.data import DATA, Data, Panel


def rows_of(data: Data, period: str, quick: bool) -> tuple[Data, int]:
    """The rows that exist in a period, and the first of them to forecast."""
    T = len(data.panel.variances)
    first, last = (T // 3, 2 * T // 3) if period == "development" else (2 * T // 3, T)
    if quick:
        last = first + 3 * data.refit_every
    panel = data.panel.rows(0, last)
    if quick and data.unit == "weeks":
        variances, returns = (frame.iloc[:, :3] for frame in (panel.variances, panel.returns))
        panel = Panel(variances, returns, panel.X)
    return data._replace(panel=panel), first


def forecasts_of(data: Data, first: int, chosen: dict[str, Model], n_jobs: int) -> dict[str, Run]:
    # the slowest are the last of the table
    order = list(chosen)[::-1]
    runs = Parallel(n_jobs)(
        delayed(walk_forward)(name, chosen[name], data, first) for name in order
    )
    found = dict(zip(order, runs, strict=True))
    return {name: found[name] for name in chosen}


def header(period: str, seconds: float) -> str:
    command = " ".join(["python", "examples/panel_volatility.py", *sys.argv[1:]])
    return (
        f"`{command}`: {period} period, {seconds:.0f} s with {os.cpu_count()} cores "
        f"({platform.machine()}), Python {platform.python_version()}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--period", choices=("test", "development"), default="test")
    parser.add_argument("--quick", action="store_true", help="few series, few rows")
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--models", nargs="+", help="beside HAR in logs; all if not given")
    parser.add_argument("--n-jobs", type=int, default=os.cpu_count(), help="models at a time")
    parser.add_argument("--output", type=Path, default=Path("panel_volatility"))
    arguments = parser.parse_args()
    began = time.perf_counter()
    arguments.output.mkdir(parents=True, exist_ok=True)

    sections, relative = [], {}
    for name in arguments.data:
        data, first = rows_of(DATA[name](), arguments.period, arguments.quick)
        print(f"\n{name}: {data.description}")
        chosen = installed(models(data.windows))
        if arguments.models:
            chosen = {m: chosen[m] for m in chosen if m in [*arguments.models, "HAR in logs"]}
        fitted = forecasts_of(data, first, chosen, arguments.n_jobs)
        table, relative[name] = summarise(data, fitted, 200 if arguments.quick else 1000)
        sections.append(to_markdown(name, data, table, fitted))
        print("\n" + sections[-1])
        file = name.replace(" ", "_")
        forecasts = {model: run.forecasts for model, run in fitted.items()}
        pd.concat(forecasts, axis=1).to_csv(arguments.output / f"forecasts_{file}.csv")
        relative[name].to_csv(arguments.output / f"qlike_{file}.csv")
    draw(relative, arguments.output / "panel_volatility.png")
    text = "\n".join([header(arguments.period, time.perf_counter() - began), *sections])
    (arguments.output / "panel_volatility.md").write_text(text)
    print(f"Tables and figure: {arguments.output.resolve()}")


if __name__ == "__main__":
    main()
