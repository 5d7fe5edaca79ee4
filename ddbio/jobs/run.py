"""One run of a job's workers, from the first Report to the verdict of the ledger."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from ddbio.capacity import Budget, Control
from ddbio.clock import Clock
from ddbio.errors import DdbioError, LedgerError, LimitReachedError
from ddbio.events import Observer, RecordsRejected
from ddbio.fleet.carrier import Carrier
from ddbio.fleet.coordinator import Coordinator
from ddbio.fleet.desk import Desk
from ddbio.fleet.limits import Limits
from ddbio.fleet.tuning import DEFAULT, Tuning
from ddbio.jobs.control_file import following
from ddbio.ledger.entries import Split, Used
from ddbio.ledger.ledger import Ledger
from ddbio.pipeline.job import Job
from ddbio.pipeline.meter import peak_rss_bytes
from ddbio.report import JobReport, Spending
from ddbio.storage.base import Sink
from ddbio.wire.signing import CredentialProvider

SEAL_SECONDS = 0.5
"""How long a run that has been stopped spends on sealing what is durable; the run that resumes does the rest."""
log = logging.getLogger("ddbio")


@dataclass(frozen=True)
class Files:
    """The files of a job, here of one that leaves none behind: `read` are those that it reads."""

    read: int = 0

    def count(self) -> int:
        """How many files the report counts."""
        return self.read

    async def recover(self, splits: Sequence[int] | None = None) -> None:
        """Seal what is durable of the files that lost workers were writing for these splits (None: for all)."""

    async def sweep(self) -> None:
        """Remove the unfinished files that no commit mentions."""


@dataclass(kw_only=True)
class Run:
    """Runs the splits that are not done, in an order that `rng` decides."""

    job: Job
    splits: Sequence[Split]
    budget: Budget
    ledger: Ledger
    files: Files
    credentials: CredentialProvider
    carrier: Carrier
    clock: Clock
    rng: random.Random
    observer: Observer
    limits: Limits
    control: Control
    control_file: Sink | None = None
    """Where a control file may lie; None if there can't be one."""
    resumed: bool = False
    tuning: Tuning = DEFAULT

    def __post_init__(self) -> None:
        self._began, self._cpu_before = self.clock.now(), time.process_time()
        self.coordinator = Coordinator(
            self.splits,
            workers=self.carrier.workers,
            budget=self.budget,
            rng=self.rng,
            progress=self.ledger.splits,
            done=self.ledger.done,
            tuning=self.tuning,
        )
        self.desk = Desk(
            self.coordinator,
            self.ledger,
            self.credentials,
            limits=self.limits,
            recover=self.files.recover,
            used=self._used,
            clock=self.clock,
            observer=self.observer,
            tuning=self.tuning,
        )

    async def execute(self) -> JobReport:
        """Run to the end; raises why the job failed, or LedgerError if the counts differ.

        When the job fails or is cancelled, what is durable is sealed.
        """
        try:
            async with following(self.control_file, self.control, self.clock, self.observer):
                await self.work()
            if self.coordinator.failure is not None:
                raise self.coordinator.failure
            await self.ledger.record([self._used()])
        except asyncio.CancelledError:
            await self._seal_in_time()
            raise
        except DdbioError as error:
            error.stopped(resumable=await self._seal_in_time(forget=self._came_to_nothing(error)))
            if isinstance(error, LimitReachedError):
                error.with_report(self._report())
            raise
        finally:
            self._tell_rejects()
        if not self.coordinator.leases.done:
            raise LedgerError("The workers ended before all splits were done.")
        self.ledger.check()
        return self._report()

    async def work(self) -> None:
        """Let the workers run until the job is done, has failed (the coordinator knows why) or is cancelled."""
        async with self.desk:
            await self.carrier.carry(self.job, self.desk, await self.credentials.get())

    def _tell_rejects(self) -> None:
        found = self.ledger
        if found.rejects_location is not None:
            reasons = dict(found.reasons)
            self.observer(RecordsRejected(count=found.rejected, location=found.rejects_location, reasons=reasons))

    def _used(self) -> Used:
        """What this run has used so far."""
        spent = sum(self.coordinator.usages, Spending())
        cpu_seconds = time.process_time() - self._cpu_before
        if not self.carrier.in_this_process:
            cpu_seconds += spent.cpu_seconds
        return Used(self.job.run, replace(spent, seconds=self.clock.now() - self._began, cpu_seconds=cpu_seconds))

    def _came_to_nothing(self, error: DdbioError) -> bool:
        """Whether the run failed before it did anything; what a worker did that was killed is not known."""
        did_something = self.coordinator.leases.too_many_deaths or any(usage.items for usage in self.coordinator.usages)
        return not (did_something or isinstance(error, LimitReachedError))

    async def _seal_in_time(self, *, forget: bool = False) -> bool:
        """Record what was used, seal what is durable and remove the rest, if `SEAL_SECONDS` suffice.

        What is left is done by the run that resumes. With `forget`, the journal is removed too if no run has done
        anything yet. Returns whether the job can be resumed.
        """
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(SEAL_SECONDS):
                    await self.ledger.record([self._used()])
                    await self.files.recover()
                    await self.files.sweep()
                    if forget and self.ledger.untouched:
                        await self.ledger.close()
                        return False
        except DdbioError as error:
            log.debug("not sealed: %s", error)
        return self.ledger.has_journal

    def _report(self) -> JobReport:
        ledger, usages = self.ledger, self.coordinator.usages
        elsewhere = 0 if self.carrier.in_this_process else sum(usage.peak_rss_bytes for usage in usages)
        return JobReport(
            command=self.job.command,
            table=self.job.table.name if self.job.table else "",
            items=ledger.written,
            bytes=ledger.bytes,
            files=self.files.count(),
            rejected=ledger.rejected,
            rejects=ledger.rejects_location,
            used=ledger.used,
            peak_rss_bytes=peak_rss_bytes() + elsewhere,
            resumed=self.resumed,
            manifest=None,
            reject_reasons={reason: found.count for reason, found in ledger.reasons.items()},
            throttle_reasons=dict(self.coordinator.throttles),
            timeline=self.desk.timeline(),
        )
