"""The journal: numbered, immutable, checksummed chunks of entries, written through a Sink.

One chunk is a small object, `_ddbio/journal/00000001.json`: a first line with its number, how many entries follow,
their CRC32 and the size of the rejects file at that moment; then one entry a line. A chunk is written whole or not at
all, and only after what it claims is durable. A folder and S3 go the same way.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from ddbio.codec.compression import crc32
from ddbio.errors import JournalError
from ddbio.ledger.entries import Entry
from ddbio.storage.base import OWN_FOLDER, Sink

PREFIX = f"{OWN_FOLDER}/journal/"
READERS = 16
"""Chunks that are read back at once."""
_CHUNK = re.compile(re.escape(PREFIX) + r"\d{8,}\.json")


class _Head(msgspec.Struct, frozen=True):
    ddbio_journal: Literal[1]
    chunk: int
    entries: int
    crc32: int
    rejects_bytes: int


class Journal:
    """The journal of one job at `sink`. `read` or `begin` comes first."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._next = 1
        self.rejects_bytes = 0
        """Size of the rejects file when the last chunk was written."""

    async def read(self) -> list[Entry]:
        """All entries, in order; none where there is no journal. Raises JournalError where one can't be trusted."""
        names = await self._names()
        entries: list[Entry] = []
        for first in range(0, len(names), READERS):
            group = names[first : first + READERS]
            for name, data in zip(group, await asyncio.gather(*map(self._sink.get, group)), strict=True):
                entries += self._decode(name, data)
        return entries

    async def append(self, entries: Sequence[Entry], rejects_bytes: int = 0) -> None:
        """Write one chunk; the entries are durable when this returns."""
        lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        head = _Head(1, self._next, len(entries), crc32(lines), rejects_bytes)
        await self._sink.put(_name(self._next), msgspec.json.encode(head) + b"\n" + lines)
        self._next += 1
        self.rejects_bytes = rejects_bytes

    async def remove(self) -> None:
        """Delete all chunks, the last one first: what is left of an interrupted removal is still a journal."""
        await self._delete(reversed(await self._names()))

    async def discard(self) -> None:
        """Delete all chunks, the first one first: what is left of an interrupted removal can't be resumed any more."""
        await self._delete(await self._names())

    async def _names(self) -> list[str]:
        # A chunk that was being written when its process died is a `.part`: it never became one.
        return [file.name for file in await self._sink.list(PREFIX) if _CHUNK.fullmatch(file.name)]

    async def _delete(self, names: Iterable[str]) -> None:
        for name in names:
            await self._sink.delete(name)
        self._next = 1

    def _decode(self, name: str, data: bytes | None) -> list[Entry]:
        if name != _name(self._next) or data is None:
            raise self._damaged(f"expected {_name(self._next)}, found {name}")
        first, _, lines = data.partition(b"\n")
        try:
            head = msgspec.json.decode(first, type=_Head)
            entries = [msgspec.json.decode(line, type=Entry) for line in lines.splitlines()]
        except msgspec.DecodeError as error:
            raise self._damaged(f"{name} can't be read") from error
        if head.chunk != self._next or head.crc32 != crc32(lines) or head.entries != len(entries):
            raise self._damaged(f"the checksum of {name} is wrong")
        self._next += 1
        self.rejects_bytes = head.rejects_bytes
        return entries

    def _damaged(self, what: str) -> JournalError:
        return JournalError(
            f"The journal in {self._sink.location} is damaged: {what}.",
            hint="The job can't be resumed: start an export anew with --overwrite, an import with another --state.",
        )


def _name(number: int) -> str:
    return f"{PREFIX}{number:08d}.json"
