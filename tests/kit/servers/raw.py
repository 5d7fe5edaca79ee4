"""Servers on 127.0.0.1 that are no more than a handler of connections, with TLS or without."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Handle, certificate: Path | None = None) -> AsyncIterator[int]:
    """The port; connections are closed when `handle` returns, which it must do once the client is gone."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    ends: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(end := asyncio.Event())
        with suppress(OSError, asyncio.IncompleteReadError):
            await handle(reader, writer)
        with suppress(OSError):
            writer.close()
            await writer.wait_closed()
        end.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for end in ends:
            await end.wait()


@asynccontextmanager
async def tunnels(port: int) -> AsyncIterator[str]:
    """The URL of a proxy that answers CONNECT with a tunnel to `port`, whatever was asked for."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))
        with suppress(OSError):
            await inner_writer.wait_closed()

    async with listening(connect) as own:
        yield f"http://127.0.0.1:{own}"


async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Take everything and answer nothing."""
    await reader.read()
