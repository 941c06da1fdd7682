"""Progress of a fit on the screen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

from sktime_alm.solver.result import Callback, IterationRecord


@contextmanager
def progress_bar(n_iterations: int, callback: Callback | None) -> Iterator[Callback]:
    """A callback that advances a bar of ``n_iterations`` and then calls the given one."""
    with tqdm(total=n_iterations, desc="ALM", unit="it") as bar:

        def advance(record: IterationRecord) -> bool | None:
            bar.set_postfix(objective=f"{record.objective:.4g}", refresh=False)
            bar.update()
            return callback(record) if callback is not None else None

        yield advance
