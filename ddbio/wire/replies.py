"""Replies of DynamoDB: from an HTTP reply to what it says, or to the error that it stands for."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import msgspec
from isal.isal_zlib import crc32

from ddbio.errors import CorruptReplyError, ServiceError
from ddbio.retry import dynamodb_error
from ddbio.unreadable import UNREADABLE
from ddbio.wire.http1 import Reply

MAX_MESSAGE = 300
"""Messages of the service are truncated to this length, since they may quote keys."""
MAX_SKEW = timedelta(minutes=1)
"""A larger difference of clocks is reported."""

MOST_UNITS = 1e6
"""More than any request can consume: 25 items of 400 KB in a table with 5 local indexes cost 110,000."""
_CLOCK_CODES = {"InvalidSignatureException", "RequestTimeTooSkewed", "RequestExpired"}


class BatchReply(NamedTuple):
    """The items that a BatchWriteItem did not write (raw JSON), and the units that it consumed, if they are credible.

    The units are those of the table and its local indexes; global indexes have a capacity of their own.
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


def verified(operation: str, reply: Reply) -> bytes | bytearray:
    """The body of a reply whose checksum matches; raises CorruptReplyError."""
    # The service always sends the checksum. A reply without it was made or rewritten by an intermediary.
    expected = reply.headers.get("x-amz-crc32")
    if expected is None:
        raise CorruptReplyError(
            f"The reply to {operation} has no x-amz-crc32 header.",
            hint="Every DynamoDB reply has one: look for a proxy that rewrites replies, or another endpoint.",
        )
    if expected != str(crc32(reply.body)):
        raise CorruptReplyError(f"The reply to {operation} ({len(reply.body)} bytes) does not match its CRC32.")
    return reply.body


def batch_reply(body: bytes | bytearray) -> BatchReply:
    """Parse the body of a reply to BatchWriteItem; raises CorruptReplyError."""
    try:
        decoded = _decode_batch(body)
    except UNREADABLE:
        raise CorruptReplyError("The reply to BatchWriteItem is not what the service sends.") from None
    unprocessed = [bytes(write.put.item) for writes in decoded.unprocessed.values() for write in writes]
    units = [own for entry in decoded.capacity or () if (own := entry.own) is not None]
    return BatchReply(tuple(unprocessed), credible(sum(units)) if units else None)


def credible(units: float | None) -> float | None:
    """The units that a request consumed according to the service; None where no request can consume that many."""
    return units if units is not None and 0 <= units <= MOST_UNITS else None


def service_error(reply: Reply, now: datetime) -> ServiceError:
    """The error that a reply with a status other than 200 stands for."""
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
