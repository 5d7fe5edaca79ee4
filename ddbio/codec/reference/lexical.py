"""What a JSON text is made of, as compiled patterns over bytes; shared by both directions of the reference codec."""

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

NUMBER = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
SIMPLE_STRING = rb'"' + _PLAIN + rb'*+"'
LOOSE_STRING = rb'"(?:' + _PLAIN + rb"++|" + _LOOSE_ESCAPE + rb')*+"'
"""A string whose surrogate escapes need not pair: what the service sent is copied, not judged."""

space = re.compile(_SPACE).match
number = re.compile(NUMBER).match
literal = re.compile(rb"true|false|null").match
_loose = re.compile(LOOSE_STRING[:-1]).match
_strict = re.compile(rb'"(?:' + _PLAIN + rb"++|" + _STRICT_ESCAPE + rb")*+").match
_surrogate = re.compile(rb"\\u[dD][89a-fA-F]" + _HEX + rb"{2}").match

VALUE_STARTS = b'{["-0123456789tfn'


class Fault(Exception):  # noqa: N818 - a finding that becomes a `Refused`, or a `MalformedPageError`
    """The first fault that a pass met: why, and at which byte. `name` is the key attribute's, where one is meant."""

    def __init__(self, reason: Reason, position: int, name: str | None = None) -> None:
        super().__init__(reason, position, name)
        self.reason = reason
        self.position = position
        self.name = name


def skip_space(data: bytes, pos: int) -> int:
    """The position of the first byte at or behind `pos` that is not white space."""
    match = space(data, pos)
    return match.end() if match else pos


def loose_string_end(data: bytes, pos: int) -> int:
    """The position behind the string that opens at `pos`; unpaired surrogate escapes pass."""
    match = _loose(data, pos)
    if match is None:
        raise Fault(Reason.NOT_JSON, pos)
    end = match.end()
    if data[end : end + 1] != b'"':
        raise Fault(Reason.NOT_JSON, end)
    return end + 1


def string_end(data: bytes, pos: int) -> int:
    """The position behind the string that opens at `pos`; every escape is valid, surrogates come in pairs."""
    match = _strict(data, pos)
    if match is None:
        raise Fault(Reason.NOT_JSON, pos)
    end = match.end()
    if data[end : end + 1] != b'"':
        raise Fault(Reason.LONE_SURROGATE if _surrogate(data, end) else Reason.NOT_JSON, end)
    return end + 1


def decoded(string: bytes) -> bytes:
    """The UTF-8 content of a valid JSON string, which is given with its quotes; `?` for an unpaired surrogate."""
    if b"\\" not in string:
        return string[1:-1]
    text: str = json.loads(string.decode())
    return text.encode(errors="replace")


def number_end(data: bytes, pos: int) -> int:
    """The position behind the longest JSON number that begins at `pos`."""
    match = number(data, pos)
    if match is None:
        raise Fault(Reason.NOT_JSON, pos)
    return match.end()


def literal_end(data: bytes, pos: int) -> int:
    """The position behind the `true`, `false` or `null` that begins at `pos`."""
    match = literal(data, pos)
    if match is None:
        raise Fault(Reason.NOT_JSON, pos)
    return match.end()


def expect(data: bytes, pos: int, byte: bytes) -> int:
    """The position behind `byte`, which must be the first one behind white space from `pos` on."""
    pos = skip_space(data, pos)
    if data[pos : pos + 1] != byte:
        raise Fault(Reason.NOT_JSON, pos)
    return pos + 1


def each_member(data: bytes, pos: int, handle: Callable[[int, bytes, int], int]) -> int:
    """Walk the object that opens at `pos`; return the position behind it.

    `handle(name_position, name, value_position)` gets the name as it stands, and returns where the value ends.
    """
    pos = skip_space(data, expect(data, pos, b"{"))
    if data[pos : pos + 1] == b"}":
        return pos + 1
    while True:
        start = skip_space(data, pos)
        end = loose_string_end(data, start)
        pos = skip_space(data, handle(start, data[start:end], skip_space(data, expect(data, end, b":"))))
        if not goes_on(data, pos, b"}"):
            return pos + 1
        pos += 1


def each_element(data: bytes, pos: int, handle: Callable[[int], int]) -> int:
    """Walk the array that opens at `pos`; `handle(position)` returns where the element ends."""
    pos = skip_space(data, expect(data, pos, b"["))
    if data[pos : pos + 1] == b"]":
        return pos + 1
    while True:
        pos = skip_space(data, handle(skip_space(data, pos)))
        if not goes_on(data, pos, b"]"):
            return pos + 1
        pos += 1


def goes_on(data: bytes, pos: int, closing: bytes) -> bool:
    """Whether a comma stands at `pos`, rather than the closing bracket."""
    byte = data[pos : pos + 1]
    if byte == b",":
        return True
    if byte == closing:
        return False
    raise Fault(Reason.NOT_JSON, pos)
