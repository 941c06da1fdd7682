"""Simulated systems with an input: two tanks with overflow, and a Duffing oscillator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from sktime_alm.solver._typing import Array
from sktime_alm.solver._validation import check_count, check_nonnegative, check_positive

# the height of both tanks and of the sensor's range
_HEIGHT = 10.0
# outflow of the upper tank, of the lower one, and the flow of the pump for 1 V
_OUT_UPPER, _OUT_LOWER, _PUMP = 0.06, 0.06, 0.05
# the share of an overflow of the upper tank that falls into the lower one
_CAUGHT = 0.5
_SUBSTEPS = 4


def make_tanks(
    n_samples: int = 1024,
    process_noise: float = 0.005,
    noise: float = 0.03,
    random_state: int | None = None,
) -> tuple[pd.Series, pd.DataFrame]:
    r"""Simulate two cascaded tanks that may overflow, after the benchmark of [1]_.

    A pump driven by u fills the upper tank, which drains into the lower one, whose level is
    measured:

    .. math::

        \dot x_1 = -0.06 \sqrt{x_1} + 0.05 u, \quad
        \dot x_2 = 0.06 \sqrt{x_1} - 0.06 \sqrt{x_2}

    Both are 10 high. Half of what overflows from the upper tank falls into the lower one, all
    else is lost. The input is a multisine of low frequencies, the initial levels are random, and
    a sample is taken every 4 s.

    Parameters
    ----------
    n_samples : int, default=1024
        The length of the record.
    process_noise : float, default=0.005
        Standard deviation of the disturbance of each level in a time step of 1 s.
    noise : float, default=0.03
        Standard deviation of the error of measurement, in V.
    random_state : int, optional
        Seed of the input, the initial levels and the noise: records of different seeds are
        experiments with the same tanks.

    Returns
    -------
    y : pandas.Series of shape (n_samples,)
        The measured level of the lower tank, "level" in V.
    X : pandas.DataFrame of shape (n_samples, 1)
        The voltage of the pump, "pump" in V.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range; the message names it.

    References
    ----------
    .. [1] Schoukens, M. and Noël, J. P. (2017). Three benchmarks addressing open challenges in
       nonlinear system identification. IFAC-PapersOnLine 50(1), 446-451.

    Examples
    --------
    >>> from sktime_alm.datasets import make_tanks
    >>> y, X = make_tanks(random_state=0)
    >>> y.shape, X.shape, bool(y.max() <= 10.0)
    ((1024,), (1024, 1), True)
    """
    T = check_count(n_samples, "n_samples")
    check_nonnegative(process_noise, "process_noise")
    check_nonnegative(noise, "noise")
    rng = np.random.default_rng(random_state)
    u = np.clip(3.0 + _multisine(T, 0.02, rng), 0.0, None)
    disturbances = rng.normal(0.0, process_noise, (T, _SUBSTEPS, 2))
    upper, lower = rng.uniform(2.0, 6.0, 2)
    levels = np.empty(T)
    for t in range(T):
        levels[t] = lower
        for first, second in disturbances[t]:
            inflow = _OUT_UPPER * np.sqrt(upper)
            upper += _PUMP * u[t] - inflow + first
            overflow = max(upper - _HEIGHT, 0.0)
            lower += inflow - _OUT_LOWER * np.sqrt(lower) + _CAUGHT * overflow + second
            # what is above the rim is gone; noise does not drain a tank below its floor
            upper, lower = (min(max(level, 0.0), _HEIGHT) for level in (upper, lower))
    measured = np.clip(levels + rng.normal(0.0, noise, T), 0.0, _HEIGHT)
    return pd.Series(measured, name="level"), pd.DataFrame({"pump": u})


def make_duffing(
    n_samples: int = 2048,
    amplitude: float = 0.1,
    hardening: float = 0.05,
    noise: float = 1e-3,
    random_state: int | None = None,
) -> tuple[pd.Series, pd.DataFrame]:
    r"""Simulate a Duffing oscillator: a lightly damped spring that hardens.

    .. math:: \ddot y + 0.054 \, \dot y + y + \kappa y^3 = u

    with a sample every 0.6 time units, so that a period takes about ten and the poles of the
    linear part have a radius of 0.984. The input, held between samples, is a multisine of
    random phases up to twice the resonance. It starts at rest.

    Parameters
    ----------
    n_samples : int, default=2048
        The length of the record.
    amplitude : float, default=0.1
        Standard deviation of the input. The larger, the more nonlinear the response.
    hardening : float, default=0.05
        :math:`\kappa`; with 0 the oscillator is linear.
    noise : float, default=1e-3
        Standard deviation of the error of measurement.
    random_state : int, optional
        Seed of the phases and of the noise.

    Returns
    -------
    y : pandas.Series of shape (n_samples,)
        The measured displacement, "displacement".
    X : pandas.DataFrame of shape (n_samples, 1)
        The force, "force".

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range; the message names it.

    Examples
    --------
    >>> from sktime_alm.datasets import make_duffing
    >>> y, X = make_duffing(random_state=0)
    >>> larger, _ = make_duffing(amplitude=0.4, random_state=0)
    >>> y.shape, X.shape, bool(larger.std() < 4.0 * y.std())
    ((2048,), (2048, 1), True)
    """
    T = check_count(n_samples, "n_samples")
    check_positive(amplitude, "amplitude")
    check_nonnegative(hardening, "hardening")
    check_nonnegative(noise, "noise")
    rng = np.random.default_rng(random_state)
    u = amplitude * _multisine(T, 0.2, rng)
    y = np.empty(T)
    state = np.zeros(2)
    for t in range(T):
        # the force held from t on acts on later samples alone
        y[t] = state[0]

        def motion(state: Array, force: float = u[t]) -> Array:
            place, speed = state
            return np.array([speed, force - 0.054 * speed - place - hardening * place**3])

        for _ in range(_SUBSTEPS):
            state = _runge_kutta(motion, state, 0.6 / _SUBSTEPS)
    y += rng.normal(0.0, noise, T)
    return pd.Series(y, name="displacement"), pd.DataFrame({"force": u})


def _multisine(n_samples: int, highest: float, rng: np.random.Generator) -> Array:
    """Equal sines of random phases up to a frequency in cycles a sample; variance 1."""
    n_lines = max(1, int(highest * n_samples))
    lines = np.zeros(n_samples // 2 + 1, dtype=complex)
    phases = rng.uniform(0.0, 2.0 * np.pi, n_lines)
    lines[1 : n_lines + 1] = np.exp(1j * phases)[: len(lines) - 1]
    signal = np.fft.irfft(lines, n_samples)
    scale = signal.std()
    return np.asarray(signal / scale if scale > 0.0 else signal)


def _runge_kutta(motion: Callable[[Array], Array], state: Array, step: float) -> Array:
    """The state after a step of the classical method of order four."""
    first = motion(state)
    second = motion(state + 0.5 * step * first)
    third = motion(state + 0.5 * step * second)
    fourth = motion(state + step * third)
    return state + step / 6.0 * (first + 2.0 * (second + third) + fourth)
