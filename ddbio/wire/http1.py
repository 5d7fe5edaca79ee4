"""One HTTP/1.1 connection: a request out, a reply in, one exchange after the other.

A reply of known length is received directly into the buffer that the caller gets. For a page of a megabyte, that costs
half of what a general-purpose HTTP client needs.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, cast

from ddbio.wire.chunked import ChunkedBody, HttpError
from ddbio.wire.room import LARGE_BODY, MAX_BODY, Claim, Room

MAX_HEAD = 64 * 1024
SMALL_BODY = 64 * 1024
"""Requests up to this size are sent in one write."""
PIECE_BYTES = 512 * 1024
"""Larger requests are encrypted and written in pieces of this size, between which other tasks run."""
_status_line = re.compile(r"HTTP/1\.([01]) (\d{3})(?: [^\r\n]*)?\r\n").match
_fields = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n]*\r\n)*\r\n").fullmatch
_length = re.compile(r"\d{1,15}").fullmatch


class Reply(NamedTuple):
    """An HTTP reply. Header names are in lower case; of a repeated header, the last one counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes | bytearray


class HttpConnection(asyncio.BufferedProtocol):
    """A protocol for `create_connection`. `usable` says whether another exchange may follow.

    Before a large body is received, it waits for `room`, which it occupies until the exchange is over.
    """

    def __init__(self, room: Room) -> None:
        self._loop = asyncio.get_running_loop()
        self._room = room
        self._claim: Claim | None = None
        self._head = bytearray(MAX_HEAD)
        self._filled = 0
        self._reply: asyncio.Future[Reply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.heard_at = self._loop.time()
        """The time of the loop at which something was last sent or received."""
        self._paused: asyncio.Future[None] | None = None
        self._expect_reply()
        self.usable = True

    async def exchange(
        self, method: str, target: str, headers: Mapping[str, str], pieces: Sequence[bytes], silence: float
    ) -> Reply:
        """Send a request and return its reply.

        Raises `TimeoutError` if nothing is sent or received for `silence` seconds, or the exchange takes ten times as
        long, and another `OSError` if the connection breaks. An error or a cancellation closes the connection.
        """
        self.usable = False
        reply: asyncio.Future[Reply] = self._loop.create_future()
        self._reply = reply
        self._expect_reply()
        self.heard_at = self._loop.time()
        self._watch(silence, self.heard_at + 10 * silence)
        try:
            await self._send(_head(method, target, headers, sum(map(len, pieces))), pieces, reply)
            return await reply
        except BaseException:
            self.close()
            self._expect_reply()  # an error may keep a reference to this connection
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._claim is not None:
                self._room.leave(self._claim)
            self._reply = self._claim = None

    def close(self) -> None:
        self.usable = False
        self._transport.abort()

    # Sending

    async def _send(self, head: bytes, pieces: Sequence[bytes], reply: asyncio.Future[Reply]) -> None:
        if sum(map(len, pieces)) <= SMALL_BODY:
            self._transport.write(b"".join((head, *pieces)))
            return
        self._transport.write(head)
        for piece in pieces:
            view = memoryview(piece)
            for start in range(0, len(piece), PIECE_BYTES):
                await (self._paused or asyncio.sleep(0))
                if reply.done():  # an answer, or an error, before all was sent
                    self.usable = False
                    return
                self._transport.write(view[start : start + PIECE_BYTES])

    def pause_writing(self) -> None:
        self._paused = self._loop.create_future()

    def resume_writing(self) -> None:
        self.heard_at = self._loop.time()
        paused, self._paused = self._paused, None
        if paused is not None and not paused.done():
            paused.set_result(None)

    # Receiving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the protocol's parameter
        if self._into is not None:
            return self._into[self._received :]
        return memoryview(self._head)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self.heard_at = self._loop.time()
        if self._into is not None:
            self._received += nbytes
            if self._received == len(self._into):
                self._end()
            return
        self._filled += nbytes
        if self._reply is None or self._reply.done():
            self.close()  # bytes that no request has asked for
            return
        try:
            self._take_in()
        except HttpError as error:
            self._fail(error)

    def eof_received(self) -> None:
        """Let the transport close the connection."""

    def connection_lost(self, exc: Exception | None) -> None:
        """End a reply that has no other end; fail any other."""
        if self._until_close and exc is None:
            self._end()
        self._fail(exc if isinstance(exc, OSError) else HttpError("the connection was closed"))

    def _expect_reply(self) -> None:
        self._filled = 0
        self._status = 0
        self._body = bytearray()
        self._into: memoryview | None = None
        self._received = 0
        self._chunks: ChunkedBody | None = None
        self._until_close = False

    def _take_in(self) -> None:
        while not self._status:
            end = self._head.find(b"\r\n\r\n", 0, self._filled) + 4
            if end == 3:
                if self._filled == MAX_HEAD:
                    raise HttpError("the head of the reply is too long")
                return
            self._read_head(self._head[:end].decode("latin-1"))
            rest = self._head[end : self._filled]
            self._filled = len(rest)
            self._head[: len(rest)] = rest
        if self._into is None and self._chunks is None and not self._until_close:
            self._begin_body()
        if self._chunks is not None or self._until_close:
            self._add_to_body()

    def _read_head(self, head: str) -> None:
        first = _status_line(head)
        if first is None:
            raise HttpError("the reply is not HTTP/1.1")
        if not _fields(head, first.end()):
            raise HttpError("the reply has a malformed header")
        status = int(first[2])
        if status >= 200:  # 1xx is informational, and another head follows
            lines = (line.partition(":") for line in head[first.end() : -2].split("\r\n")[:-1])
            self._status, self._headers = status, {name.lower(): value.strip(" \t") for name, _, value in lines}
            self._persistent = first[1] == "1" and "close" not in self._headers.get("connection", "").lower()

    def _begin_body(self) -> None:
        coding = self._headers.get("transfer-encoding")
        length = self._headers.get("content-length")
        if self._status in (204, 304):
            self._receive(0)
        elif coding is not None:
            if coding.lower() != "chunked":
                raise HttpError("the reply has an unknown transfer coding")
            self._chunks = ChunkedBody(self._body)
        elif length is not None:
            if not _length(length) or int(length) > MAX_BODY:
                raise HttpError("the reply has an impossible length")
            self._admit(int(length), partial(self._receive, int(length)))
        else:
            self._until_close = True

    def _admit(self, length: int, receive: Callable[[], None]) -> None:
        """Call `receive` once there is room for `length` bytes; until then, nothing more is read."""
        if length <= LARGE_BODY:
            receive()
        elif self._claim is None:
            self._claim = self._room.claim(length, receive)
            if not self._claim.granted:
                self._transport.pause_reading()
                self._claim.go = partial(self._go_on, receive)

    def _go_on(self, receive: Callable[[], None]) -> None:
        self.heard_at = self._loop.time()
        self._transport.resume_reading()
        receive()

    def _receive(self, length: int) -> None:
        """Receive the rest of a body of `length` bytes directly into its buffer."""
        self._body = bytearray(length)
        self._received = min(self._filled, length)
        self._body[: self._received] = memoryview(self._head)[: self._received]
        if self._filled > length:
            self._persistent = False
        if self._received == length:
            self._end()
        else:
            self._into = memoryview(self._body)

    def _add_to_body(self) -> None:
        data = bytes(self._head[: self._filled])
        self._filled = 0
        if self._chunks is None:
            self._body += data
        elif self._chunks.feed(data):
            self._persistent = self._persistent and not self._chunks.rest
            self._end()
        if len(self._body) > MAX_BODY:
            raise HttpError("the reply is too long")
        if len(self._body) > LARGE_BODY:
            self._admit(MAX_BODY, lambda: None)  # its length is not known in advance

    def _end(self) -> None:
        reply, body = self._reply, self._body
        if reply is not None and not reply.done():
            self.usable = self._persistent
            reply.set_result(Reply(self._status, self._headers, body))
        self._expect_reply()
        self._wake_sender()

    def _fail(self, error: OSError) -> None:
        self.usable = False
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)
        self._wake_sender()

    def _wake_sender(self) -> None:
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)

    def _watch(self, silence: float, deadline: float) -> None:
        if self._claim is not None and not self._claim.granted:
            self.heard_at = self._loop.time()  # nothing is read meanwhile
        due = min(self.heard_at + silence, deadline)
        if due <= self._loop.time():
            self._fail(TimeoutError())
        else:
            self._timer = self._loop.call_at(due, self._watch, silence, deadline)


def _head(method: str, target: str, headers: Mapping[str, str], length: int) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    lines.append(f"Content-Length: {length}")
    text = "\r\n".join(lines)
    if text.count("\n") >= len(lines) or text.count("\r") >= len(lines):
        raise ValueError("A header holds a line break.")
    return f"{text}\r\n\r\n".encode("latin-1")
