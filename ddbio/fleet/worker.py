"""The worker: one event loop that leases splits, works on several at once, and keeps to its share of the budget."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import ceil
from typing import BinaryIO

from ddbio.capacity import Governor
from ddbio.capacity.adaptive import scope
from ddbio.capacity.concurrency import AdaptiveConcurrency
from ddbio.clock import Clock, sleep
from ddbio.fleet.credential_box import CredentialBox
from ddbio.fleet.engine import Engine, EngineFactory, Tools
from ddbio.fleet.failure import describe
from ddbio.fleet.protocol import Failure, Grant, Report, Welcome, lanes_for
from ddbio.fleet.tuning import REPORT_PAUSE, REPORT_SECONDS
from ddbio.ledger.entries import Lease
from ddbio.pipeline.job import FIRST_LANES
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.outbox import Outbox
from ddbio.runtime import threads

Exchange = Callable[[Report], Awaitable[Grant]]
"""Carries a Report to the coordinator and brings the Grant back."""


class _StoppedError(Exception):
    """The coordinator has asked this worker to stop before its work is done."""


@dataclass
class Worker:
    """Works on the splits that it is granted until it is asked to stop."""

    welcome: Welcome
    exchange: Exchange
    clock: Clock
    open_engine: EngineFactory
    """Opens what reads and writes the table and the files."""
    stream: BinaryIO | None = None
    """Standard input or output, if the job uses it."""

    def __post_init__(self) -> None:
        self._job = self.welcome.job
        self._wake = asyncio.Event()
        self._governor = Governor(0.0, self.clock, self._job.burst_seconds)
        self._credentials = CredentialBox(self.welcome.credentials, self._wake.set)
        self._outbox = Outbox(self._wake.set)
        self._meter = Meter()
        fixed = self._job.options.concurrency
        self._count = AdaptiveConcurrency(
            fewest=fixed or 1, first=fixed or FIRST_LANES, most=self._job.most_lanes, now=self.clock.now()
        )
        self._lanes = Lanes(self._count.count)
        self._leases: asyncio.Queue[Lease | None] = asyncio.Queue()
        self._tasks = 0
        """How many tasks work on splits."""
        self._busy = 0.0
        """The number of lanes for which there are leases."""
        self._numbers = count(1)

    async def run(self) -> None:
        """Work until every split of the job is done, or the coordinator stops the job; an error here stops it too.

        Raises only what `exchange` raises, and CancelledError.
        """
        working = asyncio.create_task(self._work())
        try:
            failure = await asyncio.shield(working)
        except asyncio.CancelledError:
            # The work is a task of its own, so that an error during its cleanup can't hide the cancellation.
            working.cancel()
            await asyncio.wait([working])
            raise
        await self.exchange(self._report(failure=failure, stopped=True))

    def report_now(self) -> None:
        """Report without waiting: the coordinator has a message for this worker."""
        self._wake.set()

    async def _work(self) -> Failure | None:
        """Work until asked to stop; returns what went wrong."""
        failure: Failure | None = None
        try:
            with threads() as executor:
                tools = Tools(
                    governor=self._governor,
                    credentials=self._credentials,
                    lanes=self._lanes,
                    outbox=self._outbox,
                    meter=self._meter,
                    executor=executor,
                    clock=self.clock,
                    run=self.welcome.run,
                    stream=self.stream,
                )
                async with self.open_engine(self._job, tools) as engine, asyncio.TaskGroup() as group:
                    group.create_task(self._report_until_done(partial(self._adapt, engine, group)))
        except* _StoppedError:
            pass
        except* Exception as errors:  # noqa: BLE001 - whatever it is, the coordinator has to know
            failure = describe(errors)
        return failure

    def _adapt(self, engine: Engine, group: asyncio.TaskGroup) -> None:
        """Adapt the number of lanes to the throughput; surplus tasks end with their current split."""
        meter = self._meter
        self._lanes.limit = self._count.update(
            self.clock.now(),
            done=meter.requests - meter.retries,
            throttles=sum(count for reason, count in meter.reasons.items() if scope(reason) != "range"),
            waited=self._governor.waited,
        )
        while self._tasks < self._wanted:
            group.create_task(self._work_on_splits(engine))
            self._tasks += 1

    @property
    def _wanted(self) -> int:
        return self._job.splits_at_once(self._lanes.limit)

    async def _work_on_splits(self, engine: Engine) -> None:
        """Work on one split after the other."""
        while (lease := await self._leases.get()) is not None:
            await engine.work(lease)
            self._busy -= lanes_for(lease.split)
            self._wake.set()
            if self._tasks > self._wanted:
                self._tasks -= 1
                return

    async def _report_until_done(self, adapt: Callable[[], None]) -> None:
        """Report and apply the Grants until the job is done; then let the tasks end."""
        while True:
            adapt()
            self._wake.clear()
            grant = await self.exchange(self._report())
            self._apply(grant)
            if grant.stop == "abort":
                raise _StoppedError
            if grant.stop == "done":
                break
            await sleep(self.clock, REPORT_PAUSE)
            await self._wait_for_news()
        for _ in range(self._tasks):
            self._leases.put_nowait(None)

    async def _wait_for_news(self) -> None:
        timer = self.clock.call_at(self.clock.now() + REPORT_SECONDS - REPORT_PAUSE, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    def _report(self, *, failure: Failure | None = None, stopped: bool = False) -> Report:
        return Report(
            worker=self.welcome.worker,
            number=next(self._numbers),
            wanted=0 if stopped else max(int(self._tasks - self._busy), 0),
            rate=self._governor.rate,
            at_once=self._job.requests_at_once(self._lanes.limit, ceil(self._busy)),
            collections=self._meter.collections.count,
            usage=self._meter.usage(self._governor.spent if stopped else self._governor.settled, self._governor),
            commits=self._outbox.pending(),
            urgent=stopped or self._outbox.urgent,
            stale_key=self._credentials.stale_key,
            failure=failure,
            stopped=stopped,
        )

    def _apply(self, grant: Grant) -> None:
        self._outbox.acknowledge(grant.acknowledged)
        if grant.credentials is not None:
            self._credentials.update(grant.credentials)
        if grant.rate < self._governor.rate:
            self._wake.set()  # the others wait until this worker reports the lower rate
        self._governor.set_rate(grant.rate)
        for lease in grant.leases:
            self._busy += lanes_for(lease.split)
            self._leases.put_nowait(lease)
