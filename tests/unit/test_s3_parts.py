"""The body of a part, for a client that reads it as a file."""

from __future__ import annotations

import io
from base64 import b64decode
from zlib import crc32

from ddbio.storage.s3_parts import PartBody

PIECES = [b"ab", b"", b"cde", b"f"]


def test_pieces_read_as_one_file_again_and_again() -> None:
    body = PartBody(PIECES, crc32(b"abcdef"))
    assert (len(body), body.read(1), body.tell(), body.read()) == (6, b"a", 1, b"bcdef")
    assert (body.seek(-5, io.SEEK_END), body.read()) == (1, b"bcdef")
    assert (body.seek(0), io.BufferedReader(body).read()) == (0, b"abcdef")


def test_the_checksum_is_as_s3_wants_it() -> None:
    assert b64decode(PartBody(PIECES, crc32(b"abcdef")).crc32) == crc32(b"abcdef").to_bytes(4, "big")
