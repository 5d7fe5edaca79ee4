"""What the suites of `scan` and `BatchWriter` share."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from decimal import Decimal
from typing import Any

from ddbio import Capacity, Connection, ScanOptions, WriterOptions
from tests.kit.servers.aws import REGION, Server
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.http import Handler, Reply, Request

FAST = Capacity(units=100_000)
SECONDS = 60
"""Longer than anything here takes; what hangs fails."""


async def ended() -> None:
    """No task outlives a test; what a loop that was left early closes by itself gets the time for it."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        _, pending = await asyncio.wait(left, timeout=SECONDS)
        assert not pending


def reading(server: CountingServer | Server, table: str = "T", **members: Any) -> ScanOptions:
    connection = Connection(region=REGION, endpoint_url=server.url)
    return ScanOptions(table=table, connection=connection, **{"capacity": FAST, **members})


def writing(server: CountingServer | Server, table: str = "T", **members: Any) -> WriterOptions:
    connection = Connection(region=REGION, endpoint_url=server.url)
    return WriterOptions(table=table, connection=connection, **{"capacity": FAST, **members})


def item(number: int, **more: Any) -> dict[str, Any]:
    return {"pk": {"S": f"k{number:05d}"}, "sk": {"N": str(number)}, **more}


def native(value: dict[str, Any]) -> dict[str, Any]:
    """A value of DynamoDB JSON as boto3's low-level client takes it: with bytes for base64."""
    ((kind, content),) = value.items()
    match kind:
        case "B":
            return {"B": base64.b64decode(content)}
        case "BS":
            return {"BS": [base64.b64decode(each) for each in content]}
        case "L":
            return {"L": [native(each) for each in content]}
        case "M":
            return {"M": {name: native(each) for name, each in content.items()}}
    return value


def exact(value: dict[str, Any]) -> dict[str, Any]:
    """A value of either form to compare: numbers by value, sets in any order, binary as base64."""
    ((kind, content),) = value.items()
    match kind:
        case "N":
            return {"N": Decimal(content)}
        case "B" if isinstance(content, bytes):
            return {"B": base64.b64encode(content).decode()}
        case "SS" | "NS" | "BS":
            return {kind: Counter(exact({kind[0]: each})[kind[0]] for each in content)}
        case "L":
            return {"L": [exact(each) for each in content]}
        case "M":
            return {"M": {name: exact(each) for name, each in content.items()}}
    return value


def by_key(items: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Items by key; none may be there twice."""
    found = {(each["pk"]["S"], each["sk"]["N"]): exact({"M": each})["M"] for each in items}
    assert len(found) == len(items)
    return found


def stored(server: CountingServer) -> dict[tuple[str, str], dict[str, Any]]:
    return by_key(server.stored().items)


class Gate:
    """Holds the replies to an operation back until it is opened; tells when the first request is there."""

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self.opened = asyncio.Event()
        self.reached = asyncio.Event()

    async def __call__(self, request: Request, serve: Handler) -> Reply:
        if request.operation == self._operation:
            self.reached.set()
            await self.opened.wait()
        return await serve(request)
