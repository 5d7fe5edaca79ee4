"""Whole jobs: a table into files, and files into a table. Nothing here prints, exits or handles signals.

Cancelling a job's task stops it within about two seconds, so that it can be resumed: what is durable is sealed.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from ddbio import planning
from ddbio.capacity import Budget, Control, Pace
from ddbio.codec import RecordEncoder
from ddbio.codec.hints import HintType
from ddbio.errors import PreflightError, SourceError
from ddbio.events import JobPlanned, Observer, Warned, silent
from ddbio.identity import absolute, export_identity, from_anywhere, import_identity, short_digest
from ddbio.ledger.checkpoint import look
from ddbio.ledger.entries import Opened
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.manifest import Types, read_files, read_types
from ddbio.ledger.recovery import sweep
from ddbio.ledger.rejects import RejectsFile
from ddbio.lifecycle import begin_export, begin_import, conclude, finished_report, rejects_file
from ddbio.options import Capacity, Connection, ExportOptions, ImportOptions
from ddbio.pipeline.job import ExportJob, ImportJob, Job, S3Facts, TableFacts
from ddbio.report import JobReport
from ddbio.running import Run
from ddbio.runtime import threads
from ddbio.session import Session
from ddbio.storage import S3, Std, parse_location
from ddbio.storage.base import Source, SourceFile
from ddbio.storage.local import LocalSink
from ddbio.storage.local_source import LocalSource
from ddbio.storage.places import open_sink, open_source
from ddbio.table import TableInfo
from ddbio.words import count


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
    run = _new_run()
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(_opened(options.connection, options.destination))
        control = control or Control()
        steered = _steered(control, place.session, options, options.scan.index, planning.read_pace)
        table, budget, fastest = await stack.enter_async_context(steered)
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
        lock = await stack.enter_async_context(sink.lock(run))
        wanted = 1 if place.streams else planning.affordable(options.processes, fastest, planning.PAGE_UNITS)
        total = planning.segment_count(options.segments, table.size_bytes, wanted)
        opened = Opened(run, await asyncio.to_thread(export_identity, options, table), total)
        ledger = Ledger()
        if not place.streams:
            before = await look(sink, overwrite=options.overwrite)
            if options.resume and before.manifest is not None and before.state == "finished":
                await before.journal.remove()
                return finished_report(before.manifest, opened.identity, sink, observer)
            ledger = Ledger(before.journal)
            stack.push_async_callback(ledger.leave)
            opened = await begin_export(options, sink, before, ledger, opened, observer)
        job = ExportJob(run=run, options=options, table=_facts(table, place), segments=opened.segments, s3=place.s3)
        units = planning.segments(opened.segments)
        processes = planning.process_count(wanted, fastest, planning.PAGE_UNITS, len(units))
        observer(_planned(job, table, place, budget.pace, processes, len(units), ledger, sink.location))
        report = await Run(
            job=job,
            units=units,
            processes=processes,
            budget=budget,
            control=control,
            ledger=ledger,
            sink=None if place.streams else sink,
            place=None if place.streams else sink,
            source=place.session.credential_source(),
            observer=observer,
            max_rejects=0,
            stream=output,
            resumed=opened.run != run,
            lock=lock,
        ).execute()
        if mixed := ledger.types.mixed():
            observer(Warned(_lossy(mixed, options.table)))
        if place.streams:
            return report
        await sweep(ledger, sink, options.table)
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
    run = _new_run()
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(_opened(options.connection, options.source))
        control = control or Control()
        steered = _steered(control, place.session, options, None, planning.write_pace)
        table, budget, fastest = await stack.enter_async_context(steered)
        source = open_source(options.source, client=place.client, executor=place.executor, stream=input)
        await stack.enter_async_context(source)
        state = LocalSink(await asyncio.to_thread(_state_folder, options, table, place), run, executor=place.executor)
        await stack.enter_async_context(state)
        files = await _input_files(source, rejects_file(options, state, run))
        manifest = await source.manifest()
        types = None if manifest is None else read_types(manifest, source.location)
        hints = {} if types is None else _hints(types, source, table)
        if (gap := await _gap(manifest, source, files)) is not None:
            observer(Warned(gap))
        if types is not None and types.mixed:
            observer(Warned(_lossy(types.mixed, source.location)))
        wanted = 1 if place.streams else planning.affordable(options.processes, fastest, planning.BATCH_UNITS)
        units = planning.spans(files, wanted)
        identity = await asyncio.to_thread(import_identity, options, table, files, hints)
        opened = Opened(run, identity, 0, tuple(units))
        ledger, lock = Ledger(None, rejects_file(options, state, run)), None
        if not place.streams:
            lock = await stack.enter_async_context(state.lock(run))
            before = await look(state)
            if options.resume and before.manifest is not None and before.state == "finished":
                await before.journal.remove()
                report = finished_report(before.manifest, opened.identity, state, observer)
                return replace(report, files=len(files))
            ledger, opened = await begin_import(options, state, before, opened, observer)
            stack.push_async_callback(ledger.leave)
        units = list(opened.units)
        processes = planning.process_count(wanted, fastest, planning.BATCH_UNITS, len(units))
        job = ImportJob(run=run, options=options, table=_facts(table, place), hints=hints, s3=place.s3)
        size = planning.plain_bytes(files)
        folder = None if place.streams else state.location
        pace, location = budget.pace, source.location
        observer(_planned(job, table, place, pace, processes, len(units), ledger, location, size, folder))
        report = await Run(
            job=job,
            units=units,
            processes=processes,
            budget=budget,
            control=control,
            ledger=ledger,
            sink=None,
            place=None if place.streams else state,
            source=place.session.credential_source(),
            observer=observer,
            max_rejects=0 if options.strict else options.max_rejects,
            stream=input,
            resumed=opened.run != run,
            lock=lock,
        ).execute()
        if place.streams:
            return report
        return await conclude(state, opened, table, ledger, report, hints=hints)


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


async def _gap(manifest: bytes | None, source: Source, files: Sequence[SourceFile]) -> str | None:
    """What tells that these files, if they are not named one by one, are not the whole of an export."""
    here = {PurePosixPath(file.name).name for file in files}
    if here == {PurePosixPath(source.location).name}:
        return None
    if manifest is not None and (missing := set(read_files(manifest, source.location)) - here):
        return (
            f"The manifest of {source.location} lists {count(len(missing), 'file')} that the import does not read, "
            f"like {min(missing)}: what is imported is not the whole export. `ddbio verify` tells what is missing."
        )
    if manifest is None and await source.has_journal():
        return f"The export in {source.location} has not ended: what is imported is not the whole table."
    return None


def _lossy(mixed: Sequence[str], place: str) -> str:
    """What is lost where paths held sets or binary, and other types as well."""
    names = f"{mixed[0]} and {count(len(mixed) - 1, 'other attribute')}" if len(mixed) > 1 else mixed[0]
    return (
        f"In {place}, {names} held sets or binary, and other types as well. Plain JSON does not tell which: such sets "
        "are imported as lists, binary as strings. --format dynamodb-json keeps them."
    )


def _hints(types: Types, source: Source, table: TableInfo) -> dict[str, HintType]:
    """The manifest's type hints. Raises SourceError where they can't be used for this table."""
    try:
        RecordEncoder(table.keys, "auto", types.type_hints)
    except ValueError as error:
        raise SourceError(
            f"The manifest of {source.location} has a type hint that can't be used: {error}.",
            hint="Mend it, or move it out of the way.",
        ) from error
    return types.type_hints


async def _input_files(source: Source, rejects: RejectsFile) -> list[SourceFile]:
    """What is to be read. Raises PreflightError where the rejects can't be written, or would be read as well."""
    async with rejects.tried():
        files = await source.files()
        if isinstance(source, LocalSource) and await asyncio.to_thread(_is_among, rejects.path, files):
            raise PreflightError(
                f"The rejects file {rejects.path} would be one of the files that are read from {source.location}.",
                hint="Give another place with --rejects or --state.",
            )
    return await asyncio.to_thread(_from_anywhere, files) if isinstance(source, LocalSource) else files


def _from_anywhere(files: Sequence[SourceFile]) -> list[SourceFile]:
    """The journal names them, and whoever resumes may be in another folder."""
    return [file._replace(name=from_anywhere(file.name)) for file in files]


def _is_among(path: Path, files: Sequence[SourceFile]) -> bool:
    mine = path.stat()
    for file in files:
        with suppress(OSError):  # what is wrong with a source is found out when it is read
            if os.path.samestat(mine, Path(file.name).stat()):
                return True
    return False


def _state_folder(options: ImportOptions, table: TableInfo, place: _Place) -> Path:
    if options.state is not None:
        return Path(options.state).absolute()
    source = absolute(options.source)
    digest = short_digest((table.account, table.region, place.session.dynamodb_endpoint, table.table_id, source))
    return Path(".ddbio").absolute() / f"{table.name}-{digest}"


def _planned(
    job: Job,
    table: TableInfo,
    place: _Place,
    pace: Pace,
    processes: int,
    units: int,
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
        units=units,
        processes=processes,
        expected_seconds=expected / pace.start if expected else None,
        location=location,
        items_done=ledger.written,
        state=state,
    )
