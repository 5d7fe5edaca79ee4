"""Steps that a cancellation must not interrupt."""

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
    """Runs the steps of one file: each continues when its caller is cancelled, and `settle` waits for its end."""

    def __init__(self) -> None:
        self._running: set[asyncio.Future[Any]] = set()

    async def run(self, step: Awaitable[T]) -> T:
        future = asyncio.ensure_future(step)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return await asyncio.shield(future)

    async def settle(self) -> None:
        """Wait for the steps that cancelled callers left running; their results and errors are dropped."""
        if self._running:
            await asyncio.wait(self._running)

    async def abandon(self) -> None:
        """Cancel the steps instead. Those in a thread go on."""
        for step in self._running:
            step.cancel()
        await self.settle()
