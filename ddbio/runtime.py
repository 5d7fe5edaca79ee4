"""What ddbio's code runs on: an event loop of its own processes (uvloop, where it exists), and threads."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on a new event loop, and close the loop."""
    try:
        import uvloop  # noqa: PLC0415 - does not exist on every platform
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


@contextmanager
def threads(count: int) -> Iterator[Executor]:
    """At most `count` threads for calls that block; leaving does not wait for a call that was given up."""
    executor = ThreadPoolExecutor(count, thread_name_prefix="ddbio")
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
