"""HTTP/1.1 on loopback, as far as the test servers need it: one request at a time per connection, kept alive."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import cached_property
from http import HTTPStatus
from itertools import count
from typing import Any

import msgspec

HEAD_LIMIT = 64 * 1024
BLOCK = 256 * 1024
WITHOUT_BODY = {204, 304}

Fields = tuple[tuple[str, str], ...]


class PeerGoneError(Exception):
    """A connection ended in the middle of a body."""


class Body:
    """A request's body as it arrives, the framing taken off. Raises PeerGoneError where the client goes away."""

    def __init__(self, reader: asyncio.StreamReader, headers: Mapping[str, str]) -> None:
        self._reader = reader
        self.length = None if _is_chunked(headers) else int(headers.get("content-length", 0))
        """How many bytes it has, None where the client did not say."""
        self.finished = self.length == 0
        """Whether its end was read."""
        self._pieces = self._read()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def whole(self) -> bytes:
        """All of it."""
        return b"".join([piece async for piece in self])

    async def _read(self) -> AsyncGenerator[bytes, None]:
        try:
            sizes = self._chunk_sizes() if self.length is None else _one(self.length)
            async for size in sizes:
                left = size
                while left and (piece := await self._reader.read(min(left, BLOCK))):
                    yield piece
                    left -= len(piece)
                if left:
                    raise PeerGoneError
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise PeerGoneError from error
        self.finished = True

    async def _chunk_sizes(self) -> AsyncGenerator[int, None]:
        while size := int((await self._reader.readuntil(b"\n")).partition(b";")[0], 16):
            yield size
            await self._reader.readexactly(2)
        while await self._reader.readuntil(b"\n") != b"\r\n":
            pass


@dataclass(frozen=True)
class Request:
    """One request; the names of `headers` are in lower case, `fields` are the same as they came.

    A server that streams gives what has a body as `stream`, and `body` is empty.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    fields: Fields = ()
    stream: Body | None = None

    @property
    def operation(self) -> str:
        """The operation of `X-Amz-Target` (for example `Scan`), or an empty string."""
        return self.headers.get("x-amz-target", "").rpartition(".")[2]

    @cached_property
    def payload(self) -> Any:
        """The body as JSON. Raises `msgspec.DecodeError`."""
        return msgspec.json.decode(self.body)

    async def whole(self) -> Request:
        """The same request with nothing left to stream. Raises PeerGoneError."""
        return self if self.stream is None else replace(self, body=await self.stream.whole(), stream=None)

    def with_payload(self, payload: object) -> Request:
        """The same request with another body."""
        return replace(self, body=msgspec.json.encode(payload))


@dataclass(frozen=True)
class Reply:
    """One reply; its body is the concatenation of `parts`, or `stream` where there is one.

    `crc` is sent as `x-amz-crc32` where given. After `cut` bytes of the body the connection is closed, whatever
    Content-Length said; `reset` resets it before the first byte. `fields` take the place of the regular header, framing
    and `crc` excepted. `length` is the Content-Length of a stream, or of the body that a reply to HEAD leaves out.
    """

    parts: tuple[bytes, ...]
    status: int = 200
    crc: int | None = None
    content_type: str = "application/x-amz-json-1.0"
    cut: int | None = None
    reset: bool = False
    fields: Fields | None = None
    stream: AsyncGenerator[bytes, None] | None = None
    length: int | None = None

    @property
    def body(self) -> bytes:
        """The whole body, unless it is a stream."""
        return b"".join(self.parts)

    @property
    def payload(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


Handler = Callable[[Request], Awaitable[Reply]]


class HttpServer:
    """Listens on 127.0.0.1 from `start` to `stop` and answers with `handler`.

    A handler that raises closes its connection without a reply, and `stop` raises what it raised, PeerGoneError
    excepted. With `streaming`, requests are handed over before their bodies have come.
    """

    def __init__(self, handler: Handler, *, streaming: bool = False) -> None:
        self._handler = handler
        self._streaming = streaming
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self._ids = count(1)

    async def start(self, port: int = 0) -> int:
        """Listen on `port` (0: a free one) and return the port."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port, limit=HEAD_LIMIT)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close every connection. Raises an ExceptionGroup of what handlers raised, if any did."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._failures:
            raise BaseExceptionGroup("a test server's handler failed", self._failures)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()):
            self._failures.append(failure)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await self._read(reader, writer):
                reply = await self._handler(request)
                if reply.reset:
                    _reset_on_close(writer)
                    return
                await self._send(writer, request, reply)
                if request.stream is not None:
                    await request.stream.whole()
                if _is_last(request, reply):
                    await _drained(writer)
                    return
        except PeerGoneError:
            pass
        finally:
            # A transport of asyncio that was closed while it still had something to send can't be aborted afterwards.
            if not writer.transport.is_closing() or writer.transport.get_write_buffer_size():
                writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        line, *lines = head.decode("latin-1").rstrip().split("\r\n")
        pairs = (field.partition(":") for field in lines)
        fields = tuple((name, value.strip()) for name, _, value in pairs)
        headers = {name.lower(): value for name, value in fields}
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        method, path, _ = line.split(" ", 2)
        request = Request(method, path, headers, b"", fields, Body(reader, headers))
        return request if self._streaming else await request.whole()

    async def _send(self, writer: asyncio.StreamWriter, request: Request, reply: Reply) -> None:
        head = _head(reply, next(self._ids))
        with suppress(ConnectionError):
            if request.method == "HEAD" or reply.status in WITHOUT_BODY:
                writer.write(head)
            elif reply.stream is not None:
                await _send_stream(writer, head, reply, reply.stream)
            else:
                _send_parts(writer, head, reply)
            await writer.drain()


def _send_parts(writer: asyncio.StreamWriter, head: bytes, reply: Reply) -> None:
    body = reply.parts if reply.cut is None else (reply.body[: reply.cut],)
    if len(body) == 1 and len(body[0]) < HEAD_LIMIT:
        writer.write(head + body[0])
    else:
        for part in (head, *body):
            writer.write(part)


async def _send_stream(
    writer: asyncio.StreamWriter, head: bytes, reply: Reply, stream: AsyncGenerator[bytes, None]
) -> None:
    writer.write(head)
    sent = 0
    async with aclosing(stream):
        async for piece in stream:
            part = piece if reply.cut is None else piece[: reply.cut - sent]
            sent += len(part)
            writer.write(part if reply.length is not None else b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
            if sent == reply.cut:
                return
    if reply.length is None:
        writer.write(b"0\r\n\r\n")


def _is_last(request: Request, reply: Reply) -> bool:
    """Whether nothing can follow on this connection."""
    unread = request.stream is not None and not request.stream.finished
    return unread or reply.cut is not None or request.headers.get("connection", "").lower() == "close"


async def _one(size: int) -> AsyncGenerator[int, None]:
    yield size


def _is_chunked(headers: Mapping[str, str]) -> bool:
    return headers.get("transfer-encoding", "").lower() == "chunked"


def _head(reply: Reply, number: int) -> bytes:
    fields = reply.fields
    if fields is None:
        regular = {"Date": formatdate(usegmt=True), "Content-Type": reply.content_type}
        fields = (*regular.items(), ("x-amzn-RequestId", f"{number:052d}"))
    if reply.crc is not None:
        fields = (*fields, ("x-amz-crc32", str(reply.crc)))
    lines = "".join(f"{name}: {value}\r\n" for name, value in (*fields, *_framing(reply)))
    return f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}\r\n{lines}\r\n".encode("latin-1")


def _framing(reply: Reply) -> Fields:
    if reply.status in WITHOUT_BODY:
        return ()
    if reply.length is not None:
        return (("Content-Length", str(reply.length)),)
    if reply.stream is not None:
        return (("Transfer-Encoding", "chunked"),)
    return (("Content-Length", str(sum(map(len, reply.parts)))),)


async def _drained(writer: asyncio.StreamWriter) -> None:
    """Let everything written leave before the connection is aborted."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    """Make the kernel send RST when the socket is closed (see socket(7), SO_LINGER with a time of 0)."""
    connection = writer.get_extra_info("socket")
    if connection is None or connection.fileno() < 0:  # the client was killed meanwhile
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
