"""The journal: numbered, immutable, checksummed chunks of entries, written through a Sink, to a folder or to S3.

Every `COMPACT_AFTER` chunks, or sooner where they are large, a compacted one is written, which holds the whole state of
the job and replaces all chunks before it. Reading begins at the newest of these.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import suppress

from ddbio.errors import DdbioError
from ddbio.ledger import chunks
from ddbio.ledger.chunks import Chunk, ChunkGoneError
from ddbio.ledger.entries import JournalEntry, Opened
from ddbio.storage.base import JOURNAL, Sink

AT_ONCE = 16
COMPACT_AFTER = 512
"""Chunks between two compactions: this many are read from S3 in a second or two."""
COMPACT_BYTES = 16 * 1024 * 1024
"""Chunks that exceed the size of the last compacted one by this much are compacted before there are that many."""
ATTEMPTS = 3
"""Listings before a missing chunk counts as damage: during a compaction, one may lack the old chunks and the new."""
BLOCK_BYTES = 256 * 1024
"""How much of a compacted chunk is encoded or decoded before other tasks get their turn: about a millisecond."""
log = logging.getLogger("ddbio")


class Journal:
    """The journal of one job at `sink`. One that exists already must be read to its end before it is appended to."""

    def __init__(self, sink: Sink, *, compact_after: int | None = None, compact_bytes: int = COMPACT_BYTES) -> None:
        self._sink = sink
        self._compact_after = compact_after or COMPACT_AFTER
        self._compact_bytes = compact_bytes
        self._reset()

    def _reset(self) -> None:
        self._next = 1
        self._opening = b""
        """The line that says which job this is; a compacted chunk begins with it, too."""
        self._compact_at = self._compact_after
        self._state_bytes = self._bytes_since = 0
        self._compacting: asyncio.Task[None] | None = None
        self.rejects_bytes = 0
        """Size of the rejects file when the last chunk was written."""

    async def opened(self) -> Opened | None:
        """The first entry; None where there is no journal. Raises JournalError."""
        for _ in range(ATTEMPTS - 1):
            with suppress(ChunkGoneError):
                return await self._opened()
        return await self._opened()

    async def read(self) -> AsyncGenerator[list[JournalEntry]]:
        """All entries in order, a batch at a time. Raises JournalError where one can't be trusted.

        Without the job's lock, a `Compacted` may come in the middle; it replaces all entries before it.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async for entries in self._read_on():
                    yield entries
            except ChunkGoneError:
                if attempt == ATTEMPTS:
                    raise
            else:
                return

    async def append(self, entries: Sequence[JournalEntry], rejects_bytes: int = 0) -> None:
        """Write one chunk; the entries are durable when this returns."""
        if self._compacting is not None and self._compacting.done():
            await self._compacted()
        chunk, lines = Chunk(self._next), b"".join(map(chunks.encode, entries))
        await self._sink.put(chunk.name, chunks.head(chunk.number, len(entries), rejects_bytes, lines) + lines)
        self._bytes_since += len(lines)
        self._note_opening(chunk, lines)
        self._next += 1
        self.rejects_bytes = rejects_bytes

    @property
    def is_long(self) -> bool:
        """Whether it is time to `compact`."""
        many = self._next > self._compact_at or self._bytes_since > self._compact_bytes + self._state_bytes
        return many and self._compacting is None

    def compact(self, state: Iterable[JournalEntry]) -> None:
        """Begin to replace all chunks by one that holds `state`, in a task that nobody waits for.

        The new chunk is sealed before any other is deleted, so a crash leaves one whole journal. If it fails, the
        journal stays as it is until the next attempt is due.
        """
        self._bytes_since = 0
        self._compacting = asyncio.create_task(self._compact(self._next - 1, self.rejects_bytes, iter(state)))

    async def stop_compacting(self) -> None:
        """Stop a compaction that is under way; the next `Sink.sweep` removes what it has written."""
        if self._compacting is not None:
            self._compacting.cancel()
            await self._compacted()

    async def remove(self) -> None:
        """Delete all chunks, last the one where reading begins: after a crash, the rest still says which job it was."""
        await self._compacted()
        found = await self._chunks()
        first = _beginning(found)
        await self._delete(chunk for chunk in found if chunk != first)
        await self._delete(chunk for chunk in found if chunk == first)
        self._reset()

    async def discard(self) -> None:
        """Delete all chunks, first those where reading could begin: after a crash, the rest can't be resumed.

        The newest of these goes last: an older one alone could pass for the journal of a job that was less far.
        """
        await self._compacted()
        found = await self._chunks()
        first = _beginning(found)
        await self._delete(chunk for chunk in found if chunk.begins and chunk != first)
        await self._delete(chunk for chunk in found if chunk == first)
        await self._delete(chunk for chunk in found if not chunk.begins)
        self._reset()

    async def _chunks(self) -> list[Chunk]:
        found = (chunks.parse(file.name) for file in await self._sink.list(JOURNAL))
        return sorted(chunk for chunk in found if chunk is not None)

    async def _delete(self, unwanted: Iterable[Chunk]) -> None:
        await self._sink.delete(*(chunk.name for chunk in unwanted))

    async def _opened(self) -> Opened | None:
        found = await self._chunks()
        if not found:
            return None
        first = _beginning(found)
        if first is None:
            raise chunks.gone(Chunk(1), found[0], self._sink.location)
        _, lines = chunks.check(first, await self._sink.get(first.name), self._sink.location)
        entries = chunks.decode(first, lines[: lines.find(b"\n") + 1], self._sink.location)
        if not entries or not isinstance(entries[0], Opened):
            raise chunks.damaged(f"{first.name} does not say which job this is", self._sink.location)
        return entries[0]

    async def _read_on(self) -> AsyncGenerator[list[JournalEntry]]:
        """The entries of the chunks that are not read yet, or of a compacted one that replaces them."""
        left = self._left(await self._chunks())
        for first in range(0, len(left), AT_ONCE):
            group = left[first : first + AT_ONCE]
            found = await asyncio.gather(*(self._sink.get(chunk.name) for chunk in group))
            for chunk, data in zip(group, found, strict=True):
                head, lines = chunks.check(chunk, data, self._sink.location)
                for block in _blocks(lines):
                    yield chunks.decode(chunk, block, self._sink.location)
                    await asyncio.sleep(0)
                self._note_opening(chunk, lines)
                self._next, self.rejects_bytes = chunk.number + 1, head.rejects_bytes
                if chunk.compacted:
                    self._compact_at = chunk.number + self._compact_after
                    self._state_bytes, self._bytes_since = len(lines), 0
                else:
                    self._bytes_since += len(lines)

    def _left(self, found: Sequence[Chunk]) -> list[Chunk]:
        """The chunks to read now. Raises ChunkGoneError where one is missing."""
        newest = max((chunk for chunk in found if chunk.compacted and chunk.number >= self._next), default=None)
        begin = self._next if newest is None else newest.number + 1
        rest = [chunk for chunk in found if chunk.number >= begin]
        for number, chunk in enumerate(rest, begin):
            if chunk.number != number:
                raise chunks.gone(Chunk(number), chunk, self._sink.location)
        if newest is None and not rest and begin > 1:
            raise chunks.gone(Chunk(begin), None, self._sink.location)
        return rest if newest is None else [newest, *rest]

    async def _compact(self, number: int, rejects_bytes: int, state: Iterator[JournalEntry]) -> None:
        try:
            chunk = Chunk(number, compacted=True)
            blocks = await self._encoded(chunk, rejects_bytes, state)
            self._state_bytes = sum(map(len, blocks))
            await self._write_whole(chunk, blocks)
            await self._delete(each for each in await self._chunks() if each < chunk)
        except DdbioError as error:
            log.warning("The journal in %s could not be compacted yet: %s", self._sink.location, error)
        self._compact_at = number + self._compact_after

    async def _compacted(self) -> None:
        """Wait for the end of a compaction that is under way."""
        if self._compacting is not None:
            await asyncio.wait([self._compacting])
            compacting, self._compacting = self._compacting, None
            if not compacting.cancelled():
                compacting.result()

    async def _encoded(self, chunk: Chunk, rejects_bytes: int, state: Iterator[JournalEntry]) -> list[bytes]:
        """The chunk in blocks, between which other tasks run."""
        blocks, block, entries = [], bytearray(self._opening), int(bool(self._opening))
        for entry in state:
            block += chunks.encode(entry)
            entries += 1
            if len(block) >= BLOCK_BYTES:
                blocks.append(bytes(block))
                block.clear()
                await asyncio.sleep(0)
        blocks.append(bytes(block))
        return [chunks.head(chunk.number, entries, rejects_bytes, *blocks), *blocks]

    async def _write_whole(self, chunk: Chunk, blocks: Sequence[bytes]) -> None:
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

    def _note_opening(self, chunk: Chunk, lines: bytes) -> None:
        if chunk.begins:
            self._opening = lines[: lines.find(b"\n") + 1]


def _beginning(found: Iterable[Chunk]) -> Chunk | None:
    """Where reading begins: at the newest chunk that needs no other one."""
    return max((chunk for chunk in found if chunk.begins), default=None)


def _blocks(lines: bytes) -> Iterator[bytes]:
    """Whole lines, in blocks of about `BLOCK_BYTES`."""
    start = 0
    while start < len(lines):
        end = lines.find(b"\n", start + BLOCK_BYTES) + 1 or len(lines)
        yield lines[start:end]
        start = end
