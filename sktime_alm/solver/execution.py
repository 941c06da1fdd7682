"""How a fit runs in its process: one BLAS thread, a limit in seconds, interrupts at safe places.

A signal that arrives inside compiled code would surface as a SystemError, anywhere. So while a fit
runs in the main thread an interrupt (Ctrl-C) is only noted, and raised where nothing is half
done: by :func:`check_interrupt`, which the evaluations of the objective and the sweeps call. A
second one is raised at once.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


class _Current(threading.local):
    """What the fit in this thread has been told."""

    deadline: float = float("inf")
    is_interrupted: bool = False
    may_raise: bool = False


_current = _Current()


@contextmanager
def limited(max_seconds: float | None = None) -> Iterator[None]:
    """One BLAS thread, interrupts noted, and :func:`time_is_up` true after so many seconds.

    Raises
    ------
    KeyboardInterrupt
        At the end, if an interrupt was noted that nothing has taken.
    """
    # a fit within a fit may end earlier than that, and no later
    before = _current.deadline
    if max_seconds is not None:
        _current.deadline = min(before, time.perf_counter() + max_seconds)
    try:
        with one_blas_thread, _noted_interrupts():
            yield
    finally:
        _current.deadline = before


def time_is_up() -> bool:
    """Whether the fit in this thread should end with its best network so far."""
    return time.perf_counter() >= _current.deadline


def take_interrupt() -> bool:
    """Whether an interrupt has been noted; it then counts as dealt with."""
    is_interrupted, _current.is_interrupted = _current.is_interrupted, False
    return is_interrupted


def check_interrupt() -> None:
    """Raise KeyboardInterrupt if one was noted, and there is a network to keep."""
    if _current.may_raise and take_interrupt():
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """Where :func:`check_interrupt` raises: in the driver, which keeps the best network."""
    before, _current.may_raise = _current.may_raise, True
    try:
        yield
    finally:
        _current.may_raise = before


@contextmanager
def _noted_interrupts() -> Iterator[None]:
    """Note interrupts instead of raising them, where Python's own handler is in place."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # another thread's, a fit within a fit, or a handler of the user's
        return

    def note(number: int, frame: Any) -> None:
        _current.is_interrupted = True
        # a second Ctrl-C is not waited for
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if take_interrupt():
        raise KeyboardInterrupt


class _OneBLASThread:
    """Holds BLAS to one thread while any fit runs.

    A second BLAS thread makes products of this size slower, many times so on a busy machine, and
    rounds them differently. The number of threads is the process's: of fits that overlap in
    threads the first one limits it, and the last one restores it.
    """

    def __init__(self) -> None:
        self._lock, self._n_fits = threading.Lock(), 0
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._n_fits == 0:
                with _any_thread_may_limit():
                    self._limit = _blas().limit(limits=1, user_api="blas")
            self._n_fits += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            # the last one out, whichever came in first
            self._n_fits -= 1
            if self._n_fits == 0:
                with _any_thread_may_limit():
                    self._limit.restore_original_limits()


one_blas_thread = _OneBLASThread()


@cache
def _blas() -> ThreadpoolController:
    """The BLAS libraries in use; finding them takes milliseconds, limiting them does not."""
    return ThreadpoolController()


@contextmanager
def _any_thread_may_limit() -> Iterator[None]:
    """From its version 3.7 on threadpoolctl ignores, silently, all threads but the first."""
    releases = [
        getattr(library, "clear_controlling_thread", None) for library in _blas().lib_controllers
    ]
    for release in filter(None, releases):
        release(force=True)
    try:
        yield
    finally:
        for release in filter(None, releases):
            release(force=True)
