"""One pass over one record: what plain JSON and DynamoDB JSON have in common. See `reference.py`."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping

from ddbio.codec.reference.keys import KeyRule, Keys, Scalar
from ddbio.codec.reference.lexical import Fault, decoded, each_element, expect, goes_on, skip_space, string_end
from ddbio.codec.reference.numbers import read_number
from ddbio.codec.reference.paths import HintTree
from ddbio.model import MAX_ITEM_BYTES, MAX_NESTING, Put, Reason

_NO_KEYS: Mapping[bytes, KeyRule] = {}


class Item:
    """One pass over one record: `out` is the item as written, `size` what the service counts for it."""

    def __init__(self, data: bytes, keys: Keys, hints: HintTree) -> None:
        self.data = data
        self.keys = keys
        self.hints = hints
        self.out: list[bytes] = []
        self.size = 0
        self.scalar: Scalar | None = None
        self.found: dict[bytes, bytes] = {}

    def put(self, inner: int | None) -> Put:
        """Read the whole record, whose item is the value of its only member where `inner` says so."""
        start = skip_space(self.data, 0)
        if inner is None:
            inner, end = start, self._item(start)
        else:
            end = self._wrapper(start, inner)
        end = skip_space(self.data, end)
        if end != len(self.data):
            raise Fault(Reason.NOT_JSON, end)
        key = self.keys.canonical(self.found, inner)
        if self.size > MAX_ITEM_BYTES:
            raise Fault(Reason.ITEM_TOO_LARGE, inner)
        return Put(b'{"PutRequest":{"Item":' + b"".join(self.out) + b"}}", key, self.size)

    def _wrapper(self, start: int, inner: int) -> int:
        name = string_end(self.data, skip_space(self.data, start + 1))
        expect(self.data, name, b":")
        return expect(self.data, self._item(inner), b"}")

    def _item(self, start: int) -> int:
        return self._members(start + 1, 1, self.hints, self.keys.rules)

    def _members(self, pos: int, level: int, hints: HintTree | None, keys: Mapping[bytes, KeyRule]) -> int:
        """Read the members behind an opening brace; return the position behind the closing one."""
        data, append = self.data, self.out.append
        append(b"{")
        pos = skip_space(data, pos)
        if data[pos : pos + 1] == b"}":
            append(b"}")
            return pos + 1
        special = hints.members if hints else _NO_KEYS
        names: set[bytes] = set()
        while True:
            ending = self._usual_member(pos, special, keys, names) if level <= MAX_NESTING else None
            if ending is None:
                pos = skip_space(data, self._member(pos, level, names, hints, keys))
                goes_on(data, pos, b"}")
                ending = pos + 1
            else:
                self.size += level > 1
            last = data[ending - 1 : ending]
            append(last)
            if last == b"}":
                return ending
            pos = ending

    def _usual_member(
        self, pos: int, special: Mapping[bytes, object], keys: Mapping[bytes, KeyRule], names: set[bytes]
    ) -> int | None:
        """Take a whole member at once, where it is a scalar of the plainest kind: the fast way, with no verdict of its
        own. Return the position behind its comma or brace, or None where it has to be read step by step.
        """
        raise NotImplementedError

    def _usual_key(self, rule: KeyRule | None, name: bytes, string: bytes | None, pos: int) -> bool:
        """Check a key of type S; False where the attribute is another one."""
        if rule is None or rule.type != "S" or string is None:
            return False
        self.found[name] = rule.check(Scalar("S", string[1:-1]), pos)
        return True

    def _member(
        self, pos: int, level: int, names: set[bytes], hints: HintTree | None, keys: Mapping[bytes, KeyRule]
    ) -> int:
        data = self.data
        start = skip_space(data, pos)
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
            self.found[name] = keys[name].check(self.scalar, pos)
        return end

    def value(self, pos: int, level: int, hints: HintTree | None) -> int:
        """Read the value at `pos`, leaving in `scalar` what a key check needs; return where it ends."""
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

    def _array(self, pos: int, element: Callable[[int], int]) -> int:
        separator = b"["

        def separated(at: int) -> int:
            nonlocal separator
            self.out.append(separator)
            separator = b","
            return element(at)

        end = each_element(self.data, pos, separated)
        self.out.append(b"[]" if separator == b"[" else b"]")
        return end

    def _list(self, pos: int, level: int, hints: HintTree | None) -> int:
        def element(at: int) -> int:
            self.size += 1
            return self.value(at, level + 1, hints)

        self.size += 3
        end = self._array(pos, element)
        self.scalar = None
        return end

    def _map(self, pos: int, level: int, hints: HintTree | None) -> int:
        self.size += 3
        end = self._members(pos + 1, level + 1, hints, _NO_KEYS)
        self.scalar = None
        return end

    def _set(self, pos: int, element: Callable[[int], int]) -> int:
        """A set is judged as a whole when its closing bracket is reached."""
        seen: set[object] = set()
        repeated: list[int] = []

        def unique(at: int) -> int:
            end = element(at)
            if self.scalar in seen:
                repeated.append(at)
            seen.add(self.scalar)
            return end

        end = self._array(pos, unique)
        self.scalar = None
        if not seen:
            raise Fault(Reason.SET_EMPTY, pos)
        if repeated:
            raise Fault(Reason.SET_DUPLICATE, repeated[0])
        return end


def _from_base64(text: bytes) -> bytes | None:
    """The bytes that `text` spells, where it is base64 as the service takes it: padded, and without stray bits."""
    try:
        raw = binascii.a2b_base64(text)
    except binascii.Error:
        return None
    return raw if binascii.b2a_base64(raw, newline=False) == text else None
