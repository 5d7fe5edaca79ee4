"""Replies in every framing that HTTP/1.1 has, in any pieces; and what is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from ddbio.errors import TransportError
from ddbio.wire.http1 import MAX_HEAD, SMALL_BODY
from ddbio.wire.transport import HttpTransport
from tests.kit.servers.raw import listening

HEAD = b"HTTP/1.1 200 OK\r\nX-Name: value \r\n"


class Peer:
    """Answers each request with the next reply, byte by byte or whole."""

    def __init__(self, replies: Sequence[bytes], piece: int, close: bool) -> None:
        self.replies = list(replies)
        self.piece = piece
        self.close = close
        self.connections = 0
        self.bodies: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while self.replies:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: "))
            self.bodies.append(await reader.readexactly(int(length[16:])))
            reply = self.replies.pop(0)
            for start in range(0, len(reply), self.piece):
                writer.write(reply[start : start + self.piece])
                await writer.drain()
            if self.close:
                break
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def peer(*replies: bytes, piece: int = 1 << 20, close: bool = False) -> AsyncIterator[tuple[Peer, str]]:
    answering = Peer(replies, piece, close)
    async with listening(answering.serve) as port:
        yield answering, f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (b"content-length:0\r\n\r\n", b""),
        (b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n002\r\nlo\r\n0\r\nTrailer: x\r\n\r\n", b"hello"),
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b""),
    ],
)
async def test_replies_in_any_framing_follow_on_one_connection(framing: bytes, body: bytes, piece: int) -> None:
    notice = b"HTTP/1.1 100 Continue\r\n\r\n"
    async with (
        peer(notice + HEAD + framing, HEAD + framing, piece=piece) as (answering, url),
        HttpTransport(connections=1) as transport,
    ):
        for _ in range(2):
            reply = await transport(f"{url}/path", {}, b"request")
            assert (reply.status, reply.headers["x-name"], bytes(reply.body)) == (200, "value", body)
    assert (answering.connections, answering.bodies) == (1, [b"request"] * 2)


@pytest.mark.parametrize("version", [b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n"])
async def test_a_reply_may_end_with_its_connection(version: bytes) -> None:
    async with (
        peer(version + b"\r\nhello", version + b"Content-Length: 2\r\n\r\nho", close=True) as (answering, url),
        HttpTransport(connections=1) as transport,
    ):
        assert [bytes((await transport(url, {}, b"")).body) for _ in range(2)] == [b"hello", b"ho"]
    assert answering.connections == 2


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno field\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nsecret\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsecret",
        b"HTTP/1.1 200 OK\r\nX: " + b"s" * MAX_HEAD,
        b"",
    ],
)
async def test_what_is_no_whole_reply_is_an_error_that_quotes_nothing(reply: bytes) -> None:
    async with peer(reply, close=True) as (_, url), HttpTransport(connections=1) as transport:
        with pytest.raises(TransportError, match="No reply from") as caught:
            await transport(url, {}, b"")
    assert "secret" not in str(caught.value)


async def test_a_connection_with_surplus_bytes_is_not_reused() -> None:
    reply = HEAD + b"Content-Length: 2\r\n\r\nhi"
    async with peer(reply + b"more", reply) as (answering, url), HttpTransport(connections=1) as transport:
        assert [bytes((await transport(url, {}, b"")).body) for _ in range(2)] == [b"hi", b"hi"]
    assert answering.connections == 2


@pytest.mark.parametrize("sizes", [(0,), (3, 0, 5), (SMALL_BODY, 1), (700_000, 2_000_000, 1)])
async def test_a_body_in_pieces_arrives_as_one(sizes: tuple[int, ...]) -> None:
    pieces = [bytes([number + 65]) * size for number, size in enumerate(sizes)]
    reply = HEAD + b"Content-Length: 0\r\n\r\n"
    async with peer(reply) as (answering, url), HttpTransport(connections=1) as transport:
        await transport.send("PUT", url, {}, pieces)
    assert answering.bodies == [b"".join(pieces)]


async def test_an_answer_before_the_whole_request_is_heard() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 4\r\n\r\nwait")
        await writer.drain()
        await finished.wait()

    finished = asyncio.Event()
    async with listening(refuse) as port, HttpTransport(connections=1) as transport:
        reply = await transport.send("PUT", f"http://127.0.0.1:{port}", {}, [bytes(1 << 20)] * 64)
        finished.set()
    assert (reply.status, bytes(reply.body)) == (503, b"wait")


async def test_a_header_can_not_hold_another() -> None:
    async with peer(b"") as (_, url), HttpTransport(connections=1) as transport:
        with pytest.raises(ValueError, match="line break"):
            await transport(url, {"X-Token": "a\r\nX-Other: b"}, b"")
