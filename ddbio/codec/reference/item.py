"""One pass over one record: what plain JSON and DynamoDB JSON have in common. The package docstring specifies it."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ddbio.codec.numbers import Number, read_number
from ddbio.codec.paths import HintTree
from ddbio.codec.reference.lexical import Fault, decoded, each, expect, skip_space, string_end
from ddbio.model import MAX_ITEM_BYTES, KeyAttribute, KeyType, Put, Reason

_NO_KEYS: Mapping[bytes, KeyAttribute] = {}


class Scalar(NamedTuple):
    """A value that can be a key: its type, and its UTF-8 text, raw bytes or number."""

    type: KeyType
    content: bytes | Number


class Item:
    """One pass over one record. `out` collects the item as written, `size` is its size as the service counts it."""

    def __init__(self, data: bytes, keys: Mapping[bytes, KeyAttribute], hints: HintTree) -> None:
        self.data = data
        self.keys = keys
        self.hints = hints
        self.out: list[bytes] = []
        self.size = 0
        self.scalar: Scalar | None = None
        self.found: dict[bytes, bytes] = {}

    def put(self, inner: int | None) -> Put:
        """Read the whole record; `inner` is the position of the item where the record is a wrapper."""
        start = skip_space(self.data, 0)
        if inner is None:
            inner, end = start, self._item(start)
        else:
            end = self._wrapper(start, inner)
        end = skip_space(self.data, end)
        if end != len(self.data):
            raise Fault(Reason.NOT_JSON, end)
        key = _primary_key(self.keys, self.found, inner)
        if self.size > MAX_ITEM_BYTES:
            raise Fault(Reason.ITEM_TOO_LARGE, inner)
        return Put(b'{"PutRequest":{"Item":' + b"".join(self.out) + b"}}", key, self.size)

    def _wrapper(self, start: int, inner: int) -> int:
        name = string_end(self.data, skip_space(self.data, start + 1))
        expect(self.data, name, b":")
        return expect(self.data, self._item(inner), b"}")

    def _item(self, start: int) -> int:
        return self._members(start, 1, self.hints, self.keys)

    def _members(self, start: int, level: int, hints: HintTree | None, keys: Mapping[bytes, KeyAttribute]) -> int:
        names: set[bytes] = set()
        return each(self.data, start, b"}", self.out, lambda at: self._member(at, level, names, hints, keys))

    def _member(
        self, start: int, level: int, names: set[bytes], hints: HintTree | None, keys: Mapping[bytes, KeyAttribute]
    ) -> int:
        data = self.data
        end = string_end(data, start)
        name = decoded(data[start:end])
        if name in names:
            raise Fault(Reason.DUPLICATE_MEMBER, start)
        names.add(name)
        self.size += len(name) + (level > 1)
        self.out.append(data[start:end] + b":")
        pos = skip_space(data, expect(data, end, b":"))
        end = self.value(pos, level, hints.members.get(name) if hints else None)
        if name in keys:
            self.found[name] = _checked_key(keys[name], self.scalar, pos)
        return end

    def value(self, pos: int, level: int, hints: HintTree | None) -> int:
        """Read the value at `pos`; return where it ends. `scalar` is then what a key check or a set needs."""
        raise NotImplementedError

    def _string(self, pos: int) -> int:
        end = string_end(self.data, pos)
        text = decoded(self.data[pos:end])
        self.out.append(self.data[pos:end])
        self.size += len(text)
        self.scalar = Scalar("S", text)
        return end

    def _binary(self, pos: int) -> int:
        end = string_end(self.data, pos)
        text = decoded(self.data[pos:end])
        raw = _from_base64(text)
        if raw is None:
            raise Fault(Reason.BINARY_INVALID, pos)
        self.out.append(self.data[pos:end])
        self.size += len(raw)
        self.scalar = Scalar("B", raw)
        return end

    def _judged_number(self, text: bytes, pos: int) -> None:
        number = read_number(text)
        if isinstance(number, Reason):
            raise Fault(number, pos)
        self.size += number.size
        self.scalar = Scalar("N", number)

    def _list(self, pos: int, level: int, hints: HintTree | None) -> int:
        def element(at: int) -> int:
            self.size += 1
            return self.value(at, level + 1, hints)

        self.size += 3
        end = each(self.data, pos, b"]", self.out, element)
        self.scalar = None
        return end

    def _map(self, pos: int, level: int, hints: HintTree | None) -> int:
        self.size += 3
        end = self._members(pos, level + 1, hints, _NO_KEYS)
        self.scalar = None
        return end

    def _set(self, pos: int, element: Callable[[int], int]) -> int:
        """Read a set, which is checked as a whole when its closing bracket is reached."""
        seen: set[object] = set()
        repeated: list[int] = []

        def unique(at: int) -> int:
            end = element(at)
            if self.scalar in seen:
                repeated.append(at)
            seen.add(self.scalar)
            return end

        end = each(self.data, pos, b"]", self.out, unique)
        self.scalar = None
        if not seen:
            raise Fault(Reason.SET_EMPTY, pos)
        if repeated:
            raise Fault(Reason.SET_DUPLICATE, repeated[0])
        return end


def _from_base64(text: bytes) -> bytes | None:
    """Decode base64 as the service accepts it, with padding and without stray bits; None for any other text."""
    try:
        raw = binascii.a2b_base64(text)
    except binascii.Error:
        return None
    return raw if binascii.b2a_base64(raw, newline=False) == text else None


def _checked_key(rule: KeyAttribute, value: Scalar | None, position: int) -> bytes:
    """The value in canonical form; raises `Fault` where the service would not accept it as a key."""
    if value is None or value.type != rule.type:
        raise Fault(Reason.KEY_WRONG_TYPE, position, rule.name)
    if isinstance(value.content, Number):
        return value.content.canonical
    if not value.content:
        raise Fault(Reason.KEY_EMPTY, position, rule.name)
    if len(value.content) > rule.limit:
        raise Fault(Reason.KEY_TOO_LONG, position, rule.name)
    return value.content


def _primary_key(rules: Mapping[bytes, KeyAttribute], found: Mapping[bytes, bytes], position: int) -> bytes:
    """The canonical primary key: each checked value, preceded by its length. Raises `Fault` where one is missing."""
    parts = []
    for name, rule in rules.items():
        if rule.required:
            if name not in found:
                raise Fault(Reason.KEY_MISSING, position, rule.name)
            parts.append(len(found[name]).to_bytes(4, "big") + found[name])
    return b"".join(parts)
