"""Bad and odd files: what each holds, line by line, and what must become of it.

`@` in a row stands for a text that no other row has, so that many rows can be imported into one table at once.
"""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import zstandard

from ddbio.errors import DdbioError, SourceError
from ddbio.model import InputFormat
from tests.kit.servers.aws import Key

Item = dict[str, Any]
PK: Key = (("pk", "S"),)
TAG = "@"
RAW_LIMIT = 1024 * 1024
RECORD_LIMIT = 16 * 1024 * 1024
ITEM_LIMIT = 409_600


@dataclass(frozen=True)
class Line:
    """One line of a file: it is written as `item`, or rejected for `reason`, or neither (blank, or never reached)."""

    raw: bytes
    item: Item | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One bad or odd file.

    `index` is the key of an index that the table has. `before` stands before the first line, `newline` between the
    lines, `end` behind the last; `pack` makes the stored file out of that, whose name ends in `suffix`. An import ends
    with `error`, whose message holds `told`, if that is given; lines that it never reached are neither written nor
    rejected.
    """

    name: str
    lines: tuple[Line, ...]
    key: Key = PK
    index: Key = ()
    form: InputFormat = "auto"
    before: bytes = b""
    newline: bytes = b"\n"
    end: bytes = b"\n"
    suffix: str = ".json"
    pack: Callable[[bytes], bytes] = field(default=bytes)
    error: type[DdbioError] | None = None
    told: str = ""

    def tagged(self, tag: str) -> Row:
        """The row with `tag` for every `@`."""
        return replace(
            self, lines=tuple(Line(_in(line.raw, tag), _in(line.item, tag), line.reason) for line in self.lines)
        )

    def content(self) -> bytes:
        """What the file holds, decompressed."""
        return self.before + self.newline.join(line.raw for line in self.lines) + self.end

    def written(self) -> list[Item]:
        """Every item that is written, in order, also those that are written over."""
        return [line.item for line in self.lines if line.item is not None]

    def stored(self) -> list[Item]:
        """What the table holds in the end: for each key its last line."""
        names = [name for name, _ in self.key]
        return list(
            {json.dumps([item[name] for name in names], default=repr): item for item in self.written()}.values()
        )

    def rejects(self) -> list[dict[str, Any]]:
        """What the rejects file must say of this file."""
        found = []
        offset = 0
        for number, line in enumerate(self.lines, 1):
            lead = len(self.before) if number == 1 else 0
            trail = self.newline[:-1] if number < len(self.lines) else self.end[:-1]
            length = lead + len(line.raw + trail)
            if line.reason:
                raw = line.raw + trail if length <= RAW_LIMIT else None
                found.append({"offset": offset, "length": length, "line": number, "reason": line.reason, "raw": raw})
            offset += length + 1
        return found


def good(raw: bytes, **attributes: Any) -> Line:
    """A line that is written: its key is `@` unless told otherwise."""
    return Line(raw, {"pk": {"S": TAG}, **attributes})


def bad(raw: bytes, reason: str) -> Line:
    """A line that is rejected."""
    return Line(raw, None, reason)


def one(number: int) -> Line:
    """An ordinary line."""
    return good(b'{"pk":"@-%d"}' % number, pk={"S": f"{TAG}-{number}"})


def skipped(raw: bytes) -> Line:
    """A line that leaves no trace: it is blank, or the import ended before it."""
    return Line(raw)


def _in(value: Any, tag: str) -> Any:
    if isinstance(value, str):
        return value.replace(TAG, tag)
    if isinstance(value, bytes):
        return value.replace(TAG.encode(), tag.encode())
    if isinstance(value, dict):
        return {name: _in(inner, tag) for name, inner in value.items()}
    return [_in(inner, tag) for inner in value] if isinstance(value, list) else value


# --- packing


def member(content: bytes) -> bytes:
    """A gzip member, always the same."""
    return gzip.compress(content, mtime=0)


def members(content: bytes) -> bytes:
    """Each line a gzip member."""
    return b"".join(map(member, content.splitlines(keepends=True)))


def frames(content: bytes) -> bytes:
    """Each line a zstd frame with a checksum."""
    compress = zstandard.ZstdCompressor(write_checksum=True).compress
    return b"".join(map(compress, content.splitlines(keepends=True)))


def utf16(content: bytes) -> bytes:
    """Text as some programs save it."""
    return content.decode().encode("utf-16-le")


def named_member(content: bytes) -> bytes:
    """A gzip member with every optional field: extra, name, comment, header checksum."""
    plain = member(content)
    head = plain[:3] + bytes([0b11110]) + plain[4:10] + struct.pack("<H", 4) + b"xtra" + b"name\0" + b"comment\0"
    return head + struct.pack("<H", zlib.crc32(head) & 0xFFFF) + plain[10:]


def cut(pack: Callable[[bytes], bytes], count: int) -> Callable[[bytes], bytes]:
    """Packed, without the last `count` bytes."""
    return lambda content: pack(content)[:-count]


def flipped(pack: Callable[[bytes], bytes], position: int) -> Callable[[bytes], bytes]:
    """Packed, with one bit wrong."""

    def flip(content: bytes) -> bytes:
        packed = bytearray(pack(content))
        packed[position] ^= 4
        return bytes(packed)

    return flip


def followed(pack: Callable[[bytes], bytes], rest: bytes) -> Callable[[bytes], bytes]:
    """Packed, with something behind it."""
    return lambda content: pack(content) + rest


def row(name: str, *lines: Line, **facts: Any) -> Row:
    """A row with these lines."""
    return Row(name=name, lines=lines, **facts)


def broken(name: str, *lines: Line, pack: Callable[[bytes], bytes], suffix: str, told: str) -> Row:
    """A row whose file can't be read to its end."""
    return Row(name=name, lines=lines, pack=pack, suffix=suffix, error=SourceError, told=told)


# --- the table of files


def endings(name: str, *lines: Line, newline: bytes = b"\n", end: bytes = b"\n", before: bytes = b"") -> Row:
    """A row about what stands between the lines."""
    return row(name, *lines, newline=newline, end=end, before=before)


def packed(name: str, pack: Callable[[bytes], bytes], suffix: str) -> Row:
    """A row whose file is packed in an odd way, and gives everything back."""
    return row(name, one(1), bad(b"bad", "not_json"), one(3), pack=pack, suffix=suffix)


BOM = b"\xef\xbb\xbf"
GZ = ".json.gz"
ZST = ".json.zst"
NO_ZSTD_CHECK = zstandard.ZstdCompressor(write_content_size=False).compress
SKIPPABLE = b"\x5a\x2a\x4d\x18\x03\0\0\0abc"

FILES: tuple[Row, ...] = (
    endings("CRLF", one(1), bad(b"bad", "not_json"), one(3), newline=b"\r\n", end=b"\r\n"),
    endings(
        "blank lines", skipped(b""), one(1), skipped(b" \t "), skipped(b"\r"), bad(b"bad", "not_json"), skipped(b"")
    ),
    endings("a last line without an end", one(1), one(2), end=b""),
    endings("a last line without an end that is bad", one(1), bad(b'{"pk":"@', "not_json"), end=b""),
    endings("carriage returns for newlines", bad(b'{"pk":"@-1"}\r{"pk":"@-2"}\r', "not_json"), end=b""),
    endings("a byte order mark", one(1), one(2), before=BOM),
    endings("a byte order mark before a bad line", bad(b"bad", "not_json"), one(2), before=BOM),
    endings("a byte order mark and nothing else", skipped(b""), before=BOM, end=b""),
    endings("a byte order mark in the middle", one(1), bad(BOM + b'{"pk":"@"}', "not_json"), one(3)),
    endings("an empty file", skipped(b""), end=b""),
    endings("a file of one newline", skipped(b"")),
    endings("UTF-16", bad(b'\xff\xfe{\0"\0p\0k\0"\0:\x001\0}\0', "invalid_utf8"), bad(b"\0", "not_json"), end=b""),
    row("an ending in capitals", one(1), pack=member, suffix=".JSON.GZ"),
    packed("gzip of several members", members, GZ),
    packed("gzip with an empty member", followed(member, member(b"")), GZ),
    packed("gzip with every optional field", named_member, GZ),
    packed("gzip with zeros behind it", followed(member, bytes(1000)), GZ),
    packed("gzip members that end within lines", lambda content: member(content[:5]) + member(content[5:]), GZ),
    row("an empty file named gzip", skipped(b""), end=b"", suffix=GZ),
    row("gzip of nothing", skipped(b""), end=b"", pack=member, suffix=GZ),
    row("plain JSON in a line of 3 MB, gzip", bad(b"x" * 3_000_000, "not_json"), one(2), pack=member, suffix=GZ),
    packed("zstd of several frames", frames, ZST),
    packed("zstd without checksum and size", NO_ZSTD_CHECK, ZST),
    packed("zstd with skippable frames", lambda content: SKIPPABLE + frames(content) + SKIPPABLE, ZST),
    row("an empty file named zstd", skipped(b""), end=b"", suffix=ZST),
)

TWO = (one(1), bad(b"bad", "not_json"), one(3))
LOST = skipped(b'{"pk":"@-lost"}')
WINDOW_OF_2_GB = b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x11\0\0" + b"ab"
UNKNOWN_DICTIONARY = b"\x28\xb5\x2f\xfd\x21\x07\x02" + b"\x11\0\0" + b"ab"

# What stands before a checksum may be on its way already when that is found to be wrong or missing.
BROKEN: tuple[Row, ...] = (
    broken("gzip cut in a header", *TWO, pack=followed(members, member(b"x")[:6]), suffix=GZ, told="in the middle"),
    broken("gzip cut in the data", *TWO, LOST, pack=cut(members, 12), suffix=GZ, told="in the middle"),
    broken("gzip cut in the last checksum", *TWO, one(4), pack=cut(members, 3), suffix=GZ, told="in the middle"),
    broken("gzip with a wrong checksum", *TWO, LOST, pack=flipped(members, -6), suffix=GZ, told="corrupt"),
    broken("gzip with a wrong size", *TWO, LOST, pack=flipped(members, -2), suffix=GZ, told="corrupt"),
    broken("gzip with a bit wrong", *TWO, LOST, pack=flipped(members, -14), suffix=GZ, told="corrupt"),
    broken("gzip with other bytes behind it", *TWO, pack=followed(members, b"behind"), suffix=GZ, told="gzip"),
    broken(
        "gzip with zeros in the middle", *TWO, pack=followed(members, bytes(9) + member(b"x")), suffix=GZ, told="gzip"
    ),
    broken("plain JSON named gzip", LOST, pack=bytes, suffix=GZ, told="not a whole gzip file"),
    broken("zstd named gzip", LOST, pack=frames, suffix=GZ, told="not a whole gzip file"),
    broken("zeros named gzip", skipped(bytes(99)), pack=bytes, suffix=GZ, told="not a whole gzip file"),
    broken("zstd cut in a header", *TWO, pack=followed(frames, frames(b"x")[:5]), suffix=ZST, told="in the middle"),
    broken("zstd cut in a block", *TWO, LOST, pack=cut(frames, 9), suffix=ZST, told="in the middle"),
    broken("zstd cut in the last checksum", *TWO, one(4), pack=cut(frames, 2), suffix=ZST, told="in the middle"),
    broken("zstd with a wrong checksum", *TWO, one(4), pack=flipped(frames, -1), suffix=ZST, told="corrupt"),
    broken("zstd with other bytes behind it", *TWO, pack=followed(frames, b"behind"), suffix=ZST, told="zstd"),
    broken("zstd with a window of 2 GB", *TWO, pack=followed(frames, WINDOW_OF_2_GB), suffix=ZST, told="corrupt"),
    broken("zstd with a dictionary", *TWO, pack=followed(frames, UNKNOWN_DICTIONARY), suffix=ZST, told="corrupt"),
    broken("plain JSON named zstd", LOST, pack=bytes, suffix=ZST, told="not a whole zstd file"),
    broken("gzip named zstd", LOST, pack=member, suffix=ZST, told="not a whole zstd file"),
)
