"""One run of a fleet, from its first Report to the judgement of the ledger."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO

from ddbio.capacity import Budget, Control
from ddbio.clock import Clock, LoopClock
from ddbio.errors import DdbioError, LedgerError, LimitReachedError
from ddbio.events import Observer, RecordsRejected
from ddbio.fleet.coordinator import Coordinator
from ddbio.fleet.desk import Desk
from ddbio.fleet.inline import run_inline
from ddbio.fleet.limits import Limits
from ddbio.fleet.processes import run_processes
from ddbio.fleet.tuning import DEFAULT, Tuning
from ddbio.jobs.control_file import following
from ddbio.ledger.entries import Split, Used
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.recovery import recover, sweep
from ddbio.pipeline.job import ExportJob, Job
from ddbio.pipeline.meter import peak_rss_bytes
from ddbio.report import JobReport, Spending
from ddbio.storage.base import Sink
from ddbio.wire.signing import CredentialProvider

SEAL_SECONDS = 0.5
"""After a stop, so long is spent on sealing what is durable; the rest is done by the run that resumes."""
log = logging.getLogger("ddbio")


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that a run needs; `sink` is where an export's files are (None for an import)."""

    job: Job
    splits: Sequence[Split]
    processes: int
    budget: Budget
    ledger: Ledger
    sink: Sink | None
    source: CredentialProvider
    observer: Observer
    max_rejects: int
    control: Control
    place: Sink | None
    """Where the control file is, if there can be one."""
    stream: BinaryIO | None
    resumed: bool
    lock: int | None = None
    """What workers inherit, so that they hold the job's lock too (`Sink.lock`)."""
    tuning: Tuning = DEFAULT

    async def execute(self) -> JobReport:
        """Run all splits that are not done; raises why the job failed, or LedgerError where the counts differ.

        When it fails or is cancelled, what is durable is sealed.
        """
        clock = LoopClock()
        rng = random.Random(self.job.run)  # noqa: S311 - an order of work, no secret
        coordinator = Coordinator(
            self.splits,
            workers=self.processes,
            budget=self.budget,
            rng=rng,
            progress=self.ledger.splits,
            done=self.ledger.done,
            tuning=self.tuning,
        )
        used = self._meter(coordinator, clock)
        desk = Desk(
            coordinator,
            self.ledger,
            self.source,
            limits=Limits(
                max_rejects=self.max_rejects,
                max_units=self.job.options.max_units,
                max_seconds=self.job.options.max_seconds,
            ),
            recover=self._recover,
            used=used,
            clock=clock,
            observer=self.observer,
            tuning=self.tuning,
        )
        try:
            async with desk, following(self.place, self.control, clock, self.observer):
                await self._run_fleet(desk, clock)
            if coordinator.failure is not None:
                raise coordinator.failure
            await self.ledger.record([used()])
        except asyncio.CancelledError:
            await self._seal_in_time(used())
            raise
        except DdbioError as error:
            # What is done need not be recorded yet; and what a worker did that was killed is not known.
            done = coordinator.too_deadly or any(usage.items for usage in coordinator.usages)
            forget = not (done or isinstance(error, LimitReachedError))
            error.stopped(resumable=await self._seal_in_time(used(), forget=forget))
            if isinstance(error, LimitReachedError):
                error.with_report(self._report(coordinator, desk))
            raise
        finally:
            self._tell_rejects()
        if not coordinator.done:
            raise LedgerError("The workers ended before all splits were done.")
        self.ledger.check()
        return self._report(coordinator, desk)

    def _tell_rejects(self) -> None:
        found = self.ledger
        if found.rejects_location is not None:
            reasons = dict(found.reasons)
            self.observer(RecordsRejected(count=found.rejected, location=found.rejects_location, reasons=reasons))

    def _meter(self, coordinator: Coordinator, clock: Clock) -> Callable[[], Used]:
        """What tells how much this run has used since now."""
        began, cpu_before = clock.now(), time.process_time()

        def used() -> Used:
            spent = sum(coordinator.usages, Spending())
            cpu_seconds = time.process_time() - cpu_before + (0 if self._inline else spent.cpu_seconds)
            return Used(self.job.run, replace(spent, seconds=clock.now() - began, cpu_seconds=cpu_seconds))

        return used

    async def _run_fleet(self, desk: Desk, clock: LoopClock) -> None:
        credentials = await self.source.get()
        if self._inline:
            await run_inline(self.job, desk, credentials, clock, self.stream)
        else:
            inherited = () if self.lock is None else (self.lock,)
            await run_processes(self.job, desk, credentials, self.processes, inherited)

    async def _recover(self, splits: Sequence[int]) -> None:
        if self.sink is not None:
            await recover(self.ledger, self.sink, splits)

    async def _seal_in_time(self, used: Used, *, forget: bool = False) -> bool:
        """Note what was used, seal what is durable and remove the rest, if that is quick and possible.

        Else a run that resumes seals. With `forget`, the journal goes too, where the job has come to nothing yet.
        Returns whether there is one to go on with.
        """
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(SEAL_SECONDS):
                    await self.ledger.record([used])
                    if self.sink is not None:
                        await recover(self.ledger, self.sink)
                        await sweep(self.ledger, self.sink, self.job.table.name)
                    if forget and self.ledger.untouched:
                        await self.ledger.close()
                        return False
        except DdbioError as error:
            log.debug("not sealed: %s", error)
        return self.ledger.has_journal

    @property
    def _inline(self) -> bool:
        """Whether the only worker is in this process."""
        return self.processes == 1

    def _report(self, coordinator: Coordinator, desk: Desk) -> JobReport:
        usages = coordinator.usages
        return JobReport(
            command="export" if isinstance(self.job, ExportJob) else "import",
            table=self.job.table.name,
            items=self.ledger.written,
            bytes=self.ledger.bytes,
            files=self._files,
            rejected=self.ledger.rejected,
            rejects=self.ledger.rejects_location,
            **self.ledger.used.counters(),
            peak_rss_bytes=peak_rss_bytes() + sum(0 if self._inline else usage.peak_rss_bytes for usage in usages),
            resumed=self.resumed,
            manifest=None,
            reject_reasons={reason: found.count for reason, found in self.ledger.reasons.items()},
            throttle_reasons=dict(coordinator.throttles),
            timeline=desk.timeline(),
        )

    @property
    def _files(self) -> int:
        """Files written, of which a stream has none, or read."""
        if isinstance(self.job, ExportJob):
            return len(self.ledger.files) if self.sink else 0
        return len({(split.source, split.file) for split in self.splits})
