"""The watermark of a span: up to where every record is settled, and the rejects below it."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from ddbio.codec import Entry
from ddbio.ledger.entries import Reject

_RECORD_BYTES = 512
"""What a record takes besides its bytes, which are there twice: as read and as encoded."""
_offset = attrgetter("offset")


class Settled(NamedTuple):
    """What lies between the last watermark and this one."""

    position: int
    read: int
    written: int
    rejects: tuple[Reject, ...]


class Watermark:
    """Records in the order of the file; each is open, written, or rejected."""

    def __init__(self, start: int) -> None:
        self._position = self._end = start
        self._open: deque[Entry] = deque()
        self._rejects: list[Reject] = []

    @property
    def held_bytes(self) -> int:
        """About the memory of the records that `advance` has not passed."""
        return _RECORD_BYTES * (len(self._open) + len(self._rejects)) + 2 * (self._end - self._position)

    def opened(self, entries: Sequence[Entry]) -> None:
        """Records were found that will be sent; they are behind all others that were opened."""
        if entries:
            self._open.extend(entries)
            self._end = max(self._end, _end(entries[-1]))

    def rejected(self, reject: Reject) -> None:
        """A record was found that can't be sent, or was sent and is none that the service takes."""
        insort(self._rejects, reject, key=_offset)
        self._end = max(self._end, _end(reject))

    def advance(self) -> Settled:
        """Move on to the first record that is still open; return what was passed."""
        waiting, written, passed = self._open, 0, None
        while waiting and (was_written := waiting[0].written) is not None:
            written += was_written
            passed = waiting.popleft()
        count = bisect_left(self._rejects, waiting[0].offset if waiting else math.inf, key=_offset)
        rejects = tuple(self._rejects[:count])
        del self._rejects[:count]
        self._position = max([self._position, *(_end(last) for last in (passed, *rejects[-1:]) if last)])
        return Settled(self._position, written + len(rejects), written, rejects)


def _end(record: Entry | Reject) -> int:
    return record.offset + record.length
