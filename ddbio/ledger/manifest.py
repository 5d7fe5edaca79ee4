"""The manifest: the final summary of a job, `_ddbio/manifest.json` beside an export's files or in an import's state.

Its checksum covers every member but itself, those of later versions included, and depends neither on white space nor
on the order of members or the notation of numbers. `docs/durable-formats.md` describes the format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Literal, TypeVar

import msgspec

from ddbio.errors import SourceError
from ddbio.hints import HintType
from ddbio.ledger import manifest_1
from ddbio.ledger.entries import FileState
from ddbio.ledger.identity import Identity
from ddbio.ledger.positions import Natural
from ddbio.names import is_file_of
from ddbio.report import Moment, Spending

T = TypeVar("T")
VERSION = 2
"""Of the manifest's format. It is raised when members are removed or change their meaning, not when some are added."""


class TableRecord(msgspec.Struct, frozen=True):
    arn: str
    item_count: Natural
    size_bytes: Natural
    indexes: list[str]


class Totals(msgspec.Struct, frozen=True):
    """What the job did and used, in all its runs; of a run that was killed, up to its last entry in the journal."""

    items: Natural
    bytes: Natural
    rejected: Natural
    rejects: str | None
    used: Spending
    reject_reasons: dict[str, int] = {}

    def __post_init__(self) -> None:
        if min(self.used.requests, self.used.throttles, self.used.retries) < 0:
            raise ValueError("a negative count in `used`")


class Manifest(msgspec.Struct, frozen=True):
    ddbio_manifest: Literal[2]
    run: str
    identity: Identity
    table: TableRecord
    segments: Natural
    """TotalSegments of an export; 0 for an import."""
    files: list[FileState]
    type_hints: dict[str, HintType]
    """Plain JSON: the type of each path that held only one type (`ddbio.hints`)."""
    mixed: list[str]
    """Plain JSON: paths whose sets or binary can't be distinguished from other values that were seen there."""
    totals: Totals
    types_cut_off: bool = False
    """Plain JSON: there may be paths that neither `type_hints` nor `mixed` could name (`ddbio.hints`)."""
    throttle_reasons: dict[str, Natural] = {}
    """Of the last run, as in `ddbio.report.JobReport`; so is `timeline`."""
    timeline: list[Moment] = []
    checksum: str | None = None
    """Of all other members; None where an earlier version wrote none. `encode` adds it."""


def encode(manifest: Manifest) -> bytes:
    _, checksum = _checksums(msgspec.json.encode(manifest))
    text = msgspec.json.encode(msgspec.structs.replace(manifest, checksum=checksum))
    return msgspec.json.format(text, indent=2) + b"\n"


class Listed(msgspec.Struct):
    name: str
    bytes: int | None = None


class Origin(msgspec.Struct):
    command: Literal["export", "import"]
    account: str
    region: str
    table: str


class Types(msgspec.Struct):
    """What an import reads of a manifest. A person may have written one that holds only type hints."""

    type_hints: dict[str, HintType]
    mixed: list[str] = []
    types_cut_off: bool = False
    files: list[Listed] = []
    identity: Origin | None = None


class _Files(msgspec.Struct):
    identity: Origin
    files: list[Listed]


class _Version(msgspec.Struct):
    ddbio_manifest: int


def read_types(text: bytes, location: str) -> Types:
    """What an import needs of a manifest. Raises SourceError where it can't be understood, or was changed."""
    return _read(text, location, lambda _: msgspec.json.decode(text, type=Types))


def read_files(text: bytes, location: str) -> list[str]:
    """The names of the files that a manifest lists and its table's exports could have; raises as `read_types`."""
    found = _read(text, location, lambda _: msgspec.json.decode(text, type=_Files))
    return list(filter(is_file_of(found.identity.table), (file.name for file in found.files)))


def read_manifest(text: bytes, location: str) -> Manifest:
    """A whole manifest, of any format up to `VERSION`; raises as `read_types`."""

    def decode(version: int) -> Manifest:
        if version == 1:
            return msgspec.convert(manifest_1.upgrade(text), Manifest)
        return msgspec.json.decode(text, type=Manifest)

    return _read(text, location, decode)


def _read(text: bytes, location: str, decode: Callable[[int], T]) -> T:
    try:
        version = msgspec.json.decode(text, type=_Version).ddbio_manifest
        if version not in range(1, VERSION + 1):
            reads = f"this version of ddbio reads formats 1 to {VERSION}"
            raise SourceError(
                f"The manifest of {location} is of format {version}; {reads}.",
                hint="Use the version of ddbio that wrote it, or a later one.",
            )
        found = decode(version)
        stated, checksum = _checksums(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"The manifest of {location} can't be read: {error}.", hint="Mend it, or move it out of the way."
        ) from error
    if stated not in (None, checksum):
        raise SourceError(
            f"The manifest of {location} is damaged: its checksum is wrong.",
            hint="Put a copy of it in its place, or move it out of the way. If it was changed on purpose, remove its "
            "member checksum.",
        )
    return found


def _checksums(text: bytes) -> tuple[object, str]:
    """The checksum in a manifest, and the right one: the SHA-256 of the rest as sorted JSON in ASCII."""
    document = json.loads(text, parse_float=_number)
    stated = document.pop("checksum", None)
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return stated, hashlib.sha256(canonical.encode()).hexdigest()


def _number(text: str) -> float:
    """A number with a fraction or an exponent; an integer where its value is one, since jq writes 4.0 as 4."""
    number = float(text)
    return int(number) if number.is_integer() else number
