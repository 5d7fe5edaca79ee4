"""Decoding of chunked bodies."""

from __future__ import annotations

import re

_MAX_LINE = 4_096
_chunk_size = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?").fullmatch


class HttpError(OSError):
    """The server closed the connection, or does not speak HTTP/1.1. The message quotes nothing that it sent."""


class ChunkedBody:
    """Decodes a chunked body (RFC 9112, section 7.1) into `body`; the trailer is dropped."""

    def __init__(self, body: bytearray) -> None:
        self.body = body
        self.rest = bytearray()
        """Bytes that do not belong to any chunk yet."""
        self._left = 0
        self._ending = False
        self._last = False

    def feed(self, data: bytes) -> bool:
        """Add bytes; return whether the body is complete."""
        self.rest += data
        while True:
            if self._left:
                self._take(min(self._left, len(self.rest)))
                if self._left:
                    return False
            end = self.rest.find(b"\r\n")
            if end < 0:
                if len(self.rest) > _MAX_LINE:
                    raise HttpError("the reply has a malformed chunk")
                return False
            line = bytes(self.rest[:end])
            del self.rest[: end + 2]
            if self._next(line):
                return True

    def _take(self, count: int) -> None:
        self.body += memoryview(self.rest)[:count]
        del self.rest[:count]
        self._left -= count
        self._ending = self._left == 0

    def _next(self, line: bytes) -> bool:
        """Read a line between two chunks or of the trailer; return whether it ends the body."""
        if self._last:
            return not line
        if self._ending:
            self._ending = False
            if line:
                raise HttpError("the reply has a malformed chunk")
            return False
        size = _chunk_size(line)
        if size is None:
            raise HttpError("the reply has a malformed chunk")
        self._left = int(size[1], 16)
        self._last = self._left == 0
        return False
