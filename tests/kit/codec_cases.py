"""What the codec's tests have in common: the implementations, typed items, and an independent size rule."""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import math
from decimal import Context, Decimal
from types import ModuleType
from typing import Any

from hypothesis import strategies as st

from ddbio.codec import reference
from ddbio.model import KeyAttribute

IMPLEMENTATIONS: list[ModuleType] = [reference]
with contextlib.suppress(ImportError):  # absent where there was no compiler
    IMPLEMENTATIONS.append(importlib.import_module("ddbio.codec._transcode"))
KEYS = (KeyAttribute("pk", "S", 2048), KeyAttribute("sk", "N", 1024))

Typed = dict[str, Any]
_EXACT = Context(prec=60)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
binaries = st.binary(max_size=7).map(lambda raw: base64.b64encode(raw).decode())


def _spelled(sign: str, digits: int, exponent: int, mark: str) -> str:
    if not mark and -20 <= exponent <= 20:
        return f"{Decimal(f'{sign}{digits}E{exponent}'):f}"
    if mark.endswith("0"):
        exponent = min(abs(exponent), 80)
    return f"{sign}{digits}{mark or 'E'}{exponent}"


numbers = st.builds(
    _spelled,
    st.sampled_from(["", "-"]),
    st.integers(0, 10**38 - 1) | st.integers(0, 999),
    st.integers(-100, 80) | st.integers(-3, 3),
    st.sampled_from(["", "", "e", "E", "e0", "E-00"]),
)

scalars = st.one_of(
    st.builds(lambda value: {"S": value}, texts),
    st.builds(lambda value: {"N": value}, numbers),
    st.builds(lambda value: {"B": value}, binaries),
    st.builds(lambda value: {"BOOL": value}, st.booleans()),
    st.just({"NULL": True}),
    st.builds(lambda value: {"SS": value}, st.lists(texts, min_size=1, max_size=3, unique=True)),
    st.builds(lambda value: {"NS": value}, st.lists(numbers, min_size=1, max_size=3, unique_by=_EXACT.create_decimal)),
    st.builds(lambda value: {"BS": value}, st.lists(binaries, min_size=1, max_size=3, unique=True)),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.builds(lambda value: {"L": value}, st.lists(inner, max_size=3))
        | st.builds(lambda value: {"M": value}, st.dictionaries(names, inner, max_size=3))
    ),
    max_leaves=8,
)
items = st.builds(
    lambda pk, sk, rest: {"pk": {"S": pk}, **rest, "sk": {"N": sk}},
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
    numbers,
    st.dictionaries(names.filter(lambda name: name not in ("pk", "sk")), values, max_size=4),
)


@st.composite
def dumped(draw: st.DrawFn, value: Any) -> bytes:
    """The value as JSON text, with or without white space and escapes."""
    indent = draw(st.sampled_from([None, None, 0, 1]))
    separators = draw(st.sampled_from([(",", ":"), (" , ", "\t:\n")]))
    return json.dumps(value, ensure_ascii=draw(st.booleans()), indent=indent, separators=separators).encode()


def plain_text(value: Typed) -> str:
    """The JSON text of an attribute value as `jsonl` writes it, made the slow way."""
    ((kind, content),) = value.items()
    match kind:
        case "N":
            return str(content)
        case "NULL":
            return "null"
        case "NS":
            return f"[{','.join(content)}]"
        case "L":
            return f"[{','.join(map(plain_text, content))}]"
        case "M":
            return plain_object(content)
        case _:
            return json.dumps(content)


def plain_object(attributes: Typed) -> str:
    """An item, or a map, as `jsonl` writes it."""
    return "{" + ",".join(f"{json.dumps(name)}:{plain_text(value)}" for name, value in attributes.items()) + "}"


def parsed(text: bytes | str) -> Any:
    """JSON with its numbers kept as text, so that nothing is rounded."""
    return json.loads(text, parse_int=lambda n: ("number", n), parse_float=lambda n: ("number", n))


def number_size(text: str) -> int:
    """The size of a number, told from the two-digit groups that its digits fall into."""
    value = _EXACT.create_decimal(text)
    if not value:
        return 1
    sign, digits, exponent = value.normalize(_EXACT).as_tuple()
    assert isinstance(exponent, int)
    first = math.floor((exponent + len(digits) - 1) / 2)
    last = math.floor(exponent / 2)
    return 1 + (first - last + 1) + sign


def value_size(value: Typed) -> int:
    """The size of an attribute value by the service's rules."""
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return number_size(content)
        case "B":
            return len(base64.b64decode(content))
        case "BOOL" | "NULL":
            return 1
        case "L":
            return 3 + sum(1 + value_size(element) for element in content)
        case "M":
            return 3 + len(content) + attributes_size(content)
        case _:
            return sum(value_size({kind[0]: element}) for element in content)


def attributes_size(attributes: Typed) -> int:
    """The size of an item, or what is in a map."""
    return sum(len(name.encode()) + value_size(value) for name, value in attributes.items())


TOKENS = (
    b'{ } [ ] , : "pk" "sk" "gsi" "a" "b" "Item" "S" "N" "B" "BOOL" "NULL" "M" "L" "SS" "NS" "BS" true false null 0 -1 '
    b'1.50 1e5 1E-130 01 "" "x" "1" "-0.0" "QQ==" "QR==" "\\u0061" "\\ud83d\\ude00" "\\ud800" "\\n" "\\x" \\ " '
    b'\xc3\xa4 \xff \xed\xa0\x80 \x00 1e126 {"S":"k"} {"pk":{"S":"k"}, "pk":"k", "pk":{"S":"k"}, {"Item":{ '
    b'"Items":[ "Count":1 "ScannedCount":2 "LastEvaluatedKey":{ "ConsumedCapacity":{"CapacityUnits":1.5}'
).split(b" ")
TOKENS += [b" ", b"\n", b"123456789012345678901234567890123456789", b'{"L":[' * 33, b"[" * 40, b'{"M":{"a":' * 120]
soups = st.lists(st.sampled_from(TOKENS), max_size=25).map(b"".join)


@st.composite
def spoiled(draw: st.DrawFn, sources: st.SearchStrategy[bytes]) -> bytes:
    """Good text with a few pieces cut out, put in, or said twice."""
    text = draw(sources)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        stop = min(start + draw(st.integers(0, 4)), len(text))
        text = text[:start] + draw(st.sampled_from([b"", b"", text[start:stop] * 2, *TOKENS])) + text[stop:]
    return text[: draw(st.sampled_from([None, None, draw(st.integers(0, len(text)))]))]


def good_pages() -> st.SearchStrategy[bytes]:
    key: dict[str, Any] = {"LastEvaluatedKey": {"pk": {"S": "k"}}, "ConsumedCapacity": {"CapacityUnits": 0.5}}
    return st.lists(items, max_size=2).flatmap(lambda found: dumped({"Items": found, "Count": len(found)} | key))
