"""The spread of forecasts: from errors made to the outcomes that a forecast should expect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

from sktime_alm.inputs import carried_forward
from sktime_alm.model import Model
from sktime_alm.posterior import Posterior
from sktime_alm.scalers import Standardizer
from sktime_alm.solver._typing import Array

# Monte Carlo moves the coverage of a 90 % interval by less than 0.01
N_PATHS = 2000
# in simulated paths: some arrays of as many numbers are needed, of 320 MB each
_MOST_NUMBERS = 40_000_000

# the fewest errors of which the smallest and the largest bound a 90 % interval
MIN_ERRORS = 19

# a long window could calibrate more steps, at a cost that grows with its square
MAX_STEPS = 120

_TINY = float(np.finfo(float).tiny)

# the quantile of absolute errors that tells how large they are
SIZE = 0.8

# how many times their distance the bounds of these paths lie outside of those of forecasts
_FURTHER = 0.5
# how many independent errors paths count for, where errors tell how much wider forecasts spread
_PATHS_COUNT = 3.0
# absolute errors below this share of their median are taken to be as large: their logarithms
# would say more about single rows than about the scale
_LEAST_ERROR = 0.01
# of normal errors the standard deviation, in median absolute deviations, and that of log |e|
_MAD_TO_SD = 1.4826
_SD_LOG_NORMAL = np.pi / np.sqrt(8.0)

# the levels of quantiles that are kept to the shares of rows that fall below them, those between
# by interpolation, and how far one row moves them
_BELOW = np.array([0.0, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35])
NOMINAL = np.concatenate([_BELOW, [0.5], 1.0 - _BELOW[::-1]])
_STEP_OF_LEVELS = 0.005


@dataclass(frozen=True, eq=False)
class Scale:
    """How large errors are, given the forecast: log s(f) = slope (f - centre), for each output.

    The errors of a log variance, for one, are larger where it is low. Beyond the forecasts that
    this was learned from, s stays as it is at their ends.

    Attributes
    ----------
    slope, centre : arrays of shape (m,)
    extent : array of shape (2, m)
        The least and the largest of these forecasts.
    """

    slope: Array
    centre: Array
    extent: Array

    @classmethod
    def constant(cls, n_outputs: int) -> Scale:
        """Errors are as large everywhere."""
        return cls(np.zeros(n_outputs), np.zeros(n_outputs), np.zeros((2, n_outputs)))

    @classmethod
    def fit(cls, forecasts: Array, errors: Array) -> Scale:
        """By a regression of log |e| on the forecast, shrunk towards a slope of 0.

        Parameters
        ----------
        forecasts, errors : arrays of shape (n, m)
        """
        centre, size = forecasts.mean(axis=0), np.abs(errors)
        least = np.maximum(_LEAST_ERROR * np.median(size, axis=0), _TINY)
        logs, deviations = np.log(np.maximum(size, least)), forecasts - centre
        squares = np.maximum((deviations**2).sum(axis=0), _TINY)
        slope = (deviations * (logs - logs.mean(axis=0))).sum(axis=0) / squares
        extent = np.array([forecasts.min(axis=0), forecasts.max(axis=0)])
        return cls(slope * shrinkage(slope, _SD_LOG_NORMAL**2 / squares), centre, extent)

    def of(self, forecasts: Array) -> Array:
        """s of forecasts of shape (..., m)."""
        return np.exp(self.slope * (np.clip(forecasts, *self.extent) - self.centre))

    def in_units(self, before: Standardizer, after: Standardizer) -> Scale:
        """The same of forecasts in other standardised units."""
        slope = self.slope * after.scale / before.scale
        moved = [after.transform(before.inverse_transform(a)) for a in (self.centre, self.extent)]
        return Scale(slope, *moved)


@dataclass(frozen=True, eq=False)
class Runs:
    """Errors one, two, ... steps ahead from the same row, in units of their scale.

    Attributes
    ----------
    errors : array of shape (n, n_steps, m)
    bias : array of shape (n_steps, m)
        What forecasts so many steps ahead fall short of.
    """

    errors: Array
    bias: Array

    @classmethod
    def of(cls, errors: Array, n_independent: Array) -> Runs:
        """With their bias, which is 0 where the errors might show it by chance.

        ``n_independent``, of shape (n_steps,), is how many errors that do not overlap those of a
        step say as much as.
        """
        # medians: few rows of a small scale would rule the means
        bias = np.median(errors, axis=0)
        deviation = _MAD_TO_SD * np.median(np.abs(errors - bias), axis=0)
        variance = 0.5 * np.pi * deviation**2 / n_independent[:, None]
        return cls(errors, bias * shrinkage(bias, variance))

    def times(self, factor: Array) -> Runs:
        """Errors so many times as large, for each output."""
        return Runs(self.errors * factor, self.bias * factor)

    def of_steps(self, n_steps: int) -> Runs:
        """Those of so many steps: beyond the k known ones they grow as the last of these did.

        With the exponent g at which errors, as large as h^g, rose over the last half of the known
        steps, those of the last one times (h / k)^g.
        """
        n_known, steps = self.errors.shape[1], np.arange(1, n_steps + 1)
        known = np.minimum(steps, n_known) - 1
        further = np.maximum(steps / n_known, 1.0)[:, None] ** self._growth()
        return Runs(self.errors[:, known] * further, self.bias[known] * further)

    def _growth(self) -> Array:
        """The exponent g of each output, 0 to 1; that of a random walk if one step is known."""
        n_steps = self.errors.shape[1]
        if n_steps == 1:
            return np.full(self.errors.shape[2], 0.5)
        steps = np.arange(max(n_steps // 2 - 1, 0), n_steps)
        sizes = np.quantile(np.abs(self.errors[:, steps]), SIZE, axis=0)
        slopes = np.polyfit(np.log(steps + 1.0), np.log(np.maximum(sizes, _TINY)), 1)[0]
        return np.asarray(np.clip(slopes, 0.0, 1.0))


@dataclass(frozen=True, eq=False)
class Errors:
    """What is known about the errors of forecasts, in standardised units.

    Attributes
    ----------
    one_step : array of shape (n, m)
        Errors one step ahead, as large as those on new rows, in units of their scale.
    stretch : array of shape (n_steps, m)
        How much wider than simulated paths the errors so many steps ahead are; the last row
        stands for all further steps.
    scale : Scale
    is_validated : bool
        Whether the errors are those of the models that chose the penalties.
    posteriors : tuple of Posterior
        Of each network, where rows were few.
    by_step : tuple of arrays of shape (n_errors, m)
        For "conformal", the errors of each number of steps ahead, in units of their scale.
    runs : Runs, optional
        Paths are made of these, and not simulated.
    """

    one_step: Array
    stretch: Array
    scale: Scale
    is_validated: bool = False
    posteriors: tuple[Posterior, ...] = ()
    by_step: tuple[Array, ...] = ()
    runs: Runs | None = None

    @classmethod
    def of_runs(cls, errors: Array, forecasts: Array, n_independent: Array) -> Errors:
        """From errors of shape (n, n_steps, m), and the forecasts.

        ``n_independent`` is that of :meth:`Runs.of`.
        """
        scale = Scale.fit(forecasts[:, 0], errors[:, 0])
        runs = Runs.of(errors / scale.of(forecasts), n_independent)
        return cls(runs.errors[:, 0], np.ones((1, errors.shape[2])), scale, runs=runs)

    @property
    def share(self) -> float:
        """Of the paths, those that are drawn from the posteriors."""
        return float(np.mean([one.share for one in self.posteriors] or [0.0]))

    def draw(self, n_steps: int, seed: int, n_paths: int) -> tuple[Array, Array]:
        """As :meth:`Posterior.draw`, from each network's for its share of the paths."""
        shares = np.array_split(np.arange(n_paths), len(self.posteriors))
        drawn = (
            posterior.draw(n_steps, seed + k, len(share))
            for k, (posterior, share) in enumerate(zip(self.posteriors, shares, strict=True))
        )
        changes, noise = (np.concatenate(of_networks) for of_networks in zip(*drawn, strict=True))
        return changes, noise

    def of_first_step(self) -> Array:
        """Those that quantiles one step ahead are made of, in units of their scale."""
        return self.by_step[0] if self.by_step else self.one_step * self.stretch[0]

    def of_steps(self) -> tuple[Array, ...]:
        """Those of each number of steps ahead that are known without a simulation."""
        return (self.one_step,) if self.runs is None else tuple(np.swapaxes(self.runs.errors, 0, 1))

    def times(self, factor: Array) -> Errors:
        """Errors so many times as large, for each output, but for the posterior."""
        by_step = tuple(of_step * factor for of_step in self.by_step)
        runs = None if self.runs is None else self.runs.times(factor)
        return replace(self, one_step=self.one_step * factor, by_step=by_step, runs=runs)

    def in_units(self, before: Standardizer, after: Standardizer) -> Errors:
        """The same of forecasts in other standardised units, but for the posterior."""
        scale = self.scale.in_units(before, after)
        return replace(self.times(before.scale / after.scale), scale=scale)


def shrinkage(estimate: Array, variance: Array) -> Array:
    """What an estimate b of variance v is multiplied by: the positive part of 1 - 2 v / b^2.

    As in the estimate of James and Stein: what rows might show by chance becomes 0.
    """
    squares = estimate**2
    return np.asarray(np.maximum(squares - 2.0 * variance, 0.0) / np.maximum(squares, _TINY))


def draw_noise(errors: Array, n_steps: int, seed: int, n_paths: int = N_PATHS) -> Array:
    """Rows of errors drawn at random, of shape (n_paths, n_steps, m).

    The draws of a step are evenly spaced among the rows in the order of the first output, so that
    its quantiles are those of the errors, without the noise of drawing. The outputs of a row stay
    together, so that their correlation is kept. More steps leave the first ones as they are.
    """
    generator = np.random.default_rng(seed)
    places = (np.arange(n_paths) + 0.5) * len(errors) / n_paths
    spaced = np.argsort(errors[:, 0], kind="stable")[places.astype(int)]
    return np.stack([errors[generator.permutation(spaced)] for _ in range(n_steps)], axis=1)


class Situation(NamedTuple):
    """What forecasts from some row on start from, and what came.

    Attributes
    ----------
    states : list of arrays of shape (r,)
        The hidden state of each network before the row.
    past : array of shape (memory, m)
        The values before it.
    exogenous : array of shape (n_steps, n_exogenous)
        Exogenous inputs of the row and those that follow, lagged.
    actual : array of shape (n_steps, m)
        The values of these rows; NaN where missing.
    """

    states: list[Array]
    past: Array
    exogenous: Array
    actual: Array


def situations(
    model: Model,
    states: Sequence[Array],
    y: Array,
    exogenous: Array,
    starts: Sequence[int],
    rows: Iterable[int],
    n_steps: int,
) -> Iterator[Situation]:
    """The situations of forecasts of up to ``n_steps`` steps from each of the rows on.

    Parameters
    ----------
    model : Model
    states : sequence of arrays of shape (T, r)
        Hidden states of the rows of y, for each network.
    y : array of shape (T, m)
    exogenous : array of shape (T, n_exogenous)
        Exogenous inputs of the rows, lagged.
    starts : sequence of int
        First rows of the sequences of consecutive times, which no forecast leaves, and at
        which none starts: there is no state to go on from.
    rows : iterable of int
    n_steps : int
    """
    edges, filled = np.append(starts, len(y)), carried_forward(y, starts)
    for row in rows:
        sequence = np.searchsorted(edges, row, side="right") - 1
        first, stop = edges[sequence], min(row + n_steps, edges[sequence + 1])
        if row > first:
            past = filled[max(row - model.layout.memory, first) : row]
            before = [of_network[row - 1] for of_network in states]
            yield Situation(before, past, exogenous[row:stop], y[row:stop])


def forecast_errors(
    model: Model, found: Iterable[Situation], n_steps: int
) -> tuple[list[Array], list[Array]]:
    """Errors and forecasts of the model, those of each step of shape (n_errors, m).

    Those of missing values are left out.
    """
    n_outputs = len(model.y_scaler.mean)
    # step by step pairs of an error and its forecast
    by_step: list[list[Array]] = [[] for _ in range(n_steps)]
    for states, past, exogenous, actual in found:
        forecasts = model.forecast(states, past, exogenous)
        pairs = np.stack([actual - forecasts, forecasts], axis=1)
        for of_step, pair in zip(by_step, pairs, strict=False):
            if not np.isnan(pair).any():
                of_step.append(pair)
    arrays = [np.array(of_step).reshape(-1, 2, n_outputs) for of_step in by_step]
    return [pairs[:, 0] for pairs in arrays], [pairs[:, 1] for pairs in arrays]


def path_variances(
    model: Model, found: Iterable[Situation], errors: Array, n_paths: int
) -> Iterator[Array]:
    """The variances of paths simulated in each situation, of shape (n_steps, m)."""
    for states, past, exogenous, _ in found:
        noise = draw_noise(errors, len(exogenous), 0, n_paths)
        yield model.paths(states, past, exogenous, noise).var(axis=0)


def stretch_factors(errors: Sequence[Array], variances: Sequence[Array]) -> Array:
    """How many times wider than simulated paths forecasts spread, by step.

    As many times as the errors were larger than the paths, if they were. That is known from
    few errors: n of them h steps ahead overlap, and say as much as n / h independent ones, beside
    which the paths themselves count for ``_PATHS_COUNT``. The normal prediction interval of so
    many is wider than one with a known variance.

    Parameters
    ----------
    errors : sequence of arrays of shape (n_errors, m)
        Of each step.
    variances : sequence of arrays of shape (n_steps, m)
        Of the paths from different rows, which may end early.

    Returns
    -------
    array of shape (n_steps, m)
        For the steps with errors to go by, one at least.
    """
    n_steps = sum(len(of_step) >= MIN_ERRORS for of_step in errors)
    factors = [np.ones(errors[0].shape[1])]
    for step in range(n_steps):
        of_paths = np.mean([v[step] for v in variances if len(v) > step], axis=0)
        of_errors = np.mean(errors[step] ** 2, axis=0)
        # constant series have neither
        ratio = of_errors / np.where(of_paths > 0.0, of_paths, np.inf)
        n = len(errors[step]) / (step + 1)
        ratio = (n * ratio + _PATHS_COUNT) / (n + _PATHS_COUNT)
        factors.append(np.sqrt(np.maximum(ratio, 1.0)) * _ignorance(n + _PATHS_COUNT))
    return np.array(factors[1:] or factors)


def _ignorance(n: float) -> float:
    """How much wider a 90 % prediction interval is for knowing n errors alone."""
    n = max(n, 3.0)
    return float(np.sqrt(1.0 + 1.0 / n) * t.ppf(0.95, n - 1.0) / norm.ppf(0.95))


def as_independent(errors: Array, step: int) -> Array:
    """Errors so many steps ahead, spread as those that do not overlap would have to be.

    n errors h steps ahead say as much as n / h independent ones. The rank of a quantile allows
    for n of them; a normal prediction interval from fewer is wider, by this factor.

    Parameters
    ----------
    errors : array of shape (n, m)
    step : int
        h.
    """
    n, mean = len(errors), errors.mean(axis=0)
    return mean + (errors - mean) * _ignorance(n / step) / _ignorance(n)


def spread(model: Model, errors: Errors, found: Situation, seed: int) -> Array:
    """Paths from a situation on, simulated or of runs of errors: (N_PATHS, n_steps, m)."""
    n_steps, n_outputs = len(found.exogenous), errors.one_step.shape[1]
    if n_steps * n_outputs > _MOST_NUMBERS // N_PATHS:
        raise ValueError(
            f"fh must end at most {_MOST_NUMBERS // N_PATHS // n_outputs} steps after the cutoff "
            f"where paths are simulated, as for intervals and with loss='qlike', found {n_steps}"
        )
    if errors.runs is not None:
        return _around_forecasts(model, errors.scale, errors.runs, found)
    n_drawn = round(errors.share * N_PATHS)
    pieces = []
    if n_drawn:
        changes, noise = errors.draw(n_steps, seed, n_drawn)
        wider = replace(model, bounds=_further(model))
        pieces.append(wider.paths(found.states, found.past, found.exogenous, noise, changes))
    if n_drawn < N_PATHS:
        noise = draw_noise(errors.one_step, n_steps, seed, N_PATHS - n_drawn)
        if errors.scale.slope.any():
            # as large as around the forecasts, from which no path goes far for its scale
            forecasts = model.forecast(found.states, found.past, found.exogenous)
            noise = noise * errors.scale.of(forecasts)
        paths = model.paths(found.states, found.past, found.exogenous, noise)
        pieces.append(stretched(paths, errors.stretch))
    return np.concatenate(pieces)


def _around_forecasts(model: Model, scale: Scale, runs: Runs, found: Situation) -> Array:
    """Forecasts with runs of errors, each as often."""
    forecasts = model.forecast(found.states, found.past, found.exogenous)
    of_steps = runs.of_steps(len(forecasts)).errors
    drawn = of_steps[np.arange(N_PATHS) * len(of_steps) // N_PATHS]
    paths = forecasts + scale.of(forecasts) * drawn
    return np.clip(paths, *_further(model)) if model.y_scaler.is_log else paths


def _further(model: Model) -> Array:
    """Bounds of paths: what few rows do not rule out reaches further than a forecast should."""
    return model.bounds + _FURTHER * np.diff(model.bounds, axis=0) * [[-1.0], [1.0]]


def stretched(paths: Array, factors: Array) -> Array:
    """Paths of shape (n_paths, n_steps, m), spread about their means by a factor for each step.

    The last row of the factors, of shape (n_factors, m), stands for all further steps.
    """
    of_steps = factors[np.minimum(np.arange(paths.shape[1]), len(factors) - 1)]
    mean = paths.mean(axis=0)
    return mean + of_steps * (paths - mean)


def followed(levels: Array, errors: Array, sample: Array) -> Array:
    """Levels of quantiles after more errors, by adaptive conformal inference.

    A quantile that too few values fall below is moved up, and down if too many do: by the rule
    a <- a + gamma (nominal - 1{value below}) of Gibbs and Candes (2021), "Adaptive conformal
    inference under distribution shift", for each nominal level by itself. So in the long run the
    shares are nominal, whatever the errors do.

    Parameters
    ----------
    levels : array of shape (n_levels, m)
        The levels of the sample used for those of ``NOMINAL``.
    errors : array of shape (n_rows, m)
        One step ahead, in the order of time.
    sample : array of shape (n, m)
        What the quantiles are taken of.

    Returns
    -------
    array of shape (n_levels, m)
    """
    ordered, places = np.sort(sample, axis=0), _places(len(sample))
    ranks = np.empty_like(errors)
    for output in range(errors.shape[1]):
        ranks[:, output] = np.interp(
            errors[:, output], ordered[:, output], places, left=0.0, right=1.0
        )
    for rank in ranks:
        moved = levels + _STEP_OF_LEVELS * (NOMINAL[:, None] - (rank <= levels))
        levels = np.clip(moved, 0.0, 1.0)
    return levels


def releveled(sample: Array, levels: Array) -> Array:
    """The sample moved so that its quantiles are those of other levels; the order stays.

    Parameters
    ----------
    sample : array of shape (n, m)
    levels : array of shape (n_levels, m)
        The levels of the sample used for those of ``NOMINAL``.
    """
    if (levels == NOMINAL[:, None]).all():
        return sample
    places, moved = _places(len(sample)), np.empty_like(sample)
    # followed one by one, neighbouring levels may cross
    for output, of_output in enumerate(np.sort(levels, axis=0).T):
        order = np.argsort(sample[:, output], kind="stable")
        used = np.interp(places, NOMINAL, of_output)
        moved[order, output] = np.interp(used, places, sample[order, output])
    return moved


def _places(n: int) -> Array:
    """The levels of the ordered values of a sample, the value to come counted among them."""
    return np.arange(1, n + 1) / (n + 1.0)


def quantiles(sample: Array, alpha: Array) -> Array:
    """Quantiles of each column, with the rank that counts the value to come among the sample.

    A new value exchangeable with n others is at most the k-th smallest of them with
    probability k / (n + 1) (or more, in a tie): the level alpha needs rank (n + 1) alpha,
    rounded away from the median. Levels that no rank reaches get the extreme value.

    Parameters
    ----------
    sample : array of shape (n, m)
    alpha : array of shape (k,)

    Returns
    -------
    array of shape (k, m)
    """
    n = len(sample)
    rank = np.round((n + 1) * alpha, 9)  # 0.29 times 100 is less than 29 in binary
    below = np.where(alpha <= 0.5, np.floor(rank), np.ceil(rank))
    above = np.where(alpha >= 0.5, np.ceil(rank), np.floor(rank))  # they differ at the median
    ordered = np.sort(sample, axis=0)
    values = [ordered[np.clip(k.astype(int), 1, n) - 1] for k in (below, above)]
    return 0.5 * (values[0] + values[1])
