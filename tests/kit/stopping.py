"""For tests of resumed jobs: a service with small pages, and ways to stop a job."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from ddbio.ledger.entries import Commit, JournalEntry
from ddbio.ledger.journal import Journal
from ddbio.report import JobReport
from tests.kit.servers.http import Handler, Reply, Request

PAGE_ITEMS = 20


class Service:
    """A service with small pages. `answers` replaces the reply to the request of each number in it."""

    def __init__(self, operation: str = "Scan") -> None:
        self.operation = operation
        self.answers: dict[int, Reply] = {}
        self.open = asyncio.Event()
        self.open.set()
        self.served = 0

    async def __call__(self, request: Request, serve: Handler) -> Reply:
        if request.operation != self.operation:
            return await serve(request)
        await self.open.wait()
        self.served += 1
        if self.served in self.answers:
            return self.answers[self.served]
        if request.operation == "Scan":
            request = request.with_payload({**request.payload, "Limit": PAGE_ITEMS})
        return await serve(request)


class Journaled:
    """Watches how many chunks are written to journals."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._events: list[list[Any]] = []
        self.written = asyncio.Event()
        """Set when an entry with items has been written."""
        append = Journal.append

        async def counted(journal: Journal, entries: Sequence[JournalEntry], rejects_bytes: int = 0) -> None:
            await append(journal, entries, rejects_bytes)
            if any(isinstance(entry, Commit) and entry.written for entry in entries):
                self.written.set()
            for waiting in self._events:
                waiting[0] -= 1
                if waiting[0] == 0:
                    waiting[1].set()

        monkeypatch.setattr(Journal, "append", counted)

    def more(self, chunks: int) -> asyncio.Event:
        """An event that is set after this number of further chunks."""
        event = asyncio.Event()
        self._events.append([chunks, event])
        return event


async def cancelled(task: asyncio.Future[JobReport], event: asyncio.Event, delay: float) -> bool:
    """Cancel `task` `delay` seconds after the event. Returns whether it was still running."""
    waiting: asyncio.Future[Any] = asyncio.ensure_future(event.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await asyncio.wait([task], timeout=delay)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
        return False
    return True
