"""DynamoDB replies: the regular ones, and the odd ones that a test lets the counting server give.

An odd reply is made by a hook: `async def hook(request: Request, serve: Handler) -> Reply`, set as the server's
`on_request`. It may answer by itself, or `await serve(request)` and alter the reply.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec

from tests.kit.servers.http import Handler, Reply, Request

Hook = Callable[[Request, Handler], Awaitable[Reply]]

_CORAL = "com.amazon.coral.service#"
_PREFIXES = {
    "ValidationException": "com.amazon.coral.validate#",
    "ThrottlingException": "com.amazon.coral.availability#",
    "MissingAuthenticationTokenException": _CORAL,
    "SerializationException": _CORAL,
    "UnknownOperationException": _CORAL,
    "UnrecognizedClientException": _CORAL,
    "ExpiredTokenException": _CORAL,
}

RESET = Reply((), reset=True)
"""No reply: the connection is reset."""


class FaultError(Exception):
    """The service's refusal of one request."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.reply = error_reply(code, message)


def json_reply(payload: object, status: int = 200) -> Reply:
    """`payload` as the body, with its CRC32."""
    body = msgspec.json.encode(payload)
    return Reply((body,), status, zlib.crc32(body))


def error_reply(code: str, message: str, status: int = 400, **members: object) -> Reply:
    """The service's error `code` (for example `ValidationException`), its `__type` qualified as the service does."""
    prefix = _PREFIXES.get(code, "com.amazonaws.dynamodb.v20120810#")
    return json_reply({"__type": prefix + code, "message": message, **members}, status)


def internal_error() -> Reply:
    """HTTP 500."""
    return error_reply("InternalServerError", "The request could not be completed, please try again.", 500)


def throttled(reason: str = "TableReadProvisionedThroughputExceeded", table_arn: str = "") -> Reply:
    """HTTP 400 with one entry in `ThrottlingReasons`."""
    return error_reply(
        "ProvisionedThroughputExceededException",
        "The level of configured provisioned throughput for the table was exceeded. Consider increasing your "
        "provisioning level with the UpdateTable API.",
        ThrottlingReasons=[{"reason": reason, "resource": table_arn}],
    )


def wrong_crc(reply: Reply) -> Reply:
    """The same body under a CRC32 that is not its own."""
    return replace(reply, crc=zlib.crc32(reply.body) ^ 1)


def cut_body(reply: Reply) -> Reply:
    """The first half of the body under a Content-Length that fits it: only the CRC32 tells."""
    body = reply.body
    return replace(reply, parts=(body[: len(body) // 2],))


def corrupt_body(reply: Reply) -> Reply:
    """The body with one byte changed, under the CRC32 of the right one."""
    body = bytearray(reply.body)
    body[len(body) // 2] ^= 1
    return replace(reply, parts=(bytes(body),))


def cut_connection(reply: Reply) -> Reply:
    """The first half of the body, then the end of the connection."""
    return replace(reply, cut=len(reply.body) // 2)


async def leave_unprocessed(request: Request, serve: Handler, taken: int) -> Reply:
    """Let only the first `taken` (at least 1) requests of a BatchWriteItem for one table through."""
    ((table, writes),) = request.payload["RequestItems"].items()
    payload: dict[str, Any] = {**request.payload, "RequestItems": {table: writes[:taken]}}
    reply = await serve(request.with_payload(payload))
    left = {table: writes[taken:]} if writes[taken:] else {}
    return json_reply({**reply.payload, "UnprocessedItems": left})
