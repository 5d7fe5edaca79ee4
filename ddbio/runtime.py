"""The event loop of ddbio's own processes (uvloop if available), and threads."""

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
"""Maximum amount of freed memory that a process keeps for reuse, since pages of a megabyte come one after another."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 * 1024 * 1024
"""The maximum that mallopt accepts."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on a new event loop. Only for ddbio's own processes, whose garbage collector and malloc it tunes."""
    # Exempt everything loaded so far from collection, and collect rarely: the hot path creates no cycles.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    if sys.platform == "linux":
        _tune_malloc()
    try:
        import uvloop  # noqa: PLC0415 - does not exist on every platform
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def _tune_malloc() -> None:
    """Let glibc keep freed memory: getting it anew from the system for each page costs as much as filling it."""
    import ctypes  # noqa: PLC0415

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # another libc may lack it
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


@contextmanager
def threads(count: int = 4) -> Iterator[Executor]:
    """Provide threads for files, compression and checksums, which release the GIL.

    Leaving the context does not wait for abandoned calls.
    """
    executor = ThreadPoolExecutor(count, thread_name_prefix="ddbio")
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
