"""How a job ends: its manifest replaces its journal."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from ddbio.aws.table import TableInfo
from ddbio.errors import DestinationError
from ddbio.hints import HintType
from ddbio.jobs.opening import Services
from ddbio.jobs.stages import Begun
from ddbio.ledger.checkpoint import Checkpoint, same_job
from ddbio.ledger.identity import Identity
from ddbio.ledger.manifest import Manifest, TableRecord, Totals, encode, read_manifest
from ddbio.report import JobReport
from ddbio.storage.base import MANIFEST, Sink


async def already_finished(before: Checkpoint, asked: Identity, sink: Sink, services: Services) -> JobReport | None:
    """The report of an earlier run if that has finished the job; None if there is something left to do."""
    if before.manifest is None:
        return None
    await before.journal.remove()
    manifest = read_manifest(before.manifest, sink.location)
    same_job(manifest.identity, asked)
    services.warn(f"The job in {sink.location} is finished: nothing is left to do.")
    return JobReport(
        command=asked.command,
        table=asked.table,
        **msgspec.structs.asdict(manifest.totals),
        files=len(manifest.files),
        peak_rss_bytes=0,
        resumed=True,
        manifest=_manifest_location(sink),
        throttle_reasons=manifest.throttle_reasons,
        timeline=tuple(manifest.timeline),
    )


async def conclude(
    sink: Sink,
    begun: Begun,
    table: TableInfo,
    report: JobReport,
    types: tuple[dict[str, HintType], list[str]] | None = None,
) -> JobReport:
    """Remove what is left over, write the manifest, then remove the journal that it replaces.

    `types` are the type hints that an import has used, and the paths without one that may have held sets or binary: its
    rejects, once they are corrected, are imported with the same hints.
    """
    opened, ledger = begun.opened, begun.ledger
    hints, mixed = types or (ledger.types.hints(), ledger.types.mixed())
    manifest = Manifest(
        ddbio_manifest=2,
        run=opened.run,
        identity=opened.identity,
        table=msgspec.convert(table, TableRecord, from_attributes=True),
        segments=opened.segments,
        files=sorted(ledger.files.values(), key=lambda file: file.name),
        type_hints=hints,
        mixed=mixed,
        types_cut_off=ledger.types.cut_off,
        totals=msgspec.convert(report, Totals, from_attributes=True),
        throttle_reasons=report.throttle_reasons,
        timeline=list(report.timeline),
    )
    try:
        await begun.files.sweep()
        await sink.put(MANIFEST, encode(manifest))
        await ledger.close()
    except DestinationError as error:  # all items are moved and journaled
        error.stopped(resumable=True)
        raise
    return replace(report, manifest=_manifest_location(sink))


def _manifest_location(sink: Sink) -> str:
    return f"{sink.location.rstrip('/')}/{MANIFEST}"
