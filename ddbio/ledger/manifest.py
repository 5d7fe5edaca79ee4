"""The manifest: the final summary of a job, `_ddbio/manifest.json` beside an export's files or in an import's state.

It is versioned by its first member, and written whole or not at all. Its checksum depends neither on white space nor
on the order of members or the notation of numbers, and covers every member but itself: those of later versions too.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import msgspec

from ddbio.errors import SourceError
from ddbio.hints import HintType
from ddbio.ledger.entries import FileState, Identity, Natural
from ddbio.names import is_file_of
from ddbio.report import Moment, Spending

T = TypeVar("T")


class TableRecord(msgspec.Struct, frozen=True):
    """The table as it was when the job began."""

    arn: str
    item_count: Natural
    size_bytes: Natural
    indexes: list[str]


@dataclass(frozen=True, kw_only=True)
class Totals(Spending):
    """What the job did and used, in all its runs; of a run that was killed, up to its last entry in the journal."""

    items: Natural
    bytes: Natural
    rejected: Natural
    rejects: str | None
    requests: Natural = 0  # as in Spending; here they are validated
    throttles: Natural = 0
    retries: Natural = 0
    reject_reasons: dict[str, int] = field(default_factory=dict)


class Manifest(msgspec.Struct, frozen=True):
    """Everything that a later import, verification or person needs to know of a job."""

    ddbio_manifest: Literal[1]
    run: str
    identity: Identity
    table: TableRecord
    segments: Natural
    """TotalSegments of an export; 0 for an import."""
    files: list[FileState]
    """An export's files, each with its segment, counts, bytes, CRC32 and positions."""
    type_hints: dict[str, HintType]
    """Plain JSON: the type of each path that held only that one (`ddbio.hints`)."""
    mixed: list[str]
    """Plain JSON: paths whose sets or binary can't be told from other values that were seen there."""
    totals: Totals
    types_cut_off: bool = False
    """Plain JSON: there may be more paths than `type_hints` and `mixed` could speak of (`ddbio.hints`)."""
    throttle_reasons: dict[str, Natural] = {}
    """Of the last run, as in `ddbio.report.JobReport`; so is `timeline`."""
    timeline: list[Moment] = []
    checksum: str | None = None
    """Of all the other members; None in a manifest of a version that wrote none. `encode` puts it in."""


def encode(manifest: Manifest) -> bytes:
    """The manifest as indented JSON, with its checksum."""
    _, checksum = _checksums(msgspec.json.encode(manifest))
    text = msgspec.json.encode(msgspec.structs.replace(manifest, checksum=checksum))
    return msgspec.json.format(text, indent=2) + b"\n"


class Listed(msgspec.Struct):
    """A file that a manifest lists, and its size."""

    name: str
    bytes: int | None = None


class Origin(msgspec.Struct):
    """The table that a job was about."""

    command: Literal["export", "import"]
    account: str
    region: str
    table: str


class Types(msgspec.Struct):
    """What a manifest tells an import, as in `Manifest`: a person may have written one of types that plain JSON does
    not tell, and of nothing else.
    """

    ddbio_manifest: Literal[1]
    type_hints: dict[str, HintType]
    mixed: list[str] = []
    types_cut_off: bool = False
    files: list[Listed] = []
    identity: Origin | None = None


class _Files(msgspec.Struct):
    ddbio_manifest: Literal[1]
    identity: Origin
    files: list[Listed]


def read_types(text: bytes, location: str) -> Types:
    """What a manifest tells an import; raises SourceError where it can't be understood, or was changed."""
    return _read(text, location, Types)


def read_files(text: bytes, location: str) -> list[str]:
    """The names of the files that a manifest lists, as far as they are those of its table's exports.

    Raises SourceError as `read_types` does.
    """
    found = _read(text, location, _Files)
    return list(filter(is_file_of(found.identity.table), (file.name for file in found.files)))


def read_manifest(text: bytes, location: str) -> Manifest:
    """A whole manifest; raises SourceError as `read_types` does."""
    return _read(text, location, Manifest)


def _read(text: bytes, location: str, kind: type[T]) -> T:
    try:
        found = msgspec.json.decode(text, type=kind)
        said, checksum = _checksums(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"The manifest of {location} can't be read: {error}.", hint="Mend it, or move it out of the way."
        ) from error
    if said not in (None, checksum):
        raise SourceError(
            f"The manifest of {location} is damaged: its checksum is wrong.",
            hint="Put a copy of it in its place, or move it out of the way. If it was changed on purpose, remove its "
            "member checksum.",
        )
    return found


def _checksums(text: bytes) -> tuple[object, str]:
    """What a manifest gives as its checksum, and the right one: the SHA-256 of the rest as ASCII JSON, sorted."""
    document = json.loads(text, parse_float=_number)
    said = document.pop("checksum", None)
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return said, hashlib.sha256(canonical.encode()).hexdigest()


def _number(text: str) -> float:
    """A number that is not written as an integer; as one if it is one, since jq writes 4.0 as 4."""
    number = float(text)
    return int(number) if number.is_integer() else number
