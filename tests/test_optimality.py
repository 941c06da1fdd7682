"""Certificates, the adjoint identity, constraint qualification and d-stationarity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sktime_alm.solver import (
    ALMSettings,
    ElmanParameters,
    ElmanProblem,
    Regularization,
    solve,
)
from sktime_alm.solver.bcd import descend, stationary_to
from sktime_alm.solver.lagrangian import (
    Multipliers,
    adjoint_multipliers,
    augmented_lagrangian,
    gradient,
)
from sktime_alm.solver.optimality import certify, feasibility, stationarity
from sktime_alm.solver.reformulation import Point
from tests.conftest import ACTIVATION_NAMES, cases, make_case, named

# sigma on complex numbers, analytic to either side of the kink
COMPLEX_SIGMA = {
    "relu": lambda u: np.where(u.real > 0.0, u, 0.0),
    "leaky_relu": lambda u: np.where(u.real > 0.0, u, 0.01 * u),
    "elu": lambda u: np.where(u.real > 0.0, u, np.exp(u) - 1.0),
}


def complex_objective(problem, A, W, V, b, c, D=0.0):
    """R of the rolled-out network, written anew for complex weights."""
    sigma, reg = COMPLEX_SIGMA[problem.activation], problem.regularization
    total = 0.0
    h = np.zeros(len(b))
    for t in range(problem.n_samples):
        if t in problem.starts:
            h = np.zeros(len(b))
        u = W @ h + V @ problem.X[t] + b
        h = sigma(u)
        if t not in problem.missing:
            direct = D @ problem.X[t] if problem.linear_skip else 0.0
            error = problem.Y[t] - A @ h - direct - c
            total += np.sum(error**2) / (problem.n_samples - len(problem.missing))
        total += reg.l2_preactivation * np.sum(u**2)
    blocks = [
        (reg.l2_readout, A),
        (reg.l2_recurrent, W),
        (reg.l2_input, V),
        (reg.l2_bias, b),
        (reg.l2_readout_bias, c),
        (reg.l2_skip, D),
    ]
    return total + sum(weight * np.sum(np.square(array)) for weight, array in blocks)


def complex_step_gradient(problem, parameters, block):
    """Forward-mode automatic differentiation by complex steps: exact to rounding."""
    arrays = named(parameters)
    derivative = np.empty_like(arrays[block])
    for index in np.ndindex(derivative.shape):
        shifted = {**arrays, block: arrays[block].astype(complex)}
        shifted[block][index] += 1e-40j
        derivative[index] = complex_objective(problem, **shifted).imag / 1e-40
    return derivative


@given(case=cases())
def test_checks_8_adjoint_multipliers_turn_the_lagrangian_gradient_into_bptt(case):
    problem, parameters = case.problem, case.point.parameters
    point = problem.feasible_point(parameters)
    found = gradient(problem, point, adjoint_multipliers(problem, point), case.gamma)
    for block in named(parameters):
        expected = complex_step_gradient(problem, parameters, block)
        np.testing.assert_allclose(
            getattr(found.parameters, block), expected, rtol=1e-9, atol=1e-11
        )
    # and L is stationary in the states
    of_u = problem.sigma.subdifferential_distance(point.u, found.u_smooth, found.u_slope)
    scale = 1.0 + np.abs(found.u_slope).max()
    assert np.abs(found.h).max() <= 1e-12 * scale
    assert np.abs(of_u).max() <= 1e-12 * scale


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_checks_8_against_finite_differences_of_the_rollout(activation):
    case = make_case(T=12, activation=activation, starts=(0, 5))
    problem, parameters = case.problem, case.point.parameters
    point = problem.feasible_point(parameters)
    found = gradient(problem, point, adjoint_multipliers(problem, point), 1.0).parameters
    arrays = named(parameters)
    rng = np.random.default_rng(0)
    for block, array in arrays.items():
        direction = rng.normal(size=array.shape)
        values = [
            problem.objective(ElmanParameters(**{**arrays, block: array + step * direction}))
            for step in (1e-6, -1e-6)
        ]
        slope = np.vdot(getattr(found, block), direction)
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope, rel=1e-6, abs=1e-8)


@given(case=cases())
def test_checks_9_no_nonzero_abnormal_multipliers_at_feasible_points(case):
    """Lemma 2.1: 0 is not in J C1' xi + d(zeta' C2) for unit (xi, zeta)."""
    problem = case.problem
    point = problem.feasible_point(case.point.parameters)
    size = np.sqrt(sum(np.sum(array**2) for array in case.multipliers))
    unit = Multipliers(*(array / size for array in case.multipliers))
    # the constraints' part of the gradient of the Lagrangian: what is left without R
    none = Multipliers.zeros(*point.h.shape)
    with_unit, without = (gradient(problem, point, m, 0.0) for m in (unit, none))
    of_h = with_unit.h - without.h
    of_u = problem.sigma.subdifferential_distance(point.u, unit.xi, unit.zeta)
    # backwards in t, zeta_T = of_h_T and xi_t = of_u_t + sigma' zeta_t bound both: the residual
    # can only vanish with them
    W = np.linalg.norm(point.parameters.W, 2)
    growth = sum((1.0 + W) ** t for t in range(problem.n_samples))
    residual = np.sqrt(np.sum(of_h**2) + np.sum(of_u**2))
    assert residual >= 0.1 / (growth * np.sqrt(problem.n_samples) * (1.0 + W))


def test_checks_9_holds_at_kinks_too():
    # all weights zero: every u sits at the kink
    problem = make_case().problem
    zeros = ElmanParameters(
        np.zeros((2, 4)), np.zeros((4, 4)), np.zeros((4, 3)), np.zeros(4), np.zeros(2)
    )
    point = problem.feasible_point(zeros)
    assert not point.u.any()
    rng = np.random.default_rng(0)
    for _ in range(200):
        xi, zeta = rng.normal(size=(2, *point.u.shape))
        of_u = problem.sigma.subdifferential_distance(point.u, xi, zeta)
        # W = 0 leaves zeta itself in the rows of h
        assert np.linalg.norm(zeta) + np.linalg.norm(of_u) > 0.1


def directional_derivative(problem, point, multipliers, gamma, direction):
    """L'(s; d) from the gradients, with the one-sided slopes of sigma at kinks; and its parts."""
    blocks = gradient(problem, point, multipliers, gamma)
    d_parameters, dh, du = direction
    of_z = sum(
        np.vdot(g, d)
        for g, d in zip(blocks.parameters.arrays(), d_parameters.arrays(), strict=True)
    )
    tiny = 1e-300
    right = problem.sigma.derivative(np.full_like(point.u, tiny))
    left = problem.sigma.derivative(np.full_like(point.u, -tiny))
    slope = problem.sigma.derivative(point.u)
    one_sided = np.where(point.u == 0.0, np.where(du > 0.0, right, left), slope)
    of_u = np.vdot(blocks.u_smooth - blocks.u_slope * one_sided, du)
    return of_z + np.vdot(blocks.h, dh) + of_u, (of_z, np.vdot(blocks.h, dh), of_u)


def random_direction(rng, point, kind):
    arrays = [rng.normal(size=array.shape) for array in point.parameters.arrays()]
    dh, du = rng.normal(size=(2, *point.h.shape))
    if kind == "coordinate":
        # one pre-activation alone, at a kink where there is one
        arrays, dh = [0.0 * array for array in arrays], 0.0 * dh
        at_kinks = np.argwhere(point.u == 0.0)
        everywhere = np.argwhere(np.ones_like(point.u))
        index = tuple(rng.choice(at_kinks if len(at_kinks) else everywhere))
        du = np.zeros_like(du)
        du[index] = rng.choice([-1.0, 1.0])
    elif kind == "states":
        arrays = [0.0 * array for array in arrays]
    return Point(ElmanParameters(*arrays), dh, du)


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_checks_11_sweep_limits_are_directionally_stationary(activation):
    case = make_case(T=8, activation=activation, alpha=5.0, gamma=1.0, mu=1e-3, seed=6)
    problem, _, multipliers, gamma, mu = case
    rule = stationary_to(problem, multipliers, gamma, 1e-9)
    limit, n_sweeps = descend(problem, case.point, multipliers, gamma, mu, 100_000, rule)
    assert n_sweeps < 100_000
    if activation == "relu":
        assert (limit.u == 0.0).any(), "no kink at the limit, so this test shows little"
    rng = np.random.default_rng(0)
    for number in range(1_500):
        kind = ("all", "states", "coordinate")[number % 3]
        direction = random_direction(rng, limit, kind)
        size = np.sqrt(
            sum(np.sum(array**2) for array in direction.parameters.arrays())
            + np.sum(direction.h**2)
            + np.sum(direction.u**2)
        )
        found, _ = directional_derivative(problem, limit, multipliers, gamma, direction)
        assert found >= -1e-7 * size


@given(case=cases(), seed=st.integers(0, 2**31))
def test_checks_11_the_directional_derivative_is_the_sum_over_blocks(case, seed):
    problem, point, multipliers, gamma, _ = case
    rng = np.random.default_rng(seed)
    # some pre-activations exactly at the kink
    u = np.where(rng.random(point.u.shape) < 0.3, 0.0, point.u)
    point = Point(point.parameters, point.h, u)
    direction = random_direction(rng, point, "all")
    total, parts = directional_derivative(problem, point, multipliers, gamma, direction)

    def value(step):
        arrays = zip(point.parameters.arrays(), direction.parameters.arrays(), strict=True)
        moved = ElmanParameters(*(a + step * d for a, d in arrays))
        s = Point(moved, point.h + step * direction.h, point.u + step * direction.u)
        return augmented_lagrangian(problem, s, multipliers, gamma)

    # one-sided differences, extrapolated to drop the error of first order
    at_zero, step = value(0.0), 1e-6
    slopes = [(value(k * step) - at_zero) / (k * step) for k in (1, 2)]
    numerical = 2.0 * slopes[0] - slopes[1]
    scale = 1.0 + abs(at_zero) + sum(abs(part) for part in parts) + gamma
    assert abs(total - numerical) <= 1e-6 * scale
    assert total == pytest.approx(sum(parts), rel=1e-12)


def test_a_certificate_reports_what_it_says():
    case = make_case(T=9, activation="leaky_relu", starts=(0, 4))
    problem, point, multipliers, _, _ = case
    found = certify(problem, point, multipliers, 1e-3)
    blocks = stationarity(problem, point, multipliers, 0.0)
    C1, C2 = problem.constraints(point)
    assert found.stationarity == pytest.approx(np.linalg.norm(blocks))
    assert found.stationarity_blocks == blocks
    assert found.feasibility_blocks == feasibility(problem, point)
    assert found.feasibility == pytest.approx(max(np.linalg.norm(C1), np.linalg.norm(C2)))
    by_size = [
        np.linalg.norm(C1) / max(1.0, float(np.linalg.norm(point.u))),
        np.linalg.norm(C2) / max(1.0, float(np.linalg.norm(point.h))),
    ]
    assert found.relative_feasibility == pytest.approx(max(by_size))
    assert not found.is_kkt and "is not KKT to 1e-03" in repr(found)
    assert certify(problem, point, multipliers, 1e9).is_kkt


def test_a_certificate_needs_stationarity_and_feasibility():
    # a rolled-out random network is feasible, its adjoint makes h and u stationary: not KKT
    case = make_case()
    problem = case.problem
    point = problem.feasible_point(case.point.parameters)
    found = certify(problem, point, adjoint_multipliers(problem, point), 1e-6)
    assert found.relative_feasibility <= 1e-15
    assert found.stationarity_blocks.hidden <= 1e-12
    assert found.stationarity > 1e-2 and not found.is_kkt


def teacher_problem(seed=0, alpha=1e-9, T=60, n=2, r=3, m=1):
    rng = np.random.default_rng(seed)
    teacher = ElmanParameters(
        rng.normal(size=(m, r)),
        0.4 * rng.normal(size=(r, r)),
        rng.normal(size=(r, n)),
        rng.normal(size=r),
        rng.normal(size=m),
    )
    X = rng.uniform(-1.0, 1.0, (T, n))
    outputs = ElmanProblem(X, np.zeros((T, m)), Regularization(), "elu")
    Y = teacher.outputs(outputs.rollout(teacher)[1])
    regularization = Regularization.scaled(alpha, n, r, m, l2_preactivation=0.0)
    return ElmanProblem(X, Y, regularization, "elu"), teacher


def test_checks_15_started_at_the_teacher_it_stays_there():
    problem, teacher = teacher_problem()
    assert problem.objective(teacher) <= 1e-8
    settings = ALMSettings(max_iter=20, max_inner_iter=20, tolerance=0.0, patience=None)
    result = solve(problem, teacher, settings)
    for array, expected in zip(result.last.parameters.arrays(), teacher.arrays(), strict=True):
        np.testing.assert_allclose(array, expected, atol=1e-5)
    assert result.certificate.stationarity <= 1e-7
    assert result.certificate.feasibility <= 1e-6


def test_checks_15_from_random_starts_beside_an_independent_optimiser():
    """Not below what SciPy's L-BFGS reaches from where the ALM ended, and far below zero."""
    from scipy.optimize import minimize

    problem, teacher = teacher_problem(alpha=1e-2)
    settings = ALMSettings(max_iter=60, max_inner_iter=50, initial_penalty=0.1, tolerance=1e-5)
    rng = np.random.default_rng(1)
    start = ElmanParameters(*(0.5 * rng.normal(size=a.shape) for a in teacher.arrays()))
    result = solve(problem, start, settings)
    shapes = [array.shape for array in teacher.arrays()]
    cuts = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]

    def unpack(vector):
        pieces = np.split(vector, cuts)
        return ElmanParameters(*(p.reshape(s) for p, s in zip(pieces, shapes, strict=True)))

    def pack(parameters):
        return np.concatenate([array.ravel() for array in parameters.arrays()])

    def value_and_gradient(vector):
        parameters = unpack(vector)
        point = problem.feasible_point(parameters)
        slopes = gradient(problem, point, adjoint_multipliers(problem, point), 0.0).parameters
        return problem.objective_at(point), pack(slopes)

    polished = minimize(value_and_gradient, pack(result.parameters), jac=True, method="L-BFGS-B")
    from_start = minimize(value_and_gradient, pack(start), jac=True, method="L-BFGS-B")
    zero_predictor = float(np.mean(np.sum(problem.Y**2, axis=1)))
    assert result.objective <= 1.1 * min(polished.fun, from_start.fun)
    assert result.objective <= 0.2 * zero_predictor
