"""A fingerprint of items: equal for equal items, and added up for a page, a file or a table.

It is the same however an item is spelled: whatever the order of its attributes, of a map's members and of a set's
elements, the escapes in its strings, the white space, and the notation of its numbers. It tells a set from a list, the
number 1 from the string "1", and everything else that the service tells apart. It finds accidents; it is not meant to
withstand somebody who forges items on purpose.

**How to compute it.** All arithmetic is modulo 2^64. X(bytes, seed) is XXH3 with 64 bits as its specification says;
le(n) are the 8 bytes of n, the least significant first; strings and names are taken as UTF-8, with every escape decoded
(half of a surrogate pair, which no item of the service holds, counts as `?`). The hash of a value at a place p is

    H(value, p) = X(content, p + tag * 0x9E3779B97F4A7C15)

(the factor, 2^64 divided by the golden ratio, makes seeds differ in all of their bits: where they differ in a few only,
XXH3 of short contents is the same for contents that differ in those).

| type | tag | content |
|---|---|---|
| S | 1 | the string |
| N | 2 | the number in the form of `number` below |
| B | 3 | the value in base64 (RFC 4648, section 4, padded), as JSON holds it |
| BOOL | 4 | `true` or `false` |
| NULL | 5 | nothing |
| M | 6 | le(the sum over all members of H(member's value, X(member's name, 0))) |
| L | 7 | le(c), where c begins with 0 and becomes H(element, c) with each element in turn |
| SS | 8 | le(the sum over all elements of X(the string, 0)) |
| NS | 9 | le(the sum over all elements of X(the number as in N, 0)) |
| BS | 10 | le(the sum over all elements of X(the base64 text, 0)) |

The fingerprint of an item is H(the map of its attributes, 0); that of a page or file is the sum over its items.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from xxhash import xxh3_64_intdigest

from ddbio.codec.reference.numbers import Number, read_number

MASK = 2**64 - 1
SEEDS = {
    kind: tag * 0x9E3779B97F4A7C15 & MASK
    for tag, kind in enumerate(("S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"), start=1)
}
"""What the type of a value adds to its place."""

_Members = tuple[tuple[str, Any], ...]
"""An object of JSON with all of its members, also those that come twice."""
_parse = json.JSONDecoder(object_pairs_hook=tuple).decode


def item_fingerprint(item: bytes) -> int:
    """The fingerprint of one item, given as valid DynamoDB JSON without a wrapper: `{"id":{"S":"a"}}`."""
    return _hash("M", _parse(item.decode()), 0)


def number(text: bytes) -> bytes:
    """A number's value as `-`, its digits without zeros at either end, `e`, and the power of ten of the first of them:
    `-1.50` is `-15e0`. Zero is `0`; what the service would not take for a number is left as it is.
    """
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
