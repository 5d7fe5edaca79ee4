"""The desk: what every carrier does with a Report before it sends the Grant."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from itertools import takewhile
from typing import Self

import msgspec

from ddbio.clock import Clock
from ddbio.errors import DdbioError
from ddbio.events import Observer, Warned
from ddbio.fleet.coordinator import Coordinator
from ddbio.fleet.group_commit import GroupCommit
from ddbio.fleet.job_progress import JobProgress
from ddbio.fleet.limits import Limits, ThrottledIndexes
from ddbio.fleet.protocol import Grant, Report
from ddbio.fleet.tuning import ANSWER_SECONDS, DEFAULT, Tuning
from ddbio.ledger.entries import Used
from ddbio.ledger.ledger import Ledger
from ddbio.report import Moment
from ddbio.wire.signing import CredentialProvider, Credentials

Recover = Callable[[Sequence[int]], Awaitable[None]]
"""Cleans up after a lost worker that held these splits: seals the files that their commits refer to, or removes them
from the ledger."""


@dataclass
class Desk:
    """Joins the coordinator, which decides, the ledger, which makes durable, and the observer.

    The desk is a context manager: on leaving it without an error, it waits for the last chunk of the journal.
    """

    coordinator: Coordinator
    ledger: Ledger
    provider: CredentialProvider
    _: KW_ONLY
    limits: Limits
    recover: Recover
    used: Callable[[], Used]
    """Returns what this run has used so far."""
    clock: Clock
    observer: Observer
    tuning: Tuning = DEFAULT

    def __post_init__(self) -> None:
        self._indexes = ThrottledIndexes()
        self._progress = JobProgress(self.coordinator, self.ledger, self.clock, self.observer)
        self._commits = GroupCommit(
            self.coordinator, self.ledger, self.used, self.clock, self.observer, self.tuning.journal_seconds
        )
        self._fetching: asyncio.Task[Credentials | None] | None = None

    async def __aenter__(self) -> Self:
        self._progress.report(Moment(seconds=0.0, budget=self.coordinator.budget.rate))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
        if kind is None:
            await self._commits.finish()

    async def answer(self, report: Report) -> Grant:
        """Return the Grant that answers a Report, after `ANSWER_SECONDS` at most.

        It acknowledges the commits that are durable by then. Until then it waits for urgent commits, and for the end of
        a source, after which the splits of the next one can be leased. An error in the journal stops the job.
        """
        decision = self.coordinator.report(report, self.clock.now())
        self._commits.take(decision.commits, urgent=report.urgent)
        fetching = self._fetch(report.stale_key)
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await asyncio.shield(fetching)
                if report.urgent:
                    await self._commits.make_durable(report.commits)
                if self.coordinator.leases.between_sources:
                    await self._commits.begin_next_source()
                    decision = self.coordinator.report(report, self.clock.now())
        self._check_limits()
        if self.coordinator.failure is not None:
            return Grant(rate=0.0, stop="abort")
        return msgspec.structs.replace(
            decision.grant,
            rate=min(decision.grant.rate, self.coordinator.budget.rate),  # the budget may be smaller by now
            acknowledged=sum(1 for _ in takewhile(self.ledger.settled, report.commits)),
            credentials=fetching.result() if fetching.done() else None,
        )

    async def lost(self, worker: int, error: DdbioError) -> bool:
        """A worker has died: its commits stay, and others can take over the rest of its splits.

        Return whether another worker is to take its slot: not when the job is stopping, and not when workers have died
        too often, which fails the job with `error`.
        """
        coordinator = self.coordinator
        held = coordinator.lost(worker)
        try:
            await self.ledger.settle()
            await self.recover(held)
        except DdbioError as failure:
            self.coordinator.abort(failure)
        coordinator.leases.release({number: self.ledger.split(number) for number in held})
        if coordinator.leases.too_many_deaths:
            self.coordinator.abort(error)
        else:
            replaced = "" if coordinator.stopping else " Another one takes its place."
            self.observer(Warned(f"{error.message}{replaced}"))
        return not coordinator.stopping

    async def credentials(self, stale_key: str | None = None) -> Credentials | None:
        """Return the newest credentials, other than those with the `stale_key`; None, and an abort, without any."""
        try:
            current = await self.provider.get()
            if current.access_key == stale_key:
                current = await self.provider.renew(current)
        except DdbioError as error:
            self.coordinator.abort(error)
            return None
        return current

    def timeline(self) -> tuple[Moment, ...]:
        """The course of this run so far."""
        return self._progress.timeline()

    def _fetch(self, stale_key: str | None) -> asyncio.Task[Credentials | None]:
        """Begin to fetch the newest credentials; all Reports wait for the same task."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self.credentials(stale_key))
        return self._fetching

    def _check_limits(self) -> None:
        """Stop the job where it has reached a limit, and tell the observer how it is doing."""
        totals = self._progress.totals()
        if error := self.limits.too_many_rejects(self.ledger):
            self.coordinator.abort(error)
        if not self.coordinator.stopping and (reached := self.limits.reached(totals, self.ledger)):
            self.coordinator.abort(reached)
        for message in self._indexes.warnings(self.coordinator.throttles):
            self.observer(Warned(message))
        self._progress.update(totals)
