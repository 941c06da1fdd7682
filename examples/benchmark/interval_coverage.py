"""Coverage of the intervals of long series and of free runs: what of 100 values lie inside.

    python examples/benchmark/interval_coverage.py volatility
    python examples/benchmark/interval_coverage.py free-runs --records 4

``volatility``: forecasts of the daily log variance from the range of the day, one day ahead, by
means of the last 1, 5 and 22 days. The fit is to 1500 days; then 2000 days come one by one, each
by ``update(update_params=False)``. Coverage over all days and in each third of them by the
forecast. Needs arch, whose data it is.

``free-runs``: a whole record from its input alone, by networks without lags of y.
"""

from __future__ import annotations

import argparse
import importlib
import warnings

import numpy as np
import pandas as pd

from sktime_alm import ALMElmanForecaster
from sktime_alm.datasets import make_tanks

COVERAGES = (0.8, 0.9, 0.95)
N_TRAIN, N_TEST = 1500, 2000


def log_variance(name: str) -> pd.Series:
    """Parkinson's variance of each day of an index, in logs."""
    prices = importlib.import_module(f"arch.data.{name}").load()
    logs = np.log(prices["High"]) - np.log(prices["Low"])
    variance = logs**2 / (4.0 * np.log(2.0))
    return np.log(variance[variance > 0.0]).reset_index(drop=True).rename(name)


def shares(inside: np.ndarray, groups: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """The shares inside, for each nominal coverage, in each group of rows."""
    return {name: (100.0 * inside[rows].mean(axis=0)).tolist() for name, rows in groups.items()}


def is_inside(interval: pd.DataFrame, actual: np.ndarray) -> np.ndarray:
    """For each row and each nominal coverage whether the value lies in the interval."""
    ends = [interval.xs(share, axis=1, level=1).to_numpy().T for share in COVERAGES]
    return np.column_stack([(low <= actual) & (actual <= high) for low, high in ends])


def day_by_day(y: pd.Series, method: str, alpha: float | str) -> dict[str, list[float]]:
    """Coverage one day ahead, overall and by thirds of the forecast."""
    forecaster = ALMElmanForecaster(
        window_means=(5, 22), alpha=alpha, interval_method=method, random_state=0
    ).fit(y[:N_TRAIN])
    inside, forecasts = [], []
    for row in range(N_TRAIN, N_TRAIN + N_TEST):
        new = y[row : row + 1]
        forecasts.append(float(forecaster.predict(fh=[1]).iloc[0]))
        interval = forecaster.predict_interval(fh=[1], coverage=list(COVERAGES))
        inside.append(is_inside(interval, new.to_numpy())[0])
        forecaster.update(new, update_params=False)
    third = np.digitize(forecasts, np.quantile(forecasts, [1 / 3, 2 / 3]))
    names = {"low": third == 0, "middle": third == 1, "high": third == 2}
    return shares(np.array(inside), {"all": third >= 0, **names})


def exogenous_system(n: int, seed: int) -> tuple[pd.Series, pd.DataFrame]:
    """y_t = 0.7 y_{t-1} + 0.5 u_t + 0.3 e_t."""
    rng = np.random.default_rng(seed)
    u, e, y = rng.normal(size=n), rng.normal(size=n), np.zeros(n)
    for t in range(1, n):
        y[t] = 0.7 * y[t - 1] + 0.5 * u[t] + 0.3 * e[t]
    return pd.Series(y, name="y"), pd.DataFrame({"u": u})


def free_run(
    train: tuple[pd.Series, pd.DataFrame], test: tuple[pd.Series, pd.DataFrame], exog_lags: int
) -> list[float]:
    """Coverage of a whole record that follows the training record."""
    y, X = test
    forecaster = ALMElmanForecaster(lags=0, exog_lags=exog_lags, random_state=0).fit(*train)
    later = X.set_axis(range(len(train[0]), len(train[0]) + len(X)))
    steps = np.arange(1, len(y) + 1)
    interval = forecaster.predict_interval(fh=steps, X=later, coverage=list(COVERAGES))
    return (100.0 * is_inside(interval, y.to_numpy()).mean(axis=0)).tolist()


def volatility() -> pd.DataFrame:
    """The table of all series and methods."""
    rows: dict[tuple[str, ...], object] = {}
    for name in ("sp500", "nasdaq"):
        y = log_variance(name)
        for method in ("bootstrap", "conformal"):
            found = day_by_day(y, method, np.inf)
            rows |= {(name, method, group): values for group, values in found.items()}
    return pd.DataFrame(rows, index=COVERAGES).T


def free_runs(n_records: int) -> pd.DataFrame:
    """The table of both systems."""
    systems = {
        "ARX": (lambda seed: exogenous_system(1000, seed), 3),
        "tanks": (lambda seed: make_tanks(1024, random_state=seed), 3),
    }
    rows = {
        (name, seed): free_run(make(2 * seed), make(2 * seed + 1), exog_lags)
        for name, (make, exog_lags) in systems.items()
        for seed in range(n_records)
    }
    return pd.DataFrame(rows, index=COVERAGES).T


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=["volatility", "free-runs"])
    parser.add_argument("--records", type=int, default=4, help="free runs of each system")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    table = volatility() if arguments.which == "volatility" else free_runs(arguments.records)
    print(table.round(1).to_string())


if __name__ == "__main__":
    main()
