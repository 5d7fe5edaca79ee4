"""Scan and BatchWriteItem: one attempt per call, with raw JSON in and out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from urllib.parse import urlsplit

import msgspec

from ddbio.errors import CredentialsError, UsageError
from ddbio.options import ScanFilter
from ddbio.wire.replies import BatchReply, batch_reply, service_error, verified
from ddbio.wire.signing import CredentialProvider, Credentials, Signer
from ddbio.wire.transport import Transport

_LARGE_BODY = 1 << 20
"""Bodies from this size on are joined and hashed in a thread, which takes 1 to 2 ms per MB."""


@dataclass(frozen=True, kw_only=True)
class ScanPlan:
    """The parameters that all requests for one segment share."""

    table: str
    segment: int = 0
    total_segments: int = 1
    what: ScanFilter = field(default=ScanFilter(), repr=False)

    def body(self, start_key: bytes | None = None, limit: int | None = None) -> bytes:
        """A Scan request that continues after `start_key` (raw JSON) and evaluates at most `limit` items."""
        limited = b"" if limit is None else b',"Limit":%d' % limit
        started = b"" if start_key is None else b',"ExclusiveStartKey":' + start_key
        return b"".join((self._head, limited, started, b"}"))

    @cached_property
    def _head(self) -> bytes:
        what = self.what
        members = {
            "TableName": self.table,
            "IndexName": what.index,
            "Segment": self.segment,
            "TotalSegments": self.total_segments,
            "ConsistentRead": what.consistent or None,
            "FilterExpression": what.filter_expression,
            "ProjectionExpression": what.projection_expression,
            "ExpressionAttributeNames": what.expression_names or None,
            "ExpressionAttributeValues": what.expression_values or None,
            "ReturnConsumedCapacity": "TOTAL",
        }
        return msgspec.json.encode({name: value for name, value in members.items() if value is not None})[:-1]


class DynamoDB:
    """A client for the two bulk operations; each call is one attempt.

    Both raise `TransportError` (no reply), `CorruptReplyError` (a reply that can't be trusted) or a `ServiceError`.
    When the service rejects the credentials, they are renewed before `CredentialsError` is raised, so that the caller
    can simply retry; if there are no others, `CredentialsUnavailableError` is raised instead. Large bodies are made in
    `executor`.
    """

    def __init__(
        self,
        endpoint: str,
        region: str,
        transport: Transport,
        *,
        credentials: CredentialProvider,
        executor: Executor,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._host, self._path = _address(endpoint)
        self._url = endpoint
        self._transport = transport
        self._credentials = credentials
        self._executor = executor
        self._signer = Signer(region, "dynamodb")
        self._now = now or partial(datetime.now, UTC)
        self._batch_heads: dict[str, bytes] = {}

    async def scan(self, body: bytes) -> bytes | bytearray:
        """Read one page; return the body of the reply, whose CRC32 is verified. `body` comes from `ScanPlan.body`."""
        return await self._attempt("Scan", _SCAN_HEADERS, lambda: body, len(body))

    async def batch_write(self, table: str, requests: Sequence[bytes], size: int) -> BatchReply:
        """Write up to 25 `requests`, each a raw `{"PutRequest":{"Item":{…}}}`, of `size` bytes in all, into `table`."""
        head = self._batch_heads.get(table)
        if head is None:
            head = self._batch_heads[table] = b'{"RequestItems":{' + msgspec.json.encode(table) + b":["
        join = partial(_batch_body, head, requests)
        return batch_reply(await self._attempt("BatchWriteItem", _BATCH_HEADERS, join, size))

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
            return verified(operation, reply)
        error = service_error(reply, self._now())
        if isinstance(error, CredentialsError):
            await self._credentials.renew(credentials)
        raise error

    def _signed(
        self, headers: Mapping[str, str], make_body: Callable[[], bytes], credentials: Credentials
    ) -> tuple[bytes, dict[str, str]]:
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
