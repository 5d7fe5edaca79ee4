"""The desk: what every carrier does with a Report before it sends the Grant."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Self

import msgspec

from ddbio.capacity.adaptive import index_of
from ddbio.clock import Clock
from ddbio.errors import DdbioError
from ddbio.events import Observer, Progress, Warned
from ddbio.fleet.coordinator import Coordinator
from ddbio.fleet.failure import describe
from ddbio.fleet.protocol import Failure, Grant, Report
from ddbio.fleet.timeline import Timeline
from ddbio.ledger.entries import Commit, Used
from ddbio.ledger.ledger import Ledger
from ddbio.report import Moment
from ddbio.wire.signing import CredentialProvider, Credentials
from ddbio.words import count

PROGRESS_SECONDS = 0.25
JOURNAL_SECONDS = 1.0
"""Commits that nobody waits for are gathered for so long, and a Report's time more: a chunk is a request to S3."""
OWN_LIMITS = ("ProvisionedThroughputExceeded", "MaxOnDemandThroughputExceeded")
"""Reasons that end so tell that an index has used up what it has itself (API Reference, ThrottlingReason)."""
ANSWER_SECONDS = 0.5
"""An answer waits no longer for the journal, or for credentials: a pause or an abort may have to reach the worker."""

Recover = Callable[[Sequence[int]], Awaitable[None]]
"""Seals the files that these splits' commits speak of, or takes them out of the ledger."""


class Desk:
    """Joins the coordinator, which decides, with the ledger, which makes durable, and tells the observer.

    `max_rejects` is how many rejected records the job bears; one more stops it, as do `max_units` consumed and
    `max_seconds` passed. `recover` seals what a lost worker left of these splits. `used` says what this run has used so
    far: each chunk of the journal tells it. Leaving it as a context waits for the last chunk, unless there is an error.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        ledger: Ledger,
        source: CredentialProvider,
        *,
        max_rejects: int,
        max_units: float | None = None,
        max_seconds: float | None = None,
        recover: Recover,
        used: Callable[[], Used],
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._coordinator = coordinator
        self._ledger = ledger
        self._source = source
        self._max_rejects = max_rejects
        self._max_units = max_units
        self._max_seconds = max_seconds
        self._recover = recover
        self._used = used
        self._clock = clock
        self._observer = observer
        self._started = self._last_progress = self._last_write = clock.now()
        before = ledger.used
        self._before = Moment(
            seconds=0.0,
            units=before.capacity_units,
            items=ledger.written,
            bytes=ledger.bytes,
            throttles=before.throttles,
        )
        """What earlier runs of the job have done."""
        self._timeline = Timeline()
        self._named: set[str] = set()
        self._writing: asyncio.Task[None] | None = None
        self._fetching: asyncio.Task[Credentials | None] | None = None

    async def __aenter__(self) -> Self:
        self._tell_progress(Moment(seconds=0.0, budget=self._coordinator.budget.rate))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
        if kind is None and self._writing is not None:
            await asyncio.shield(self._writing)

    async def answer(self, report: Report) -> Grant:
        """Decide, begin to make durable what it is time for, and return the Grant, after `ANSWER_SECONDS` at most.

        It acknowledges what is durable by then; what somebody waits for, it waits for, and so it does for the end of a
        source, behind which the splits of the next one can be leased. What can't be made durable stops the job.
        """
        decision = self._coordinator.report(report, self._clock.now())
        self._ledger.take(decision.commits)
        if report.urgent or self._clock.now() - self._last_write >= JOURNAL_SECONDS:
            self._write()
        fetching = self._fetch(report.stale_key)
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await asyncio.shield(fetching)
                if report.urgent:
                    await self._make_durable(report.commits)
                if self._coordinator.between_sources:
                    await self._begin_next_source()
                    decision = self._coordinator.report(report, self._clock.now())
        self._check_rejects()
        totals = self._totals()
        self._check_limits(totals)
        self._name_indexes()
        self._timeline.add(totals)
        if self._clock.now() - self._last_progress >= PROGRESS_SECONDS or self._coordinator.done:
            self._tell_progress(totals)
        if self._coordinator.failure is not None:
            return Grant(rate=0.0, stop="abort")
        return msgspec.structs.replace(
            decision.grant,
            rate=min(decision.grant.rate, self._coordinator.budget.rate),  # it may have become less meanwhile
            acknowledged=sum(1 for _ in takewhile(self._ledger.settled, report.commits)),
            credentials=fetching.result() if fetching.done() else None,
        )

    def abort(self, failure: Failure | None = None) -> None:
        """Stop the job: every worker is told so at its next Report."""
        self._coordinator.abort(failure)

    async def lost(self, worker: int, failure: Failure) -> bool:
        """A worker is gone: what it had committed stays, the rest of its splits is free for others.

        Returns whether another worker is to take its place; not when `failure` has come too often, or all is over.
        """
        coordinator = self._coordinator
        held = coordinator.lost(worker)
        try:
            await self._ledger.settle()
            await self._recover(held)
        except DdbioError as error:
            self.abort(describe(error))
        coordinator.release({number: self._ledger.split(number) for number in held})
        if coordinator.too_deadly:
            self.abort(failure)
        else:
            self._observer(
                Warned(failure.message if coordinator.stopping else f"{failure.message} Another one takes its place.")
            )
        return not coordinator.stopping

    async def credentials(self, stale_key: str | None = None) -> Credentials | None:
        """The newest credentials, other than those that a worker found to be refused; None where there are none."""
        try:
            current = await self._source.get()
            if current.access_key == stale_key:
                current = await self._source.renew(current)
        except DdbioError as error:
            self.abort(describe(error))
            return None
        return current

    def _fetch(self, stale_key: str | None) -> asyncio.Task[Credentials | None]:
        """The newest credentials, on their way; all Reports wait for the same ones."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self.credentials(stale_key))
        return self._fetching

    def _write(self) -> asyncio.Task[None]:
        """The chunk of the journal that is being written; a new one where there is none."""
        if self._writing is not None and self._writing.done():
            self._writing.result()
            self._writing = None
        if self._writing is None:
            self._last_write = self._clock.now()
            self._writing = asyncio.create_task(self._write_chunk())
        return self._writing

    async def _make_durable(self, commits: Iterable[Commit]) -> None:
        await asyncio.shield(self._write())
        while self._coordinator.failure is None and not all(map(self._ledger.settled, commits)):
            await asyncio.shield(self._write())  # the chunk before may have begun without them

    async def _begin_next_source(self) -> None:
        """Make the end of the source before durable: a run that resumes must not write its lines once more."""
        while self._coordinator.failure is None and self._coordinator.between_sources:
            await asyncio.shield(self._write())
            if self._ledger.all_durable:
                self._coordinator.begin_next_source()

    async def _write_chunk(self) -> None:
        self._ledger.take([self._used()])
        try:
            found = await self._ledger.write()
        except DdbioError as error:
            self.abort(describe(error))
            return
        for path in found:
            self._observer(
                Warned(
                    f"Attribute {path} holds sets or binary, which plain JSON does not keep apart: "
                    "use --format dynamodb-json, or import with the manifest beside the files."
                )
            )

    def timeline(self) -> tuple[Moment, ...]:
        """The course of the job so far."""
        return self._timeline.rows(self._totals())

    def _totals(self) -> Moment:
        usages = self._coordinator.usages
        return Moment(
            seconds=self._clock.now() - self._started,
            budget=self._coordinator.budget.rate,
            units=sum(usage.capacity_units for usage in usages),
            items=sum(usage.items for usage in usages),
            bytes=sum(usage.bytes for usage in usages),
            throttles=sum(usage.throttles for usage in usages),
            lanes=self._coordinator.lanes,
        )

    def _check_limits(self, totals: Moment) -> None:
        if self._coordinator.stopping:
            return
        if self._max_units is not None and totals.units >= self._max_units:
            self._end_early(f"its --max-units of {self._max_units:,.0f} are used up")
        elif self._max_seconds is not None and totals.seconds >= self._max_seconds:
            self._end_early(f"its --max-duration of {self._max_seconds:,.0f} s is over")

    def _end_early(self, why: str) -> None:
        message = f"The job is not done, and {why}."
        hint = "--resume goes on." if self._ledger.has_journal else None
        self.abort(Failure(kind="LimitReachedError", message=message, hint=hint))

    def _name_indexes(self) -> None:
        for reason in self._coordinator.throttles:
            index = index_of(reason)
            if index is not None and reason not in self._named:
                self._named.add(reason)
                kind = reason.split()[0]
                why = ": its own capacity is too small." if kind.endswith(OWN_LIMITS) else "."
                self._observer(Warned(f"Index {index} throttles the job ({kind}){why}"))

    def _check_rejects(self) -> None:
        rejected = self._ledger.rejected
        if rejected > self._max_rejects:
            goes_on = "--resume goes on" if self._ledger.has_journal else "begin anew"
            message = "Stopped at the first rejected record (--strict, or --max-rejects 0)."
            if self._max_rejects:
                message = f"{count(rejected, 'record was', 'records were')} rejected, more than the "
                message += f"{self._max_rejects:,} allowed."
            self.abort(
                Failure(
                    kind="TooManyRejectsError",
                    message=message,
                    hint=f"See {self._ledger.rejects_location} for the reasons; {goes_on} with a higher "
                    "--max-rejects and without --strict.",
                )
            )

    def _tell_progress(self, totals: Moment) -> None:
        now, before = self._clock.now(), self._before
        self._last_progress = now
        self._observer(
            Progress(
                seconds=totals.seconds,
                items=before.items + totals.items,
                bytes=before.bytes + totals.bytes,
                units=before.units + totals.units,
                throttles=before.throttles + totals.throttles,
                budget=totals.budget,
                reason=self._coordinator.budget.told(now),
                rejected=self._ledger.rejected,
                splits_done=self._coordinator.splits_done,
            )
        )
