"""The least that a job can cost over ddbio's own wire: the same requests, and nothing done with them.

`python -m benchmarks.floors scan TABLE` reads every page, checks its CRC32 and throws it away.
`python -m benchmarks.floors batch TABLE ITEMS` sends so many items in batches that were encoded before.
Endpoint, credentials and certificates come from the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Iterator

import msgspec

from ddbio import runtime
from ddbio.wire.dynamodb import DynamoDB, ScanPlan
from ddbio.wire.signing import Credentials, StaticCredentials
from ddbio.wire.transport import HttpTransport
from tests.kit.servers.items import make_item

SEGMENTS = 8
SENDERS = 16
"""As many requests at once as ddbio's default."""
BATCH = 25
DIFFERENT_BATCHES = 100
LAST_KEY = b'"LastEvaluatedKey":'


async def scan_all(dynamodb: DynamoDB, table: str) -> None:
    """Read a table, several segments at once."""
    await asyncio.gather(*(scan_segment(dynamodb, table, segment) for segment in range(SEGMENTS)))


async def scan_segment(dynamodb: DynamoDB, table: str, segment: int) -> None:
    """Read one segment to its end."""
    plan = ScanPlan(table=table, segment=segment, total_segments=SEGMENTS)
    body = plan.body()
    while True:
        page = await dynamodb.scan(body)
        start = page.rfind(LAST_KEY)
        if start < 0:
            return
        body = plan.body(bytes(page[start + len(LAST_KEY) : page.rindex(b',"ScannedCount"')]))


async def send_all(dynamodb: DynamoDB, table: str, items: int) -> None:
    """Send so many items, several batches at once."""
    batches = [encoded_batch(number * BATCH) for number in range(min(DIFFERENT_BATCHES, items // BATCH))]
    numbers = iter(range(items // BATCH))
    await asyncio.gather(*(send(dynamodb, table, batches, numbers) for _ in range(SENDERS)))


async def send(dynamodb: DynamoDB, table: str, batches: list[list[bytes]], numbers: Iterator[int]) -> None:
    """Send the batches of these numbers, shared with other senders, one after the other."""
    for number in numbers:
        batch = batches[number % len(batches)]
        await dynamodb.batch_write(table, batch, sum(map(len, batch)))


def encoded_batch(first: int) -> list[bytes]:
    """The puts of one batch of small items."""
    items = (make_item("small", 0, first + number) for number in range(BATCH))
    return [b'{"PutRequest":{"Item":%b}}' % msgspec.json.encode(item) for item in items]


async def main() -> None:
    """Parse the arguments and run one of the floors."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floors", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    for what in ("scan", "batch"):
        commands.add_parser(what).add_argument("table")
    commands.choices["batch"].add_argument("items", type=int)
    options = parser.parse_args()
    credentials = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    async with HttpTransport(connections=SENDERS) as transport:
        with runtime.threads(1) as executor:
            dynamodb = DynamoDB(
                endpoint=os.environ["AWS_ENDPOINT_URL"],
                region=os.environ["AWS_REGION"],
                transport=transport,
                credentials=StaticCredentials(credentials),
                executor=executor,
            )
            if options.what == "scan":
                await scan_all(dynamodb, options.table)
            else:
                await send_all(dynamodb, options.table, options.items)


if __name__ == "__main__":
    runtime.run(main())
