"""The outbox: commits on their way to the coordinator, in order, limited in bytes, kept until acknowledged."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from ddbio.ledger.entries import Commit, Lease
from ddbio.ledger.positions import Position
from ddbio.pipeline.channel import ByteBudget
from ddbio.pipeline.tuning import DEFAULT, Tuning

_OVERHEAD = 1_024
"""Approximate memory of a commit besides its rejects."""


class _Entry(NamedTuple):
    commit: Commit
    size: int
    acknowledged: asyncio.Future[None]
    urgent: bool


class Outbox:
    """The commits that are not acknowledged. `report_now` is called when one should be reported immediately."""

    def __init__(self, report_now: Callable[[], None], tuning: Tuning = DEFAULT) -> None:
        self._report_now = report_now
        self._budget = ByteBudget(tuning.outbox_bytes)
        self._entries: deque[_Entry] = deque()

    async def push(self, commit: Commit, *, urgent: bool = False) -> asyncio.Future[None]:
        """Add a commit, once there is room; the returned future is done when the commit is acknowledged.

        Urgent commits are made durable immediately; the end of a split is reported immediately, but need not be.
        """
        size = _OVERHEAD + commit.carried_bytes
        await self._budget.take(size)
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        urgent = urgent or bool(commit.rejects)
        self._entries.append(_Entry(commit, size, acknowledged, urgent))
        if urgent or commit.done:
            self._report_now()
        return acknowledged

    @property
    def urgent(self) -> bool:
        """Whether a commit is waited for, or rejects occupy memory."""
        return any(entry.urgent for entry in self._entries)

    def pending(self) -> tuple[Commit, ...]:
        """All commits that are not acknowledged, oldest first."""
        return tuple(entry.commit for entry in self._entries)

    def acknowledge(self, count: int) -> None:
        for _ in range(count):
            entry = self._entries.popleft()
            self._budget.give(entry.size)
            if not entry.acknowledged.cancelled():
                entry.acknowledged.set_result(None)


class Committer:
    """The commits of one lease, all of this `kind`, numbered in order."""

    def __init__(self, lease: Lease, outbox: Outbox, kind: type[Commit] = Commit) -> None:
        self._lease = lease
        self._outbox = outbox
        self._kind = kind
        self._seq = self._taken = 0

    @property
    def intact(self) -> bool:
        """Whether the outbox has every commit, that is, none was cancelled on its way there."""
        return self._taken == self._seq

    async def commit(self, position: Position, **facts: Any) -> None:
        """Put a commit of what has become durable into the outbox."""
        await self._push(position, facts, urgent=False)

    async def commit_and_wait(self, position: Position, **facts: Any) -> None:
        """Commit; returns when the coordinator has made the commit durable."""
        await (await self._push(position, facts, urgent=True))

    async def _push(self, position: Position, facts: dict[str, Any], *, urgent: bool) -> asyncio.Future[None]:
        self._seq += 1
        lease = self._lease
        commit = self._kind(split=lease.split.id, epoch=lease.epoch, seq=self._seq, position=position, **facts)
        acknowledged = await self._outbox.push(commit, urgent=urgent)
        self._taken = self._seq
        return acknowledged
