"""One span: its records are read, encoded and sent, and settle."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Executor
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from ddbio.codec import EncodedRecord, count_lines
from ddbio.codec.framing import Block, Record
from ddbio.errors import LedgerError, SourceError
from ddbio.ledger.entries import Split
from ddbio.model import Reason
from ddbio.pipeline.importing.encoding import Encoded, encode_block
from ddbio.pipeline.importing.reading import Input
from ddbio.pipeline.importing.recognition import recognise
from ddbio.pipeline.importing.sending import Dispatcher
from ddbio.pipeline.importing.span_progress import SpanProgress
from ddbio.pipeline.tuning import Tuning


@dataclass(eq=False, repr=False)
class SpanImport:
    """Imports one span: `read` it, then `settle` it."""

    split: Split
    source: Input
    progress: SpanProgress
    dispatcher: Dispatcher
    executor: Executor
    tuning: Tuning

    def __post_init__(self) -> None:
        self._sender = self.dispatcher.sender(self._refused)
        self._fault: SourceError | None = None
        self._head = bytearray()

    async def read(self) -> None:
        """Read the span to its end, or to a fault, and send its records, until little of it is left to settle."""
        await self._do(self._read())

    async def settle(self) -> None:
        """Wait until all records are written or rejected. Raises the SourceError that ended the reading."""
        await self._do(self._settle())
        self._sender.close()

    async def _do(self, step: Coroutine[Any, Any, None]) -> None:
        """Do a step; if it is cancelled, what was settled until then is still committed."""
        try:
            await step
        except BaseException as error:
            self._sender.close()
            if isinstance(error, asyncio.CancelledError) and self.progress.intact:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0):  # only if there is room in the outbox
                        await self.progress.commit()
            raise

    async def _read(self) -> None:
        try:
            await self._take_all()
        except SourceError as error:
            self._fault = error  # every record before the fault is still settled
        while self.progress.held_bytes > self.tuning.tail_bytes:
            await (self.progress.commit() if self._sender.empty else self._push())

    async def _settle(self) -> None:
        await self._sender.finish()
        while not self._sender.empty:
            await self._sender.moved()
            await self.progress.commit_if_due()
        await self.progress.commit(done=self._fault is None)
        if self._fault is not None:
            raise self._fault

    async def _take_all(self) -> None:
        async with aclosing(self.source.reader.blocks(self.split, self.progress.start, self._head)) as chunks:
            async for blocks in chunks:
                for block in blocks:
                    await self._take(block)
                    await self._keep_up()
                    await asyncio.sleep(0)  # a block may not have had to wait, and other spans need their turn

    async def _take(self, block: Block) -> None:
        entries, refused = await self._encode(block)
        self.progress.read(block.length, self._checked(block, len(entries) + len(refused)))
        self.progress.opened(entries)
        for record, verdict in refused:
            self.progress.reject(record, verdict.reason, self._explained(record, verdict.message))
        await self._sender.add(entries)

    def _checked(self, block: Block, encoded: int) -> int:
        """The number of records, counted in the bytes: a record that the encoder lost would not be missed elsewhere."""
        found = 1 if block.dropped else count_lines(block.data)
        if found != encoded:
            raise LedgerError(
                f"{self.split.file}: from byte {block.offset:,} on, {encoded:,} records were taken in, but the "
                f"{block.length:,} bytes hold {found:,}.",
                hint="Please report this.",
            )
        return found

    async def _encode(self, block: Block) -> Encoded:
        if block.length < self.tuning.threaded_record_bytes:
            return encode_block(self.source.encoder, block)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.executor, encode_block, self.source.encoder, block)

    async def _keep_up(self) -> None:
        """Commit if that is due; wait where too many rejects, or records after one that is not settled, are held."""
        progress, tuning = self.progress, self.tuning
        if progress.reject_bytes >= tuning.reject_bytes:
            while not self._sender.empty:
                await self._push()
            await progress.commit(wait=True)
        while progress.ahead_bytes > tuning.ahead_bytes:
            await self._sender.push()
        await progress.commit_if_due()

    async def _push(self) -> None:
        await self._sender.push()
        await self.progress.commit_if_due()

    def _refused(self, entry: EncodedRecord, message: str) -> None:
        record = entry.block.record(entry.offset, entry.length)
        self.progress.reject(record, Reason.REFUSED_BY_SERVICE, message)

    def _explained(self, record: Record, message: str) -> str:
        """The message, and what the file is if it is not lines of JSON at all."""
        found = None if record.offset else recognise(bytes(self._head))
        return f"{message} {found}" if found else message
