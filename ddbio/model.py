"""What all packages share: pages, records, keys and capacity units."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple

OutputFormat = Literal["jsonl", "dynamodb-json"]
InputFormat = Literal["auto", "jsonl", "dynamodb-json"]
Compression = Literal["none", "gzip", "zstd"]
KeyType = Literal["S", "N", "B"]

MAX_ITEM_BYTES = 409_600
"""Maximum size of an item, including attribute names (Developer Guide, "Constraints")."""
READ_UNIT_BYTES = 4_096
WRITE_UNIT_BYTES = 1_024
"""Bytes of one item that a unit covers (Developer Guide, "Read and write operations")."""
MAX_NESTING = 32
"""Maximum nesting of lists and maps in one attribute (Developer Guide, "Constraints")."""
MAX_HASH_BYTES = 2_048
MAX_RANGE_BYTES = 1_024
"""Maximum length of partition and sort key values (Developer Guide, "Constraints")."""
MAX_DIGITS = 38
"""Maximum number of significant digits; the magnitude of a number is between 1E-130 and 9.99…E+125."""


class KeyAttribute(NamedTuple):
    """One key attribute of the table, or of one of its indexes.

    `limit` is the maximum length of its value in bytes (2,048 or 1,024). A table's key is `required` in every item. An
    index's key may be absent; if present, it must have its type, not be empty and not exceed its limit.
    """

    name: str
    type: KeyType
    limit: int
    required: bool = True


class Page(NamedTuple):
    """A transcoded Scan reply.

    `records` holds one item per line, each line ended by a newline; `items` is the number of lines written, counted
    while writing and independent of `count`, the reply's own `Count`; `scanned` its `ScannedCount` (`count` if
    absent); `last_key` the `LastEvaluatedKey` as compact JSON bytes, or None at the end of the segment; `capacity` the
    consumed units, or None if the service did not say; `types` maps an attribute's path to a mask of the type bits
    of `ddbio.hints` seen there (plain `jsonl` only: empty for `dynamodb-json`); `fingerprint` the sum of the
    items' fingerprints (`ddbio.codec.fingerprint`), 0 if it was not requested.
    """

    records: bytes
    items: int
    count: int  # type: ignore[assignment]  # hides tuple.count
    scanned: int
    last_key: bytes | None
    capacity: float | None
    types: dict[str, int]
    fingerprint: int = 0


class Put(NamedTuple):
    """A record that can be written.

    `request` is its `{"PutRequest":{"Item":{…}}}`; `key` its primary key in canonical form (equal bytes if and only if
    the service sees the same key); `size` its item size in bytes by the service's rules.
    """

    request: bytes
    key: bytes
    size: int


class Reason(StrEnum):
    """Why a record was rejected: stable codes, written to the rejects file."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    INVALID_UTF8 = "invalid_utf8"
    LONE_SURROGATE = "lone_surrogate"
    DUPLICATE_MEMBER = "duplicate_member"
    KEY_MISSING = "key_missing"
    KEY_EMPTY = "key_empty"
    KEY_TOO_LONG = "key_too_long"
    KEY_WRONG_TYPE = "key_wrong_type"
    ITEM_TOO_LARGE = "item_too_large"
    NESTING_TOO_DEEP = "nesting_too_deep"
    NUMBER_INVALID = "number_invalid"
    NUMBER_TOO_PRECISE = "number_too_precise"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    SET_EMPTY = "set_empty"
    SET_DUPLICATE = "set_duplicate"
    BINARY_INVALID = "binary_invalid"
    TYPE_INVALID = "type_invalid"
    RECORD_TOO_LONG = "record_too_long"
    RAW_MISSING = "raw_missing"
    REFUSED_BY_SERVICE = "refused_by_service"


class Refused(NamedTuple):
    """A record that can't be written: the reason, the position in the record, and a message without item contents."""

    reason: Reason
    position: int
    message: str


class MalformedPageError(ValueError):
    """An invalid Scan reply: not JSON, without `Count` or `Items`, or with an unknown type."""
