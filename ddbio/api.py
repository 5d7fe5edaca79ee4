"""Whole jobs: a table into files, and files into a table. Nothing here prints, exits or handles signals.

Cancelling a job's task stops it within about two seconds: files that are finished stay, the others are removed.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from ddbio import planning
from ddbio.clock import LoopClock
from ddbio.codec.hints import HintType
from ddbio.errors import LedgerError
from ddbio.events import JobPlanned, Observer, Warned, silent
from ddbio.exported import claim, write_manifest
from ddbio.fleet.coordinator import Coordinator
from ddbio.fleet.desk import Desk
from ddbio.fleet.failure import revive
from ddbio.fleet.inline import run_inline
from ddbio.fleet.processes import run_processes
from ddbio.ledger.entries import Unit
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.manifest import read_hints
from ddbio.ledger.rejects import RejectsFile
from ddbio.options import Connection, ExportOptions, ImportOptions
from ddbio.pipeline.job import ExportJob, ImportJob, Job, S3Facts, TableFacts
from ddbio.pipeline.meter import Usage, peak_rss_bytes
from ddbio.report import JobReport
from ddbio.runtime import threads
from ddbio.session import Session
from ddbio.storage import S3, Std, parse_location
from ddbio.storage.base import Source
from ddbio.storage.places import open_sink, open_source
from ddbio.table import TableInfo


async def export_table(
    options: ExportOptions, *, observer: Observer = silent, output: BinaryIO | None = None
) -> JobReport:
    """Export a table or an index into files; `output` is what the destination `-` stands for.

    Raises the errors of `ddbio.errors`: UsageError and PreflightError before anything is written, JobFailedError and
    WireError later.
    """
    async with _opened(options.connection, options.destination) as place:
        table = await place.session.describe_table(options.table, options.scan.index)
        job, processes, budget = _plan_export(options, table, place)
        sink = open_sink(
            options.destination,
            job.run,
            client=place.client,
            s3_options=options.s3,
            executor=place.executor,
            stream=output,
        )
        async with sink:
            for warning in await sink.check(table.size_bytes if options.compress == "none" else None):
                observer(Warned(warning))
            await claim(sink, options)
            observer(_planned(job, table, place, budget, processes, job.segments, sink.location))
            run = _Run(job, table, processes, budget, place, observer, stream=output, ledger=Ledger(), max_rejects=0)
            report = await run.execute(planning.segments(job.segments))
            if place.streams:
                return replace(report, files=0)
            manifest = await write_manifest(sink, job, table, run.ledger, report)
            return replace(report, manifest=manifest, files=len(run.ledger.files))


async def import_table(
    options: ImportOptions,
    *,
    observer: Observer = silent,
    input: BinaryIO | None = None,  # noqa: A002 - the pair of `output`
) -> JobReport:
    """Import files into an existing table; `input` is what the source `-` stands for.

    Records that can't be written go to the rejects file, and the report counts them. Raises the errors of
    `ddbio.errors`: UsageError and PreflightError before anything is written, JobFailedError and WireError later.
    """
    async with _opened(options.connection, options.source) as place:
        table = await place.session.describe_table(options.table)
        source = open_source(options.source, client=place.client, executor=place.executor, stream=input)
        async with source:
            files = await source.files()
            budget = planning.write_budget(options.capacity, table)
            units = planning.spans(files, options.processes)
            processes = planning.process_count(options.processes, budget, planning.BATCH_UNITS, len(units))
            job = ImportJob(
                run=_new_run(),
                options=options,
                table=_facts(table, place),
                hints=await _hints(source),
                s3=place.s3,
            )
        size = planning.plain_bytes(files)
        processes = 1 if place.streams else processes
        observer(_planned(job, table, place, budget, processes, len(units), source.location, size))
        ledger = Ledger(RejectsFile(_rejects_path(options, table, place, job.run)))
        limit = 0 if options.strict else options.max_rejects
        run = _Run(job, table, processes, budget, place, observer, stream=input, ledger=ledger, max_rejects=limit)
        return replace(await run.execute(units), files=len(files))


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


def _plan_export(options: ExportOptions, table: TableInfo, place: _Place) -> tuple[ExportJob, int, float]:
    budget = planning.read_budget(options.capacity, table)
    wanted = 1 if place.streams else options.processes
    count = planning.segment_count(options.segments, table.size_bytes, wanted)
    processes = planning.process_count(wanted, budget, planning.PAGE_UNITS, count)
    job = ExportJob(run=_new_run(), options=options, table=_facts(table, place), segments=count, s3=place.s3)
    return job, processes, budget


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


def _rejects_path(options: ImportOptions, table: TableInfo, place: _Place, run: str) -> Path:
    if options.rejects is not None:
        return Path(options.rejects)
    identity = "\n".join((table.account, table.region, place.session.dynamodb_endpoint, table.table_id, options.source))
    short = hashlib.sha256(identity.encode()).hexdigest()[:8]
    folder = Path(options.state) if options.state is not None else Path(".ddbio") / f"{table.name}-{short}"
    return folder / f"rejects-{run}.jsonl"


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


class _Run:
    """One run of a fleet, from its first Report to the judgement of the ledger."""

    def __init__(
        self,
        job: Job,
        table: TableInfo,
        processes: int,
        budget: float,
        place: _Place,
        observer: Observer,
        *,
        stream: BinaryIO | None,
        ledger: Ledger,
        max_rejects: int,
    ) -> None:
        self.job = job
        self.table = table
        self.processes = processes
        self.budget = budget
        self.place = place
        self.observer = observer
        self.stream = stream
        self.ledger = ledger
        self.max_rejects = max_rejects

    async def execute(self, units: list[Unit]) -> JobReport:
        """Run all units; raises why the job failed, or LedgerError where the counts differ."""
        clock = LoopClock()
        began, cpu_before = clock.now(), time.process_time()
        rng = random.Random(self.job.run)  # noqa: S311 - an order of work, no secret
        coordinator = Coordinator(units, workers=self.processes, budget=self.budget, rng=rng)
        source = self.place.session.credential_source()
        desk = Desk(
            coordinator,
            self.ledger,
            source,
            max_rejects=self.max_rejects,
            clock=clock,
            observer=self.observer,
        )
        credentials = await source.get()
        if self.processes == 1:
            await run_inline(self.job, desk, credentials, clock, self.stream)
        else:
            await run_processes(self.job, desk, credentials, self.processes)
        if coordinator.failure is not None:
            raise revive(coordinator.failure)
        if not coordinator.done:
            raise LedgerError("The workers ended before all units were done.")
        self.ledger.check()
        return self._report(coordinator.usages, clock.now() - began, time.process_time() - cpu_before)

    def _report(self, usages: list[Usage], seconds: float, cpu_seconds: float) -> JobReport:
        own_process = self.processes == 1
        return JobReport(
            command="export" if isinstance(self.job, ExportJob) else "import",
            table=self.table.name,
            items=self.ledger.written,
            bytes=self.ledger.bytes,
            files=0,
            rejected=self.ledger.rejected,
            rejects=self.ledger.rejects_location,
            capacity_units=sum(usage.units for usage in usages),
            requests=sum(usage.requests for usage in usages),
            throttles=sum(usage.throttles for usage in usages),
            retries=sum(usage.retries for usage in usages),
            seconds=seconds,
            cpu_seconds=cpu_seconds + (0 if own_process else sum(usage.cpu_seconds for usage in usages)),
            peak_rss_bytes=peak_rss_bytes() + (0 if own_process else sum(usage.peak_rss_bytes for usage in usages)),
            resumed=False,
            manifest=None,
        )
