"""The identity of a job, from its options: it is compared when the job is resumed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ddbio.aws.table import TableInfo
from ddbio.ledger.identity import ExportIdentity, ImportIdentity, SourceFiles
from ddbio.options import ExportOptions, ImportOptions
from ddbio.storage import Local, check_encoding, home_path, parse_location
from ddbio.storage.base import SourceFile


def export_identity(options: ExportOptions, table: TableInfo) -> ExportIdentity:
    """The identity of an export (blocking). Filter values are kept as a digest: they may be item contents."""
    scan = options.scan
    return ExportIdentity(
        **_table(table),
        destination=absolute(options.destination),
        format=options.format,
        compress=options.compress,
        fingerprint=options.fingerprint,
        encryption=options.s3.sse,
        kms_key=options.s3.kms_key_id,
        storage_class=options.s3.storage_class,
        acl=options.s3.acl,
        index=scan.index,
        consistent_read=scan.consistent,
        filter_expression=scan.filter_expression,
        projection_expression=scan.projection_expression,
        expression_names=dict(scan.expression_names),
        expression_values=_digest(scan.expression_values) if scan.expression_values else None,
    )


def import_identity(
    options: ImportOptions,
    table: TableInfo,
    sources: Sequence[Sequence[SourceFile]],
    hints: Sequence[Mapping[str, str]],
) -> ImportIdentity:
    """The identity of an import (blocking), with digests of the files and of the type hints of each source."""
    files = [file for source in sources for file in source]
    return ImportIdentity(
        **_table(table),
        sources=tuple(map(absolute, options.sources)),
        format=options.format,
        source_files=SourceFiles(
            count=len(files),
            bytes=sum(file.size or 0 for file in files),
            digest=_digest(_one_or_all([[tuple(file) for file in source] for source in sources])),
        ),
        type_hints=_digest(_one_or_all(hints)) if any(hints) else None,
        rejects_file=options.rejects and from_anywhere(home_path(options.rejects)),
    )


def short_digest(identity: Sequence[str]) -> str:
    """Eight characters that identify these texts."""
    return _digest(identity)[:8]


def _one_or_all(sources: Sequence[Any]) -> Any:
    return sources[0] if len(sources) == 1 else sources


def _table(table: TableInfo) -> dict[str, Any]:
    return {
        "account": table.account,
        "region": table.region,
        "table": table.name,
        "table_id": table.table_id,
        "keys": tuple((element.name, element.type) for element in table.key_schema),
    }


def absolute(location: str) -> str:
    """A source or destination by a name that does not depend on the current folder (blocking)."""
    found = parse_location(location)
    return from_anywhere(found.path) if isinstance(found, Local) else location.rstrip("/")


def from_anywhere(name: str) -> str:
    """An absolute local path without `..` and links (blocking); raises UsageError where it is not UTF-8.

    A link to a file is not followed: its own name says how it is compressed.
    """
    folder, last = os.path.split(name)
    is_folder = last in ("", "..") or os.path.isdir(name)  # noqa: PTH112 - also true of a folder that can't be entered
    found = os.path.realpath(name) if is_folder else os.path.join(os.path.realpath(folder), last)  # noqa: PTH118
    check_encoding(found)
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:16]
