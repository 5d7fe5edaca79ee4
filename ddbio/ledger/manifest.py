"""The manifest: the final summary of a job, `_ddbio/manifest.json` beside an export's files or in an import's state.

It is versioned by its first member, and written whole or not at all.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from ddbio.codec.hints import HintType
from ddbio.errors import SourceError
from ddbio.ledger.entries import FileState, Identity
from ddbio.report import Moment

T = TypeVar("T")


class TableRecord(msgspec.Struct, frozen=True):
    """The table as it was when the job began."""

    arn: str
    item_count: int
    size_bytes: int
    indexes: list[str]


class Totals(msgspec.Struct, frozen=True):
    """What the job did and used, in all its runs; of a run that was killed, up to its last entry in the journal."""

    items: int
    bytes: int
    rejected: int
    rejects: str | None
    capacity_units: float
    requests: int
    throttles: int
    retries: int
    seconds: float
    cpu_seconds: float = 0.0
    reject_reasons: dict[str, int] = {}


class Manifest(msgspec.Struct, frozen=True):
    """Everything that a later import, verification or person needs to know of a job."""

    ddbio_manifest: Literal[1]
    run: str
    identity: Identity
    table: TableRecord
    segments: int
    """TotalSegments of an export; 0 for an import."""
    files: list[FileState]
    """An export's files, each with its segment, counts, bytes, CRC32 and positions."""
    type_hints: dict[str, HintType]
    """Plain JSON: the type of each path that held only that one (`ddbio.codec.hints`)."""
    mixed: list[str]
    """Plain JSON: paths whose sets or binary can't be told from other values that were seen there."""
    totals: Totals
    types_cut_off: bool = False
    """Plain JSON: there may be more paths than `type_hints` and `mixed` could speak of (`ddbio.codec.hints`)."""
    throttle_reasons: dict[str, int] = {}
    """Of the last run, as in `ddbio.report.JobReport`; so is `timeline`."""
    timeline: list[Moment] = []


def encode(manifest: Manifest) -> bytes:
    """The manifest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


class Types(msgspec.Struct):
    """What a manifest says of types that plain JSON does not tell, as in `Manifest`."""

    ddbio_manifest: Literal[1]
    type_hints: dict[str, HintType]
    mixed: list[str] = []


class _File(msgspec.Struct):
    name: str


class _Files(msgspec.Struct):
    ddbio_manifest: Literal[1]
    files: list[_File]


def read_types(text: bytes, location: str) -> Types:
    """What a manifest says of types; raises SourceError where it can't be understood."""
    return _read(text, location, Types)


def read_files(text: bytes, location: str) -> list[str]:
    """The names of the files that a manifest lists; raises SourceError where it can't be understood."""
    return [file.name for file in _read(text, location, _Files).files]


def read_manifest(text: bytes, location: str) -> Manifest:
    """A whole manifest; raises SourceError where it can't be understood."""
    return _read(text, location, Manifest)


def _read(text: bytes, location: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SourceError(
            f"The manifest of {location} can't be read: {error}.", hint="Mend it, or move it out of the way."
        ) from error
