"""Scan and BatchWriteItem as bytes in, bytes out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
from isal.isal_zlib import crc32

from ddbio.errors import (
    CorruptReplyError,
    CredentialsError,
    ServiceError,
    UsageError,
)
from ddbio.retry import dynamodb_error
from ddbio.unreadable import UNREADABLE
from ddbio.wire.signing import CredentialProvider, Credentials, Signer
from ddbio.wire.transport import Reply, Transport

MAX_MESSAGE = 300
"""The service's messages are cut here: they may quote keys."""
MAX_SKEW = timedelta(minutes=1)
"""A clock that is further off than this is worth telling about."""

MOST_UNITS = 1e6
"""More than any request can consume: 25 items of 400 KB, in a table with 5 local indexes, take 110,000."""
_LARGE_BODY = 1 << 20
"""From here on a body is put together and hashed in a thread: that takes 1 to 2 ms per MB."""

_CLOCK_CODES = {"InvalidSignatureException", "RequestTimeTooSkewed", "RequestExpired"}


@dataclass(frozen=True, kw_only=True)
class ScanPlan:
    """What stays the same from page to page of one segment. `names` and `values` are raw JSON objects."""

    table: str
    segment: int = 0
    total_segments: int = 1
    consistent_read: bool = False
    index: str | None = None
    filter_expression: str | None = None
    projection_expression: str | None = None
    names: bytes | None = None
    values: bytes | None = field(default=None, repr=False)

    def body(self, start_key: bytes | None = None, limit: int | None = None) -> bytes:
        """A Scan request that continues after `start_key` (raw JSON) and evaluates at most `limit` items."""
        limited = b"" if limit is None else b',"Limit":%d' % limit
        started = b"" if start_key is None else b',"ExclusiveStartKey":' + start_key
        return b"".join((self._head, limited, started, b"}"))

    @cached_property
    def _head(self) -> bytes:
        members = {
            "TableName": self.table,
            "IndexName": self.index,
            "Segment": self.segment,
            "TotalSegments": self.total_segments,
            "ConsistentRead": self.consistent_read or None,
            "FilterExpression": self.filter_expression,
            "ProjectionExpression": self.projection_expression,
            "ExpressionAttributeNames": None if self.names is None else msgspec.Raw(self.names),
            "ExpressionAttributeValues": None if self.values is None else msgspec.Raw(self.values),
            "ReturnConsumedCapacity": "TOTAL",
        }
        return msgspec.json.encode({name: value for name, value in members.items() if value is not None})[:-1]


class BatchReply(NamedTuple):
    """What a BatchWriteItem did not write (each item's raw JSON), and the units that it consumed, if it said so
    credibly.

    Those of the table itself, its local indexes included: global indexes have a capacity of their own.
    """

    unprocessed: tuple[bytes, ...]
    capacity: float | None


class _Put(msgspec.Struct):
    item: msgspec.Raw = msgspec.field(name="Item")


class _Write(msgspec.Struct):
    put: _Put = msgspec.field(name="PutRequest")


class _Capacity(msgspec.Struct):
    units: float | None = msgspec.field(name="CapacityUnits", default=None)


class _TableCapacity(_Capacity):
    indexes: dict[str, _Capacity] | None = msgspec.field(name="GlobalSecondaryIndexes", default=None)

    @property
    def own(self) -> float | None:
        """The units without those of global indexes, which `units` includes (API Reference, ConsumedCapacity)."""
        if self.units is None or not self.indexes:
            return self.units
        return self.units - sum(index.units or 0.0 for index in self.indexes.values())


class _BatchBody(msgspec.Struct):
    unprocessed: dict[str, list[_Write]] = msgspec.field(name="UnprocessedItems")
    capacity: list[_TableCapacity] | None = msgspec.field(name="ConsumedCapacity", default=None)


class _Reason(msgspec.Struct):
    reason: str | None = None
    resource: str | None = None


class _ErrorBody(msgspec.Struct):
    type: str | None = msgspec.field(name="__type", default=None)
    message: str | None = None
    capital_message: str | None = msgspec.field(name="Message", default=None)
    reasons: list[_Reason | None] | None = msgspec.field(name="throttlingReasons", default=None)
    capital_reasons: list[_Reason | None] | None = msgspec.field(name="ThrottlingReasons", default=None)


_decode_batch = msgspec.json.Decoder(_BatchBody).decode
_decode_error = msgspec.json.Decoder(_ErrorBody).decode


def _utc_now() -> datetime:
    return datetime.now(UTC)


class DynamoDB:
    """The two bulk operations, one attempt per call.

    Both raise `TransportError` (no reply), `CorruptReplyError` (a reply that can't be trusted) or a `ServiceError`.
    Where the service refuses the credentials, the source has others in place before `CredentialsError` is raised, so
    the caller just tries again; where it has none, `CredentialsUnavailableError` comes instead. `executor` is for large
    bodies.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        region: str,
        transport: Transport,
        credentials: CredentialProvider,
        executor: Executor,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._host, self._path = _address(endpoint)
        self._url = endpoint
        self._transport = transport
        self._credentials = credentials
        self._executor = executor
        self._signer = Signer(region, "dynamodb")
        self._now = now
        self._batch_heads: dict[str, bytes] = {}

    async def scan(self, body: bytes) -> bytes | bytearray:
        """One page: the reply's body, its CRC32 verified. `body` comes from `ScanPlan.body`."""
        return await self._attempt("Scan", _SCAN_HEADERS, lambda: body, len(body))

    async def batch_write(self, table: str, requests: Sequence[bytes], size: int) -> BatchReply:
        """Write up to 25 `requests`, each a raw `{"PutRequest":{"Item":{…}}}`, of `size` bytes in all, into `table`."""
        head = self._batch_heads.get(table)
        if head is None:
            head = self._batch_heads[table] = b'{"RequestItems":{' + msgspec.json.encode(table) + b":["
        join = partial(_batch_body, head, requests)
        return _batch_reply(await self._attempt("BatchWriteItem", _BATCH_HEADERS, join, size))

    async def _attempt(
        self, operation: str, headers: Mapping[str, str], make_body: Callable[[], bytes], size: int
    ) -> bytes | bytearray:
        credentials = await self._credentials.get()
        if size < _LARGE_BODY:
            body, signed = self._signed(headers, make_body, credentials)
        else:
            loop = asyncio.get_running_loop()
            body, signed = await loop.run_in_executor(self._executor, self._signed, headers, make_body, credentials)
        reply = await self._transport(self._url, {"Host": self._host, **headers, **signed}, body)
        if reply.status == 200:
            return _verified(operation, reply)
        error = _service_error(reply, self._now())
        if isinstance(error, CredentialsError):
            await self._credentials.renew(credentials)
        raise error

    def _signed(
        self, headers: Mapping[str, str], make_body: Callable[[], bytes], credentials: Credentials
    ) -> tuple[bytes, dict[str, str]]:
        """The body, and the headers that sign it."""
        body = make_body()
        return body, self._signer.sign(
            "POST", self._host, self._path, headers=headers, body=body, credentials=credentials, now=self._now()
        )


def _batch_body(head: bytes, requests: Sequence[bytes]) -> bytes:
    return b"".join((head, b",".join(requests), b']},"ReturnConsumedCapacity":"INDEXES"}'))


def _headers(operation: str) -> dict[str, str]:
    return {"X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Type": "application/x-amz-json-1.0"}


_SCAN_HEADERS = _headers("Scan")
_BATCH_HEADERS = _headers("BatchWriteItem")


def _address(endpoint: str) -> tuple[str, str]:
    """The Host header and the path of an endpoint's URL."""
    try:
        split = urlsplit(endpoint)
        port, name = split.port, split.hostname
    except ValueError:
        port = name = None
    if not name or split.scheme not in ("http", "https") or split.query:
        raise UsageError(f"{endpoint!r} is no endpoint.", hint="It must be a URL like http://127.0.0.1:8000.")
    host = f"[{name}]" if ":" in name else name
    default = 443 if split.scheme == "https" else 80
    return (host if port in (None, default) else f"{host}:{port}"), split.path or "/"


def _verified(operation: str, reply: Reply) -> bytes | bytearray:
    # The service always sends the checksum. A reply without one was made or rewritten by something in between.
    expected = reply.headers.get("x-amz-crc32")
    if expected is None:
        raise CorruptReplyError(
            f"The reply to {operation} has no x-amz-crc32 header.",
            hint="Every DynamoDB reply has one: look for a proxy that rewrites replies, or another endpoint.",
        )
    if expected != str(crc32(reply.body)):
        raise CorruptReplyError(f"The reply to {operation} ({len(reply.body)} bytes) does not match its CRC32.")
    return reply.body


def _batch_reply(body: bytes | bytearray) -> BatchReply:
    try:
        decoded = _decode_batch(body)
    except UNREADABLE:
        raise CorruptReplyError("The reply to BatchWriteItem is not what the service sends.") from None
    unprocessed = [bytes(write.put.item) for writes in decoded.unprocessed.values() for write in writes]
    units = [own for entry in decoded.capacity or () if (own := entry.own) is not None]
    return BatchReply(tuple(unprocessed), credible(sum(units)) if units else None)


def credible(units: float | None) -> float | None:
    """What the service says that a request consumed; None where no request can."""
    return units if units is not None and 0 <= units <= MOST_UNITS else None


def _service_error(reply: Reply, now: datetime) -> ServiceError:
    try:
        body = _decode_error(reply.body)
    except UNREADABLE:
        body = _ErrorBody()
    code = (body.type or "").rpartition("#")[2] or f"Http{reply.status}"
    if reply.status == 413:
        code = "RequestEntityTooLarge"
    message = body.message or body.capital_message or f"HTTP status {reply.status}, {len(reply.body)} bytes"
    # Only the first line: what follows it in a signature error is the request itself, session token included.
    sentence = message.partition("\n")[0][:MAX_MESSAGE]
    given = body.reasons or body.capital_reasons or ()
    reasons = [(each.reason, each.resource or "") for each in given if each and each.reason]
    return dynamodb_error(code, reply.status)(
        code,
        sentence,
        status=reply.status,
        reasons=[reason for reason, _ in reasons],
        resources=[resource for _, resource in reasons],
        request_id=reply.headers.get("x-amzn-requestid"),
        hint=_clock_hint(reply, now) if code in _CLOCK_CODES else None,
    )


def _clock_hint(reply: Reply, now: datetime) -> str:
    fallback = "Check the secret access key."
    try:
        theirs = parsedate_to_datetime(reply.headers.get("date", ""))
        skew = now - theirs
    except (TypeError, ValueError, OverflowError):
        return fallback
    if abs(skew) < MAX_SKEW:
        return fallback
    way = "ahead of" if skew > timedelta(0) else "behind"
    return f"This machine's clock is {abs(skew).total_seconds():.0f} s {way} the service's: set it, and try again."
