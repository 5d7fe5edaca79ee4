"""The manifest: the final summary of an export, `_ddbio/manifest.json` beside its files."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from ddbio.codec.hints import HintType
from ddbio.errors import SourceError
from ddbio.ledger.entries import FileState

T = TypeVar("T")


class TableRecord(msgspec.Struct, frozen=True):
    """The table as it was when the export began."""

    name: str
    arn: str
    id: str | None
    region: str
    account: str
    keys: list[tuple[str, str]]
    """Key attributes of what was scanned, with their types."""
    item_count: int | None
    size_bytes: int | None


class Totals(msgspec.Struct, frozen=True):
    """What the job did and used."""

    items: int
    bytes: int
    capacity_units: float
    requests: int
    throttles: int
    retries: int
    seconds: float


class Manifest(msgspec.Struct, frozen=True):
    """Everything that a later import, or a person, needs to know of an export."""

    ddbio_manifest: Literal[1]
    run: str
    table: TableRecord
    options: dict[str, Any]
    segments: int
    files: list[FileState]
    type_hints: dict[str, HintType]
    """Plain JSON: the type of each path that held only that one (`ddbio.codec.hints`)."""
    mixed: list[str]
    """Plain JSON: paths whose sets or binary can't be told from other values that were seen there."""
    totals: Totals


def encode(manifest: Manifest) -> bytes:
    """The manifest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


class _Hints(msgspec.Struct):
    ddbio_manifest: Literal[1]
    type_hints: dict[str, HintType]


class _File(msgspec.Struct):
    name: str


class _Files(msgspec.Struct):
    ddbio_manifest: Literal[1]
    files: list[_File]


def read_hints(text: bytes, location: str) -> dict[str, HintType]:
    """The type hints of a manifest; raises SourceError where it can't be understood."""
    return _read(text, location, _Hints).type_hints


def read_files(text: bytes, location: str) -> list[str]:
    """The names of the files that a manifest lists; raises SourceError where it can't be understood."""
    return [file.name for file in _read(text, location, _Files).files]


def _read(text: bytes, location: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise SourceError(
            f"The manifest of {location} can't be read: {error}.", hint="Mend it, or move it out of the way."
        ) from error
