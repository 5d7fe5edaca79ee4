"""The export: a table into files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from ddbio.aws.s3 import S3Facts
from ddbio.aws.table import TableInfo
from ddbio.capacity import Control
from ddbio.events import Observer, silent
from ddbio.fleet.limits import Limits
from ddbio.jobs import planning
from ddbio.jobs.finish import already_finished, conclude
from ddbio.jobs.identity import export_identity
from ddbio.jobs.opening import Services, opened, table_facts
from ddbio.jobs.pace import read_pace, steered
from ddbio.jobs.run import Files
from ddbio.jobs.sources import lost_types
from ddbio.jobs.stages import Begun, Prepared
from ddbio.jobs.start import begin_export
from ddbio.ledger.checkpoint import read_checkpoint
from ddbio.ledger.entries import Opened
from ddbio.ledger.law import ExportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.recovery import recover, sweep
from ddbio.names import is_file_of, is_hidden
from ddbio.options import ExportOptions
from ddbio.pipeline.job import ExportJob
from ddbio.report import JobReport
from ddbio.storage.base import Sink


async def export_table(
    options: ExportOptions,
    *,
    observer: Observer = silent,
    output: BinaryIO | None = None,
    control: Control | None = None,
) -> JobReport:
    """Export a table or an index into files; the destination `-` stands for `output`.

    `control` steers the job while it runs. Cancelling the job's task stops it within about two seconds; what is durable
    is sealed, and the job can be resumed.

    Raises the errors of `ddbio.errors`: UsageError and PreflightError before anything is written, JobFailedError and
    WireError later; after these, `resume=True` continues the job.
    """
    async with opened(options.connection, output, options.destination, observer=observer, control=control) as services:
        export = await Export.prepare(options, services)
        return await export.carry_out()


@dataclass(frozen=True, kw_only=True)
class Export(Prepared[JobReport]):
    """An export in its stages."""

    options: ExportOptions
    table: TableInfo
    sink: Sink
    s3: S3Facts | None

    @classmethod
    async def prepare(cls, options: ExportOptions, services: Services) -> Export:
        """Describe the table and work out budget, segments and processes."""
        sink, s3 = await services.sink(options.destination, options.s3)
        table, budget, fastest = await services.stack.enter_async_context(
            steered(services, options.table, options.scan.index, options.capacity, read_pace)
        )
        wanted = planning.affordable(options.processes if sink.keeps_state else 1, fastest, planning.PAGE_UNITS)
        segments = planning.segment_count(options.segments, table.size_bytes, wanted)
        identity = await asyncio.to_thread(export_identity, options, table)
        return cls(
            services=services,
            table=table,
            budget=budget,
            wanted=wanted,
            opened=Opened(services.run, identity, segments),
            location=sink.location,
            limits=Limits(max_units=options.max_units, max_seconds=options.max_seconds),
            options=options,
            sink=sink,
            s3=s3,
        )

    @property
    def state(self) -> Sink | None:
        return self.sink if self.sink.keeps_state else None

    def units_left(self, ledger: Ledger) -> float:
        units = planning.scan_units(self.table.size_bytes, consistent=self.options.scan.consistent)
        return max(units - ledger.used.capacity_units, 0.0)

    async def begin(self) -> Begun | JobReport:
        options, sink, services = self.options, self.sink, self.services
        for warning in await sink.check(self.table.size_bytes if options.compress == "none" else None):
            self.services.warn(warning)
        lock = await services.stack.enter_async_context(sink.lock(services.run))
        if self.state is None:
            return self._begun(self.opened, Ledger(ExportLaw()), lock)
        before = await read_checkpoint(sink, overwrite=options.overwrite)
        if options.resume and (report := await already_finished(before, self.opened.identity, sink, services)):
            return report
        ledger = Ledger(ExportLaw(), before.journal)
        services.stack.push_async_callback(ledger.leave)
        begun = await begin_export(options, sink, before, ledger, self.opened, services)
        await self._warn_of_names()
        return self._begun(begun, ledger, lock)

    def _begun(self, opened: Opened, ledger: Ledger, lock: int | None) -> Begun:
        splits = planning.segments(opened.segments)
        return Begun(
            opened=opened,
            job=ExportJob(
                run=self.services.run,
                options=self.options,
                table=table_facts(self.table, self.services.session),
                segments=opened.segments,
                s3=self.s3,
            ),
            splits=splits,
            processes=planning.process_count(self.wanted, len(splits)),
            ledger=ledger,
            files=Files() if self.state is None else WrittenFiles(ledger=ledger, sink=self.sink, table=self.table.name),
            lock=lock,
        )

    async def finish(self, begun: Begun, report: JobReport) -> JobReport:
        types = begun.ledger.types
        for warning in lost_types(self.table.name, types.mixed(), cut_off=types.cut_off):
            self.services.warn(warning)
        if self.state is None:
            return report
        return await conclude(self.state, begun, self.table, report)

    async def _warn_of_names(self) -> None:
        """Warn of what an import, or a query engine, would make of the files at the destination."""
        table, sink = self.table.name, self.sink
        if is_hidden(table):
            self.services.warn(
                f"The names of these files begin with {table[0]!r}: query engines leave such files out, and so does an "
                "import where the manifest does not lie beside them."
            )
        if (other := await sink.foreign_input(is_file_of(table))) is not None:
            self.services.warn(
                f"{sink.location} holds other files that an import from there would read as well, like {other}: "
                "`ddbio verify` reports them."
            )


@dataclass(frozen=True, kw_only=True)
class WrittenFiles(Files):
    """The files of an export; each is sealed at its last commit, or removed."""

    ledger: Ledger
    sink: Sink
    table: str

    def count(self) -> int:
        return len(self.ledger.files)

    async def recover(self, splits: Sequence[int] | None = None) -> None:
        await recover(self.ledger, self.sink, splits)

    async def sweep(self) -> None:
        await sweep(self.ledger, self.sink, self.table)
