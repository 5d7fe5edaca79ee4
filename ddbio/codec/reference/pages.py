"""Scan replies to records. The package docstring specifies it."""

from __future__ import annotations

import re

from ddbio import hints
from ddbio.codec.faults import malformed, missing
from ddbio.codec.fingerprint import MASK
from ddbio.codec.paths import child_path
from ddbio.codec.reference.fingerprint import item_fingerprint
from ddbio.codec.reference.lexical import (
    Fault,
    decoded,
    each_element,
    each_member,
    expect,
    is_number,
    literal_end,
    loose_string_end,
    number_end,
    skip_space,
)
from ddbio.model import OutputFormat, Page, Reason

MAX_LEVELS = 100
"""Deeper than any item can be; it bounds the recursion."""

_integer = re.compile(rb"0|[1-9][0-9]{0,17}").fullmatch
_TYPE_BITS = {b"S": hints.S, b"L": hints.L, b"B": hints.B, b"SS": hints.SS, b"NS": hints.NS, b"BS": hints.BS}
_TYPES = {*_TYPE_BITS, b"N", b"M", b"BOOL", b"NULL"}


def transcode_page(body: bytes | bytearray, fmt: OutputFormat, fingerprint: bool = False) -> Page:
    """Turn the body of a Scan reply into records; raises `MalformedPageError`."""
    body = bytes(body)
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise malformed(error.start) from None
    reply = _Reply(body, jsonl=fmt == "jsonl", fingerprint=fingerprint)
    try:
        reply.read()
    except Fault as fault:
        raise malformed(fault.position) from None
    return reply.page()


class _Reply:
    def __init__(self, data: bytes, *, jsonl: bool, fingerprint: bool) -> None:
        self.data = data
        self.items: _Items | None = None
        self.jsonl = jsonl
        self.fingerprint = fingerprint
        self.counts: dict[bytes, int] = {}
        self.last_key: bytes | None = None
        self.capacity: float | None = None
        self.seen: set[bytes] = set()

    def read(self) -> None:
        end = skip_space(self.data, each_member(self.data, skip_space(self.data, 0), [], self._member))
        if end != len(self.data):
            raise Fault(Reason.NOT_JSON, end)

    def page(self) -> Page:
        count = self.counts.get(b'"Count"')
        if count is None or self.items is None:
            raise missing("Count" if count is None else "Items")
        return Page(
            records=b"".join(self.items.out),
            items=self.items.count,
            count=count,
            scanned=self.counts.get(b'"ScannedCount"', count),
            last_key=self.last_key,
            capacity=self.capacity,
            types=self.items.types,
            fingerprint=self.items.fingerprint & MASK,
        )

    def _member(self, start: int, name: bytes, pos: int) -> int:
        if name not in (b'"Items"', b'"Count"', b'"ScannedCount"', b'"LastEvaluatedKey"', b'"ConsumedCapacity"'):
            return self._copy(pos, 1, [])
        if name in self.seen:
            raise Fault(Reason.DUPLICATE_MEMBER, start)
        self.seen.add(name)
        if name == b'"Items"':
            self.items = _Items(self.data, jsonl=self.jsonl, fingerprint=self.fingerprint)
            return each_element(self.data, pos, [], self.items.item)
        if name == b'"LastEvaluatedKey"':
            expect(self.data, pos, b"{")
            out: list[bytes] = []
            end = self._copy(pos, 1, out)
            self.last_key = b"".join(out)
            return end
        if name == b'"ConsumedCapacity"':
            return each_member(self.data, pos, [], self._capacity)
        end = number_end(self.data, pos)
        if not _integer(self.data, pos, end):
            raise Fault(Reason.NOT_JSON, pos)
        self.counts[name] = int(self.data[pos:end])
        return end

    def _capacity(self, _start: int, name: bytes, pos: int) -> int:
        if name != b'"CapacityUnits"':
            return self._copy(pos, 2, [])
        end = number_end(self.data, pos)
        self.capacity = float(self.data[pos:end])
        return end

    def _copy(self, pos: int, level: int, out: list[bytes]) -> int:
        """Append the value at `pos` without white space; return where it ends."""
        data = self.data
        first = data[pos : pos + 1]
        if first == b'"':
            end = loose_string_end(data, pos)
        elif first in (b"{", b"["):
            if level > MAX_LEVELS:
                raise Fault(Reason.NESTING_TOO_DEEP, pos)
            return self._copy_container(pos, level, out)
        elif first in (b"t", b"f", b"n"):
            end = literal_end(data, pos)
        else:
            end = number_end(data, pos)
        out.append(data[pos:end])
        return end

    def _copy_container(self, pos: int, level: int, out: list[bytes]) -> int:
        def member(_start: int, name: bytes, at: int) -> int:
            out.append(name + b":")
            return self._copy(at, level + 1, out)

        if self.data[pos : pos + 1] == b"{":
            return each_member(self.data, pos, out, member)
        return each_element(self.data, pos, out, lambda at: self._copy(at, level + 1, out))


class _Items:
    def __init__(self, data: bytes, *, jsonl: bool, fingerprint: bool) -> None:
        self.data = data
        self.jsonl = jsonl
        self.printed = fingerprint
        self.fingerprint = 0
        self.out: list[bytes] = []
        self.count = 0
        self.types: dict[str, int] = {}

    def item(self, pos: int) -> int:
        """Write the item at `pos` as one line; return where it ends."""
        if not self.jsonl:
            self.out.append(b'{"Item":')
        end = self._members(pos, None, 1)
        if self.printed:
            self.fingerprint += item_fingerprint(self.data[pos:end])
        self.out.append(b"\n" if self.jsonl else b"}\n")
        self.count += 1
        return end

    def _members(self, pos: int, path: str | None, level: int) -> int:
        def member(_start: int, name: bytes, at: int) -> int:
            self.out.append(name + b":")
            return self._value(at, child_path(path, decoded(name)) if self.jsonl else "", level)

        return each_member(self.data, pos, self.out, member)

    def _value(self, pos: int, path: str, level: int) -> int:
        data, out = self.data, self.out
        if level > MAX_LEVELS:
            raise Fault(Reason.NESTING_TOO_DEEP, pos)
        pos = skip_space(data, expect(data, pos, b"{"))
        end = loose_string_end(data, pos)
        kind = data[pos + 1 : end - 1]
        if kind not in _TYPES:
            raise Fault(Reason.TYPE_INVALID, pos)
        if not self.jsonl:
            out.append(b"{" + data[pos:end] + b":")
        elif kind in _TYPE_BITS:
            self._note(path, kind)
        pos = skip_space(data, expect(data, end, b":"))
        match kind:
            case b"S" | b"B":
                end = self._string(pos)
            case b"N":
                end = self._number(pos)
            case b"BOOL" | b"NULL":
                end = self._literal(pos, null=kind == b"NULL")
            case b"M":
                end = self._members(pos, path, level + 1)
            case b"L":
                end = each_element(data, pos, out, lambda at: self._value(at, path + "[]", level + 1))
            case b"SS" | b"BS":
                end = each_element(data, pos, out, self._string)
            case _:
                end = each_element(data, pos, out, self._number)
        if not self.jsonl:
            out.append(b"}")
        return expect(data, end, b"}")

    def _string(self, pos: int) -> int:
        end = loose_string_end(self.data, pos)
        self.out.append(self.data[pos:end])
        return end

    def _number(self, pos: int) -> int:
        end = loose_string_end(self.data, pos)
        if not self.jsonl:
            self.out.append(self.data[pos:end])
        elif is_number(self.data, pos + 1, end - 1):
            self.out.append(self.data[pos + 1 : end - 1])
        else:
            raise Fault(Reason.NUMBER_INVALID, pos)
        return end

    def _literal(self, pos: int, *, null: bool) -> int:
        end = literal_end(self.data, pos)
        value = self.data[pos:end]
        if value == b"null" or (null and value == b"false"):
            raise Fault(Reason.TYPE_INVALID, pos)
        self.out.append(b"null" if null and self.jsonl else value)
        return end

    def _note(self, path: str, kind: bytes) -> None:
        mask = self.types.get(path)
        if mask is not None or len(self.types) < hints.MAX_PATHS:
            self.types[path] = (mask or 0) | _TYPE_BITS[kind]
