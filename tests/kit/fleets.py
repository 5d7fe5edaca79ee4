"""Whole fleets in one event loop, on virtual time: several workers, one desk, one table."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from ddbio.capacity import Budget, Pace
from ddbio.clock import Clock, LoopClock
from ddbio.events import Event
from ddbio.fleet import engine
from ddbio.fleet.coordinator import Coordinator
from ddbio.fleet.desk import Desk
from ddbio.fleet.protocol import Failure, Grant, Report, Welcome
from ddbio.fleet.worker import Worker
from ddbio.ledger.entries import Split, Used
from ddbio.ledger.law import ExportLaw, ImportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.recovery import recover
from ddbio.ledger.rejects import RejectsFile
from ddbio.model import KeyAttribute
from ddbio.options import ExportOptions, ImportOptions
from ddbio.pipeline.job import ExportJob, ImportJob, Job, SourceFacts, TableFacts
from ddbio.wire.signing import CredentialProvider, Credentials, StaticCredentials
from tests.kit.fakes import FakeTable, MemorySink

CREDENTIALS = Credentials("AKIA", "secret")
FACTS = TableFacts("T", "eu-west-1", "http://localhost:8000", (KeyAttribute("pk", "S", 2_048),), ("pk",))


def export_job(segments: int, **options: object) -> ExportJob:
    """An export of table T to somewhere."""
    given: dict[str, object] = {"table": "T", "destination": "out", **options}
    return ExportJob(run="run", options=ExportOptions(**given), table=FACTS, segments=segments, s3=None)  # type: ignore[arg-type]


def import_job(source: Path, **options: object) -> ImportJob:
    """An import of `source` into table T."""
    given: dict[str, object] = {"table": "T", "source": str(source), **options}
    asked = ImportOptions(**given)  # type: ignore[arg-type]
    return ImportJob(run="run", options=asked, table=FACTS, sources=tuple(map(SourceFacts, asked.sources)))


@dataclass
class Fleet:
    """The parts of a job. `grants` are all Grants, with the instant and the worker."""

    job: Job
    table: FakeTable
    splits: Sequence[Split]
    budget: float
    workers: int = 1
    most: float | None = None
    max_rejects: int = 0
    limits: dict[str, float] = field(default_factory=dict)
    rejects: Path | None = None
    credentials: CredentialProvider = field(default_factory=lambda: StaticCredentials(CREDENTIALS))
    clock: Clock = field(default_factory=LoopClock)
    sink: MemorySink = field(default_factory=MemorySink)
    events: list[Event] = field(default_factory=list)
    reports: list[tuple[float, Report]] = field(default_factory=list)
    grants: list[tuple[float, int, Grant]] = field(default_factory=list)
    _working: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _answering: dict[int, asyncio.Future[Grant]] = field(default_factory=dict)
    on_report: Callable[[Report], None] = lambda _: None

    async def run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Run the job to its end."""
        monkeypatch.setattr(engine, "HttpTransport", lambda **_: self.table)
        monkeypatch.setattr(engine, "open_sink", lambda *_, **__: self.sink)
        self.coordinator = Coordinator(
            self.splits, workers=self.workers, budget=Budget(Pace(self.budget, self.most)), rng=random.Random(7)
        )
        self.ledger = Ledger(
            ImportLaw() if isinstance(self.job, ImportJob) else ExportLaw(),
            rejects=RejectsFile(self.rejects, "run") if self.rejects else None,
        )
        self.desk = Desk(
            self.coordinator,
            self.ledger,
            self.credentials,
            max_rejects=self.max_rejects,
            **self.limits,
            recover=self._recover,
            used=Used,
            clock=self.clock,
            observer=self.events.append,
        )
        try:
            async with self.desk, asyncio.TaskGroup() as group:
                for number in range(self.workers):
                    group.create_task(self._fill(number))
        finally:
            await self.ledger.leave()

    def kill(self, number: int) -> None:
        """End a worker at once, as the end of its process would."""
        self._working[number].cancel()

    async def _fill(self, number: int) -> None:
        """Run one worker, and after each that is killed another one."""
        for attempt in count():
            welcome = Welcome(worker=number, run=f"run-{number}-{attempt}", job=self.job, credentials=CREDENTIALS)
            working = asyncio.create_task(Worker(welcome, self._exchange, self.clock).run())
            self._working[number] = working
            try:
                await asyncio.wait([working])
            finally:
                working.cancel()
                await asyncio.wait([working])
            if not working.cancelled():
                return await working
            await asyncio.wait([self._answering[number]])
            if not await self.desk.lost(number, Failure(kind="WorkerLostError", message=f"Worker {number} is gone.")):
                return None
        return None

    async def _recover(self, splits: Sequence[int]) -> None:
        await recover(self.ledger, self.sink, splits)

    async def _exchange(self, report: Report) -> Grant:
        self.reports.append((self.clock.now(), report))
        self.on_report(report)
        self._answering[report.worker] = asyncio.ensure_future(self.desk.answer(report))
        grant = await asyncio.shield(self._answering[report.worker])
        self.grants.append((self.clock.now(), report.worker, grant))
        return grant
