"""Servers of this project, run by hand: one JSON line when they listen, and then until a signal."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Protocol


class Startable(Protocol):
    """What can be run."""

    url: str

    async def start(self, port: int = 0) -> None:
        """Listen."""

    async def stop(self) -> None:
        """Close every connection."""


async def serve_until_stopped(server: Startable, port: int, **facts: object) -> None:
    """Serve until SIGINT or SIGTERM; the line that is printed tells the URL and `facts`."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await server.start(port)
    print(json.dumps({"url": server.url, **facts}), flush=True)
    await stopped.wait()
    await server.stop()
