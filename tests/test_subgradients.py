"""The certificate of a network, beside one written anew and searched by brute force."""

from functools import cache
from itertools import product

import numpy as np
import pytest

from sktime_alm.solver import ElmanProblem, Regularization
from sktime_alm.solver.active_set import finish
from sktime_alm.solver.lagrangian import adjoint_multipliers
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.optimality import certify
from sktime_alm.solver.reduced import evaluate
from sktime_alm.solver.subgradients import certify_network, find_kinks
from tests.test_active_set import rested, synthetic

TOLERANCE = 1e-5


def network_with_kinks(seed, kinks, slope_weight=1.0, activation="relu", max_recurrence=np.inf):
    """A network whose pre-activations (t, i) in ``kinks`` are 0, by the choice of one input."""
    rng = np.random.default_rng(seed)
    W, V, b = 0.5 * rng.normal(size=(2, 2)), rng.normal(size=(2, 2)), 0.5 + rng.random(2)
    if max_recurrence < np.inf:
        left, _, right = np.linalg.svd(W)
        W = (left * [max_recurrence, 0.3 * max_recurrence]) @ right
    A, c = rng.normal(size=(1, 2)), rng.normal(size=1)
    X, Y = rng.normal(size=(7, 2)), rng.normal(size=(7, 1))
    least, h = (0.0 if activation == "relu" else 0.01), np.zeros(2)
    for t in range(7):
        for i in (i for s, i in kinks if s == t):
            X[t, 0] = -(W[i] @ h + V[i, 1] * X[t, 1] + b[i]) / V[i, 0]
        u = W @ h + V @ X[t] + b
        u[[i for s, i in kinks if s == t]] = 0.0
        h = np.where(u > 0.0, u, least * u)
    penalties = Regularization.scaled(0.2 * slope_weight, 2, 2, 1, l2_preactivation=1e-4)
    problem = ElmanProblem(X, Y, penalties, activation, max_recurrence=max_recurrence)
    return problem, ElmanParameters(A, W, V, b, c)


def plain_residual(problem, parameters, kinks, slopes):
    """Relative stationarity at given slopes, row by row; inf where a slope is not allowed."""
    A, W, V, b, c = parameters.arrays()
    reg, least = problem.regularization, problem.sigma.slope
    T, u, h = problem.n_samples, [], []
    state = np.zeros(len(b))
    for t in range(T):
        u.append(W @ state + V @ problem.X[t] + b)
        for s, i in kinks:
            u[t][i] = 0.0 if s == t else u[t][i]
        state = np.where(u[t] > 0.0, u[t], least * u[t])
        h.append(state)
    G = {
        name: 2.0 * weight * array
        for name, weight, array in [
            ("A", reg.l2_readout, A),
            ("W", reg.l2_recurrent, W),
            ("V", reg.l2_input, V),
            ("b", reg.l2_bias, b),
            ("c", reg.l2_readout_bias, c),
        ]
    }
    own, R = (
        [],
        sum(
            weight * np.sum(array**2)
            for weight, array in [
                (reg.l2_readout, A),
                (reg.l2_recurrent, W),
                (reg.l2_input, V),
                (reg.l2_bias, b),
                (reg.l2_readout_bias, c),
                (reg.l2_preactivation, np.array(u)),
            ]
        ),
    )
    following = np.zeros(len(b))
    of_R = {name: array.copy() for name, array in G.items()}
    for t in reversed(range(T)):
        e = problem.Y[t] - A @ h[t] - c
        R += np.sum(e**2) / T
        own.append(2.0 / T * A.T @ e)
        zeta = own[-1] + W.T @ following
        xi = np.empty(len(b))
        for i in range(len(b)):
            a = 1.0 if u[t][i] > 0.0 else least
            if (t, i) in kinks:
                a = slopes[kinks.index((t, i))]
                if zeta[i] >= 0.0 and a not in (least, 1.0):
                    return np.inf
            xi[i] = a * zeta[i] - 2.0 * reg.l2_preactivation * u[t][i]
        before = h[t - 1] if t else np.zeros(len(b))
        G["W"] = G["W"] - np.outer(xi, before)
        G["V"] = G["V"] - np.outer(xi, problem.X[t])
        G["b"] = G["b"] - xi
        for gradients in (G, of_R):
            gradients["A"] = gradients["A"] - 2.0 / T * np.outer(e, h[t])
            gradients["c"] = gradients["c"] - 2.0 / T * e
        following = xi
    if problem.max_recurrence < np.inf:
        left, _, right = np.linalg.svd(W)
        push = max(-left[:, 0] @ G["W"] @ right[0], 0.0)
        G["W"] = G["W"] + push * np.outer(left[:, 0], right[0])
    size, inputs = problem.Y.std(), np.sqrt(np.mean(problem.X**2, axis=0))

    def norm(blocks):
        parts = [blocks["A"] / size, blocks["c"] / size, blocks["W"] / size**2]
        parts += [blocks["V"] / inputs / size**2, blocks["b"] / size**2]
        return np.sum([np.sum(part**2) for part in parts])

    states = np.sum(np.square(own)) + np.sum((2.0 * reg.l2_preactivation * np.array(u)) ** 2)
    level = max(min(np.sqrt(R) / size, 1.0), np.sqrt(norm(of_R) + states / size**4))
    return np.sqrt(norm(G)) / level


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("kinks", [[(2, 0)], [(1, 0), (4, 1)], [(1, 1), (3, 0), (5, 0)]])
@pytest.mark.parametrize("max_recurrence", [np.inf, 0.4])
@pytest.mark.parametrize("seed", range(2))
def test_no_slopes_leave_less_than_those_found(activation, kinks, max_recurrence, seed):
    problem, parameters = network_with_kinks(seed, kinks, 1.0, activation, max_recurrence)
    certificate, point, multipliers = certify_network(problem, parameters, TOLERANCE)
    assert certificate.n_kinks == len(kinks)
    least = problem.sigma.slope
    grid = np.append(np.linspace(least, 1.0, (100, 20, 8)[len(kinks) - 1])[:-1], 1.0)
    smallest = min(
        plain_residual(problem, parameters, kinks, list(slopes))
        for slopes in product(grid, repeat=len(kinks))
    )
    assert certificate.relative_stationarity <= smallest * (1.0 + 1e-6)
    # and they are slopes: what they leave is what the plain recursion leaves
    zeta = multipliers.zeta
    for t, i in kinks:
        assert point.u[t, i] == 0.0 and point.h[t, i] == 0.0
        low, high = sorted((least * zeta[t, i], zeta[t, i]))
        assert low - 1e-12 <= multipliers.xi[t, i] <= high + 1e-12
    slopes = [float(np.clip(multipliers.xi[k] / zeta[k], least, 1.0)) for k in kinks]
    slopes = [
        min((least, 1.0), key=lambda a: abs(a - s)) if zeta[k] >= 0.0 else s
        for s, k in zip(slopes, kinks, strict=True)
    ]
    again = plain_residual(problem, parameters, kinks, slopes)
    assert certificate.relative_stationarity == pytest.approx(again, rel=1e-6)


def test_without_kinks_the_multipliers_are_the_adjoint_ones():
    problem, parameters = network_with_kinks(0, [])
    certificate, point, multipliers = certify_network(problem, parameters, TOLERANCE)
    np.testing.assert_array_equal(multipliers.xi, adjoint_multipliers(problem, point).xi)
    assert certificate.n_kinks == 0
    assert certificate.relative_stationarity == pytest.approx(
        plain_residual(problem, parameters, [], []), rel=1e-9
    )


def test_units_that_are_never_on_and_smooth_ones_have_no_kinks():
    problem = synthetic()
    u = np.array([[1.0, 0.0], [0.0, -1.0]])
    np.testing.assert_array_equal(find_kinks(problem, u, 1e-8), [[False, False], [True, False]])
    assert not find_kinks(synthetic(activation="elu"), u, 1e-8).any()


def scaled(problem, parameters, s, k):
    """The same problem with targets times s and inputs times k, and the same network."""
    reg = problem.regularization
    penalties = Regularization(
        l2_readout=reg.l2_readout,
        l2_recurrent=s**2 * reg.l2_recurrent,
        l2_input=(s * k) ** 2 * reg.l2_input,
        l2_bias=s**2 * reg.l2_bias,
        l2_readout_bias=reg.l2_readout_bias,
        l2_preactivation=s**2 * reg.l2_preactivation,
    )
    A, W, V, b, c = parameters.arrays()
    other = ElmanProblem(
        k * problem.X,
        s * problem.Y,
        penalties,
        problem.activation,
        max_recurrence=problem.max_recurrence,
    )
    return other, ElmanParameters(s * A, W, V / k, b, s * c)


@cache
def minimum(max_recurrence):
    problem = synthetic(m=1, max_recurrence=max_recurrence)
    return problem, finish(problem, rested(problem)).trial.point.parameters


@pytest.mark.parametrize("max_recurrence", [np.inf, 0.4])
@pytest.mark.parametrize(
    ("s", "k"), [(1e-8, 1.0), (1e8, 1.0), (1.0, 1e-8), (1.0, 1e8), (1e-6, 1e7)]
)
def test_the_residual_does_not_depend_on_units(s, k, max_recurrence):
    problem, parameters = network_with_kinks(3, [(2, 0)], max_recurrence=max_recurrence)
    reference = certify_network(problem, parameters, TOLERANCE)[0]
    found = certify_network(*scaled(problem, parameters, s, k), TOLERANCE)[0]
    assert found.n_kinks == reference.n_kinks
    assert found.relative_stationarity == pytest.approx(reference.relative_stationarity, rel=1e-6)
    # and at a KKT point the verdict does not
    problem, parameters = minimum(max_recurrence)
    assert certify_network(problem, parameters, TOLERANCE)[0].is_kkt
    assert certify_network(*scaled(problem, parameters, s, k), TOLERANCE)[0].is_kkt


def test_the_multiplier_of_the_bound_is_part_of_the_certificate():
    problem = synthetic(activation="tanh", alpha=1e-3, max_recurrence=0.3)
    outcome = finish(problem, rested(problem))
    certificate, point, multipliers = certify_network(
        problem, outcome.trial.point.parameters, TOLERANCE
    )
    recurrence = certificate.recurrence
    assert certificate.is_kkt and recurrence.n_active
    np.testing.assert_allclose(recurrence.multiplier, outcome.recurrence, atol=1e-4)
    assert f"singular values of W at their bound: {recurrence.n_active}" in repr(certificate)
    # without the bound the same point is not stationary
    free = ElmanProblem(problem.X, problem.Y, problem.regularization, "tanh")
    found = certify(free, point, multipliers, TOLERANCE)
    assert not found.is_kkt and "a slope in the weights" in repr(found)
    # with a tighter one it is not feasible
    tight = ElmanProblem(problem.X, problem.Y, problem.regularization, "tanh", max_recurrence=0.29)
    found = certify(tight, point, multipliers, TOLERANCE)
    assert found.recurrence.excess == pytest.approx(0.3 / 0.29 - 1.0)
    assert "W is beyond its bound" in repr(found)


def test_a_certificate_says_what_is_left():
    problem, parameters = network_with_kinks(1, [(2, 0)])
    certificate, point, multipliers = certify_network(problem, parameters, TOLERANCE)
    assert "whatever the slopes at the kinks" in repr(certificate)
    assert "pre-activations at their kink: 1" in repr(certificate)
    moved = certify(problem, point._replace(h=point.h + 0.1), multipliers, TOLERANCE)
    assert not moved.is_kkt and moved.feasibility > 0.1
    wrong = certify(problem, point, multipliers._replace(xi=multipliers.xi + 10.0), TOLERANCE)
    assert wrong.stationarity_blocks.hidden > 0.0 and not wrong.is_kkt


def test_a_network_at_rest_is_certified_after_the_finish_only():
    problem = synthetic(seed=1)
    before = rested(problem, seed=1)
    trial = finish(problem, before).trial
    verdicts = [
        certify_network(problem, x.point.parameters, TOLERANCE)[0].is_kkt for x in (before, trial)
    ]
    assert verdicts == [False, True]
    assert evaluate(problem, trial.hidden_layer).objective <= before.objective
