"""Partial pooling: the readout of a panel's network for one of its series, or for a new one.

The hidden units are those of the panel. The readout R = [A D c] of a series is shrunk towards
the panel's R_0: of all it minimises

    sum_t loss(y_t, R q_t) + prior sum_j s_j^2 ||R_j - R_0j||^2,   q_t = [h_t; x_t; 1],

with s_j the standard deviation of q_j, and 1 for the constant (at the means of the others). So
``prior`` counts rows: as many in which R_0 is exact would draw it as near.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from sktime_alm.inputs import Rows
from sktime_alm.penalties import ValidationModel
from sktime_alm.posterior import with_changed_readout
from sktime_alm.solver import ElmanParameters, ElmanProblem, Regularization
from sktime_alm.solver._typing import Array, BoolArray, IntArray
from sktime_alm.solver.activations import Activation
from sktime_alm.solver.multistart import linear_model
from sktime_alm.solver.network import rollout

# rows of prior to choose from, and what stands in where nothing can be held back to choose by;
# none is infinite, as the choice is made with fewer rows than a series will have
PRIORS, USUAL_PRIOR = (30.0, 100.0, 300.0, 1000.0), 300.0
# the choice looks at so many series of a large panel
_MOST_SERIES = 50


def own_readout(
    network: ElmanParameters, sigma: Activation, rows: Rows, prior: float
) -> ElmanParameters:
    """The network of a panel with the readout of the series that the rows are of.

    Parameters
    ----------
    network : ElmanParameters
    sigma : Activation
    rows : Rows
        Standardised by the series alone.
    prior : float
        Infinite leaves the readout of the panel.
    """
    h = rollout(network, sigma, rows.inputs, rows.starts)[1]
    return _shrunk(network, h, rows, prior)


def choose_prior(
    rows: Rows, sigma: Activation, ends: IntArray, models: Sequence[ValidationModel]
) -> float:
    """The rows of prior with which the readouts of the series forecast later rows best.

    Parameters
    ----------
    rows : Rows
        Of all series, end to end.
    sigma : Activation
    ends : array of int
        0, and the number of rows up to the end of each series.
    models : sequence of ValidationModel
        Networks of the panel, each trained on the rows before its origin.
    """
    losses = np.zeros(len(PRIORS))
    pieces = list(pairwise(ends))
    chosen = pieces[:: -(-len(pieces) // _MOST_SERIES)]
    for origin, network in models:
        h = rollout(network, sigma, rows.inputs, rows.starts)[1]
        for first, end in chosen:
            is_of_series = np.zeros(len(rows.inputs), dtype=bool)
            is_of_series[first:end] = True
            kept, following = is_of_series & origin.kept, is_of_series & origin.following
            if following.any():
                before, after = rows.among(kept), rows.among(following)
                losses += [
                    _loss(_shrunk(network, h[kept], before, prior), h[following], after)
                    for prior in PRIORS
                ]
    return PRIORS[int(np.argmin(losses))] if losses.any() else USUAL_PRIOR


def _shrunk(network: ElmanParameters, h: Array, rows: Rows, prior: float) -> ElmanParameters:
    """The network with the readout of these states, inputs and targets."""
    is_observed = rows.is_observed
    if prior == np.inf or not is_observed.any():
        return network
    inputs = h if network.D is None else np.hstack([h, rows.inputs])
    mean, spread = inputs[is_observed].mean(axis=0), inputs[is_observed].std(axis=0)
    # what does not vary has no part in the change
    spread = np.where(spread > 0.0, spread, np.inf)
    weight = prior / is_observed.sum()
    problem = ElmanProblem(
        (inputs - mean) / spread,
        rows.targets - network.outputs(h, rows.inputs),
        Regularization(l2_skip=weight, l2_readout_bias=weight),
        linear_skip=True,
        datafit=rows.datafit,
    )
    readout = linear_model(problem, 1).readout
    slopes, constant = readout[:, 1:-1] / spread, readout[:, -1]
    change = np.column_stack([slopes, constant - slopes @ mean])
    return with_changed_readout(network, change)


def _loss(network: ElmanParameters, h: Array, rows: Rows) -> float:
    """The sum of the losses of the rows observed."""
    losses: Array = rows.datafit.value(rows.targets, network.outputs(h, rows.inputs))
    is_observed: BoolArray = rows.is_observed
    return float(losses[is_observed].sum())
