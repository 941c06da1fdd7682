"""Watching a fit: a bar on the screen, or a line an iteration."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sktime_alm.solver.result import Callback, IterationRecord

# what the residual goes down to, for an estimate of the time left
_USUAL_TOLERANCE = 1e-5

logger = logging.getLogger("sktime_alm")


class Progress:
    """What is called with the records of each training.

    Parameters
    ----------
    callback : callable, optional
        The user's: called with every record of the training itself, and decides whether to stop.
    bar : tqdm bar, optional
    verbose : int, default=0
        2 or more: a line an iteration, at level INFO to the logger "sktime_alm", or to stderr where
        that would go nowhere.
    """

    def __init__(self, callback: Callback | None = None, bar: Any = None, verbose: int = 0) -> None:
        self._callback, self._bar = callback, bar
        is_silent = bar is None and verbose < 2
        self.choosing: Callback | None = None if is_silent else self._choosing
        self.training: Callback | None = callback if is_silent else self._training
        self.passes: Callback | None = callback if is_silent else self._passes

    def quietly(self) -> Progress:
        """No progress at all, for models beside the one trained; an interrupt still ends them."""
        return Progress()

    def _choosing(self, record: IterationRecord) -> None:
        self._show("choosing alpha", record)

    def _training(self, record: IterationRecord, phase: str = "training") -> bool | None:
        self._show(phase, record)
        return self._callback(record) if self._callback is not None else None

    def _passes(self, record: IterationRecord) -> bool | None:
        if record.iteration == 1:
            self._first = record
        return self._training(record, f"training on all rows, {_left(self._first, record)}")

    def _show(self, phase: str, record: IterationRecord) -> None:
        if self._bar is not None:
            self._bar.set_description(f"ALM, {phase}", refresh=False)
            self._bar.set_postfix(objective=f"{record.objective:.4g}", refresh=False)
            self._bar.update()
            return
        line = (
            f"{record.iteration:4d}  objective {record.objective:.6g}  KKT residual "
            f"{record.kkt_residual:.2e}  ||C1|| {record.preactivation_violation:.2e}  ||C2|| "
            f"{record.hidden_violation:.2e}  penalty {record.penalty:.2e}  sweeps "
            f"{record.n_sweeps}  {record.seconds:.2f} s  ({phase})"
        )
        if logger.hasHandlers() and logger.isEnabledFor(logging.INFO):
            logger.info(line)
        else:
            print(line, file=sys.stderr)


def _left(first: IterationRecord, now: IterationRecord) -> str:
    """An estimate of the time left, from how fast the residual has fallen so far."""
    if not first.kkt_residual > now.kkt_residual > _USUAL_TOLERANCE:
        return "time left unknown"
    decades = math.log10(first.kkt_residual / now.kkt_residual)
    to_go = math.log10(now.kkt_residual / _USUAL_TOLERANCE)
    return f"about {(now.seconds - first.seconds) * to_go / decades:.0f} s left"


@contextmanager
def watching(verbose: int, callback: Callback | None) -> Iterator[Progress]:
    """The progress of a fit: 0 shows nothing, 1 a bar, 2 or more a line an iteration."""
    if verbose != 1:
        yield Progress(callback, verbose=verbose)
        return
    # on use: in a notebook without widgets the import itself warns
    from tqdm.auto import tqdm

    with tqdm(desc="ALM", unit="it") as bar:
        yield Progress(callback, bar)
