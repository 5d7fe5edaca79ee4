"""A scan and a writer of items for applications, without workers or files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import msgspec

from ddbio.aws.session import Session
from ddbio.aws.table import TableInfo
from ddbio.capacity import Governor
from ddbio.clock import LoopClock
from ddbio.codec import RecordEncoder
from ddbio.codec.framing import Block
from ddbio.errors import RejectedRecordError, UsageError
from ddbio.jobs.opening import table_facts
from ddbio.jobs.pace import read_pace, write_pace
from ddbio.options import HALF, Capacity, Connection, ScanFilter
from ddbio.pipeline.importing.sending import Sender
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.table_client import TableClient, connect
from ddbio.runtime import threads
from ddbio.words import count

Item = dict[str, Any]
"""An item in DynamoDB JSON, for example `{"id": {"S": "a"}, "n": {"N": "1"}}`: numbers stay text."""


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """Options of a scan. Scans with the same `total_segments` and different `segment`s divide a table among them."""

    table: str
    connection: Connection = Connection()
    capacity: Capacity = HALF
    scan: ScanFilter = ScanFilter()
    segment: int = 0
    total_segments: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.segment < self.total_segments:
            raise UsageError(f"Segment {self.segment} of {self.total_segments} does not exist.")


class scan:  # noqa: N801 - used like a function: async for item in scan(...)
    """The items of a table, within a budget, as an async iterator.

    `async for item in scan(ScanOptions(table="t"))` yields items in DynamoDB JSON; `.pages()` yields one list of items
    per page. Nothing is read ahead: when the loop ends, no request is in flight. If the loop ends early, the event loop
    closes the connections soon afterwards; `aclosing(scan(…).pages())` closes them at once.

    Raises the subclasses of `DdbioError` when the first item or page is requested.
    """

    def __init__(self, options: ScanOptions) -> None:
        self._options = options

    async def __aiter__(self) -> AsyncGenerator[Item]:
        """Yield the items one by one."""
        async with aclosing(self.pages()) as pages:
            async for page in pages:
                for item in page:
                    yield item

    async def pages(self) -> AsyncGenerator[list[Item]]:
        """Yield the items page by page; a page may be empty."""
        options = self._options
        async with _connected(options.connection, options.table, options.scan.index) as (table, client):
            governor = Governor(read_pace(options.capacity, table).start, client.clock)
            reader = client.scan(
                options.scan, client.requester(governor), total=options.total_segments, output="dynamodb-json"
            )
            async with aclosing(reader.pages(options.segment)) as pages:
                async for page in pages:
                    yield [msgspec.json.decode(line)["Item"] for line in page.records.splitlines()]


@dataclass(frozen=True, kw_only=True)
class WriterOptions:
    """Options of a writer."""

    table: str
    connection: Connection = Connection()
    capacity: Capacity = HALF
    concurrency: int = 16
    """Maximum number of batches in flight."""


class BatchWriter:
    """Writes items to a table in batches, within a budget; an async context manager.

    Any number of tasks may call `put` concurrently. Leaving the block normally sends all items and returns when the
    service has acknowledged them; leaving it by an exception sends nothing more.
    """

    def __init__(self, options: WriterOptions) -> None:
        self._options = options
        self._stack = AsyncExitStack()
        self._sender: Sender | None = None
        self._refusals: list[str] = []

    async def __aenter__(self) -> BatchWriter:
        async with AsyncExitStack() as stack:
            options = self._options
            table, client = await stack.enter_async_context(
                _connected(options.connection, options.table, connections=options.concurrency)
            )
            governor = Governor(write_pace(options.capacity, table).start, client.clock)
            self._encoder = RecordEncoder(table.keys, "dynamodb-json", {})
            dispatcher = await stack.enter_async_context(
                client.dispatcher(client.requester(governor), Lanes(options.concurrency))
            )
            self._sender = dispatcher.sender(lambda _, message: self._refusals.append(message))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sender, self._sender = self._sender, None  # from here on nobody's items would be sent
        if error is not None or sender is None:
            await self._stack.__aexit__(kind, error, trace)
            return
        async with self._stack:
            while not sender.empty:
                await sender.push()
        self._raise_refusals()

    async def put(self, item: Mapping[str, Any]) -> None:
        """Add one item in DynamoDB JSON; it is sent when its batch is full, at the latest when the writer closes.

        An item replaces an earlier one with the same key. If the call is cancelled, the item has been added.

        Raises RejectedRecordError if the item can't be written (it is skipped, and the writer can be used further), and
        on every call after the service has refused an earlier item; the error of a batch that could not be written;
        UsageError outside the `async with` block.
        """
        sender = self._sender
        if sender is None:
            raise UsageError("BatchWriter.put can be called inside its `async with` block only.")
        self._raise_refusals()
        entries, refused = self._encoder.encode_block(Block(0, None, msgspec.json.encode(item)))
        for _, _, verdict in refused:
            raise RejectedRecordError(f"{verdict.reason}: {verdict.message}")
        await sender.add(entries)

    def _raise_refusals(self) -> None:
        if self._refusals:
            raise RejectedRecordError(f"The service refused {count(len(self._refusals), 'item')}: {self._refusals[0]}")


@asynccontextmanager
async def _connected(
    connection: Connection, table: str, index: str | None = None, *, connections: int = 1
) -> AsyncIterator[tuple[TableInfo, TableClient]]:
    async with Session(connection) as session:
        info = await session.describe_table(table, index)
        with threads(1) as executor:
            async with connect(
                table,
                table_facts(info, session),
                connections=connections,
                credentials=session.credential_provider(),
                meter=Meter(),
                clock=LoopClock(),
                executor=executor,
            ) as client:
                yield info, client
