"""DynamoDB behind the proxy: capacity, true ConsumedCapacity, partial batches, and its faults."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import InvalidOperation
from random import Random
from typing import Any, NamedTuple

import msgspec

from tests.kit.faults.account import FaultAccount, PageId, Work, put_id
from tests.kit.faults.capacity import Capacity
from tests.kit.faults.schedule import Decision
from tests.kit.faults.upstream import Upstream
from tests.kit.servers.http import Reply, Request
from tests.kit.servers.items import item_size
from tests.kit.servers.replies import (
    RESET,
    corrupt_body,
    cut_body,
    cut_connection,
    error_reply,
    internal_error,
    throttled,
    wrong_crc,
)
from tests.kit.servers.units import asks_for_units, consumed, read_units, write_units

DELETE_UNITS = 1
UNREADABLE = (msgspec.DecodeError, InvalidOperation, LookupError, TypeError, ValueError, AttributeError)
"""What a request that makes no sense raises; it is the upstream that has to refuse it."""
PROJECTED = {"ProjectionExpression", "AttributesToGet", "Select"}


def expired() -> Reply:
    """HTTP 400 for a worn session token."""
    return error_reply("ExpiredTokenException", "The security token included in the request is expired")


def _unrecognized() -> Reply:
    return error_reply("UnrecognizedClientException", "The security token included in the request is invalid.")


def _throttling() -> Reply:
    reason = {"reason": "TableReadMaxOnDemandThroughputExceeded", "resource": ""}
    return error_reply("ThrottlingException", "Throughput exceeds the current capacity.", throttlingReasons=[reason])


def _request_limit() -> Reply:
    return error_reply("RequestLimitExceeded", "Throughput exceeds the current throughput limit for your account.")


def _unavailable() -> Reply:
    return Reply((b"<html><body><h1>503 Service Unavailable</h1></body></html>",), 503, content_type="text/html")


REFUSALS: Mapping[str, Callable[[], Reply]] = {
    "reset_before": lambda: RESET,
    "error_503": _unavailable,
    "throttling": _throttling,
    "provisioned_throughput": throttled,
    "request_limit": _request_limit,
    "expired_token": expired,
    "unrecognized_client": _unrecognized,
}
"""Faults that keep the request from the upstream."""

SPOILS: Mapping[str, Callable[[Reply], Reply]] = {
    "reset_after": lambda _: RESET,
    "error_500": lambda _: internal_error(),
    "cut": cut_connection,
    "truncated": cut_body,
    "corrupted": corrupt_body,
    "wrong_crc": wrong_crc,
}
"""Faults that befall the reply to work that was done."""


class Outcome(NamedTuple):
    """A reply, and what was done for it, if anything."""

    reply: Reply
    work: Work | None = None


class Write(NamedTuple):
    """One request of a batch."""

    table: str
    request: dict[str, Any]
    units: int


class Key(NamedTuple):
    """A table's partition key and ARN."""

    name: str
    arn: str


class DynamoDB:
    """Serves the requests of DynamoDB clients, within `capacity` where it is given.

    Scan and BatchWriteItem cost capacity and are in the account; their ConsumedCapacity, where it is asked for, is
    computed anew from the items' sizes, not taken from the upstream. Two things a proxy can't know: a put counts by its
    own size, though it replace a larger item, and a page that a filter or projection has thinned out counts what the
    upstream says, if that is more than what was returned.
    """

    def __init__(self, upstream: Upstream, account: Callable[[], FaultAccount], capacity: Capacity | None) -> None:
        self._upstream = upstream
        self._account = account
        self._capacity = capacity
        self._keys: dict[str, Key] = {}

    def applies(self, fault: str, request: Request) -> bool:
        """Whether the fault can befall this very request: there must be two puts for one to be left."""
        return fault != "unprocessed" or len(_writes(request)) > 1

    async def answer(self, request: Request, operation: str, decision: Decision) -> Reply:
        """The reply, as the decision has it. Raises UpstreamError."""
        fault = decision.fault or ""
        if fault in REFUSALS:
            return REFUSALS[fault]()
        if fault == "error_500" and decision.point < 0.5:
            return internal_error()
        reply, work = await self._serve(request, operation, decision)
        spoilt = fault in SPOILS
        if work is not None:
            self._account().note(work, told=not spoilt)
        return SPOILS[fault](reply) if spoilt else reply

    async def _serve(self, request: Request, operation: str, decision: Decision) -> Outcome:
        if operation == "Scan" and _is_scan(request):
            return await self._scan(request)
        if operation == "BatchWriteItem" and (writes := _writes(request)):
            left = _some_of(writes, decision.point) if decision.fault == "unprocessed" else []
            return await self._write(request, writes, left)
        return Outcome(await self._upstream.forward(request))

    async def _scan(self, request: Request) -> Outcome:
        settle: Callable[[float], None] = _no_settling
        payload = request.payload
        if self._capacity is not None:
            index, segment, segments = (payload.get(name) for name in ("IndexName", "Segment", "TotalSegments"))
            permit = self._capacity.admit_read(payload["TableName"], index, segment or 0, segments or 1)
            if isinstance(permit, str):
                return await self._throttled(request, payload["TableName"], permit)
            settle = permit
        units = 0.0
        try:
            reply = await self._upstream.forward(request)
            if reply.status != 200:
                return Outcome(reply)
            page = msgspec.json.decode(reply.body)
            units = _page_units(payload, page)
        finally:
            settle(units)
        work = Work("read", units, page["Count"], page=PageId.of(payload))
        return Outcome(_with_units(reply, payload, consumed(payload, payload["TableName"], units)), work)

    async def _write(self, request: Request, writes: list[Write], left: list[Write]) -> Outcome:
        kept = [write for write in writes if write not in left]
        reason = None
        if self._capacity is not None:
            kept, refused, reason = await self._admitted(self._capacity, request, kept)
            left = left + refused
        if reason is not None and not kept:
            return await self._throttled(request, writes[0].table, reason)
        payload = request.payload
        if left:
            request = request.with_payload({**payload, "RequestItems": _by_table(kept)})
        reply = await self._upstream.forward(request)
        if reply.status != 200:
            return Outcome(reply)
        return _batch_outcome(payload, reply, kept, left)

    async def _admitted(
        self, capacity: Capacity, request: Request, writes: list[Write]
    ) -> tuple[list[Write], list[Write], str | None]:
        """The puts that there is capacity for, the others, and the reason for the first of these."""
        kept: list[Write] = []
        refused: list[Write] = []
        reasons: list[str] = []
        for write in writes:
            key = await self._key(request, write.table)
            reason = key and capacity.admit_write(write.table, _value(write, key.name), write.units)
            (refused if reason else kept).append(write)
            reasons += [reason] if reason else []
        if kept:
            self._account().throttled.update(reasons)
        return kept, refused, reasons[0] if reasons else None

    async def _throttled(self, request: Request, table: str, reason: str) -> Outcome:
        self._account().throttled[reason] += 1
        key = await self._key(request, table)
        return Outcome(throttled(reason, key.arn if key else ""))

    async def _key(self, request: Request, table: str) -> Key | None:
        """The table's key, asked for with the client's own header; None where there is no such table."""
        if table not in self._keys:
            target = tuple(
                (name, value.replace(request.operation, "DescribeTable"))
                if name.lower() == "x-amz-target"
                else (name, value)
                for name, value in request.fields
            )
            question = replace(request, fields=target).with_payload({"TableName": table})
            reply = await self._upstream.forward(question)
            if reply.status != 200:
                return None
            description = reply.payload["Table"]
            self._keys[table] = Key(description["KeySchema"][0]["AttributeName"], description["TableArn"])
        return self._keys[table]


def _is_scan(request: Request) -> bool:
    """Whether it says enough to be counted; if not, the upstream will refuse it."""
    try:
        return isinstance(request.payload["TableName"], str)
    except UNREADABLE:
        return False


def _writes(request: Request) -> list[Write]:
    """The writes of a batch; none where it makes no sense."""
    try:
        tables = request.payload["RequestItems"].items()
        return [Write(table, write, _units(write)) for table, writes in tables for write in writes]
    except UNREADABLE:
        return []


def _units(write: dict[str, Any]) -> int:
    if "PutRequest" not in write:
        return DELETE_UNITS
    return write_units(item_size(write["PutRequest"]["Item"]))


def _value(write: Write, key: str) -> Any:
    """The value of the partition key; None where there is none, which the upstream will refuse."""
    ((_, content),) = write.request.items()
    return content.get("Item", content.get("Key", {})).get(key)


def _some_of(writes: list[Write], point: float) -> list[Write]:
    """Some of them, at least one and never all."""
    rng = Random(point)
    return rng.sample(writes, rng.randint(1, len(writes) - 1))


def _by_table(writes: list[Write]) -> dict[str, list[Any]]:
    tables: dict[str, list[Any]] = {}
    for write in writes:
        tables.setdefault(write.table, []).append(write.request)
    return tables


def _batch_outcome(payload: Mapping[str, Any], reply: Reply, kept: list[Write], left: list[Write]) -> Outcome:
    """The reply to a batch of which `left` was not forwarded."""
    returned = msgspec.json.decode(reply.body)["UnprocessedItems"]
    refused = [write for write in kept if write.request in returned.get(write.table, ())]
    taken = [write for write in kept if write not in refused]
    left = left + refused
    units: Counter[str] = Counter()
    for write in taken:
        units[write.table] += write.units
    if left:
        reply = _with_member(reply, "UnprocessedItems", _by_table(left))
    capacity = (
        [consumed(payload, table, float(spent)) for table, spent in units.items()] if asks_for_units(payload) else []
    )
    work = Work("write", float(units.total()), len(taken), puts=tuple(put_id([w.table, w.request]) for w in taken))
    return Outcome(_with_units(reply, payload, capacity), work)


def _page_units(payload: Mapping[str, Any], page: Mapping[str, Any]) -> float:
    consistent = payload.get("ConsistentRead", False)
    units = read_units(sum(item_size(item) for item in page.get("Items", ())), consistent)
    thinned = page["Count"] != page.get("ScannedCount", page["Count"]) or PROJECTED & payload.keys()
    claimed = page.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)
    return max(units, claimed) if thinned else units


def _with_units(reply: Reply, payload: Mapping[str, Any], capacity: object) -> Reply:
    return _with_member(reply, "ConsumedCapacity", capacity) if asks_for_units(payload) else reply


def _with_member(reply: Reply, name: str, value: object) -> Reply:
    """The reply with one member of its body changed, everything else byte for byte what it was."""
    members = msgspec.json.decode(reply.body, type=dict[str, msgspec.Raw])
    members[name] = msgspec.Raw(msgspec.json.encode(value))
    body = msgspec.json.encode(members)
    return replace(reply, parts=(body,), crc=zlib.crc32(body))


def _no_settling(units: float) -> None:
    """There is no capacity to settle with."""
