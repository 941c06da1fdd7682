"""Forecast S&P 500 volatility one month ahead and compare with other forecasters.

The target is the log realized volatility of a month. The exogenous variables are lagged by
one month: what is known when a forecast is made, but for inflation and industrial production,
which are published two to six weeks later. With ``--as-published`` these are lagged by two. In
an expanding window every forecaster is fitted anew for each of the last 60 months, in a minute or
two; the table and the picture of the README are those of 120.

    python examples/sp500_volatility.py [--months 60] [--seed 0] [--as-published]

The settings of the last network were chosen on the 120 months before July 1999; the one above it
has the inputs of a HAR model and all else by default.
"""

import argparse
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.forecasting.base import BaseForecaster
from sktime.forecasting.compose import DirectReductionForecaster
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.naive import NaiveForecaster
from sktime.performance_metrics.forecasting import MeanAbsoluteError, MeanSquaredError
from sktime.split import ExpandingWindowSplitter, SameLocSplitter
from tqdm.auto import tqdm

from sktime_alm import ALMElmanForecaster
from sktime_alm.datasets import load_sp500_volatility

# the default of sktime 1.3, early: sktime 1.2 announces it at every clone, past all filters
BaseForecaster._config["remember_data"] = False

DEFAULTS, CHOSEN = "Elman network, defaults", "Elman network, settings chosen"
RIVALS = ["AR(1) with X, OLS", "AR(12) with X, ridge"]


class ExpandingWindowWithProgress(ExpandingWindowSplitter):
    """An expanding window that shows how far it has come."""

    def split_series(self, y):
        yield from tqdm(super().split_series(y), total=self.get_n_splits(y), desc=self.description)


def make_forecasters(seed: int) -> dict[str, BaseForecaster]:
    """Ours and the peers, all with the same one month lagged X."""
    ridge = make_pipeline(StandardScaler(), RidgeCV(alphas=(1.0, 10.0, 100.0, 1000.0)))
    # exog_lags=0: X of a row was known before the month of the row, as it was shifted
    har = ALMElmanForecaster(window_means=(1, 3, 12), lags=0, exog_lags=0, random_state=seed)
    elman = ALMElmanForecaster(
        hidden_size=4,
        activation="elu",
        lags=12,
        exog_lags=0,
        skip_alpha=np.inf,
        alpha=20.0,
        random_state=seed,
    )
    return {
        "random walk": NaiveForecaster(strategy="last"),
        "AR(1) with X, OLS": DirectReductionForecaster(LinearRegression(), window_length=1),
        "AR(12) with X, ridge": DirectReductionForecaster(ridge, window_length=12),
        DEFAULTS: har,
        CHOSEN: elman,
    }


def cross_validate(
    name: str, forecaster: BaseForecaster, y: pd.Series, X: pd.DataFrame, months: int
) -> pd.DataFrame:
    """One row of scores, forecasts and fitted model for each of the last months."""
    window = {"initial_window": len(y) - months, "step_length": 1, "fh": [1]}
    cv = ExpandingWindowWithProgress(**window)
    cv.description = f"{name:31s}"
    return evaluate(
        forecaster,
        cv,
        y,
        X,
        scoring=[MeanSquaredError(), MeanAbsoluteError()],
        # only the rows of X that belong to the forecasts: some forecasters take X by position
        cv_X=SameLocSplitter(ExpandingWindowSplitter(**window), y),
        return_data=True,
        return_model=True,
        error_score="raise",
    )


def intervals(result: pd.DataFrame, X: pd.DataFrame, coverage: float) -> pd.DataFrame:
    """The interval of each month, by the model that was fitted for it."""
    months = zip(result["fitted_forecaster"], result["y_pred"], strict=True)
    return pd.concat(
        [
            forecaster.predict_interval(fh=[1], X=X.loc[forecast.index], coverage=coverage)
            for forecaster, forecast in months
        ]
    )


def draw(y: pd.Series, forecasts: dict[str, pd.Series], interval: pd.DataFrame, path: Path) -> None:
    """Forecasts with intervals over actual values, and where the errors differ from a rival's."""
    squares = (pd.DataFrame(forecasts).sub(y, axis=0) ** 2).loc[interval.index]
    rival = squares[RIVALS].mean().idxmin()
    gains = -squares.drop(columns=["random walk", rival]).sub(squares[rival], axis=0).cumsum()
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(10, 7), height_ratios=[3, 2])
    times = interval.index.to_timestamp()
    top.plot(times, y[interval.index], color="0.6", label="actual")
    top.plot(times, forecasts[DEFAULTS], label=DEFAULTS)
    top.fill_between(times, *interval.to_numpy().T, color="C0", alpha=0.2, label="90 % interval")
    top.legend()
    top.set(title="S&P 500, one month ahead, with intervals of 90 %", ylabel="log volatility")
    for name, gain in gains.items():
        bottom.plot(times, gain, label=name)
    bottom.axhline(0.0, color="0.6", linewidth=1.0)
    bottom.set(
        title=f"Squared error saved since the first month, beside {rival}: a rising line gains",
        ylabel="cumulated",
    )
    bottom.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--months", type=int, default=60, help="months to forecast")
    parser.add_argument("--seed", type=int, default=0, help="of the network's initial weights")
    parser.add_argument("--as-published", action="store_true", help="lag INF and IP by two months")
    parser.add_argument("--output", type=Path, default=Path("sp500_volatility.png"))
    arguments = parser.parse_args()
    began = time.perf_counter()

    y, X = load_sp500_volatility()
    if arguments.as_published:
        X[["INF", "IP"]] = X[["INF", "IP"]].shift(1)
    X = X.shift(1).dropna()  # the X of a month is known at its end: use it for the next one
    y = y[X.index]

    results = {
        name: cross_validate(name, forecaster, y, X, arguments.months)
        for name, forecaster in make_forecasters(arguments.seed).items()
    }
    table = pd.DataFrame(
        {
            name: {
                "MSE": result["test_MeanSquaredError"].mean(),
                "MAE": result["test_MeanAbsoluteError"].mean(),
                "fit time, s": result["fit_time"].mean(),
            }
            for name, result in results.items()
        }
    ).T
    print(
        f"\nLog realized volatility of the S&P 500, {y.index[-arguments.months]} to {y.index[-1]}, "
        f"one month ahead,\nrefitted every month on all months before:\n"
    )
    print(table.to_string(float_format="{:.4f}".format))

    last_fit = results[CHOSEN]["fitted_forecaster"].iloc[-1].result_
    print(f"\nLast fit of the network: {last_fit.status}\n{last_fit.certificate}")
    interval = intervals(results[DEFAULTS], X, coverage=0.9)
    low, high = interval.to_numpy().T
    actual = y[interval.index]
    is_inside = (low <= actual) & (actual <= high)
    print(f"\nIntervals of 90 % held {is_inside.mean():.0%} of the months.")
    forecasts = {name: pd.concat(list(result["y_pred"])) for name, result in results.items()}
    draw(y, forecasts, interval, arguments.output)
    print(f"\nPicture: {arguments.output.resolve()}")
    print(f"Done in {time.perf_counter() - began:.0f} s.")


if __name__ == "__main__":
    main()
