"""What the forecaster is to reach, measured: one line each, with pass or fail.

Monthly log volatility of the S&P 500: the last 240 months, one and twelve months ahead, in an
expanding window, fitted anew every twelve months and updated with every month between. Inputs
of the network are the last six months and X of the month before (of the year before, twelve
months ahead); they were chosen on the 84 months before those 240. Its rival is a HAR-X model:
averages over 1, 3 and 12 months, the same X, least squares, directly for each horizon. Three
series with real nonlinearity, 500 rows to train on and 300 to forecast one step ahead. The
time of a fit that chooses its penalties.

    python examples/benchmark/targets.py [--months 240] [--seeds 5]

QLIKE is that of exp(2 f + 2 s2), f being the forecast of log volatility and s2 the variance of
its error. The script takes about five minutes.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

# before NumPy is loaded: two threads on a busy machine make small problems many times slower
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from scipy.signal import lfilter
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from tqdm.auto import tqdm

from sktime_alm import ALMElmanForecaster
from sktime_alm.datasets import load_sp500_volatility
from sktime_alm.evaluation import QLIKE, variance_from_log_volatility
from sktime_alm.inputs import InputLayout

LEVELS = np.arange(1, 100) / 100
WINDOWS = (1, 3, 12)


class Forecasts(NamedTuple):
    """Actual values, point forecasts, variances of log volatility and quantiles, by month."""

    actual: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    quantiles: np.ndarray

    def mse(self) -> float:
        return float(np.mean((self.actual - self.mean) ** 2))

    def qlike(self) -> float:
        forecast = variance_from_log_volatility(pd.Series(self.mean), pd.Series(self.variance))
        return float(QLIKE()(pd.Series(np.exp(2.0 * self.actual)), forecast))

    def coverage(self) -> float:
        low, high = self.quantiles[:, 4], self.quantiles[:, 94]
        return float(np.mean((low <= self.actual) & (self.actual <= high)))

    def crps(self) -> float:
        """Twice the pinball loss, averaged over the percentiles."""
        excess = self.actual[:, None] - self.quantiles
        return float(2.0 * np.mean(np.maximum(LEVELS * excess, (LEVELS - 1.0) * excess)))


class Gaussian:
    """HAR-X by least squares with normal errors, ``steps`` ahead directly."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def _regressors(self, y: np.ndarray, X: np.ndarray) -> np.ndarray:
        # the averages end, and X stands, at the month in which the forecast is made
        layout = InputLayout.from_arguments(0, WINDOWS, [0], range(X.shape[1]))
        rows = layout.rows(np.vstack([y, y[-1:]]), np.vstack([X[:1], X]))[1:]
        return np.column_stack([rows, np.ones(len(rows))])

    def fit(self, y: np.ndarray, X: np.ndarray) -> "Gaussian":
        Z = self._regressors(y, X)[max(WINDOWS) - 1 : -self.steps]
        target = y[max(WINDOWS) - 1 + self.steps :, 0]
        self.weights = np.linalg.lstsq(Z, target, rcond=None)[0]
        errors = target - Z @ self.weights
        self.variance = float(errors @ errors) / (len(errors) - Z.shape[1])
        return self

    def predict(self, y: np.ndarray, X: np.ndarray) -> tuple[float, float, np.ndarray]:
        mean = float(self._regressors(y, X)[-1] @ self.weights)
        return mean, self.variance, mean + np.sqrt(self.variance) * norm.ppf(LEVELS)


def forecasts_of_gaussian(y: pd.Series, X: pd.DataFrame, months: int, steps: int) -> Forecasts:
    values, rows = y.to_numpy()[:, None], X.to_numpy()
    outcomes = []
    for number, end in enumerate(range(len(y) - months, len(y))):
        origin = end - steps + 1
        if number % 12 == 0:
            model = Gaussian(steps).fit(values[:origin], rows[:origin])
        outcomes.append(model.predict(values[:origin], rows[:origin]))
    return _collected(y, months, outcomes)


def forecasts_of(
    forecaster: ALMElmanForecaster, y: pd.Series, X: pd.DataFrame, months: int, steps: int
) -> Forecasts:
    """Each month's forecast, made ``steps`` months before its end."""
    outcomes = []
    for number, end in enumerate(tqdm(range(len(y) - months, len(y)), disable=None)):
        origin = end - steps + 1
        if number % 12 == 0:
            forecaster = forecaster.clone().fit(y[:origin], X[:origin], fh=[steps])
        else:
            forecaster.update(y[:origin], X[:origin], update_params=False)
        mean = forecaster.predict(fh=[steps]).iloc[0]
        variance = forecaster.predict_var(fh=[steps]).iloc[0, 0]
        quantiles = forecaster.predict_quantiles(fh=[steps], alpha=list(LEVELS)).to_numpy()[0]
        outcomes.append((mean, variance, quantiles))
    return _collected(y, months, outcomes)


def _collected(y: pd.Series, months: int, outcomes: list) -> Forecasts:
    mean, variance, quantiles = zip(*outcomes, strict=True)
    return Forecasts(
        y.to_numpy()[-months:], np.array(mean), np.array(variance), np.array(quantiles)
    )


def elman(steps: int, seed: int, **arguments) -> ALMElmanForecaster:
    """The settings for the task: six lags and X that is known, all else by default."""
    return ALMElmanForecaster(lags=6, exog_lags=[steps], random_state=seed, **arguments)


def noisy_elman(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A contractive Elman network with six ReLU units, with a tenth of noise."""
    x, W = rng.normal(size=(800, 2)), rng.normal(size=(6, 6))
    W *= 0.8 / np.linalg.norm(W, 2)
    V, b, A = rng.normal(size=(6, 2)), 0.3 * rng.normal(size=6), rng.normal(size=6)
    h, y = np.zeros(6), np.empty(800)
    for t in range(800):
        h = np.maximum(W @ h + V @ x[t] + b, 0.0)
        y[t] = A @ h
    y = (y - y.mean()) / y.std() + 0.1 * rng.normal(size=800)
    return y[:, None], x


def threshold_autoregression(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The threshold model of the Canadian lynx, in logarithms (Tong, 1990, section 7.2)."""
    y = np.full((800, 1), 3.0)
    for t in range(2, 800):
        if y[t - 2] <= 3.25:
            y[t] = 0.62 + 1.25 * y[t - 1] - 0.43 * y[t - 2] + 0.2 * rng.normal()
        else:
            y[t] = 2.25 + 1.52 * y[t - 1] - 1.24 * y[t - 2] + 0.25 * rng.normal()
    return y, np.empty((800, 0))


def wiener_hammerstein(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A filter, a rectifier and a filter of white noise, observed with noise."""
    x = rng.normal(size=800)
    rectified = np.maximum(lfilter([0.5, 0.3], [1.0, -0.6], x), 0.0)
    y = lfilter([1.0], [1.0, -0.7], rectified) + 0.05 * rng.normal(size=800)
    return y[:, None], x[:, None]


def nonlinear_errors(
    simulate: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]], seed: int
) -> dict[str, float]:
    """Mean squared errors one step ahead of 300 rows, trained on the 500 before."""
    values, rows = simulate(np.random.default_rng(seed))
    y = pd.Series(values[:, 0])
    X = pd.DataFrame(rows) if rows.shape[1] else None
    arguments: dict[str, Any] = {"lags": 4, "random_state": seed}
    if X is not None:
        arguments["exog_lags"] = [0, 1, 2, 3]
    actual, errors = values[500:, 0], {}
    models: dict[str, dict[str, Any]] = {"network": {}, "ridge ARX": {"alpha": np.inf}}
    for name, changes in models.items():
        forecaster = ALMElmanForecaster(**arguments, **changes)
        forecaster.fit(y[:500], None if X is None else X[:500])
        forecaster.update(y, X, update_params=False)
        fitted = forecaster.predict(fh=np.arange(-299, 1))
        errors[name] = float(np.mean((actual - fitted.to_numpy()) ** 2))
    columns, exog_lags = range(rows.shape[1]), arguments.get("exog_lags")
    layout = InputLayout.from_arguments(4, None, exog_lags, columns)
    inputs = layout.rows(values, rows)
    boosting = HistGradientBoostingRegressor(random_state=seed)
    boosting.fit(inputs[4:500], values[4:500, 0])
    errors["boosting"] = float(np.mean((actual - boosting.predict(inputs[500:])) ** 2))
    return errors


def seconds_of_a_fit() -> float:
    """Median of five fits, warm: 800 rows, 12 inputs, 8 units, five starts."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(800, 11)))
    y = pd.Series(np.maximum(X.to_numpy() @ rng.normal(size=11), 0.0) + rng.normal(size=800))
    seconds = []
    for seed in range(6):
        began = time.perf_counter()
        ALMElmanForecaster(8, exog_lags=[0], n_init=5, random_state=seed).fit(y, X)
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[1:]))


def report(name: str, value: float, low: float, high: float) -> None:
    verdict = "pass" if low <= value <= high else "FAIL"
    print(f"{verdict}  {name:66s} {value:7.3f}   ({low:g} to {high:g})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--months", type=int, default=240, help="months to forecast")
    parser.add_argument("--seeds", type=int, default=5, help="of nonlinear series")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)

    y, X = load_sp500_volatility()
    for steps in (1, 12):
        ours = forecasts_of(elman(steps, 0), y, X, arguments.months, steps)
        har = forecasts_of_gaussian(y, X, arguments.months, steps)
        ahead = f"{steps} month{'s' * (steps > 1)} ahead"
        if steps == 1:
            ridge = forecasts_of(elman(steps, 0, alpha=np.inf), y, X, arguments.months, steps)
            report(f"{ahead}: MSE / HAR-X by least squares", ours.mse() / har.mse(), 0.0, 0.98)
            report(
                f"{ahead}: MSE / a ridge regression on the same inputs",
                ours.mse() / ridge.mse(),
                0.0,
                1.0,
            )
            alike = ours._replace(variance=har.variance)
            report(f"{ahead}: QLIKE / HAR-X, same s2", alike.qlike() / har.qlike(), 0.0, 1.0)
            print(f"      (with s2 of the network's own: {ours.qlike() / har.qlike():.3f})")
            report(f"{ahead}: CRPS / HAR-X with normal errors", ours.crps() / har.crps(), 0.0, 1.0)
        else:
            print(
                f"      {ahead}: MSE {ours.mse():.4f}, HAR-X {har.mse():.4f}; CRPS "
                f"{ours.crps():.4f}, {har.crps():.4f}"
            )
        report(f"{ahead}: coverage of the 90 % interval", ours.coverage(), 0.87, 0.93)
        conformal = elman(steps, 0, interval_method="conformal")
        covered = forecasts_of(conformal, y, X, arguments.months, steps).coverage()
        report(f"{ahead}: the same, conformal", covered, 0.87, 0.93)
        print(f"      (HAR-X with normal errors: {har.coverage():.3f})")

    for simulate in (noisy_elman, threshold_autoregression, wiener_hammerstein):
        errors = pd.DataFrame([nonlinear_errors(simulate, seed) for seed in range(arguments.seeds)])
        ratio = errors["network"] / errors[["ridge ARX", "boosting"]].min(axis=1)
        name = simulate.__name__.replace("_", " ")
        report(f"{name}: MSE / the better of ridge ARX and boosting", ratio.median(), 0.0, 0.8)
        print(f"      (each: {', '.join(f'{value:.2f}' for value in ratio)})")

    report("seconds of a fit that chooses alpha, T=800, 12 inputs", seconds_of_a_fit(), 0.0, 1.0)


if __name__ == "__main__":
    main()
