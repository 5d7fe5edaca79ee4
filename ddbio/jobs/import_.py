"""The import: files into a table."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ddbio.aws.table import TableInfo
from ddbio.capacity import Control
from ddbio.events import Observer, silent
from ddbio.fleet.limits import Limits
from ddbio.jobs import planning
from ddbio.jobs.finish import already_finished, conclude
from ddbio.jobs.identity import absolute, import_identity, short_digest
from ddbio.jobs.opening import Services, opened, table_facts
from ddbio.jobs.pace import steered, write_pace
from ddbio.jobs.run import Files
from ddbio.jobs.sources import FoundSource, common_types, find_all, refuse_rejects_among
from ddbio.jobs.stages import Begun, Prepared
from ddbio.jobs.start import begin_import
from ddbio.ledger.checkpoint import read_checkpoint
from ddbio.ledger.entries import Opened
from ddbio.ledger.law import ImportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.rejects import RejectsFile
from ddbio.model import WRITE_UNIT_BYTES
from ddbio.names import stem
from ddbio.options import ImportOptions
from ddbio.pipeline.job import ImportJob, SourceFacts
from ddbio.report import JobReport
from ddbio.storage import check_encoding, home_path
from ddbio.storage.base import Sink, Source
from ddbio.storage.local.sink import LocalSink


async def import_table(
    options: ImportOptions,
    *,
    observer: Observer = silent,
    input: BinaryIO | None = None,  # noqa: A002 - the pair of `output`
    control: Control | None = None,
) -> JobReport:
    """Import files into an existing table; the source `-` stands for `input`.

    `control` steers the job while it runs. Cancelling the job's task stops it within about two seconds, and the job can
    be resumed.

    Records that can't be written go to the rejects file, and the report counts them. Raises the errors of
    `ddbio.errors`: UsageError and PreflightError before anything is written, JobFailedError and WireError later; after
    these, `resume=True` continues the job.
    """
    async with opened(options.connection, input, *options.sources, observer=observer, control=control) as services:
        job = await Import.prepare(options, services)
        return await job.carry_out()


@dataclass(frozen=True, kw_only=True)
class Import(Prepared[JobReport]):
    """An import in its stages."""

    options: ImportOptions
    table: TableInfo
    sources: Sequence[Source]
    found: Sequence[FoundSource]
    facts: tuple[SourceFacts, ...]
    folder: LocalSink
    """The folder of the import's own files."""

    @classmethod
    async def prepare(cls, options: ImportOptions, services: Services) -> Import:
        """Describe the table, inspect the sources, and work out budget, spans and processes."""
        stack = services.stack
        pairs = [await services.source(location) for location in options.sources]
        sources = [source for source, _ in pairs]
        table, budget, fastest = await stack.enter_async_context(
            steered(services, options.table, None, options.capacity, write_pace)
        )
        path = await asyncio.to_thread(_state_folder, options, table, services.session.dynamodb_endpoint)
        folder = await stack.enter_async_context(
            LocalSink(path, services.run, executor=services.executor, private=True)
        )
        found = await find_all(sources, options, table, folder.location, services)
        files, hints = [source.files for source in found], [source.hints for source in found]
        rereadable = all(source.rereadable for source in sources)
        wanted = planning.affordable(options.processes if rereadable else 1, fastest, planning.BATCH_UNITS)
        identity = await asyncio.to_thread(import_identity, options, table, files, hints)
        return cls(
            services=services,
            table=table,
            budget=budget,
            wanted=wanted,
            opened=Opened(services.run, identity, 0, tuple(planning.spans(files, wanted))),
            location=", ".join(source.location for source in sources),
            source_bytes=planning.plain_bytes([file for each in files for file in each]),
            limits=Limits(
                max_rejects=0 if options.strict else options.max_rejects,
                max_units=options.max_units,
                max_seconds=options.max_seconds,
            ),
            options=options,
            sources=sources,
            found=found,
            facts=tuple(map(SourceFacts, options.sources, hints, (s3 for _, s3 in pairs))),
            folder=folder,
            state_folder=folder.location if rereadable else None,
        )

    @property
    def state(self) -> Sink | None:
        return None if self.state_folder is None else self.folder

    def units_left(self, ledger: Ledger) -> float:
        """At least."""
        return max((self.source_bytes or 0) - ledger.bytes, 0) / WRITE_UNIT_BYTES

    async def begin(self) -> Begun | JobReport:
        options, state, services = self.options, self.state, self.services
        if state is None:
            ledger = Ledger(ImportLaw(), None, await self._rejects(services.run))
            services.stack.push_async_callback(ledger.leave)
            return self._begun(self.opened, ledger, None)
        lock = await services.stack.enter_async_context(state.lock(services.run))
        before = await read_checkpoint(state)
        if options.resume and (report := await already_finished(before, self.opened.identity, state, services)):
            return replace(report, files=sum(len(source.files) for source in self.found))
        run = before.opened.run if options.resume and before.opened is not None else services.run
        rejects = await self._rejects(run)
        ledger, begun = await begin_import(options, state, before, self.opened, rejects, services)
        services.stack.push_async_callback(ledger.leave)
        return self._begun(begun, ledger, lock)

    async def _rejects(self, run: str) -> RejectsFile:
        """The rejects file of this run, locked until the job ends."""
        given = self.options.rejects
        path = Path(home_path(given) if given else f"{self.folder.location}/rejects-{run}.jsonl")
        rejects = RejectsFile(path, run)
        self.services.stack.push_async_callback(rejects.aclose)
        await rejects.open()
        await refuse_rejects_among(self.sources, rejects)
        return rejects

    def _begun(self, opened: Opened, ledger: Ledger, lock: int | None) -> Begun:
        splits = opened.splits
        return Begun(
            opened=opened,
            job=ImportJob(
                run=self.services.run,
                options=self.options,
                table=table_facts(self.table, self.services.session),
                sources=self.facts,
            ),
            splits=splits,
            processes=planning.process_count(self.wanted, planning.largest_source(splits)),
            ledger=ledger,
            files=Files(read=len({(split.source, split.file) for split in splits})),
            lock=lock,
        )

    async def finish(self, begun: Begun, report: JobReport) -> JobReport:
        if self.state is None:
            return report
        return await conclude(self.state, begun, self.table, report, common_types(self.found))


def _state_folder(options: ImportOptions, table: TableInfo, endpoint: str) -> Path:
    if options.state is not None:
        folder = Path(home_path(options.state)).absolute()
        check_encoding(str(folder))
        return folder
    sources = map(absolute, options.sources)
    digest = short_digest((table.account, table.region, endpoint, table.table_id, *sources))
    return Path(".ddbio").absolute() / f"{stem(table.name)}-{digest}"
