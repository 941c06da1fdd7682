"""From rows in blocks to the network of a panel: a sample teaches, and all rows have their say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sktime_alm.averaging import average
from sktime_alm.estimator import Estimator, Pretrained
from sktime_alm.inputs import Rows, Series
from sktime_alm.progress import Progress
from sktime_alm.solver import ElmanParameters, Status, solve
from sktime_alm.solver.spread import Block, Blocks, SpreadProblem
from sktime_alm.trainer import Trained


def fit_blocks(
    estimator: Estimator,
    sample: Sequence[Series],
    blocks: Blocks,
    progress: Progress,
    previous: Pretrained | None = None,
) -> Pretrained:
    """Train on rows in blocks, beginning with what a sample of their series has taught.

    The sample chooses the penalties, finds the minima and tells how R is curved there, what
    errors are like, and how much a single series should have its way.

    Parameters
    ----------
    estimator : Estimator
    sample : sequence of Series
    blocks : Blocks
        Made by the estimator of all series, those of the sample among them.
    progress : Progress
    previous : Pretrained, optional
        Train on from its networks, with its penalties.
    """
    found, results = estimator.fit_panel(sample, progress, previous), []
    estimator = estimator.within_bound(found.penalties.max_recurrence)
    rows = Rows.stacked([estimator.rows(series) for series in sample])
    problem = _problem(estimator, found, rows, blocks)
    # averaged readouts do not matter: the hidden layer is what steps begin with
    for network in found.trained.networks:
        results.append(solve(problem, network, estimator.settings, progress.passes))
        if results[-1].status in (Status.INTERRUPTED, Status.LOST):
            break
    # whose outcome and certificate are shown; all networks forecast
    best, ended = min(results, key=lambda result: result.objective), results[-1].status
    if ended in (Status.INTERRUPTED, Status.LOST):
        best = replace(best, status=ended)
    best = replace(best, starts=tuple(start for result in results for start in result.starts))
    networks = tuple(result.parameters for result in results)
    if found.penalties.weight < 1.0 and ended is not Status.LOST:
        regression = _regression(problem, networks[0])
        networks = tuple(average(one, regression, found.penalties.weight) for one in networks)
    return replace(found, trained=Trained(best, networks))


def _problem(
    estimator: Estimator, found: Pretrained, sample: Rows, blocks: Blocks
) -> SpreadProblem:
    """That of all rows, with the strengths that the sample has chosen."""
    chosen = found.penalties
    n_rows = sum(blocks.map(_count_observed))
    # no penalty is without bounds: the hidden units of a regression rest at 0 with any
    alpha = chosen.alpha if np.isfinite(chosen.alpha) else 1.0
    penalties = estimator.penalties_of(sample, alpha, chosen.skip_alpha, n_rows)
    penalties = penalties.of_rows(n_rows / int(sample.is_observed.sum()))
    return SpreadProblem(blocks, estimator.problem(sample, penalties))


def _regression(problem: SpreadProblem, like: ElmanParameters) -> ElmanParameters:
    """The ridge regression of all rows, as a network."""
    trial = problem.evaluate(np.zeros_like(like.hidden_layer))
    if trial is None:
        raise ValueError("y or X is too large for double precision; scale them down")
    return trial.point.parameters


def _count_observed(block: Block) -> int:
    """The number of rows with targets."""
    return sum(problem.n_observed for problem in block)
