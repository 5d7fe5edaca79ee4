"""Sending: entries into batches, several batches at once, what comes back unprocessed out again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ddbio.clock import Clock
from ddbio.errors import JobFailedError
from ddbio.pipeline.batcher import Batcher, Entry
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.requests import Requester
from ddbio.pipeline.writing import TableWriter

IN_FLIGHT_BYTES = 64 * 1024 * 1024
"""Most bytes of batches that are out at once in a process."""
HELD_BYTES = 4 * 1024 * 1024
"""Most bytes of records that wait for an earlier one with the same key, for each sender."""


class Lanes:
    """How many batches, and how many bytes of them, may be out at once; shared by all senders of a process.

    First come, first served; a batch larger than all the room goes alone.
    """

    def __init__(self, batches: int) -> None:
        self._limit = batches
        self._batches = 0
        self._bytes = 0
        self._waiters: deque[tuple[asyncio.Future[None], int]] = deque()

    @property
    def limit(self) -> int:
        """Most batches that may be out; more of them may be so after it was lowered, until they are back."""
        return self._limit

    @limit.setter
    def limit(self, batches: int) -> None:
        self._limit = batches
        self._serve()

    async def take(self, size: int) -> None:
        """Wait for a lane and for room."""
        if not self._waiters and self._fits(size):
            self._enter(size)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((waiter, size))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._serve()
            else:  # let in and cancelled in the same turn of the loop
                self.give(size)
            raise

    def give(self, size: int) -> None:
        """The batch is back."""
        self._batches -= 1
        self._bytes -= size
        self._serve()

    def _fits(self, size: int) -> bool:
        return self._batches < self._limit and (self._bytes == 0 or self._bytes + size <= IN_FLIGHT_BYTES)

    def _enter(self, size: int) -> None:
        self._batches += 1
        self._bytes += size

    def _serve(self) -> None:
        while self._waiters:
            waiter, size = self._waiters[0]
            if not waiter.cancelled():
                if not self._fits(size):
                    return
                self._enter(size)
                waiter.set_result(None)
            self._waiters.popleft()


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
        self._stuck_since: float | None = None

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

    async def add(self, entry: Entry) -> None:
        """Take an entry; waits for a lane when a batch is full, and while too many records are held back.

        Several tasks may call this at once. One that is cancelled here leaves its entry, and those of others, to be
        sent later. Raises what made an earlier batch fail.
        """
        self._raise_failure()
        self._batcher.add(entry)
        await self._send_ready(flush=False)
        while self._batcher.held_bytes > HELD_BYTES:
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
        while batch := self._batcher.take(flush=flush):
            size = sum(len(entry.request) for entry in batch)
            try:
                await self._lanes.take(size)
            except asyncio.CancelledError:
                self._batcher.put_back(batch)
                raise
            if self._failure is not None:
                self._lanes.give(size)
                raise self._failure
            task = asyncio.create_task(self._send(batch, size))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self._failure = self._failure or task.exception()
        self._settled.set()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _send(self, batch: list[Entry], size: int) -> None:
        """Write one batch; what the service did not process goes back to the batcher after a pause."""
        try:
            outcome = await self._writer.write(batch)
            for entry in outcome.written:
                entry.done = entry.written = True
            for entry, message in outcome.refused:
                self._refused(entry, message)
            self._batcher.finish([*outcome.written, *(entry for entry, _ in outcome.refused)])
            if outcome.written:
                self._stuck_since = None
            if outcome.unprocessed:
                await self._pause(outcome.unprocessed)
                self._batcher.put_back(outcome.unprocessed)
        finally:
            self._lanes.give(size)

    async def _pause(self, entries: list[Entry]) -> None:
        """Wait before records that were not processed are sent again, the longer the more often they came back.

        Raises JobFailedError where nothing has been written for the requester's patience.
        """
        self._meter.throttles += 1
        self._meter.retries += 1
        if self._stuck_since is None:
            self._stuck_since = self._clock.now()
        patience = self._requester.patience
        if self._clock.now() - self._stuck_since > patience:
            raise JobFailedError(
                f"The table has taken no record for {patience:.0f} seconds.",
                hint="Look at the table's throttling metrics, and try again with a smaller capacity.",
            )
        await self._requester.pause(max(entry.returned for entry in entries))
        for entry in entries:
            entry.returned += 1
