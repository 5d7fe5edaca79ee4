"""The verification: an export's files against their manifest, and against a table."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from ddbio.audit.audit_ledger import AuditLedger
from ddbio.audit.finished_export import FinishedExport, find_export
from ddbio.audit.items import key_json
from ddbio.audit.manifest import contradictions
from ddbio.audit.staging import Staging
from ddbio.aws.s3 import S3Facts
from ddbio.aws.table import TableInfo
from ddbio.capacity import Budget, Control, Pace
from ddbio.errors import UsageError
from ddbio.events import CheckPlanned, Observer, ProblemFound, silent
from ddbio.jobs import planning
from ddbio.jobs.opening import Services, opened, table_facts
from ddbio.jobs.pace import read_pace, steered, write_pace
from ddbio.jobs.repair import Repaired, write_back
from ddbio.jobs.run import Files
from ddbio.jobs.stages import Begun, Prepared
from ddbio.ledger.entries import Opened
from ddbio.ledger.ledger import Ledger
from ddbio.options import VerifyOptions
from ddbio.pipeline.job import VerifyJob
from ddbio.pipeline.meter import peak_rss_bytes
from ddbio.report import Difference, DifferenceKind, JobReport, VerifyReport
from ddbio.storage.base import Sink, Source
from ddbio.words import count

OnDifference = Callable[[Difference], None]
NO_REQUESTS = Pace(1.0)
"""The budget where no table is read: nothing of it is used."""


def _ignore(difference: Difference) -> None:
    del difference


async def verify_export(
    options: VerifyOptions,
    *,
    observer: Observer = silent,
    on_difference: OnDifference = _ignore,
    control: Control | None = None,
) -> VerifyReport:
    """Compare an export's files with their manifest and, if `options.table` is given, with that table.

    `observer` is told about problems of the files, which are in the report too. `on_difference` is called with each
    item that is not the same in the files and in the table, after all of it has been read. A write to the table in the
    meantime may count as a difference. With `options.repair`, missing and different items are then written as they are
    in the files, unless there is a problem with the files. `control` steers the comparison while it runs.

    Raises the errors of `ddbio.errors`: UsageError and PreflightError before anything is read, JobFailedError and
    WireError later.
    """
    with_table = options.table is not None
    async with opened(
        options.connection, None, options.source, observer=observer, control=control, table=with_table
    ) as services:
        verification = await Verification.prepare(options, services, on_difference)
        return await verification.carry_out()


@dataclass(frozen=True, kw_only=True)
class Verification(Prepared[VerifyReport]):
    """A verification in its stages. Workers read the files and the table; the differences come together here."""

    options: VerifyOptions
    export: FinishedExport
    source: Source
    s3: S3Facts | None
    rest: Staging
    """The rows of keys that differ within a segment."""
    ledger: AuditLedger
    contradictions: Sequence[str]
    """What is wrong with the manifest itself."""
    on_difference: OnDifference

    @classmethod
    async def prepare(cls, options: VerifyOptions, services: Services, on_difference: OnDifference) -> Verification:
        """Read the manifest, describe the table, and work out the budget and the processes."""
        stack = services.stack
        source, s3 = await services.source(options.source)
        export = await find_export(source)
        table, budget, wanted = None, Budget(NO_REQUESTS), options.processes
        if options.table is not None:
            table, budget, fastest = await stack.enter_async_context(
                steered(services, options.table, None, options.capacity, read_pace)
            )
            _refuse_impossible(options, export, table)
            wanted = planning.affordable(options.processes, fastest, planning.PAGE_UNITS)
        rest = await stack.enter_async_context(Staging(services.executor))
        ledger = AuditLedger(rest, lambda problem: services.observer(ProblemFound(problem)))
        stack.push_async_callback(ledger.leave)
        return cls(
            services=services,
            budget=budget,
            wanted=wanted,
            opened=Opened(services.run, export.manifest.identity, export.manifest.segments),
            location=source.location,
            options=options,
            export=export,
            source=source,
            s3=s3,
            table=table,
            rest=rest,
            ledger=ledger,
            contradictions=(*contradictions(export.manifest, export.options), *export.unlisted),
            on_difference=on_difference,
        )

    @property
    def state(self) -> Sink | None:
        return None

    def units_left(self, ledger: Ledger) -> float:  # noqa: ARG002 - nothing is resumed
        size = self.table.size_bytes if self.table else 0
        return planning.scan_units(size, consistent=self.options.consistent)

    async def begin(self) -> Begun:
        splits = planning.segments(self.opened.segments) if self.table else self.export.file_splits()
        return Begun(
            opened=self.opened,
            job=VerifyJob(
                run=self.services.run,
                options=self.options,
                export=self.export.manifest.run,
                table=table_facts(self.table, self.services.session) if self.table else None,
                s3=self.s3,
            ),
            splits=splits,
            processes=planning.process_count(self.wanted, len(splits)),
            ledger=self.ledger,
            files=ExportedFiles(read=len(set(self.export.files.values())), ledger=self.ledger),
            lock=None,
        )

    def announce(self, begun: Begun) -> None:
        export = self.export
        super().announce(begun)
        if self.table is None:
            size = sum(file.size or 0 for file in export.files.values())
            self.services.observer(
                CheckPlanned(
                    location=self.location, table=export.options.table, files=len(export.manifest.files), bytes=size
                )
            )
        if export.manifest.checksum is None:
            self.services.warn("The manifest has no checksum: whether it was changed can't be told for certain.")
        for problem in self.contradictions:
            self.services.observer(ProblemFound(problem))
        if export.lossy:
            self.services.warn(f"{export.lossy}: only their values can be verified.")
        elif any(file.fingerprint is None for file in export.manifest.files):
            self.services.warn("The manifest has no fingerprints: the files' checksums and counts are verified.")

    async def finish(self, begun: Begun, report: JobReport) -> VerifyReport:  # noqa: ARG002 - of other jobs
        clock, cpu_before = self.services.clock, time.process_time()
        began, peak_before = clock.now(), peak_rss_bytes()
        found = await self._report_differences()
        problems = [*self.contradictions, *self.ledger.problems]
        repaired = await self._repair(found, problems)
        after = replace(repaired.used, seconds=clock.now() - began, cpu_seconds=time.process_time() - cpu_before)
        return VerifyReport(
            command="verify",
            source=self.location,
            table=self.options.table,
            files=report.files,
            items=self.ledger.read,
            bytes=self.ledger.bytes,
            problems=(*problems, *repaired.problems),
            scanned=self.ledger.scanned,
            missing=found["missing"],
            extra=found["extra"],
            different=found["different"],
            repaired=repaired.items,
            read_units=report.used.capacity_units,
            write_units=repaired.used.capacity_units,
            used=report.used + after,
            peak_rss_bytes=report.peak_rss_bytes + peak_rss_bytes() - peak_before,
        )

    async def _report_differences(self) -> Counter[DifferenceKind]:
        found: Counter[DifferenceKind] = Counter()
        async with aclosing(self.rest.findings()) as batches:
            async for batch in batches:
                for finding in batch:
                    found[finding.kind] += 1
                    key = key_json(finding.key, self.export.options.keys)
                    self.on_difference(Difference(kind=finding.kind, segment=finding.segment, key=key))
        return found

    async def _repair(self, found: Counter[DifferenceKind], problems: Sequence[str]) -> Repaired:
        """Write back what is missing or different, if that is wanted and the files can be trusted."""
        repaired = Repaired()
        if not self.options.repair or self.table is None:
            return repaired
        if (found["missing"] or found["different"]) and problems:
            self.services.warn(
                "Nothing is repaired, since the files may not hold what was exported. "
                f"Problems: {len(problems):,}, the first: {problems[0]}"
            )
        elif found["missing"] or found["different"]:
            repaired = await write_back(self.options, self.services, self.table, self.export, self.source, self.rest)
            for problem in repaired.problems:
                self.services.observer(ProblemFound(problem))
        if found["extra"]:
            extra = count(found["extra"], "extra item stays", "extra items stay")
            self.services.warn(f"{extra}: a repair deletes nothing.")
        return repaired


@dataclass(frozen=True, kw_only=True)
class ExportedFiles(Files):
    """The files that a verification reads; what is found in them is in `ledger`."""

    ledger: AuditLedger

    async def recover(self, splits: Sequence[int] | None = None) -> None:
        """What a lost worker has handed over of these splits is found once more."""
        await self.ledger.forget(splits or ())


def _refuse_impossible(options: VerifyOptions, export: FinishedExport, table: TableInfo) -> None:
    """Raises UsageError where the table can't be compared with the export, or can't be repaired from it."""
    export.refuse_comparison([(element.name, element.type) for element in table.key_schema], table.name)
    if options.repair:
        write_pace(options.write_capacity, table)
        if export.lossy:
            raise UsageError(
                f"{export.lossy}: a repair could change them.",
                hint="Verify without a repair, or export as dynamodb-json.",
            )
