"""Items as an audit knows them: a key and a fingerprint, read out of a record."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from ddbio.codec import RecordEncoder, item_fingerprint
from ddbio.hints import HintType
from ddbio.model import MAX_HASH_BYTES, InputFormat, KeyAttribute, KeyType, Refused

_LEAD = len(b'{"PutRequest":{"Item":')
_TRAIL = len(b"}}")
_PLAIN_DIGITS = 40
"""Numbers longer than this are shown with an exponent."""


class SeenItem(NamedTuple):
    """One item: its primary key in canonical form, and its fingerprint."""

    key: bytes
    fingerprint: int


class ItemReader:
    """Reads the records of one format; `keys` are names and types, `complete` says that every item has them all."""

    def __init__(
        self, keys: Sequence[tuple[str, KeyType]], fmt: InputFormat, hints: Mapping[str, HintType], *, complete: bool
    ) -> None:
        attributes = [KeyAttribute(name, kind, MAX_HASH_BYTES, required=complete) for name, kind in keys]
        self._encoder = RecordEncoder(attributes, fmt, hints)

    def read(self, record: bytes) -> SeenItem | Refused:
        """The item that a record holds, or why it holds none."""
        put = self._encoder.encode(record)
        if isinstance(put, Refused):
            return put
        return SeenItem(put.key, item_fingerprint(put.request[_LEAD:-_TRAIL]))


def key_json(key: bytes, attributes: Sequence[tuple[str, KeyType]]) -> dict[str, dict[str, str]]:
    """A canonical key as DynamoDB JSON."""
    parts = zip(attributes, _parts(key), strict=True)
    return {name: {kind: _text(kind, part)} for (name, kind), part in parts}


def _parts(key: bytes) -> Iterator[bytes]:
    while key:
        end = 4 + int.from_bytes(key[:4], "big")
        yield key[4:end]
        key = key[end:]


def _text(kind: KeyType, part: bytes) -> str:
    match kind:
        case "S":
            return part.decode()
        case "B":
            return base64.b64encode(part).decode()
        case "N":
            return _number(part)


def _number(canonical: bytes) -> str:
    """`15e1`, which is how the codec writes 15, as people do."""
    digits, _, exponent = canonical.decode().partition("e")
    value = Decimal(f"{digits}E{int(exponent or 0) - len(digits.lstrip('-')) + 1}")
    plain = f"{value:f}"
    return plain if len(plain) <= _PLAIN_DIGITS else str(value)
