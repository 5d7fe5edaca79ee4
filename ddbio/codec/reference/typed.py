"""DynamoDB JSON to puts. The package docstring specifies it."""

from __future__ import annotations

import re
from collections.abc import Callable

from ddbio.codec.paths import HintTree
from ddbio.codec.reference.formats import TYPES
from ddbio.codec.reference.item import Item
from ddbio.codec.reference.lexical import VALUE_STARTS, Fault, decoded, expect, goes_on, skip_space, string_end
from ddbio.model import MAX_NESTING, Reason

_true = re.compile(rb"true").match
_boolean = re.compile(rb"true|false").match


class TypedItem(Item):
    """DynamoDB JSON: every value is an object whose only member names its type."""

    def value(self, pos: int, level: int, _hints: HintTree | None) -> int:
        if level > MAX_NESTING:
            raise Fault(Reason.NESTING_TOO_DEEP, pos)
        data = self.data
        self._demand(pos, b"{")
        pos = skip_space(data, pos + 1)
        if data[pos : pos + 1] == b"}":
            raise Fault(Reason.TYPE_INVALID, pos)
        end = string_end(data, pos)
        kind = decoded(data[pos:end])
        if kind not in TYPES:
            raise Fault(Reason.TYPE_INVALID, pos)
        self.out.append(b'{"' + kind + b'":')
        pos = skip_space(data, expect(data, end, b":"))
        end = skip_space(data, self._content(kind, pos, level))
        if goes_on(data, end, b"}"):
            raise Fault(Reason.TYPE_INVALID, end)
        self.out.append(b"}")
        return end + 1

    def _content(self, kind: bytes, pos: int, level: int) -> int:
        match kind:
            case b"BOOL":
                return self._literal(pos, _boolean)
            case b"NULL":
                return self._literal(pos, _true)
            case b"M":
                self._demand(pos, b"{")
                return self._map(pos, level, None)
            case b"L":
                self._demand(pos, b"[")
                return self._list(pos, level, None)
            case b"S" | b"N" | b"B":
                return self._element(kind, pos)
            case _:
                self._demand(pos, b"[")
                return self._set(pos, lambda at: self._element(kind[:1], at))

    def _demand(self, pos: int, byte: bytes) -> None:
        if self.data[pos : pos + 1] != byte:
            raise self._misfit(pos)

    def _misfit(self, pos: int) -> Fault:
        """The fault where a value of another kind, or no value at all, begins at `pos`."""
        found = self.data[pos : pos + 1]
        return Fault(Reason.TYPE_INVALID if found and found in VALUE_STARTS else Reason.NOT_JSON, pos)

    def _literal(self, pos: int, match: Callable[[bytes, int], re.Match[bytes] | None]) -> int:
        found = match(self.data, pos)
        if found is None:
            raise self._misfit(pos)
        self.out.append(found[0])
        self.size += 1
        self.scalar = None
        return found.end()

    def _element(self, kind: bytes, pos: int) -> int:
        """Read a scalar that JSON holds as a string: of type S, N or B, or an element of such a set."""
        self._demand(pos, b'"')
        if kind == b"S":
            return self._string(pos)
        if kind == b"B":
            return self._binary(pos)
        end = string_end(self.data, pos)
        self._judged_number(decoded(self.data[pos:end]), pos)
        self.out.append(self.data[pos:end])
        return end
