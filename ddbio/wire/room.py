"""Room for large replies: what a server sends at once, on all connections of a process, is bounded in bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

MAX_BODY = 128 * 1024 * 1024
"""More than any page holds: 1 MB of items, and the item that crosses its end, are at most 45 times as long as JSON."""
LARGE_BODY = 8 * 1024 * 1024
"""A shorter body needs no room: hardly any page is longer."""
ROOM_BYTES = 2 * MAX_BODY
"""Most bytes of large bodies that are on their way at once."""


class Claim:
    """Room that a reply waits for, or has."""

    def __init__(self, size: int, go: Callable[[], None]) -> None:
        self.size = size
        self.go = go
        self.granted = False


class Room:
    """Grants claims in the order in which they are made; `go` is called once there is room."""

    def __init__(self, size: int = ROOM_BYTES) -> None:
        self._size = self._free = size
        self._waiting: deque[Claim] = deque()

    def claim(self, size: int, go: Callable[[], None]) -> Claim:
        """Ask for room, which `leave` gives back; `go` may be called at once."""
        claim = Claim(min(size, self._size), go)
        self._waiting.append(claim)
        self._serve()
        return claim

    def leave(self, claim: Claim) -> None:
        """Give the room back, or ask for it no more."""
        if claim.granted:
            self._free += claim.size
        else:
            self._waiting.remove(claim)
        self._serve()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Have room inside the block."""
        there = asyncio.Event()
        claim = self.claim(size, there.set)
        try:
            await there.wait()
            yield
        finally:
            self.leave(claim)

    def _serve(self) -> None:
        while self._waiting and self._waiting[0].size <= self._free:
            claim = self._waiting.popleft()
            self._free -= claim.size
            claim.granted = True
            claim.go()
