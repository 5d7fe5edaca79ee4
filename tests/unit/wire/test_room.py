"""Room for large replies: never more than there is, first come, first served."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.errors import TransportError
from ddbio.wire.room import LARGE_BODY, MAX_BODY, Claim, Room
from ddbio.wire.transport import HttpTransport
from tests.kit.fakes import let_run
from tests.kit.servers.raw import listening

BODY = LARGE_BODY + 1
HEAD = b"HTTP/1.1 200 OK\r\nX-Name: value \r\n"
REPLY = HEAD + b"Content-Length: %d\r\n\r\n"


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 120), st.integers(0, 50)), max_size=60))
def test_claims_never_have_more_than_there_is(steps: list[tuple[bool, int, int]]) -> None:
    room, claims, order = Room(100), list[Claim](), list[int]()
    for number, (asks, size, which) in enumerate(steps):
        if asks or not claims:
            claims.append(room.claim(size, partial(order.append, number)))
        else:
            room.leave(claims.pop(which % len(claims)))
        assert sum(claim.size for claim in claims if claim.granted) <= 100
        waiting = [claim for claim in claims if not claim.granted]
        if waiting:
            free = 100 - sum(claim.size for claim in claims if claim.granted)
            assert waiting[0].size > free
    assert order == sorted(order)


class Server:
    """Answers every request with a large body, whose second half it sends when it is told to."""

    def __init__(self, head: bytes = REPLY % BODY) -> None:
        self.head = head
        self.asked = asyncio.Semaphore(0)
        self.go_on = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked.release()
        writer.write(self.head + bytes(BODY))
        await writer.drain()
        await self.go_on.wait()
        writer.close()


async def get(transport: HttpTransport, port: int) -> int:
    return len((await transport.send("GET", f"http://127.0.0.1:{port}", {"Host": "x"}, ())).body)


@pytest.mark.parametrize("head", [REPLY % BODY, HEAD + b"\r\n"], ids=["length", "until the end"])
async def test_large_bodies_come_one_by_one_where_room_is_short(head: bytes) -> None:
    server = Server(head)
    async with (
        listening(server.serve) as port,
        HttpTransport(connections=6, room=Room(MAX_BODY if head == HEAD + b"\r\n" else BODY)) as transport,
    ):
        tasks = [asyncio.ensure_future(get(transport, port)) for _ in range(6)]
        given_up = tasks.pop(3)
        for _ in range(6):
            await server.asked.acquire()
        given_up.cancel()
        server.go_on.set()
        assert await asyncio.gather(*tasks) == [BODY] * 5
        with suppress(asyncio.CancelledError):
            await given_up


async def test_a_body_waits_for_room() -> None:
    server, room = Server(), Room(BODY)
    async with listening(server.serve) as port, HttpTransport(connections=2, room=room) as transport:
        async with room.hold(BODY):
            task = asyncio.ensure_future(get(transport, port))
            server.go_on.set()
            await server.asked.acquire()
            await let_run()
            assert not task.done()
        assert await task == BODY


async def test_an_impossible_length_is_refused_before_memory_is_taken() -> None:
    server = Server(REPLY % (MAX_BODY + 1))
    server.go_on.set()
    async with listening(server.serve) as port, HttpTransport(connections=1) as transport:
        with pytest.raises(TransportError, match="impossible length"):
            await get(transport, port)


async def test_what_came_of_a_reply_that_broke_off_is_let_go_at_once() -> None:
    """An error refers to itself by way of its traceback: it stays until garbage is collected, which may be late."""
    server = Server(REPLY % (3 * BODY))
    server.go_on.set()
    gc.disable()
    tracemalloc.start()
    try:
        async with listening(server.serve) as port, HttpTransport(connections=1) as transport:
            with pytest.raises(TransportError, match="closed"):
                await get(transport, port)
            assert tracemalloc.get_traced_memory()[0] < BODY
    finally:
        tracemalloc.stop()
        gc.enable()
