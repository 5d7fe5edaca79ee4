"""A TCP proxy that cuts replies short or stops taking requests, in front of a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Proxy:
    """Passes bytes on, until told otherwise."""

    def __init__(self, url: str) -> None:
        split = urlsplit(url)
        self._target = (split.hostname, split.port)
        self.url = ""
        self.cuts: list[int] = []
        """After how many bytes of replies the next connections are cut, one entry a cut."""
        self.cut = 0
        """How often that was done."""
        self.stall_after: int | None = None
        """After how many further bytes of requests nothing more is taken."""
        self.stalled = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        upstream, downstream = await asyncio.open_connection(*self._target)
        try:
            async with asyncio.TaskGroup() as group:
                requests = group.create_task(self._requests(reader, downstream))
                await self._replies(upstream, writer)
                requests.cancel()
        except* ConnectionError:
            pass
        finally:
            downstream.close()
            writer.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if self.stall_after is not None:
                self.stall_after -= len(data)
                if self.stall_after < 0:
                    self.stalled.set()
                    await asyncio.Event().wait()
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if self.cuts:
                self.cuts[0] -= len(data)
                if self.cuts[0] < 0:
                    writer.write(data[: self.cuts.pop(0)])
                    self.cut += 1
                    return
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def proxy(url: str) -> AsyncIterator[Proxy]:
    """Run one on a free port."""
    instance = Proxy(url)
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(instance.serve(reader, writer))
        connections.add(task)
        await asyncio.wait([task])

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    instance.url = f"http://{host}:{port}"
    try:
        yield instance
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
