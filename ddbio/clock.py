"""Clocks that can be injected: that of the event loop, or one of a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """What `Clock.call_at` returns."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """A monotonic clock, in seconds, that can schedule callbacks."""

    def now(self) -> float:
        """Return the current time, in seconds since an arbitrary start."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once at the time `when`, or as soon as possible after it."""


class LoopClock:
    """The clock of the running event loop."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        # uvloop rounds to the nearest millisecond; adding half of one prevents a callback from running too early.
        return asyncio.get_running_loop().call_at(when + 0.0005, callback)


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait for `seconds` on `clock`; cancelling removes the timer."""
    done = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    timer = clock.call_at(clock.now() + seconds, wake)
    try:
        await done
    finally:
        timer.cancel()
