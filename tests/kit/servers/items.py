"""Generated items in three realistic shapes, and the size of an item by the service's rules."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal

Shape = Literal["small", "nested", "large"]
Item = dict[str, dict[str, Any]]

SAMPLE_ITEMS = 100


def make_item(shape: Shape, seed: int, index: int) -> Item:
    """Item number `index`: the same for the same arguments, unlike every other. Its key is `pk` (S) and `sk` (N).

    By the service's rules `small` is 150 to 160 bytes, `nested` about 700, `large` 100 to 200 KB.
    """
    text = blake2b(b"%d:%d" % (seed, index), digest_size=64).hexdigest()
    return {"pk": {"S": f"k{index:012d}"}, "sk": {"N": str(index % 1000)}, **_SHAPES[shape](text)}


def index_of(key: Mapping[str, Any]) -> int:
    """The index that `make_item` gave to the item of this key. Raises KeyError or ValueError for any other key."""
    value: str = key["pk"]["S"]
    if len(value) != 13 or value[0] != "k":
        raise ValueError("not a generated key")
    return int(value[1:])


def item_size(item: Mapping[str, Mapping[str, Any]]) -> int:
    """Bytes of `item`, names included (Developer Guide, "Capacity unit calculations")."""
    return sum(len(name.encode()) + value_size(value) for name, value in item.items())


def mean_size(shape: Shape, seed: int) -> float:
    """Bytes of an average item."""
    return sum(item_size(make_item(shape, seed, index)) for index in range(SAMPLE_ITEMS)) / SAMPLE_ITEMS


def items_for(shape: Shape, size: int) -> int:
    """About how many items of this shape a table of `size` bytes has."""
    return round(size / mean_size(shape, 0))


def value_size(value: Mapping[str, Any]) -> int:
    """Bytes of one attribute value, its name excluded."""
    ((kind, content),) = value.items()
    return _SIZES[kind](content)


@lru_cache(maxsize=4096)
def _number_size(text: str) -> int:
    """One byte, and one for every two significant digits; zeros at either end are not significant."""
    if not isinstance(text, str):
        raise TypeError("a number travels as a string")
    sign, digits, _ = Decimal(text).as_tuple()
    significant = "".join(map(str, digits)).strip("0")
    return 1 + (len(significant) + 1) // 2 + sign


_SIZES: dict[str, Callable[[Any], int]] = {
    "S": lambda text: len(text.encode()),
    "N": _number_size,
    "B": lambda text: len(base64.b64decode(text)),
    "BOOL": lambda _: 1,
    "NULL": lambda _: 1,
    "L": lambda values: 3 + sum(1 + value_size(value) for value in values),
    "M": lambda members: 3 + len(members) + item_size(members),
    "SS": lambda values: sum(len(text.encode()) for text in values),
    "NS": lambda values: sum(map(_number_size, values)),
    "BS": lambda values: sum(len(base64.b64decode(text)) for text in values),
}


def _small(text: str) -> Item:
    return {"val_1": {"S": text[:64]}, "val_2": {"S": text[64:]}}


def _nested(text: str) -> Item:
    number = int(text[:12], 16)
    binary = base64.b64encode(bytes.fromhex(text)).decode()
    return {
        "active": {"BOOL": number % 2 == 0},
        "deleted": {"NULL": True},
        "price": {"N": f"{number % 10_000}.{number % 97:02d}"},
        "precise": {"N": f"1.{number:037d}"},
        "digest": {"B": binary},
        "tags": {"SS": [f"tag-{part}" for part in _parts(text, 4)]},
        "scores": {"NS": [str(number), str(-number - 1), f"0.{number + 1}"]},
        "blobs": {"BS": [base64.b64encode(part.encode()).decode() for part in _parts(text, 2)]},
        "address": {
            "M": {
                "street": {"S": f"{text[:24]} straße"},
                "city": {"S": "Zürich ☃ \U0001f600"},
                "position": {"L": [{"N": f"-{number % 90}.5"}, {"N": f"{number % 180}.25"}]},
                "empty": {"M": {}},
            }
        },
        "history": {"L": [{"M": {"at": {"N": str(number + step)}, "what": {"S": text[:40]}}} for step in range(5)]},
    }


def _large(text: str) -> Item:
    length = 100_000 + int(text[:8], 16) % 100_000
    return {"payload": {"S": (text * (length // len(text) + 1))[:length]}, "version": {"N": "1"}}


def _parts(text: str, count: int) -> list[str]:
    return [f"{number}{text[8 * number : 8 * number + 8]}" for number in range(count)]


_SHAPES: dict[Shape, Callable[[str], Item]] = {"small": _small, "nested": _nested, "large": _large}
