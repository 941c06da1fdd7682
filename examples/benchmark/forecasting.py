"""Forecasts of our network and of peers, in sktime's ``evaluate``: errors, tests, seconds.

Every model is given the same X, known when the forecast is made, and is fitted anew at every
forecast: some peers ignore an update without a refit, and would forecast from old data.

    python examples/benchmark/forecasting.py             # two and a half hours on one core
    python examples/benchmark/forecasting.py --quick     # under two minutes
    python examples/benchmark/forecasting.py --data volatility --models "Elman (ALM)"
    python examples/benchmark/forecasting.py --report

The third command forecasts some series with some models only; the other forecasts are kept, those
in ``forecasting_forecasts.csv`` of the output folder. The last one only writes the tables anew.
Peers whose package is missing are left out, with a line that says so. See
docs/forecasting_benchmark.md for how to read the outcome.
"""

from __future__ import annotations

import os

# before NumPy is loaded
for _name in ("OPENBLAS", "OMP", "MKL", "NUMEXPR", "NUMBA"):
    os.environ.setdefault(f"{_name}_NUM_THREADS", "1")

import argparse
import logging
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sktime.forecasting.base import BaseForecaster
from sktime.forecasting.model_evaluation import evaluate
from sktime.performance_metrics.forecasting import MeanSquaredError
from sktime.performance_metrics.forecasting.probabilistic import PinballLoss
from sktime.split import ExpandingWindowSplitter, SameLocSplitter, SlidingWindowSplitter

from forecasting_data import DATA, Data
from forecasting_models import BENCHMARK, Model, ours, peers
from forecasting_report import report
from timing import output_folder

# the middles of ten equal parts: twice the mean pinball loss is then close to the CRPS
LEVELS = [round(0.05 + 0.1 * k, 2) for k in range(10)]
QUICK_MODELS = ("random walk", BENCHMARK, "ridge", *ours())
QUICK_DATA = ("volatility", "wiener-hammerstein")


class Setup(NamedTuple):
    """Steps ahead, steps between forecasts, and the kind of training window."""

    horizon: int
    step: int
    windows: str

    def splitter(self, n_train: int) -> ExpandingWindowSplitter | SlidingWindowSplitter:
        """Windows that begin with ``n_train`` values; rolling ones keep that length."""
        options = {"fh": np.arange(1, self.horizon + 1), "step_length": self.step}
        if self.windows == "expanding":
            return ExpandingWindowSplitter(initial_window=n_train, **options)
        return SlidingWindowSplitter(window_length=n_train, **options)


SETUPS = [
    Setup(h, step, kind) for h, step in ((1, 1), (12, 4)) for kind in ("expanding", "rolling")
]


def forecast(model: Model, data: Data, setup: Setup) -> pd.DataFrame:
    """A row for each forecast: its cutoff, time, forecast and actual value, CRPS and seconds.

    Cutoff and time are positions in the series.
    """
    y, X = data.known(setup.horizon)
    cv = setup.splitter(len(y) - data.n_test)
    scoring = [MeanSquaredError()]
    # short or stubborn fits warn at every window; what became of them shows in the errors
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forecaster = model.build(data)
        if forecaster.get_tag("capability:pred_int"):
            scoring.append(PinballLoss(alpha=LEVELS))
        folds = evaluate(
            forecaster,
            cv,
            y,
            X,
            scoring=scoring,
            # only the rows of X of the times to forecast: some adapters read X by position, and
            # would take the first rows of a longer X, those of the past, for the future
            cv_X=SameLocSplitter(cv, y),
            return_data=True,
            error_score="raise",
        )
    pinball = next((column for column in folds if "PinballLoss" in column), None)
    rows = [
        pd.DataFrame(
            {
                "cutoff": data.y.index.get_loc(fold["cutoff"]),
                "time": data.y.index.get_indexer(fold["y_test"].index),
                "y": fold["y_test"].to_numpy(),
                "forecast": np.ravel(fold["y_pred"]),
                # a mean over the steps of this forecast
                "CRPS": np.nan if pinball is None else 2.0 * fold[pinball],
                "seconds": fold["fit_time"],
            }
        )
        for _, fold in folds.iterrows()
    ]
    return pd.concat(rows, ignore_index=True)


def study(
    data_sets: dict[str, Data], models: dict[str, Model], setups: list[Setup]
) -> Iterator[pd.DataFrame]:
    """The forecasts of every model; one that fails is said to, and left out there."""
    for name, data in data_sets.items():
        for setup in setups:
            label = f"{name}, {setup.horizon} ahead, {setup.windows}"
            for model_name, model in models.items():
                if setup.windows not in model.windows:
                    continue
                began = time.perf_counter()
                try:
                    rows = forecast(model, data, setup)
                except Exception as error:
                    print(f"{label}: {model_name} FAILED: {type(error).__name__}: {error}")
                    continue
                if not np.isfinite(rows["forecast"]).all():
                    print(f"{label}: {model_name} FAILED: forecasts are not finite")
                    continue
                seconds = time.perf_counter() - began
                mse = np.mean((rows["y"] - rows["forecast"]) ** 2)
                print(f"{label}: {model_name}: MSE {mse:.4g} in {seconds:.0f} s", flush=True)
                where = {"data": name, "horizon": setup.horizon, "step": setup.step}
                yield rows.assign(**where, windows=setup.windows, model=model_name)


def load_data(names: list[str]) -> dict[str, Data]:
    """The data sets whose packages are installed."""
    loaded = {}
    for name in names:
        try:
            loaded[name] = DATA[name]()
        except ModuleNotFoundError as error:
            print(f"data set {name} left out: {error}")
    return loaded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few windows, models and series")
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=None)
    parser.add_argument("--models", nargs="+", choices=[*peers(), *ours()], default=None)
    parser.add_argument("--report", action="store_true", help="only tables, of forecasts kept")
    parser.add_argument("--output", type=Path, default=None, help="folder for tables and picture")
    arguments = parser.parse_args()
    folder = output_folder(arguments.output, arguments.quick)

    path = folder / "forecasting_forecasts.csv"
    began = time.perf_counter()
    data_sets: dict[str, Data] = {}
    if arguments.report:
        forecasts = pd.read_csv(path)
    else:
        forecasts, data_sets = make_forecasts(arguments, path)
        forecasts.to_csv(path, index=False, float_format="%.7g")
    all_data = {name: DATA[name]() for name in forecasts["data"].unique()} | data_sets
    report(forecasts, all_data, BENCHMARK, list(ours()), folder)
    print(f"Done in {time.perf_counter() - began:.0f} s.")


def make_forecasts(
    arguments: argparse.Namespace, path: Path
) -> tuple[pd.DataFrame, dict[str, Data]]:
    """The forecasts that are asked for, with those kept in the file for a part of the study."""
    data_sets = load_data(arguments.data or list(QUICK_DATA if arguments.quick else DATA))
    everything = {**peers(), **ours()}
    wanted = arguments.models or (QUICK_MODELS if arguments.quick else everything)
    models = {name: everything[name] for name in wanted}
    for name in [name for name, model in models.items() if model.is_missing]:
        print(f"{name} left out: the package {models.pop(name).package} is not installed")
    if arguments.quick:
        data_sets = {name: data._replace(n_test=24) for name, data in data_sets.items()}

    # the default of sktime 1.3, adopted early: no copy of the data in every forecaster
    BaseForecaster._config["remember_data"] = False
    for logger in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    forecasts = pd.concat(study(data_sets, models, SETUPS), ignore_index=True)
    if (arguments.models or arguments.data) and path.exists():
        forecasts = merge(pd.read_csv(path), forecasts, list(everything))
    return forecasts, data_sets


def merge(kept: pd.DataFrame, new: pd.DataFrame, models: list[str]) -> pd.DataFrame:
    """Forecasts of earlier runs, replaced where there are new ones, in the order of the study."""
    keys = ["data", "horizon", "windows", "model"]
    replaced = pd.MultiIndex.from_frame(kept[keys]).isin(pd.MultiIndex.from_frame(new[keys]))
    both = pd.concat([kept[~replaced], new], ignore_index=True)
    order = {name: i for i, name in enumerate([*DATA, *models])}
    return both.sort_values(
        ["data", "horizon", "windows", "model"],
        key=lambda column: column.map(order) if column.name in ("data", "model") else column,
        kind="stable",
        ignore_index=True,
    )


if __name__ == "__main__":
    main()
