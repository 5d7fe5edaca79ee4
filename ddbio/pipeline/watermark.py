"""The watermark of a span: up to where every record is settled, and the rejects below it."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ddbio.ledger.entries import Reject
from ddbio.pipeline.batcher import Entry


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
        self._open: deque[Entry | Reject] = deque()

    @property
    def ahead(self) -> int:
        """Bytes of the file from where `advance` came to last up to the last record that was found."""
        return self._end - self._position

    def opened(self, entry: Entry) -> None:
        """A record was found that will be sent."""
        self._end = entry.record.offset + entry.record.length
        self._open.append(entry)

    def rejected(self, reject: Reject) -> None:
        """A record was found that can't be sent."""
        self._end = reject.offset + reject.length
        self._open.append(reject)

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
                self._position = record.offset + record.length
            elif record.done:
                written += record.written
                self._position = record.record.offset + record.record.length
            else:
                break
            self._open.popleft()
            read += 1
        return Settled(self._position, read, written, tuple(rejects))
