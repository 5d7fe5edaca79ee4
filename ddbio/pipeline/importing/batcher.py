"""The batcher: which records go out together. Pure state, no I/O.

A key is in flight from the moment its record is taken in until the service has it. A later record with the same key is
held back until then, so that the last line of a span wins and no request names a key twice. Each record has an owner,
told by a number: the span that it is of.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import NamedTuple

from ddbio.codec import EncodedRecord, settle, take_off, weigh

MAX_ITEMS = 25
MAX_BYTES = 16 * 1024 * 1024 - 64 * 1024
"""BatchWriteItem takes 25 requests and 16 MB (API Reference); the margin is for the request's own frame."""


class Batch(NamedTuple):
    """Entries that go out together, the bytes of their requests, and the write units of their items."""

    entries: list[EncodedRecord]
    size: int
    units: int

    @classmethod
    def of(cls, entries: list[EncodedRecord]) -> Batch:
        """These entries, weighed."""
        return cls(entries, *weigh(entries))

    def halves(self) -> list[Batch]:
        """Its entries in two batches, the second half first."""
        middle = len(self.entries) // 2
        return [Batch.of(self.entries[middle:]), Batch.of(self.entries[:middle])]


class Batcher:
    """Collects entries into batches of at most `MAX_ITEMS` and `MAX_BYTES`, no key twice among all that are out.

    The batches of an owner are its own, until it has `ended`; what is left then fills batches with that of others.
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
        """How many records of owners that have ended could go out now."""
        return len(self._left)

    def open(self, owner: int) -> int:
        """How many records of this owner are not settled."""
        return self._open[owner]

    def waiting_bytes(self, owner: int) -> int:
        """Bytes of this owner's records that wait for an earlier one with the same key, or rest."""
        return self._waiting_bytes[owner]

    def add(self, entries: list[EncodedRecord], owner: int) -> None:
        """Take records in."""
        self._ready.setdefault(owner, [])
        self._open[owner] += len(entries)
        self._take_off(entries, owner)

    def end(self, owner: int) -> None:
        """This owner brings nothing more."""
        self._left += self._ready.pop(owner, [])

    def take(self, owner: int | None, *, flush: bool, most_units: float = math.inf) -> Batch | None:
        """The next batch if a full one is ready, or with `flush` any; else None. It has one item, or `most_units`.

        `owner` None: of those that have ended.
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
        """These records of a batch are settled. Returns how many each owner has of them, and those that were held back
        for their keys and are ready now.
        """
        awaited, owners = settle(entries, written, self._flying, self._held)
        for owner, count in owners.items():
            _take_from(self._open, owner, count)
        return owners, [self._release(key) for key in awaited]

    def rest(self, entries: list[EncodedRecord]) -> None:
        """These records of a batch were not processed; they wait until they `go_on`."""
        for entry in entries:
            self._waiting_bytes[entry.owner] += len(entry.request)

    def go_on(self, entries: list[EncodedRecord]) -> None:
        """These records have rested."""
        for entry in entries:
            _take_from(self._waiting_bytes, entry.owner, len(entry.request))
        self.put_back(entries)

    def put_back(self, entries: list[EncodedRecord]) -> None:
        """These records of a batch go out again, first of all."""
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
