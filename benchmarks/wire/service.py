"""The three operations on canned tables: a request's body in, the pieces of the reply's body out."""

from __future__ import annotations

import re
import zlib
from functools import cache, lru_cache
from typing import NamedTuple

import msgspec

from benchmarks.wire.tables import NoSuchTableError, Part, table_of

EMPTY = b'{"ConsumedCapacity":{"TableName":"T","CapacityUnits":0.5},"Count":0,"Items":[]'
_TABLE = re.compile(rb'"RequestItems": ?\{"([^"]+)"')


class Answer(NamedTuple):
    """A reply: its status, the pieces of its body, the CRC32 of all of them."""

    status: int
    parts: tuple[bytes, ...]
    crc: int


class _Key(msgspec.Struct):
    pk: dict[str, str]


class _Scan(msgspec.Struct):
    table: str = msgspec.field(name="TableName")
    segment: int = msgspec.field(name="Segment", default=0)
    segments: int = msgspec.field(name="TotalSegments", default=1)
    start: _Key | None = msgspec.field(name="ExclusiveStartKey", default=None)


class _Describe(msgspec.Struct):
    table: str = msgspec.field(name="TableName")


_decode_scan = msgspec.json.Decoder(_Scan).decode
_decode_describe = msgspec.json.Decoder(_Describe).decode


class Service:
    """Answers requests and counts what it served and took. A Scan's Limit is not heeded, and nothing is stored."""

    def __init__(self) -> None:
        self.pages = 0
        self.items = 0
        self.puts = 0

    def counts(self) -> dict[str, int]:
        """How many pages and items were served, and how many puts taken, since the start."""
        return {"pages": self.pages, "items": self.items, "puts": self.puts}

    def answer(self, operation: bytes, body: bytes) -> Answer:
        """The reply to a request."""
        try:
            if operation == b"Scan":
                return self._scan(body)
            if operation == b"BatchWriteItem":
                return self._batch_write(body)
            if operation == b"DescribeTable":
                return _json(200, {"Table": table_of(_decode_describe(body).table).description()})
        except NoSuchTableError:
            return _error("ResourceNotFoundException", "Tables are named <shape>-<pages>, for example small-1000")
        except msgspec.DecodeError:
            return _error("SerializationException", "")
        return _error("UnknownOperationException", "")

    def _scan(self, body: bytes) -> Answer:
        request = _decode_scan(body)
        table = table_of(request.table)
        first, end = table.span(request.segment, request.segments)
        number = first if request.start is None else int(request.start.pk["S"]) + 1
        if number >= end:
            head, items = _empty_head(), 0
        else:
            head, items = table.page.head, table.page.items
        self.pages += 1
        self.items += items
        tail = _tail(number if number + 1 < end else None, items)
        return Answer(200, (head.content, tail), zlib.crc32(tail, head.crc))

    def _batch_write(self, body: bytes) -> Answer:
        puts = body.count(b'"PutRequest"')
        self.puts += puts
        found = _TABLE.search(body, 0, 400)
        return _written(found[1] if found else b"T", max(puts, len(body) // 1024))


@cache
def _empty_head() -> Part:
    return Part(EMPTY, zlib.crc32(EMPTY))


def _tail(number: int | None, items: int) -> bytes:
    """The end of a page; `number` is its own where others follow."""
    key = b"" if number is None else b',"LastEvaluatedKey":{"pk":{"S":"%012d"},"sk":{"N":"0"}}' % number
    return b'%b,"ScannedCount":%d}' % (key, items)


@lru_cache(maxsize=4096)
def _written(table: bytes, units: int) -> Answer:
    """The units are an estimate from the length of the request, no less than one a put."""
    capacity = b'[{"TableName":"%b","CapacityUnits":%d.0}]' % (table, units)
    body = b'{"ConsumedCapacity":%b,"UnprocessedItems":{}}' % capacity
    return Answer(200, (body,), zlib.crc32(body))


def _json(status: int, payload: object) -> Answer:
    body = msgspec.json.encode(payload)
    return Answer(status, (body,), zlib.crc32(body))


def _error(code: str, message: str) -> Answer:
    return _json(400, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message})
