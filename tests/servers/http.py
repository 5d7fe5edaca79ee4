"""HTTP/1.1 on loopback, as far as the test servers need it: one request at a time per connection, kept alive."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import cached_property
from http import HTTPStatus
from itertools import count
from typing import Any

import msgspec

HEAD_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Request:
    """One request; the names of `headers` are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        """The operation of `X-Amz-Target` (for example `Scan`), or an empty string."""
        return self.headers.get("x-amz-target", "").rpartition(".")[2]

    @cached_property
    def payload(self) -> Any:
        """The body as JSON. Raises `msgspec.DecodeError`."""
        return msgspec.json.decode(self.body)

    def with_payload(self, payload: object) -> Request:
        """The same request with another body."""
        return replace(self, body=msgspec.json.encode(payload))


@dataclass(frozen=True)
class Reply:
    """One reply; its body is the concatenation of `parts`.

    `crc` is sent as `x-amz-crc32` where given. After `cut` bytes of the body the connection is closed, whatever
    Content-Length said; `reset` resets it before the first byte.
    """

    parts: tuple[bytes, ...]
    status: int = 200
    crc: int | None = None
    content_type: str = "application/x-amz-json-1.0"
    cut: int | None = None
    reset: bool = False

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.parts)

    @property
    def payload(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


Handler = Callable[[Request], Awaitable[Reply]]


class HttpServer:
    """Listens on 127.0.0.1 from `start` to `stop` and answers with `handler`.

    A handler that raises closes its connection without a reply, and `stop` raises what it raised.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
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
            while request := await _read(reader):
                reply = await self._handler(request)
                if reply.reset:
                    _reset_on_close(writer)
                    return
                await self._send(writer, reply)
                if reply.cut is not None:
                    await _drained(writer)
                    return
        finally:
            writer.transport.abort()

    async def _send(self, writer: asyncio.StreamWriter, reply: Reply) -> None:
        head = _head(reply, next(self._ids))
        body = reply.parts if reply.cut is None else (reply.body[: reply.cut],)
        if len(body) == 1 and len(body[0]) < HEAD_LIMIT:
            writer.write(head + body[0])
        else:
            for part in (head, *body):
                writer.write(part)
        with suppress(ConnectionError):
            await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").rstrip().split("\r\n")
        pairs = (field.partition(":") for field in fields)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    method, path, _ = line.split(" ", 2)
    return Request(method, path, headers, body)


def _head(reply: Reply, number: int) -> bytes:
    crc = "" if reply.crc is None else f"x-amz-crc32: {reply.crc}\r\n"
    return (
        f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}\r\n"
        f"Date: {formatdate(usegmt=True)}\r\n"
        f"Content-Type: {reply.content_type}\r\n"
        f"Content-Length: {sum(map(len, reply.parts))}\r\n"
        f"x-amzn-RequestId: {number:052d}\r\n{crc}\r\n"
    ).encode("latin-1")


async def _drained(writer: asyncio.StreamWriter) -> None:
    """Let everything written leave before the connection is aborted."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    """Make the kernel send RST when the socket is closed (see socket(7), SO_LINGER with a time of 0)."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
