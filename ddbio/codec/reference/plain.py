"""Plain JSON to puts. The package docstring specifies it."""

from __future__ import annotations

from ddbio.codec.paths import HintTree
from ddbio.codec.reference.item import Item
from ddbio.codec.reference.lexical import Fault, literal_end, number_end
from ddbio.model import MAX_NESTING, Reason


class PlainItem(Item):
    """Plain JSON: types follow from the kind of value, the hints, and the key schema."""

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
        """Read an array. If the hint says set, but the elements are none or not of that set, it is a list."""
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
