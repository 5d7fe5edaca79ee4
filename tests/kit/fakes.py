"""Time and a service under a test's control: clocks, an event loop that never waits, a table, a sink in memory."""

from __future__ import annotations

import asyncio
import heapq
import json
import math
import selectors
from collections.abc import AsyncIterator, Callable, Container, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from types import TracebackType
from typing import Any, Self, TypeVar
from zlib import crc32

from ddbio.errors import DestinationError
from ddbio.ledger.entries import JournalEntry
from ddbio.ledger.journal import Journal
from ddbio.storage.base import OutputFile, Sink, StoredFile
from ddbio.storage.tokens import Token
from ddbio.wire.transport import Reply
from tests.kit.servers.account import Account
from tests.kit.servers.items import item_size

T = TypeVar("T")


class FakeTimer:
    """A callback of a FakeClock."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """A clock that moves only by `advance`, which runs the callbacks that are due, each at its own instant."""

    def __init__(self, now: float = 1_000.0) -> None:
        self._now = now
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._number = count()

    def now(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(callback)
        heapq.heappush(self._timers, (when, next(self._number), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        end = self._now + seconds
        while (when := self.next_timer()) <= end:
            timer = heapq.heappop(self._timers)[2]
            self._now = max(self._now, when)
            timer.callback()
        self._now = end

    def next_timer(self) -> float:
        """The instant of the next callback; infinity where there is none."""
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else math.inf


class VirtualClock:
    """The clock of a VirtualLoop, exact: who waits is woken at the very instant."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_at(when, callback)


class StuckError(Exception):
    """Every task waits for another one: in real time, this would hang for ever."""


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that never waits: where nothing is ready, the time jumps to the next timer.

    Bytes between two sockets of this process may take a moment of real time: `grace` is left to them before a jump.
    """

    time = 0.0
    grace = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout == 0 else self.grace)
        if not ready:
            if timeout is None:
                raise StuckError
            self.time += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps from timer to timer; what should run in a thread runs at once, in no time."""

    def __init__(self, grace: float = 0.0) -> None:
        self._virtual = _JumpingSelector()
        self._virtual.grace = grace
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.time

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        future: asyncio.Future[T] = self.create_future()
        asyncio.events._set_running_loop(None)  # what blocks is allowed here, as in a thread
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits the future
            future.set_exception(error)
        finally:
            asyncio.events._set_running_loop(self)
        return future


SOCKET_GRACE = 0.05


def run_virtual(main: Coroutine[Any, Any, T], *, sockets: bool = False) -> T:
    """Run `main` on a VirtualLoop, with `sockets` where servers in this loop are talked to.

    Raises StuckError where it would hang.
    """
    with asyncio.Runner(loop_factory=partial(VirtualLoop, SOCKET_GRACE if sockets else 0.0)) as runner:
        return runner.run(main)


async def all_entries(journal: Journal) -> list[JournalEntry]:
    """What a journal holds, read from its beginning."""
    return [entry async for chunk in journal.read() for entry in chunk]


async def let_run(turns: int = 20) -> None:
    """Let the other tasks run as far as they can while time stands still."""
    for _ in range(turns):
        await asyncio.sleep(0)


def reply(body: object, status: int = 200) -> Reply:
    """A reply of the service, with its checksum."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {"x-amz-crc32": str(crc32(data))}, data)


def error_reply(code: str, message: str = "", status: int = 400) -> Reply:
    """An error of the service."""
    return reply({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}, status)


Hook = Callable[[str, dict[str, Any]], Reply | None]
"""Called with each operation and its payload; may reply in place of the service, else returns None."""


class FakeTable:
    """A `Transport` to one table: Scan serves `pages`, BatchWriteItem keeps `items`.

    `pages` holds the price of each page of each segment. A page has one item for each capacity unit or part of one, so
    that items can be counted without being large. A put costs 1 unit for each KB of the item or part of one. A reply
    takes `latency` seconds and is in the account from the arrival of its request.
    """

    def __init__(
        self, pages: Sequence[Sequence[float]] = (), *, latency: float = 0.01, hook: Hook | None = None
    ) -> None:
        self.pages = pages
        self.latency = latency
        self.hook = hook
        self.account = Account(lambda: asyncio.get_running_loop().time())
        self.items: dict[str, dict[str, Any]] = {}
        self.batches: list[list[dict[str, Any]]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        operation = headers["X-Amz-Target"].rpartition(".")[2]
        payload = json.loads(body)
        self.account.operations[operation] += 1
        answer = self.hook(operation, payload) if self.hook else None
        if answer is None:
            answer = self._scan(payload) if operation == "Scan" else self._put(payload)
        await asyncio.sleep(self.latency)
        return answer

    def page_items(self, segment: int, number: int) -> list[dict[str, Any]]:
        """The items of one page."""
        return [{"pk": {"S": f"{segment}-{number}-{index}"}} for index in range(math.ceil(self.pages[segment][number]))]

    def all_items(self) -> set[str]:
        """The keys of all items that a Scan finds."""
        return {
            item["pk"]["S"]
            for segment, pages in enumerate(self.pages)
            for number in range(len(pages))
            for item in self.page_items(segment, number)
        }

    def _scan(self, payload: dict[str, Any]) -> Reply:
        segment = payload["Segment"]
        start = payload.get("ExclusiveStartKey")
        number = 0 if start is None else int(start["pk"]["S"]) + 1
        items, units = self.page_items(segment, number), self.pages[segment][number]
        self.account.record("read", units, len(items))
        page = {
            "Count": len(items),
            "ScannedCount": len(items),
            "Items": items,
            "ConsumedCapacity": {"TableName": "T", "CapacityUnits": units},
        }
        if number + 1 < len(self.pages[segment]):
            page["LastEvaluatedKey"] = {"pk": {"S": str(number)}}
        return reply(page)

    def _put(self, payload: dict[str, Any]) -> Reply:
        ((_, writes),) = payload["RequestItems"].items()
        return self.put(writes)

    def put(self, writes: Sequence[dict[str, Any]]) -> Reply:
        """Keep these items and reply that all of them were processed."""
        items = [write["PutRequest"]["Item"] for write in writes]
        units = float(sum(math.ceil(item_size(item) / 1_024) for item in items))
        self.account.record("write", units, len(items))
        self.batches.append(items)
        self.items |= {item["pk"]["S"]: item for item in items}
        return reply(
            {"UnprocessedItems": {}, "ConsumedCapacity": [{"TableName": "T", "CapacityUnits": units}]},
        )


class MemoryFile(OutputFile):
    """A file of a MemorySink."""

    def __init__(self, sink: MemorySink, name: str) -> None:
        self.name = name
        self.data = b""
        self.durable = 0
        self._sink = sink

    async def write(self, block: bytes) -> None:
        self._sink.note("write", self.name)
        self.data += block

    async def sync(self) -> int:
        self._sink.note("sync", self.name)
        self.durable = len(self.data) - min(len(self.data), self._sink.lag)
        return self.durable

    async def finish(self) -> int:
        self._sink.note("finish", self.name)
        self.durable = len(self.data)
        return self.durable

    async def seal(self) -> None:
        self._sink.note("seal", self.name)
        self._sink.sealed[self.name] = self.data
        self._sink.open.pop(self.name, None)

    async def discard(self) -> None:
        if self.name not in self._sink.sealed:
            self._sink.note("discard", self.name)
            self._sink.open.pop(self.name, None)

    async def leave(self) -> None:
        if self.name not in self._sink.sealed:
            self._sink.note("leave", self.name)


class MemorySink(Sink):
    """A destination in memory; `calls` are the calls to its files, in order.

    The last `lag` bytes are not durable after a sync, as with an upload whose last part is still small. `fail` names a
    call that raises DestinationError.
    """

    location = "memory"

    def __init__(self, *, lag: int = 0, fail: str | None = None) -> None:
        self.lag = lag
        self.fail = fail
        self.calls: list[tuple[str, str]] = []
        self.sealed: dict[str, bytes] = {}
        self.open: dict[str, MemoryFile] = {}
        self.small: dict[str, bytes] = {}

    def note(self, call: str, name: str) -> None:
        self.calls.append((call, name))
        if call == self.fail:
            raise DestinationError(f"Could not {call} {name}.")

    async def __aenter__(self) -> MemorySink:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return

    async def check(self, expected_bytes: int | None) -> list[str]:
        return []

    async def create(self, name: str, *, max_bytes: int) -> MemoryFile:
        self.note("create", name)
        file = self.open[name] = MemoryFile(self, name)
        return file

    async def put(self, name: str, data: bytes) -> None:
        self.small[name] = data

    async def get(self, name: str, *, most: int | None = None) -> bytes | None:
        return self.small.get(name, self.sealed.get(name))

    async def foreign_input(self, is_mine: Callable[[str], bool]) -> str | None:
        return next((name for name in self.sealed if not is_mine(name)), None)

    async def delete(self, *names: str) -> None:
        for name in names:
            self.sealed.pop(name, None)
            self.small.pop(name, None)

    async def recover(self, name: str, size: int, token: Token | None) -> bool:
        self.note("recover", name)
        file = self.open.pop(name, None)
        if file is not None and size <= file.durable:
            self.sealed[name] = file.data[:size]
        return len(self.sealed.get(name, b"")) == size

    async def sweep(self, owns: Callable[[str], bool], keep: Container[str]) -> list[str]:
        swept = [name for name in self.open if owns(name) and name not in keep]
        for name in swept:
            del self.open[name]
        return swept

    @asynccontextmanager
    async def lock(self, run: str) -> AsyncIterator[None]:
        yield

    async def list(self, prefix: str = "") -> list[StoredFile]:
        files = {**self.sealed, **self.small}
        return [StoredFile(name, len(files[name])) for name in sorted(files) if name.startswith(prefix)]
