"""Losses of a row: their derivatives, the best readout, training to an optimum with any of them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize

from sktime_alm.solver import (
    ALMSettings,
    ElmanProblem,
    Regularization,
    SafeguardedSettings,
    solve,
    train,
)
from sktime_alm.solver.bcd import closed_readout
from sktime_alm.solver.curvature import Piece, expand
from sktime_alm.solver.datafits import QLIKE, Squared, get_datafit
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.readout import solve_readout
from sktime_alm.solver.reduced import evaluate, gradient_of
from tests.conftest import DESCENT


@dataclass(frozen=True)
class Huber:
    """e^2 up to delta and a straight line beyond: all that a loss of one's own takes."""

    is_log: ClassVar[bool] = False
    delta: float = 0.7

    def in_units(self, scale):
        return self

    def value(self, Y, outputs):
        size = np.abs(Y - outputs)
        line = 2.0 * self.delta * size - self.delta**2
        return np.where(size <= self.delta, size**2, line).sum(axis=1)

    def derivative(self, Y, outputs):
        return -2.0 * np.clip(Y - outputs, -self.delta, self.delta)

    def curvature(self, Y, outputs):
        return 2.0 * (np.abs(Y - outputs) <= self.delta)


LOSSES = [Squared(), QLIKE(1.0), QLIKE(0.3), Huber()]
NAMES = ["squared", "qlike", "qlike of a root", "huber"]


def make_problem(datafit, m=1, activation="elu", T=60, linear_skip=True, seed=0, bound=0.9):
    """A noisy nonlinear series with a row that has no target and two sequences."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(T, 2))
    Y = np.tanh(X @ rng.normal(size=(2, m))) + 0.5 * np.roll(X[:, :1], 1, axis=0)
    Y = Y + 0.5 * rng.normal(size=(T, m))
    Y[7] = np.nan
    penalties = Regularization.scaled(0.02, 2, 3, m, skip_alpha=0.01 if linear_skip else None)
    return ElmanProblem(
        X, Y, penalties, activation, (0, 25), linear_skip, bound, "spectral", datafit
    )


def network_of(problem, r=3, seed=1):
    rng = np.random.default_rng(seed)
    n, m = problem.n_inputs, problem.n_outputs
    D = 0.3 * rng.normal(size=(m, n)) if problem.linear_skip else None
    arrays = [rng.normal(size=shape) for shape in ((m, r), (r, r), (r, n), (r,), (m,))]
    return ElmanParameters(arrays[0], 0.2 * arrays[1], *arrays[2:], D)


@pytest.mark.parametrize("datafit", LOSSES, ids=NAMES)
@pytest.mark.parametrize("m", [1, 3])
def test_derivatives_against_finite_differences(datafit, m):
    rng = np.random.default_rng(0)
    Y, outputs = rng.normal(size=(2, 7, m))
    # small errors too, where exp(z) - z - 1 would be lost in rounding
    outputs[0], step = Y[0] + 1e-3, 1e-4
    for j in range(m):
        change = step * (np.arange(m) == j)
        values = [datafit.value(Y, outputs + s * change) for s in (-1.0, 0.0, 1.0)]
        first = (values[2] - values[0]) / (2.0 * step)
        second = (values[2] - 2.0 * values[1] + values[0]) / step**2
        np.testing.assert_allclose(
            datafit.derivative(Y, outputs)[:, j], first, rtol=1e-6, atol=1e-7
        )
        np.testing.assert_allclose(
            datafit.curvature(Y, outputs)[:, j], second, rtol=1e-5, atol=1e-5
        )
    assert datafit.curvature(Y, outputs).shape == Y.shape


def test_qlike_is_the_gamma_deviance_of_a_power_of_the_variance():
    rng = np.random.default_rng(0)
    v, forecast = rng.gamma(2.0, size=(2, 50, 2))
    for power in (1.0, 0.5):
        ratio = (v / forecast) ** power
        expected = 2.0 / power**2 * (ratio - np.log(ratio) - 1.0).sum(axis=1)
        found = QLIKE(power).value(np.log(v), np.log(forecast))
        np.testing.assert_allclose(found, expected, rtol=1e-10)
    e = np.array([[1e-9], [1e-3], [-1e-2]])
    np.testing.assert_allclose(QLIKE(1e-6).value(e, 0.0 * e), e[:, 0] ** 2, rtol=1e-7)
    # a change of units changes its size alone
    scale, Y, outputs = 3.0, np.log(v), np.log(forecast)
    standard = QLIKE(0.5).in_units(np.full(Y.shape, scale))
    np.testing.assert_allclose(
        standard.value(Y / scale, outputs / scale), QLIKE(0.5).value(Y, outputs) / scale**2
    )


def test_qlike_overflows_to_infinity_and_never_to_nan():
    errors = np.array([[1e4], [-1e4], [0.0]])
    for found in (
        QLIKE(1.0).value(errors, 0.0 * errors),
        QLIKE(1.0).derivative(errors, 0.0 * errors),
    ):
        assert not np.isnan(found).any()


@pytest.mark.parametrize("datafit", LOSSES, ids=NAMES)
@pytest.mark.parametrize("m", [1, 2])
def test_the_readout_is_the_minimum_of_a_convex_problem(datafit, m):
    problem = make_problem(datafit, m)
    u, h = problem.rollout(network_of(problem))
    best = solve_readout(problem, h)

    def objective(flat):
        readout = flat.reshape(best.shape)
        losses = datafit.value(problem.Y, problem.outputs(readout, h))
        losses[problem.missing] = 0.0
        penalty = problem.regularization.of_readout(3, problem.n_skip)
        return losses.sum() / problem.n_observed + (readout**2 @ penalty).sum()

    found = minimize(objective, np.zeros(best.size), method="BFGS", options={"gtol": 1e-9})
    assert objective(best.ravel()) <= found.fun + 1e-12
    np.testing.assert_allclose(best.ravel(), found.x, atol=1e-5)
    if isinstance(datafit, Squared):
        np.testing.assert_array_equal(best, closed_readout(problem, h))


def test_a_readout_far_from_least_squares():
    """Errors so large that least squares is worthless as a start."""
    problem = make_problem(QLIKE(40.0))
    _, h = problem.rollout(network_of(problem))
    readout = solve_readout(problem, h)
    gradient = problem.pull(readout, h).T @ problem.observed(np.hstack([h, problem.skip]))
    gradient -= 2.0 * problem.regularization.of_readout(3, problem.n_skip) * readout
    assert np.abs(gradient).max() < 1e-8


@pytest.mark.parametrize("datafit", LOSSES, ids=NAMES)
@pytest.mark.parametrize("activation", ["elu", "relu"])
def test_the_gradient_of_the_reduced_objective(datafit, activation):
    problem = make_problem(datafit, m=2, activation=activation)
    layer = network_of(problem).hidden_layer

    def reduced(flat):
        return evaluate(problem, flat.reshape(layer.shape)).objective

    found = gradient_of(problem, evaluate(problem, layer)).ravel()
    expected = approx_fprime(layer.ravel(), reduced, 1e-6)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("datafit", LOSSES[:3], ids=NAMES[:3])
@pytest.mark.parametrize("activation", ["elu", "relu"])
def test_the_hessian_of_the_reduced_objective(datafit, activation):
    problem = make_problem(datafit, m=2, activation=activation)
    layer = network_of(problem).hidden_layer
    trial = evaluate(problem, layer)
    piece = Piece.at(problem, trial.u)
    model = expand(problem, trial, piece, np.zeros(3, bool), 0)
    step = 1e-5
    for k in (0, 4, 11):
        direction = np.zeros(layer.size)
        direction[k] = 1.0
        change = model.step(direction)
        ends = [
            gradient_of(problem, evaluate(problem, layer + s * step * change)) for s in (-1.0, 1.0)
        ]
        slope = (ends[1] - ends[0]) / (2.0 * step)
        # the covector in the whitened variables
        np.testing.assert_allclose((slope @ model.inverse.T).ravel(), model.hessian[k], atol=1e-5)


@pytest.mark.parametrize(
    ("datafit", "activation"),
    [*((datafit, "elu") for datafit in LOSSES), (Squared(), "relu"), (QLIKE(1.0), "relu")],
    ids=[*(f"{name}-elu" for name in NAMES), "squared-relu", "qlike-relu"],
)
def test_training_reaches_a_certified_minimum(datafit, activation):
    problem = make_problem(datafit, activation=activation)
    start = network_of(problem)
    result = solve(problem, start, SafeguardedSettings(n_relaxations=1))
    assert result.certificate.is_kkt

    def objective(flat):
        sizes = [array.size for array in start.arrays()]
        pieces = np.split(flat, np.cumsum(sizes)[:-1])
        arrays = [p.reshape(a.shape) for p, a in zip(pieces, start.arrays(), strict=True)]
        return problem.objective(type(start)(*arrays))

    flat = np.concatenate([array.ravel() for array in start.arrays()])
    rival = minimize(lambda x: min(objective(x), 1e6), flat, method="L-BFGS-B")
    assert result.objective <= 1.01 * rival.fun


def test_training_with_qlike_is_right_in_the_mean():
    """At the optimum the derivative in the unpenalised constant is 0: the mean ratio is 1."""
    problem = make_problem(QLIKE(1.0))
    network = solve(problem, network_of(problem)).parameters
    u, h = problem.rollout(network)
    errors = np.delete(problem.Y - problem.outputs(network.readout, h), problem.missing, axis=0)
    np.testing.assert_allclose(np.exp(errors).mean(), 1.0, atol=1e-6)


def test_train_takes_a_loss_and_the_regression_is_its_own():
    problem = make_problem(QLIKE(1.0))
    options = {"linear_skip": True, "alpha": 0.02, "skip_alpha": 0.01, "random_state": 0}
    options |= {"max_iter": 5, **DESCENT}
    result = train(problem.X, problem.Y, 3, datafit=QLIKE(1.0), starts=(0, 25), **options)
    linear = result.starts[-1].parameters
    assert not linear.A.any() and result.starts[-1].objective >= result.objective
    errors = np.delete(problem.Y - problem.X @ linear.D.T - linear.c, problem.missing, axis=0)
    np.testing.assert_allclose(np.exp(errors).mean(), 1.0, atol=1e-6)


def test_what_a_loss_cannot_be():
    problem = make_problem(QLIKE(np.ones((60, 1))))
    with pytest.raises(ValueError, match=r"datafit must be a loss of targets of shape \(60, 1\)"):
        make_problem(QLIKE(np.ones((59, 1))))
    with pytest.raises(ValueError, match="settings must be SafeguardedSettings with a datafit"):
        solve(problem, network_of(problem), ALMSettings())
    with pytest.raises(ValueError, match="power must be"):
        QLIKE(-1.0)
    for power in (np.array([1.0, 2.0]), np.array(3), np.array([[0.0, 1.0]]), np.array([["a"]])):
        with pytest.raises((TypeError, ValueError), match="power must"):
            QLIKE(power)
    with pytest.raises(ValueError, match=r"loss must be one of \['qlike', 'squared'\]"):
        get_datafit("absolute")
    with pytest.raises(TypeError, match="loss must be one of"):
        get_datafit(Squared)
    assert isinstance(get_datafit("qlike"), QLIKE)


@pytest.mark.parametrize("datafit", LOSSES[1:], ids=NAMES[1:])
def test_where_the_search_for_the_readout_begins_is_no_part_of_the_answer(datafit):
    problem = make_problem(datafit)
    _, h = problem.rollout(network_of(problem))
    expected = solve_readout(problem, h)
    for far in (1e-2, 1.0, 1e3):
        near = expected + far * np.random.default_rng(0).normal(size=expected.shape)
        np.testing.assert_allclose(solve_readout(problem, h, near), expected, atol=1e-6)
