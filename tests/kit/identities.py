"""Jobs as a journal or a manifest identifies them."""

from __future__ import annotations

from ddbio.ledger.identity import ExportIdentity, ImportIdentity, SourceFiles

EXPORT = ExportIdentity(
    account="123456789012",
    region="eu-west-1",
    table="T",
    table_id="id-1",
    keys=(("pk", "S"),),
    destination="/out",
    format="jsonl",
    compress="none",
    fingerprint=True,
    encryption=None,
    kms_key=None,
    storage_class=None,
    acl=None,
    index=None,
    consistent_read=False,
    filter_expression=None,
    projection_expression=None,
    expression_names={},
    expression_values=None,
)
IMPORT = ImportIdentity(
    account="123456789012",
    region="eu-west-1",
    table="T",
    table_id="id-1",
    keys=(("pk", "S"),),
    sources=("/in",),
    format="auto",
    source_files=SourceFiles(1, 90, "0123456789abcdef"),
    type_hints=None,
    rejects_file=None,
)
