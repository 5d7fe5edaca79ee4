"""What the fault proxy forwards to: a service slowed down so that it can be interrupted, and an S3 whose clock is a
minute ahead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from functools import partial

from ddbio.storage.base import LOCK
from ddbio.storage.s3.lock import LEASE_SECONDS
from tests.kit.faults.relay import Relay
from tests.kit.faults.s3 import refusal
from tests.kit.servers.http import Handler, Reply, Request
from tests.kit.servers.replies import RESET

DATA = {"Scan", "BatchWriteItem"}
LATER = timedelta(seconds=LEASE_SECONDS + 1)


class Changing(Relay):
    """A relay whose requests and replies `change` may alter."""

    def __init__(self, upstream: str, change: Callable[[Request, Handler], Awaitable[Reply]]) -> None:
        super().__init__(upstream)
        self._change = change

    async def answer(self, request: Request) -> Reply:
        return await self._change(request, partial(self.upstream.forward, whole=False))


class Pace:
    """Small pages, and a pause before each reply: when a client is killed in the pause, its request has been served.

    With `before` the pause comes first, and `drop` discards the requests that wait in it: those of a dead client never
    arrive.
    """

    def __init__(self, page_items: int | None, seconds: float, *, before: bool = False) -> None:
        self._page_items = page_items
        self._seconds = seconds
        self._before = before
        self._drops = 0
        self._served = 0
        self._awaited: list[tuple[int, asyncio.Event]] = []

    def after(self, requests: int) -> asyncio.Event:
        """An event that is set after this number of further requests."""
        event = asyncio.Event()
        self._awaited.append((self._served + requests, event))
        return event

    def drop(self) -> None:
        """Reset the requests that wait in a pause."""
        self._drops += 1

    async def __call__(self, request: Request, serve: Handler) -> Reply:
        request = await request.whole()
        if request.operation not in DATA:
            return await serve(request)
        self._served += 1
        for number, event in self._awaited:
            if self._served >= number:
                event.set()
        if request.operation == "Scan" and self._page_items is not None:
            request = request.with_payload({**request.payload, "Limit": self._page_items})
        if self._before:
            drops = self._drops
            await asyncio.sleep(self._seconds)
            return RESET if drops != self._drops else await serve(request)
        reply = await serve(request)
        await asyncio.sleep(self._seconds)
        return reply


async def as_s3(request: Request, serve: Handler) -> Reply:
    """Reply to reads of a job's lock with a later `Date`, so that the lock of a dead job has expired.

    Where moto fails with HTTP 500 to complete an upload that it does not know, reply as S3 does.
    """
    reply = await serve(request)
    path, _, query = request.path.partition("?")
    if request.method == "POST" and "uploadId=" in query and reply.status == 500:
        return refusal("no_such_upload")
    if request.method != "GET" or not path.endswith(f"/{LOCK}") or reply.fields is None:
        return reply
    fields = tuple((name, _later(value) if name.lower() == "date" else value) for name, value in reply.fields)
    return replace(reply, fields=fields)


def _later(date: str) -> str:
    return format_datetime(parsedate_to_datetime(date) + LATER, usegmt=True)
