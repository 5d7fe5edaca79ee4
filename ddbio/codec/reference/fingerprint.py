"""The fingerprint of an item, as `ddbio.codec.fingerprint` specifies it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from xxhash import xxh3_64_intdigest

from ddbio.codec.fingerprint import MASK, SEEDS
from ddbio.codec.numbers import Number, read_number

_Members = tuple[tuple[str, Any], ...]
"""A JSON object with all of its members, repeated ones included."""
_parse = json.JSONDecoder(object_pairs_hook=tuple).decode


def item_fingerprint(item: bytes) -> int:
    """The fingerprint of one item, given as valid DynamoDB JSON without a wrapper: `{"id":{"S":"a"}}`."""
    return _hash("M", _parse(item.decode()), 0)


def number(text: bytes) -> bytes:
    value = read_number(text)
    return value.canonical if isinstance(value, Number) else text


def _value(value: _Members, place: int) -> int:
    ((kind, content),) = value
    return _hash(kind, content, place)


def _hash(kind: str, content: Any, place: int) -> int:
    return xxh3_64_intdigest(_content(kind, content), (place + SEEDS[kind]) & MASK)


def _content(kind: str, content: Any) -> bytes:
    match kind:
        case "S" | "N" | "B":
            return _text(kind, content)
        case "BOOL":
            return b"true" if content else b"false"
        case "NULL":
            return b""
        case "M":
            return _sum(_value(value, xxh3_64_intdigest(_text("S", name))) for name, value in content)
        case "L":
            return _chain(content)
        case _:
            return _sum(xxh3_64_intdigest(_text(kind[0], element)) for element in content)


def _text(kind: str, text: str) -> bytes:
    content = text.encode(errors="replace")
    return number(content) if kind == "N" else content


def _sum(hashes: Iterable[int]) -> bytes:
    return (sum(hashes) & MASK).to_bytes(8, "little")


def _chain(elements: Iterable[_Members]) -> bytes:
    place = 0
    for element in elements:
        place = _value(element, place)
    return place.to_bytes(8, "little")
