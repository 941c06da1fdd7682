"""Coverage of the intervals of short series, with default arguments: what of 100 values lie inside.

    python examples/benchmark/short_series.py --series 300 --rows 6 8 12 20
    python examples/benchmark/short_series.py --series 300 --rows 1 2 3 6 10 20 --panel 30

White noise, autoregressions with the coefficients 0.5 and 0.8 and a random walk, one and four steps
ahead. From 30 rows on a network is tried as well, which takes seconds a series. The second command
forecasts with a network pretrained on so many other series of 120 rows, of their own means and
scales.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import pandas as pd

from sktime_alm import ALMElmanForecaster

LENGTHS = (6, 8, 12, 20, 30, 50, 100)
PROCESSES = {"noise": 0.0, "AR(1), 0.5": 0.5, "AR(1), 0.8": 0.8, "random walk": 1.0}
COVERAGES = (0.8, 0.9, 0.95)
STEPS = (1, 4)


def simulate(coefficient: float, length: int, rng: np.random.Generator) -> pd.Series:
    """A series of an autoregression, in its stationary state if there is one."""
    noise = rng.normal(size=length + 50)
    values, last = np.empty(length + 50), 0.0
    for t, shock in enumerate(noise):
        last = values[t] = coefficient * last + shock
    return pd.Series(values[50:])


def in_some_unit(y: pd.Series, units: np.random.Generator) -> pd.Series:
    """With a mean and a scale of its own."""
    return np.exp(units.normal()) * (y + 5.0 * units.normal())


def with_defaults(coefficient: float, n_panel: int) -> ALMElmanForecaster:
    """A forecaster that knows a panel of so many series, if any."""
    forecaster = ALMElmanForecaster(random_state=0)
    if not n_panel:
        return forecaster
    rng, units = np.random.default_rng(0), np.random.default_rng(1)
    panel = {f"s{k}": in_some_unit(simulate(coefficient, 120, rng), units) for k in range(n_panel)}
    return forecaster.pretrain(pd.concat(panel, names=["series", "time"]).to_frame("y"))


def coverage(
    forecaster: ALMElmanForecaster, coefficient: float, length: int, n_series: int
) -> pd.Series:
    """The share of values inside, for each number of steps and each nominal coverage."""
    # the units by themselves: the series are the same whether they have any or not
    rng, units, inside = np.random.default_rng(length), np.random.default_rng(2), []
    for _ in range(n_series):
        y = in_some_unit(simulate(coefficient, length + max(STEPS), rng), units)
        forecaster.fit(y[:length])
        found = forecaster.predict_interval(fh=list(STEPS), coverage=list(COVERAGES))
        inside.append(
            {
                (step, share): low <= y[length + step - 1] <= high
                for step in STEPS
                for share in COVERAGES
                for low, high in [found.loc[length + step - 1].xs(share, level=1)]
            }
        )
    return 100.0 * pd.DataFrame(inside).mean()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=400, help="series of each kind and length")
    parser.add_argument("--rows", type=int, nargs="+", default=LENGTHS, help="lengths of series")
    parser.add_argument("--panel", type=int, default=0, help="series of a panel known before")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = {}
    for name, coefficient in PROCESSES.items():
        forecaster = with_defaults(coefficient, arguments.panel)
        for length in arguments.rows:
            rows[name, length] = coverage(forecaster, coefficient, length, arguments.series)
    table = pd.DataFrame(rows).T.rename_axis(["process", "rows"])
    table.columns = pd.MultiIndex.from_tuples(table.columns, names=["steps", "nominal"])
    print(table.round(1).to_string())


if __name__ == "__main__":
    main()
