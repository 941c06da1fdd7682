"""Certificates of networks whose rows lie in blocks, at kinks."""

from dataclasses import replace

import numpy as np
import pytest

from sktime_alm.solver import ElmanParameters, SafeguardedSettings, Status, block_kinks, solve
from sktime_alm.solver.block_kinks import at_slopes, certify_blocks
from sktime_alm.solver.curvature import regressors, sensitivities_at
from sktime_alm.solver.optimality import certify
from sktime_alm.solver.slopes import sensitivities_of
from tests.test_spread import LocalBlocks, R, make_problem, random_layer, sequences_of, spread


class Recording(LocalBlocks):
    """Blocks that keep what they were asked: the function of a sequence, and its arguments."""

    def __init__(self, blocks):
        super().__init__(blocks)
        self.asked = []

    def map(self, function, *arguments, kept=()):
        self.asked.append((function.args[0].__name__, *arguments))
        return super().map(function, *arguments, kept=kept)


@pytest.fixture(scope="module", params=["relu", "leaky_relu"])
def minimum(request):
    """A problem and a certified minimum of it, with units on their kinks."""
    problem = make_problem(request.param)
    layer = problem.contraction.nearest(random_layer())
    start = ElmanParameters.from_layers(layer, np.zeros((1, R + 3)))
    result = solve(problem, start, SafeguardedSettings(tolerance=1e-6))
    assert result.status is Status.CONVERGED and result.certificate.n_kinks > 0
    return problem, result.parameters


@pytest.fixture
def few_rows(monkeypatch):
    """Each of which has so much to say that slopes lower the residual thousands of times."""
    monkeypatch.setattr(block_kinks, "_NEAR", np.inf)
    monkeypatch.setattr(block_kinks, "_CLOSE", np.inf)


@pytest.mark.usefixtures("few_rows")
def test_a_minimum_with_units_on_kinks_is_certified_in_blocks_as_well(minimum):
    problem, parameters = minimum
    blocks = spread(problem)
    assert not blocks.certificate(parameters, 1e-5).is_kkt
    certificate = certify_blocks(blocks, parameters, 1e-5)
    assert certificate.is_kkt and certificate.n_kinks > 0


@pytest.mark.usefixtures("few_rows")
def test_it_is_the_certificate_of_a_point_with_multipliers_from_the_subdifferential(minimum):
    problem, parameters = minimum
    rng = np.random.default_rng(0)
    moved = parameters.hidden_layer + 1e-5 * rng.normal(size=parameters.hidden_layer.shape)
    parameters = ElmanParameters.from_layers(moved, parameters.readout)
    blocks = spread(problem)
    recording = Recording([sequences_of(problem)])
    blocks = replace(blocks, blocks=recording)
    found = certify_blocks(blocks, parameters, 1e-5)
    assert found.n_kinks > 0
    certificates = [
        certify(problem, *at_slopes(problem, *arguments), 1e-5)
        for name, *arguments in recording.asked
        if name == "_residuals_at_slopes"
    ]
    expected = min(certificates, key=lambda certificate: certificate.residual)
    for name in ("relative_stationarity", "relative_feasibility", "n_kinks"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-6)
    assert expected.stationarity_blocks.preactivation <= 1e-12


def test_far_from_a_minimum_nothing_is_looked_for():
    blocks = spread(make_problem("relu"))
    parameters = ElmanParameters.from_layers(random_layer(), np.ones((1, R + 3)))
    found, plain = certify_blocks(blocks, parameters, 1e-5), blocks.certificate(parameters, 1e-5)
    assert found.residual == plain.residual and found.n_kinks == 0


def test_sensitivities_by_the_way_back_are_those_of_the_way_forth():
    problem, layer = make_problem("leaky_relu"), random_layer()
    u, h = problem.rollout_of(layer)
    W, P = np.ascontiguousarray(layer[:, :R]), regressors(problem, h)
    slopes = problem.sigma.derivative(u)
    units = np.sort(np.random.default_rng(0).choice(u.size, 50, replace=False))
    rows = np.zeros((50, layer.size))
    sensitivities_of(rows, units, W, slopes, P, problem.is_start)
    np.testing.assert_allclose(
        rows, sensitivities_at(problem, W, slopes, P, units), rtol=1e-9, atol=1e-11
    )


def test_units_that_hardly_move_have_no_kinks_without_number(minimum, few_rows):
    problem, parameters = minimum
    layer = parameters.hidden_layer.copy()
    layer[0] *= 1e-6
    parameters = ElmanParameters.from_layers(layer, parameters.readout)
    assert (problem.rollout(parameters)[0][:, 0] < 1e-4).all()
    assert certify_blocks(spread(problem), parameters, 1e-5).n_kinks < 20
