"""Items by value, read by nothing of ddbio: boto3, the standard library and zstandard."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal
from typing import Any

import zstandard

DIGITS = Context(prec=60)
"""More than a number of DynamoDB has."""
SETS = {"SS", "NS", "BS"}


def decompressed(name: str, data: bytes) -> bytes:
    """A file's content; the readers go over several gzip members and zstd frames."""
    if name.endswith(".gz"):
        return gzip.decompress(data)
    if name.endswith(".zst"):
        reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True)
        return reader.read()
    return data


def typed(item: Mapping[str, Any]) -> str:
    """An item in DynamoDB JSON, as boto3 or a file has it, in one spelling."""
    return json.dumps({name: _typed(value) for name, value in item.items()}, sort_keys=True)


def plain(item: Mapping[str, Any]) -> str:
    """The same item as plain JSON has it, in one spelling."""
    return _spelt({name: _plain(value) for name, value in item.items()})


def read_lines(lines: Iterable[bytes], form: str) -> Counter[str]:
    """The items of an export's lines, and how often each occurs."""
    if form == "dynamodb-json":
        return Counter(typed(json.loads(line)["Item"]) for line in lines)
    return Counter(_spelt(json.loads(line, parse_int=Decimal, parse_float=Decimal)) for line in lines)


def in_form(items: Iterable[Mapping[str, Any]], form: str) -> Counter[str]:
    """A table's items, as the lines of an export in this form are read."""
    return Counter((typed if form == "dynamodb-json" else plain)(item) for item in items)


def difference(expected: Counter[str], found: Counter[str]) -> str:
    """What is missing and what is too much, with one example each; empty where nothing is."""
    told = []
    for name, part in (("missing", expected - found), ("too much", found - expected)):
        if part:
            told.append(f"{part.total()} items {name}, such as {next(iter(part))[:200]}")
    return "; ".join(told)


def _typed(value: Mapping[str, Any]) -> Any:
    ((kind, content),) = value.items()
    if kind in SETS:
        return {kind: sorted(_scalar(kind[0], element) for element in content)}
    if kind == "L":
        return {kind: [_typed(element) for element in content]}
    if kind == "M":
        return {kind: {name: _typed(member) for name, member in content.items()}}
    return {kind: _scalar(kind, content)}


def _scalar(kind: str, content: Any) -> Any:
    if kind == "N":
        return _number(Decimal(content))
    return base64.b64encode(content).decode() if isinstance(content, bytes) else content


def _plain(value: Mapping[str, Any]) -> Any:
    ((kind, content),) = value.items()
    if kind in SETS:
        return [_plain({kind[0]: element}) for element in content]
    if kind == "L":
        return [_plain(element) for element in content]
    if kind == "M":
        return {name: _plain(member) for name, member in content.items()}
    if kind == "NULL":
        return None
    return Decimal(content) if kind == "N" else _scalar(kind, content)


def _spelt(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=lambda number: {"number": _number(number)})


def _number(number: Decimal) -> str:
    return f"{number.normalize(DIGITS):f}"
