"""Steps that must not be torn in the middle by a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


async def undisturbed(step: Awaitable[T]) -> T:
    """Await `step` to its end, whoever cancels meanwhile; a cancellation is raised after that."""
    future = asyncio.ensure_future(step)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return future.result()


class Steps:
    """Runs the steps of one file: each goes on to its end when its caller is cancelled, and `settle` waits for it.

    A thread can't be interrupted, and a request that creates something must be heard out to know what to remove.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Future[Any]] = set()

    async def run(self, step: Awaitable[T]) -> T:
        """Await `step`; a cancellation frees the caller at once and leaves the step running."""
        future = asyncio.ensure_future(step)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return await asyncio.shield(future)

    async def settle(self) -> None:
        """Wait for the steps that cancelled callers left running; their outcome has nobody to go to."""
        if self._running:
            await asyncio.wait(self._running)

    async def abandon(self) -> None:
        """Cancel them instead, and wait for that; not for steps in a thread, which go on."""
        for step in self._running:
            step.cancel()
        await self.settle()
