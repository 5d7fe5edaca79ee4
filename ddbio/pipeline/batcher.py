"""The batcher: which records go out together. Pure state, no I/O.

A key is in flight from the moment its record is taken in until the service has it. A later record with the same key is
held back until then, so that the last line of a span wins and no request names a key twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ddbio.codec.framing import Record
from ddbio.codec.model import Put

MAX_ITEMS = 25
MAX_BYTES = 16 * 1024 * 1024 - 64 * 1024
"""BatchWriteItem takes 25 requests and 16 MB (API Reference); the margin is for the request's own frame."""


class Entry:
    """One record on its way into the table."""

    __slots__ = ("done", "key", "record", "request", "returned", "size", "written")

    def __init__(self, record: Record, put: Put) -> None:
        self.record = record
        self.request, self.key, self.size = put
        self.done = False
        self.written = False
        self.returned = 0


class Batcher:
    """Collects entries into batches of at most `MAX_ITEMS` and `MAX_BYTES`, no key twice among all that are out."""

    def __init__(self) -> None:
        self._ready: deque[Entry] = deque()
        self._ready_bytes = 0
        self._held: dict[bytes, deque[Entry]] = {}
        self.held_bytes = 0
        self._out = 0

    @property
    def empty(self) -> bool:
        """Nothing waits, nothing is out."""
        return not self._ready and not self._out and not self.held_bytes

    def add(self, entry: Entry) -> None:
        """Take a record in."""
        held = self._held.get(entry.key)
        if held is None:
            self._held[entry.key] = deque()
            self._enqueue(entry)
        else:
            held.append(entry)
            self.held_bytes += len(entry.request)

    def take(self, *, flush: bool) -> list[Entry]:
        """The next batch if a full one is ready, or with `flush` any; else an empty list."""
        if not flush and len(self._ready) < MAX_ITEMS and self._ready_bytes < MAX_BYTES:
            return []
        batch: list[Entry] = []
        size = 0
        while self._ready and len(batch) < MAX_ITEMS:
            size += len(self._ready[0].request)
            if batch and size > MAX_BYTES:
                break
            entry = self._ready.popleft()
            self._ready_bytes -= len(entry.request)
            batch.append(entry)
        self._out += len(batch)
        return batch

    def finish(self, entries: Iterable[Entry]) -> None:
        """These records of a batch are settled; the next one held back for each key may go."""
        for entry in entries:
            self._out -= 1
            held = self._held[entry.key]
            if held:
                successor = held.popleft()
                self.held_bytes -= len(successor.request)
                self._enqueue(successor)
            else:
                del self._held[entry.key]

    def put_back(self, entries: list[Entry]) -> None:
        """These records of a batch were not processed: they go out again, first of all."""
        self._out -= len(entries)
        self._ready.extendleft(reversed(entries))
        self._ready_bytes += sum(len(entry.request) for entry in entries)

    def _enqueue(self, entry: Entry) -> None:
        self._ready.append(entry)
        self._ready_bytes += len(entry.request)
