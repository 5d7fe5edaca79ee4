"""One chunk of the journal: its name, its bytes, and whether they can be trusted.

`docs/durable-formats.md` describes the format: a first line with a checksum, then one entry per line.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec
from isal.isal_zlib import crc32

from ddbio.errors import JournalError
from ddbio.ledger.entries import JournalEntry
from ddbio.storage.base import JOURNAL
from ddbio.unreadable import UNREADABLE

VERSION = 2
"""Of the journal's format. It is raised when members are removed or change their meaning, not when some are added."""
_NAME = re.compile(re.escape(JOURNAL) + r"(\d{8,})(-compacted)?\.json")
_START_OVER = "start over: an export with --overwrite, an import with another --state."


class _Version(msgspec.Struct, frozen=True):
    ddbio_journal: int


class Head(msgspec.Struct, frozen=True):
    ddbio_journal: int
    chunk: int
    entries: int
    crc32: int
    rejects_bytes: int


class Chunk(NamedTuple):
    """The name of a chunk. Chunks sort by their numbers, a compacted one after the plain one of the same number."""

    number: int
    compacted: bool = False

    @property
    def name(self) -> str:
        return f"{JOURNAL}{self.number:08d}{'-compacted' if self.compacted else ''}.json"

    @property
    def begins(self) -> bool:
        """Whether it can be read without any chunk before it."""
        return self.compacted or self.number == 1


class ChunkGoneError(JournalError):
    """A chunk is missing: it was deleted because a newer one replaces it, or the journal is damaged."""


def parse(name: str) -> Chunk | None:
    found = _NAME.fullmatch(name)
    return Chunk(int(found[1]), found[2] is not None) if found else None


def encode(entry: JournalEntry) -> bytes:
    return msgspec.json.encode(entry) + b"\n"


def head(number: int, entries: int, rejects_bytes: int, *lines: bytes) -> bytes:
    checksum = _checksum(number, rejects_bytes, *lines)
    return msgspec.json.encode(Head(VERSION, number, entries, checksum, rejects_bytes)) + b"\n"


def check(chunk: Chunk, data: bytes | None, location: str) -> tuple[Head, bytes]:
    """The head and the remaining lines of a chunk. Raises JournalError where it can't be trusted."""
    if data is None:
        raise gone(chunk, None, location)
    first, _, lines = data.partition(b"\n")
    try:
        version = msgspec.json.decode(first, type=_Version).ddbio_journal
        if version != VERSION:
            raise _other_version(version, location)
        found = msgspec.json.decode(first, type=Head)
    except UNREADABLE as error:
        raise damaged(f"{chunk.name} can't be read", location) from error
    checksum = _checksum(chunk.number, found.rejects_bytes, lines)
    if (found.chunk, found.entries, found.crc32) != (chunk.number, lines.count(b"\n"), checksum):
        raise damaged(f"the checksum of {chunk.name} is wrong", location)
    return found, lines


def decode(chunk: Chunk, lines: bytes, location: str) -> list[JournalEntry]:
    try:
        return [msgspec.json.decode(line, type=JournalEntry) for line in lines.splitlines()]
    except UNREADABLE as error:
        raise damaged(f"{chunk.name} can't be read", location) from error


def gone(expected: Chunk, found: Chunk | None, location: str) -> JournalError:
    found_name = found.name if found else "nothing"
    return damaged(f"expected {expected.name}, found {found_name}", location, ChunkGoneError)


def damaged(what: str, location: str, kind: type[JournalError] = JournalError) -> JournalError:
    return kind(f"The journal in {location} is damaged: {what}.", hint=f"The job can't be resumed; {_START_OVER}")


def _other_version(version: int, location: str) -> JournalError:
    age = "an earlier" if version < VERSION else "a later"
    return JournalError(
        f"The journal in {location} was written by {age} version of ddbio: its format is {version}, and this version "
        f"reads format {VERSION}.",
        hint=f"Finish the job with the version that began it, or {_START_OVER}",
    )


def _checksum(number: int, rejects_bytes: int, *lines: bytes) -> int:
    checksum = crc32(b"%d %d\n" % (number, rejects_bytes))
    for each in lines:
        checksum = crc32(each, checksum)
    return checksum
