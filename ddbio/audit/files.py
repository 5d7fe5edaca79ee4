"""One exported file, compared with the manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from isal.isal_zlib import crc32

from ddbio.audit.commits import Row
from ddbio.audit.items import ItemReader
from ddbio.codec.compression import CorruptStreamError, Decompressor, TruncatedStreamError
from ddbio.codec.fingerprint import MASK
from ddbio.codec.framing import LineFramer, Record, records
from ddbio.ledger.entries import FileState
from ddbio.model import Refused
from ddbio.names import compression_of
from ddbio.pipeline.importing.reading import MAX_RECORD

Keep = Callable[[Sequence[Row]], None]


class FileCheck:
    """Checks a file from its stored bytes. The calls block, so they belong in a thread.

    `listed` is what the manifest says about it. `keep`, if given, is called with a row for each item, in which the file
    has this `number`.
    """

    def __init__(self, listed: FileState, reader: ItemReader, *, number: int = 0, keep: Keep | None = None) -> None:
        self._listed = listed
        self._reader = reader
        self._number = number
        self._keep = keep
        self._decompressor = Decompressor(compression_of(listed.name))
        self._framer = LineFramer(limit=MAX_RECORD)
        self._broken: str | None = None
        self._refused = 0
        self._first_refusal = ""
        self._crc = 0
        self._fingerprint = 0
        self.bytes = 0
        self.items = 0

    def feed(self, chunk: bytes) -> None:
        """Process the next stored bytes."""
        self.bytes += len(chunk)
        self._crc = crc32(chunk, self._crc)
        if self._broken is None:
            try:
                for piece in self._decompressor.feed(chunk):
                    self._take(records(self._framer.feed(piece)))
            except CorruptStreamError as error:
                self._broken = str(error)

    def end(self) -> list[str]:
        """Return what is wrong with the file, which is read to its end, in one sentence per problem."""
        if self._broken is None:
            self._take(records(self._framer.end()))
            try:
                self._decompressor.end()
            except TruncatedStreamError as error:
                self._broken = str(error)
        return [f"{self._listed.name}: {problem}" for problem in self._problems()]

    def _take(self, found: Sequence[Record]) -> None:
        rows = [row for record in found if (row := self._row(record))]
        self.items += len(found)
        self._fingerprint += sum(row.fingerprint for row in rows)
        if self._keep is not None:
            self._keep(rows)

    def _row(self, record: Record) -> Row | None:
        item = None if record.too_long else self._reader.read(record.data)
        if item is None or isinstance(item, Refused):
            self._refused += 1
            if self._refused == 1:
                why = "it is too long" if item is None else item.message
                self._first_refusal = f"the first at byte {record.offset:,}: {why}"
            return None
        return Row(item.key, item.fingerprint, self._listed.segment, self._number, record.offset)

    def _problems(self) -> Iterator[str]:
        listed = self._listed
        if self.bytes != listed.bytes:
            yield f"it has {self.bytes:,} bytes, but the manifest says {listed.bytes:,}."
        if self._crc != listed.crc32:
            yield f"its checksum (CRC32) is {self._crc:08x}, but the manifest says {listed.crc32:08x}."
        if self._broken is not None:
            yield self._broken
        if self._refused:
            yield f"{self._refused:,} of its records can't be read, {self._first_refusal}"
        if self.items != listed.items:
            yield f"it has {self.items:,} records, but the manifest says {listed.items:,}."
        fingerprint = f"{self._fingerprint & MASK:016x}"
        if listed.fingerprint not in (None, fingerprint):
            yield f"the fingerprint of its items is {fingerprint}, but the manifest says {listed.fingerprint}."
