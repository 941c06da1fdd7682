"""Rows in blocks: the same sums as in process, and the same network wherever the blocks are."""

from dataclasses import replace

import numpy as np
import pytest

from sktime_alm.engines import Threads
from sktime_alm.solver import (
    ALMSettings,
    ElmanParameters,
    ElmanProblem,
    Regularization,
    SafeguardedSettings,
    Status,
    sampled,
    solve,
    train,
)
from sktime_alm.solver.curvature import second_order
from sktime_alm.solver.datafits import QLIKE, Squared
from sktime_alm.solver.lagrangian import adjoint_multipliers
from sktime_alm.solver.multistart import linear_model
from sktime_alm.solver.optimality import certify
from sktime_alm.solver.reduced import evaluate, gradient_of, iterate_at, metric
from sktime_alm.solver.reformulation import Trial
from sktime_alm.solver.sampled import hessian_at
from sktime_alm.solver.spread import Lost, SpreadProblem

R, N_SERIES, LENGTH = 3, 12, 60
SETTINGS = SafeguardedSettings(n_relaxations=0)


class LocalBlocks:
    """Blocks in this process that have their turns: what threads and workers are held against."""

    def __init__(self, blocks):
        self._blocks = blocks

    def map(self, function, *arguments, kept=()):
        blocks = zip(self._blocks, *kept, strict=True)
        return [function(*of_block, *arguments) for of_block in blocks]

    keep = map

    def close(self):
        pass


def make_problem(activation="elu", datafit=None, missing=True, max_recurrence=0.98):
    rng = np.random.default_rng(0)
    T = N_SERIES * LENGTH
    X = rng.normal(size=(T, 2)) * [1.0, 5.0]
    Y = np.tanh(X @ [[1.0], [0.2]]) + 0.3 * rng.normal(size=(T, 1))
    if missing:
        Y[[5, 100, 101, 400]] = np.nan
    return ElmanProblem(
        X,
        Y,
        Regularization.scaled(0.01, 2, R, 1, skip_alpha=1e-3),
        activation,
        tuple(range(0, T, LENGTH)),
        linear_skip=True,
        max_recurrence=max_recurrence,
        datafit=datafit or Squared(),
    )


def sequences_of(problem):
    alone = replace(problem, starts=(0,), regularization=Regularization())
    ends = [*problem.starts[1:], problem.n_samples]
    return [
        replace(alone, X=problem.X[a:b], Y=problem.Y[a:b])
        for a, b in zip(problem.starts, ends, strict=True)
    ]


def spread(problem, n_blocks=3):
    sequences = sequences_of(problem)
    shares = np.array_split(np.arange(len(sequences)), n_blocks)
    return SpreadProblem(LocalBlocks([[sequences[k] for k in share] for share in shares]), problem)


def random_layer(seed=0):
    return 0.4 * np.random.default_rng(seed).normal(size=(R, R + 3))


@pytest.mark.parametrize("datafit", [Squared(), QLIKE()], ids=["squared", "qlike"])
@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_sums_over_blocks_are_those_in_process(activation, datafit):
    problem = make_problem(activation, datafit)
    blocks, layer = spread(problem), random_layer()
    expected, found = evaluate(problem, layer), evaluate(blocks, layer)
    np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-12)
    np.testing.assert_allclose(found.readout, expected.readout, rtol=1e-7, atol=1e-9)
    expected = expected._replace(readout=found.readout)
    np.testing.assert_allclose(
        gradient_of(blocks, found), gradient_of(problem, expected), rtol=1e-8, atol=1e-10
    )
    np.testing.assert_allclose(metric(blocks, found), metric(problem, expected), rtol=1e-9)
    np.testing.assert_allclose(blocks.target_size, problem.target_size, rtol=1e-12)
    np.testing.assert_allclose(blocks.contraction.sizes, problem.contraction.sizes, rtol=1e-12)
    assert (blocks.n_samples, blocks.n_observed) == (problem.n_samples, problem.n_observed)


@pytest.mark.parametrize("l2_preactivation", [1e-8, 1e-3])
def test_the_certificate_of_blocks_is_that_of_the_adjoint_multipliers(l2_preactivation):
    problem = make_problem()
    penalties = replace(problem.regularization, l2_preactivation=l2_preactivation)
    problem = replace(problem, regularization=penalties)
    rng = np.random.default_rng(1)
    parameters = ElmanParameters.from_layers(random_layer(), rng.normal(size=(1, R + 3)))
    point = problem.feasible_point(parameters)
    expected = certify(problem, point, adjoint_multipliers(problem, point), 1e-5)
    found = spread(problem).certificate(parameters, 1e-5)
    np.testing.assert_allclose(found.stationarity, expected.stationarity, rtol=1e-9)
    np.testing.assert_allclose(
        found.relative_stationarity, expected.relative_stationarity, rtol=1e-9
    )


@pytest.mark.parametrize("datafit", [Squared(), QLIKE()], ids=["squared", "qlike"])
def test_a_network_from_a_sample_becomes_the_minimum_of_all_rows(datafit):
    problem = make_problem("elu", datafit)
    blocks = spread(problem)
    some = sequences_of(problem)[::3]
    begun = train(
        np.vstack([one.X for one in some]),
        np.vstack([one.Y for one in some]),
        R,
        alpha=0.01,
        skip_alpha=1e-3,
        linear_skip=True,
        activation="elu",
        datafit=datafit,
        random_state=0,
        settings=SETTINGS,
    ).parameters
    result = solve(blocks, begun)
    assert result.status is Status.CONVERGED
    assert result.certificate.is_kkt
    # in process from there: nothing is left to be gained
    again = solve(problem, result.parameters, SETTINGS)
    assert again.objective >= (1.0 - 1e-7) * result.objective
    np.testing.assert_allclose(problem.objective(result.parameters), result.objective, rtol=1e-12)


def test_threads_take_the_same_sums_bit_by_bit():
    problem = make_problem("relu")
    sequences = sequences_of(problem)
    halves = [sequences[:6], sequences[6:]]
    here = SpreadProblem(LocalBlocks(halves), problem)
    blocks = Threads(2).load(lambda sequence: [sequence], [(one,) for one in sequences])
    there = SpreadProblem(blocks, problem)
    results = [solve(one, linear_like(problem)) for one in (here, there)]
    for a, b in zip(*(result.parameters.arrays() for result in results), strict=True):
        np.testing.assert_array_equal(a, b)
    blocks.close()


def linear_like(problem):
    layer = problem.contraction.nearest(random_layer(3))
    drawn = ElmanParameters.from_layers(layer, np.zeros((1, R + 3)))
    linear = linear_model(problem, R)
    return replace(drawn, c=linear.c, D=linear.D)


def gradient_at(problem, variables):
    frame = problem.contraction.frame(variables)
    trial = evaluate(problem, frame.hidden_layer)
    return problem.contraction.pull_back(frame, gradient_of(problem, trial))


@pytest.mark.parametrize("norm", ["spectral", "diagonal"])
@pytest.mark.parametrize("max_recurrence", [np.inf, 0.98, 0.6])
@pytest.mark.parametrize("datafit", [Squared(), QLIKE()], ids=["squared", "qlike"])
def test_the_hessian_of_blocks_equals_differences_of_their_gradient(datafit, max_recurrence, norm):
    problem = make_problem("tanh", datafit, max_recurrence=max_recurrence)
    heavy = replace(problem.regularization, l2_preactivation=1e-5)
    blocks = spread(replace(problem, regularization=heavy, recurrence_norm=norm))
    iterate = iterate_at(blocks, random_layer())
    hessian = hessian_at(blocks, iterate)
    assert hessian is not None
    direction = np.random.default_rng(4).normal(size=iterate.variables.shape)
    ends = [gradient_at(blocks, iterate.variables + sign * 1e-5 * direction) for sign in (1, -1)]
    np.testing.assert_allclose(
        hessian @ direction.ravel(),
        (ends[0] - ends[1]).ravel() / 2e-5,
        rtol=1e-4,
        atol=1e-5 * np.abs(hessian).max(),
    )


def test_many_kinks_are_curvature_from_some_way_off():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40_000, 2))
    Y = np.maximum(X[:, :1], 0.0) + 0.3 * rng.normal(size=(len(X), 1))
    penalties = Regularization.scaled(0.01, 2, R, 1)
    blocks = spread(ElmanProblem(X, Y, penalties, "relu", tuple(range(0, len(X), 2_000))))
    iterate = iterate_at(blocks, random_layer())
    hessian = hessian_at(blocks, iterate)
    assert hessian is not None
    direction = rng.normal(size=iterate.variables.shape)
    direction *= 0.05 / np.linalg.norm(direction)
    ends = [gradient_at(blocks, iterate.variables + sign * direction) for sign in (1, -1)]
    change, found = 0.5 * (ends[0] - ends[1]).ravel(), hessian @ direction.ravel()
    assert np.linalg.norm(found - change) <= 0.1 * np.linalg.norm(change)
    # the pieces alone are curved otherwise
    trial, identity = iterate.trial, np.eye(R + 3)
    u, h = blocks.like.rollout_of(trial.hidden_layer)
    there = Trial(trial.hidden_layer, trial.readout, u, h, blocks.like.errors(trial.readout, h), 0)
    pieces = second_order(blocks.like, there, 0.0).hessian(blocks.like, identity)
    contraction = blocks.contraction
    plain = contraction.hessian(iterate.frame, gradient_of(blocks, trial), pieces)
    off = np.linalg.norm(plain @ direction.ravel() - change)
    assert off >= 3.0 * np.linalg.norm(found - change)


def test_a_sample_of_the_blocks_is_the_problem_of_its_sequences():
    problem = make_problem("elu", missing=False)
    heavy = replace(problem.regularization, l2_preactivation=1e-5)
    blocks = spread(replace(problem, regularization=heavy))
    sample, layer = blocks.sample(2), random_layer()
    # of blocks of four sequences the first and the third
    kept = np.concatenate([np.arange(k * LENGTH, (k + 1) * LENGTH) for k in range(0, N_SERIES, 2)])
    alone = replace(
        problem,
        X=problem.X[kept],
        Y=problem.Y[kept],
        starts=tuple(range(0, len(kept), LENGTH)),
        regularization=replace(heavy, l2_preactivation=2e-5),
    )
    found, expected = evaluate(sample, layer), evaluate(alone, layer)
    assert sample.n_samples == len(kept)
    np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-12)
    np.testing.assert_allclose(gradient_of(sample, found), gradient_of(alone, expected), rtol=1e-8)
    assert blocks.sample(1) is blocks


def test_samples_come_before_all_rows_and_lead_to_their_minimum(monkeypatch):
    problem = make_problem("elu")
    blocks, start = spread(problem, 1), linear_like(problem)
    monkeypatch.setattr(sampled, "_LEAST_ROWS", 50)
    monkeypatch.setattr(sampled, "_REPORT", 5)
    result = solve(blocks, start)
    phases = [record.phase for record in result.history]
    n_samples = phases.count("sample")
    assert 0 < n_samples < len(phases)
    assert set(phases[n_samples:]) == {"alm"}
    assert result.certificate.is_kkt
    again = solve(problem, result.parameters, SETTINGS)
    assert again.objective >= (1.0 - 1e-7) * result.objective


def test_one_evaluation_is_two_passes():
    blocks, passes = spread(make_problem()), []
    plain = blocks.blocks.map

    def counted(*arguments, **kept):
        passes.append(1)
        return plain(*arguments, **kept)

    blocks.blocks.map = counted
    trial = evaluate(blocks, random_layer())
    gradient_of(blocks, trial)
    blocks.certificate(trial.point.parameters, 1e-5)
    # the size of the targets is a pass of its own, once
    assert len(passes) == 3
    gradient_of(blocks, evaluate(blocks, random_layer(1)))
    assert len(passes) == 5


def test_a_network_that_overflows_is_none():
    blocks = spread(make_problem("relu", max_recurrence=np.inf))
    assert evaluate(blocks, 1e200 * random_layer()) is None
    parameters = ElmanParameters.from_layers(1e200 * random_layer(), np.ones((1, R + 3)))
    assert blocks.objective(parameters) == np.inf


def test_blocks_that_are_lost_leave_the_best_network_so_far():
    problem = make_problem()
    blocks = spread(problem)
    plain, passes = blocks.blocks.map, []

    def failing(*arguments, **kept):
        passes.append(1)
        if len(passes) > 12:
            raise Lost("gone")
        return plain(*arguments, **kept)

    blocks.blocks.map = failing
    start = linear_like(problem)
    result = solve(blocks, start)
    assert result.status is Status.LOST
    assert problem.objective(result.parameters) < problem.objective(start)
    np.testing.assert_allclose(problem.objective(result.parameters), result.objective)


@pytest.mark.parametrize("inner_stop", ["stationarity", "step"])
@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_the_method_of_the_paper_takes_the_same_iterates_over_blocks(activation, inner_stop):
    problem = make_problem(activation, max_recurrence=np.inf)
    parameters = ElmanParameters.from_layers(random_layer(), np.zeros((1, R + 3)))
    settings = ALMSettings(max_iter=15, inner_stop=inner_stop)
    expected = solve(problem, parameters, settings)
    found = solve(spread(problem), parameters, settings)
    for here, there in zip(expected.history, found.history, strict=True):
        assert here.n_sweeps == there.n_sweeps
        for name in ("lagrangian", "objective", "kkt_residual", "hidden_violation", "penalty"):
            np.testing.assert_allclose(getattr(there, name), getattr(here, name), rtol=1e-8)
    for array, other in zip(expected.parameters.arrays(), found.parameters.arrays(), strict=True):
        np.testing.assert_allclose(other, array, rtol=1e-8, atol=1e-10)
    # states of all rows were with the blocks
    assert found.last.h.size == 0


def test_states_with_blocks_are_arrays_of_all_rows():
    problem = make_problem()
    parameters = ElmanParameters.from_layers(random_layer(), np.ones((1, R + 3)))
    there, here = spread(problem).feasible_point(parameters), problem.feasible_point(parameters)
    assert there.h.shape == here.h.shape and there.is_finite()
    np.testing.assert_allclose(there.u.sum(), here.u.sum(), rtol=1e-12)
    assert (
        not spread(problem)
        .feasible_point(
            ElmanParameters.from_layers(np.full_like(random_layer(), np.nan), np.ones((1, R + 3)))
        )
        .is_finite()
    )
