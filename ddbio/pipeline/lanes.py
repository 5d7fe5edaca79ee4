"""Lanes: how much a process has under way at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable

IN_FLIGHT_BYTES = 64 * 1024 * 1024
"""Most bytes of batches that are out at once in a process."""
RESTING = 4
"""For each lane so many requests wait to be repeated, at most: then new ones wait too."""


class Lanes:
    """How many requests, and how many bytes of them, may be under way at once; shared by all splits of a process.

    First come, first served, but those that have rested are next; a request larger than all the room goes alone.
    """

    def __init__(self, requests: int) -> None:
        self._limit = requests
        self._requests = self._resting = 0
        self._bytes = 0
        self._waiters: deque[tuple[asyncio.Future[None], int]] = deque()

    @property
    def limit(self) -> int:
        """Most requests under way; there may be more after it was lowered, until they are back."""
        return self._limit

    @limit.setter
    def limit(self, requests: int) -> None:
        self._limit = requests
        self._serve()

    async def take(self, size: int) -> None:
        """Wait for a lane, and for room where `size` is not 0."""
        if not self._waiters and self._fits(size):
            self._enter(size)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((waiter, size))
        await self._wait(waiter, size)

    def give(self, size: int) -> None:
        """The request is back."""
        self._requests -= 1
        self._bytes -= size
        self._serve()

    async def rest(self, pause: Awaitable[None]) -> None:
        """Leave the lane to others during a `pause`, and be the next to have one again; the room is kept.

        Whoever is cancelled here still has the lane to give back.
        """
        self._resting += 1
        self.give(0)
        try:
            try:
                await pause
            finally:
                self._resting -= 1
            await self._take_again()
        except BaseException:
            self._enter(0)
            raise

    async def _take_again(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.appendleft((waiter, 0))  # behind others it might wait for room that is its own
        self._serve()
        await self._wait(waiter, 0)

    async def _wait(self, waiter: asyncio.Future[None], size: int) -> None:
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._serve()
            else:  # let in and cancelled in the same turn of the loop
                self.give(size)
            raise

    def _fits(self, size: int) -> bool:
        return self._requests < self._limit and (size == 0 or self._has_room(size))

    def _has_room(self, size: int) -> bool:
        if self._resting >= RESTING * self._limit:
            return False
        return self._bytes == 0 or self._bytes + size <= IN_FLIGHT_BYTES

    def _enter(self, size: int) -> None:
        self._requests += 1
        self._bytes += size

    def _serve(self) -> None:
        while self._waiters:
            waiter, size = self._waiters[0]
            if not waiter.cancelled():
                if not self._fits(size):
                    return
                self._enter(size)
                waiter.set_result(None)
            self._waiters.popleft()
