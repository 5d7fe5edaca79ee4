"""Which format a record is in: a look ahead that rejects nothing."""

from __future__ import annotations

import re
from collections.abc import Container

from ddbio.codec.reference.lexical import Fault, decoded, skip_space, string_end
from ddbio.model import InputFormat

TYPES = frozenset({b"S", b"N", b"B", b"BOOL", b"NULL", b"M", b"L", b"SS", b"NS", b"BS"})

_token = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[{\[]|[}\]]', re.DOTALL).finditer
_scalar = re.compile(rb'[^"{}\[\],: \t\r\n]*+').match


def find_item(data: bytes, fmt: InputFormat, keys: Container[bytes]) -> tuple[bool, int | None]:
    """Whether the record is DynamoDB JSON, and the position of the wrapped item (None without a wrapper)."""
    if fmt == "jsonl":
        return False, None
    start = skip_space(data, 0)
    inner = _wrapped(data, start, keys)
    if fmt == "dynamodb-json":
        return True, inner
    if _has_typed_key(data, start if inner is None else inner, keys):
        return True, inner
    return False, None


def _wrapped(data: bytes, start: int, keys: Container[bytes]) -> int | None:
    """The position of the object that is the value of the only member `Item` of the object at `start`."""
    member = _first_member(data, start)
    if member is None or member[0] != b"Item" or data[member[1] : member[1] + 1] != b"{":
        return None
    inner = member[1]
    if b"Item" in keys and _is_typed(data, inner):
        return None
    end = skip_space(data, _skip(data, inner))
    return inner if data[end : end + 1] == b"}" else None


def _has_typed_key(data: bytes, start: int, keys: Container[bytes]) -> bool:
    """Whether the first key attribute of the object at `start` is a typed value, and only objects precede it."""
    member = _first_member(data, start)
    while member is not None:
        name, pos = member
        if name in keys:
            return _is_typed(data, pos)
        if data[pos : pos + 1] != b"{":
            return False
        end = skip_space(data, _skip(data, pos))
        if data[end : end + 1] != b",":
            return False
        member = _member(data, end + 1)
    return False


def _is_typed(data: bytes, pos: int) -> bool:
    """Whether an object whose only member is named as a type stands at `pos`."""
    member = _first_member(data, pos)
    if member is None or member[0] not in TYPES:
        return False
    end = skip_space(data, _skip(data, member[1]))
    return data[end : end + 1] == b"}"


def _first_member(data: bytes, pos: int) -> tuple[bytes, int] | None:
    return _member(data, pos + 1) if data[pos : pos + 1] == b"{" else None


def _member(data: bytes, pos: int) -> tuple[bytes, int] | None:
    """The name and the position of the value of the member that begins at `pos`, or None where none does."""
    pos = skip_space(data, pos)
    try:
        end = string_end(data, pos)
    except Fault:
        return None
    colon = skip_space(data, end)
    if data[colon : colon + 1] != b":":
        return None
    return decoded(data[pos:end]), skip_space(data, colon + 1)


def _skip(data: bytes, pos: int) -> int:
    """The position after the value at `pos`, found by quotes and the number of brackets only."""
    if data[pos : pos + 1] not in (b'"', b"{", b"["):
        match = _scalar(data, pos)
        return match.end() if match else pos
    depth = 0
    for token in _token(data, pos):
        first = token[0][:1]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
        if depth == 0:
            return token.end()
    return len(data)
