"""The tables that the counting server holds: what they are, and how a Scan walks them.

A table is `generated` (a function of seed and index, in index order), `canned` (the same, but every page is the same
prepared bytes, so that a table of any size costs nothing to serve; its keys repeat) or `stored` (what BatchWriteItem
put there, in the order of the keys' hashes).
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from tests.kit.servers.items import Item, Shape, index_of, item_size, make_item, mean_size

PAGE_BYTES = 1024 * 1024

Mode = Literal["generated", "canned", "stored"]
Key = dict[str, dict[str, str]]


class StartKeyError(Exception):
    """The ExclusiveStartKey is not one of this segment's."""


class ScanPage(NamedTuple):
    """One page: `head` is the reply as far as the end of its `Items`, `crc` the CRC32 of `head`.

    `size` is the sum of the items' sizes in bytes; `last_key` is None at the end of the segment.
    """

    head: bytes
    crc: int
    items: int
    size: int
    last_key: Key | None


class Rows(Protocol):
    """The items of one table, as a Scan sees them."""

    def __len__(self) -> int:
        """How many items there are."""

    @property
    def size(self) -> int:
        """The sum of their sizes in bytes (an estimate, unless the rows are stored)."""

    def page(self, segment: int, segments: int, start: Key | None, limit: int) -> ScanPage:
        """The page after `start`; it ends with the item that crosses 1 MB. Raises StartKeyError."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table to serve. Capacity is in units per second, on demand where it is None; `warm` likewise (read, write).

    `items` is the number of items that there are at the start; `key` lists (name, type), hash key first, and may
    differ from `pk` (S) and `sk` (N) only in a stored table that starts empty.
    """

    name: str = "T"
    mode: Mode = "generated"
    items: int = 0
    shape: Shape = "small"
    seed: int = 0
    key: tuple[tuple[str, str], ...] = (("pk", "S"), ("sk", "N"))
    capacity: tuple[int, int] | None = None
    warm: tuple[int, int] | None = None

    @cached_property
    def rows(self) -> Rows:
        """The items, made at first use."""
        if self.mode == "generated":
            return GeneratedRows(self.items, self.shape, self.seed)
        if self.mode == "canned":
            return CannedRows(self.items, self.shape, self.seed)
        return StoredRows(self.key, (make_item(self.shape, self.seed, index) for index in range(self.items)))


class GeneratedRows:
    """Items made when they are asked for; segments are contiguous ranges of the index."""

    def __init__(self, items: int, shape: Shape, seed: int) -> None:
        self._items = items
        self._shape: Shape = shape
        self._seed = seed

    def __len__(self) -> int:
        return self._items

    @property
    def size(self) -> int:
        return round(self._items * mean_size(self._shape, self._seed))

    def page(self, segment: int, segments: int, start: Key | None, limit: int) -> ScanPage:
        first, end = _position(self._items, segment, segments, start)
        encoded: list[bytes] = []
        size = 0
        while first + len(encoded) < end and len(encoded) < limit and size < PAGE_BYTES:
            item = make_item(self._shape, self._seed, first + len(encoded))
            encoded.append(msgspec.json.encode(item))
            size += item_size(item)
        head = _head(encoded)
        whole = first + len(encoded) == end and len(encoded) < limit and size < PAGE_BYTES
        last_key = None if whole else _key_at(first + len(encoded) - 1)
        return ScanPage(head, zlib.crc32(head), len(encoded), size, last_key)


class CannedRows:
    """The first page of generated items, served again and again; only LastEvaluatedKey tells where it stands."""

    def __init__(self, items: int, shape: Shape, seed: int) -> None:
        self._items = items
        sample: list[Item] = []
        sizes: list[int] = []
        while sum(sizes[-1:]) < PAGE_BYTES:
            sample.append(make_item(shape, seed, len(sample)))
            sizes.append(sum(sizes[-1:]) + item_size(sample[-1]))
        self._encoded = [msgspec.json.encode(item) for item in sample]
        self._sizes = [0, *sizes]
        self._heads: dict[int, tuple[bytes, int]] = {}

    def __len__(self) -> int:
        return self._items

    @property
    def size(self) -> int:
        return round(self._items * self._sizes[-1] / len(self._encoded))

    def page(self, segment: int, segments: int, start: Key | None, limit: int) -> ScanPage:
        first, end = _position(self._items, segment, segments, start)
        cut = min(limit, len(self._encoded))
        count = min(cut, end - first)
        head, crc = self._head(count)
        last_key = None if count < cut else _key_at(first + count - 1)
        return ScanPage(head, crc, count, self._sizes[count], last_key)

    def _head(self, count: int) -> tuple[bytes, int]:
        if count not in self._heads:
            head = _head(self._encoded[:count])
            self._heads[count] = head, zlib.crc32(head)
        return self._heads[count]


class StoredRows:
    """Items kept by key. Segments are ranges of the partition key's hash; a partition is in sort key order."""

    def __init__(self, key: tuple[tuple[str, str], ...], items: Iterable[Item]) -> None:
        self.key = key
        self._rows: dict[_Place, tuple[bytes, int]] = {}
        self._order: list[_Place] = []
        self.size = 0
        for item in items:
            self.put(item, item_size(item))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def items(self) -> list[Item]:
        """Every item, in scan order."""
        return [msgspec.json.decode(self._rows[place][0]) for place in self._sorted()]

    def put(self, item: Mapping[str, Any], size: int) -> int:
        """Keep `item` and return the size of the one that it replaces, or 0."""
        place = self._place(item)
        _, old = self._rows.get(place, (b"", 0))
        self._rows[place] = msgspec.json.encode(item), size
        self.size += size - old
        return old

    def page(self, segment: int, segments: int, start: Key | None, limit: int) -> ScanPage:
        low, high = (((number << 64) + segments - 1) // segments for number in (segment, segment + 1))
        order = self._sorted()
        first, end = bisect_left(order, (low,)), bisect_left(order, (high,))
        if start is not None:
            place = self._place(start)
            if not low <= place[0] < high:
                raise StartKeyError
            first = bisect_right(order, place)
        rows = [self._rows[place] for place in order[first : min(end, first + limit)]]
        before = accumulate((size for _, size in rows), initial=0)
        rows = [row for row, offset in zip(rows, before, strict=False) if offset < PAGE_BYTES]
        size = sum(size for _, size in rows)
        whole = first + len(rows) == end and len(rows) < limit and size < PAGE_BYTES
        head = _head([encoded for encoded, _ in rows])
        last_key = None if whole else self._key_of(rows[-1][0])
        return ScanPage(head, zlib.crc32(head), len(rows), size, last_key)

    def _sorted(self) -> list[_Place]:
        if len(self._order) != len(self._rows):
            self._order = sorted(self._rows)
        return self._order

    def _place(self, item: Mapping[str, Any]) -> _Place:
        values = key_values(self.key, item)
        # Equal numbers have equal hashes however they are spelt, in every process.
        text = values[0] if isinstance(values[0], str) else str(hash(values[0]))
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()), *values

    def _key_of(self, encoded: bytes) -> Key:
        item = msgspec.json.decode(encoded)
        return {name: item[name] for name, _ in self.key}


_Place = tuple[Any, ...]


def key_values(key: tuple[tuple[str, str], ...], item: Mapping[str, Any]) -> tuple[str | Decimal, ...]:
    """The values of the key attributes, equal if and only if the service sees the same key.

    Raises KeyError where one is missing or of another type, `decimal.InvalidOperation` where a number is none.
    """
    return tuple(Decimal(item[name][kind]) if kind == "N" else item[name][kind] for name, kind in key)


def _position(items: int, segment: int, segments: int, start: Key | None) -> tuple[int, int]:
    """The index of the next item to scan, and the end of the segment."""
    first, end = items * segment // segments, items * (segment + 1) // segments
    if start is None:
        return first, end
    try:
        index = index_of(start)
    except (KeyError, ValueError):
        raise StartKeyError from None
    if not first <= index < end:
        raise StartKeyError
    return index + 1, end


def _head(encoded: list[bytes]) -> bytes:
    return b'{"Items":[' + b",".join(encoded) + b"]"


def _key_at(index: int) -> Key:
    item = make_item("small", 0, index)
    return {name: item[name] for name in ("pk", "sk")}
