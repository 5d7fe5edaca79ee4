"""Import: the spans of files into a table.

The last records of a span settle while the next one is read, so that a file of a few records need not wait for the
batch that other spans complete.

Memory of a process: `concurrency` × (about 3 MiB read ahead + up to `Tuning.ahead_bytes` of records after one that is
not settled + up to `Tuning.held_bytes` of records that rest or wait for one with the same key) +
`Tuning.settling_bytes` + three times the batches in flight (as records, as a body, and as sent), of which there are
`concurrency` and at most `Tuning.in_flight_bytes`.
Measured (`benchmarks/memory.py`) without `settling_bytes`, where no record waits: at most 70 MB + `concurrency` × 5 MB
+ the batches. Unless it is given, `concurrency` grows to `job.MOST_BATCHES`, and the number of spans to
`job.MOST_SPANS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from ddbio.clock import Clock
from ddbio.ledger.entries import Lease
from ddbio.pipeline.channel import ByteBudget
from ddbio.pipeline.importing.reading import Input
from ddbio.pipeline.importing.sending import Dispatcher
from ddbio.pipeline.importing.span import SpanImport
from ddbio.pipeline.importing.span_progress import SpanProgress
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.outbox import Outbox
from ddbio.pipeline.tuning import DEFAULT, Tuning

_SPAN_BYTES = 8 * 1024
"""Approximate memory of a span besides its records."""


@dataclass(eq=False, repr=False, kw_only=True)
class Importer:
    """Imports spans with the connections of one worker and its share of the budget; they settle in tasks of `group`."""

    inputs: Sequence[Input]
    dispatcher: Dispatcher
    group: asyncio.TaskGroup
    outbox: Outbox
    meter: Meter
    executor: Executor
    clock: Clock
    tuning: Tuning = DEFAULT

    def __post_init__(self) -> None:
        self._room = ByteBudget(self.tuning.settling_bytes)

    async def work(self, lease: Lease) -> None:
        """Import one span; what is not committed when this fails or is cancelled will be read again.

        The last records of the span may settle after this has returned.
        """
        span = self._span(lease)
        await span.read()
        # By the time that this task runs, the next span may have begun to complete the batch.
        settle = span.settle()
        try:
            settling = self.group.create_task(settle)
        except RuntimeError:  # another span has failed, and the caller is about to be cancelled
            settle.close()
            await span.settle()
            return
        size = _SPAN_BYTES + span.progress.held_bytes
        await self._room.take(size)
        settling.add_done_callback(lambda _: self._room.give(size))

    def _span(self, lease: Lease) -> SpanImport:
        source = self.inputs[lease.split.source]
        location = source.reader.location_of(lease.split)
        progress = SpanProgress(lease, location, self.outbox, self.meter, self.clock, self.tuning)
        return SpanImport(lease.split, source, progress, self.dispatcher, self.executor, self.tuning)
