"""The finish: exact second derivatives, the rim, and Newton steps that end at KKT points."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from sktime_alm.datasets import make_elman
from sktime_alm.solver import ElmanProblem, Regularization, train
from sktime_alm.solver.active_set import Ending, finish
from sktime_alm.solver.curvature import Piece, expand, output_jacobian, rollout_on, sensitivities_at
from sktime_alm.solver.kink_program import Local
from sktime_alm.solver.network import ElmanParameters
from sktime_alm.solver.reduced import evaluate, gradient_of
from sktime_alm.solver.rim import Rim
from sktime_alm.solver.slopes import box_minimum
from sktime_alm.solver.subgradients import balanced_piece, certify_network

TOLERANCE = 1e-6


def synthetic(T=60, r=3, n=2, m=2, activation="relu", alpha=0.3, seed=0, **options):
    y, X, _ = make_elman(T, n, m, r, 0.6, 0.1, standardize=True, random_state=seed)
    penalties = Regularization.scaled(alpha, n, r, m, l2_preactivation=1e-6)
    return ElmanProblem(X.to_numpy(), y.to_numpy(), penalties, activation, **options)


def rested(problem, r=3, seed=0, **options):
    """The trial of a fit that stops short of the finish."""
    found = train(
        problem.X,
        problem.Y,
        r,
        alpha=problem.regularization.l2_bias * r,
        activation=problem.activation,
        starts=problem.starts,
        max_recurrence=problem.max_recurrence,
        random_state=seed,
        active_set=False,
        **options,
    )
    return evaluate(problem, found.parameters.hidden_layer)


def random_trial(problem, r=3, seed=0):
    rng = np.random.default_rng(seed)
    return evaluate(problem, 0.5 * rng.normal(size=(r, r + problem.n_inputs + 1)))


def central_hessian(problem, trial, step=1e-5):
    B, columns = trial.hidden_layer, []
    for index in np.ndindex(B.shape):
        d = np.zeros_like(B)
        d[index] = step
        slopes = [gradient_of(problem, evaluate(problem, B + sign * d)) for sign in (1.0, -1.0)]
        columns.append((slopes[0] - slopes[1]).ravel() / (2.0 * step))
    return np.array(columns)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "tanh"])
@pytest.mark.parametrize("options", [{}, {"linear_skip": True}, {"starts": (0, 20)}])
@pytest.mark.parametrize("l2_preactivation", [0.0, 0.01])
def test_the_hessian_equals_finite_differences_of_the_gradient(
    activation, options, l2_preactivation
):
    problem = synthetic(T=40, activation=activation, alpha=0.5, **options)
    penalties = replace(problem.regularization, l2_preactivation=l2_preactivation)
    problem = replace(problem, regularization=penalties)
    trial = random_trial(problem)
    model = expand(problem, trial, Piece.at(problem, trial.u), np.zeros(3, bool), 0)
    (r, q), whiten = trial.hidden_layer.shape, np.kron(np.eye(3), model.inverse)
    expected = whiten @ central_hessian(problem, trial) @ whiten.T
    scale = np.abs(expected).max()
    assert np.abs(model.hessian - expected).max() <= 1e-6 * scale
    np.testing.assert_allclose(model.plain(model.gradient), gradient_of(problem, trial), atol=1e-12)
    assert model.plain(model.gradient).shape == (r, q)


def test_missing_targets_have_no_part_in_the_hessian():
    whole = synthetic(T=40, activation="elu", alpha=0.5)
    Y = whole.Y.copy()
    Y[[3, 17]] = np.nan
    problem = ElmanProblem(whole.X, Y, whole.regularization, "elu")
    trial = random_trial(problem)
    model = expand(problem, trial, Piece.at(problem, trial.u), np.zeros(3, bool), 0)
    whiten = np.kron(np.eye(3), model.inverse)
    expected = whiten @ central_hessian(problem, trial) @ whiten.T
    assert np.abs(model.hessian - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("options", [{}, {"linear_skip": True}, {"starts": (0, 20)}])
def test_the_jacobian_of_the_outputs_equals_finite_differences(options):
    problem = synthetic(T=40, activation="elu", **options)
    trial, rows, step = random_trial(problem), np.array([0, 7, 20, 39]), 1e-6

    def outputs(hidden_layer):
        h = problem.rollout_of(hidden_layer)[1]
        return problem.outputs(trial.readout, h)[rows]

    network, columns = trial.point.parameters, []
    for index in np.ndindex(trial.hidden_layer.shape):
        d = np.zeros_like(trial.hidden_layer)
        d[index] = step
        change = outputs(trial.hidden_layer + d) - outputs(trial.hidden_layer - d)
        columns.append(change / (2.0 * step))
    found = output_jacobian(problem, network, rows)
    np.testing.assert_allclose(found, np.stack(columns, axis=-1), atol=1e-8)


def test_sensitivities_of_held_units_equal_finite_differences():
    problem = synthetic(T=12)
    trial, rng = random_trial(problem), np.random.default_rng(1)
    held = rng.random(trial.u.shape) < 0.3
    slopes = np.where(held, rng.random(held.shape), problem.sigma.derivative(trial.u))
    piece, B = Piece(held, slopes), trial.hidden_layer
    index = np.flatnonzero(held)
    P_rows = np.hstack(
        [np.vstack([np.zeros(3), rollout_on(problem, B, piece)[1][:-1]]), problem.inputs]
    )
    J = sensitivities_at(problem, B[:, :3], slopes, P_rows, index)
    for k, entry in enumerate(np.ndindex(B.shape)):
        d = np.zeros_like(B)
        d[entry] = 1e-6
        u = [rollout_on(problem, B + sign * d, piece)[0].flat[index] for sign in (1.0, -1.0)]
        np.testing.assert_allclose(J[:, k], (u[0] - u[1]) / 2e-6, atol=1e-7)


def test_chunks_of_time_make_no_difference(monkeypatch):
    problem = synthetic(T=50)
    trial, alive = random_trial(problem), np.ones(3, bool)
    found = []
    for numbers in (1_000_000, 7 * 3 * 18):
        monkeypatch.setattr("sktime_alm.solver.curvature._CHUNK", numbers)
        found.append(expand(problem, trial, Piece.at(problem, trial.u), alive, 20))
    np.testing.assert_allclose(found[0].hessian, found[1].hessian, atol=1e-13)
    np.testing.assert_array_equal(found[0].units, found[1].units)
    np.testing.assert_allclose(found[0].rows, found[1].rows, atol=1e-14)
    # kept are those that are nearest to their kink, relative to their sensitivity
    whole = expand(problem, trial, Piece.at(problem, trial.u), alive, 10_000)
    reach = np.abs(trial.u.flat[whole.units]) / np.linalg.norm(whole.rows, axis=1)
    assert set(found[0].units) == set(whole.units[np.argsort(reach)[:20]])


@pytest.mark.parametrize("seed", range(10))
def test_the_box_problem_equals_an_independent_solver(seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(12, 9))
    Q, b = root @ root.T, rng.normal(size=12) * 5.0
    low, high = -rng.random(12), rng.random(12)
    found = box_minimum(Q, b, low, high, np.zeros(12))

    def value(y):
        return 0.5 * y @ Q @ y - b @ y, Q @ y - b

    expected = minimize(
        value, np.zeros(12), jac=True, bounds=list(zip(low, high, strict=True)), tol=1e-15
    )
    assert (found >= low).all() and (found <= high).all()
    assert value(found)[0] <= expected.fun + 1e-9


def test_the_curvature_of_the_rim_is_that_of_its_singular_values():
    rng = np.random.default_rng(2)
    U, V = (np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(2))
    W = (U * [0.9, 0.9, 0.5, 0.2]) @ V.T
    rim = Rim.of(W, 0.9, 1e-8)
    assert rim.k == 2
    E = rng.normal(size=W.shape)
    second = E.ravel() @ rim.curvature(np.ones(2)) @ E.ravel()
    sums = [np.linalg.svd(W + t * E)[1][:2].sum() for t in (1e-3, 0.0, -1e-3)]
    assert second == pytest.approx((sums[0] - 2.0 * sums[1] + sums[2]) / 1e-6, rel=1e-3)
    gradient = -(rim.U[:, :2] * [3.0, -1.0]) @ rim.V[:, :2].T
    released, kept = rim.released(rim.multiplier(gradient))
    assert released.k == 1
    np.testing.assert_allclose(kept, [3.0])


def finished(activation="relu", seed=0, max_recurrence=np.inf, **options):
    problem = synthetic(activation=activation, max_recurrence=max_recurrence, seed=seed)
    trial = rested(problem, seed=seed)
    return problem, trial, finish(problem, trial, tolerance=TOLERANCE, **options)


@pytest.mark.parametrize(
    ("activation", "seed"),
    [*(("relu", seed) for seed in range(3)), ("leaky_relu", 1), ("elu", 2), ("tanh", 0)],
)
@pytest.mark.parametrize("max_recurrence", [np.inf, 0.3])
def test_it_ends_at_a_kkt_point_and_the_objective_never_rises(activation, max_recurrence, seed):
    problem, before, outcome = finished(activation, seed, max_recurrence)
    assert outcome.ending is Ending.STATIONARY
    assert outcome.trial.objective <= before.objective
    parameters = outcome.trial.point.parameters
    assert problem.contraction.contains(parameters.W)
    assert problem.objective(parameters) == pytest.approx(outcome.trial.objective, rel=1e-12)
    assert np.abs(outcome.trial.u[outcome.held]).max(initial=0.0) <= 1e-10
    certificate = certify_network(problem, parameters, 1e-5)[0]
    assert certificate.is_kkt, certificate
    # an end is one: no step from there lowers R
    again = finish(problem, outcome.trial, tolerance=TOLERANCE)
    assert again.trial.objective >= (1.0 - 1e-9) * outcome.trial.objective


def test_kinks_are_held_and_their_slopes_are_multipliers():
    problem, before, outcome = finished("relu", 1)
    assert outcome.held.any()
    slopes = outcome.slopes[outcome.held]
    assert (slopes >= 0.0).all() and (slopes <= 1.0).all()
    assert outcome.trial.objective < before.objective


def test_the_multiplier_of_the_bound_equals_that_of_an_independent_solver():
    """SLSQP on a tiny bounded problem: the same R, and a multiplier that balances the gradient."""
    problem = synthetic(T=40, r=2, n=1, m=1, activation="tanh", alpha=1e-3, max_recurrence=0.2)
    outcome = finish(problem, rested(problem, r=2), tolerance=1e-8)
    B = outcome.trial.hidden_layer
    assert np.linalg.norm(B[:, :2], 2) == pytest.approx(0.2, abs=1e-9)

    def value(flat):
        trial = evaluate(problem, flat.reshape(B.shape))
        return trial.objective, gradient_of(problem, trial).ravel()

    def room(flat):
        return 0.2**2 - np.linalg.eigvalsh(
            flat.reshape(B.shape)[:, :2].T @ flat.reshape(B.shape)[:, :2]
        )

    rng = np.random.default_rng(0)
    start = (0.999 * B + 1e-3 * rng.normal(size=B.shape)).ravel()
    found = minimize(
        value,
        start,
        jac=True,
        method="SLSQP",
        constraints={"type": "ineq", "fun": room},
        options={"maxiter": 500, "ftol": 1e-14},
    )
    assert outcome.trial.objective <= found.fun + 1e-8
    multiplier = outcome.recurrence
    left, values, right = np.linalg.svd(multiplier)
    of_W = gradient_of(problem, outcome.trial)[:, :2]
    np.testing.assert_allclose(of_W + multiplier, 0.0, atol=1e-6)
    # U S V' with S psd, of the singular vectors of W at the bound
    assert np.vdot(multiplier, B[:, :2]) == pytest.approx(0.2 * values.sum(), rel=1e-6)


def test_a_singular_value_just_short_of_the_bound_is_put_on_it():
    problem = synthetic(activation="tanh", alpha=1e-3, max_recurrence=0.3)
    B = finish(problem, rested(problem), tolerance=TOLERANCE).trial.hidden_layer.copy()
    left, values, right = np.linalg.svd(B[:, :3])
    n_held = int((values > 0.3 - 1e-9).sum())
    assert n_held
    B[:, :3] = (left * np.where(np.arange(3) < n_held, 0.3 * (1.0 - 1e-4), values)) @ right
    outcome = finish(problem, evaluate(problem, B), tolerance=TOLERANCE)
    assert outcome.ending is Ending.STATIONARY
    values = np.linalg.svd(outcome.trial.hidden_layer[:, :3])[1]
    np.testing.assert_allclose(values[:n_held], 0.3, rtol=1e-9)


def test_two_runs_are_the_same_to_the_last_bit():
    first, second = (finished("relu", 2)[2] for _ in range(2))
    np.testing.assert_array_equal(first.trial.hidden_layer, second.trial.hidden_layer)
    assert first.work == second.work


def test_the_work_is_limited_and_what_was_reached_is_kept():
    problem = synthetic(seed=1)
    trial = rested(problem, seed=1)
    nothing = finish(problem, trial, tolerance=0.0, max_work=0.0)
    assert nothing.ending is Ending.SPENT and nothing.n_steps == 0
    assert nothing.trial is trial
    some = finish(problem, trial, tolerance=0.0, max_steps=2)
    assert some.ending is Ending.SPENT and some.n_steps == 2
    assert some.trial.objective < trial.objective
    assert finish(problem, trial, max_steps=2).work < finish(problem, trial, max_steps=3).work


def test_large_and_chaotic_networks_are_returned_as_they_are(monkeypatch):
    problem = synthetic()
    trial = rested(problem)
    monkeypatch.setattr("sktime_alm.solver.active_set._MOST_WEIGHTS", 10)
    assert finish(problem, trial).ending is Ending.TOO_LARGE
    monkeypatch.undo()
    monkeypatch.setattr("sktime_alm.solver.active_set._CHAOTIC", 0.0)
    outcome = finish(problem, trial)
    assert outcome.ending is Ending.CHAOTIC and outcome.trial is trial


def test_no_step_ends_where_it_is_too_steep():
    problem = synthetic(seed=1)
    trial = rested(problem, seed=1)
    outcome = finish(problem, trial, steepest=0.0)
    assert outcome.trial.objective == trial.objective


def test_a_unit_that_is_never_on_is_not_held():
    problem = synthetic()
    trial = rested(problem)
    B = trial.hidden_layer.copy()
    B[0], B[:, 0] = 0.0, 0.0
    outcome = finish(problem, evaluate(problem, B), tolerance=TOLERANCE)
    assert not outcome.held[:, 0].any()


@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_units_of_the_data_make_no_difference(activation):
    problem = synthetic(activation=activation)
    trial = rested(problem)
    reference = finish(problem, trial, tolerance=TOLERANCE)
    for s, k in ((1e-8, 1.0), (1e8, 1.0), (1.0, 1e8), (1.0, 1e-8)):
        reg = problem.regularization
        scaled = Regularization(
            l2_readout=reg.l2_readout,
            l2_recurrent=s**2 * reg.l2_recurrent,
            l2_input=(s * k) ** 2 * reg.l2_input,
            l2_bias=s**2 * reg.l2_bias,
            l2_readout_bias=reg.l2_readout_bias,
            l2_preactivation=s**2 * reg.l2_preactivation,
        )
        other = ElmanProblem(k * problem.X, s * problem.Y, scaled, activation)
        B = trial.hidden_layer.copy()
        B[:, 3:-1] /= k
        outcome = finish(other, evaluate(other, B), tolerance=TOLERANCE)
        assert outcome.ending is reference.ending
        assert outcome.trial.objective / s**2 == pytest.approx(reference.trial.objective, rel=1e-7)


def test_the_default_method_ends_with_it():
    problem = synthetic(seed=1)
    found = train(problem.X, problem.Y, 3, alpha=0.3, random_state=0)
    assert found.history[-1].phase == "newton"
    assert found.certificate.is_kkt and found.certificate.n_kinks
    assert isinstance(found.parameters, ElmanParameters)


def test_a_local_model_predicts_the_fall_of_a_small_step():
    problem = synthetic(activation="tanh")
    trial = random_trial(problem)
    model = expand(problem, trial, Piece.at(problem, trial.u), np.zeros(3, bool), 0)
    local = Local(problem, model, 1e-3)
    step = local.solve(1e3, 0)
    fall = (
        trial.objective - evaluate(problem, trial.hidden_layer + local.unwhitened(step.d)).objective
    )
    assert fall == pytest.approx(2.0 * step.predicted, rel=0.1) or fall > step.predicted


@pytest.mark.parametrize(("bound", "ending"), [(5.0, Ending.STATIONARY), (0.2, Ending.SCALED)])
def test_in_the_diagonal_norm_only_networks_inside_of_the_bound_are_finished(bound, ending):
    problem = synthetic(seed=1)
    trial = rested(problem, seed=1)
    bounded = ElmanProblem(
        problem.X,
        problem.Y,
        problem.regularization,
        max_recurrence=bound,
        recurrence_norm="diagonal",
    )
    inside = evaluate(bounded, bounded.contraction.nearest(trial.hidden_layer))
    outcome = finish(bounded, inside, tolerance=TOLERANCE)
    assert outcome.ending is ending
    assert bounded.contraction.contains(outcome.trial.hidden_layer[:, :3])


def test_a_balanced_piece_leaves_nothing_of_the_gradient_where_the_finish_ended():
    problem = synthetic()
    outcome = finish(problem, rested(problem), tolerance=TOLERANCE)
    assert outcome.ending is Ending.STATIONARY and outcome.held.any()
    piece = balanced_piece(problem, outcome.trial, 1e-11)
    np.testing.assert_array_equal(piece.held, outcome.held)
    np.testing.assert_allclose(piece.slopes, outcome.slopes, atol=1e-5)
