"""Manifests of format 1, which the versions before format 2 wrote, read as those of today.

Format 1 kept an export's or import's options by English phrases, a position as `""`, `"end"` or a key, and what the job
used beside its other totals.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any, Literal

import msgspec

from ddbio.ledger.identity import ExportIdentity, Identity, ImportIdentity, SourceFiles
from ddbio.ledger.positions import END, START, AfterKey, Position
from ddbio.model import Compression, InputFormat, KeyType, OutputFormat
from ddbio.report import Spending

_SOURCE_FILES = re.compile(r"(\d+) of (\d+) bytes \(([0-9a-f]*)\)")


class _ExportOptions(msgspec.Struct, rename=lambda name: name.replace("_", " ")):
    format: OutputFormat
    compress: Compression
    fingerprint: bool
    encryption: str | None
    kms_key: str | None = msgspec.field(name="KMS key")
    storage_class: str | None
    acl: str | None = msgspec.field(name="ACL")
    index: str | None
    consistent_read: bool
    filter_expression: str | None
    projection_expression: str | None
    expression_names: dict[str, str]
    expression_values: str | None


class _ImportOptions(msgspec.Struct, rename=lambda name: name.replace("_", " ")):
    format: InputFormat
    source_files: str
    type_hints: str | None
    rejects_file: str | None


class _Identity(msgspec.Struct):
    command: Literal["export", "import"]
    account: str
    region: str
    table: str
    table_id: str
    keys: tuple[tuple[str, KeyType], ...]
    place: str
    what: dict[str, Any]


class _File(msgspec.Struct):
    first: str
    last: str
    sealed: bool
    token: dict[str, Any] | None = None


class _Manifest(msgspec.Struct):
    identity: _Identity
    files: list[_File]
    totals: Spending


def upgrade(text: bytes) -> dict[str, Any]:
    """The document of a manifest of format 1 as one of format 2. Raises ValueError where it is not of format 1."""
    old, document = msgspec.json.decode(text, type=_Manifest), json.loads(text)
    files = [
        members
        | {
            "first": msgspec.to_builtins(_position(file.first)),
            "last": msgspec.to_builtins(_position(file.last)),
            "sealed": file.sealed and file.token is None,
            "token": None,
        }
        for members, file in zip(document["files"], old.files, strict=True)
    ]
    identity = msgspec.to_builtins(_identity(old.identity))
    used = {each.name: document["totals"].pop(each.name) for each in fields(Spending)}
    totals = document["totals"] | {"used": used}
    return {**document, "ddbio_manifest": 2, "identity": identity, "files": files, "totals": totals}


def _identity(old: _Identity) -> Identity:
    table = {name: getattr(old, name) for name in ("account", "region", "table", "table_id", "keys")}
    if old.command == "export":
        options = msgspec.structs.asdict(msgspec.convert(old.what, _ExportOptions))
        return ExportIdentity(**table, **options, destination=old.place)
    options = msgspec.structs.asdict(msgspec.convert(old.what, _ImportOptions))
    return ImportIdentity(
        **table, **options | {"source_files": _files(options["source_files"])}, sources=tuple(old.place.split(", "))
    )


def _files(text: str) -> SourceFiles:
    found = _SOURCE_FILES.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} does not describe source files")
    return SourceFiles(int(found[1]), int(found[2]), found[3])


def _position(text: str) -> Position:
    if not text:
        return START
    return END if text == "end" else AfterKey(text)
