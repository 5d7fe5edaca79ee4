"""Verification: an export's files against their manifest, and against a table. Nothing here prints or exits."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Literal, cast

from ddbio.audit.auditor import Auditor
from ddbio.audit.export import Export, find_export
from ddbio.audit.items import ItemReader, key_json
from ddbio.audit.manifest import contradictions
from ddbio.audit.repair import Repair
from ddbio.audit.stage import Finding, Stage
from ddbio.aws.opening import Opener
from ddbio.aws.session import Session
from ddbio.aws.table import TableInfo
from ddbio.capacity import Governor
from ddbio.clock import LoopClock
from ddbio.codec import RecordEncoder
from ddbio.errors import UsageError
from ddbio.events import CheckPlanned, JobPlanned, Observer, ProblemFound, Progress, Warned, silent, tolerant
from ddbio.jobs import planning
from ddbio.jobs.capacity import read_pace, write_pace
from ddbio.jobs.opening import table_facts
from ddbio.model import OutputFormat
from ddbio.options import ScanFilter, VerifyOptions
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter, peak_rss_bytes
from ddbio.pipeline.table_client import TableClient, connect
from ddbio.report import Difference, Spending, VerifyReport
from ddbio.runtime import threads
from ddbio.storage import S3, parse_location
from ddbio.storage.base import Source
from ddbio.words import count

BATCHES = 16
"""Batches of a repair that are in flight at once."""
PROGRESS_SECONDS = 0.25


def _unheard(difference: Difference) -> None:
    del difference


async def verify_export(
    options: VerifyOptions,
    *,
    observer: Observer = silent,
    on_difference: Callable[[Difference], None] = _unheard,
) -> VerifyReport:
    """Hold an export's files against their manifest, and against `options.table`, if that is named.

    Problems of the files go to `observer` and into the report; `on_difference` is called with each item that is not
    the same in the files and in the table, after all of it has been read. What is written to the table meanwhile may
    count as a difference. With `options.repair`, the missing and the different items are then written as the files
    have them; not if there is a problem with the files.

    Raises the errors of `ddbio.errors`: UsageError and PreflightError before anything is read, JobFailedError and
    WireError later.
    """
    observer = tolerant(observer)
    async with AsyncExitStack() as stack:
        executor = stack.enter_context(threads(4))
        session = await _session(options, stack)
        source = await _source(options, session, stack, executor)
        export = await find_export(source)
        run = _Run(options, observer, export, source, executor)
        if session is None or options.table is None:
            run.plan_files()
            await run.auditor.check()
        else:
            async with _table(options, session, export, run.meter, executor) as (table, client):
                await run.compare(session, table, client, on_difference)
        return run.report()


async def _session(options: VerifyOptions, stack: AsyncExitStack) -> Session | None:
    """A session, unless the files of a folder are all that is read."""
    if options.table is None and not isinstance(parse_location(options.source), S3):
        return None
    session = await stack.enter_async_context(Session(options.connection))
    await session.credentials()
    return session


async def _source(options: VerifyOptions, session: Session | None, stack: AsyncExitStack, executor: Executor) -> Source:
    facts = await session.s3_facts(options.source) if session is not None else None
    opener = Opener(stack, session.credential_provider() if session is not None else None, executor, None)
    return await opener.source(options.source, s3=facts)


@asynccontextmanager
async def _table(
    options: VerifyOptions, session: Session, export: Export, meter: Meter, executor: Executor
) -> AsyncIterator[tuple[TableInfo, TableClient]]:
    """The table, if it can be compared with the export, and a client of it."""
    table = await session.describe_table(options.table or "")
    export.refuse_comparison([(element.name, element.type) for element in table.key_schema], table.name)
    if options.repair and export.lossy:
        raise UsageError(
            f"{export.lossy}: a repair could change them.", hint="Verify without a repair, or export as dynamodb-json."
        )
    async with connect(
        options.table or "",  # not the table's bare name: an ARN may be another account's
        table_facts(table, session),
        connections=max(options.concurrency, BATCHES),
        credentials=session.credential_provider(),
        meter=meter,
        clock=LoopClock(),
        executor=executor,
        retry_seconds=options.retry_seconds,
    ) as client:
        yield table, client


class _Run:
    """One verification: what it was asked, and what it has found so far."""

    def __init__(
        self, options: VerifyOptions, observer: Observer, export: Export, source: Source, executor: Executor
    ) -> None:
        self._options = options
        self._observer = observer
        self._export = export
        self._source = source
        self._executor = executor
        self._clock = LoopClock()
        self._began = self._told = self._clock.now()
        self._cpu_before = time.process_time()
        self.meter = Meter()
        self._reading: Governor | None = None
        self._writing: Governor | None = None
        self._found: Counter[str] = Counter()
        self._repaired = 0
        self._problems: list[str] = []
        self.auditor = Auditor(
            export,
            source,
            concurrency=options.concurrency,
            executor=executor,
            tell=self._tell,
            found=self._problem,
        )

    def plan_files(self) -> None:
        """Tell that the files will be read."""
        export = self._export
        size = sum(file.size or 0 for file in export.files.values())
        self._observer(
            CheckPlanned(
                location=self._source.location, table=export.table, files=len(export.manifest.files), bytes=size
            )
        )
        self._look_at_manifest()

    async def compare(
        self, session: Session, table: TableInfo, client: TableClient, on_difference: Callable[[Difference], None]
    ) -> None:
        """Read the files and the table, tell what differs, and repair it if that is wanted."""
        options, export = self._options, self._export
        self._reading = Governor(read_pace(options.capacity, table).start, self._clock)
        if options.repair:
            self._writing = Governor(write_pace(options.write_capacity, table).start, self._clock)
        self._plan(session, table, self._reading.rate)
        self._look_at_manifest()
        # Where plain JSON has lost types, both sides lose them in the same way: nothing is found that is not there.
        output: OutputFormat = export.format if export.lossy else "dynamodb-json"
        scan = client.scan(
            ScanFilter(consistent=options.consistent),
            client.requester(self._reading),
            total=export.manifest.segments,
            output=output,
        )
        reader = ItemReader(export.keys, output, export.manifest.type_hints, complete=True)
        async with Stage(self._executor) as rest:
            await self.auditor.compare(scan, reader, rest)
            async with aclosing(rest.findings()) as batches:
                async for batch in batches:
                    self._differ(batch, on_difference)
            if self._writing is not None and (self._found["missing"] or self._found["different"]):
                await self._repair(table, client, self._writing, rest)
            if self._writing is not None and self._found["extra"]:
                extra = count(self._found["extra"], "extra item stays", "extra items stay")
                self._observer(Warned(f"{extra}: a repair deletes nothing."))

    def report(self) -> VerifyReport:
        """What was found."""
        return VerifyReport(
            command="verify",
            source=self._source.location,
            table=self._options.table,
            files=len(self._export.files),
            items=self.auditor.items,
            bytes=self.auditor.bytes,
            problems=tuple(self._problems),
            scanned=self.auditor.scanned,
            missing=self._found["missing"],
            extra=self._found["extra"],
            different=self._found["different"],
            repaired=self._repaired,
            read_units=self._reading.spent if self._reading else 0.0,
            write_units=self._writing.spent if self._writing else 0.0,
            used=self._used(),
            peak_rss_bytes=peak_rss_bytes(),
        )

    def _used(self) -> Spending:
        governors = [governor for governor in (self._reading, self._writing) if governor is not None]
        return Spending(
            capacity_units=sum(governor.spent for governor in governors),
            requests=self.meter.requests,
            throttles=self.meter.throttles,
            retries=self.meter.retries,
            seconds=self._clock.now() - self._began,
            cpu_seconds=time.process_time() - self._cpu_before,
        )

    def _look_at_manifest(self) -> None:
        """Tell what is wrong, or can't be proven, whatever is read."""
        export = self._export
        if export.manifest.checksum is None:
            self._observer(Warned("The manifest has no checksum: whether it was changed can't be told for certain."))
        for problem in contradictions(export.manifest, export.options):
            self._problem(problem)
        for name in export.strangers:
            self._problem(f"{name}: the manifest does not list it, and an import would read it.")
        if export.lossy:
            self._observer(Warned(f"{export.lossy}: only their values can be verified."))
        elif any(file.fingerprint is None for file in export.manifest.files):
            self._observer(Warned("The manifest has no fingerprints: the files' checksums and counts are verified."))

    def _plan(self, session: Session, table: TableInfo, budget: float) -> None:
        units = planning.scan_units(table.size_bytes, consistent=self._options.consistent)
        self._observer(
            JobPlanned(
                command="verify",
                account=table.account,
                region=session.region,
                table=table.name,
                table_bytes=table.size_bytes or None,
                table_items=table.item_count or None,
                source_bytes=None,
                budget=budget,
                splits=self._export.manifest.segments,
                processes=1,
                expected_seconds=units / budget if units else None,
                location=self._source.location,
            )
        )

    def _tell(self) -> None:
        now = self._clock.now()
        if now - self._told < PROGRESS_SECONDS:
            return
        self._told = now
        self._observer(
            Progress(
                seconds=now - self._began,
                items=self.auditor.scanned if self._reading else self.auditor.items,
                bytes=self.auditor.bytes,
                units=self._reading.settled if self._reading else 0.0,
                throttles=self.meter.throttles,
                rejected=0,
                splits_done=self.auditor.done,
            )
        )

    def _problem(self, problem: str) -> None:
        self._problems.append(problem)
        self._observer(ProblemFound(problem))

    def _differ(self, verdicts: list[Finding], on_difference: Callable[[Difference], None]) -> None:
        for verdict in verdicts:
            kind = cast("Literal['missing', 'extra', 'different']", verdict.kind)
            self._found[kind] += 1
            on_difference(Difference(kind=kind, segment=verdict.segment, key=key_json(verdict.key, self._export.keys)))

    async def _repair(self, table: TableInfo, client: TableClient, governor: Governor, rest: Stage) -> None:
        if self._problems:
            self._observer(
                Warned(
                    "Nothing is repaired, since the files may not hold what was exported. "
                    f"Problems: {len(self._problems):,}, the first: {self._problems[0]}"
                )
            )
            return
        encoder = RecordEncoder(table.keys, self._export.format, self._export.manifest.type_hints)
        refusals: list[str] = []
        before = self.meter.items
        async with client.dispatcher(client.requester(governor), Lanes(BATCHES)) as dispatcher:
            repair = Repair(
                self._source,
                self._export.numbered(),
                encoder=encoder,
                sender=dispatcher.sender(lambda _, message: refusals.append(message)),
                executor=self._executor,
                refused=refusals.append,
            )
            async with aclosing(_places(rest)) as places:
                await repair.write(places)
        self._repaired = self.meter.items - before
        if refusals:
            self._problem(f"{count(len(refusals), 'item')} could not be written back, the first because: {refusals[0]}")


async def _places(rest: Stage) -> AsyncGenerator[tuple[int, int]]:
    """Where the files have what the table lacks."""
    async with aclosing(rest.findings()) as batches:
        async for batch in batches:
            for verdict in batch:
                if verdict.file is not None and verdict.offset is not None:
                    yield verdict.file, verdict.offset
