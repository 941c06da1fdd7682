"""Partial pooling: readouts of the series of a panel, shrunk towards that of all."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from sktime_alm.inputs import Rows
from sktime_alm.penalties import Origin
from sktime_alm.pooling import PRIORS, choose_prior, own_readout
from sktime_alm.solver.activations import ReLU
from sktime_alm.solver.datafits import Squared
from sktime_alm.solver.network import ElmanParameters, rollout


def make_rows(coefficients, n=40, seed=0, noise=0.5):
    """Rows of a linear law in two inputs."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, 2)) * [1.0, 3.0] + [0.0, 2.0]
    Y = X @ np.atleast_2d(coefficients).T + noise * generator.normal(size=(n, 1))
    position = np.arange(1, n + 1) / n
    return Rows(X, Y, (0,), position, np.full_like(Y, np.nan), np.ones_like(Y), Squared())


def make_network(D=((0.5, 0.1),), r=2, seed=1):
    generator = np.random.default_rng(seed)
    return ElmanParameters(
        A=generator.normal(size=(1, r)),
        W=0.3 * generator.normal(size=(r, r)),
        V=generator.normal(size=(r, 2)),
        b=generator.normal(size=r),
        c=np.array([0.2]),
        D=np.array(D),
    )


def columns(network, rows):
    """q_t = [h_t; x_t; 1] of every row."""
    h = rollout(network, ReLU(), rows.inputs, rows.starts)[1]
    return np.hstack([h, rows.inputs, np.ones((len(h), 1))])


def test_the_own_readout_minimises_the_loss_and_the_distance_to_that_of_the_panel():
    rows, network, prior = make_rows([1.0, -0.5]), make_network(), 25.0
    q, spread = columns(network, rows), columns(network, rows).std(axis=0)

    def objective(change):
        # the constant counts where the other columns are at their means
        of_means = change[-1] + change[:-1] @ q[:, :-1].mean(axis=0)
        errors = rows.targets[:, 0] - q @ (network.readout[0] + change)
        size = (spread[:-1] * change[:-1]) @ (spread[:-1] * change[:-1]) + of_means**2
        return errors @ errors + prior * size

    found = own_readout(network, ReLU(), rows, prior).readout[0] - network.readout[0]
    best = minimize(objective, np.zeros(q.shape[1]), method="BFGS", options={"gtol": 1e-10})
    assert objective(found) <= best.fun * (1.0 + 1e-9)


def test_no_prior_is_the_least_squares_fit_and_an_infinite_one_is_the_panel():
    rows, network = make_rows([1.0, -0.5]), make_network()
    q = columns(network, rows)
    best = np.linalg.lstsq(q, rows.targets, rcond=None)[0][:, 0]
    own = own_readout(network, ReLU(), rows, 1e-9)
    np.testing.assert_allclose(q @ own.readout[0], q @ best, atol=1e-6)
    assert own_readout(network, ReLU(), rows, np.inf) is network


def test_rows_without_targets_and_units_that_never_vary_change_nothing():
    rows, network = make_rows([1.0, -0.5]), make_network()
    silent = replace(network, V=np.zeros_like(network.V), b=-np.ones(2))
    longer = Rows.stacked([rows, make_rows([9.0, 9.0])])
    longer.targets[len(rows.inputs) :] = np.nan
    own, also = (own_readout(silent, ReLU(), given, 10.0) for given in (rows, longer))
    np.testing.assert_allclose(own.readout, also.readout, rtol=1e-9)
    np.testing.assert_array_equal(own.A, silent.A)


@pytest.mark.parametrize(("difference", "expected"), [(0.0, 1000.0), (1.0, 30.0)])
def test_the_prior_is_strong_where_the_series_are_alike(difference, expected):
    pieces = [
        make_rows([1.0 + difference * (-1) ** k, 0.3], n=200, seed=k, noise=1.0) for k in range(10)
    ]
    rows, ends = Rows.stacked(pieces), np.arange(0, 2001, 200)
    panel = make_network(D=((1.0, 0.3),))
    panel = replace(panel, A=np.zeros_like(panel.A), c=np.zeros(1))
    origin = Origin(rows.position <= 0.7, rows.position > 0.7)
    assert expected in PRIORS
    assert choose_prior(rows, ReLU(), ends, [(origin, panel)]) == expected
