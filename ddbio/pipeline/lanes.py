"""Lanes: the slots for concurrent requests of a process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable

from ddbio.pipeline.tuning import DEFAULT, Tuning


class Lanes:
    """Limits the requests in flight in a process, and their bytes. A larger request is sent alone.

    First come, first served, except that requests which have rested are next.
    """

    def __init__(self, requests: int, tuning: Tuning = DEFAULT) -> None:
        self._tuning = tuning
        self._limit = requests
        self._requests = self._resting = 0
        self._bytes = 0
        self._waiters: deque[tuple[asyncio.Future[None], int]] = deque()

    @property
    def limit(self) -> int:
        """The most requests in flight. After it was lowered there may be more, until they have returned."""
        return self._limit

    @limit.setter
    def limit(self, requests: int) -> None:
        self._limit = requests
        self._serve()

    async def take(self, size: int) -> None:
        if not self._waiters and self._fits(size):
            self._enter(size)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((waiter, size))
        await self._wait(waiter, size)

    def give(self, size: int) -> None:
        self._requests -= 1
        self._bytes -= size
        self._serve()

    async def rest(self, pause: Awaitable[None]) -> None:
        """Leave the lane, but not the room, during a `pause`; even if cancelled, the caller `give`s the lane back."""
        self._resting += 1
        self.give(0)
        try:
            try:
                await pause
            finally:
                self._resting -= 1
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.appendleft((waiter, 0))  # after others, it could wait for room that it holds itself
            self._serve()
            await self._wait(waiter, 0)
        except BaseException:
            self._enter(0)
            raise

    async def _wait(self, waiter: asyncio.Future[None], size: int) -> None:
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._serve()
            else:  # admitted and cancelled in the same iteration of the loop
                self.give(size)
            raise

    def _fits(self, size: int) -> bool:
        return self._requests < self._limit and (size == 0 or self._has_room(size))

    def _has_room(self, size: int) -> bool:
        if self._resting >= self._tuning.resting_per_lane * self._limit:
            return False
        return self._bytes == 0 or self._bytes + size <= self._tuning.in_flight_bytes

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
