"""The seam between a job's run and its workers: what every way to run workers has in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Protocol

from ddbio.errors import WorkerLostError
from ddbio.fleet.desk import Desk
from ddbio.fleet.protocol import Welcome
from ddbio.pipeline.job import Job
from ddbio.wire.signing import Credentials


class Carrier(Protocol):
    """Runs the workers of a job, and brings their Reports to the desk and its Grants back."""

    @property
    def workers(self) -> int:
        """How many workers there are at a time."""

    @property
    def in_this_process(self) -> bool:
        """Whether the workers share the process of the run, so that its CPU time and memory include theirs."""

    async def carry(self, job: Job, desk: Desk, credentials: Credentials) -> None:
        """Run `job` until the last worker has ended; the desk knows whether the job has failed.

        When this is cancelled, no worker goes on.
        """


Serve = Callable[[Welcome], Awaitable[WorkerLostError | None]]
"""Runs one worker and answers its Reports; returns None after its last one, or how it was lost before that."""


async def fill_slots(job: Job, desk: Desk, credentials: Credentials, slots: int, serve: Serve) -> None:
    """Keep a worker in each slot until the job is done or has failed; one that is lost is replaced."""

    async def fill(slot: int) -> None:
        newest = credentials
        for attempt in count():
            lost = await serve(Welcome(worker=slot, run=f"{job.run}-{slot}-{attempt}", job=job, credentials=newest))
            if lost is None or not await desk.lost(slot, lost):
                return
            newest = await desk.credentials() or newest

    async with asyncio.TaskGroup() as group:
        for slot in range(slots):
            group.create_task(fill(slot))
