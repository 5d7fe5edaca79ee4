"""The tables of the wire server: `<shape>-<pages>` names them, and every page of one is the same prepared bytes."""

from __future__ import annotations

import zlib
from functools import cache
from typing import Any, NamedTuple, cast, get_args

import msgspec

from tests.kit.servers.items import Shape, item_size, make_item
from tests.kit.servers.units import read_units

PAGE_BYTES = 1024 * 1024
ACCOUNT = "123456789012"
CREATED = 1_700_000_000.0

Span = tuple[int, int]


class NoSuchTableError(Exception):
    """The name is not that of a table."""


class Part(NamedTuple):
    """A piece of a body and the CRC32 of the body so far."""

    content: bytes
    crc: int


class Page(NamedTuple):
    """A page of one shape: its reply as far as the end of `Items`, how many items it has, their size in bytes."""

    head: Part
    items: int
    size: int


class Table(NamedTuple):
    """A table of so many pages."""

    name: str
    page: Page
    pages: int

    def span(self, segment: int, segments: int) -> Span:
        """The numbers of the first page of a segment, and of the first behind it."""
        return self.pages * segment // segments, self.pages * (segment + 1) // segments

    def description(self) -> dict[str, Any]:
        """What DescribeTable tells."""
        names = (("pk", "S", "HASH"), ("sk", "N", "RANGE"))
        return {
            "TableName": self.name,
            "TableArn": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{self.name}",
            "TableId": "00000000-0000-4000-8000-000000000000",
            "TableStatus": "ACTIVE",
            "CreationDateTime": CREATED,
            "ItemCount": self.pages * self.page.items,
            "TableSizeBytes": self.pages * self.page.size,
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind, _ in names],
            "KeySchema": [{"AttributeName": name, "KeyType": role} for name, _, role in names],
            "ProvisionedThroughput": {"NumberOfDecreasesToday": 0, "ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        }


@cache
def table_of(name: str) -> Table:
    """The table of this name. Raises NoSuchTableError."""
    shape, _, pages = name.partition("-")
    if shape not in get_args(Shape) or not pages.isdecimal():
        raise NoSuchTableError
    return Table(name, page_of(cast(Shape, shape)), int(pages))


@cache
def page_of(shape: Shape) -> Page:
    """The page of a shape: 1 MB of items by the service's rules, the last one crossing the line."""
    encoded: list[bytes] = []
    size = 0
    while size < PAGE_BYTES:
        item = make_item(shape, 0, len(encoded))
        encoded.append(msgspec.json.encode(item))
        size += item_size(item)
    units = msgspec.json.encode({"TableName": "T", "CapacityUnits": read_units(size, consistent=False)})
    count = len(encoded)
    head = b'{"ConsumedCapacity":%b,"Count":%d,"Items":[%b]' % (units, count, b",".join(encoded))
    return Page(Part(head, zlib.crc32(head)), count, size)
