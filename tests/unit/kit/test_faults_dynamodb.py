"""The fault proxy before DynamoDB servers: each fault as a client sees it, and an account that is true."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import aiohttp
import pytest

from tests.conftest import StartCounting
from tests.kit.faults.account import PageId
from tests.kit.faults.proxy import FaultProxy
from tests.kit.faults.schedule import Schedule
from tests.kit.servers.aws import Server
from tests.kit.servers.client import SIGNED, Raw, call, put_of
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.items import item_size, make_item
from tests.kit.servers.tables import Table

ITEMS = [make_item("small", 0, index) for index in range(10)]


@asynccontextmanager
async def before(upstream: Any, rates: Mapping[str, float] | None = None, seed: int = 0) -> AsyncIterator[FaultProxy]:
    """A proxy before a server, with these rates of faults."""
    async with FaultProxy(upstream.url, Schedule(seed, rates or {})) as proxy:
        yield proxy


@pytest.fixture
async def server(counting: StartCounting) -> CountingServer:
    """A table of ten items that takes more."""
    return await counting(Table(mode="stored", items=10))


async def scan(proxy: FaultProxy) -> Raw:
    return await call(proxy, "Scan", TableName="T", ReturnConsumedCapacity="TOTAL")


async def test_without_faults_everything_passes(server: CountingServer) -> None:
    async with before(server) as proxy:
        through, direct = await scan(proxy), await call(server, "Scan", TableName="T", ReturnConsumedCapacity="TOTAL")
        assert (through.status, through.json) == (200, direct.json)
        refused = await call(proxy, "Scan", TableName="Other")
        assert (refused.status, refused.code) == (400, "ResourceNotFoundException")
        nonsense = await call(proxy, "BatchWriteItem", RequestItems={"T": [put_of({"pk": {"S": 1}})]})
        assert (nonsense.status, nonsense.code) == (400, "SerializationException")
        assert proxy.account.served == (1, 0)
        assert proxy.account.operations == {"Scan": 2, "BatchWriteItem": 1}


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("error_500", 500, "InternalServerError"),
        ("throttling", 400, "ThrottlingException"),
        ("provisioned_throughput", 400, "ProvisionedThroughputExceededException"),
        ("request_limit", 400, "RequestLimitExceeded"),
        ("expired_token", 400, "ExpiredTokenException"),
        ("unrecognized_client", 400, "UnrecognizedClientException"),
    ],
)
async def test_refusals(server: CountingServer, kind: str, status: int, code: str) -> None:
    async with before(server, {kind: 1.0}) as proxy:
        reply = await scan(proxy)
        assert (reply.status, reply.code) == (status, code)
        assert proxy.account.served == (0, 0)
        assert proxy.account.faults == {kind: 1}


async def test_throttling_gives_its_reason_as_the_service_spells_it(server: CountingServer) -> None:
    async with before(server, {"throttling": 1.0}) as proxy:
        assert (await scan(proxy)).json["throttlingReasons"][0]["reason"].startswith("Table")
    async with before(server, {"provisioned_throughput": 1.0}) as proxy:
        reasons = (await scan(proxy)).json["ThrottlingReasons"]
        assert reasons == [{"reason": "TableReadProvisionedThroughputExceeded", "resource": ""}]


async def test_a_500_comes_before_or_after_the_work(server: CountingServer) -> None:
    async with before(server, {"error_500": 1.0}) as proxy:
        for _ in range(20):
            await scan(proxy)
        assert 0 < proxy.account.done.totals("read").requests == server.account.totals("read").requests < 20
        assert proxy.account.told.totals("read").requests == 0


async def test_a_503_is_not_of_the_service(server: CountingServer) -> None:
    async with before(server, {"error_503": 1.0}) as proxy:
        reply = await scan(proxy)
    assert (reply.status, reply.crc_matches, reply.body[:6]) == (503, False, b"<html>")


@pytest.mark.parametrize("kind", ["truncated", "corrupted", "wrong_crc"])
async def test_spoilt_replies_are_told_by_their_crc_alone(server: CountingServer, kind: str) -> None:
    async with before(server) as proxy:
        right = (await scan(proxy)).body
        proxy.schedule = Schedule(0, {kind: 1.0})
        reply = await scan(proxy)
        assert (reply.status, reply.crc_matches) == (200, False)
        assert (reply.body == right) == (kind == "wrong_crc")
        assert (len(reply.body) == len(right)) == (kind != "truncated")
        assert (proxy.account.done.totals("read").items, proxy.account.told.totals("read").items) == (20, 10)


@pytest.mark.parametrize(("kind", "done"), [("reset_before", 0), ("reset_after", 1), ("cut", 1)])
async def test_broken_connections(server: CountingServer, kind: str, done: int) -> None:
    async with before(server, {kind: 1.0}) as proxy:
        with pytest.raises(aiohttp.ClientPayloadError if kind == "cut" else aiohttp.ClientOSError):
            await scan(proxy)
        assert server.account.totals("read").requests == proxy.account.done.totals("read").requests == done
        assert proxy.account.served == (0, 0)


async def test_latency_comes_on_top(server: CountingServer) -> None:
    async with before(server) as proxy:
        proxy.schedule = Schedule(0, {"latency": 1.0, "wrong_crc": 1.0}, longest_pause=0.01)
        assert not (await scan(proxy)).crc_matches
        assert proxy.account.faults == {"latency": 1, "wrong_crc": 1}


async def test_some_puts_are_left_unprocessed(server: CountingServer) -> None:
    puts = [put_of(make_item("small", 1, index)) for index in range(100, 125)]
    taken = set()
    async with before(server, {"unprocessed": 1.0}) as proxy:
        for told in count(1):
            reply = await call(proxy, "BatchWriteItem", RequestItems={"T": puts}, ReturnConsumedCapacity="TOTAL")
            left = reply.json["UnprocessedItems"].get("T", [])
            processed = len(puts) - len(left)
            assert reply.json["ConsumedCapacity"] == [{"TableName": "T", "CapacityUnits": processed}]
            taken.add(processed)
            assert proxy.account.told.totals("write").requests == told
            if not left:
                break
            assert 0 < len(left) < len(puts)
            puts = left
        # A single put is taken: it can't be left in part.
        assert proxy.account.faults == {"unprocessed": told - 1}
        assert proxy.account.served.puts == server.account.totals("write").items == 25
        assert set(proxy.account.puts.values()) == {1}
    assert len(server.stored()) == 35
    assert len(taken) > 1


async def test_the_same_requests_meet_the_same_faults(server: CountingServer) -> None:
    async def fates(seed: int) -> list[str]:
        async with before(server, {"reset_before": 0.3, "error_503": 0.3, "wrong_crc": 0.3}, seed) as proxy:
            return [await fate(proxy) for _ in range(30)]

    async def fate(proxy: FaultProxy) -> str:
        try:
            reply = await scan(proxy)
        except aiohttp.ClientOSError:
            return "reset"
        return f"{reply.status} {reply.crc_matches}"

    first = await fates(5)
    assert await fates(5) == first != await fates(6)
    assert len(set(first)) == 4


async def test_connections_are_kept(server: CountingServer) -> None:
    target = {"X-Amz-Target": "DynamoDB_20120810.Scan", **SIGNED}
    opened = 0

    async def count_opened(*_: object) -> None:
        nonlocal opened
        opened += 1

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(count_opened)
    async with before(server) as proxy, aiohttp.ClientSession(trace_configs=[trace]) as session:
        for _ in range(3):
            async with session.post(proxy.url, data=b'{"TableName": "T"}', headers=target) as reply:
                await reply.read()
    assert opened == 1


async def test_an_upstream_that_is_gone_resets() -> None:
    async with FaultProxy("http://127.0.0.1:9") as proxy:
        with pytest.raises(aiohttp.ClientOSError):
            await scan(proxy)
        assert proxy.account.upstream_errors == 1


@pytest.fixture
def small_pages(dynamodb: Server) -> Iterator[tuple[Server, str]]:
    """A table of ten items on each DynamoDB in turn."""
    table = dynamodb.create_table()
    dynamodb.put_items(table, ITEMS)
    yield dynamodb, table


async def test_units_are_true_whatever_the_upstream_says(small_pages: tuple[Server, str]) -> None:
    upstream, table = small_pages
    size = sum(map(item_size, ITEMS))
    asked: dict[str, Any] = {"TableName": table, "ReturnConsumedCapacity": "INDEXES"}
    puts = [put_of({**item, "more": {"S": "x" * 2000}}) for item in ITEMS[:3]]
    async with before(upstream) as proxy:
        for consistent, factor in ((False, 0.5), (True, 1)):
            page = (await call(proxy, "Scan", **asked, ConsistentRead=consistent)).json
            units = -(-size // 4096) * factor
            expected = {"TableName": table, "CapacityUnits": units, "Table": {"CapacityUnits": units}}
            assert page["ConsumedCapacity"] == expected
        thinned = (await call(proxy, "Scan", **asked, ProjectionExpression="pk")).json
        assert thinned["Count"] == 10
        batch: dict[str, Any] = {"RequestItems": {table: puts}, "ReturnConsumedCapacity": "TOTAL"}
        reply = (await call(proxy, "BatchWriteItem", **batch)).json
        assert reply["UnprocessedItems"] == {}
        assert reply["ConsumedCapacity"] == [{"TableName": table, "CapacityUnits": 9}]
        assert (await call(proxy, "Scan", Table=table)).status >= 400
        assert proxy.account.served == (3, 3)
        assert proxy.account.pages == {PageId(table, 0, 1, ""): 3}
    assert len(await asyncio.to_thread(upstream.items, table)) == 10


async def test_large_batches_and_pages_pass(server: CountingServer) -> None:
    puts = [put_of({"pk": {"S": f"k{index}"}, "sk": {"N": "1"}, "v": {"S": "x" * 400_000}}) for index in range(25)]
    async with before(server) as proxy:
        for _ in range(2):
            reply = await call(proxy, "BatchWriteItem", RequestItems={"T": puts}, ReturnConsumedCapacity="TOTAL")
            assert reply.json["ConsumedCapacity"] == [{"TableName": "T", "CapacityUnits": 25 * 391}]
        assert set(proxy.account.puts.values()) == {2}
        page = await scan(proxy)
        assert page.json["ConsumedCapacity"]["CapacityUnits"] == proxy.account.told.totals("read").units
        assert server.account.totals("read") == proxy.account.told.totals("read")
        assert server.account.totals("write") == proxy.account.told.totals("write")
