"""Coverage of the intervals of short series, with default arguments: what of 100 values lie inside.

    python examples/benchmark/short_series.py --series 300 --rows 6 8 12 20
    python examples/benchmark/short_series.py --series 300 --rows 1 2 3 6 10 20 --panel 30

White noise, autoregressions with the coefficients 0.5 and 0.8, a random walk and one that rises by
half of a standard deviation a step; one and four steps ahead. The last columns are absolute errors
of the forecasts, in percent of those of the last value. From 30 rows on a network is tried as well,
which takes seconds a series. The second command forecasts with a network pretrained on so many
other series, of 120 rows or as many as ``--panel-rows``, of their own means and scales.
"""

from __future__ import annotations

import argparse
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd

from sktime_alm import ALMElmanForecaster

LENGTHS = (6, 8, 12, 20, 30, 50, 100)
COVERAGES = (0.8, 0.9, 0.95)


class Process(NamedTuple):
    """An autoregression of order one, with a constant."""

    coefficient: float
    drift: float = 0.0


PROCESSES = {
    "noise": Process(0.0),
    "AR(1), 0.5": Process(0.5),
    "AR(1), 0.8": Process(0.8),
    "random walk": Process(1.0),
    "rising walk": Process(1.0, 0.5),
}


def simulate(process: Process, length: int, rng: np.random.Generator) -> pd.Series:
    """A series of the process, in its stationary state if there is one."""
    coefficient, drift = process
    noise = drift + rng.normal(size=length + 50)
    values, last = np.empty(length + 50), 0.0
    for t, shock in enumerate(noise):
        last = values[t] = coefficient * last + shock
    return pd.Series(values[50:])


def in_some_unit(y: pd.Series, units: np.random.Generator) -> pd.Series:
    """With a mean and a scale of its own."""
    return np.exp(units.normal()) * (y + 5.0 * units.normal())


def with_defaults(process: Process, n_panel: int, n_rows: int) -> ALMElmanForecaster:
    """A forecaster that knows a panel of so many series of so many rows, if any."""
    forecaster = ALMElmanForecaster(random_state=0)
    if not n_panel:
        return forecaster
    rng, units = np.random.default_rng(0), np.random.default_rng(1)
    panel = {f"s{k}": in_some_unit(simulate(process, n_rows, rng), units) for k in range(n_panel)}
    return forecaster.pretrain(pd.concat(panel, names=["series", "time"]).to_frame("y"))


def coverage(
    forecaster: ALMElmanForecaster, process: Process, length: int, n_series: int, steps: list[int]
) -> pd.Series:
    """The share of values inside, for each number of steps and each nominal coverage; errors."""
    # the units by themselves: the series are the same whether they have any or not
    rng, units, inside = np.random.default_rng(length), np.random.default_rng(2), []
    errors = []
    for _ in range(n_series):
        y = in_some_unit(simulate(process, length + max(steps), rng), units)
        known, actual = y[:length], y[[length + step - 1 for step in steps]]
        forecaster.fit(known)
        found = forecaster.predict_interval(fh=steps, coverage=list(COVERAGES))
        inside.append(
            {
                (step, share): low <= value <= high
                for step, (time, value) in zip(steps, actual.items(), strict=True)
                for share in COVERAGES
                for low, high in [found.loc[time].xs(share, level=1)]
            }
        )
        unit = known.diff().abs().mean()
        pair = forecaster.predict(fh=steps) - actual, known.iloc[-1] - actual
        errors.append([error.abs().to_numpy() / unit for error in pair])
    ours, naive = np.mean(errors, axis=0)
    of_steps = pd.Series(dict(zip([(step, "error") for step in steps], ours / naive, strict=True)))
    return 100.0 * pd.concat([pd.DataFrame(inside).mean(), of_steps])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=400, help="series of each kind and length")
    parser.add_argument("--rows", type=int, nargs="+", default=LENGTHS, help="lengths of series")
    parser.add_argument("--panel", type=int, default=0, help="series of a panel known before")
    parser.add_argument("--panel-rows", type=int, default=120, help="their rows")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 4], help="steps ahead")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = {}
    for name, process in PROCESSES.items():
        forecaster = with_defaults(process, arguments.panel, arguments.panel_rows)
        for length in arguments.rows:
            rows[name, length] = coverage(
                forecaster, process, length, arguments.series, arguments.steps
            )
    table = pd.DataFrame(rows).T.rename_axis(["process", "rows"])
    table.columns = pd.MultiIndex.from_tuples(table.columns, names=["steps", "nominal"])
    print(table.round(1).to_string())


if __name__ == "__main__":
    main()
