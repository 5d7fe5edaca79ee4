"""Sending: entries into batches, several batches at once, what comes back unprocessed out again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ddbio.clock import Clock, sleep
from ddbio.codec import Entry, weigh
from ddbio.errors import JobFailedError
from ddbio.pipeline.batcher import Batch, Batcher
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.requests import Requester
from ddbio.pipeline.writing import TableWriter
from ddbio.retry import Backoff

HELD_BYTES = 4 * 1024 * 1024
"""Most bytes of records that wait for an earlier one with the same key, or since they came back, for each sender."""

REST = Backoff(cap=3.2)
"""How long records rest that came back. Longer, and a partition with nothing but hot keys left would often be idle."""


class Sender:
    """Sends entries to a table. An async context manager: leaving it early cancels what is out.

    `refused` is told of each entry that the service does not take, and why.
    """

    def __init__(
        self,
        writer: TableWriter,
        *,
        requester: Requester,
        lanes: Lanes,
        meter: Meter,
        clock: Clock,
        refused: Callable[[Entry, str], None],
    ) -> None:
        self._writer = writer
        self._requester = requester
        self._lanes = lanes
        self._meter = meter
        self._clock = clock
        self._refused = refused
        self._batcher = Batcher()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._settled = asyncio.Event()
        self._resting_bytes = 0

    async def __aenter__(self) -> Sender:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        # Not a TaskGroup: an application may enter a writer in one task and use it in others.
        failure, self._failure = self._failure, self._failure or JobFailedError("The writer was left before the end.")
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if kind is None and failure is not None:
            raise failure

    @property
    def empty(self) -> bool:
        """Nothing waits, nothing is out."""
        return self._batcher.empty

    async def add(self, entries: list[Entry]) -> None:
        """Take entries; waits for lanes while batches are full, and while too many records wait for others or rest.

        Several tasks may call this at once. One that is cancelled here leaves its entries, and those of others, to be
        sent later. Raises what made an earlier batch fail.
        """
        self._raise_failure()
        self._batcher.add(entries)
        await self._send_ready(flush=False)
        while self._batcher.held_bytes + self._resting_bytes > HELD_BYTES:
            await self.push()

    async def push(self) -> None:
        """Send what is ready, full batch or not, and wait until one has come back. Not when `empty`.

        Raises what made a batch fail.
        """
        self._raise_failure()
        await self._send_ready(flush=True)
        await self._settled.wait()
        self._settled.clear()
        self._raise_failure()

    async def _send_ready(self, *, flush: bool) -> None:
        while batch := self._batcher.take(flush=flush, most_units=self._writer.affordable):
            try:
                await self._lanes.take(batch.size)
            except asyncio.CancelledError:
                self._batcher.put_back(batch.entries)
                raise
            if self._failure is not None:
                self._lanes.give(batch.size)
                raise self._failure
            task = asyncio.create_task(self._send(batch))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()  # asked for, lest asyncio tells of it
        self._failure = self._failure or error
        self._settled.set()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _send(self, batch: Batch) -> None:
        """Write one batch; what the service did not process goes back to the batcher after a pause, without a lane."""
        try:
            outcome = await self._writer.write(batch)
        finally:
            self._lanes.give(batch.size)
        self._batcher.finish(outcome.written, written=True)
        for entry, message in outcome.refused:
            self._refused(entry, message)
            self._batcher.finish([entry], written=False)
        if outcome.unprocessed:
            self._settled.set()
            await self._rest(outcome.unprocessed)
            self._batcher.put_back(outcome.unprocessed)

    async def _rest(self, entries: list[Entry]) -> None:
        """Wait before records that were not processed are sent again, the longer the more often they came back.

        Raises JobFailedError where nothing has been written for the requester's patience.
        """
        self._meter.throttles += 1
        self._meter.retries += 1
        if self._requester.deadline.failed():
            raise JobFailedError(
                f"The table has taken no record for {self._requester.deadline.seconds:.0f} seconds.",
                hint="Look at the table's throttling metrics, and try again with a smaller capacity.",
            )
        size, _ = weigh(entries)
        self._resting_bytes += size
        await sleep(self._clock, REST.delay(max(entry.returned for entry in entries)))
        self._resting_bytes -= size
        for entry in entries:
            entry.returned += 1
