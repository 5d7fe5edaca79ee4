"""Whole jobs: a table into files, and files into a table. Nothing here prints, exits or handles signals.

Cancelling a job's task stops it within about two seconds, so that it can be resumed: what is durable is sealed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from ddbio.aws.buckets import Bucket, Buckets
from ddbio.aws.session import Session
from ddbio.aws.table import TableInfo
from ddbio.capacity import Budget, Control, Pace
from ddbio.events import JobPlanned, Observer, Warned, silent, tolerant
from ddbio.jobs import planning
from ddbio.jobs.identity import absolute, export_identity, import_identity, short_digest
from ddbio.jobs.lifecycle import all_journaled, begin_export, begin_import, conclude, finished_report, rejects_file
from ddbio.jobs.run import Run
from ddbio.jobs.sources import FoundSource, common_types, find_all, lossy, untold
from ddbio.ledger.checkpoint import look
from ddbio.ledger.entries import Opened
from ddbio.ledger.law import ExportLaw, ImportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.recovery import sweep
from ddbio.names import is_file_of, stem
from ddbio.options import Capacity, Connection, ExportOptions, ImportOptions
from ddbio.pipeline.job import ExportJob, ImportJob, Job, SourceFacts, TableFacts
from ddbio.report import JobReport
from ddbio.runtime import threads
from ddbio.storage import check_encoding, home_path, parse_location
from ddbio.storage.base import Sink
from ddbio.storage.local.sink import LocalSink
from ddbio.storage.naming import is_hidden
from ddbio.storage.places import open_sink, open_source


async def export_table(
    options: ExportOptions,
    *,
    observer: Observer = silent,
    output: BinaryIO | None = None,
    control: Control | None = None,
) -> JobReport:
    """Export a table or an index into files; `output` is what the destination `-` stands for.

    `control` steers the job while it runs.

    Raises the errors of `ddbio.errors`: UsageError and PreflightError before anything is written, JobFailedError and
    WireError later; after these `resume=True` goes on.
    """
    run, observer = _new_run(), tolerant(observer)
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(_opened(options.connection, options.destination))
        bucket, streams = await place.buckets.of(options.destination), options.destination == "-"
        control = control or Control()
        steered = _steered(control, place.session, options, options.scan.index, planning.read_pace)
        table, budget, fastest = await stack.enter_async_context(steered)
        sink = open_sink(
            options.destination,
            run,
            client=bucket.client,
            s3_options=options.s3,
            executor=place.executor,
            stream=output,
        )
        await stack.enter_async_context(sink)
        for warning in await sink.check(table.size_bytes if options.compress == "none" else None):
            observer(Warned(warning))
        lock = await stack.enter_async_context(sink.lock(run))
        wanted = 1 if streams else planning.affordable(options.processes, fastest, planning.PAGE_UNITS)
        total = planning.segment_count(options.segments, table.size_bytes, wanted)
        opened = Opened(run, await asyncio.to_thread(export_identity, options, table), total)
        ledger = Ledger(ExportLaw())
        if not streams:
            before = await look(sink, overwrite=options.overwrite)
            if options.resume and before.manifest is not None and before.state == "finished":
                await before.journal.remove()
                return finished_report(before.manifest, opened.identity, sink, observer)
            ledger = Ledger(ExportLaw(), before.journal)
            stack.push_async_callback(ledger.leave)
            opened = await begin_export(options, sink, before, ledger, opened, observer)
            await _warn_of_names(sink, table.name, observer)
        job = ExportJob(run=run, options=options, table=_facts(table, place), segments=opened.segments, s3=bucket.facts)
        splits = planning.segments(opened.segments)
        processes = planning.process_count(wanted, fastest, planning.PAGE_UNITS, len(splits))
        observer(_planned(job, table, place, budget.pace, processes, len(splits), ledger, sink.location))
        report = await Run(
            job=job,
            splits=splits,
            processes=processes,
            budget=budget,
            control=control,
            ledger=ledger,
            sink=None if streams else sink,
            place=None if streams else sink,
            source=place.session.credential_provider(),
            observer=observer,
            max_rejects=0,
            stream=output,
            resumed=opened.run != run,
            lock=lock,
        ).execute()
        if mixed := ledger.types.mixed():
            observer(Warned(lossy(mixed, table.name)))
        if ledger.types.cut_off:
            observer(Warned(untold(table.name)))
        if streams:
            return report
        with all_journaled():
            await sweep(ledger, sink, table.name)
            return await conclude(sink, opened, table, ledger, report)


async def import_table(
    options: ImportOptions,
    *,
    observer: Observer = silent,
    input: BinaryIO | None = None,  # noqa: A002 - the pair of `output`
    control: Control | None = None,
) -> JobReport:
    """Import files into an existing table; `input` is what the source `-` stands for.

    `control` steers the job while it runs.

    Records that can't be written go to the rejects file, and the report counts them. Raises the errors of
    `ddbio.errors`: UsageError and PreflightError before anything is written, JobFailedError and WireError later; after
    these `resume=True` goes on.
    """
    run, observer = _new_run(), tolerant(observer)
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(_opened(options.connection, *options.sources))
        buckets, streams = [await place.buckets.of(name) for name in options.sources], "-" in options.sources
        control = control or Control()
        steered = _steered(control, place.session, options, None, planning.write_pace)
        table, budget, fastest = await stack.enter_async_context(steered)
        sources = [
            await stack.enter_async_context(
                open_source(name, client=bucket.client, executor=place.executor, stream=input)
            )
            for name, bucket in zip(options.sources, buckets, strict=True)
        ]
        state = LocalSink(
            await asyncio.to_thread(_state_folder, options, table, place), run, executor=place.executor, private=True
        )
        await stack.enter_async_context(state)
        found = await find_all(sources, options, table, rejects_file(options, state, run), state.location, observer)
        files = [source.files for source in found]
        wanted = 1 if streams else planning.affordable(options.processes, fastest, planning.BATCH_UNITS)
        splits = planning.spans(files, wanted)
        hints = [source.hints for source in found]
        identity = await asyncio.to_thread(import_identity, options, table, files, hints)
        opened = Opened(run, identity, 0, tuple(splits))
        ledger, lock = Ledger(ImportLaw(), None, rejects_file(options, state, run)), None
        if not streams:
            lock = await stack.enter_async_context(state.lock(run))
            before = await look(state)
            if options.resume and before.manifest is not None and before.state == "finished":
                await before.journal.remove()
                report = finished_report(before.manifest, opened.identity, state, observer)
                return replace(report, files=sum(map(len, files)))
            ledger, opened = await begin_import(options, state, before, opened, observer)
        stack.push_async_callback(ledger.leave)
        splits = list(opened.splits)
        processes = planning.process_count(wanted, fastest, planning.BATCH_UNITS, planning.largest_source(splits))
        facts = _source_facts(options, found, buckets)
        job = ImportJob(run=run, options=options, table=_facts(table, place), sources=facts)
        size = planning.plain_bytes([file for each in files for file in each])
        folder = None if streams else state.location
        pace, location = budget.pace, ", ".join(source.location for source in sources)
        observer(_planned(job, table, place, pace, processes, len(splits), ledger, location, size, folder))
        report = await Run(
            job=job,
            splits=splits,
            processes=processes,
            budget=budget,
            control=control,
            ledger=ledger,
            sink=None,
            place=None if streams else state,
            source=place.session.credential_provider(),
            observer=observer,
            max_rejects=0 if options.strict else options.max_rejects,
            stream=input,
            resumed=opened.run != run,
            lock=lock,
        ).execute()
        if streams:
            return report
        with all_journaled():
            return await conclude(state, opened, table, ledger, report, common_types(found))


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a job is carried out: a session with AWS, the way to S3, and threads for files."""

    session: Session
    buckets: Buckets
    executor: Executor


@asynccontextmanager
async def _opened(connection: Connection, *locations: str) -> AsyncIterator[_Place]:
    for location in locations:
        parse_location(location)  # what is no place is refused before anybody is asked for anything
    async with AsyncExitStack() as stack:
        executor = stack.enter_context(threads(4))
        session = await stack.enter_async_context(Session(connection))
        await session.credentials()
        yield _Place(session=session, buckets=Buckets(session, connection, stack), executor=executor)


@asynccontextmanager
async def _steered(
    control: Control,
    session: Session,
    options: ExportOptions | ImportOptions,
    index: str | None,
    pace_of: Callable[[Capacity, TableInfo], Pace],
) -> AsyncIterator[tuple[TableInfo, Budget, Pace]]:
    """The table, the budget of the job, which `control` sets, and the pace that processes are started for."""

    async def plan(capacity: Capacity) -> Pace:
        return pace_of(capacity, await session.describe_table(options.table, index))

    table = await session.describe_table(options.table, index)
    pace = pace_of(options.capacity, table)
    budget = Budget(pace)
    async with control.steering(budget, plan, options.capacity):
        yield table, budget, max(pace, budget.pace, key=planning.foreseen)


def _facts(table: TableInfo, place: _Place) -> TableFacts:
    return TableFacts(
        name=table.name,
        region=place.session.region,
        endpoint=place.session.dynamodb_endpoint,
        keys=table.keys,
        partition_key=table.partition_key,
        ca_bundle=place.session.ca_bundle,
    )


def _new_run() -> str:
    """A name for this run that no other has: when it began, and a random part."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{random.SystemRandom().getrandbits(24):06x}"


async def _warn_of_names(sink: Sink, table: str, observer: Observer) -> None:
    """Tell what an import, or a query engine, would make of the files in this place."""
    if is_hidden(table):
        observer(
            Warned(
                f"The names of these files begin with {table[0]!r}: query engines leave such files out, and so does an "
                "import where the manifest does not lie beside them."
            )
        )
    if (other := await sink.foreign_input(is_file_of(table))) is not None:
        observer(
            Warned(
                f"{sink.location} holds other files that an import from there would read as well, like {other}: "
                "`ddbio verify` will tell of them."
            )
        )


def _source_facts(
    options: ImportOptions, found: Sequence[FoundSource], buckets: Sequence[Bucket]
) -> tuple[SourceFacts, ...]:
    sources = zip(options.sources, found, buckets, strict=True)
    return tuple(SourceFacts(place, source.hints, bucket.facts) for place, source, bucket in sources)


def _state_folder(options: ImportOptions, table: TableInfo, place: _Place) -> Path:
    if options.state is not None:
        folder = Path(home_path(options.state)).absolute()
        check_encoding(str(folder))
        return folder
    sources = map(absolute, options.sources)
    digest = short_digest((table.account, table.region, place.session.dynamodb_endpoint, table.table_id, *sources))
    return Path(".ddbio").absolute() / f"{stem(table.name)}-{digest}"


def _planned(
    job: Job,
    table: TableInfo,
    place: _Place,
    pace: Pace,
    processes: int,
    splits: int,
    ledger: Ledger,
    location: str,
    source_bytes: int | None = None,
    state: str | None = None,
) -> JobPlanned:
    expected = planning.units_left(job, table, source_bytes, ledger)
    return JobPlanned(
        command="export" if isinstance(job, ExportJob) else "import",
        account=table.account,
        region=place.session.region,
        table=table.name,
        table_bytes=table.size_bytes or None,
        table_items=table.item_count or None,
        source_bytes=source_bytes,
        budget=pace.start,
        adaptive=pace.most is not None,
        splits=splits,
        processes=processes,
        expected_seconds=expected / pace.start if expected else None,
        location=location,
        items_done=ledger.written,
        state=state,
    )
