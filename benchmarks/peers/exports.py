"""A table into a file of JSON lines."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import IO, Any

import boto3

from benchmarks.peers.aio import aioboto3_client, aiodynamo_client


def plain(value: object) -> object:
    """What `json.dumps` is to do with the types that boto3 gives."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, set):
        return list(value)
    return base64.b64encode(bytes(value)).decode()  # type: ignore[call-overload]


def boto3_resource(table: str, out: IO[str]) -> None:
    """The loop of most scripts: `Table.scan`, `json.dumps` of each item."""
    source = boto3.resource("dynamodb").Table(table)
    start: dict[str, Any] = {}
    while True:
        page = source.scan(**start)
        for item in page["Items"]:
            out.write(json.dumps(item, default=plain) + "\n")
        if "LastEvaluatedKey" not in page:
            return
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def boto3_client(table: str, out: IO[str]) -> None:
    """The paginator of the low-level client, its DynamoDB JSON written as it comes."""
    for page in boto3.client("dynamodb").get_paginator("scan").paginate(TableName=table):
        for item in page["Items"]:
            out.write(json.dumps(item, default=plain) + "\n")


async def aioboto3(table: str, out: IO[str]) -> None:
    """The same with aioboto3's `client.scan`."""
    start: dict[str, Any] = {}
    async with aioboto3_client() as client:
        while True:
            page = await client.scan(TableName=table, **start)
            for item in page["Items"]:
                out.write(json.dumps(item, default=plain) + "\n")
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


async def aiodynamo(table: str, out: IO[str]) -> None:
    """aiodynamo's own iterator over a table."""
    async with aiodynamo_client() as client:
        async for item in client.table(table).scan():
            out.write(json.dumps(item, default=plain) + "\n")


def awswrangler(table: str, out: IO[str]) -> None:
    """awswrangler's data frames, one a page."""
    import awswrangler  # noqa: PLC0415 - a second to import, for this peer only

    for frame in awswrangler.dynamodb.read_items(table, allow_full_scan=True, chunked=True):
        frame.to_json(out, orient="records", lines=True)


PEERS = {
    "boto3 resource": boto3_resource,
    "boto3 client": boto3_client,
    "aioboto3": aioboto3,
    "aiodynamo": aiodynamo,
    "awswrangler": awswrangler,
}
