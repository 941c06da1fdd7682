"""The bound on the recurrence: coordinates, their gradient, projections, what it promises."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from sktime_alm.solver import ElmanProblem, Regularization, SafeguardedSettings, solve
from sktime_alm.solver.contraction import Contraction
from sktime_alm.solver.initialization import initialize
from sktime_alm.solver.network import ElmanParameters, rollout
from sktime_alm.solver.reduced import iterate_at
from tests.conftest import log_floats

R, N = 4, 3
SIZES = np.array([0.5, 1.0, 20.0])
KINDS = [(np.inf, "spectral"), (0.98, "spectral"), (0.98, "diagonal")]


def spectral_norm(W):
    return np.linalg.norm(W, 2)


def with_singular_values(values, rng):
    left, right = (np.linalg.qr(rng.normal(size=(len(values),) * 2))[0] for _ in range(2))
    return (left * values) @ right


def variables_of(contraction, W, rng):
    """Coordinates whose first columns are W."""
    rest = rng.normal(size=(R, N + 1 + contraction.has_scaling))
    return np.hstack([W, rest])


@pytest.mark.parametrize(("bound", "norm"), KINDS)
@pytest.mark.parametrize(
    "values",
    [
        [0.9, 0.5, 0.3, 0.1],
        [0.7, 0.7, 0.7, 0.7],  # repeated
        [0.5, 0.5 + 1e-10, 0.2, 0.2],  # nearly so
        [1e-9, 1e-9, 1e-12, 0.0],  # near the identity, and a singular M
        [0.5 * np.pi * 0.98, 1.0, 0.5, 0.1],  # at the rim
        [4.0, 2.0, 1.0, 0.5],  # folded back
    ],
)
def test_the_gradient_pulled_back_equals_finite_differences(bound, norm, values):
    rng = np.random.default_rng(0)
    contraction = Contraction(bound, norm, SIZES)
    variables = variables_of(contraction, with_singular_values(np.array(values), rng), rng)
    weights = rng.normal(size=(R, R + N + 1))

    def value(variables):
        layer = contraction.frame(variables).hidden_layer
        return np.vdot(weights, layer + 0.5 * layer**2)

    frame = contraction.frame(variables)
    found = contraction.pull_back(frame, weights * (1.0 + frame.hidden_layer))
    numerical, step = np.empty_like(variables), 1e-5
    for index in np.ndindex(variables.shape):
        ahead, behind = variables.copy(), variables.copy()
        ahead[index] += step
        behind[index] -= step
        numerical[index] = (value(ahead) - value(behind)) / (2.0 * step)
    np.testing.assert_allclose(found, numerical, rtol=1e-6, atol=1e-7 * np.abs(numerical).max())


@given(
    scale=log_floats(-3, 3),
    seed=st.integers(0, 2**31),
    norm=st.sampled_from(["spectral", "diagonal"]),
)
def test_every_frame_is_within_the_bound(scale, seed, norm):
    rng = np.random.default_rng(seed)
    contraction = Contraction(0.98, norm, SIZES)
    variables = scale * rng.normal(size=(R, R + N + 1 + contraction.has_scaling))
    layer = contraction.frame(variables).hidden_layer
    assert contraction.contains(layer[:, :R])
    np.testing.assert_allclose(layer[:, R:-1] * SIZES, variables[:, R : R + N], rtol=1e-14)
    if norm == "spectral":
        assert spectral_norm(layer[:, :R]) <= 0.98 * (1.0 + 1e-12)


@given(scale=st.floats(0.01, 0.97), seed=st.integers(0, 2**31))
@pytest.mark.parametrize(("bound", "norm"), KINDS)
def test_a_layer_inside_is_found_again_in_its_coordinates(bound, norm, scale, seed):
    rng = np.random.default_rng(seed)
    layer = rng.normal(size=(R, R + N + 1))
    layer[:, :R] *= scale / spectral_norm(layer[:, :R])
    contraction = Contraction(bound, norm, SIZES)
    frame = contraction.frame_of(layer)
    np.testing.assert_allclose(frame.hidden_layer, layer, rtol=1e-12, atol=1e-13)
    again = contraction.frame(frame.variables)
    np.testing.assert_array_equal(again.hidden_layer, frame.hidden_layer)


@pytest.mark.parametrize("norm", ["spectral", "diagonal"])
def test_a_layer_on_the_rim_comes_back_a_thousandth_inside(norm):
    rng = np.random.default_rng(1)
    layer = rng.normal(size=(R, R + N + 1))
    layer[:, :R] = with_singular_values(np.array([0.98, 0.98, 0.5, 0.1]), rng)
    found = Contraction(0.98, norm, SIZES).frame_of(layer).hidden_layer
    values = np.linalg.svd(found[:, :R], compute_uv=False)
    np.testing.assert_allclose(values, [0.98 * 0.999, 0.98 * 0.999, 0.5, 0.1], rtol=1e-12)
    np.testing.assert_allclose(found[:, R:], layer[:, R:], rtol=1e-14)


def test_the_nearest_layer_is_the_projection_in_the_frobenius_norm():
    rng = np.random.default_rng(2)
    contraction = Contraction(0.98, "spectral", SIZES)
    layer = rng.normal(size=(R, R + N + 1))
    nearest = contraction.nearest(layer)
    W, projected = layer[:, :R], nearest[:, :R]
    assert contraction.contains(projected)
    np.testing.assert_array_equal(nearest[:, R:], layer[:, R:])
    # the variational inequality of a projection: no admitted B is on W's side of it
    for _ in range(200):
        B = rng.normal(size=(R, R))
        B *= 0.98 * rng.random() ** 0.1 / spectral_norm(B)
        assert np.vdot(W - projected, B - projected) <= 1e-12
    inside = contraction.nearest(nearest)
    np.testing.assert_array_equal(inside, nearest)


@pytest.mark.parametrize("seed", range(5))
def test_the_diagonal_norm_admits_what_a_scaling_makes_a_contraction(seed):
    rng = np.random.default_rng(seed)
    contraction = Contraction(0.98, "diagonal", SIZES)
    B, p = rng.normal(size=(R, R)), 2.0 * rng.normal(size=R)
    B *= 0.9 / spectral_norm(B)
    W = B * np.exp(p - p[:, None])
    assert spectral_norm(W) > 0.98 and contraction.contains(W)
    assert not Contraction(0.98, "spectral", SIZES).contains(W)
    layer = np.hstack([W, rng.normal(size=(R, N + 1))])
    np.testing.assert_array_equal(contraction.nearest(layer), layer)
    np.testing.assert_allclose(contraction.frame_of(layer).hidden_layer, layer, rtol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_diagonal_norm_refuses_what_no_scaling_makes_a_contraction(seed):
    rng = np.random.default_rng(seed)
    contraction = Contraction(0.98, "diagonal", SIZES)
    # of a symmetric matrix the spectral radius, which no scaling changes, is the norm
    root = rng.normal(size=(R, R))
    symmetric = root + root.T
    symmetric *= 1.0 / spectral_norm(symmetric)
    assert not contraction.contains(symmetric)
    # scaled out of balance it has the same radius
    p = rng.normal(size=R)
    W = symmetric * np.exp(p - p[:, None])
    assert not contraction.contains(W)
    layer = np.hstack([W, np.zeros((R, N + 1))])
    assert contraction.contains(contraction.nearest(layer)[:, :R])
    assert contraction.contains(contraction.frame_of(layer).hidden_layer[:, :R])


def test_the_balance_is_the_best_of_diagonal_scalings():
    # a damped oscillation: ||W||_2 is far above its radius of .95 until it is balanced
    W = 0.95 * np.array([[np.cos(0.3), -4.0 * np.sin(0.3)], [0.25 * np.sin(0.3), np.cos(0.3)]])
    assert spectral_norm(W) > 1.4
    assert Contraction(0.9501, "diagonal", np.ones(1)).contains(W)
    assert not Contraction(0.948, "diagonal", np.ones(1)).contains(W)
    rng = np.random.default_rng(3)
    W = rng.normal(size=(R, R))
    least = min(
        minimize(
            lambda p: spectral_norm(W * np.exp(p[:, None] - p)),
            rng.normal(size=R),
            method="Nelder-Mead",
            options={"maxiter": 10_000, "maxfev": 10_000, "xatol": 1e-9, "fatol": 1e-12},
        ).fun
        for _ in range(3)
    )
    assert Contraction(least * (1.0 + 1e-6), "diagonal", SIZES).contains(W)
    assert not Contraction(least / 1.002, "diagonal", SIZES).contains(W)


@pytest.mark.parametrize("W", [np.full((2, 2), np.nan), np.full((2, 2), 1e200)])
@pytest.mark.parametrize("norm", ["spectral", "diagonal"])
def test_numbers_that_overflow_are_not_contained(norm, W):
    assert not Contraction(0.98, norm, np.ones(1)).contains(W)


@pytest.mark.parametrize("norm", ["spectral", "diagonal"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "tanh"])
def test_a_network_within_the_bound_forgets_and_stays_bounded(norm, activation):
    rng = np.random.default_rng(4)
    X = rng.uniform(-1.0, 1.0, size=(3_000, 2))
    drawn = initialize(1.0, 2, R, 1, rng)
    contraction = Contraction(0.98, norm, np.ones(2))
    layer = contraction.nearest(drawn.hidden_layer)
    network = ElmanParameters.from_layers(layer, drawn.readout)
    sigma = ElmanProblem(X, X[:, :1], Regularization(), activation).sigma
    runs = [rollout(network, sigma, X, initial_state=10.0 * rng.normal(size=R))[1] for _ in (1, 2)]
    assert np.abs(runs[0] - runs[1])[-1].max() <= 1e-9
    # |P h| <= |P drive| / (1 - bound), the norm of P and its inverse at most its condition
    p = contraction.frame_of(layer).variables[:, -1] if norm == "diagonal" else np.zeros(R)
    largest = np.abs(X @ layer[:, R:-1].T + layer[:, -1]).max() * np.sqrt(R)
    assert np.abs(runs[0][1_000:]).max() <= np.exp(np.ptp(p)) * largest / 0.019


@pytest.mark.parametrize("norm", ["spectral", "diagonal"])
@pytest.mark.parametrize("k", [1e-6, 1e6])
def test_the_units_of_the_inputs_change_nothing(norm, k):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(80, 2))
    Y = np.cumsum(X[:, :1], axis=0) * 0.1 + 0.1 * rng.normal(size=(80, 1))
    penalties = Regularization.scaled(1e-3, 2, R, 1)
    initial = initialize("normal", 2, R, 1, rng)
    problem = ElmanProblem(X, Y, penalties, "elu", max_recurrence=0.9, recurrence_norm=norm)
    other = replace(
        problem, X=k * X, regularization=replace(penalties, l2_input=k**2 * penalties.l2_input)
    )
    scaled = replace(initial, V=initial.V / k)
    assert other.objective(scaled) == pytest.approx(problem.objective(initial), rel=1e-12)
    here, there = iterate_at(problem, initial.hidden_layer), iterate_at(other, scaled.hidden_layer)
    np.testing.assert_allclose(there.variables, here.variables, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(there.gradient, here.gradient, rtol=1e-8, atol=1e-10)
    # the descent alone: from its end on rounding may lead to another minimum
    settings = SafeguardedSettings(max_iter=2, tolerance=0.0, active_set=False)
    results = solve(problem, initial, settings), solve(other, scaled, settings)
    for one, two in zip(*(result.history for result in results), strict=True):
        assert two.objective == pytest.approx(one.objective, rel=1e-6)


@pytest.mark.parametrize(
    ("bound", "error"),
    [
        (0.0, ValueError),
        (-1.0, ValueError),
        (np.nan, ValueError),
        ("a", TypeError),
        (True, TypeError),
    ],
)
def test_bounds_of_the_wrong_kind_are_refused_by_name(bound, error):
    with pytest.raises(error, match="max_recurrence must be"):
        Contraction(bound, "spectral", SIZES)
    with pytest.raises(ValueError, match="recurrence_norm must be one of"):
        Contraction(1.0, "frobenius", SIZES)
