"""Messages on a stream: a length of four bytes, then MessagePack."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
_LENGTH_BYTES = 4


async def send(writer: asyncio.StreamWriter, message: Any) -> None:
    """Write one message; raises ConnectionError when the other side is gone."""
    post(writer, message)
    await writer.drain()


def post(writer: asyncio.StreamWriter, message: Any) -> None:
    """Write one message without waiting for the other side to take it."""
    body = msgspec.msgpack.encode(message)
    writer.write(len(body).to_bytes(_LENGTH_BYTES, "big") + body)


async def receive(reader: asyncio.StreamReader, kind: type[T]) -> T | None:
    """Read one message; None when the other side is gone."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
        return msgspec.msgpack.decode(await reader.readexactly(length), type=kind)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
