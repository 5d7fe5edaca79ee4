"""A file of JSON lines into a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import islice
from typing import Any

import boto3

from benchmarks.peers.aio import aioboto3_client, aiodynamo_client

BATCH = 25


def boto3_resource(table: str, lines: Iterable[str]) -> None:
    """The batch writer of boto3's documentation."""
    with boto3.resource("dynamodb").Table(table).batch_writer() as writer:
        for line in lines:
            writer.put_item(Item=json.loads(line, parse_float=Decimal))


def boto3_client(table: str, lines: Iterable[str]) -> None:
    """`batch_write_item` of the low-level client."""
    client = boto3.client("dynamodb")
    for batch in batches(lines):
        client.batch_write_item(RequestItems={table: [put_of(item) for item in batch]})


async def aioboto3(table: str, lines: Iterable[str]) -> None:
    """The same with aioboto3."""
    async with aioboto3_client() as client:
        for batch in batches(lines):
            await client.batch_write_item(RequestItems={table: [put_of(item) for item in batch]})


async def aiodynamo(table: str, lines: Iterable[str]) -> None:
    """aiodynamo's `batch_write`."""
    from aiodynamo.models import BatchWriteRequest  # noqa: PLC0415 - for this peer only

    async with aiodynamo_client() as client:
        for batch in batches(lines):
            await client.batch_write({table: BatchWriteRequest(items_to_put=batch)})


def awswrangler(table: str, lines: Iterable[str]) -> None:
    """awswrangler's `put_items`, given the whole file."""
    import awswrangler  # noqa: PLC0415 - a second to import, for this peer only

    if items := [json.loads(line, parse_float=Decimal) for line in lines]:
        awswrangler.dynamodb.put_items(items, table)


def batches(lines: Iterable[str]) -> Iterator[list[dict[str, Any]]]:
    """The items of the lines, 25 at a time."""
    items = map(json.loads, lines)
    while batch := list(islice(items, BATCH)):
        yield batch


def put_of(item: dict[str, Any]) -> dict[str, Any]:
    """A request to put an item that has strings and whole numbers only: cheaper than boto3's TypeSerializer."""
    typed = {name: {"S": value} if isinstance(value, str) else {"N": str(value)} for name, value in item.items()}
    return {"PutRequest": {"Item": typed}}


PEERS = {
    "boto3 resource": boto3_resource,
    "boto3 client": boto3_client,
    "aioboto3": aioboto3,
    "aiodynamo": aiodynamo,
    "awswrangler": awswrangler,
}
