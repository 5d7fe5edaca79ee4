"""Generated items for tests, demonstrations and benchmarks: reproducible, with unique keys, and fast to make.

Every item has a partition key `hash` (32 hex digits, evenly spread) and a sort key `range` (32 hex digits, which begin
with the item's number, so that keys are unique).
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from ddbio.errors import DestinationError, UsageError
from ddbio.names import compression_of

Shape = Literal["small", "large", "nested"]


def blocks(count: int, *, shape: Shape = "small", seed: int | None = None) -> Iterator[bytes]:
    """Yield `count` items as JSON lines, in blocks of about 1 MB. Equal seeds give equal bytes; None is a random seed.

    `small`: four strings, about 170 bytes a line. `large`: four strings, about 100 KB. `nested`: every type, about
    1 KB, as DynamoDB JSON (`{"Item": {…}}`), because plain JSON has no sets and no binary.
    Raises UsageError if `count` is negative.
    """
    if count < 0:
        raise UsageError(f"The number of items must not be negative: {count}.")
    return _blocks(count, _SHAPES[shape], random.Random(seed))  # noqa: S311


def write_file(lines: Iterable[bytes], file: str) -> int:
    """Write the blocks to `file`, which appears (or changes) only when it is complete; return the number of bytes.

    A file whose name ends in `.gz` or `.zst` is compressed. A special file such as a pipe is written directly. Raises
    DestinationError.
    """
    from ddbio.codec.compression import compress  # noqa: PLC0415 - not needed for help
    from ddbio.storage import home_path  # noqa: PLC0415

    target, kind = Path(home_path(file)).resolve(), compression_of(file)
    lines = (compress(kind, block) for block in lines)
    try:
        if target.exists() and not target.is_file():
            return _write(lines, target, "wb")
        return _write_whole(lines, target)
    except OSError as error:
        raise DestinationError(
            f"{file} can't be written: {error.strerror}.", hint="Give a file in a folder that exists and has space."
        ) from error


def _write_whole(lines: Iterable[bytes], target: Path) -> int:
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        written = _write(lines, unfinished, "xb")
        unfinished.replace(target)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise
    return written


def _write(lines: Iterable[bytes], path: Path, mode: Literal["wb", "xb"]) -> int:
    written = 0
    with path.open(mode) as file:
        for block in lines:
            written += file.write(block)
    return written


def _blocks(count: int, shape: _Recipe, chance: random.Random) -> Iterator[bytes]:
    for first in range(0, count, shape.per_block):
        numbers = range(first, min(first + shape.per_block, count))
        digits = chance.randbytes(shape.pieces.size * len(numbers) // 2).hex().encode()
        yield b"".join(shape.lines(zip(numbers, shape.pieces.iter_unpack(digits), strict=True)))


def _strings(items: _Numbered) -> Iterable[bytes]:
    return [
        b'{"hash":"%b","range":"%016x%b","val_1":"%b","val_2":"%b"}\n' % (key, number, sort, first, second)
        for number, (key, sort, first, second) in items
    ]


def _every_type(items: _Numbered) -> Iterable[bytes]:
    """Hex digits are also base64, so the binary values come from the same text."""
    for number, (key, sort, chance, word, text, other) in items:
        whole = int(chance, 16)
        yield _NESTED % {
            b"key": key,
            b"sort": b"%016x%b" % (number, sort),
            b"number": number,
            b"digit": number % 7,
            b"exponent": number % 90,
            b"bool": b"true" if number % 2 else b"false",
            b"whole": whole,
            b"units": whole % 1_000,
            b"cents": whole % 100,
            b"latitude": whole % 90,
            b"longitude": whole % 180,
            b"word": word,
            b"text": text,
            b"other": other,
        }


_NESTED = (
    '{"Item":{"hash":{"S":"%(key)b"},"range":{"S":"%(sort)b"},'
    '"number":{"N":"%(number)d"},"price":{"N":"%(units)d.%(cents)02d"},"precise":{"N":"-1.%(whole)037dE-%(exponent)d"},'
    '"active":{"BOOL":%(bool)b},"deleted":{"NULL":true},"empty":{"S":""},'
    '"title":{"S":"\\u00c4rger \\"%(word)b\\" \U0001f680\\n\\\\"},"digest":{"B":"%(text)b"},'
    '"tags":{"SS":["a%(word)b","b%(word)b","\u00fc"]},"sizes":{"NS":["%(number)d","-0.5","1%(number)de20"]},'
    '"blocks":{"BS":["%(word)bAAAA","%(word)b"]},'
    '"address":{"M":{"city":{"S":"%(word)b"},"notes":{"L":[]},"extra":{"M":{}},'
    '"position":{"M":{"lat":{"N":"%(latitude)d.5"},"lon":{"N":"-%(longitude)d.25"}}}}},'
    '"orders":{"L":[{"M":{"id":{"S":"%(text)b"},"amount":{"N":"%(whole)d"},'
    '"parts":{"L":[{"S":"%(other)b"},{"N":"%(digit)d"},{"NULL":true}]}}},'
    '{"M":{"id":{"S":"%(other)b"},"codes":{"SS":["x","y"]}}}]}}}\n'
).encode()


class _Recipe(NamedTuple):
    """How items of one shape are built from random hex digits."""

    pieces: struct.Struct
    lines: Callable[[_Numbered], Iterable[bytes]]
    per_block: int


_Numbered = Iterable[tuple[int, tuple[bytes, ...]]]
_SHAPES: dict[Shape, _Recipe] = {
    "small": _Recipe(struct.Struct("32s16s32s32s"), _strings, 4_096),
    "large": _Recipe(struct.Struct("32s16s51200s51200s"), _strings, 10),
    "nested": _Recipe(struct.Struct("32s16s30s8s32s64s"), _every_type, 1_000),
}
