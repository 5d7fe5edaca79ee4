"""Plain JSON to puts. See `reference.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ddbio.codec.reference.item import Item
from ddbio.codec.reference.keys import KeyRule
from ddbio.codec.reference.lexical import SIMPLE_STRING, Fault, literal_end, number_end
from ddbio.codec.reference.numbers import INTEGER, integer_size
from ddbio.codec.reference.paths import HintTree
from ddbio.model import MAX_NESTING, Reason

_STRING = rb"(" + SIMPLE_STRING + rb")"
_usual = re.compile(_STRING + rb":(?:" + _STRING + rb"|(" + INTEGER + rb")|(true|false)|null)([,}])").match


class PlainItem(Item):
    """Plain JSON: types follow from the kind of the value, from the hints, and from the key schema."""

    def _usual_member(
        self, pos: int, special: Mapping[bytes, object], keys: Mapping[bytes, KeyRule], names: set[bytes]
    ) -> int | None:
        match = _usual(self.data, pos)
        if match is None:
            return None
        quoted, string, number, boolean, _ = match.groups()
        name = quoted[1:-1]
        if name in names:
            return None
        if name in special and not self._usual_key(keys.get(name), name, string, match.start(2)):
            return None
        names.add(name)
        if string:
            self.out.append(quoted + b':{"S":' + string + b"}")
            self.size += len(string) - 2
        elif number:
            self.out.append(quoted + b':{"N":"' + number + b'"}')
            self.size += integer_size(number)
        else:
            self.out.append(quoted + (b':{"BOOL":' + boolean + b"}" if boolean else b':{"NULL":true}'))
            self.size += 1
        self.size += len(name)
        return match.end()

    def value(self, pos: int, level: int, hints: HintTree | None) -> int:
        if level > MAX_NESTING:
            raise Fault(Reason.NESTING_TOO_DEEP, pos)
        out = self.out
        kind = hints.kind if hints else None
        first = self.data[pos : pos + 1]
        if first == b'"':
            out.append(b'{"B":' if kind == "B" else b'{"S":')
            end = self._binary(pos) if kind == "B" else self._string(pos)
        elif first == b"{":
            out.append(b'{"M":')
            end = self._map(pos, level, hints)
        elif first == b"[":
            end = self._list_or_set(pos, level, hints)
        elif first in (b"t", b"f", b"n"):
            end = self._literal(pos)
        else:
            out.append(b'{"N":')
            end = self._number(pos)
        out.append(b"}")
        return end

    def _literal(self, pos: int) -> int:
        end = literal_end(self.data, pos)
        value = self.data[pos:end]
        self.out.append(b'{"NULL":true' if value == b"null" else b'{"BOOL":' + value)
        self.size += 1
        self.scalar = None
        return end

    def _number(self, pos: int) -> int:
        end = number_end(self.data, pos)
        text = self.data[pos:end]
        self._judged_number(text, pos)
        self.out.append(b'"' + text + b'"')
        return end

    def _list_or_set(self, pos: int, level: int, hints: HintTree | None) -> int:
        """Where the hint says set, but the elements are not a set's (none, or of another kind), it is a list."""
        elements = {"SS": self._string, "NS": self._number, "BS": self._binary}
        if hints and hints.kind in elements:
            written, size = len(self.out), self.size
            self.out.append(f'{{"{hints.kind}":'.encode())
            try:
                return self._set(pos, elements[hints.kind])
            except Fault as fault:
                if fault.reason is Reason.SET_DUPLICATE:
                    raise
                del self.out[written:]
                self.size = size
        self.out.append(b'{"L":')
        return self._list(pos, level, hints.elements if hints else None)
