"""A plain DynamoDB client for tests of servers: no retries, no checks, one connection a request."""

from __future__ import annotations

import json
import zlib
from io import BytesIO
from typing import Any, Protocol

import aiohttp

SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=AKIATESTTESTTESTTEST/20260101/us-east-1/dynamodb/aws4_request, "
    "SignedHeaders=host;x-amz-date;x-amz-target, Signature=0",
    "X-Amz-Date": "20260101T000000Z",
}
"""What servers that verify nothing take for a signature."""


class Listening(Protocol):
    """Anything with a URL."""

    @property
    def url(self) -> str:
        """For example `http://127.0.0.1:8000`."""


class Raw:
    """One raw reply; `json` is None where the CRC32 does not match."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.crc_matches = headers.get("x-amz-crc32") == str(zlib.crc32(body))
        self.body = body
        self.json: Any = json.loads(body) if self.crc_matches else None

    @property
    def code(self) -> str:
        """The error's name."""
        name: str = self.json["__type"].rpartition("#")[2]
        return name


async def call(server: Listening, operation: str, signed: bool = True, **members: Any) -> Raw:
    """One request, over a connection of its own."""
    return await call_as(SIGNED if signed else {}, server, operation, **members)


async def call_as(headers: dict[str, str], server: Listening, operation: str, **members: Any) -> Raw:
    """The same with these header fields."""
    target = {"X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Type": "application/x-amz-json-1.0"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.url, data=BytesIO(json.dumps(members).encode()), headers={**target, **headers}) as reply,
    ):
        return Raw(reply.status, dict(reply.headers), await reply.read())


def put_of(item: dict[str, Any]) -> dict[str, Any]:
    """The request of a batch that puts this item."""
    return {"PutRequest": {"Item": item}}
