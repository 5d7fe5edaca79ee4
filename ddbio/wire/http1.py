"""One HTTP/1.1 connection: a request out, a reply in, one exchange after the other.

A reply of known length is received into the very buffer that the caller gets: that is the cheapest way to have a page
of a megabyte, at half of what a general HTTP client takes for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, cast

from ddbio.wire.room import LARGE_BODY, MAX_BODY, Claim, Room

MAX_HEAD = 64 * 1024
SMALL_BODY = 64 * 1024
"""A request up to this size leaves in one write."""
PIECE_BYTES = 512 * 1024
"""Of a larger one so much is encrypted and written at a time; then others have their turn."""
_MAX_LINE = 4_096
_status_line = re.compile(r"HTTP/1\.([01]) (\d{3})(?: [^\r\n]*)?\r\n").match
_fields = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n]*\r\n)*\r\n").fullmatch
_chunk_size = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?").fullmatch
_length = re.compile(r"\d{1,15}").fullmatch


class HttpError(OSError):
    """The other side broke off, or does not speak HTTP/1.1. The message quotes nothing of what it sent."""


class Reply(NamedTuple):
    """An HTTP reply; its header names are in lower case, and of one that comes twice the last counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes | bytearray


class Connection(asyncio.BufferedProtocol):
    """A protocol for `create_connection`. `usable` tells whether another exchange may follow.

    A large body waits for `room` before it is read, and has it until the exchange is over.
    """

    def __init__(self, room: Room) -> None:
        self._loop = asyncio.get_running_loop()
        self._room = room
        self._claim: Claim | None = None
        self._head = bytearray(MAX_HEAD)
        self._filled = 0
        self._reply: asyncio.Future[Reply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = self._loop.time()
        self._paused: asyncio.Future[None] | None = None
        self._expect_reply()
        self.usable = True

    @property
    def quiet_since(self) -> float:
        """The instant, on the loop's clock, at which something was received last."""
        return self._heard_at

    async def exchange(
        self, method: str, target: str, headers: Mapping[str, str], pieces: Sequence[bytes], silence: float
    ) -> Reply:
        """Send a request and return its reply.

        Raises `TimeoutError` where nothing moves for `silence` seconds, or all takes ten times that; another `OSError`
        where the connection breaks. After an error or a cancellation it is closed.
        """
        self.usable = False
        reply: asyncio.Future[Reply] = self._loop.create_future()
        self._reply = reply
        self._expect_reply()
        self._heard_at = self._loop.time()
        self._watch(silence, self._heard_at + 10 * silence)
        try:
            await self._send(_head(method, target, headers, sum(map(len, pieces))), pieces, reply)
            return await reply
        except BaseException:
            self.close()
            self._expect_reply()  # an error keeps this connection for as long as it is kept, but not what was received
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._claim is not None:
                self._room.leave(self._claim)
            self._reply = self._claim = None

    def close(self) -> None:
        """Drop the connection at once."""
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
        """The transport has enough for now."""
        self._paused = self._loop.create_future()

    def resume_writing(self) -> None:
        """The transport has room again."""
        self._heard_at = self._loop.time()
        paused, self._paused = self._paused, None
        if paused is not None and not paused.done():
            paused.set_result(None)

    # Receiving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the protocol's parameter
        """Where the next bytes are wanted."""
        if self._into is not None:
            return self._into[self._received :]
        return memoryview(self._head)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come."""
        self._heard_at = self._loop.time()
        if self._into is not None:
            self._received += nbytes
            if self._received == len(self._into):
                self._end()
            return
        self._filled += nbytes
        if self._reply is None or self._reply.done():
            self.close()  # nobody has asked
            return
        try:
            self._take_in()
        except HttpError as error:
            self._fail(error)

    def eof_received(self) -> None:
        """The other side is done: the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: which ends a reply that has no other end."""
        if self._until_close and exc is None:
            self._end()
        self._fail(exc if isinstance(exc, OSError) else HttpError("the connection was closed"))

    def _expect_reply(self) -> None:
        self._filled = 0
        self._status = 0
        self._body = bytearray()
        self._into: memoryview | None = None
        self._received = 0
        self._chunks: _Chunks | None = None
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
        if status >= 200:  # what comes before is only a notice
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
            self._chunks = _Chunks(self._body)
        elif length is not None:
            if not _length(length) or int(length) > MAX_BODY:
                raise HttpError("the reply has an impossible length")
            self._admit(int(length), partial(self._receive, int(length)))
        else:
            self._until_close = True

    def _admit(self, length: int, receive: Callable[[], None]) -> None:
        """Go on to `receive` so many bytes once there is room; until then, nothing more is read."""
        if length <= LARGE_BODY:
            receive()
        elif self._claim is None:
            self._claim = self._room.claim(length, receive)
            if not self._claim.granted:
                self._transport.pause_reading()
                self._claim.go = partial(self._go_on, receive)

    def _go_on(self, receive: Callable[[], None]) -> None:
        self._heard_at = self._loop.time()
        self._transport.resume_reading()
        receive()

    def _receive(self, length: int) -> None:
        """Let the rest of a body of so many bytes be written straight into it."""
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
            self._admit(MAX_BODY, lambda: None)  # nobody knows how long it will be

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
            self._heard_at = self._loop.time()  # what is not read makes no noise
        due = min(self._heard_at + silence, deadline)
        if due <= self._loop.time():
            self._fail(TimeoutError())
        else:
            self._timer = self._loop.call_at(due, self._watch, silence, deadline)


class _Chunks:
    """Takes a chunked body apart (RFC 9112, section 7.1); the trailer is dropped."""

    def __init__(self, body: bytearray) -> None:
        self.body = body
        self.rest = bytearray()
        """Bytes that no chunk has claimed yet."""
        self._left = 0
        self._ending = False
        self._last = False

    def feed(self, data: bytes) -> bool:
        """Add bytes; whether the body is whole."""
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
        """Read the line between two chunks, or of the trailer; whether it is the very last."""
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


def _head(method: str, target: str, headers: Mapping[str, str], length: int) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    lines.append(f"Content-Length: {length}")
    text = "\r\n".join(lines)
    if text.count("\n") >= len(lines) or text.count("\r") >= len(lines):
        raise ValueError("A header holds a line break.")
    return f"{text}\r\n\r\n".encode("latin-1")
