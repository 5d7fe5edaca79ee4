"""Whole fleets in one event loop, on virtual time: several workers, one desk, one table."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ddbio.aws.opening import Opener
from ddbio.capacity import Budget, Control, Pace
from ddbio.clock import Clock, LoopClock
from ddbio.errors import WorkerLostError
from ddbio.events import Event
from ddbio.fleet.carrier import fill_slots
from ddbio.fleet.desk import Desk
from ddbio.fleet.engine import Engine, EngineFactory, Outside, Tools, open_engine
from ddbio.fleet.limits import Limits
from ddbio.fleet.protocol import Grant, Report, Welcome
from ddbio.fleet.tuning import DEFAULT, Tuning
from ddbio.fleet.worker import Worker
from ddbio.jobs.export import WrittenFiles
from ddbio.jobs.run import Run
from ddbio.ledger.entries import Split
from ddbio.ledger.law import ExportLaw, ImportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.rejects import RejectsFile
from ddbio.model import KeyAttribute
from ddbio.options import ExportOptions, ImportOptions
from ddbio.pipeline.job import ExportJob, ImportJob, Job, SourceFacts, TableFacts
from ddbio.pipeline.tuning import DEFAULT as PIPELINE
from ddbio.pipeline.tuning import Tuning as PipelineTuning
from ddbio.storage.base import Sink
from ddbio.wire.signing import CredentialProvider, Credentials, StaticCredentials
from tests.kit.fakes import FakeTable, MemorySink, run_virtual

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


def opening(sink: Sink) -> type[Opener]:
    """An `Opener` to which every destination is `sink`."""

    class Fixed(Opener):
        async def sink(self, *_: Any, **__: Any) -> Sink:
            return sink

    return Fixed


@dataclass
class Virtual:
    """A `Carrier` of several workers in one event loop: for a clock that is virtual, and workers that can be killed.

    `grants` are all Grants, with the instant and the worker.
    """

    workers: int
    clock: Clock
    open_engine: EngineFactory
    on_report: Callable[[Report], None] = lambda _: None
    reports: list[tuple[float, Report]] = field(default_factory=list)
    grants: list[tuple[float, int, Grant]] = field(default_factory=list)
    in_this_process: bool = True
    _working: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _answering: dict[int, asyncio.Future[Grant]] = field(default_factory=dict)

    async def carry(self, job: Job, desk: Desk, credentials: Credentials) -> None:
        await fill_slots(job, desk, credentials, self.workers, partial(self._serve, desk))

    def kill(self, number: int) -> None:
        """End a worker at once, as the end of its process would."""
        self._working[number].cancel()

    async def _serve(self, desk: Desk, welcome: Welcome) -> WorkerLostError | None:
        worker = Worker(welcome, partial(self._exchange, desk), self.clock, self.open_engine)
        working = self._working[welcome.worker] = asyncio.create_task(worker.run())
        try:
            await asyncio.wait([working])
        finally:
            working.cancel()
            await asyncio.wait([working])
        if not working.cancelled():
            await working
            return None
        await asyncio.wait([self._answering[welcome.worker]])
        return WorkerLostError(f"Worker {welcome.worker} is gone.")

    async def _exchange(self, desk: Desk, report: Report) -> Grant:
        self.reports.append((self.clock.now(), report))
        self.on_report(report)
        answering = self._answering[report.worker] = asyncio.ensure_future(desk.answer(report))
        grant = await asyncio.shield(answering)
        self.grants.append((self.clock.now(), report.worker, grant))
        return grant


@dataclass
class Fleet:
    """The parts of a job, run by the virtual carrier. `grants` are all Grants, with the instant and the worker."""

    job: Job
    table: FakeTable
    splits: Sequence[Split]
    budget: float
    workers: int = 1
    most: float | None = None
    max_rejects: int = 0
    limits: dict[str, float] = field(default_factory=dict)
    """`max_units` and `max_seconds` of the run."""
    rejects: Path | None = None
    tuning: Tuning = DEFAULT
    pipeline: PipelineTuning = PIPELINE
    credentials: CredentialProvider = field(default_factory=lambda: StaticCredentials(CREDENTIALS))
    clock: Clock = field(default_factory=LoopClock)
    sink: MemorySink = field(default_factory=MemorySink)
    events: list[Event] = field(default_factory=list)
    reports: list[tuple[float, Report]] = field(default_factory=list)
    grants: list[tuple[float, int, Grant]] = field(default_factory=list)
    on_report: Callable[[Report], None] = lambda _: None

    async def run(self) -> None:
        """Let the workers run until the job is done or has failed; nothing is sealed or judged after that."""
        run = self.start()
        try:
            await run.work()
        finally:
            await self.ledger.leave()

    def start(self) -> Run:
        """The run, before its first Report."""
        self.carrier = Virtual(self.workers, self.clock, self.open_engine, self.on_report, self.reports, self.grants)
        self.ledger = Ledger(
            ImportLaw() if isinstance(self.job, ImportJob) else ExportLaw(),
            rejects=RejectsFile(self.rejects, "run") if self.rejects else None,
        )
        run = Run(
            job=self.job,
            splits=self.splits,
            budget=Budget(Pace(self.budget, self.most)),
            ledger=self.ledger,
            files=WrittenFiles(ledger=self.ledger, sink=self.sink, table=FACTS.name),
            credentials=self.credentials,
            carrier=self.carrier,
            clock=self.clock,
            rng=random.Random(7),
            observer=self.events.append,
            limits=Limits(max_rejects=self.max_rejects, **self.limits),
            control=Control(),
            tuning=self.tuning,
        )
        self.coordinator, self.desk = run.coordinator, run.desk
        return run

    def open_engine(self, job: Job, tools: Tools) -> AbstractAsyncContextManager[Engine]:
        """The engine of a worker, whose table and destination are in memory."""
        outside = Outside(open_transport=lambda **_: self.table, opener=opening(self.sink), tuning=self.pipeline)
        return open_engine(job, tools, outside)

    def kill(self, number: int) -> None:
        """End a worker at once, as the end of its process would."""
        self.carrier.kill(number)


def run(fleet: Fleet) -> float:
    """Run the fleet; return the virtual seconds that it took."""

    async def main() -> float:
        await fleet.run()
        return asyncio.get_running_loop().time()

    return run_virtual(main())
