"""The journal: numbered, immutable, checksummed chunks of entries, written through a Sink.

One chunk is a small object, `_ddbio/journal/00000001.json`: a first line with its number, how many entries follow,
the size of the rejects file at that moment, and a CRC32 of it all; then one entry a line. A chunk is written whole or
not at all, and only after what it claims is durable. A folder and S3 go the same way.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from typing import Literal

import msgspec

from ddbio.codec.compression import crc32
from ddbio.errors import JournalError
from ddbio.ledger.entries import Entry, Opened
from ddbio.storage.base import JOURNAL, Sink

AT_ONCE = 16
"""Chunks that are read back, or deleted, at once."""
_CHUNK = re.compile(re.escape(JOURNAL) + r"\d{8,}\.json")


class _Head(msgspec.Struct, frozen=True):
    ddbio_journal: Literal[1]
    chunk: int
    entries: int
    crc32: int
    rejects_bytes: int


class Journal:
    """The journal of one job at `sink`. Where there is one already, it is read to its end before it is added to."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._next = 1
        self.rejects_bytes = 0
        """Size of the rejects file when the last chunk was written."""

    async def opened(self) -> Opened | None:
        """The first entry; None where there is no journal. Raises JournalError as `read` does."""
        names = await self._names()
        if not names:
            return None
        _, entries = self._decode(names[0], await self._sink.get(names[0]), 1)
        if not entries or not isinstance(entries[0], Opened):
            raise self._damaged(f"{names[0]} does not say which job this is")
        return entries[0]

    async def read(self) -> AsyncGenerator[list[Entry]]:
        """All entries, in order, a chunk's at a time. Raises JournalError where one can't be trusted."""
        names = await self._names()
        for first in range(0, len(names), AT_ONCE):
            group = names[first : first + AT_ONCE]
            for name, data in zip(group, await asyncio.gather(*map(self._sink.get, group)), strict=True):
                self.rejects_bytes, entries = self._decode(name, data, self._next)
                self._next += 1
                yield entries

    async def append(self, entries: Sequence[Entry], rejects_bytes: int = 0) -> None:
        """Write one chunk; the entries are durable when this returns."""
        lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        checksum = _checksum(self._next, rejects_bytes, lines)
        head = _Head(1, self._next, len(entries), checksum, rejects_bytes)
        await self._sink.put(_name(self._next), msgspec.json.encode(head) + b"\n" + lines)
        self._next += 1
        self.rejects_bytes = rejects_bytes

    async def remove(self) -> None:
        """Delete all chunks, the first one last: what is left of an interrupted removal tells which job it was."""
        names = await self._names()
        await self._delete(names[1:])
        await self._delete(names[:1])

    async def discard(self) -> None:
        """Delete all chunks, the first one first: what is left of an interrupted removal can't be resumed any more."""
        names = await self._names()
        await self._delete(names[:1])
        await self._delete(names[1:])

    async def _names(self) -> list[str]:
        # A chunk that was being written when its process died is a `.part`: it never became one.
        return [file.name for file in await self._sink.list(JOURNAL) if _CHUNK.fullmatch(file.name)]

    async def _delete(self, names: Sequence[str]) -> None:
        for first in range(0, len(names), AT_ONCE):
            await asyncio.gather(*map(self._sink.delete, names[first : first + AT_ONCE]))
        self._next = 1

    def _decode(self, name: str, data: bytes | None, number: int) -> tuple[int, list[Entry]]:
        """The size of the rejects file and the entries that chunk `number` tells."""
        if name != _name(number) or data is None:
            raise self._damaged(f"expected {_name(number)}, found {name}")
        first, _, lines = data.partition(b"\n")
        try:
            head = msgspec.json.decode(first, type=_Head)
            entries = [msgspec.json.decode(line, type=Entry) for line in lines.splitlines()]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._damaged(f"{name} can't be read") from error
        checksum = _checksum(number, head.rejects_bytes, lines)
        if (head.chunk, head.entries, head.crc32) != (number, len(entries), checksum):
            raise self._damaged(f"the checksum of {name} is wrong")
        return head.rejects_bytes, entries

    def _damaged(self, what: str) -> JournalError:
        return JournalError(
            f"The journal in {self._sink.location} is damaged: {what}.",
            hint="The job can't be resumed: start an export anew with --overwrite, an import with another --state.",
        )


def _checksum(number: int, rejects_bytes: int, lines: bytes) -> int:
    return crc32(lines, crc32(b"%d %d\n" % (number, rejects_bytes)))


def _name(number: int) -> str:
    return f"{JOURNAL}{number:08d}.json"
