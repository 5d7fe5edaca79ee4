"""The data plane against real servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ddbio.errors import RefusedError
from ddbio.options import ScanFilter
from ddbio.runtime import threads
from ddbio.wire.dynamodb import DynamoDB, ScanPlan
from ddbio.wire.replies import BatchReply
from ddbio.wire.signing import Credentials, StaticCredentials
from ddbio.wire.transport import HttpTransport
from tests.kit.servers.aws import Server


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[DynamoDB]:
    credentials = StaticCredentials(Credentials(server.access_key, server.secret_key))
    with threads(1) as executor:
        async with HttpTransport(connections=8) as transport:
            yield DynamoDB(
                endpoint=server.url,
                region=server.region,
                transport=transport,
                credentials=credentials,
                executor=executor,
            )


@pytest.fixture
async def wire(dynamodb: Server) -> AsyncIterator[DynamoDB]:
    """The data plane of each server."""
    async with connected(dynamodb) as wire:
        yield wire


def put(item: dict[str, Any]) -> bytes:
    return json.dumps({"PutRequest": {"Item": item}}, ensure_ascii=False).encode()


async def write(wire: DynamoDB, table: str, items: list[dict[str, Any]]) -> BatchReply:
    requests = [put(item) for item in items]
    return await wire.batch_write(table, requests, sum(map(len, requests)))


def numbered(number: int, **attributes: Any) -> dict[str, Any]:
    return {"pk": {"S": f"p{number % 7}"}, "sk": {"N": str(number)}, **attributes}


async def pages(wire: DynamoDB, plan: ScanPlan, limit: int | None = None) -> list[dict[str, Any]]:
    found = []
    key: bytes | None = None
    while True:
        page = json.loads(await wire.scan(plan.body(key, limit)))
        found.append(page)
        if "LastEvaluatedKey" not in page:
            return found
        key = json.dumps(page["LastEvaluatedKey"]).encode()


def by_key(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(items, key=lambda item: int(item["sk"]["N"]))


async def test_what_was_written_is_read_back_in_any_segments(dynamodb: Server, wire: DynamoDB) -> None:
    table = dynamodb.create_table()
    written = [numbered(n, text={"S": "Grüße\u2028\x00"}, deep={"L": [{"M": {"b": {"B": "AP8="}}}]}) for n in range(60)]
    for first in range(0, 60, 25):
        reply = await write(wire, table, written[first : first + 25])
        assert isinstance(reply, BatchReply)
        assert reply.unprocessed == ()
        assert reply.capacity is not None
        assert reply.capacity > 0
    for total in (1, 4):
        found = []
        for segment in range(total):
            plan = ScanPlan(table=table, segment=segment, total_segments=total)
            found += [item for page in await pages(wire, plan, limit=9) for item in page["Items"]]
        assert by_key(found) == written


async def test_a_page_says_how_much_it_holds_and_what_it_cost(dynamodb: Server, wire: DynamoDB) -> None:
    table = dynamodb.create_table()
    await write(wire, table, [numbered(n) for n in range(5)])
    (page,) = await pages(wire, ScanPlan(table=table, what=ScanFilter(consistent=True)))
    assert (page["Count"], page["ScannedCount"], len(page["Items"])) == (5, 5, 5)
    assert page["ConsumedCapacity"]["CapacityUnits"] > 0


async def test_filter_projection_and_index_are_understood(dynamodb: Server, wire: DynamoDB) -> None:
    index = {
        "IndexName": "by-size",
        "KeySchema": [{"AttributeName": "size", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    sizes = {"AttributeName": "size", "AttributeType": "N"}
    table = dynamodb.create_table(AttributeDefinitions=[sizes], GlobalSecondaryIndexes=[index])
    await write(wire, table, [numbered(n, size={"N": str(n)}, x={"S": "x"}) for n in range(8)])
    await write(wire, table, [numbered(99)])
    what = ScanFilter(
        index="by-size",
        filter_expression="#s >= :five",
        projection_expression="#s, sk",
        expression_names={"#s": "size"},
        expression_values={":five": {"N": "5"}},
    )
    found = [item for page in await pages(wire, ScanPlan(table=table, what=what)) for item in page["Items"]]
    assert by_key(found) == [{"sk": {"N": str(n)}, "size": {"N": str(n)}} for n in (5, 6, 7)]


async def test_what_the_server_refuses_is_refused_with_its_code(dynamodb: Server, wire: DynamoDB) -> None:
    table = dynamodb.create_table()
    with pytest.raises(RefusedError) as missing:
        await wire.scan(ScanPlan(table="missing").body())
    assert (missing.value.code, missing.value.status) == ("ResourceNotFoundException", 400)
    with pytest.raises(RefusedError) as invalid:
        await write(wire, table, [{"pk": {"S": "a"}}])
    assert invalid.value.code == "ValidationException"


async def test_more_than_16_mb_is_too_large(dynalite: Server) -> None:
    table = dynalite.create_table()
    async with connected(dynalite) as wire:
        with pytest.raises(RefusedError) as caught:
            await write(wire, table, [numbered(n, text={"S": "x" * 700_000}) for n in range(25)])
    assert (caught.value.code, caught.value.status) == ("RequestEntityTooLarge", 413)
