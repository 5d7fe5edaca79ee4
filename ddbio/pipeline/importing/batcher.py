"""The batcher: which records are sent together. Pure state, no I/O.

A key is in flight from the moment its record is added until that is settled. Later records with the same key are held
back until then, so that the last line of a span wins and no request contains a key twice. The owner of a record is the
number of its sender, which stands for a span.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import NamedTuple

from ddbio.codec import EncodedRecord, settle, take_off, weigh

MAX_ITEMS = 25
MAX_BYTES = 16 * 1024 * 1024 - 64 * 1024
"""The limits of BatchWriteItem are 25 requests and 16 MB (API Reference); the margin is for the rest of the body."""


class Batch(NamedTuple):
    """Records that are sent together, the bytes of their requests, and the write units of their items."""

    entries: list[EncodedRecord]
    size: int
    units: int

    @classmethod
    def of(cls, entries: list[EncodedRecord]) -> Batch:
        return cls(entries, *weigh(entries))

    def halves(self) -> list[Batch]:
        """Its records in two batches, the second half first."""
        middle = len(self.entries) // 2
        return [Batch.of(self.entries[middle:]), Batch.of(self.entries[:middle])]


class Batcher:
    """Collects records into batches of at most `MAX_ITEMS` and `MAX_BYTES`; no key is in two batches at the same time.

    An owner has batches of its own until its `end`; its leftovers then share batches with those of other owners.
    """

    def __init__(self) -> None:
        self._ready: dict[int, list[EncodedRecord]] = {}
        self._left: list[EncodedRecord] = []
        self._flying: dict[bytes, EncodedRecord] = {}
        self._held: dict[bytes, deque[EncodedRecord]] = {}
        self._open: Counter[int] = Counter()
        self._waiting_bytes: Counter[int] = Counter()

    @property
    def left(self) -> int:
        """The number of leftovers that can be sent now."""
        return len(self._left)

    def open(self, owner: int) -> int:
        """The number of records of this owner that are not settled."""
        return self._open[owner]

    def waiting_bytes(self, owner: int) -> int:
        """Bytes of this owner's records that rest, or wait for an earlier record with the same key."""
        return self._waiting_bytes[owner]

    def add(self, entries: list[EncodedRecord], owner: int) -> None:
        self._ready.setdefault(owner, [])
        self._open[owner] += len(entries)
        self._take_off(entries, owner)

    def end(self, owner: int) -> None:
        """Declare that this owner adds nothing more."""
        self._left += self._ready.pop(owner, [])

    def take(self, owner: int | None, *, flush: bool, most_units: float = math.inf) -> Batch | None:
        """The next batch of this owner (None: of leftovers) that has reached a limit, or with `flush` any.

        A batch of several items costs at most `most_units`.
        """
        ready = self._left if owner is None else self._ready.get(owner, [])
        batch = Batch.of(ready[:MAX_ITEMS])
        full = len(batch.entries) == MAX_ITEMS or batch.size >= MAX_BYTES or batch.units >= most_units
        if not batch.entries or not (flush or full):
            return None
        while (batch.size > MAX_BYTES or batch.units > most_units) and len(batch.entries) > 1:
            batch = Batch.of(batch.entries[:-1])
        del ready[: len(batch.entries)]
        return batch

    def finish(self, entries: list[EncodedRecord], *, written: bool) -> tuple[dict[int, int], list[EncodedRecord]]:
        """Settle these records. Returns their number by owner, and the records that they no longer hold back."""
        awaited, owners = settle(entries, written, self._flying, self._held)
        for owner, count in owners.items():
            _take_from(self._open, owner, count)
        return owners, [self._release(key) for key in awaited]

    def rest(self, entries: list[EncodedRecord]) -> None:
        """Keep these unprocessed records back until they `go_on`."""
        for entry in entries:
            self._waiting_bytes[entry.owner] += len(entry.request)

    def go_on(self, entries: list[EncodedRecord]) -> None:
        for entry in entries:
            _take_from(self._waiting_bytes, entry.owner, len(entry.request))
        self.put_back(entries)

    def put_back(self, entries: list[EncodedRecord]) -> None:
        """Return the records of a batch, to be sent before all others."""
        for entry in reversed(entries):
            self._ready.get(entry.owner, self._left).insert(0, entry)

    def _take_off(self, entries: list[EncodedRecord], owner: int) -> None:
        ready, held = take_off(entries, self._flying, owner)
        self._ready.get(owner, self._left).extend(ready)
        for entry in held:
            self._held.setdefault(entry.key, deque()).append(entry)
            self._waiting_bytes[owner] += len(entry.request)

    def _release(self, key: bytes) -> EncodedRecord:
        held = self._held[key]
        entry = held.popleft()
        if not held:
            del self._held[key]
        _take_from(self._waiting_bytes, entry.owner, len(entry.request))
        self._take_off([entry], entry.owner)
        return entry


def _take_from(counter: Counter[int], owner: int, count: int) -> None:
    counter[owner] -= count
    if not counter[owner]:
        del counter[owner]  # owners come and go
