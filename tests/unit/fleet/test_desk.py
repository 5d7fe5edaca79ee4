"""The desk: durable first, then the Grant; and what makes it stop the job."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ddbio.capacity import Budget, Pace
from ddbio.errors import (
    CredentialsUnavailableError,
    DestinationError,
    JobFailedError,
    PreflightError,
    TooManyRejectsError,
    WorkerLostError,
)
from ddbio.events import Event, Progress, Warned
from ddbio.fleet.coordinator import Coordinator
from ddbio.fleet.desk import Desk
from ddbio.fleet.failure import describe, revive
from ddbio.fleet.limits import Limits
from ddbio.fleet.protocol import Failure, Grant, Report
from ddbio.hints import NS, SS, B, S
from ddbio.ledger.entries import Commit, Lease, Reject, Split, Used
from ddbio.ledger.journal import Journal
from ddbio.ledger.law import ImportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.positions import AtOffset
from ddbio.ledger.rejects import RejectsFile
from ddbio.pipeline.meter import Usage
from ddbio.report import Spending
from ddbio.wire.signing import Credentials
from tests.kit.credentials import FakeCredentials
from tests.kit.fakes import FakeClock, MemorySink, let_run, run_virtual

NUMBERS = count(1)
"""Every report has a number of its own."""

OLD, NEW = Credentials("OLD", "secret"), Credentials("NEW", "secret")
BAD = Reject("f", 0, 1, 1, "not_json", "It is no JSON.", b"{")


class Office:
    """A desk with all that stands around it."""

    def __init__(
        self,
        path: Path,
        *,
        max_rejects: int = 3,
        units: int = 2,
        journal: Journal | None = None,
        max_units: float | None = None,
        sources: int = 1,
    ) -> None:
        self.clock = FakeClock()
        self.coordinator = Coordinator(
            [Split(number, source=number * sources // units) for number in range(units)],
            workers=2,
            budget=Budget(Pace(100)),
            rng=random.Random(1),
        )
        self.rejects = RejectsFile(path, "run")
        self.ledger = Ledger(ImportLaw(), journal, self.rejects)
        self.source = FakeCredentials(OLD, NEW)
        self.events: list[Event] = []
        self.recovered: list[int] = []
        self.recovery_error: Exception | None = None
        self.reports = 0
        self.desk = Desk(
            self.coordinator,
            self.ledger,
            self.source,
            limits=Limits(max_rejects=max_rejects, max_units=max_units),
            recover=self.recover,
            used=lambda: Used("run", Spending(requests=self.reports)),
            clock=self.clock,
            observer=self.events.append,
        )

    async def recover(self, units: Sequence[int]) -> None:
        self.recovered += units
        if self.recovery_error is not None:
            raise self.recovery_error

    async def answer(self, worker: int = 0, **more: Any) -> Grant:
        self.reports += 1
        return await self.desk.answer(
            Report(
                worker=worker,
                number=next(NUMBERS),
                wanted=more.pop("wanted", 0),
                rate=50.0,
                usage=more.pop("usage", Usage()),
                urgent=more.pop("urgent", True),
                **more,
            )
        )

    async def lease_all(self, worker: int = 0) -> list[Lease]:
        """Ask again until there are no more: some are kept for the other worker at first."""
        leases: list[Lease] = []
        while more := (await self.answer(worker, wanted=9)).leases:
            leases += more
        return leases

    async def lease(self) -> Lease:
        (lease,) = (await self.answer(wanted=1)).leases
        return lease


def commit(lease: Lease, seq: int = 1, *, rejects: tuple[Reject, ...] = (), **facts: Any) -> Commit:
    return Commit(
        split=lease.split.id,
        epoch=lease.epoch,
        seq=seq,
        position=AtOffset(7),
        rejects=rejects,
        rejected=len(rejects),
        **facts,
    )


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    office = Office(tmp_path / "state" / "rejects.jsonl")
    yield office
    await office.rejects.aclose()


async def test_what_a_grant_acknowledges_is_in_the_ledger(office: Office, tmp_path: Path) -> None:
    lease = await office.lease()
    grant = await office.answer(commits=(commit(lease, read=6, written=5, bytes=9, rejects=(BAD,)),))
    assert grant.acknowledged == 1
    ledger = office.ledger
    assert (ledger.read, ledger.written, ledger.rejected, ledger.bytes) == (6, 5, 1, 9)
    assert (tmp_path / "state" / "rejects.jsonl").read_bytes().count(b"\n") == 1


async def test_a_report_sent_again_changes_nothing(office: Office) -> None:
    lease = await office.lease()
    commits = (commit(lease, read=6, written=5, rejects=(BAD,)),)
    for _ in range(3):
        assert (await office.answer(commits=commits)).acknowledged == 1
    assert (office.ledger.read, office.ledger.rejected) == (6, 1)


async def test_commits_nobody_waits_for_are_gathered_for_a_second(office: Office) -> None:
    lease = await office.lease()
    first, second = (commit(lease, seq, read=1, written=1) for seq in (1, 2))
    office.clock.advance(0.4)
    assert (await office.answer(commits=(first,), urgent=False)).acknowledged == 0
    office.clock.advance(0.5)
    assert (await office.answer(commits=(first, second), urgent=False)).acknowledged == 0
    assert office.ledger.read == 0
    office.clock.advance(0.2)
    assert (await office.answer(1, urgent=False)).acknowledged == 0
    await let_run()
    assert office.ledger.read == 2
    assert (await office.answer(commits=(first, second), urgent=False)).acknowledged == 2
    assert office.ledger.read == 2


async def test_what_one_waits_for_makes_all_durable(office: Office) -> None:
    lease, other = await office.lease(), (await office.answer(1, wanted=1)).leases[0]
    plain = commit(lease, read=1, written=1)
    assert (await office.answer(commits=(plain,), urgent=False)).acknowledged == 0
    assert (await office.answer(1, commits=(commit(other, read=1, written=1),))).acknowledged == 1
    assert (await office.answer(commits=(plain,), urgent=False)).acknowledged == 1


async def test_each_chunk_tells_what_the_run_has_used_so_far(office: Office) -> None:
    await office.answer(urgent=False)
    assert office.ledger.used == Spending()
    for reports in (2, 3):
        await office.answer()
        assert office.ledger.used == Spending(requests=reports)


async def test_the_end_of_a_split_brings_the_next_lease_at_once(office: Office) -> None:
    lease = await office.lease()
    grant = await office.answer(commits=(commit(lease, done=True),), wanted=1, urgent=False)
    assert (grant.acknowledged, len(grant.leases)) == (0, 1)


async def test_a_sources_end_is_durable_at_once_and_leases_the_next(tmp_path: Path) -> None:
    sink = MemorySink()
    office = Office(tmp_path / "r.jsonl", sources=2, journal=Journal(sink))
    lease = await office.lease()
    grant = await office.answer(commits=(commit(lease, done=True),), wanted=1, urgent=False)
    assert (grant.acknowledged, [lease.split.source for lease in grant.leases]) == (1, [1])
    entries = [entry for entries in [chunk async for chunk in Journal(sink).read()] for entry in entries]
    assert [entry.done for entry in entries if isinstance(entry, Commit)] == [True]


def test_the_next_source_is_not_leased_before_a_durable_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        office, durable = Office(tmp_path / "r.jsonl", units=4, sources=2), asyncio.Event()

        async def slow(_: RejectsFile, rejects: Any) -> int:
            await durable.wait()
            return 0

        leases = [await office.lease(), *(await office.answer(1, wanted=1)).leases]
        monkeypatch.setattr(RejectsFile, "add", slow)
        first = asyncio.create_task(
            office.answer(commits=(commit(leases[0], done=True),))
        )  # a chunk without the second
        await let_run()
        second = asyncio.create_task(office.answer(1, commits=(commit(leases[1], done=True),), wanted=2, urgent=False))
        for answering in (first, second):
            assert (await answering).leases == ()
        assert (await office.answer(0, wanted=2, urgent=False)).leases == ()
        waiting = [asyncio.create_task(office.answer(number, wanted=1, urgent=False)) for number in range(2)]
        await let_run()
        assert not any(answering.done() for answering in waiting)
        durable.set()
        found = [lease.split.source for answering in waiting for lease in (await answering).leases]
        assert found == [1, 1]
        assert office.ledger.all_durable

    run_virtual(main())


async def test_a_sources_end_that_cannot_be_durable_stops_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = Office(tmp_path / "r.jsonl", sources=2)
    lease = await office.lease()

    async def broken(*_: Any) -> int:
        raise DestinationError("The disk is full.")

    monkeypatch.setattr(RejectsFile, "add", broken)
    grant = await office.answer(commits=(commit(lease, done=True),), wanted=1, urgent=False)
    assert (grant.stop, grant.leases) == ("abort", ())


async def test_what_a_lost_worker_had_reported_is_made_durable(office: Office) -> None:
    lease = await office.lease()
    await office.answer(commits=(commit(lease, read=1, written=1),), urgent=False)
    assert await office.desk.lost(0, LOST)
    assert office.ledger.read == 1
    leases = {one.split.id: one for one in await office.lease_all(1)}
    assert leases[lease.split.id].position == AtOffset(7)


async def test_a_grant_waits_until_its_commits_are_durable(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    lease, durable = await office.lease(), asyncio.Event()

    async def slow(_: RejectsFile, rejects: Any) -> int:
        await durable.wait()
        return 0

    monkeypatch.setattr(RejectsFile, "add", slow)
    answering = asyncio.create_task(office.answer(commits=(commit(lease, read=1, rejects=(BAD,)),)))
    other = asyncio.create_task(office.answer(1, wanted=1))
    await let_run()
    assert not answering.done()
    durable.set()
    assert (await answering).acknowledged == 1
    assert len((await other).leases) == 1


async def stalled(*_: Any) -> Any:
    await asyncio.Event().wait()


def test_a_pause_and_an_abort_get_through_a_stalled_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        office = Office(tmp_path / "r.jsonl")
        lease = await office.lease()
        monkeypatch.setattr(RejectsFile, "add", stalled)
        commits = (commit(lease, read=1, rejects=(BAD,)),)
        now = asyncio.get_running_loop().time
        for urgent in (True, False):
            answering = asyncio.create_task(office.answer(commits=commits, urgent=urgent))
            await let_run()
            office.coordinator.budget.paused = True
            before = now()
            grant = await answering
            assert (grant.rate, grant.acknowledged, now() - before <= 0.5) == (0 if urgent else grant.rate, 0, True)
            assert (await office.answer(1, urgent=urgent)).rate == 0
        office.coordinator.abort()
        assert (await office.answer(commits=commits)).stop == "abort"
        assert office.ledger.read == 0
        await office.ledger.leave()

    run_virtual(main())


def test_a_pause_reaches_workers_while_credentials_are_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        office = Office(tmp_path / "r.jsonl")
        monkeypatch.setattr(FakeCredentials, "get", stalled)
        async with office.desk:
            office.coordinator.budget.paused = True
            grant = await office.answer()
            assert (grant.rate, grant.credentials, asyncio.get_running_loop().time() <= 0.5) == (0, None, True)

    run_virtual(main())


def test_a_write_that_fails_behind_an_answer_stops_the_job(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "file").touch()
        office = Office(tmp_path / "file" / "rejects.jsonl")
        lease = await office.lease()
        async with office.desk:
            office.clock.advance(2)
            grant = await office.answer(commits=(commit(lease, read=1, rejects=(BAD,)),), urgent=False)
            assert (grant.stop, grant.acknowledged) == ("", 0)
        assert isinstance(office.coordinator.failure, DestinationError)

    run_virtual(main())


@pytest.mark.parametrize("journal", [None, Journal(MemorySink())])
async def test_what_can_not_be_resumed_is_not_said_to_be(journal: Journal | None, tmp_path: Path) -> None:
    office = Office(tmp_path / "r.jsonl", journal=journal, max_units=1)
    await office.answer(usage=Usage(capacity_units=2))
    failure = office.coordinator.failure
    assert failure is not None
    assert ("--resume" in str(failure.hint)) == (journal is not None)


async def test_what_cannot_be_durable_stops_the_job_unacknowledged(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    office = Office(tmp_path / "file" / "rejects.jsonl")
    lease = await office.lease()
    grant = await office.answer(commits=(commit(lease, read=1, rejects=(BAD,)),))
    assert (grant.stop, grant.acknowledged, grant.leases) == ("abort", 0, ())
    assert isinstance(office.coordinator.failure, DestinationError)
    assert (await office.answer(1)).stop == "abort"


async def test_the_allowed_rejects_pass_and_one_more_fails(office: Office) -> None:
    lease = await office.lease()
    await office.answer(commits=(commit(lease, read=3, rejects=(BAD,) * 3),))
    assert office.coordinator.failure is None
    await office.answer(commits=(commit(lease, 2, read=1, rejects=(BAD,)),))
    assert (await office.answer()).stop == "abort"
    failure = office.coordinator.failure
    assert isinstance(failure, TooManyRejectsError)
    assert "4 records" in failure.message
    assert str(office.ledger.rejects_location) in str(failure.hint)


async def test_every_grant_brings_the_newest_credentials(office: Office) -> None:
    assert (await office.answer()).credentials == OLD
    office.source.current = NEW
    assert (await office.answer()).credentials == NEW


async def test_credentials_that_a_worker_found_refused_are_renewed(office: Office) -> None:
    assert (await office.answer(stale_key="OLD")).credentials == NEW
    assert (await office.answer(1, stale_key="OLD")).credentials == NEW
    assert office.coordinator.failure is None


async def test_without_other_credentials_the_job_stops(office: Office) -> None:
    office.source.error = CredentialsUnavailableError("None.", hint="Log in again.")
    grant = await office.answer(stale_key="OLD")
    assert (grant.stop, grant.credentials) == ("abort", None)
    assert type(office.coordinator.failure) is JobFailedError
    assert office.coordinator.failure.hint == "Log in again."


LOST = WorkerLostError("Worker process 0 was killed.")


async def test_a_lost_worker_is_replaced_and_its_split_goes_on(office: Office) -> None:
    lease = await office.lease()
    await office.answer(commits=(commit(lease, read=1, written=1),))
    assert await office.desk.lost(0, LOST)
    assert office.recovered == [lease.split.id]
    leases = {one.split.id: one for one in await office.lease_all(1)}
    assert leases[lease.split.id].position == AtOffset(7)
    assert leases[lease.split.id].epoch > lease.epoch
    assert office.coordinator.failure is None
    assert [event.message for event in office.events if isinstance(event, Warned)] == [
        "Worker process 0 was killed. Another one takes its place."
    ]


async def test_a_split_that_kills_its_workers_ends_the_job(office: Office) -> None:
    for deaths in range(1, 4):
        assert len(await office.lease_all()) == 2
        assert await office.desk.lost(0, LOST) == (deaths < 3)
    assert office.coordinator.failure == LOST
    assert (await office.answer(1)).stop == "abort"


async def test_what_can_not_be_recovered_ends_the_job(office: Office) -> None:
    await office.lease()
    office.recovery_error = DestinationError("The disk is gone.")
    assert not await office.desk.lost(0, LOST)
    assert isinstance(office.coordinator.failure, DestinationError)


async def test_a_worker_that_is_lost_when_all_is_done_is_not_replaced(office: Office) -> None:
    leases = await office.lease_all()
    await office.answer(commits=tuple(commit(lease, done=True) for lease in leases))
    assert not await office.desk.lost(1, LOST)
    assert office.coordinator.failure is None


async def test_progress_is_told_a_few_times_a_second(office: Office) -> None:
    for tick in range(21):
        office.clock.advance(0.1)
        await office.answer(tick % 2, usage=Usage(items=tick, capacity_units=2.0 * tick, bytes=3 * tick))
    progress = [event for event in office.events if isinstance(event, Progress)]
    assert len(progress) == 7
    assert progress[0].seconds == pytest.approx(0.3)
    assert (progress[0].items, progress[0].units, progress[0].bytes) == (2 + 1, 2.0 * 3, 3 * 3)


async def test_the_end_is_told_at_once(office: Office) -> None:
    office.clock.advance(1)
    leases = await office.lease_all()
    await office.answer(commits=tuple(commit(lease, read=1, written=1, done=True) for lease in leases))
    last = office.events[-1]
    assert isinstance(last, Progress)
    assert last.splits_done == 2


async def test_an_attribute_that_plain_json_changes_is_told_once(office: Office) -> None:
    lease = await office.lease()
    for seq, types in enumerate([{"a": S}, {"a": S, "b.c": B}, {"b.c": B, "d": SS}, {"d": SS | NS}], 1):
        await office.answer(commits=(commit(lease, seq, types=types),))
    told = [event.message for event in office.events if isinstance(event, Warned)]
    assert len(told) == 2
    assert "b.c" in told[0]
    assert " d " in told[1]


def test_an_error_survives_the_way_to_the_parent() -> None:
    error = DestinationError("The disk is full.", hint="Free some space.")
    again = revive(describe(ExceptionGroup("", [ExceptionGroup("", [error]), ValueError()])))
    assert type(again) is DestinationError
    assert str(again) == "The disk is full. Free some space."
    assert "DestinationError: The disk is full." in again.__notes__[0]
    assert type(revive(describe(PreflightError("p")))) is PreflightError
    assert type(revive(describe(CredentialsUnavailableError("c")))).__name__ == "JobFailedError"
    assert type(revive(Failure(kind="NoSuchError", message="m"))).__name__ == "JobFailedError"


async def test_an_index_that_throttles_is_named_once(tmp_path: Path) -> None:
    office = Office(tmp_path / "rejects")
    for times in (1, 2):
        reasons = {"IndexWriteProvisionedThroughputExceeded by-date": times, "UnprocessedItems": 5}
        await office.answer(usage=Usage(throttles=times + 5, reasons=reasons))
    (warned,) = [event.message for event in office.events if isinstance(event, Warned)]
    assert "Index by-date" in warned
    assert "its own capacity is too small" in warned


@pytest.mark.parametrize("limit", ["KeyRangeThroughputExceeded", "AccountLimitExceeded"])
async def test_a_limit_that_is_not_the_indexs_own_is_not_called_so(tmp_path: Path, limit: str) -> None:
    office = Office(tmp_path / "rejects")
    await office.answer(usage=Usage(throttles=1, reasons={f"IndexWrite{limit} by-date": 1}))
    (warned,) = [event.message for event in office.events if isinstance(event, Warned)]
    assert warned == f"Index by-date throttles the job (IndexWrite{limit})."
