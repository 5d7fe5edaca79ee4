"""What makes a job the same job: compared when it is resumed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ddbio.aws.table import TableInfo
from ddbio.ledger.entries import Identity
from ddbio.options import ExportOptions, ImportOptions
from ddbio.storage import Local, check_encoding, home_path, parse_location
from ddbio.storage.base import SourceFile


def export_identity(options: ExportOptions, table: TableInfo) -> Identity:
    """The identity of an export. Filter values are kept as a digest: they may be item contents."""
    scan = options.scan
    return Identity(
        command="export",
        place=absolute(options.destination),
        what={
            "format": options.format,
            "compress": options.compress,
            "fingerprint": options.fingerprint,
            "encryption": options.s3.sse,
            "KMS key": options.s3.kms_key_id,
            "storage class": options.s3.storage_class,
            "ACL": options.s3.acl,
            "index": scan.index,
            "consistent read": scan.consistent,
            "filter expression": scan.filter_expression,
            "projection expression": scan.projection_expression,
            "expression names": dict(scan.expression_names),
            "expression values": _digest(scan.expression_values) if scan.expression_values else None,
        },
        **_table(table),
    )


def import_identity(
    options: ImportOptions,
    table: TableInfo,
    sources: Sequence[Sequence[SourceFile]],
    hints: Sequence[Mapping[str, str]],
) -> Identity:
    """The identity of an import, of the files and the type hints of each source: a changed file is another source."""
    files = [file for source in sources for file in source]
    size = sum(file.size or 0 for file in files)
    digest = _digest(_one_or_all([[tuple(file) for file in source] for source in sources]))
    return Identity(
        command="import",
        place=", ".join(map(absolute, options.sources)),
        what={
            "format": options.format,
            "source files": f"{len(files)} of {size} bytes ({digest})",
            "type hints": _digest(_one_or_all(hints)) if any(hints) else None,
            "rejects file": options.rejects and from_anywhere(home_path(options.rejects)),
        },
        **_table(table),
    )


def short_digest(identity: Sequence[str]) -> str:
    """Eight characters that stand for these texts."""
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


def absolute(place: str) -> str:
    """A source or destination as it is called from anywhere (blocking)."""
    found = parse_location(place)
    return from_anywhere(found.path) if isinstance(found, Local) else place.rstrip("/")


def from_anywhere(name: str) -> str:
    """A local path without `..` and links (blocking); raises UsageError where it is not UTF-8.

    A link to a file is left as it is: its own name tells the compression.
    """
    folder, last = os.path.split(name)
    is_folder = last in ("", "..") or os.path.isdir(name)  # noqa: PTH112 - true of what can't be looked into
    found = os.path.realpath(name) if is_folder else os.path.join(os.path.realpath(folder), last)  # noqa: PTH118
    check_encoding(found)
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:16]
