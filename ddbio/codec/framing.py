"""Bytes to lines: where each record of a file, or of a span, begins and ends."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, chain, compress, count, repeat
from operator import add
from typing import NamedTuple

BLOCK_BYTES = 16 * 1024
"""Approximate size of a block of lines: work on one block is short. A longer line is a block of its own."""

_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t\r"


class Record(NamedTuple):
    """One line that is not blank.

    `offset` is the position of its first byte in the (uncompressed) file, `length` its number of bytes without the
    newline. `line` counts from 1, and is None unless the file was read from its start. `data` are the bytes to encode:
    the line without a byte order mark, or nothing if the line exceeds the limit of the framer.
    """

    offset: int
    line: int | None
    data: bytes
    length: int

    @property
    def too_long(self) -> bool:
        """Whether the line exceeds the limit, so that `data` is empty."""
        return not self.data


class Block(NamedTuple):
    """Consecutive complete lines; the last line of a file may lack its newline.

    `offset` and `line` are those of the first line, as in `Record`. A line that is not kept verbatim is a block of its
    own, without the first `dropped` bytes: a byte order mark, or all of a line that exceeds the limit of the framer.
    """

    offset: int
    line: int | None
    data: bytes
    dropped: int = 0

    @property
    def length(self) -> int:
        """The number of bytes in the file."""
        return self.dropped + len(self.data)

    def record(self, offset: int, length: int) -> Record:
        """The record that begins at `offset` and has `length` bytes."""
        start = offset - self.offset
        line = None if self.line is None else self.line + self.data.count(b"\n", 0, start)
        return Record(offset, line, self.data[start : start + length - self.dropped], length)

    def records(self) -> list[Record]:
        if self.dropped:
            return [self.record(self.offset, self.dropped + len(self.data.removesuffix(b"\n")))]
        lines = self.data.removesuffix(b"\n").split(b"\n")
        lengths = list(map(len, lines))
        offsets = accumulate(map(add, lengths, repeat(1)), initial=self.offset)
        numbers = repeat(None) if self.line is None else count(self.line)
        made = map(tuple.__new__, repeat(Record), zip(offsets, numbers, lines, lengths, strict=False))
        return list(compress(made, map(bytes.strip, lines, repeat(_BLANKS))))

    def before(self, position: int) -> Block | None:
        if position <= self.offset:
            return None
        cut = self._cut(position)
        return self if cut is None else self._replace(data=self.data[:cut])

    def after(self, position: int) -> Block | None:
        if position <= self.offset:
            return self
        cut = self._cut(position)
        if cut is None or cut == len(self.data):
            return None
        line = None if self.line is None else self.line + self.data.count(b"\n", 0, cut)
        return Block(self.offset + cut, line, self.data[cut:])

    def _cut(self, position: int) -> int | None:
        """The index in `data` of the first line that begins at `position` (which is after `offset`) or later."""
        if self.dropped:
            return None
        return self.data.find(b"\n", position - 1 - self.offset) + 1 or None


def records(blocks: Iterable[Block]) -> list[Record]:
    return list(chain.from_iterable(map(Block.records, blocks)))


def count_lines(data: bytes) -> int:
    """The number of lines that are not blank; the last one may lack its newline."""
    return sum(map(bool, map(bytes.strip, data.split(b"\n"), repeat(_BLANKS))))


class LineFramer:
    """Cuts a file, or the span of it that begins at `start`, into blocks of lines.

    A span owns the lines whose first byte lies in it. So the framer of a span with `start` > 0 must be fed from the
    byte at `start - 1` on, and skips everything through the first newline. It ends before the first line that begins at
    `stop` or later, and is then `done`: further bytes are ignored. A line of more than `limit` bytes is dropped while
    it is read, and reported without its data, so at most `limit` bytes and a chunk are held. Blank lines are no
    records, a carriage return before the newline is white space, a byte order mark at the start of the file is dropped,
    and the last line needs no newline.
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

    def feed(self, chunk: bytes) -> list[Block]:
        """The lines that end in this chunk."""
        if self.done:
            return []
        first, last = chunk.find(b"\n"), chunk.rfind(b"\n") + 1
        if not last:
            self._hold(chunk)
            # A line that is being skipped may extend over the whole span, in which no other line begins then.
            self.done = self._skipping and self._stop is not None and self._offset + self._dropped >= self._stop
            return []
        blocks = self._held(chunk[:first], b"\n") + self._whole(chunk, first + 1, last)
        self._hold(chunk[last:])
        return self._owned(blocks)

    def end(self) -> list[Block]:
        """The last line, if it lacks a newline. To be called once, at the end of the file."""
        return [] if self.done else self._owned(self._held(b"", b""))

    def _hold(self, part: bytes) -> None:
        """Keep the beginning of a line whose end is not read yet; of a line that is too long, only its length."""
        if self._skipping or self._dropped or len(self._rest) + len(part) > self._limit:
            self._dropped += len(self._rest) + len(part)
            self._rest.clear()
        else:
            self._rest += part

    def _held(self, end: bytes, newline: bytes) -> list[Block]:
        self._hold(end)
        line, dropped, skipped = bytes(self._rest + newline), self._dropped, self._skipping
        self._rest.clear()
        self._dropped, self._skipping = 0, False
        if skipped:
            self._pass(b"\n", dropped)
            return []
        return self._one(b"" if dropped else line, dropped)

    def _one(self, line: bytes, dropped: int) -> list[Block]:
        block = Block(self._offset, self._line, line, dropped)
        self._pass(line or b"\n", dropped)
        if block.offset == 0 and line.startswith(_BOM):
            block = Block(0, block.line, line[len(_BOM) :], len(_BOM))
        return [block] if dropped or block.data.strip(_BLANKS + b"\n") else []

    def _whole(self, chunk: bytes, at: int, end: int) -> list[Block]:
        blocks = []
        while at < end:
            cut = chunk.find(b"\n", min(at + BLOCK_BYTES, end) - 1) + 1
            blocks += self._block(chunk[at:cut])
            at = cut
        return blocks

    def _block(self, lines: bytes) -> list[Block]:
        if len(lines) <= self._limit:
            block = Block(self._offset, self._line, lines)
            self._pass(lines)
            return [block]
        blocks = []
        for line in lines[:-1].split(b"\n"):
            blocks += self._one(b"", len(line)) if len(line) > self._limit else self._one(line + b"\n", 0)
        return blocks

    def _pass(self, lines: bytes, dropped: int = 0) -> None:
        self._offset += dropped + len(lines)
        if self._line is not None:
            self._line += lines.count(b"\n")

    def _owned(self, blocks: list[Block]) -> list[Block]:
        if self._stop is None or self._offset < self._stop:
            return blocks
        self.done = True
        return [part for block in blocks if (part := block.before(self._stop))]
