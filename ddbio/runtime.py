"""What ddbio's code runs on: an event loop of its own processes (uvloop, where it exists), and threads."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Coroutine, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

KEPT_BYTES = 128 * 1024 * 1024
"""Freed memory that a process of ddbio's keeps at most: pages are a megabyte each, and come again at once."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 * 1024 * 1024
"""What mallopt takes at most."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on a new event loop, and close the loop. For processes that are ddbio's own: they are tuned for it."""
    _tune_collector()
    if sys.platform == "linux":
        _tune_malloc()
    try:
        import uvloop  # noqa: PLC0415 - does not exist on every platform
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def _tune_collector() -> None:
    """Leave what is loaded alone for good, and look for cycles seldom: the hot path makes none."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _tune_malloc() -> None:
    """Let glibc keep memory that is freed: to get each page's anew from the system costs as much as to fill it."""
    import ctypes  # noqa: PLC0415

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # another libc may lack it
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


@contextmanager
def threads(count: int) -> Iterator[Executor]:
    """At most `count` threads for calls that block; leaving does not wait for a call that was given up."""
    executor = ThreadPoolExecutor(count, thread_name_prefix="ddbio")
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
