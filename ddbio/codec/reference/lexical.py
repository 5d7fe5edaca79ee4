"""The lexical elements of JSON, as compiled patterns over bytes; shared by both directions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from ddbio.model import Reason

_SPACE = rb"[ \t\r\n]*+"
_HEX = rb"[0-9a-fA-F]"
_PLAIN = rb'[^"\\\x00-\x1f]'
_LOOSE_ESCAPE = rb'\\(?:["\\/bfnrt]|u' + _HEX + rb"{4})"
_STRICT_ESCAPE = (
    rb'\\(?:["\\/bfnrt]|u(?:[0-9a-cA-CefEF]' + _HEX + rb"{3}|[dD][0-7]" + _HEX + rb"{2}"
    rb"|[dD][89abAB]" + _HEX + rb"{2}\\u[dD][c-fC-F]" + _HEX + rb"{2}))"
)

_NUMBER = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"

is_number = re.compile(_NUMBER).fullmatch
_space = re.compile(_SPACE).match
_number = re.compile(_NUMBER).match
_literal = re.compile(rb"true|false|null").match
_loose = re.compile(rb'"(?:' + _PLAIN + rb"++|" + _LOOSE_ESCAPE + rb")*+").match
_strict = re.compile(rb'"(?:' + _PLAIN + rb"++|" + _STRICT_ESCAPE + rb")*+").match
_surrogate = re.compile(rb"\\u[dD][89a-fA-F]" + _HEX + rb"{2}").match

VALUE_STARTS = b'{["-0123456789tfn'


class Fault(Exception):  # noqa: N818 - a finding that becomes a `Refused`, or a `MalformedPageError`
    """The first fault of a pass: the reason and the byte. `name` is the key attribute's, where the reason has one."""

    def __init__(self, reason: Reason, position: int, name: str | None = None) -> None:
        super().__init__(reason, position, name)
        self.reason = reason
        self.position = position
        self.name = name


def skip_space(data: bytes, pos: int) -> int:
    """The position of the first byte from `pos` on that is not white space."""
    match = _space(data, pos)
    return match.end() if match else pos


def loose_string_end(data: bytes, pos: int) -> int:
    """The position after the string that opens at `pos`; unpaired surrogate escapes are accepted."""
    end = _end(_loose(data, pos), pos)
    if data[end : end + 1] != b'"':
        raise Fault(Reason.NOT_JSON, end)
    return end + 1


def string_end(data: bytes, pos: int) -> int:
    """The position after the string that opens at `pos`, whose surrogate escapes must be paired."""
    end = _end(_strict(data, pos), pos)
    if data[end : end + 1] != b'"':
        raise Fault(Reason.LONE_SURROGATE if _surrogate(data, end) else Reason.NOT_JSON, end)
    return end + 1


def decoded(string: bytes) -> bytes:
    """The UTF-8 content of a valid JSON string, given with its quotes; `?` stands for an unpaired surrogate."""
    if b"\\" not in string:
        return string[1:-1]
    text: str = json.loads(string.decode())
    return text.encode(errors="replace")


def number_end(data: bytes, pos: int) -> int:
    """The position after the longest JSON number that begins at `pos`."""
    return _end(_number(data, pos), pos)


def literal_end(data: bytes, pos: int) -> int:
    """The position after the `true`, `false` or `null` that begins at `pos`."""
    return _end(_literal(data, pos), pos)


def _end(match: re.Match[bytes] | None, pos: int) -> int:
    if match is None:
        raise Fault(Reason.NOT_JSON, pos)
    return match.end()


def expect(data: bytes, pos: int, byte: bytes) -> int:
    """The position after `byte`, which must be the first one from `pos` on that is not white space."""
    pos = skip_space(data, pos)
    if data[pos : pos + 1] != byte:
        raise Fault(Reason.NOT_JSON, pos)
    return pos + 1


def each(data: bytes, pos: int, closing: bytes, out: list[bytes], handle: Callable[[int], int]) -> int:
    """Walk the array or object that opens at `pos`; return the position after it.

    Brackets and commas are appended to `out`. `handle(position)` is called for each element or member, and returns
    where it ends.
    """
    out.append(data[pos : pos + 1])
    pos = skip_space(data, pos + 1)
    more = data[pos : pos + 1] != closing
    while more:
        pos = skip_space(data, handle(skip_space(data, pos)))
        more = goes_on(data, pos, closing)
        if more:
            out.append(b",")
            pos += 1
    out.append(closing)
    return pos + 1


def each_member(data: bytes, pos: int, out: list[bytes], handle: Callable[[int, bytes, int], int]) -> int:
    """Walk the object that must open at `pos`.

    `handle(name_position, name, value_position)` receives the name with its quotes, and returns where the value ends.
    """

    def member(start: int) -> int:
        end = loose_string_end(data, start)
        return handle(start, data[start:end], skip_space(data, expect(data, end, b":")))

    return each(data, expect(data, pos, b"{") - 1, b"}", out, member)


def each_element(data: bytes, pos: int, out: list[bytes], handle: Callable[[int], int]) -> int:
    """Walk the array that must open at `pos`; `handle(position)` returns where the element ends."""
    return each(data, expect(data, pos, b"[") - 1, b"]", out, handle)


def goes_on(data: bytes, pos: int, closing: bytes) -> bool:
    """Whether a comma stands at `pos`, rather than the closing bracket."""
    byte = data[pos : pos + 1]
    if byte == b",":
        return True
    if byte == closing:
        return False
    raise Fault(Reason.NOT_JSON, pos)
