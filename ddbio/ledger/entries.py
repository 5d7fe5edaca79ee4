"""The words of the ledger: what is worked on, and what has become durable of it."""

from __future__ import annotations

from typing import Literal

import msgspec


class Unit(msgspec.Struct, frozen=True):
    """A piece of work that one worker holds at a time: a segment (export) or a span of a file (import)."""

    id: int
    file: str = ""
    start: int = 0
    """First byte of the span."""
    end: int | None = None
    """First byte that is not the span's; None: to the end of the file."""
    size: int | None = None
    tag: str = ""
    compression: Literal["none", "gzip", "zstd"] = "none"


class Lease(msgspec.Struct, frozen=True):
    """The right to work on a unit; commits carry its epoch, and an older epoch's are ignored."""

    unit: Unit
    epoch: int


class FileState(msgspec.Struct, frozen=True):
    """What is durable of one output file: everything up to `bytes`, as written (compressed, if it is)."""

    name: str
    segment: int
    items: int
    bytes: int
    crc32: int
    sealed: bool


class Reject(msgspec.Struct, frozen=True):
    """One record that can't be written, as the rejects file keeps it."""

    source: str
    offset: int
    length: int
    line: int | None
    """Counted from 1; None unless the worker read the file from its start."""
    reason: str
    message: str
    raw: bytes | None
    """None where the record is longer than 1 MiB: read it again by its offset."""


class Commit(msgspec.Struct, frozen=True):
    """A step of one unit that has become durable; the counts are since the unit's last commit."""

    unit: int
    epoch: int
    seq: int
    """1, 2, 3 … within one lease."""
    position: str
    """How far the unit is done: the LastEvaluatedKey as JSON ("" before the first), or the offset in the file."""
    done: bool = False
    file: FileState | None = None
    """Export: what is durable of the file now, from its first byte."""
    read: int = 0
    """Export: Σ `Count` of the replies. Import: records found. Up to `position`."""
    written: int = 0
    """Export: items counted in the bytes written. Import: records that the service acknowledged."""
    bytes: int = 0
    """Export: bytes written. Import: bytes read."""
    rejects: tuple[Reject, ...] = ()
    types: dict[str, int] = {}
    """Type masks by attribute path (`ddbio.codec.hints`)."""
