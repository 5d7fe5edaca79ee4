"""Room for large replies: a limit in bytes for those that all connections of a process receive concurrently."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

MAX_BODY = 128 * 1024 * 1024
"""Larger than any page: 1 MB of items and the item that crosses its end, which JSON makes at most 45 times as long."""
LARGE_BODY = 8 * 1024 * 1024
"""Bodies up to this size need no room; hardly any page is larger."""
ROOM_BYTES = 2 * MAX_BODY
"""Limit of the large bodies that are being received."""


class Claim:
    """Room that a reply waits for or occupies."""

    def __init__(self, size: int, go: Callable[[], None]) -> None:
        self.size = size
        self.go = go
        self.granted = False


class Room:
    """Grants claims in the order in which they were made."""

    def __init__(self, size: int = ROOM_BYTES) -> None:
        self._size = self._free = size
        self._waiting: deque[Claim] = deque()

    def claim(self, size: int, go: Callable[[], None]) -> Claim:
        """Claim room; `go` is called when it is granted, perhaps immediately."""
        claim = Claim(min(size, self._size), go)
        self._waiting.append(claim)
        self._serve()
        return claim

    def leave(self, claim: Claim) -> None:
        """Return the room, or withdraw the claim."""
        if claim.granted:
            self._free += claim.size
        else:
            self._waiting.remove(claim)
        self._serve()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
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
