"""The inline carrier: one worker in the caller's own process and event loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from ddbio.clock import Clock
from ddbio.fleet.desk import Desk
from ddbio.fleet.engine import EngineFactory, open_engine
from ddbio.fleet.protocol import Welcome
from ddbio.fleet.worker import Worker
from ddbio.pipeline.job import Job
from ddbio.wire.signing import Credentials


@dataclass(frozen=True, kw_only=True)
class Inline:
    """A `Carrier` of one worker; `stream` is standard input or output, if the job uses it."""

    clock: Clock
    stream: BinaryIO | None = None
    open_engine: EngineFactory = open_engine
    workers: int = 1
    in_this_process: bool = True

    async def carry(self, job: Job, desk: Desk, credentials: Credentials) -> None:
        """Run `job` to its end; cancelling this cancels the worker."""
        welcome = Welcome(worker=0, run=f"{job.run}-0-0", job=job, credentials=credentials)
        await Worker(welcome, desk.answer, self.clock, self.open_engine, self.stream).run()
