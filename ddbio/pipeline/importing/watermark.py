"""The watermark of a span: the position up to which all records are settled, and the rejects below it."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from ddbio.codec import EncodedRecord, count_settled
from ddbio.ledger.entries import Reject

_RECORD_BYTES = 512
"""Memory of a record besides its bytes, which are held twice: as read and as encoded."""
_offset = attrgetter("offset")


class Settled(NamedTuple):
    """What lies between the last watermark and this one."""

    position: int
    read: int
    written: int
    rejects: tuple[Reject, ...]


class Watermark:
    """Tracks records in the order of the file; each is open, written, or rejected."""

    def __init__(self, start: int) -> None:
        self._position = self._end = start
        self._open: list[EncodedRecord] = []
        self._rejects: list[Reject] = []
        self._passed: list[Reject] = []
        self._written = 0

    @property
    def held_bytes(self) -> int:
        """Approximate memory of the records above the watermark."""
        return _RECORD_BYTES * len(self._open) + 2 * (self._end - self._position)

    def opened(self, entries: Sequence[EncodedRecord]) -> None:
        """Add records that will be sent; they come after all that were opened before."""
        if entries:
            self._open.extend(entries)
            self._end = max(self._end, _end(entries[-1]))

    def rejected(self, reject: Reject) -> None:
        """Add a record that can't be sent, or that the service has rejected."""
        insort(self._rejects, reject, key=_offset)
        self._end = max(self._end, _end(reject))

    def move(self) -> None:
        """Advance to the first record that is still open. Frequent calls release memory early."""
        waiting = self._open
        passed, written = count_settled(waiting)
        if passed:
            self._written += written
            self._position = max(self._position, _end(waiting[passed - 1]))
            del waiting[:passed]
        if self._rejects:
            self._pass_rejects(waiting[0].offset if waiting else math.inf)

    def advance(self) -> Settled:
        """Advance, and return what was passed since the last call."""
        self.move()
        written, rejects = self._written, tuple(self._passed)
        self._written = 0
        self._passed.clear()
        return Settled(self._position, written + len(rejects), written, rejects)

    def _pass_rejects(self, limit: float) -> None:
        count = bisect_left(self._rejects, limit, key=_offset)
        if count:
            self._position = max(self._position, _end(self._rejects[count - 1]))
            self._passed += self._rejects[:count]
            del self._rejects[:count]


def _end(record: EncodedRecord | Reject) -> int:
    return record.offset + record.length
