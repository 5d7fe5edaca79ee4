"""How a job begins, anew or where it stopped, and how it is concluded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ddbio.aws.table import TableInfo
from ddbio.errors import DestinationError, UsageError
from ddbio.events import Observer, Warned
from ddbio.hints import HintType
from ddbio.jobs.claim import claim
from ddbio.ledger.checkpoint import (
    Checkpoint,
    check_order,
    check_splits,
    refuse_unfinished,
    same_files,
    same_job,
)
from ddbio.ledger.entries import Opened
from ddbio.ledger.identity import Identity
from ddbio.ledger.law import ImportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.manifest import Manifest, TableRecord, Totals, encode, read_manifest
from ddbio.ledger.recovery import recover, sweep
from ddbio.ledger.rejects import RejectsFile
from ddbio.options import ExportOptions, ImportOptions
from ddbio.report import JobReport
from ddbio.storage import home_path
from ddbio.storage.base import MANIFEST, Sink
from ddbio.words import count


async def begin_export(
    options: ExportOptions, sink: Sink, before: Checkpoint, ledger: Ledger, opened: Opened, observer: Observer
) -> Opened:
    """Fill the ledger of a new export, or of the one that is resumed, with what its last run left behind settled."""
    if options.resume and before.opened is not None:
        same_job(before.opened.identity, opened.identity)
        if options.segments not in (None, before.opened.segments):
            raise _other_segments(before.opened.segments, options.segments)
        await _replay(before, ledger)
        await recover(ledger, sink)
        await sweep(ledger, sink, opened.identity.table)
        return before.opened
    _begins_anew(options.resume, sink, observer)
    if not options.overwrite:
        await refuse_unfinished(before, sink.location, "--overwrite")
    await claim(sink, opened.identity.table, before, overwrite=options.overwrite)
    await sweep(ledger, sink, opened.identity.table)
    await ledger.record([opened])
    return opened


async def begin_import(
    options: ImportOptions, state: Sink, before: Checkpoint, opened: Opened, observer: Observer
) -> tuple[Ledger, Opened]:
    """The ledger of a new import, or of the one that is resumed, without rejects that no commit speaks of."""
    await state.sweep(lambda _: False, ())
    if options.resume and before.opened is not None:
        same_files(before.opened.splits, opened.splits)
        same_job(before.opened.identity, opened.identity)
        check_splits(before.opened.splits, opened.splits)
        rejects = rejects_file(options, state, before.opened.run)
        ledger = Ledger(ImportLaw(), before.journal, rejects)
        await _replay(before, ledger)
        check_order(before.opened.splits, ledger)
        await rejects.cut(before.journal.rejects_bytes)
        return ledger, before.opened
    _begins_anew(options.resume, state, observer)
    await refuse_unfinished(before, state.location, "another --state")
    if before.manifest is not None and read_manifest(before.manifest, state.location).identity.command == "export":
        raise UsageError(f"{state.location} holds an export.", hint="Choose another folder with --state.")
    await before.journal.remove()
    await state.delete(MANIFEST)
    ledger = Ledger(ImportLaw(), before.journal, rejects_file(options, state, opened.run))
    await ledger.record([opened])
    return ledger, opened


async def _replay(before: Checkpoint, ledger: Ledger) -> None:
    async for entries in before.entries():
        ledger.replay(entries)


def _begins_anew(resume: bool, sink: Sink, observer: Observer) -> None:
    if resume:
        observer(Warned(f"Nothing to resume in {sink.location}: the job begins anew."))


def _other_segments(begun: int, asked: int | None) -> UsageError:
    return UsageError(
        f"The export was begun with {count(begun, 'segment')} and can't go on with {asked:,}.",
        hint="Leave --segments out.",
    )


def finished_report(text: bytes, asked: Identity, sink: Sink, observer: Observer) -> JobReport:
    """The report of a job that has nothing left to do."""
    manifest = read_manifest(text, sink.location)
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
        capacity_units=totals.capacity_units,
        requests=totals.requests,
        throttles=totals.throttles,
        retries=totals.retries,
        seconds=totals.seconds,
        cpu_seconds=totals.cpu_seconds,
        peak_rss_bytes=0,
        resumed=True,
        manifest=_manifest_location(sink),
        reject_reasons=totals.reject_reasons,
        throttle_reasons=manifest.throttle_reasons,
        timeline=tuple(manifest.timeline),
    )


@contextmanager
def all_journaled() -> Iterator[None]:
    """Nothing is left to do inside but the job's conclusion: where that can't be written, `resume` does it again."""
    try:
        yield
    except DestinationError as error:
        error.resumable = True
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

    `types` are the type hints that an import has used, and the paths that it had none for, though they may have held
    sets or binary: its rejects are read by them too, once they are mended.
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
            capacity_units=report.capacity_units,
            requests=report.requests,
            throttles=report.throttles,
            retries=report.retries,
            seconds=report.seconds,
            cpu_seconds=report.cpu_seconds,
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


def rejects_file(options: ImportOptions, state: Sink, run: str) -> RejectsFile:
    """Where the rejected records of the run `run` go."""
    return RejectsFile(
        Path(home_path(options.rejects) if options.rejects else f"{state.location}/rejects-{run}.jsonl"), run
    )
