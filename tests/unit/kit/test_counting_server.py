"""The counting server tells the truth: every item once, real units, real errors, exact windows."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import urllib.request
from collections import Counter
from typing import Any

import aiohttp
import pytest

from tests.conftest import StartCounting
from tests.kit.servers.account import Account
from tests.kit.servers.client import SIGNED, call, put_of
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.http import Handler, HttpServer, Reply, Request
from tests.kit.servers.items import Shape, item_size, make_item
from tests.kit.servers.process import running
from tests.kit.servers.replies import (
    RESET,
    cut_body,
    cut_connection,
    internal_error,
    leave_unprocessed,
    throttled,
    wrong_crc,
)
from tests.kit.servers.tables import Mode, Table


async def scan(server: CountingServer, segments: int, **members: Any) -> list[dict[str, Any]]:
    """Every page of every segment."""
    pages = []
    for segment in range(segments):
        start: dict[str, Any] = {}
        while True:
            position = {"Segment": segment, "TotalSegments": segments, **start}
            reply = await call(server, "Scan", TableName="T", ReturnConsumedCapacity="TOTAL", **position, **members)
            assert reply.status == 200
            pages.append(reply.json)
            if "LastEvaluatedKey" not in reply.json:
                break
            start = {"ExclusiveStartKey": reply.json["LastEvaluatedKey"]}
    return pages


def text(item: Any) -> str:
    return json.dumps(item, sort_keys=True)


@pytest.mark.parametrize("mode", ["generated", "stored"])
@pytest.mark.parametrize("segments", [1, 4, 64])
async def test_every_item_is_served_exactly_once(counting: StartCounting, mode: Mode, segments: int) -> None:
    server = await counting(Table(mode=mode, items=7_000, seed=3))
    pages = await scan(server, segments)
    served = Counter(text(item) for page in pages for item in page["Items"])
    assert served == Counter(text(make_item("small", 3, index)) for index in range(7_000))
    assert sum(page["Count"] for page in pages) == server.account.totals("read").items == 7_000
    assert server.account.totals("read").requests == len(pages)


@pytest.mark.parametrize("mode", ["generated", "canned", "stored"])
async def test_limit_counts_items_evaluated(counting: StartCounting, mode: Mode) -> None:
    server = await counting(Table(mode=mode, items=10))
    pages = await scan(server, 1, Limit=4)
    assert [page["Count"] for page in pages] == [4, 4, 2]
    # As on the service, a page that the limit ends at the last item does not know that it was the last.
    assert [page["Count"] for page in await scan(server, 1, Limit=5)] == [5, 5, 0]


@pytest.mark.parametrize("segments", [1, 3, 64])
async def test_canned_pages_add_up_to_the_table(counting: StartCounting, segments: int) -> None:
    server = await counting(Table(mode="canned", items=20_000))
    pages = await scan(server, segments)
    assert sum(len(page["Items"]) for page in pages) == sum(page["Count"] for page in pages) == 20_000


@pytest.mark.parametrize("shape", ["small", "nested", "large"])
async def test_a_page_ends_with_the_item_that_crosses_one_megabyte(counting: StartCounting, shape: Shape) -> None:
    server = await counting(Table(items=20_000, shape=shape))
    page = (await call(server, "Scan", TableName="T", ReturnConsumedCapacity="TOTAL")).json
    sizes = [item_size(item) for item in page["Items"]]
    assert sum(sizes[:-1]) < 1024 * 1024 <= sum(sizes)
    assert page["ConsumedCapacity"] == {"TableName": "T", "CapacityUnits": -(-sum(sizes) // 4096) / 2}


async def test_read_units_are_rounded_once_per_page(counting: StartCounting) -> None:
    server = await counting(Table(mode="stored", items=0))
    scan_units = []
    for padding in (0, 4096 - 10, 4096):
        item = {"pk": {"S": "k"}, "sk": {"N": "1"}, "v": {"S": "x" * padding}}
        await call(server, "BatchWriteItem", RequestItems={"T": [put_of(item)]})
        for consistent in (False, True):
            pages = await scan(server, 1, ConsistentRead=consistent)
            scan_units.append(pages[0]["ConsumedCapacity"]["CapacityUnits"])
    assert scan_units == [0.5, 1, 0.5, 1, 1, 2]
    assert server.account.totals("read").units == sum(scan_units)


async def test_an_empty_page_costs_the_least(counting: StartCounting) -> None:
    server = await counting(Table(items=0))
    (page,) = await scan(server, 1)
    assert page["Items"] == []
    assert page["ConsumedCapacity"]["CapacityUnits"] == 0.5


async def test_a_start_key_of_another_segment_is_refused(counting: StartCounting) -> None:
    server = await counting(Table(items=100))
    start = (await call(server, "Scan", TableName="T", Segment=0, TotalSegments=4, Limit=1)).json["LastEvaluatedKey"]
    reply = await call(server, "Scan", TableName="T", Segment=3, TotalSegments=4, ExclusiveStartKey=start)
    assert reply.status == 400
    assert reply.json["__type"].endswith("#ValidationException")
    assert reply.json["message"] == (
        "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct "
        "Segment. TotalSegments: 4 Segment: 3"
    )
    assert server.account.totals("read").requests == 1


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"Segment": 4, "TotalSegments": 4}, "Segment: 4 is not less than TotalSegments: 4"),
        ({"Segment": 4}, "The TotalSegments parameter is required"),
        ({"TotalSegments": 4}, "The Segment parameter is required"),
        ({"Limit": 0}, "Member must have value greater than or equal to 1"),
        ({"FilterExpression": "a = b"}, "does not know FilterExpression"),
    ],
)
async def test_wrong_scans_are_refused(counting: StartCounting, members: dict[str, Any], message: str) -> None:
    reply = await call(await counting(), "Scan", TableName="T", **members)
    assert reply.status == 400
    assert message in reply.json["message"]


async def test_write_units_round_per_item_and_replacing_costs_more(counting: StartCounting) -> None:
    server = await counting(Table(mode="stored"))
    items = [{"pk": {"S": f"k{size}"}, "sk": {"N": "1"}, "v": {"S": "x" * size}} for size in (500, 3500)]
    reply = await call(
        server, "BatchWriteItem", RequestItems={"T": [put_of(item) for item in items]}, ReturnConsumedCapacity="TOTAL"
    )
    assert reply.json == {"UnprocessedItems": {}, "ConsumedCapacity": [{"TableName": "T", "CapacityUnits": 5.0}]}
    smaller = {"pk": {"S": "k3500"}, "sk": {"N": "1.0"}}
    reply = await call(
        server, "BatchWriteItem", RequestItems={"T": [put_of(smaller)]}, ReturnConsumedCapacity="INDEXES"
    )
    assert reply.json["ConsumedCapacity"] == [{"TableName": "T", "CapacityUnits": 4.0, "Table": {"CapacityUnits": 4.0}}]
    assert server.account.totals("write") == (9.0, 3, 2)
    assert sorted(server.stored().items, key=text) == sorted([items[0], smaller], key=text)


async def test_without_storing_batches_are_only_counted(counting: StartCounting) -> None:
    server = await counting(Table(mode="canned", items=5))
    await call(
        server, "BatchWriteItem", RequestItems={"T": [put_of(make_item("small", 0, index)) for index in range(25)]}
    )
    assert server.account.totals("write") == (25.0, 25, 1)
    assert sum(page["Count"] for page in await scan(server, 2)) == 5
    with pytest.raises(TypeError, match="does not store"):
        server.stored()


ITEM = {"pk": {"S": "a"}, "sk": {"N": "1"}}


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([make_item("small", 0, index) for index in range(26)], "Too many items requested for the BatchWriteItem call"),
        ([ITEM, {**ITEM, "sk": {"N": "1.00"}}], "Provided list of item keys contains duplicates"),
        ([{**ITEM, "v": {"S": "x" * 409_600}}], "Item size has exceeded the maximum allowed size"),
        ([{"pk": {"S": "a"}}], "The provided key element does not match the schema"),
        ([{**ITEM, "pk": {"N": "1"}}], "The provided key element does not match the schema"),
        ([{**ITEM, "pk": {"S": ""}}], "cannot contain an empty string value"),
        ([{**ITEM, "sk": {"N": 1}}], ""),
    ],
)
async def test_a_wrong_batch_is_refused_whole(counting: StartCounting, items: list[Any], message: str) -> None:
    server = await counting(Table(mode="stored"))
    good = {"pk": {"S": "good"}, "sk": {"N": "1"}}
    reply = await call(server, "BatchWriteItem", RequestItems={"T": [put_of(item) for item in [good, *items]]})
    assert reply.status == 400
    assert message in reply.json["message"]
    assert server.account.totals("write").requests == len(server.stored()) == 0


async def test_unsigned_unknown_and_missing_are_refused(counting: StartCounting) -> None:
    server = await counting()
    replies = [
        await call(server, "Scan", signed=False, TableName="T"),
        await call(server, "Scan", TableName="Other"),
        await call(server, "DescribeTable", TableName="Other"),
        await call(server, "GetItem", TableName="T"),
    ]
    assert [(reply.status, reply.json["__type"].partition("#")[2]) for reply in replies] == [
        (400, "MissingAuthenticationTokenException"),
        (400, "ResourceNotFoundException"),
        (400, "ResourceNotFoundException"),
        (400, "UnknownOperationException"),
    ]


async def test_tables_describe_themselves(counting: StartCounting) -> None:
    server = await counting(
        Table(name="Provisioned", items=10, capacity=(100, 50), warm=(12_000, 4_000)), Table(name="OnDemand")
    )
    provisioned = (await call(server, "DescribeTable", TableName="Provisioned")).json["Table"]
    assert (await call(server, "DescribeTable", TableName=provisioned["TableArn"])).json["Table"] == provisioned
    assert provisioned["TableArn"] == "arn:aws:dynamodb:us-east-1:123456789012:table/Provisioned"
    assert provisioned["ItemCount"] == 10
    assert provisioned["TableSizeBytes"] > 1_000
    assert provisioned["ProvisionedThroughput"]["ReadCapacityUnits"] == 100
    assert provisioned["WarmThroughput"]["WriteUnitsPerSecond"] == 4_000
    other = (await call(server, "DescribeTable", TableName="OnDemand")).json["Table"]
    assert other["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert other["ProvisionedThroughput"]["ReadCapacityUnits"] == 0


async def test_a_hook_answers_in_place_of_the_server(counting: StartCounting) -> None:
    odd = {"1": internal_error(), "2": throttled("TableReadKeyRangeThroughputExceeded", "arn")}

    async def hook(request: Request, serve: Handler) -> Reply:
        return odd.get(request.payload["TableName"]) or await serve(request)

    server = await counting(Table(items=1), on_request=hook)
    replies = [await call(server, "Scan", TableName=name) for name in ("1", "2", "T")]
    assert [reply.status for reply in replies] == [500, 400, 200]
    assert all(reply.crc_matches for reply in replies)
    assert replies[1].json["ThrottlingReasons"] == [
        {"reason": "TableReadKeyRangeThroughputExceeded", "resource": "arn"}
    ]
    assert server.account.totals("read").requests == 1
    assert server.account.operations == {"Scan": 3}


async def test_a_hook_spoils_replies(counting: StartCounting) -> None:
    async def hook(request: Request, serve: Handler) -> Reply:
        reply = await serve(request)
        return cut_body(reply) if "Limit" in request.payload else wrong_crc(reply)

    server = await counting(Table(items=10), on_request=hook)
    whole = await call(server, "Scan", TableName="T")
    assert (whole.status, whole.crc_matches, len(json.loads(whole.body)["Items"])) == (200, False, 10)
    cut = await call(server, "Scan", TableName="T", Limit=10)
    assert (cut.status, cut.crc_matches) == (200, False)
    assert whole.body.startswith(cut.body)
    assert b"Count" not in cut.body


async def test_a_hook_breaks_the_connection(counting: StartCounting) -> None:
    async def hook(request: Request, serve: Handler) -> Reply:
        return cut_connection(await serve(request)) if "Limit" in request.payload else RESET

    server = await counting(Table(items=10), on_request=hook)
    with pytest.raises(aiohttp.ClientPayloadError):
        await call(server, "Scan", TableName="T", Limit=10)
    with pytest.raises(aiohttp.ClientOSError, match="reset"):
        await call(server, "Scan", TableName="T")


async def test_resetting_a_connection_the_client_reset_is_no_failure() -> None:
    connected, gone = asyncio.Event(), asyncio.Event()

    async def reset_when_gone(request: Request) -> Reply:
        connected.set()
        await gone.wait()
        return RESET

    server = HttpServer(reset_when_gone)
    port = await server.start()
    try:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            await connected.wait()
        for _ in range(10):  # turns of the loop, in which it learns that the connection is gone
            await asyncio.sleep(0)
        gone.set()
        await asyncio.sleep(0)
    finally:
        await server.stop()


async def test_a_hook_leaves_puts_unprocessed(counting: StartCounting) -> None:
    async def hook(request: Request, serve: Handler) -> Reply:
        return await leave_unprocessed(request, serve, 2)

    server = await counting(Table(mode="stored"), on_request=hook)
    puts = [put_of(make_item("small", 0, index)) for index in range(5)]
    reply = await call(server, "BatchWriteItem", RequestItems={"T": puts}, ReturnConsumedCapacity="TOTAL")
    assert reply.json["UnprocessedItems"] == {"T": puts[2:]}
    assert reply.json["ConsumedCapacity"][0]["CapacityUnits"] == 2
    assert len(server.stored()) == server.account.totals("write").items == 2


async def test_a_hook_that_fails_fails_the_test() -> None:
    async def hook(request: Request, serve: Handler) -> Reply:
        raise LookupError(request.operation)

    server = CountingServer(on_request=hook)
    await server.start()
    with pytest.raises(aiohttp.ClientConnectionError):
        await call(server, "Scan", TableName="T")
    with pytest.raises(ExceptionGroup) as failure:
        await server.stop()
    assert failure.group_contains(LookupError, match="Scan")


def test_windows_and_means_are_exact() -> None:
    now = 100.0
    account = Account(lambda: now)
    for at, units in [(100.0, 10), (100.5, 10), (101.0, 30), (102.9, 5), (104.0, 20)]:
        now = at
        account.record("write", units, 1)
    assert account.totals("write") == (75, 5, 5)
    assert account.max_window("write", 0.5) == 30
    assert account.max_window("write", 0.6) == 40
    assert account.max_window("write", 1) == 40
    assert account.max_window("write", 1.1) == 50
    assert account.max_window("write", 60) == 75
    assert account.mean("write") == 55 / 4
    assert [second.units for second in account.per_second("write")] == [20, 30, 5, 0, 20]
    assert account.totals("read") == (0, 0, 0)
    assert account.max_window("read", 5) == account.mean("read") == 0
    account.reset()
    assert account.per_second("write") == []


def test_by_hand_it_tells_its_url_and_its_account() -> None:
    command = [sys.executable, "-m", "tests.kit.servers.counting", "--items", "10", "--capacity", "100", "50"]
    with running(command, r"\{.*\}") as line:
        url = json.loads(line[0])["url"]
        scanned = urllib.request.Request(
            url,
            data=json.dumps({"TableName": "T"}).encode(),
            headers={"X-Amz-Target": "DynamoDB_20120810.Scan", **SIGNED},
        )
        with urllib.request.urlopen(scanned) as reply:
            assert json.load(reply)["Count"] == 10
        with urllib.request.urlopen(f"{url}/_account?window=7") as reply:
            account = json.load(reply)
    assert account["operations"] == {"Scan": 1}
    assert account["read"]["max_window"] == {"7": 0.5}
    assert account["read"]["per_second"] == [{"units": 0.5, "items": 10, "requests": 1}]
