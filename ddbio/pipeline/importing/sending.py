"""Sending: entries into batches, several batches at once, what comes back unprocessed out again.

While a span is read, its batches are its own. What is left at its end fills batches together with what is left of other
spans of the process; one that is not full goes out when nobody is about to bring more, when somebody waits for the
memory of records that are not in, or after `LEFT_SECONDS`: who is about to bring more may read a slow stream.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable
from itertools import count
from typing import Any

from ddbio.clock import Clock, Timer, sleep
from ddbio.codec import EncodedRecord
from ddbio.errors import JobFailedError
from ddbio.pipeline.importing.batcher import Batch, Batcher
from ddbio.pipeline.importing.writing import TableWriter
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.requests import Requester
from ddbio.retry import UNPROCESSED

HELD_BYTES = 4 * 1024 * 1024
"""Most bytes of records that wait for an earlier one with the same key, or since they came back, for each sender."""

LEFT_SECONDS = 1.0
"""So long what is left of a span waits for others at most."""


class Dispatcher:
    """Sends the entries of its senders to a table. An async context manager: leaving it early cancels what is out."""

    def __init__(self, writer: TableWriter, *, requester: Requester, lanes: Lanes, meter: Meter, clock: Clock) -> None:
        self._writer = writer
        self._requester = requester
        self._lanes = lanes
        self._meter = meter
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._timer: Timer | None = None
        self._senders: dict[int, Sender] = {}
        self._numbers = count(1)
        self.batcher = Batcher()
        self.bringing: set[Sender] = set()
        """Those that are about to bring more."""
        self.pressed = 0
        """How many wait for memory."""

    async def __aenter__(self) -> Dispatcher:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        # Not a TaskGroup: an application may enter a writer in one task and use it in others.
        failure, self._failure = self._failure, self._failure or JobFailedError("The writer was left before the end.")
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if kind is None and failure is not None:
            raise failure

    def sender(self, refused: Callable[[EncodedRecord, str], None]) -> Sender:
        """Another sender; `refused` is told of each of its entries that the service does not take, and why."""
        number = next(self._numbers)
        sender = self._senders[number] = Sender(self, number, refused)
        self.bringing.add(sender)
        return sender

    def forget(self, number: int) -> None:
        """Nobody waits for this sender's entries any more."""
        self.bringing.discard(self._senders.pop(number))

    def raise_failure(self) -> None:
        """Raise what made a batch fail."""
        if self._failure is not None:
            raise self._failure

    async def send(self, number: int, *, flush: bool) -> None:
        """Send what this sender has ready: full batches, or with `flush` all of it."""
        await self._send_batches(number, math.inf, flush=flush)

    async def send_left(self, most: float) -> None:
        """Of what is left of senders that have ended, send full batches, with about so many records at most; all where
        nobody can fill them up, or somebody waits for memory.
        """
        flush = self.pressed > 0 or not self.bringing
        await self._send_batches(None, self.batcher.left if flush else most, flush=flush)
        if self.batcher.left and self._timer is None:
            self._timer = self._clock.call_at(self._clock.now() + LEFT_SECONDS, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        self._start(self._send_batches(None, self.batcher.left, flush=True))

    async def _send_batches(self, owner: int | None, most: float, *, flush: bool) -> None:
        while most > 0 and (batch := self.batcher.take(owner, flush=flush, most_units=self._writer.affordable)):
            most -= len(batch.entries)
            try:
                await self._lanes.take(batch.size)
            except asyncio.CancelledError:
                self.batcher.put_back(batch.entries)
                raise
            if self._failure is not None:
                self._lanes.give(batch.size)
                raise self._failure
            self._start(self._send(batch))

    def _start(self, sending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(sending)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()  # asked for, lest asyncio tells of it
        self._failure = self._failure or error
        if self._failure is not None:
            self._tell(self._senders)

    async def _send(self, batch: Batch) -> None:
        """Write one batch; what the service did not process goes back to the batcher after a pause, without a lane."""
        try:
            outcome = await self._writer.write(batch)
        finally:
            self._lanes.give(batch.size)
        ready = self._finish(outcome.written, written=True)
        for entry, message in outcome.refused:
            if sender := self._senders.get(entry.owner):
                sender.refused(entry, message)
            ready += self._finish([entry], written=False)
        if outcome.unprocessed:
            await self._rest(outcome.unprocessed)
            ready += len(outcome.unprocessed)
        if ready:
            await self.send_left(ready)

    def _finish(self, entries: list[EncodedRecord], *, written: bool) -> int:
        """Settle these entries; return how many others are ready now."""
        owners, released = self.batcher.finish(entries, written=written)
        self._tell(owners)
        self._tell(entry.owner for entry in released)
        return len(released)

    async def _rest(self, entries: list[EncodedRecord]) -> None:
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
        self.batcher.rest(entries)
        await sleep(self._clock, UNPROCESSED.delay(max(entry.returned for entry in entries)))
        self.batcher.go_on(entries)
        for entry in entries:
            entry.returned += 1
        self._tell({entry.owner for entry in entries})

    def _tell(self, owners: Iterable[int]) -> None:
        for owner in owners:
            if sender := self._senders.get(owner):  # what is left of a span that failed is nobody's
                sender.tell()


class Sender:
    """One span's way into the batches, or an application's. Made by `Dispatcher.sender`."""

    def __init__(self, dispatcher: Dispatcher, number: int, refused: Callable[[EncodedRecord, str], None]) -> None:
        self._dispatcher = dispatcher
        self._number = number
        self._moved = asyncio.Event()
        self.refused = refused
        self.tell = self._moved.set
        """To be called when entries of this sender are settled, released or rested, and when sending has failed."""

    @property
    def empty(self) -> bool:
        """None of its entries waits or is out."""
        return not self._dispatcher.batcher.open(self._number)

    async def add(self, entries: list[EncodedRecord]) -> None:
        """Take entries; waits for lanes while batches are full, and while too many records wait for others or rest.

        Several tasks may call this at once. One that is cancelled here leaves its entries, and those of others, to be
        sent later. Raises what made an earlier batch fail.
        """
        batcher = self._dispatcher.batcher
        self._dispatcher.raise_failure()
        batcher.add(entries, self._number)
        await self._dispatcher.send(self._number, flush=False)
        while batcher.waiting_bytes(self._number) > HELD_BYTES:
            await self.push()

    async def push(self) -> None:
        """Send what is ready, full batch or not, and wait until an entry of this sender moves on. Not when `empty`.

        Raises what made a batch fail.
        """
        dispatcher = self._dispatcher
        bringing = self in dispatcher.bringing
        dispatcher.bringing.discard(self)
        dispatcher.pressed += 1
        try:
            await dispatcher.send(self._number, flush=True)
            await dispatcher.send_left(0)
            await self.moved()
        finally:
            dispatcher.pressed -= 1
            if bringing:
                dispatcher.bringing.add(self)

    async def finish(self) -> None:
        """This sender brings nothing more."""
        dispatcher, before = self._dispatcher, self._dispatcher.batcher.left
        dispatcher.bringing.discard(self)
        dispatcher.batcher.end(self._number)
        await dispatcher.send_left(dispatcher.batcher.left - before)

    async def moved(self) -> None:
        """Wait until an entry of this sender moves on. Raises what made a batch fail."""
        self._dispatcher.raise_failure()
        await self._moved.wait()
        self._moved.clear()
        self._dispatcher.raise_failure()

    def close(self) -> None:
        """Let go of this sender; what is still on its way is nobody's."""
        self._dispatcher.forget(self._number)
