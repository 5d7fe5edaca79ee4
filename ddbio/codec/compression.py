"""Compression in blocks that are complete gzip members or zstd frames, and decompression in pieces of limited size."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Protocol

import zstandard
from isal import igzip, igzip_lib

from ddbio.model import Compression

PIECE_BYTES = 1 << 20
"""Limit of the pieces that a decompressor produces, however much a stream expands."""

_GZIP_SLICE = 1 << 16
_SKIPPABLE = b"\x2a\x4d\x18"


class CorruptStreamError(ValueError):
    """A compressed stream that is damaged, or not of the format that its name implies."""


class TruncatedStreamError(ValueError):
    """A compressed stream that ends in the middle of a gzip member or zstd frame."""


def compress(kind: Compression, data: bytes) -> bytes:
    """Compress a block into a gzip member without a time stamp, or a zstd frame with its size and a checksum.

    Concatenated blocks are a valid file. The GIL is released.
    """
    if kind == "gzip":
        return igzip.compress(data, 1, mtime=0)
    if kind == "zstd":
        return zstandard.ZstdCompressor(level=1, write_checksum=True, write_content_size=True).compress(data)
    return data


class _Stream(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def end(self) -> None: ...


class Decompressor:
    """Decompresses a stream of any number of gzip members or zstd frames."""

    def __init__(self, kind: Compression) -> None:
        streams: dict[Compression, type[_Stream]] = {"none": _Plain, "gzip": _Gzip, "zstd": _Zstd}
        self._stream = streams[kind]()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Pieces of at most `PIECE_BYTES`; exhaust the iterator before feeding more. Raises `CorruptStreamError`."""
        return self._stream.feed(data)

    def end(self) -> None:
        """Must be called at the end of the file; raises `TruncatedStreamError` if the stream is incomplete."""
        self._stream.end()


class _Plain:
    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), PIECE_BYTES):
            yield data[start : start + PIECE_BYTES]

    def end(self) -> None:
        pass


class _Gzip:
    """Concatenated members; the file may be padded with zeros, as on tapes."""

    def __init__(self) -> None:
        self._member: igzip_lib.IgzipDecompressor | None = None
        self._began = False
        self._padding = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        # What is behind a member's end is copied: slices keep that cheap where members are many and small.
        for start in range(0, len(data), _GZIP_SLICE):
            rest = data[start : start + _GZIP_SLICE]
            while rest:
                if self._member is None:
                    rest = self._begin(rest)
                if self._member is not None:
                    yield from self._pieces(self._member, rest)
                    rest = self._member.unused_data
                    if self._member.eof:
                        self._member = None

    def end(self) -> None:
        if self._member is not None:
            raise TruncatedStreamError("The gzip stream ends in the middle of a member.")

    def _begin(self, data: bytes) -> bytes:
        """Start a member with these bytes, unless they are padding; return the rest of them."""
        rest = data.lstrip(b"\0") if self._began else data
        self._padding = self._padding or len(rest) < len(data)
        if rest and self._padding:
            raise CorruptStreamError("Something other than a gzip member follows the last one.")
        if rest:
            self._member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            self._began = True
        return rest

    @staticmethod
    def _pieces(member: igzip_lib.IgzipDecompressor, data: bytes) -> Iterator[bytes]:
        try:
            piece = member.decompress(data, PIECE_BYTES)
            while piece:
                yield piece
                piece = b"" if member.eof else member.decompress(b"", PIECE_BYTES)
        except igzip_lib.IsalError as error:  # type: ignore[misc]  # the stub says instance where it means class
            raise CorruptStreamError(f"The gzip stream is corrupt: {error}.") from None


class _Zstd:
    """Concatenated frames, decompressed by blocks: a block yields at most 128 KiB, longer input any amount.

    The layout is that of RFC 8878, section 3.1.
    """

    def __init__(self) -> None:
        self._held = b""
        self._pieces: list[bytes] = []
        self._inside = False
        self._elements = self._read()
        self._needed = next(self._elements)

    def feed(self, data: bytes) -> Iterator[bytes]:
        held, pos = self._held + data, 0
        while len(held) - pos >= self._needed:
            element = held[pos : pos + self._needed]
            pos += self._needed
            try:
                self._needed = self._elements.send(element)
            except zstandard.ZstdError as error:
                raise CorruptStreamError(f"The zstd stream is corrupt: {error}.") from None
            yield from filter(None, self._pieces)
            self._pieces.clear()
        self._held = held[pos:]

    def end(self) -> None:
        if self._inside or self._held:
            raise TruncatedStreamError("The zstd stream ends in the middle of a frame.")

    def _read(self) -> Generator[int, bytes, None]:
        """A coroutine that yields the length of the next element of the stream, is sent that, and decompresses it."""
        while True:
            self._inside = False
            magic = yield 4
            self._inside = True
            if magic == zstandard.FRAME_HEADER:
                yield from self._frame()
            elif magic[1:] == _SKIPPABLE and magic[0] & 0xF0 == 0x50:
                yield from self._skip(int.from_bytes((yield 4), "little"))
            else:
                raise CorruptStreamError("Something other than a zstd frame stands in the stream.")

    def _skip(self, length: int) -> Generator[int, bytes, None]:
        while length:
            length -= len((yield min(length, PIECE_BYTES)))

    def _frame(self) -> Generator[int, bytes, None]:
        decompress = zstandard.ZstdDecompressor().decompressobj().decompress
        descriptor = yield 1
        flags = descriptor[0]
        single_segment = flags >> 5 & 1
        size_bytes = (single_segment, 2, 4, 8)[flags >> 6]
        dictionary_bytes = (0, 1, 2, 4)[flags & 3]
        fields = yield 1 - single_segment + dictionary_bytes + size_bytes
        decompress(zstandard.FRAME_HEADER + descriptor + fields)
        last = False
        while not last:
            header = yield 3
            value = int.from_bytes(header, "little")
            last, repeated = bool(value & 1), value >> 1 & 3 == 1
            block = yield 1 if repeated else value >> 3
            self._pieces.append(decompress(header + block))
        if flags >> 2 & 1:
            self._pieces.append(decompress((yield 4)))
