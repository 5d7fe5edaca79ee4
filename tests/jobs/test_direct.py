"""`scan` as an application uses it, on servers: what comes, and what is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from ddbio import Capacity, ScanFilter, scan
from ddbio.errors import PreflightError, RefusedError, UsageError
from tests.conftest import StartCounting
from tests.kit.direct import SECONDS, Gate, by_key, ended, item, native, reading
from tests.kit.fakes import run_virtual
from tests.kit.servers.account import Account
from tests.kit.servers.aws import Server
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.http import Handler, Reply, Request
from tests.kit.servers.items import make_item
from tests.kit.servers.replies import error_reply
from tests.kit.servers.tables import Table


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncGenerator[None]:
    """No task outlives a test."""
    yield
    await ended()


class Small:
    """Pages of at most so many items."""

    def __init__(self, items: int) -> None:
        self._items = items

    async def __call__(self, request: Request, serve: Handler) -> Reply:
        if request.operation == "Scan":
            request = request.with_payload({**request.payload, "Limit": self._items})
        return await serve(request)


async def test_every_item_with_every_type(dynamodb: Server) -> None:
    table = dynamodb.create_table()
    items = [
        {**make_item("nested", 1, number), "long": {"N": f"-{number}234567890123456789012345678901234567.8"}}
        for number in range(1, 10)
    ]
    dynamodb.put_items(table, [native({"M": each})["M"] for each in items])
    found = [each async for each in scan(reading(dynamodb, table))]
    assert by_key(found) == by_key(items)
    assert all(isinstance(each["digest"]["B"], str) for each in found)


async def test_pages(counting: StartCounting) -> None:
    server = await counting(Table(items=1_000), on_request=Small(300))
    pages = [page async for page in scan(reading(server)).pages()]
    assert [len(page) for page in pages] == [300, 300, 300, 100]
    assert by_key([each for page in pages for each in page]) == by_key(
        [make_item("small", 0, number) for number in range(1_000)]
    )


async def test_an_empty_table(counting: StartCounting) -> None:
    server = await counting(Table())
    assert [each async for each in scan(reading(server))] == []


async def test_segments_share_the_table(dynamodb: Server) -> None:
    table = dynamodb.create_table()
    items = [item(number) for number in range(200)]
    dynamodb.put_items(table, items)

    async def segment(number: int) -> list[dict[str, Any]]:
        return [each async for each in scan(reading(dynamodb, table, segment=number, total_segments=4))]

    parts = await asyncio.gather(*map(segment, range(4)))
    assert by_key([each for part in parts for each in part]) == by_key(items)
    assert sum(map(bool, parts)) > 1


async def test_filter_and_projection(dynamodb: Server) -> None:
    table = dynamodb.create_table()
    dynamodb.put_items(table, [item(number, year={"N": str(2000 + number % 4)}) for number in range(40)])
    what = ScanFilter(
        filter_expression="#y >= :y",
        projection_expression="pk, #y",
        expression_names={"#y": "year"},
        expression_values={":y": {"N": "2002"}},
        consistent=True,
    )
    found = [each async for each in scan(reading(dynamodb, table, scan=what))]
    assert all(each.keys() == {"pk", "year"} for each in found)
    assert sorted(each["pk"]["S"] for each in found) == [f"k{number:05d}" for number in range(40) if number % 4 > 1]


async def test_index(dynamodb: Server) -> None:
    table = dynamodb.create_table(
        AttributeDefinitions=[{"AttributeName": "customer", "AttributeType": "S"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-customer",
                "KeySchema": [{"AttributeName": "customer", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
    )
    dynamodb.put_items(table, [item(number, text={"S": "x"}) for number in range(5)])
    dynamodb.put_items(table, [item(number, customer={"S": "c"}, text={"S": "x"}) for number in range(5, 9)])
    found = [each async for each in scan(reading(dynamodb, table, scan=ScanFilter(index="by-customer")))]
    assert by_key(found) == by_key([item(number, customer={"S": "c"}) for number in range(5, 9)])


async def test_a_loop_that_is_left_early_reads_no_further(counting: StartCounting) -> None:
    server = await counting(Table(items=100_000), on_request=Small(100))
    async for each in scan(reading(server)):
        assert each["pk"]["S"] == "k000000000000"
        break
    others = asyncio.all_tasks() - {asyncio.current_task()}
    ours = [task for task in others if "ddbio" in repr(task) or "async_generator_athrow" in repr(task)]
    await asyncio.wait_for(asyncio.gather(*ours), SECONDS)
    assert server.account.operations["Scan"] == 1
    assert server.account.totals("read").items == 100


async def test_pages_that_are_closed_are_closed_at_once(counting: StartCounting) -> None:
    server = await counting(Table(items=100_000), on_request=Small(100))
    before = asyncio.all_tasks()
    async with aclosing(scan(reading(server)).pages()) as pages:
        async for _ in pages:
            break
    # The server has a task for each connection, which ends when the connection does.
    assert not [task for task in asyncio.all_tasks() - before if "tests/servers" not in repr(task)]
    assert server.account.operations["Scan"] == 1


async def test_cancelled_while_a_page_is_on_its_way(counting: StartCounting) -> None:
    gate = Gate("Scan")
    server = await counting(Table(items=1_000), on_request=gate)

    async def read() -> None:
        async for _ in scan(reading(server)):
            pass

    task = asyncio.create_task(read())
    await gate.reached.wait()
    task.cancel()
    async with asyncio.timeout(SECONDS):
        with pytest.raises(asyncio.CancelledError):
            await task
    gate.opened.set()
    assert server.account.operations["Scan"] == 1


def test_keeps_to_its_budget() -> None:
    """Pages of about 38 units."""
    budget, window = 40.0, 4

    async def read() -> Account:
        async with CountingServer(Table(items=20_000, mode="canned"), on_request=Small(2_000)) as server:
            server.account = Account(asyncio.get_running_loop().time)
            count = len([each async for each in scan(reading(server, capacity=Capacity(units=budget)))])
            assert count == 20_000
            return server.account

    account = run_virtual(read(), sockets=True)
    page = account.events["read"][0].units
    assert account.max_window("read", window) <= 1.05 * budget * window + page
    assert account.mean("read") >= 0.95 * budget


async def test_errors(counting: StartCounting) -> None:
    async def denied(request: Request, serve: Handler) -> Reply:
        if request.operation == "Scan":
            return error_reply("AccessDeniedException", "not authorized to perform: dynamodb:Scan")
        return await serve(request)

    server = await counting(Table(items=10), on_request=denied)
    with pytest.raises(RefusedError, match="not authorized to perform: dynamodb:Scan"):
        await anext(aiter(scan(reading(server))))
    with pytest.raises(PreflightError, match="There is no table Missing"):
        await anext(aiter(scan(reading(server, "Missing"))))
    with pytest.raises(UsageError, match="Segment 4 of 4"):
        reading(server, segment=4, total_segments=4)
