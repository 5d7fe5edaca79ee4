"""The export as a whole at its destination: nobody else's files are touched, and a manifest says what is there."""

from __future__ import annotations

import re

from ddbio.errors import UsageError
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.manifest import Manifest, TableRecord, Totals, encode, read_files
from ddbio.options import ExportOptions
from ddbio.pipeline.job import ExportJob
from ddbio.report import JobReport
from ddbio.storage.base import MANIFEST, Sink
from ddbio.table import TableInfo


async def claim(sink: Sink, options: ExportOptions) -> None:
    """Refuse a destination that holds an export already, or with `overwrite` remove that one.

    Raises UsageError.
    """
    mine = re.compile(re.escape(options.table) + r"-\d{4,}-\d{5,}\.json(\.gz|\.zst)?")
    old = {file.name for file in await sink.list(f"{options.table}-") if mine.fullmatch(file.name)}
    manifest = await sink.get(MANIFEST)
    if manifest is not None:
        old |= {MANIFEST, *read_files(manifest, sink.location)}
    if old and not options.overwrite:
        raise UsageError(
            f"{sink.location} already holds an export: {_some(sorted(old))}.",
            hint="Choose another destination, or replace it with --overwrite.",
        )
    for name in sorted(old):
        await sink.delete(name)


def _some(names: list[str]) -> str:
    others = len(names) - 1
    return names[0] if not others else f"{names[0]} and {others:,} more"


async def write_manifest(sink: Sink, job: ExportJob, table: TableInfo, ledger: Ledger, report: JobReport) -> str:
    """Write the manifest, whole or not at all; return its location."""
    manifest = Manifest(
        ddbio_manifest=1,
        run=job.run,
        table=TableRecord(
            name=table.name,
            arn=table.arn,
            id=table.table_id or None,
            region=table.region,
            account=table.account,
            keys=[(element.name, element.type) for element in table.key_schema],
            item_count=table.item_count,
            size_bytes=table.size_bytes,
        ),
        options=_recorded(job.options),
        segments=job.segments,
        files=sorted(ledger.files.values(), key=lambda file: file.name),
        type_hints=ledger.types.hints(),
        mixed=ledger.types.mixed(),
        totals=Totals(
            items=report.items,
            bytes=report.bytes,
            capacity_units=report.capacity_units,
            requests=report.requests,
            throttles=report.throttles,
            retries=report.retries,
            seconds=report.seconds,
        ),
    )
    await sink.put(MANIFEST, encode(manifest))
    return f"{sink.location.rstrip('/')}/{MANIFEST}"


def _recorded(options: ExportOptions) -> dict[str, object]:
    """What shapes the files. Filter values stay out: they may be item contents."""
    scan = options.scan
    return {
        "format": options.format,
        "compress": options.compress,
        "file_size_mb": options.file_size_mb,
        "index": scan.index,
        "consistent_read": scan.consistent,
        "filter_expression": scan.filter_expression,
        "projection_expression": scan.projection_expression,
        "expression_names": dict(scan.expression_names),
    }
