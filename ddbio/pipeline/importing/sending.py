"""Sending: records are collected into batches, several batches are in flight, unprocessed records are sent again.

While a span is read, its records form batches of their own. What is left at its end completes batches together with the
leftovers of other spans of the process. An incomplete batch of leftovers is sent when no sender is about to add
records, when a sender waits for memory, or after `Tuning.leftover_seconds`, since a sender may read a slow stream.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass
from itertools import count

from ddbio.clock import Clock, Timer, sleep
from ddbio.codec import EncodedRecord
from ddbio.errors import JobFailedError
from ddbio.pipeline.importing.batcher import Batch, Batcher
from ddbio.pipeline.importing.tasks import Tasks
from ddbio.pipeline.importing.writing import Outcome, TableWriter
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.requests import Requester
from ddbio.pipeline.tuning import DEFAULT, Tuning
from ddbio.retry import UNPROCESSED


@dataclass(eq=False, repr=False)
class Dispatcher:
    """Sends the records of its senders to a table. Leaving its context cancels the batches in flight."""

    writer: TableWriter
    _: KW_ONLY
    requester: Requester
    lanes: Lanes
    meter: Meter
    clock: Clock
    tuning: Tuning = DEFAULT

    def __post_init__(self) -> None:
        self._timer: Timer | None = None
        self._senders: dict[int, Sender] = {}
        self._numbers = count(1)
        self._tasks = Tasks(lambda: self._wake(self._senders))
        self.raise_failure = self._tasks.raise_failure
        self.batcher = Batcher()
        self.adding: set[Sender] = set()
        """Senders that are about to add records."""
        self.pressed = 0
        """The number of senders that wait for memory."""

    async def __aenter__(self) -> Dispatcher:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        failure = await self._tasks.cancel()
        if kind is None and failure is not None:
            raise failure

    def sender(self, refused: Callable[[EncodedRecord, str], None]) -> Sender:
        """Add a sender; `refused` is called with each of its records that the service rejects, and the reason."""
        number = next(self._numbers)
        sender = self._senders[number] = Sender(self, number, refused)
        self.adding.add(sender)
        return sender

    def forget(self, number: int) -> None:
        """Remove a sender; its remaining records are of no interest any more."""
        self.adding.discard(self._senders.pop(number))

    async def send_left(self, most: float) -> None:
        """Send complete batches of leftovers, about `most` records at most. Send all of them where no sender can
        complete the last batch, or a sender waits for memory.
        """
        flush = self.pressed > 0 or not self.adding
        await self.send(None, self.batcher.left if flush else most, flush=flush)
        if self.batcher.left and self._timer is None:
            self._timer = self.clock.call_at(self.clock.now() + self.tuning.leftover_seconds, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        self._tasks.start(self.send(None, self.batcher.left, flush=True))

    async def send(self, owner: int | None, most: float = math.inf, *, flush: bool) -> None:
        """Send the complete batches of this sender (None: of leftovers), or with `flush` all that it has ready, until
        `most` records are sent.
        """
        while most > 0 and (batch := self.batcher.take(owner, flush=flush, most_units=self.writer.affordable)):
            most -= len(batch.entries)
            try:
                await self.lanes.take(batch.size)
            except asyncio.CancelledError:
                self.batcher.put_back(batch.entries)
                raise
            if self._tasks.failure is not None:
                self.lanes.give(batch.size)
                raise self._tasks.failure
            self._tasks.start(self._write(batch))

    async def _write(self, batch: Batch) -> None:
        """Write one batch, in halves where the service refuses it. Unprocessed records rest without a lane."""
        ready, unprocessed, waiting = 0, list[EncodedRecord](), [batch]
        try:
            while waiting:
                outcome = await self.writer.write(waiting.pop())
                waiting += outcome.halves
                unprocessed += outcome.unprocessed
                ready += self._settle(outcome)
        finally:
            self.lanes.give(batch.size)
        if unprocessed:
            await self._rest(unprocessed)
            ready += len(unprocessed)
        if ready:
            await self.send_left(ready)

    def _settle(self, outcome: Outcome) -> int:
        """Settle the records that were written or refused; return how many others can be sent because of that."""
        ready = self._finish(outcome.written, written=True)
        for entry, message in outcome.refused:
            if sender := self._senders.get(entry.owner):
                sender.refused(entry, message)
            ready += self._finish([entry], written=False)
        return ready

    def _finish(self, entries: list[EncodedRecord], *, written: bool) -> int:
        owners, released = self.batcher.finish(entries, written=written)
        self._wake(owners)
        self._wake(entry.owner for entry in released)
        return len(released)

    async def _rest(self, entries: list[EncodedRecord]) -> None:
        """Pause, longer each time, before unprocessed records are sent again; JobFailedError after the deadline."""
        self.meter.throttles += 1
        self.meter.retries += 1
        if self.requester.deadline.failed():
            raise JobFailedError(
                f"The table has accepted no record for {self.requester.deadline.seconds:.0f} seconds.",
                hint="Look at the table's throttling metrics, and try again with a smaller capacity.",
            )
        self.batcher.rest(entries)
        await sleep(self.clock, UNPROCESSED.delay(max(entry.returned for entry in entries)))
        self.batcher.go_on(entries)
        for entry in entries:
            entry.returned += 1
        self._wake({entry.owner for entry in entries})

    def _wake(self, owners: Iterable[int]) -> None:
        for owner in owners:
            if sender := self._senders.get(owner):  # the leftovers of a failed span have no sender
                sender.wake()


class Sender:
    """Adds the records of one span, or of an application, to the batches. Made by `Dispatcher.sender`."""

    def __init__(self, dispatcher: Dispatcher, number: int, refused: Callable[[EncodedRecord, str], None]) -> None:
        self._dispatcher = dispatcher
        self._number = number
        self._moved = asyncio.Event()
        self.refused = refused
        self.wake = self._moved.set
        """Called when records of this sender are settled, released or have rested, and when sending has failed."""

    @property
    def empty(self) -> bool:
        """Whether all of its records are settled."""
        return not self._dispatcher.batcher.open(self._number)

    async def add(self, entries: list[EncodedRecord]) -> None:
        """Add records; waits for lanes while batches are complete, and while too many records are held back or rest.

        If the call is cancelled, its records are sent later. Raises the error of a batch that could not be written.
        """
        batcher = self._dispatcher.batcher
        self._dispatcher.raise_failure()
        batcher.add(entries, self._number)
        await self._dispatcher.send(self._number, flush=False)
        while batcher.waiting_bytes(self._number) > self._dispatcher.tuning.held_bytes:
            await self.push()

    async def push(self) -> None:
        """Send what is ready, in incomplete batches too, and wait until a record of this sender makes progress.

        Must not be called when `empty`. Raises the error of a batch that could not be written.
        """
        dispatcher = self._dispatcher
        adding = self in dispatcher.adding
        dispatcher.adding.discard(self)
        dispatcher.pressed += 1
        try:
            await dispatcher.send(self._number, flush=True)
            await dispatcher.send_left(0)
            await self.moved()
        finally:
            dispatcher.pressed -= 1
            if adding:
                dispatcher.adding.add(self)

    async def finish(self) -> None:
        """Declare that this sender adds nothing more."""
        dispatcher, before = self._dispatcher, self._dispatcher.batcher.left
        dispatcher.adding.discard(self)
        dispatcher.batcher.end(self._number)
        await dispatcher.send_left(dispatcher.batcher.left - before)

    async def moved(self) -> None:
        """Wait until a record of this sender makes progress. Raises the error of a batch that could not be written."""
        self._dispatcher.raise_failure()
        await self._moved.wait()
        self._moved.clear()
        self._dispatcher.raise_failure()

    def close(self) -> None:
        """Detach from the dispatcher; records that are still in flight have no sender then."""
        self._dispatcher.forget(self._number)
