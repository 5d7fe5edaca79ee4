"""The batcher: which records go out together. Pure state, no I/O.

A key is in flight from the moment its record is taken in until the service has it. A later record with the same key is
held back until then, so that the last line of a span wins and no request names a key twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ddbio.codec import Entry, weigh

MAX_ITEMS = 25
MAX_BYTES = 16 * 1024 * 1024 - 64 * 1024
"""BatchWriteItem takes 25 requests and 16 MB (API Reference); the margin is for the request's own frame."""


class Batcher:
    """Collects entries into batches of at most `MAX_ITEMS` and `MAX_BYTES`, no key twice among all that are out."""

    def __init__(self) -> None:
        self._ready: list[Entry] = []
        self._flying: dict[bytes, Entry] = {}
        self._held: dict[bytes, deque[Entry]] = {}
        self.held_bytes = 0
        self._out = 0

    @property
    def empty(self) -> bool:
        """Nothing waits, nothing is out."""
        return not self._ready and not self._out and not self._held

    def add(self, entries: Iterable[Entry]) -> None:
        """Take records in."""
        flying, ready = self._flying, self._ready
        for entry in entries:
            if flying.setdefault(entry.key, entry) is entry:
                ready.append(entry)
            else:
                self._held.setdefault(entry.key, deque()).append(entry)
                self.held_bytes += len(entry.request)

    def take(self, *, flush: bool) -> list[Entry]:
        """The next batch if a full one is ready, or with `flush` any; else an empty list."""
        batch = self._ready[:MAX_ITEMS]
        size, _ = weigh(batch)
        if not flush and len(batch) < MAX_ITEMS and size < MAX_BYTES:
            return []
        while size > MAX_BYTES and len(batch) > 1:
            size -= len(batch.pop().request)
        del self._ready[: len(batch)]
        self._out += len(batch)
        return batch

    def finish(self, entries: Iterable[Entry]) -> None:
        """These records of a batch are settled; the next one held back for each key may go."""
        flying, held = self._flying, self._held
        for entry in entries:
            self._out -= 1
            del flying[entry.key]
            if held and entry.key in held:
                self._release(entry.key)

    def put_back(self, entries: list[Entry]) -> None:
        """These records of a batch were not processed: they go out again, first of all."""
        self._out -= len(entries)
        self._ready[:0] = entries

    def _release(self, key: bytes) -> None:
        held = self._held[key]
        entry = held.popleft()
        if not held:
            del self._held[key]
        self.held_bytes -= len(entry.request)
        self.add([entry])
