"""Import: one span of a file, record by record, into the table.

The last records of a span settle while the next one is read, so that a file of a few records need not wait for the
batch that others fill up with theirs.

Memory of a process: `concurrency` × (about 3 MiB read ahead, up to `AHEAD_BYTES` of records behind one that does not
get in, and up to `sending.HELD_BYTES` that came back, or wait for one with the same key) + `SETTLING_BYTES` + three
times the batches in flight, of which there are `concurrency` and at most `lanes.IN_FLIGHT_BYTES`: as records, as a
body, and as sent.
Measured (`benchmarks/memory.py`) without `SETTLING_BYTES`, where no record waits: at most 70 MB + `concurrency` × 5 MB
+ the batches. Where it is not given, it grows to `job.MOST_BATCHES`, and the spans to `job.MOST_SPANS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import Executor
from contextlib import aclosing, suppress
from typing import Any

from ddbio.clock import Clock
from ddbio.codec import EncodedRecord, count_lines
from ddbio.codec.framing import Block, Record
from ddbio.errors import LedgerError, SourceError
from ddbio.ledger.entries import Lease, Reject, by_reason
from ddbio.ledger.positions import AtOffset
from ddbio.model import Reason
from ddbio.pipeline.channel import ByteBudget
from ddbio.pipeline.importing.encoding import Encoded, encode_block
from ddbio.pipeline.importing.reading import Input
from ddbio.pipeline.importing.recognition import recognise
from ddbio.pipeline.importing.sending import Dispatcher
from ddbio.pipeline.importing.watermark import Watermark
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.outbox import Committer, Outbox

COMMIT_SECONDS = 1.0
REJECT_BYTES = 1024 * 1024
"""So many bytes of rejects are reported before the span goes on."""
AHEAD_BYTES = 8 * 1024 * 1024
"""Memory of the records between the first that is still on its way and the last that was read, for each span."""
SETTLING_BYTES = 4 * 1024 * 1024
"""Memory of the spans that are read to their end and settle behind others."""
LITTLE_LEFT = 64 * 1024
"""Bytes of records and rejects that are on their way, of each of these spans at most."""
_SPAN_BYTES = 8 * 1024
"""About what a span takes besides its records."""
LARGE_RECORD = 64 * 1024
"""A longer record is encoded in a thread, so that the loop stays free."""
RAW_LIMIT = 1024 * 1024
"""A longer rejected record is not kept in the rejects file."""


class Importer:
    """Works on spans with one worker's connections and share of the budget. Spans settle in tasks of `group`."""

    def __init__(
        self,
        *,
        inputs: Sequence[Input],
        dispatcher: Dispatcher,
        group: asyncio.TaskGroup,
        outbox: Outbox,
        meter: Meter,
        executor: Executor,
        clock: Clock,
    ) -> None:
        self.inputs = inputs
        self.dispatcher = dispatcher
        self.outbox = outbox
        self.meter = meter
        self.executor = executor
        self.clock = clock
        self._group = group
        self._room = ByteBudget(SETTLING_BYTES)

    async def work(self, lease: Lease) -> None:
        """Import one span; what is not committed when this fails or is cancelled will be read again.

        The little that is left of it then settles when this has returned.
        """
        span = _SpanImport(self, lease)
        await span.read()
        # By the time that this task runs, the next span may be there to fill up the batch.
        settle = span.settle()
        try:
            settling = self._group.create_task(settle)
        except RuntimeError:  # another span has failed: whoever called this is about to be cancelled
            settle.close()
            await span.settle()
            return
        size = _SPAN_BYTES + span.held_bytes
        await self._room.take(size)
        settling.add_done_callback(lambda _: self._room.give(size))


class _SpanImport:
    """The state of one span: what is on its way, and up to where everything is settled."""

    def __init__(self, engine: Importer, lease: Lease) -> None:
        self._engine = engine
        self._split = lease.split
        self._reader, self._encoder = engine.inputs[lease.split.source]
        self._committer = Committer(lease, engine.outbox)
        self._start = lease.position.offset if isinstance(lease.position, AtOffset) else lease.split.start
        self._watermark = Watermark(self._start)
        self._sender = engine.dispatcher.sender(self._refused)
        self._fault: SourceError | None = None
        self._head = bytearray()
        self._found = self._passed = self._reject_bytes = self._bytes = 0
        self._committed_at = engine.clock.now()

    @property
    def held_bytes(self) -> int:
        """About the memory of the records that are not in, and of the rejects that are not reported."""
        self._watermark.move()
        return self._watermark.held_bytes + self._reject_bytes

    async def read(self) -> None:
        """Read the span to its end, or to a fault, and send its records, until little of it is left."""
        await self._do(self._read())

    async def settle(self) -> None:
        """Wait until all records are in or rejected. Raises the SourceError that reading has met with."""
        await self._do(self._settle())
        self._sender.close()

    async def _do(self, step: Coroutine[Any, Any, None]) -> None:
        """Do a step; when it is cancelled, what was settled until then is still committed."""
        try:
            await step
        except BaseException as error:
            self._sender.close()
            if isinstance(error, asyncio.CancelledError) and self._committer.intact:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0):  # only if there is room for it
                        await self._commit()
            raise

    async def _read(self) -> None:
        try:
            await self._take_all()
        except SourceError as error:
            self._fault = error  # every record before the fault is still settled
        while self.held_bytes > LITTLE_LEFT:
            await (self._commit() if self._sender.empty else self._push())

    async def _settle(self) -> None:
        await self._sender.finish()
        while not self._sender.empty:
            await self._sender.moved()
            await self._commit_now_and_then()
        await self._commit(done=self._fault is None)
        if self._fault is not None:
            raise self._fault

    async def _take_all(self) -> None:
        async with aclosing(self._reader.blocks(self._split, self._start, self._head)) as chunks:
            async for blocks in chunks:
                for block in blocks:
                    await self._take(block)
                    await self._keep_up()
                    await asyncio.sleep(0)  # a block may never have had to wait, and others want their turn

    async def _take(self, block: Block) -> None:
        """Encode the records of a block, and send them or put them among the rejects."""
        self._bytes += block.length
        entries, refused = await self._encode(block)
        self._count(block, len(entries) + len(refused))
        self._watermark.opened(entries)
        for record, verdict in refused:
            self._watermark.rejected(self._reject(record, verdict.reason, self._explained(record, verdict.message)))
        await self._sender.add(entries)

    def _count(self, block: Block, encoded: int) -> None:
        """Count the records in the bytes themselves: what the encoder lost would be missed nowhere else."""
        found = 1 if block.dropped else count_lines(block.data)
        if found != encoded:
            raise LedgerError(
                f"{self._split.file}: from byte {block.offset:,} on, {encoded:,} records were taken in, but the "
                f"{block.length:,} bytes hold {found:,}.",
                hint="Please report this.",
            )
        self._found += found

    async def _encode(self, block: Block) -> Encoded:
        if block.length < LARGE_RECORD:
            return encode_block(self._encoder, block)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._engine.executor, encode_block, self._encoder, block)

    async def _keep_up(self) -> None:
        """Commit now and then; wait where too much is held by a record that does not get in."""
        if self._reject_bytes >= REJECT_BYTES:
            await self._drain()
            await self._commit(wait=True)
        self._watermark.move()
        while self._watermark.held_bytes > AHEAD_BYTES:
            await self._sender.push()
            self._watermark.move()
        await self._commit_now_and_then()

    async def _drain(self) -> None:
        """Push until none of this span's records waits or is out."""
        while not self._sender.empty:
            await self._push()

    async def _push(self) -> None:
        await self._sender.push()
        await self._commit_now_and_then()

    async def _commit_now_and_then(self) -> None:
        if self._engine.clock.now() - self._committed_at >= COMMIT_SECONDS:
            await self._commit()

    async def _commit(self, *, done: bool = False, wait: bool = False) -> None:
        """Commit up to the first record that is still on its way."""
        self._committed_at = self._engine.clock.now()
        settled = self._watermark.advance()
        self._passed += settled.read
        if done and self._found != self._passed:
            raise LedgerError(f"{self._split.file}: found {self._found:,} records, but settled {self._passed:,}.")
        self._reject_bytes -= sum(map(_weight, settled.rejects))
        size, self._bytes = self._bytes, 0
        self._engine.meter.bytes += size
        commit = self._committer.commit_and_wait if wait else self._committer.commit
        await commit(
            AtOffset(settled.position),
            done=done,
            read=settled.read,
            written=settled.written,
            bytes=size,
            rejected=len(settled.rejects),
            rejects=settled.rejects,
            reasons=by_reason(settled.rejects),
        )

    def _refused(self, entry: EncodedRecord, message: str) -> None:
        record = entry.block.record(entry.offset, entry.length)
        self._watermark.rejected(self._reject(record, Reason.REFUSED_BY_SERVICE, message))

    def _explained(self, record: Record, message: str) -> str:
        """The message, and where the file as a whole is something else than lines of JSON, what it is."""
        found = None if record.offset else recognise(bytes(self._head))
        return f"{message} {found}" if found else message

    def _reject(self, record: Record, reason: Reason, message: str) -> Reject:
        reject = Reject(
            source=self._reader.place(self._split),
            offset=record.offset,
            length=record.length,
            line=record.line,
            reason=reason.value,
            message=message,
            raw=record.data if 0 < len(record.data) <= RAW_LIMIT else None,
        )
        self._reject_bytes += _weight(reject)
        return reject


def _weight(reject: Reject) -> int:
    """About what a reject takes on its way to the rejects file."""
    return 1_024 + len(reject.raw or b"")
