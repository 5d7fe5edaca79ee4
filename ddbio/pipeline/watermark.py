"""The watermark of a span: up to where every record is settled, and the rejects below it."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ddbio.ledger.entries import Reject
from ddbio.pipeline.batcher import Entry

_RECORD_BYTES = 512
"""What a record takes besides its bytes, which are there twice: as read and as encoded."""


class Settled(NamedTuple):
    """What lies between the last watermark and this one."""

    position: int
    read: int
    written: int
    rejects: tuple[Reject, ...]


class Watermark:
    """Records in the order of the file; each is open, written, or rejected."""

    def __init__(self, start: int) -> None:
        self._position = start
        self.held_bytes = 0
        """About the memory of the records that `advance` has not passed."""
        self._open: deque[Entry | Reject] = deque()

    def opened(self, entry: Entry) -> None:
        """A record was found that will be sent."""
        self._open.append(entry)
        self.held_bytes += _weight(entry.record.length)

    def rejected(self, reject: Reject) -> None:
        """A record was found that can't be sent."""
        self._open.append(reject)
        self.held_bytes += _weight(reject.length)

    def refused(self, entry: Entry, reject: Reject) -> None:
        """A record that was sent turned out to be one that the service does not take."""
        self._open[self._open.index(entry)] = reject

    def advance(self) -> Settled:
        """Move on to the first record that is still open; return what was passed."""
        read = written = 0
        rejects: list[Reject] = []
        while self._open:
            record = self._open[0]
            if isinstance(record, Reject):
                rejects.append(record)
                offset, length = record.offset, record.length
            elif record.done:
                written += record.written
                offset, length = record.record.offset, record.record.length
            else:
                break
            self._open.popleft()
            self._position = offset + length
            self.held_bytes -= _weight(length)
            read += 1
        return Settled(self._position, read, written, tuple(rejects))


def _weight(length: int) -> int:
    return _RECORD_BYTES + 2 * length
