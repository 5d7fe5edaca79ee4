"""Bytes to lines: where each record of a file, or of a span of it, begins and ends."""

from __future__ import annotations

from itertools import accumulate, compress, count, repeat
from operator import add
from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t\r"


class Record(NamedTuple):
    """One line that is not blank.

    `offset` is the position of the line's first byte in the (uncompressed) file, `length` its bytes without the
    newline; `line` counts from 1, and is None unless counted from the file's start. `data` are the bytes to encode: the
    line without a byte order mark, or nothing where the line is longer than the framer's limit.
    """

    offset: int
    line: int | None
    data: bytes
    length: int

    @property
    def too_long(self) -> bool:
        """Whether the line is longer than the limit: `data` is empty, the rest is true."""
        return not self.data


class LineFramer:
    """Cuts a file, or the span of it that begins at `start`, into records.

    A span owns the lines whose first byte lies in it. So the framer of a span with `start` > 0 is fed from the byte at
    `start - 1` on, and skips through the first newline; it ends before the first line that begins at or behind `stop`,
    and is then `done`: what is fed afterwards is ignored. A line longer than `limit` bytes is dropped as it comes, and
    reported without its data; so at most `limit` bytes and a chunk are held. Blank lines are skipped, a carriage return
    before the newline is white space, a byte order mark at the file's start is dropped, the last line needs no newline.
    """

    def __init__(self, start: int = 0, *, limit: int, stop: int | None = None) -> None:
        self._limit = limit
        self._stop = stop
        self._skipping = start > 0
        self._offset = max(start - 1, 0)
        self._line: int | None = None if start else 1
        self._rest = bytearray()
        self._dropped = 0
        self.done = stop is not None and stop <= start

    def feed(self, chunk: bytes) -> list[Record]:
        """The records that end in this chunk."""
        if self.done:
            return []
        lines = chunk.split(b"\n")
        if len(lines) == 1:
            self._hold(chunk)
            # A line that is being skipped may cover the whole span: then no other one begins in it.
            self.done = self._skipping and self._stop is not None and self._offset + self._dropped >= self._stop
            return []
        tail = lines.pop()
        records = self._held(lines.pop(0)) + self._whole(lines)
        self._hold(tail)
        return self._owned(records)

    def end(self) -> list[Record]:
        """The last record, where the file does not end with a newline. Call it once, at the end of the file."""
        return [] if self.done else self._owned(self._held(b""))

    def _hold(self, part: bytes) -> None:
        """Keep the beginning of a line whose end is still to come; of one too long keep only how long it is."""
        if self._skipping or self._dropped or len(self._rest) + len(part) > self._limit:
            self._dropped += len(self._rest) + len(part)
            self._rest.clear()
        else:
            self._rest += part

    def _held(self, end: bytes) -> list[Record]:
        """The line whose beginning is held, and which ends here."""
        self._hold(end)
        line, dropped, skipped = bytes(self._rest), self._dropped, self._skipping
        self._rest.clear()
        self._dropped, self._skipping = 0, False
        if not dropped and not skipped:
            return self._whole([line])
        record = Record(self._offset, self._line, b"", dropped)
        self._pass([dropped])
        return [] if skipped else [record]

    def _whole(self, lines: list[bytes]) -> list[Record]:
        """The records among whole lines, made without a step of Python a line."""
        lengths = list(map(len, lines))
        if self._offset == 0 and lines and lines[0].startswith(_BOM):
            lines[0] = lines[0][len(_BOM) :]
        kept = list(map(bytes.strip, lines, repeat(_BLANKS)))
        if max(lengths, default=0) > self._limit:
            for index, length in enumerate(lengths):
                if length > self._limit:
                    lines[index], kept[index] = b"", b"too long"
        offsets = accumulate(map(add, lengths, repeat(1)), initial=self._offset)
        numbers = repeat(None) if self._line is None else count(self._line)
        records = map(tuple.__new__, repeat(Record), zip(offsets, numbers, lines, lengths, strict=False))
        self._pass(lengths)
        return list(compress(records, kept))

    def _pass(self, lengths: list[int]) -> None:
        self._offset += sum(lengths) + len(lengths)
        if self._line is not None:
            self._line += len(lengths)

    def _owned(self, records: list[Record]) -> list[Record]:
        if self._stop is None or self._offset < self._stop:
            return records
        self.done = True
        return [record for record in records if record.offset < self._stop]
