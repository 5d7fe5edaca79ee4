"""The batcher: which records go out together. Pure state, no I/O.

A key is in flight from the moment its record is taken in until the service has it. A later record with the same key is
held back until then, so that the last line of a span wins and no request names a key twice.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from ddbio.codec import Entry, settle, take_off, weigh

MAX_ITEMS = 25
MAX_BYTES = 16 * 1024 * 1024 - 64 * 1024
"""BatchWriteItem takes 25 requests and 16 MB (API Reference); the margin is for the request's own frame."""


class Batch(NamedTuple):
    """Entries that go out together, the bytes of their requests, and the write units of their items."""

    entries: list[Entry]
    size: int
    units: int

    @classmethod
    def of(cls, entries: list[Entry]) -> Batch:
        """These entries, weighed."""
        return cls(entries, *weigh(entries))

    def halves(self) -> list[Batch]:
        """Its entries in two batches, the second half first."""
        middle = len(self.entries) // 2
        return [Batch.of(self.entries[middle:]), Batch.of(self.entries[:middle])]


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

    def add(self, entries: list[Entry]) -> None:
        """Take records in."""
        ready, held = take_off(entries, self._flying)
        self._ready += ready
        for entry in held:
            self._held.setdefault(entry.key, deque()).append(entry)
            self.held_bytes += len(entry.request)

    def take(self, *, flush: bool, most_units: float = math.inf) -> Batch | None:
        """The next batch if a full one is ready, or with `flush` any; else None. It has one item, or `most_units`."""
        batch = Batch.of(self._ready[:MAX_ITEMS])
        full = len(batch.entries) == MAX_ITEMS or batch.size >= MAX_BYTES or batch.units >= most_units
        if not batch.entries or not (flush or full):
            return None
        while (batch.size > MAX_BYTES or batch.units > most_units) and len(batch.entries) > 1:
            batch = Batch.of(batch.entries[:-1])
        del self._ready[: len(batch.entries)]
        self._out += len(batch.entries)
        return batch

    def finish(self, entries: list[Entry], *, written: bool) -> None:
        """These records of a batch are settled; the next one held back for each key may go."""
        self._out -= len(entries)
        for key in settle(entries, written, self._flying, self._held):
            self._release(key)

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
