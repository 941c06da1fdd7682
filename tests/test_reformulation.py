"""The problem: objective, constraints, sequences, invariances, bad input."""

import dataclasses
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from sktime_alm.solver import ElmanParameters, ElmanProblem, Regularization, solve
from sktime_alm.solver.settings import ALMSettings
from tests import reference
from tests.conftest import cases, make_case
from tests.test_lagrangian import as_lam


def test_objective_equals_the_plain_one():
    problem, point, *_ = make_case()
    weights, lam = point.parameters.arrays(), as_lam(problem.regularization)
    u, h = reference.rollout(weights, problem.X)
    expected = reference.objective(weights, h, u, problem.X, problem.Y, lam)
    assert problem.objective(point.parameters) == pytest.approx(expected, rel=1e-13)
    C1, C2 = problem.constraints(point)
    expected_C1, expected_C2 = reference.residuals(weights, point.h, point.u, problem.X)
    np.testing.assert_allclose(C1, expected_C1, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(C2, expected_C2, rtol=1e-13, atol=1e-13)


@given(case=cases())
def test_a_rollout_is_feasible(case):
    feasible = case.problem.feasible_point(case.point.parameters)
    C1, C2 = case.problem.constraints(feasible)
    assert np.abs(C1).max() <= 1e-13 * (1.0 + np.abs(feasible.u).max())
    # two implementations of exp may differ in the last place
    assert np.abs(C2).max() <= 2.0 * np.finfo(float).eps * (1.0 + np.abs(feasible.h).max())


@given(case=cases())
def test_fed_back_is_the_adjoint_of_the_recurrent_drive(case):
    problem, h = case.problem, case.point.h
    W, other = case.point.parameters.W, case.multipliers.xi
    forward = np.vdot(problem.recurrent_drive(W, h), other)
    assert forward == pytest.approx(np.vdot(h, problem.fed_back(W, other)), rel=1e-12, abs=1e-12)
    product = problem.previous_product(h, other)
    assert forward == pytest.approx(np.vdot(W.T, product), rel=1e-12, abs=1e-12)


def test_checks_16_sequences_add_up_to_their_single_problems():
    case = make_case(T=9, starts=(0, 4))
    problem, parameters = case.problem, case.point.parameters
    total, penalty = 0.0, problem.regularization
    for rows in (slice(0, 4), slice(4, 9)):
        # ||u||^2 is a sum, not a mean: its weight makes up for the sequence's share
        share = (rows.stop - rows.start) / 9
        scaled = dataclasses.replace(penalty, l2_preactivation=penalty.l2_preactivation / share)
        single = ElmanProblem(problem.X[rows], problem.Y[rows], scaled)
        total += share * single.objective(parameters)
    assert problem.objective(parameters) == pytest.approx(total, rel=1e-13)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu"])
def test_checks_16_permuting_hidden_units_permutes_the_solution(activation):
    case = make_case(T=12, r=4, activation=activation)
    order = np.array([2, 0, 3, 1])

    def permuted(parameters):
        A, W, V, b, c = parameters.arrays()
        return ElmanParameters(A[:, order], W[np.ix_(order, order)], V[order], b[order], c)

    settings = ALMSettings(max_iter=5, max_inner_iter=5)
    straight = solve(case.problem, case.point.parameters, settings)
    shuffled = solve(case.problem, permuted(case.point.parameters), settings)
    assert shuffled.objective == pytest.approx(straight.objective, rel=1e-9)
    expected = permuted(straight.parameters)
    for array, other in zip(shuffled.parameters.arrays(), expected.arrays(), strict=True):
        np.testing.assert_allclose(array, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("size", [(1, 1, 1, 1), (5, 1, 1, 1), (1, 3, 2, 4), (5, 3, 1, 1)])
def test_checks_16_the_smallest_sizes_work(size):
    T, n, m, r = size
    case = make_case(T, n, m, r)
    result = solve(case.problem, case.point.parameters, ALMSettings(max_iter=5))
    assert result.objective <= case.problem.objective(case.point.parameters)


def test_an_overflowing_network_has_an_infinite_objective():
    case = make_case()
    W = np.full((4, 4), 1e200)
    exploding = dataclasses.replace(case.point.parameters, W=W, b=np.ones(4))
    assert case.problem.objective(exploding) == np.inf


def test_table_2_scaling():
    found = Regularization.scaled(1.2, n_inputs=5, hidden_size=4, n_outputs=3)
    expected = (1.2 / 12, 1.2 / 16, 1.2 / 20, 1.2 / 4, 1.2 / 3, 1e-8)
    assert as_lam(found) == pytest.approx(expected, rel=1e-15)


X, Y = np.zeros((6, 2)), np.zeros((6, 1))
REG = Regularization.scaled(1.0, 2, 3, 1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X[:, 0], Y, REG), ValueError, "X must have two dimensions.*found shape"),
        ((X, Y[:5], REG), ValueError, "X and Y must have equally many rows, found 6 and 5"),
        ((X + np.nan, Y, REG), ValueError, "X must be finite, found nan in row 0, column 0"),
        ((X, Y + np.inf, REG), ValueError, "Y must be finite, found inf"),
        ((X[:, :0], Y, REG), ValueError, "X must have at least one row and one column"),
        ((X[:0], Y[:0], REG), ValueError, "X must have at least one row and one column"),
        (([["a"]], [[1.0]], REG), TypeError, "X must be an array of numbers"),
        ((X.astype(str), Y, REG), TypeError, "X must be an array of numbers: found <U"),
        ((X.astype(str).astype(object), Y, REG), TypeError, "X must be an array of numbers"),
        ((X.astype(complex), Y, REG), TypeError, "X must be an array of numbers: found complex"),
        ((X.astype("M8[ns]"), Y, REG), TypeError, "X must be an array of numbers: found datetime"),
        (
            (np.ma.masked_array(X, X == 0.0), Y, REG),
            ValueError,
            "X must have no masked values",
        ),
        ((X, np.ma.masked_array(Y, Y == 0.0), REG), ValueError, "Y must have no masked values"),
        ((X, Y, 0.1), TypeError, "regularization must be a Regularization"),
        ((X, Y, REG, "gelu"), ValueError, "activation must be one of"),
        ((X, Y, REG, "relu", (1,)), ValueError, "starts must begin with 0"),
        ((X, Y, REG, "relu", (0, 3, 3)), ValueError, "starts must begin with 0"),
        ((X, Y, REG, "relu", (0, 6)), ValueError, "starts must begin with 0"),
        ((X, Y, REG, "relu", ()), ValueError, "starts must begin with 0"),
        ((X, Y, REG, "relu", np.array(0)), TypeError, "starts must be a sequence of integers"),
        ((X, Y, REG, "relu", b"a"), TypeError, "starts must be a sequence of integers, found b'a'"),
        ((X, Y, REG, "relu", (0,), False, 1.0, np.ones(2)), ValueError, "recurrence_norm must be"),
        ((X, Y, REG, "relu", (0,), False, 1.0, pd.NA), ValueError, "recurrence_norm must be"),
    ],
)
def test_bad_data_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        ElmanProblem(*arguments)


@pytest.mark.parametrize("flag", ["no", np.nan, None, [], 2, np.ones(2)], ids=repr)
def test_a_skip_that_is_no_flag_is_refused_by_name(flag):
    with pytest.raises(TypeError, match="linear_skip must be True or False, found"):
        ElmanProblem(X, Y, REG, linear_skip=flag)


@pytest.mark.parametrize(
    "values",
    [
        X.astype(np.float32),
        X.astype(int),
        X.astype(bool),
        X.astype(object),
        X.tolist(),
        np.ma.masked_array(X, np.zeros(X.shape, bool)),
        pd.DataFrame(X).astype("Float64"),
        pd.DataFrame(X).astype({0: "Int64", 1: "boolean"}),
    ],
    ids=lambda values: type(values).__name__,
)
def test_numbers_of_any_kind_are_taken(values):
    problem = ElmanProblem(values, Y, REG, starts=np.array([0, 2]), linear_skip=np.bool_(True))
    np.testing.assert_array_equal(problem.X, X)
    assert problem.X.dtype == float and problem.starts == (0, 2) and problem.linear_skip is True


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"l2_readout": -1.0}, ValueError, "l2_readout must be 0 or more, found -1.0"),
        ({"l2_bias": np.nan}, ValueError, "l2_bias must be finite"),
        ({"l2_input": "1"}, TypeError, "l2_input must be a number"),
        (
            {"l2_input": 10**400},
            ValueError,
            "l2_input must be finite in double precision",
        ),
    ],
)
def test_bad_penalties_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        Regularization(**arguments)
    with pytest.raises(ValueError, match="alpha must be 0 or more"):
        Regularization.scaled(-1.0, 1, 1, 1)
    with pytest.raises(ValueError, match="hidden_size must be at least 1, found 0"):
        Regularization.scaled(1.0, 1, 0, 1)


@pytest.mark.parametrize("skip_alpha", [False, "", [], np.ones(2), pd.NA], ids=repr)
def test_a_penalty_of_the_skip_that_is_no_number_is_refused_by_name(skip_alpha):
    with pytest.raises(TypeError, match="skip_alpha must be a number"):
        Regularization.scaled(1.0, 2, 3, 1, skip_alpha=skip_alpha)


@pytest.mark.parametrize(
    ("of_X", "of_Y", "message"),
    [(1.0, 1e-200, "Y is too small"), (1e90, 1e90, "X or Y is too large"), (1e-90, 1e200, "large")],
)
def test_sizes_beyond_double_precision_are_refused(of_X, of_Y, message):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(20, 2)), rng.normal(size=(20, 1))
    with pytest.raises(ValueError, match=message):
        ElmanProblem(of_X * X, of_Y * Y, Regularization())


def test_another_problem_of_the_same_rows_has_no_targets_where_there_are_none():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(20, 2)), rng.normal(size=(20, 1))
    Y[[3, 17]] = np.nan
    problem = ElmanProblem(X, Y, Regularization(), "elu")
    other = replace(problem, activation="tanh")
    np.testing.assert_array_equal(other.missing, [3, 17])
    np.testing.assert_array_equal(other.targets, np.nan_to_num(Y))


@pytest.mark.parametrize("missing", [[], [3]], ids=str)
def test_a_problem_does_not_change_with_the_arrays_it_was_made_of(missing):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(20, 2)), rng.normal(size=(20, 2))
    Y[missing] = np.nan
    problem = ElmanProblem(X, Y, Regularization(), "elu")
    expected = problem.X.copy(), problem.Y.copy(), problem.targets.copy()
    X[:], Y[:] = 7.0, 7.0
    for array, copy in zip((problem.X, problem.Y, problem.targets), expected, strict=True):
        np.testing.assert_array_equal(array, copy)
