"""Whole jobs: a table into files, and files into a table. Nothing here prints, exits or handles signals.

Cancelling a job's task stops it within about two seconds, so that it can be resumed: what is durable is sealed.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from ddbio import planning
from ddbio.codec.hints import HintType
from ddbio.errors import UsageError
from ddbio.events import JobPlanned, Observer, Warned, silent
from ddbio.exported import claim
from ddbio.identity import absolute, export_identity, import_identity, short_digest
from ddbio.ledger.checkpoint import Checkpoint, look, refuse_unfinished, same_job
from ddbio.ledger.entries import Identity, Opened
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.manifest import Manifest, TableRecord, Totals, encode, read_hints, read_manifest
from ddbio.ledger.recovery import recover, sweep
from ddbio.ledger.rejects import RejectsFile
from ddbio.options import Connection, ExportOptions, ImportOptions
from ddbio.pipeline.job import ExportJob, ImportJob, Job, S3Facts, TableFacts
from ddbio.report import JobReport
from ddbio.running import Run
from ddbio.runtime import threads
from ddbio.session import Session
from ddbio.storage import S3, Std, parse_location
from ddbio.storage.base import MANIFEST, Sink, Source
from ddbio.storage.local import LocalSink
from ddbio.storage.places import open_sink, open_source
from ddbio.table import TableInfo


async def export_table(
    options: ExportOptions, *, observer: Observer = silent, output: BinaryIO | None = None
) -> JobReport:
    """Export a table or an index into files; `output` is what the destination `-` stands for.

    Raises the errors of `ddbio.errors`: UsageError and PreflightError before anything is written, JobFailedError and
    WireError later; after these `resume=True` goes on.
    """
    run = _new_run()
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(_opened(options.connection, options.destination))
        table = await place.session.describe_table(options.table, options.scan.index)
        budget = planning.read_budget(options.capacity, table)
        sink = open_sink(
            options.destination,
            run,
            client=place.client,
            s3_options=options.s3,
            executor=place.executor,
            stream=output,
        )
        await stack.enter_async_context(sink)
        for warning in await sink.check(table.size_bytes if options.compress == "none" else None):
            observer(Warned(warning))
        await stack.enter_async_context(sink.lock(run))
        wanted = 1 if place.streams else options.processes
        count = planning.segment_count(options.segments, table.size_bytes, wanted)
        opened = Opened(run, export_identity(options, table), count)
        ledger = Ledger()
        if not place.streams:
            before = await look(sink, overwrite=options.overwrite)
            if options.resume and before.manifest is not None and before.state == "finished":
                await before.journal.remove()
                return _finished(before.manifest, opened.identity, sink, observer)
            ledger = Ledger(before.journal)
            stack.push_async_callback(ledger.leave)
            opened = await _begin_export(options, sink, before, ledger, opened, observer)
        job = ExportJob(run=run, options=options, table=_facts(table, place), segments=opened.segments, s3=place.s3)
        units = planning.segments(opened.segments)
        processes = planning.process_count(wanted, budget, planning.PAGE_UNITS, len(units))
        observer(_planned(job, table, place, budget, processes, len(units), sink.location))
        report = await Run(
            job=job,
            units=units,
            processes=processes,
            budget=budget,
            ledger=ledger,
            sink=None if place.streams else sink,
            source=place.session.credential_source(),
            observer=observer,
            max_rejects=0,
            stream=output,
        ).execute()
        if place.streams:
            return replace(report, files=0)
        await sweep(ledger, sink, options.table)
        return await _conclude(sink, opened, table, ledger, report, resumed=opened.run != run)


async def import_table(
    options: ImportOptions,
    *,
    observer: Observer = silent,
    input: BinaryIO | None = None,  # noqa: A002 - the pair of `output`
) -> JobReport:
    """Import files into an existing table; `input` is what the source `-` stands for.

    Records that can't be written go to the rejects file, and the report counts them. Raises the errors of
    `ddbio.errors`: UsageError and PreflightError before anything is written, JobFailedError and WireError later; after
    these `resume=True` goes on.
    """
    run = _new_run()
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(_opened(options.connection, options.source))
        table = await place.session.describe_table(options.table)
        budget = planning.write_budget(options.capacity, table)
        source = open_source(options.source, client=place.client, executor=place.executor, stream=input)
        await stack.enter_async_context(source)
        files = await source.files()
        hints = await _hints(source)
        units = planning.spans(files, options.processes)
        state = LocalSink(_state_folder(options, table, place), run, executor=place.executor)
        await stack.enter_async_context(state)
        opened = Opened(run, import_identity(options, table, files, hints), 0, tuple(units))
        ledger = Ledger(None, _rejects(options, state, run))
        if not place.streams:
            await stack.enter_async_context(state.lock(run))
            before = await look(state)
            if options.resume and before.manifest is not None and before.state == "finished":
                await before.journal.remove()
                report = _finished(before.manifest, opened.identity, state, observer)
                return replace(report, files=len(files))
            ledger, opened = await _begin_import(options, state, before, opened, observer)
            stack.push_async_callback(ledger.leave)
        units = list(opened.units)
        wanted = 1 if place.streams else options.processes
        processes = planning.process_count(wanted, budget, planning.BATCH_UNITS, len(units))
        job = ImportJob(run=run, options=options, table=_facts(table, place), hints=hints, s3=place.s3)
        size = planning.plain_bytes(files)
        observer(_planned(job, table, place, budget, processes, len(units), source.location, size))
        report = await Run(
            job=job,
            units=units,
            processes=processes,
            budget=budget,
            ledger=ledger,
            sink=None,
            source=place.session.credential_source(),
            observer=observer,
            max_rejects=0 if options.strict else options.max_rejects,
            stream=input,
        ).execute()
        report = replace(report, files=len(files))
        if place.streams:
            return report
        return replace(
            await _conclude(state, opened, table, ledger, report, resumed=opened.run != run), files=len(files)
        )


async def _begin_export(
    options: ExportOptions, sink: Sink, before: Checkpoint, ledger: Ledger, opened: Opened, observer: Observer
) -> Opened:
    """Fill the ledger of a new export, or of the one that is resumed, with what its last run left behind settled."""
    if options.resume and before.opened is not None:
        same_job(before.opened.identity, opened.identity)
        if options.segments not in (None, before.opened.segments):
            raise _other_segments(before.opened.segments, options.segments)
        ledger.replay(before.entries)
        await recover(ledger, sink)
        await sweep(ledger, sink, options.table)
        return before.opened
    _begins_anew(options.resume, sink, observer)
    if not options.overwrite:
        refuse_unfinished(before, sink.location)
    await claim(sink, options, before)
    await sweep(ledger, sink, options.table)
    await ledger.record([opened])
    return opened


async def _begin_import(
    options: ImportOptions, state: Sink, before: Checkpoint, opened: Opened, observer: Observer
) -> tuple[Ledger, Opened]:
    """The ledger of a new import, or of the one that is resumed, without rejects that no commit speaks of."""
    await state.sweep(lambda _: False, ())
    if options.resume and before.opened is not None:
        same_job(before.opened.identity, opened.identity)
        rejects = _rejects(options, state, before.opened.run)
        await rejects.cut(before.journal.rejects_bytes)
        ledger = Ledger(before.journal, rejects)
        ledger.replay(before.entries)
        return ledger, before.opened
    _begins_anew(options.resume, state, observer)
    refuse_unfinished(before, state.location)
    if before.manifest is not None and read_manifest(before.manifest, state.location).identity.command == "export":
        raise UsageError(f"{state.location} holds an export.", hint="Choose another folder with --state.")
    await before.journal.remove()
    await state.delete(MANIFEST)
    ledger = Ledger(before.journal, _rejects(options, state, opened.run))
    await ledger.record([opened])
    return ledger, opened


def _begins_anew(resume: bool, sink: Sink, observer: Observer) -> None:
    if resume:
        observer(Warned(f"Nothing to resume in {sink.location}: the job begins anew."))


def _other_segments(begun: int, asked: int | None) -> UsageError:
    return UsageError(
        f"The export was begun with {begun:,} segments and can't go on with {asked:,}.", hint="Leave --segments out."
    )


def _finished(text: bytes, asked: Identity, sink: Sink, observer: Observer) -> JobReport:
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
        capacity_units=0,
        requests=0,
        throttles=0,
        retries=0,
        seconds=0,
        cpu_seconds=0,
        peak_rss_bytes=0,
        resumed=True,
        manifest=_manifest_location(sink),
    )


async def _conclude(
    sink: Sink, opened: Opened, table: TableInfo, ledger: Ledger, report: JobReport, *, resumed: bool
) -> JobReport:
    """Write the manifest, then remove the journal that it replaces."""
    manifest = Manifest(
        ddbio_manifest=1,
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
        type_hints=ledger.types.hints(),
        mixed=ledger.types.mixed(),
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
        ),
    )
    await sink.put(MANIFEST, encode(manifest))
    await ledger.close()
    return replace(report, resumed=resumed, manifest=_manifest_location(sink))


def _manifest_location(sink: Sink) -> str:
    return f"{sink.location.rstrip('/')}/{MANIFEST}"


@dataclass(frozen=True, kw_only=True)
class _Place:
    """The AWS side of a job: a session, and for S3 a client in the bucket's own region."""

    session: Session
    client: Any
    s3: S3Facts | None
    streams: bool
    executor: Executor


@asynccontextmanager
async def _opened(connection: Connection, location: str) -> AsyncIterator[_Place]:
    place = parse_location(location)
    async with AsyncExitStack() as stack:
        executor = stack.enter_context(threads(4))
        session = await stack.enter_async_context(Session(connection))
        await session.credentials()
        facts = client = None
        if isinstance(place, S3):
            facts = S3Facts(await session.bucket_region(place.bucket), session.s3_endpoint, connection.profile)
            client = await stack.enter_async_context(session.s3_client(facts.region))
        yield _Place(session=session, client=client, s3=facts, streams=isinstance(place, Std), executor=executor)


def _facts(table: TableInfo, place: _Place) -> TableFacts:
    return TableFacts(
        name=table.name,
        region=place.session.region,
        endpoint=place.session.dynamodb_endpoint,
        keys=table.keys,
        ca_bundle=place.session.ca_bundle,
    )


def _new_run() -> str:
    """A name for this run that no other has: when it began, and a random part."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{random.SystemRandom().getrandbits(24):06x}"


async def _hints(source: Source) -> dict[str, HintType]:
    manifest = await source.manifest()
    return {} if manifest is None else read_hints(manifest, source.location)


def _state_folder(options: ImportOptions, table: TableInfo, place: _Place) -> Path:
    if options.state is not None:
        return Path(options.state)
    source = absolute(options.source)
    digest = short_digest((table.account, table.region, place.session.dynamodb_endpoint, table.table_id, source))
    return Path(".ddbio") / f"{table.name}-{digest}"


def _rejects(options: ImportOptions, state: Sink, run: str) -> RejectsFile:
    return RejectsFile(Path(options.rejects or Path(state.location) / f"rejects-{run}.jsonl"))


def _planned(
    job: Job,
    table: TableInfo,
    place: _Place,
    budget: float,
    processes: int,
    units: int,
    location: str,
    source_bytes: int | None = None,
) -> JobPlanned:
    expected = planning.expected_units(job, table, source_bytes)
    return JobPlanned(
        command="export" if isinstance(job, ExportJob) else "import",
        account=table.account,
        region=place.session.region,
        table=table.name,
        table_bytes=table.size_bytes or None,
        table_items=table.item_count or None,
        source_bytes=source_bytes,
        budget=budget,
        units=units,
        processes=processes,
        expected_seconds=expected / budget if expected else None,
        location=location,
    )
