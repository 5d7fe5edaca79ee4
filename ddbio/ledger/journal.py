"""The journal: numbered, immutable, checksummed chunks of entries, written through a Sink.

One chunk is a small object, `_ddbio/journal/00000001.json`: a first line with its number, how many entries follow,
the size of the rejects file at that moment, and a CRC32 of it all; then one entry a line. A chunk is written whole or
not at all, and only after what it claims is durable. A folder and S3 go the same way.

Every `COMPACT_AFTER` chunks, or sooner where they are large, another one is written that holds the whole state of the
ledger, and is called like the last one that it replaces: `_ddbio/journal/00000512-compacted.json`. Reading begins at
the newest of these.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from ddbio.codec.compression import crc32
from ddbio.errors import DdbioError, JournalError
from ddbio.ledger.entries import JournalEntry, Opened
from ddbio.storage.base import JOURNAL, Sink
from ddbio.unreadable import UNREADABLE

AT_ONCE = 16
"""Chunks that are read back at once."""
COMPACT_AFTER = 512
"""So many chunks are read back from S3 in a second or two."""
COMPACT_BYTES = 16 * 1024 * 1024
"""So many bytes more than the last state has, in fewer chunks, are enough: in a large state, most does not change."""
LOOKS = 3
"""So often the names are listed before a chunk that is not there is damage: another process may compact the journal,
and a listing in that instant may lack the old chunks and the new one."""
BLOCK = 256 * 1024
"""So much of a compacted chunk is encoded or decoded in one go, in about a millisecond."""
_CHUNK = re.compile(re.escape(JOURNAL) + r"(\d{8,})(-compacted)?\.json")
log = logging.getLogger("ddbio")


class _Head(msgspec.Struct, frozen=True):
    ddbio_journal: Literal[1]
    chunk: int
    entries: int
    crc32: int
    rejects_bytes: int


class _Chunk(NamedTuple):
    number: int
    compacted: bool = False
    """It stands for all chunks up to its number."""

    @property
    def name(self) -> str:
        return f"{JOURNAL}{self.number:08d}{'-compacted' if self.compacted else ''}.json"

    @property
    def begins(self) -> bool:
        """Nothing before it is needed to read it."""
        return self.compacted or self.number == 1


class _GoneError(JournalError):
    """A chunk is missing: deleted because a newer one replaces it, or damage."""


class Journal:
    """The journal of one job at `sink`. Where there is one already, it is read to its end before it is added to."""

    def __init__(self, sink: Sink, *, compact_after: int | None = None) -> None:
        self._sink = sink
        self._compact_after = compact_after or COMPACT_AFTER
        self._start_anew()

    def _start_anew(self) -> None:
        self._next = 1
        self._opening = b""
        self._compact_behind = self._compact_after
        self._state_bytes = self._bytes_behind = 0
        self._compacting: asyncio.Task[None] | None = None
        self.rejects_bytes = 0
        """Size of the rejects file when the last chunk was written."""

    async def opened(self) -> Opened | None:
        """The first entry; None where there is no journal. Raises JournalError as `read` does."""
        looks = 0
        while True:
            looks += 1
            try:
                return await self._opened()
            except _GoneError:
                if looks == LOOKS:
                    raise

    async def read(self) -> AsyncGenerator[list[JournalEntry]]:
        """All entries, in order, some at a time. Raises JournalError where one can't be trusted.

        Whoever does not hold the job's lock may read while the journal is compacted: then a `Compacted` may come in the
        middle, which stands for all entries before it.
        """
        looks = 0
        while True:
            looks += 1
            try:
                async for entries in self._read_on():
                    yield entries
            except _GoneError:
                if looks == LOOKS:
                    raise
            else:
                return

    async def append(self, entries: Sequence[JournalEntry], rejects_bytes: int = 0) -> None:
        """Write one chunk; the entries are durable when this returns."""
        if self._compacting is not None and self._compacting.done():
            await self._compacted()
        lines = b"".join(map(_line, entries))
        head = _head(self._next, len(entries), _checksum(self._next, rejects_bytes, lines), rejects_bytes)
        await self._sink.put(_Chunk(self._next).name, head + lines)
        self._bytes_behind += len(lines)
        self._learn_opening(_Chunk(self._next), lines)
        self._next += 1
        self.rejects_bytes = rejects_bytes

    @property
    def is_long(self) -> bool:
        """It is time to `compact`."""
        many = self._next > self._compact_behind or self._bytes_behind > COMPACT_BYTES + self._state_bytes
        return many and self._compacting is None

    def compact(self, state: Iterable[JournalEntry]) -> None:
        """Begin to replace all chunks so far by one of `state`: what makes a ledger of them. Nobody waits for that.

        It is sealed before the first of the others is deleted, so that after a crash at any moment there is one whole
        journal, and perhaps the rest of an older one, all numbers of which lie below: that is not looked at, and goes
        with the next compaction. Where it fails, the journal stays as it is, until it is long again.
        """
        self._bytes_behind = 0
        self._compacting = asyncio.create_task(self._compact(self._next - 1, self.rejects_bytes, iter(state)))

    async def stop_compacting(self) -> None:
        """End a compaction that is under way, at once: what was written of it is left to the next `Sink.sweep`."""
        if self._compacting is not None:
            self._compacting.cancel()
            await self._compacted()

    async def remove(self) -> None:
        """Delete all chunks, the one where reading begins last: what is left of an interrupted removal tells which job
        it was.
        """
        await self._compacted()
        chunks = await self._chunks()
        first = _beginning(chunks)
        await self._delete(chunk for chunk in chunks if chunk != first)
        await self._delete(chunk for chunk in chunks if chunk == first)
        self._start_anew()

    async def discard(self) -> None:
        """Delete all chunks, those where reading could begin first: what is left of an interrupted removal can't be
        resumed any more.

        Of these, what a compaction has left over goes before the newest: alone it could be the whole journal of a
        job that was less far.
        """
        await self._compacted()
        chunks = await self._chunks()
        first = _beginning(chunks)
        await self._delete(chunk for chunk in chunks if chunk.begins and chunk != first)
        await self._delete(chunk for chunk in chunks if chunk == first)
        await self._delete(chunk for chunk in chunks if not chunk.begins)
        self._start_anew()

    async def _chunks(self) -> list[_Chunk]:
        # A chunk that was being written when its process died is a `.part`: it never became one.
        found = (_CHUNK.fullmatch(file.name) for file in await self._sink.list(JOURNAL))
        return sorted(_Chunk(int(each[1]), each[2] is not None) for each in found if each)

    async def _delete(self, chunks: Iterable[_Chunk]) -> None:
        await self._sink.delete(*(chunk.name for chunk in chunks))

    async def _opened(self) -> Opened | None:
        chunks = await self._chunks()
        if not chunks:
            return None
        first = _beginning(chunks)
        if first is None:
            raise self._gone(_Chunk(1), chunks[0])
        _, lines = self._checked(first, await self._sink.get(first.name))
        entries = self._decode(first, lines[: lines.find(b"\n") + 1])
        if not entries or not isinstance(entries[0], Opened):
            raise self._damaged(f"{first.name} does not say which job this is")
        return entries[0]

    async def _read_on(self) -> AsyncGenerator[list[JournalEntry]]:
        """What was not read yet, or what stands for it and all before it."""
        chunks = self._left(await self._chunks())
        for first in range(0, len(chunks), AT_ONCE):
            group = chunks[first : first + AT_ONCE]
            found = await asyncio.gather(*(self._sink.get(chunk.name) for chunk in group))
            for chunk, data in zip(group, found, strict=True):
                head, lines = self._checked(chunk, data)
                for block in _blocks(lines):
                    yield self._decode(chunk, block)
                    await asyncio.sleep(0)
                self._learn_opening(chunk, lines)
                self._next, self.rejects_bytes = chunk.number + 1, head.rejects_bytes
                if chunk.compacted:
                    self._compact_behind = chunk.number + self._compact_after
                    self._state_bytes, self._bytes_behind = len(lines), 0
                else:
                    self._bytes_behind += len(lines)

    def _left(self, chunks: Sequence[_Chunk]) -> list[_Chunk]:
        """Those that are to be read now; raises _GoneError where one is missing."""
        newest = max((chunk for chunk in chunks if chunk.compacted and chunk.number >= self._next), default=None)
        begin = self._next if newest is None else newest.number + 1
        rest = [chunk for chunk in chunks if chunk.number >= begin]
        for number, chunk in enumerate(rest, begin):
            if chunk.number != number:
                raise self._gone(_Chunk(number), chunk)
        if newest is None and not rest and begin > 1:
            raise self._gone(_Chunk(begin))
        return rest if newest is None else [newest, *rest]

    async def _compact(self, number: int, rejects_bytes: int, state: Iterator[JournalEntry]) -> None:
        try:
            chunk = _Chunk(number, compacted=True)
            blocks = await self._encoded(chunk, rejects_bytes, state)
            self._state_bytes = sum(map(len, blocks))
            await self._write_whole(chunk, blocks)
            await self._delete(each for each in await self._chunks() if each < chunk)
        except DdbioError as error:
            log.warning("The journal in %s could not be compacted yet: %s", self._sink.location, error)
        self._compact_behind = number + self._compact_after

    async def _compacted(self) -> None:
        """Wait for the end of a compaction, if one is under way."""
        if self._compacting is not None:
            await asyncio.wait([self._compacting])
            compacting, self._compacting = self._compacting, None
            if not compacting.cancelled():
                compacting.result()

    async def _encoded(self, chunk: _Chunk, rejects_bytes: int, state: Iterator[JournalEntry]) -> list[bytes]:
        """The chunk in blocks. The event loop is not held meanwhile."""
        blocks, block, entries = [b""], bytearray(self._opening), int(bool(self._opening))
        for entry in state:
            block += _line(entry)
            entries += 1
            if len(block) >= BLOCK:
                blocks.append(bytes(block))
                block.clear()
                await asyncio.sleep(0)
        blocks.append(bytes(block))
        blocks[0] = _head(chunk.number, entries, _checksum(chunk.number, rejects_bytes, *blocks), rejects_bytes)
        return blocks

    async def _write_whole(self, chunk: _Chunk, blocks: Sequence[bytes]) -> None:
        file = await self._sink.create(chunk.name, max_bytes=sum(map(len, blocks)))
        try:
            for block in blocks:
                await file.write(block)
            await file.seal()
        except asyncio.CancelledError:
            await file.leave()
            raise
        except DdbioError:
            await file.discard()
            raise

    def _learn_opening(self, chunk: _Chunk, lines: bytes) -> None:
        """The first line of the journal says which job it is, and begins what replaces it, too."""
        if chunk.begins:
            self._opening = lines[: lines.find(b"\n") + 1]

    def _checked(self, chunk: _Chunk, data: bytes | None) -> tuple[_Head, bytes]:
        """The head and the lines of a chunk."""
        if data is None:
            raise self._gone(chunk)
        first, _, lines = data.partition(b"\n")
        try:
            head = msgspec.json.decode(first, type=_Head)
        except UNREADABLE as error:
            raise self._damaged(f"{chunk.name} can't be read") from error
        checksum = _checksum(chunk.number, head.rejects_bytes, lines)
        if (head.chunk, head.entries, head.crc32) != (chunk.number, lines.count(b"\n"), checksum):
            raise self._damaged(f"the checksum of {chunk.name} is wrong")
        return head, lines

    def _decode(self, chunk: _Chunk, lines: bytes) -> list[JournalEntry]:
        try:
            return [msgspec.json.decode(line, type=JournalEntry) for line in lines.splitlines()]
        except UNREADABLE as error:
            raise self._damaged(f"{chunk.name} can't be read") from error

    def _gone(self, expected: _Chunk, found: _Chunk | None = None) -> JournalError:
        what = f"expected {expected.name}, found {found.name if found else 'nothing'}"
        return self._damaged(what, _GoneError)

    def _damaged(self, what: str, kind: type[JournalError] = JournalError) -> JournalError:
        return kind(
            f"The journal in {self._sink.location} is damaged: {what}.",
            hint="The job can't be resumed: start an export anew with --overwrite, an import with another --state.",
        )


def _beginning(chunks: Iterable[_Chunk]) -> _Chunk | None:
    """Where reading begins: at the newest chunk that needs no other one."""
    return max((chunk for chunk in chunks if chunk.begins), default=None)


def _blocks(lines: bytes) -> Iterator[bytes]:
    """Whole lines, in blocks of about `BLOCK` bytes."""
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", start + BLOCK) + 1 or len(lines)
        yield lines[start:end]
        start = end


def _line(entry: JournalEntry) -> bytes:
    return msgspec.json.encode(entry) + b"\n"


def _head(number: int, entries: int, checksum: int, rejects_bytes: int) -> bytes:
    return msgspec.json.encode(_Head(1, number, entries, checksum, rejects_bytes)) + b"\n"


def _checksum(number: int, rejects_bytes: int, *lines: bytes) -> int:
    checksum = crc32(b"%d %d\n" % (number, rejects_bytes))
    for each in lines:
        checksum = crc32(each, checksum)
    return checksum
