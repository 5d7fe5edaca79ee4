"""What makes two runs the same job. Capacity, processes and concurrency may differ.

A member that is added later needs a default: the value that stands for what earlier versions did.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from ddbio.model import Compression, InputFormat, KeyType, OutputFormat


class _JobIdentity(msgspec.Struct, frozen=True, kw_only=True, tag_field="command"):
    account: str
    region: str
    table: str
    table_id: str
    keys: tuple[tuple[str, KeyType], ...]
    """Name and type of each key attribute, the partition key first."""


class ExportIdentity(_JobIdentity, frozen=True, kw_only=True, tag="export"):
    command: ClassVar[Literal["export"]] = "export"
    destination: str
    format: OutputFormat
    compress: Compression
    fingerprint: bool
    encryption: str | None
    kms_key: str | None
    storage_class: str | None
    acl: str | None
    index: str | None
    consistent_read: bool
    filter_expression: str | None
    projection_expression: str | None
    expression_names: dict[str, str]
    expression_values: str | None
    """A digest: the values may be item contents."""


class SourceFiles(msgspec.Struct, frozen=True):
    """How many files an import reads, their size in all, and a digest of names, sizes and tags."""

    count: int
    bytes: int
    digest: str


class ImportIdentity(_JobIdentity, frozen=True, kw_only=True, tag="import"):
    command: ClassVar[Literal["import"]] = "import"
    sources: tuple[str, ...]
    format: InputFormat
    source_files: SourceFiles
    type_hints: str | None
    rejects_file: str | None


Identity = ExportIdentity | ImportIdentity
