"""Time, as something that can be handed in: the event loop's clock, or a test's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """What `Clock.call_at` returns."""

    def cancel(self) -> None:
        """Forget the callback, if it has not run yet."""


class Clock(Protocol):
    """A monotonic clock, in seconds, that can call back."""

    def now(self) -> float:
        """The present instant, in seconds since an arbitrary start."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once, at the instant `when` or as soon as possible after it."""


class LoopClock:
    """The clock of the running event loop."""

    def now(self) -> float:
        """The loop's time, in seconds."""
        return asyncio.get_running_loop().time()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Schedule `callback` on the running loop."""
        # uvloop rounds to the nearest millisecond; half of one on top makes sure that nobody is woken too early.
        return asyncio.get_running_loop().call_at(when + 0.0005, callback)


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait `seconds` as `clock` counts them; cancelling leaves no timer behind."""
    done = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    timer = clock.call_at(clock.now() + seconds, wake)
    try:
        await done
    finally:
        timer.cancel()
