"""Watching a fit: a bar on the screen, or a line an iteration in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sktime_alm.solver.result import Callback, IterationRecord

logger = logging.getLogger("sktime_alm")


@contextmanager
def watching(
    verbose: int, n_iterations: int, callback: Callback | None
) -> Iterator[Callback | None]:
    """A callback that also shows the progress of a fit.

    Parameters
    ----------
    verbose : int
        0 shows nothing, 1 a bar, 2 or more logs a line an iteration at level INFO to the
        logger "sktime_alm".
    n_iterations : int
        Length of the bar.
    callback : callable, optional
        Called with every record, and decides whether to stop.
    """
    if verbose == 0:
        yield callback
    elif verbose == 1:
        # on use: in a notebook without widgets the import itself warns
        from tqdm.auto import tqdm

        with tqdm(total=n_iterations, desc="ALM", unit="it") as bar:

            def advance(record: IterationRecord) -> bool | None:
                bar.set_postfix(objective=f"{record.objective:.4g}", refresh=False)
                bar.update()
                return callback(record) if callback is not None else None

            yield advance
    else:

        def log(record: IterationRecord) -> bool | None:
            logger.info(
                "%4d  objective %.6g  KKT residual %.2e  ||C1|| %.2e  ||C2|| %.2e  "
                "penalty %.2e  sweeps %d  %.2f s",
                record.iteration,
                record.objective,
                record.kkt_residual,
                record.preactivation_violation,
                record.hidden_violation,
                record.penalty,
                record.n_sweeps,
                record.seconds,
            )
            return callback(record) if callback is not None else None

        yield log
