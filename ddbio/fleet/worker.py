"""The worker: one event loop that leases splits, works on several at once, and keeps to its share of the budget."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from itertools import count
from math import ceil
from typing import BinaryIO

from ddbio.capacity import Governor
from ddbio.capacity.adaptive import scope
from ddbio.capacity.concurrency import AdaptiveConcurrency
from ddbio.clock import Clock, LoopClock, sleep
from ddbio.fleet import frames
from ddbio.fleet.credential_box import CredentialBox
from ddbio.fleet.engine import Engine, Tools, open_engine
from ddbio.fleet.failure import describe
from ddbio.fleet.protocol import Failure, Grant, Report, Welcome, lanes_for
from ddbio.ledger.entries import Lease
from ddbio.pipeline.job import FIRST_LANES, most_lanes, requests_at_once, splits_at_once
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.outbox import Outbox
from ddbio.runtime import run, threads
from ddbio.visible import log_visibly

REPORT_SECONDS = 0.5
REPORT_PAUSE = 0.05
"""At most twenty Reports a second."""
THREADS = 4
"""For files, compression and checksums: these release the GIL."""

Exchange = Callable[[Report], Awaitable[Grant]]
"""Carries a Report to the coordinator and brings the Grant back."""


class _StoppedError(Exception):
    """The coordinator has asked this worker to stop before its work is done."""


class Worker:
    """Runs the splits that it is granted until it is told to stop. `stream` is standard input or output, if used."""

    def __init__(self, welcome: Welcome, exchange: Exchange, clock: Clock, stream: BinaryIO | None = None) -> None:
        self._number = welcome.worker
        self._job = welcome.job
        self._run = welcome.run
        self._exchange = exchange
        self._clock = clock
        self._stream = stream
        self._wake = asyncio.Event()
        self._governor = Governor(0.0, clock, welcome.job.options.burst_seconds)
        self._credentials = CredentialBox(welcome.credentials, self._wake.set)
        self._outbox = Outbox(self._wake.set)
        self._meter = Meter()
        fixed, most = welcome.job.options.concurrency, most_lanes(welcome.job)
        self._count = AdaptiveConcurrency(fewest=fixed or 1, first=fixed or FIRST_LANES, most=most, now=clock.now())
        self._lanes = Lanes(self._count.count)
        self._leases: asyncio.Queue[Lease | None] = asyncio.Queue()
        self._open = 0
        self._busy = 0.0
        """Lanes for which there are leases."""
        self._numbers = count(1)

    async def run(self) -> None:
        """Work until every split of the job is done, or the coordinator stops the job; an error here stops it too.

        Raises only what `exchange` raises, and CancelledError.
        """
        working = asyncio.create_task(self._work())
        try:
            failure = await asyncio.shield(working)
        except asyncio.CancelledError:
            # A task of its own, so that an error on the way out can't hide that this was cancelled.
            working.cancel()
            await asyncio.wait([working])
            raise
        await self._exchange(self._report(failure=failure, stopped=True))

    def report_now(self) -> None:
        """Do not wait for news: the coordinator has something to say."""
        self._wake.set()

    async def _work(self) -> Failure | None:
        """Work until told to stop; return what went wrong."""
        failure: Failure | None = None
        try:
            with threads(THREADS) as executor:
                async with open_engine(self._job, self._tools(executor)) as engine, asyncio.TaskGroup() as group:
                    group.create_task(self._report_until_done(partial(self._adapt, engine, group)))
        except* _StoppedError:
            pass
        except* Exception as errors:  # noqa: BLE001 - whatever it is, the coordinator has to know
            failure = describe(errors)
        return failure

    def _tools(self, executor: Executor) -> Tools:
        return Tools(
            governor=self._governor,
            credentials=self._credentials,
            lanes=self._lanes,
            outbox=self._outbox,
            meter=self._meter,
            executor=executor,
            clock=self._clock,
            run=self._run,
            stream=self._stream,
        )

    def _adapt(self, engine: Engine, group: asyncio.TaskGroup) -> None:
        """Have as many lanes as bring the most; where they are too many, some end with their split."""
        meter = self._meter
        self._lanes.limit = self._count.update(
            self._clock.now(),
            done=meter.requests - meter.retries,
            throttles=sum(count for reason, count in meter.reasons.items() if scope(reason) != "range"),
            waited=self._governor.waited,
        )
        while self._open < self._wanted:
            group.create_task(self._lane(engine))
            self._open += 1

    @property
    def _wanted(self) -> int:
        return splits_at_once(self._job, self._lanes.limit)

    async def _lane(self, engine: Engine) -> None:
        """Do one split after the other."""
        while (lease := await self._leases.get()) is not None:
            await engine.work(lease)
            self._busy -= lanes_for(lease.split)
            self._wake.set()
            if self._open > self._wanted:
                self._open -= 1
                return

    async def _report_until_done(self, adapt: Callable[[], None]) -> None:
        """Report and take Grants in; ends with the lanes when all is done."""
        while True:
            adapt()
            self._wake.clear()
            grant = await self._exchange(self._report())
            self._apply(grant)
            if grant.stop == "abort":
                raise _StoppedError
            if grant.stop == "done":
                break
            await sleep(self._clock, REPORT_PAUSE)
            await self._wait_for_news()
        for _ in range(self._open):
            self._leases.put_nowait(None)

    async def _wait_for_news(self) -> None:
        timer = self._clock.call_at(self._clock.now() + REPORT_SECONDS - REPORT_PAUSE, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    def _report(self, *, failure: Failure | None = None, stopped: bool = False) -> Report:
        return Report(
            worker=self._number,
            number=next(self._numbers),
            wanted=0 if stopped else max(int(self._open - self._busy), 0),
            rate=self._governor.rate,
            at_once=requests_at_once(self._job, self._lanes.limit, ceil(self._busy)),
            collections=self._meter.collections,
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
            self._wake.set()  # the others wait for this worker to say that it spends less
        self._governor.set_rate(grant.rate)
        for lease in grant.leases:
            self._busy += lanes_for(lease.split)
            self._leases.put_nowait(lease)


async def _serve(socket_number: int) -> None:
    """Be a worker process: the job comes over an inherited socket, whose end is the end of this process."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=socket_number))
    welcome = await frames.receive(reader, Welcome)
    if welcome is None:
        return
    grants: asyncio.Queue[Grant] = asyncio.Queue()

    async def listen() -> None:
        while (grant := await frames.receive(reader, Grant)) is not None:
            grants.put_nowait(grant)
            if grant.stop == "abort":  # perhaps unasked for: it answers the next Report
                worker.report_now()
        # The parent is gone. Nothing may be renamed, sealed or cleaned up any more: another run may be at it already.
        os._exit(1)

    async def exchange(report: Report) -> Grant:
        await frames.send(writer, report)
        return await grants.get()

    worker = Worker(welcome, exchange, LoopClock())
    listening = asyncio.create_task(listen())
    await worker.run()
    listening.cancel()
    writer.close()


if __name__ == "__main__":
    if hasattr(signal, "SIGUSR1"):  # Windows has none; it is for the parent, and `pkill` sends it to everybody
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    log_visibly()
    run(_serve(int(sys.argv[1])))
