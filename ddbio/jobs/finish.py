"""How a job ends: its manifest replaces its journal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ddbio.aws.table import TableInfo
from ddbio.errors import DestinationError
from ddbio.events import Observer, Warned
from ddbio.hints import HintType
from ddbio.ledger.checkpoint import Checkpoint, same_job
from ddbio.ledger.entries import Opened
from ddbio.ledger.identity import Identity
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.manifest import Manifest, TableRecord, Totals, encode, read_manifest
from ddbio.report import JobReport
from ddbio.storage.base import MANIFEST, Sink


async def already_finished(before: Checkpoint, asked: Identity, sink: Sink, observer: Observer) -> JobReport | None:
    """The report of an earlier run if that has finished the job; None if there is something left to do."""
    if before.state != "finished" or before.manifest is None:
        return None
    await before.journal.remove()
    manifest = read_manifest(before.manifest, sink.location)
    same_job(manifest.identity, asked)
    observer(Warned(f"The job in {sink.location} is finished: nothing is left to do."))
    totals = manifest.totals
    return JobReport(
        command=asked.command,
        table=asked.table,
        items=totals.items,
        bytes=totals.bytes,
        files=len(manifest.files),
        rejected=totals.rejected,
        rejects=totals.rejects,
        used=totals.used,
        peak_rss_bytes=0,
        resumed=True,
        manifest=_manifest_location(sink),
        reject_reasons=totals.reject_reasons,
        throttle_reasons=manifest.throttle_reasons,
        timeline=tuple(manifest.timeline),
    )


@contextmanager
def needs_only_finishing() -> Iterator[None]:
    """All items are moved and journaled: if the manifest can't be written, the job is resumable."""
    try:
        yield
    except DestinationError as error:
        error.stopped(resumable=True)
        raise


async def conclude(
    sink: Sink,
    opened: Opened,
    table: TableInfo,
    ledger: Ledger,
    report: JobReport,
    types: tuple[dict[str, HintType], list[str]] | None = None,
) -> JobReport:
    """Write the manifest, then remove the journal that it replaces.

    `types` are the type hints that an import has used, and the paths without one that may have held sets or binary: its
    rejects, once they are corrected, are imported with the same hints.
    """
    hints, mixed = types or (ledger.types.hints(), ledger.types.mixed())
    manifest = Manifest(
        ddbio_manifest=2,
        run=opened.run,
        identity=opened.identity,
        table=TableRecord(
            arn=table.arn,
            item_count=table.item_count,
            size_bytes=table.size_bytes,
            indexes=list(table.indexes),
        ),
        segments=opened.segments,
        files=sorted(ledger.files.values(), key=lambda file: file.name),
        type_hints=hints,
        mixed=mixed,
        types_cut_off=ledger.types.cut_off,
        totals=Totals(
            items=report.items,
            bytes=report.bytes,
            rejected=report.rejected,
            rejects=report.rejects,
            used=report.used,
            reject_reasons=report.reject_reasons,
        ),
        throttle_reasons=report.throttle_reasons,
        timeline=list(report.timeline),
    )
    await sink.put(MANIFEST, encode(manifest))
    await ledger.close()
    return replace(report, manifest=_manifest_location(sink))


def _manifest_location(sink: Sink) -> str:
    return f"{sink.location.rstrip('/')}/{MANIFEST}"
