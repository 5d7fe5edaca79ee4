"""The stages of a job: `prepare`, `begin`, `run`, `finish`. What all kinds of job have in common is here."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ddbio.aws.table import TableInfo
from ddbio.capacity import Budget
from ddbio.events import JobPlanned
from ddbio.fleet.carrier import Carrier
from ddbio.fleet.inline import Inline
from ddbio.fleet.limits import Limits
from ddbio.fleet.processes import Processes
from ddbio.jobs.opening import Services
from ddbio.jobs.run import Files, Run
from ddbio.ledger.entries import Opened, Split
from ddbio.ledger.ledger import Ledger
from ddbio.pipeline.job import Job
from ddbio.report import JobReport, VerifyReport
from ddbio.storage.base import Sink

Result = TypeVar("Result", bound=JobReport | VerifyReport)


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A job that has begun, anew or where an earlier run of it stopped: what its run needs."""

    opened: Opened
    """How the journal begins."""
    job: Job
    splits: Sequence[Split]
    processes: int
    ledger: Ledger
    files: Files
    lock: int | None
    """What worker processes inherit, so that they hold the lock of the job too (`Sink.lock`)."""


@dataclass(frozen=True, kw_only=True)
class Prepared(ABC, Generic[Result]):
    """A job that is checked and planned: nothing has been written for it, and no lock is taken."""

    services: Services
    table: TableInfo | None
    """None if the files of an export are only checked."""
    budget: Budget
    wanted: int
    """How many processes the budget feeds."""
    opened: Opened
    """How the journal begins if the job starts over."""
    location: str
    """Where the files go to or come from."""
    source_bytes: int | None = None
    """What an import will read; None if that is not known."""
    state_folder: str | None = None
    """Where an import that can be resumed keeps its own files."""
    limits: Limits = field(default_factory=Limits)

    @property
    @abstractmethod
    def state(self) -> Sink | None:
        """Where the job keeps its journal and its control file; None if it can't be resumed."""

    @abstractmethod
    def units_left(self, ledger: Ledger) -> float:
        """About how many capacity units the job will still consume; 0 if that is not known."""

    @abstractmethod
    async def begin(self) -> Begun | Result:
        """Lock the job, and begin it or take up an earlier run; the report of that run if there is nothing to do."""

    async def run(self, begun: Begun) -> JobReport:
        """Announce the job and let the workers do it."""
        self.announce(begun)
        services = self.services
        run = Run(
            job=begun.job,
            splits=begun.splits,
            budget=self.budget,
            ledger=begun.ledger,
            files=begun.files,
            credentials=services.credentials,
            carrier=self._carrier(begun),
            clock=services.clock,
            rng=random.Random(services.run),  # noqa: S311 - an order of work, no secret
            observer=services.observer,
            limits=self.limits,
            control=services.control,
            control_file=self.state,
            resumed=begun.opened.run != services.run,
        )
        return await run.execute()

    @abstractmethod
    async def finish(self, begun: Begun, report: JobReport) -> Result:
        """Do what is left when the workers have ended, such as to replace the journal by the manifest."""

    async def carry_out(self) -> Result:
        """All stages that follow `prepare`."""
        begun = await self.begin()
        if not isinstance(begun, Begun):
            return begun
        return await self.finish(begun, await self.run(begun))

    def _carrier(self, begun: Begun) -> Carrier:
        if begun.processes == 1:
            return Inline(clock=self.services.clock, stream=self.services.stream)
        return Processes(workers=begun.processes, inherited=() if begun.lock is None else (begun.lock,))

    def announce(self, begun: Begun) -> None:
        """Tell the observer what is about to be done."""
        table, pace, expected = self.table, self.budget.pace, self.units_left(begun.ledger)
        if table is None:
            return
        planned = JobPlanned(
            command=begun.job.command,
            account=table.account,
            region=self.services.session.region,
            table=table.name,
            table_bytes=table.size_bytes or None,
            table_items=table.item_count or None,
            source_bytes=self.source_bytes,
            budget=pace.start,
            adaptive=pace.most is not None,
            splits=len(begun.splits),
            processes=begun.processes,
            expected_seconds=expected / pace.start if expected else None,
            location=self.location,
            items_done=begun.ledger.written,
            state=self.state_folder,
        )
        self.services.observer(planned)
