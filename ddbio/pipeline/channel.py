"""Limits in bytes: a budget that coroutines share, and a channel between two of them that is built on it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class ByteBudget:
    """At most `limit` bytes are taken at a time, or one larger piece alone. First come, first served."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._waiters: deque[tuple[asyncio.Future[None], int]] = deque()

    async def take(self, size: int) -> None:
        if not self._waiters and self._fits(size):
            self._used += size
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((waiter, size))
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                self.give(size)
            self._serve()
            raise

    def give(self, size: int) -> None:
        self._used -= size
        self._serve()

    def _fits(self, size: int) -> bool:
        return self._used == 0 or self._used + size <= self._limit

    def _serve(self) -> None:
        while self._waiters:
            waiter, size = self._waiters[0]
            if not waiter.cancelled():
                if not self._fits(size):
                    return
                self._used += size
                waiter.set_result(None)
            self._waiters.popleft()


class Channel(Generic[T]):
    """A queue from one coroutine to another that holds at most `limit` bytes (or one larger piece)."""

    def __init__(self, limit: int) -> None:
        self._budget = ByteBudget(limit)
        self._items: asyncio.Queue[tuple[T, int] | None] = asyncio.Queue()

    async def put(self, item: T, size: int) -> None:
        await self._budget.take(size)
        self._items.put_nowait((item, size))

    def close(self) -> None:
        """Declare that nothing more will be put."""
        self._items.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[T]:
        """The pieces in order, until the channel is closed. A piece counts until the next one is requested."""
        while (entry := await self._items.get()) is not None:
            item, size = entry
            yield item
            self._budget.give(size)
