"""What tests share: random problems and points, seeded, small forecasters, and how scripts run."""

import sys
from dataclasses import replace
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon

from sktime_alm.solver import train
from sktime_alm.solver.initialization import initialize
from sktime_alm.solver.lagrangian import Multipliers
from sktime_alm.solver.reformulation import ElmanProblem, Point
from sktime_alm.solver.regularization import Regularization

# CI machines are slow and shared: no deadline on a single example, the same examples always
settings.register_profile(
    "repository",
    deadline=None,
    derandomize=True,
    max_examples=20,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repository")

# options of the solver for what tests something else: a descent alone, without its finish
DESCENT = {"active_set": False, "n_relaxations": 0}
# small forecasters, with given penalties
QUICK: dict[str, Any] = {
    "alpha": 1.0,
    "skip_alpha": 0.1,
    "hidden_size": 2,
    "max_iter": 2,
    "random_state": 0,
    "solver_options": DESCENT,
}
NETWORK: dict[str, Any] = {
    "hidden_size": 3,
    "alpha": 0.05,
    "skip_alpha": 0.5,
    "max_iter": 4,
    "random_state": 0,
    "solver_options": DESCENT,
}

ACTIVATION_NAMES = ("relu", "leaky_relu", "elu")


class Case(NamedTuple):
    """A problem with a random, in general infeasible, point and multipliers."""

    problem: ElmanProblem
    point: Point
    multipliers: Multipliers
    gamma: float
    mu: float


def make_case(
    T=7,
    n=3,
    m=2,
    r=4,
    activation="relu",
    starts=(0,),
    gamma=0.7,
    mu=0.05,
    alpha=0.8,
    seed=0,
    linear_skip=False,
    missing=(),
):
    rng = np.random.default_rng(seed)
    regularization = Regularization.scaled(alpha, n, r, m, l2_preactivation=1e-3)
    if linear_skip:
        regularization = replace(regularization, l2_skip=0.3 * alpha)
    X, Y = rng.normal(size=(T, n)), rng.normal(size=(T, m))
    Y[list(missing), 0] = np.nan
    problem = ElmanProblem(X, Y, regularization, activation, starts, linear_skip)
    parameters = initialize(0.6, n, r, m, rng)
    if linear_skip:
        parameters = replace(parameters, D=rng.normal(size=(m, n)))
    point = Point(parameters, rng.normal(size=(T, r)), rng.normal(size=(T, r)))
    multipliers = Multipliers(rng.normal(size=(T, r)), rng.normal(size=(T, r)))
    return Case(problem, point, multipliers, gamma, mu)


def record_training(monkeypatch):
    """The inputs and the arguments of every training of a forecaster from now on."""
    calls = []

    def spy(inputs, targets, **arguments):
        calls.append((inputs, arguments))
        return train(inputs, targets, **arguments)

    monkeypatch.setattr("sktime_alm.trainer.train", spy)
    return calls


def outcomes(forecaster, fh, X=None):
    """For each time of a horizon the sample of y that quantiles are taken of."""
    steps = np.asarray(fh)
    return forecaster._fitted.outcomes(
        *forecaster._question(ForecastingHorizon(steps, is_relative=True), X)[1]
    )


def without_posterior(forecaster):
    """Let few rows pass for many: all paths are then made of errors drawn."""
    errors = replace(forecaster._fitted.errors, posteriors=())
    forecaster._fitted = replace(forecaster._fitted, errors=errors)


def with_network(forecaster, network):
    """Let a forecaster forecast by another network."""
    model = replace(forecaster._fitted.model, networks=(network,))
    forecaster._fitted = replace(forecaster._fitted, model=model)


def named(parameters):
    """The weights by their names."""
    return dict(zip("AWVbcD", parameters.arrays(), strict=False))


def log_floats(low, high):
    """Numbers spread evenly over the decades from 10^low to 10^high."""
    return st.floats(low, high).map(lambda exponent: 10.0**exponent)


@st.composite
def cases(draw):
    """Cases of every size from 1, with gamma and mu over decades, in one or two sequences.

    Half of them have a linear skip, and some lack targets in some rows.
    """
    T = draw(st.integers(1, 8))
    starts = (0, draw(st.integers(1, T - 1))) if T > 1 and draw(st.booleans()) else (0,)
    return make_case(
        T=T,
        n=draw(st.integers(1, 4)),
        m=draw(st.integers(1, 3)),
        r=draw(st.integers(1, 5)),
        activation=draw(st.sampled_from(ACTIVATION_NAMES)),
        starts=starts,
        gamma=draw(log_floats(-3, 3)),
        mu=draw(log_floats(-6, 1)),
        seed=draw(st.integers(0, 2**31)),
        linear_skip=draw(st.booleans()),
        missing=draw(st.sets(st.integers(1, T - 1), max_size=3)) if T > 1 else (),
    )


@pytest.fixture
def few_replays(monkeypatch):
    """Hardly more pieces of a panel are replayed than it takes to know their errors.

    What these say is tested in test_replays; of a small panel they are most of the time.
    """
    monkeypatch.setattr("sktime_alm.replays._N_PIECES", 12)


@pytest.fixture
def run_main(monkeypatch, capsys):
    """What a script of the examples prints with some arguments.

    Within this process, which has imported already what a process of its own would import anew.
    """
    # some scripts change it for all forecasters
    monkeypatch.setitem(BaseForecaster._config, "remember_data", True)

    def run(script, *arguments):
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        import_module(script).main()
        return capsys.readouterr().out

    return run


@pytest.fixture(params=ACTIVATION_NAMES)
def case(request):
    return make_case(activation=request.param)
