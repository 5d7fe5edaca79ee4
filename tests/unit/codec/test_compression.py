"""Blocks that concatenate, and streams read back in bounded pieces."""

from __future__ import annotations

import gzip
import io
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from isal.isal_zlib import crc32

from ddbio.codec.compression import PIECE_BYTES, CorruptStreamError, Decompressor, TruncatedStreamError, compress
from ddbio.model import Compression
from tests.kit.marks import examples

KINDS: tuple[Compression, ...] = ("none", "gzip", "zstd")
PACKED: tuple[Compression, ...] = ("gzip", "zstd")
SKIPPABLE = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"


def read(kind: Compression, stream: bytes, size: int = 1 << 20) -> bytes:
    decompressor = Decompressor(kind)
    pieces = [
        piece for start in range(0, len(stream), size) for piece in decompressor.feed(stream[start : start + size])
    ]
    decompressor.end()
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)
    return b"".join(pieces)


@pytest.mark.parametrize("kind", KINDS)
@examples(50)
@given(blocks=st.lists(st.binary(max_size=300)), size=st.integers(1, 50))
def test_blocks_one_behind_the_other_are_one_stream(kind: Compression, blocks: list[bytes], size: int) -> None:
    assert read(kind, b"".join(compress(kind, block) for block in blocks), size) == b"".join(blocks)


def test_other_tools_read_what_is_written() -> None:
    blocks = [b"one\n" * 1000, b"", b"two\n"]
    assert gzip.decompress(b"".join(compress("gzip", block) for block in blocks)) == b"".join(blocks)
    frames = io.BytesIO(b"".join(compress("zstd", block) for block in blocks))
    assert zstandard.ZstdDecompressor().stream_reader(frames, read_across_frames=True).read() == b"".join(blocks)


def test_what_other_tools_write_is_read() -> None:
    data = bytes(range(256)) * 3000
    named = io.BytesIO()
    with gzip.GzipFile("name", "wb", fileobj=named, mtime=1) as file:
        file.write(data)
    assert read("gzip", named.getvalue(), 7) == data
    for options in ({}, {"write_content_size": False}, {"write_checksum": True}, {"level": 19, "threads": 2}):
        assert read("zstd", zstandard.ZstdCompressor(**options).compress(data), 1000) == data
    unsized = zstandard.ZstdCompressor().compressobj()
    assert read("zstd", unsized.compress(data) + unsized.flush(), 3) == data


def test_a_block_is_the_same_at_any_time_and_is_checked() -> None:
    assert compress("gzip", b"x")[4:8] == bytes(4)
    frame = zstandard.get_frame_parameters(compress("zstd", b"x" * 1000))
    assert frame.has_checksum
    assert frame.content_size == 1000


@pytest.mark.parametrize("kind", PACKED)
def test_an_endlessly_expanding_stream_is_read_in_pieces(kind: Compression) -> None:
    bomb = compress(kind, bytes(100 << 20))
    decompressor = Decompressor(kind)
    sizes = [len(piece) for piece in decompressor.feed(bomb)]
    decompressor.end()
    assert sum(sizes) == 100 << 20
    assert max(sizes) <= PIECE_BYTES


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("cut", [1, 3, 5, 12, -9, -4, -1])
def test_a_cut_stream_is_told(kind: Compression, cut: int) -> None:
    first = compress(kind, b"first" * 100)
    second = compress(kind, bytes(range(256)))
    with pytest.raises(TruncatedStreamError, match="in the middle"):
        read(kind, first + second[:cut])


@pytest.mark.parametrize("kind", PACKED)
def test_a_broken_stream_is_told(kind: Compression) -> None:
    block = compress(kind, bytes(range(256)))
    broken = bytearray(block)
    broken[-5] ^= 1
    with pytest.raises(CorruptStreamError, match="corrupt"):
        read(kind, bytes(broken) + block)
    for stream in (b"no such thing at all", block + b"{} and more of it"):
        with pytest.raises(CorruptStreamError):
            read(kind, stream)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_file_is_an_empty_stream(kind: Compression) -> None:
    assert read(kind, b"") == b""


def test_zeros_may_follow_the_last_gzip_member() -> None:
    block = compress("gzip", b"x")
    assert read("gzip", block + bytes(1000)) == b"x"
    assert read("gzip", block + bytes(1000), 1) == b"x"
    for stream in (block + bytes(9) + block, block + bytes(9) + b"x", bytes(9) + block):
        with pytest.raises(CorruptStreamError):
            read("gzip", stream)


def test_skippable_zstd_frames_are_skipped() -> None:
    frame = compress("zstd", b"x")
    assert read("zstd", SKIPPABLE + frame + SKIPPABLE + frame, 2) == b"xx"
    with pytest.raises(TruncatedStreamError):
        read("zstd", frame + SKIPPABLE[:-1])


def test_crc32_goes_on() -> None:
    assert crc32(b"ab") == zlib.crc32(b"ab") == crc32(b"b", crc32(b"a"))
