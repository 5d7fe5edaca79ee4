"""The inline fleet: one worker in the caller's own process and event loop."""

from __future__ import annotations

from typing import BinaryIO

from ddbio.clock import Clock
from ddbio.fleet.desk import Desk
from ddbio.fleet.protocol import Welcome
from ddbio.fleet.worker import Worker
from ddbio.pipeline.job import Job
from ddbio.wire.signing import Credentials


async def run_inline(job: Job, desk: Desk, credentials: Credentials, clock: Clock, stream: BinaryIO | None) -> None:
    """Run `job` to its end; the desk knows whether it failed."""
    await Worker(
        Welcome(worker=0, run=f"{job.run}-0-0", job=job, credentials=credentials), desk.answer, clock, stream
    ).run()
