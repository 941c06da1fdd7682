"""Where the parts of a panel are worked on: threads of this process, or Dask workers.

An engine runs a function over parts and brings back what it returns, or loads blocks that stay
where they are. The blocks are as many as there are threads or workers, so that an evaluation is
one task each.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol

import numpy as np

from sktime_alm.solver.execution import one_blas_thread
from sktime_alm.solver.multistart import n_threads
from sktime_alm.solver.spread import Block, Blocks, Lost

# how often a task is tried again whose worker was lost
_RETRIES = 5
# By these numbers mallopt of the GNU C library knows how large an array must be for memory of its
# own, and how much unused memory is given back; and what they become.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1
_OF_ITS_OWN, _UNUSED = 2**25, 2**26


class Engine(Protocol):
    """Works on parts, each the arguments of a function."""

    def run(self, function: Callable[..., Any], parts: Sequence[Any]) -> list[Any]:
        """``function(*part)`` of every part, in their order."""

    def load(self, function: Callable[..., Block], parts: Sequence[Any]) -> Blocks:
        """The blocks that the function makes of parts."""


@contextmanager
def engine_of(backend: str, params: Mapping[str, Any] | None) -> Iterator[Engine]:
    """The engine of sktime's config ``backend:parallel`` and ``backend:parallel:params``.

    Parameters
    ----------
    backend : {"threading", "dask"}
    params : dict, optional
        "n_jobs" of threads, -1 for all cores; for Dask "scheduler", of which "distributed" alone
        has workers: those of this process's ``distributed.Client``. Without a client there is a
        cluster on this machine for as long as it takes.

    Raises
    ------
    ValueError
        If they are none.
    ImportError
        If Dask's distributed is not installed.
    """
    found = dict(params or {})
    known = {"threading": "n_jobs", "dask": "scheduler"}
    if backend not in known:
        raise ValueError(
            "the config backend:parallel must be None, 'threading' or 'dask' for pretrain, "
            f"found {backend!r}"
        )
    # other parameters of joblib or Dask would silently do nothing here
    value = found.pop(known[backend], None)
    if found:
        raise ValueError(
            f"the config backend:parallel:params of {backend!r} must hold {known[backend]!r} "
            f"alone, found {sorted(found)} besides"
        )
    if backend == "threading":
        yield Threads(n_threads(-1 if value is None else value))
        return
    if value not in (None, "distributed"):
        raise ValueError(
            "the config backend:parallel:params must have the scheduler 'distributed', found "
            f"{value!r}; make the client of a cluster before, distributed.Client(address)"
        )
    with _client() as client:
        yield Dask(client)


@contextmanager
def _client() -> Iterator[Any]:
    """The client of this process, or one of a cluster of its own."""
    try:
        from distributed import Client, get_client
    except ImportError as error:
        raise ImportError(
            "the backend 'dask' needs distributed: pip install 'dask[distributed]'"
        ) from error
    try:
        known = get_client()
    except ValueError:
        known = None
    if known is not None:
        yield known
        return
    # one thread a worker: the compiled loops keep a core busy each
    with Client(threads_per_worker=1, dashboard_address=":0", set_as_default=False) as client:
        yield client


class Threads:
    """Threads of this process; the compiled loops and BLAS release the interpreter's lock."""

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers

    def run(self, function: Callable[..., Any], parts: Sequence[Any]) -> list[Any]:
        """Of every part, in their order."""
        with one_blas_thread, ThreadPoolExecutor(self.n_workers) as pool:
            return [future.result() for future in [pool.submit(function, *part) for part in parts]]

    def load(self, function: Callable[..., Block], parts: Sequence[Any]) -> Blocks:
        """One block a thread."""
        pieces = self.run(function, parts)
        return _ThreadBlocks([_joined(*some) for some in _shared(pieces, self.n_workers)])


class _ThreadBlocks:
    """A thread for each block."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks, self._pool = blocks, ThreadPoolExecutor(len(blocks))

    def map(
        self, function: Callable[..., Any], *arguments: Any, kept: Sequence[Any] = ()
    ) -> list[Any]:
        """Of every block, in their order."""
        tasks = (
            self._pool.submit(function, *of_block, *arguments)
            for of_block in zip(self._blocks, *kept, strict=True)
        )
        return [task.result() for task in list(tasks)]

    # what stays with the blocks is in this process
    keep = map

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()
        self._blocks = []


class Dask:
    """The workers of a Dask cluster.

    A block that is lost with its worker is made again, from the part, on another.
    """

    def __init__(self, client: Any) -> None:
        self.client = client

    def run(self, function: Callable[..., Any], parts: Sequence[Any]) -> list[Any]:
        """Of every part, in their order."""
        return list(self.client.gather(self.client.compute(_tasks(function, parts))))

    def load(self, function: Callable[..., Block], parts: Sequence[Any]) -> Blocks:
        """One block a worker."""
        from dask import delayed
        from distributed.client import futures_of

        # those of a cluster may still be on their way
        self.client.wait_for_workers(1)
        # by default this lists five
        n_workers = len(self.client.scheduler_info(n_workers=-1)["workers"])
        blocks = []
        for share in _shared(parts, n_workers):
            if futures_of(share):
                # frames that the cluster holds already are not read but passed on
                block = delayed(_joined, pure=False)(*_tasks(function, share))
            else:
                block = delayed(_read, pure=False)(_Unread(function, share))
            # Dask gives each worker one. Were they told whom, blocks would wait for ever for
            # workers that all died at once and came back under other addresses
            blocks.append(self.client.compute(block, retries=_RETRIES))
        return _DaskBlocks(self.client, blocks)


class _Unread:
    """Parts that Dask is not to look into: they are read where and when they are needed."""

    def __init__(self, function: Callable[..., Block], parts: Sequence[Any]) -> None:
        self.function, self.parts = function, parts


def _read(unread: _Unread) -> Block:
    """One part after another: few are in memory at a time, and none is moved between workers."""
    import dask

    frames = partial(dask.compute, scheduler="synchronous", traverse=False)
    return _joined(*(unread.function(*frames(*part)) for part in unread.parts))


class _DaskBlocks:
    """Futures of blocks, which stay with the workers."""

    def __init__(self, client: Any, blocks: Sequence[Any]) -> None:
        self._client, self._blocks = client, list(blocks)

    def map(
        self, function: Callable[..., Any], *arguments: Any, kept: Sequence[Any] = ()
    ) -> list[Any]:
        """One task a block."""
        with self._reaching():
            return list(self._client.gather(self._submitted(function, arguments, kept)))

    def keep(
        self, function: Callable[..., Any], *arguments: Any, kept: Sequence[Any] = ()
    ) -> list[Any]:
        """The same, as futures; where one fails is seen when it is asked for."""
        with self._reaching():
            return self._submitted(function, arguments, kept)

    def _submitted(
        self, function: Callable[..., Any], arguments: Sequence[Any], kept: Sequence[Any]
    ) -> list[Any]:
        # all at once: while a worker has no task yet it steals that of another, block and all
        each = ([argument] * len(self._blocks) for argument in arguments)
        every = self._blocks, *kept, *each
        found: list[Any] = self._client.map(function, *every, pure=False, retries=_RETRIES)
        return found

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Tell workers that are gone from a function that fails."""
        try:
            yield
        except Exception as error:
            from distributed import KilledWorker
            from distributed.client import CancelledError

            is_running = self._client.status == "running"
            if is_running and not isinstance(error, (KilledWorker, CancelledError)):
                raise
            raise Lost(f"the workers cannot be reached: {error}") from error

    def close(self) -> None:
        """Let go of the blocks."""
        self._blocks = []


def _tasks(function: Callable[..., Any], parts: Sequence[Any]) -> list[Any]:
    """A task a part; frames among the arguments may be tasks themselves."""
    from dask import delayed

    task = delayed(function, pure=False)
    return [task(*part) for part in parts]


def _joined(*blocks: Block) -> Block:
    _keep_memory()
    return [sequence for block in blocks for sequence in block]


def _keep_memory() -> None:
    """Keep the memory of arrays that come and go in every pass, once a worker has read its block.

    Dask has its workers give unused memory back at once, by this variable. To take that of the
    arrays anew, page by page, would take as long as to work them out.
    """
    if "MALLOC_TRIM_THRESHOLD_" in os.environ:
        # another C library has other ways
        with suppress(AttributeError, OSError, TypeError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_MMAP_THRESHOLD, _OF_ITS_OWN)
            mallopt(_M_TRIM_THRESHOLD, _UNUSED)


def _shared(items: Sequence[Any], n_shares: int) -> list[list[Any]]:
    """Consecutive items in shares of about as many; none is empty."""
    shares = np.array_split(np.arange(len(items)), min(n_shares, len(items)))
    return [[items[k] for k in share] for share in shares]
