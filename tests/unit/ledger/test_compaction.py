"""A journal is replaced by its state again and again: whenever the process ends, nothing of it is lost."""

from __future__ import annotations

import asyncio
from copy import copy
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.errors import DestinationError, JournalError
from ddbio.ledger.entries import Commit, FileState, JournalEntry, KnownFile, Opened, Used
from ddbio.ledger.journal import BLOCK_BYTES, Journal
from ddbio.ledger.law import ExportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.positions import END, START, AfterKey
from ddbio.report import Spending
from ddbio.storage.base import JOURNAL
from tests.kit.fakes import MemoryFile, MemorySink, all_entries, let_run
from tests.kit.histories import Segment, steps, summary
from tests.kit.identities import EXPORT
from tests.kit.marks import examples
from tests.kit.mortal import Mortal, mortal

OPENED = Opened("run", EXPORT, 3)
EVERY = 3


class Job:
    """A job as it goes on: what it has recorded, and what it may have recorded when it ended."""

    def __init__(self) -> None:
        self.segments = [Segment(split) for split in range(3)]
        self.recorded: list[JournalEntry] = []
        self.perhaps: list[JournalEntry] = []
        self.before: list[Segment] = []
        self._runs = count()

    @property
    def opened(self) -> Opened | None:
        return OPENED if self.recorded else None

    def ledger(self, entries: list[JournalEntry]) -> dict[str, Any]:
        """What a ledger knows that has seen all of these."""
        ledger = Ledger(ExportLaw())
        ledger.replay(entries)
        return summary(ledger)

    async def resume(self, sink: Mortal, compact_after: int) -> Ledger:
        """The ledger of the next run, which is that of all durable entries."""
        journal = Journal(sink, compact_after=compact_after)
        ledger = Ledger(ExportLaw(), journal)
        ledger.replay(await all_entries(journal))
        opened = await Journal(sink).opened()
        if (opened, summary(ledger)) != (self.opened, self.ledger(self.recorded)):
            self.recorded += self.perhaps
        elif self.perhaps:
            self.segments = self.before
        self.perhaps = []
        assert (opened, summary(ledger)) == (self.opened, self.ledger(self.recorded))
        return ledger

    async def run(self, ledger: Ledger, history: list[tuple[int, str, int]]) -> None:
        """One run of the job."""
        self.before = list(map(copy, self.segments))
        if not self.recorded:
            await self.record(ledger, [OPENED])
        run = f"run-{next(self._runs)}"
        for number, (split, what, size) in enumerate(history):
            self.before = list(map(copy, self.segments))
            used = Used(run, Spending(capacity_units=number / 2, requests=number))
            await self.record(ledger, [*self.segments[split].step(what, size), used])
            await let_run(size)

    async def record(self, ledger: Ledger, entries: list[JournalEntry]) -> None:
        self.perhaps = entries
        await ledger.record(entries)
        self.recorded += entries
        self.perhaps = []


lives = st.tuples(st.integers(0, 60), st.booleans(), st.lists(steps, max_size=15))


@examples(200)
@given(runs=st.lists(lives, min_size=1, max_size=5), compact_after=st.integers(1, 4), seed=st.integers(0, 99))
def test_a_process_may_end_at_any_operation(
    runs: list[tuple[int, bool, list[tuple[int, str, int]]]], compact_after: int, seed: int
) -> None:
    async def play() -> None:
        sink, job = Mortal(), Job()
        for left, behind, history in runs:
            sink = sink.revived(left, behind=behind, seed=seed)
            await mortal(job.run(await job.resume(sink, compact_after), history))
        sink = sink.revived()
        ledger = await job.resume(sink, compact_after)
        await job.run(ledger, [(0, "page", 30)] * (2 * compact_after))
        await ledger.stop_compacting()
        assert len(sink.small) + len(sink.sealed) <= 2 * compact_after + 2
        await ledger.close()
        assert (sink.small, sink.sealed) == ({}, {})

    asyncio.run(play())


async def compacted(chunks: int = 7) -> Mortal:
    """A journal of so many chunks, the first ones of them compacted."""
    sink, job = Mortal(), Job()
    await job.run(await job.resume(sink, EVERY), [(0, "page", 9)] * (chunks - 1))
    return sink


def name(number: int, *, compacted: bool = False) -> str:
    return f"{JOURNAL}{number:08d}{'-compacted' if compacted else ''}.json"


async def test_one_chunk_takes_the_place_of_all_before() -> None:
    sink = await compacted(7)
    assert sorted(sink.small) == [name(7)]
    assert sorted(sink.sealed) == [name(6, compacted=True)]
    entries = await all_entries(Journal(sink))
    assert entries[0] == OPENED
    assert [entry.split for entry in entries if isinstance(entry, Commit)] == [0]


@pytest.mark.parametrize("spoilt", [b"", b'{"ddbio_journal":1', "cut", "line", None])
async def test_what_is_damaged_behind_a_compaction_is_damage(spoilt: bytes | str | None) -> None:
    for number in (6, 7):
        sink = await compacted(8)
        chunks = sink.sealed if number == 6 else sink.small
        key = name(number, compacted=number == 6)
        whole = chunks.pop(key)
        if spoilt is not None:
            lines = whole.splitlines(keepends=True)
            spoils = {"cut": whole[:-2], "line": b"".join(lines[:-1])}
            chunks[key] = spoilt if isinstance(spoilt, bytes) else spoils[spoilt]
        with pytest.raises(JournalError, match="damaged"):
            await all_entries(Journal(sink))


async def ended_anywhere() -> list[Mortal]:
    """What a run of some compactions leaves behind, ended at each of its operations."""
    found: list[Mortal] = []
    for left in count():
        for behind in (False, True):
            sink, job = Mortal(left, behind=behind, seed=left), Job()
            if await mortal(job.run(await job.resume(sink, EVERY), [(0, "page", 9)] * 9)):
                return found
            found.append(sink)
    raise AssertionError


async def ended(sink: Mortal, what: str) -> list[Mortal]:
    """What an interrupted `remove` or `discard` of the journal leaves behind, ended at each of its operations."""
    found: list[Mortal] = []
    for left in count():
        for behind in (False, True):
            trial = sink.revived(left, behind=behind, seed=left)
            if await mortal(getattr(Journal(trial), what)()):
                assert (trial.small, trial.sealed) == ({}, {})
                return found
            found.append(trial)
    raise AssertionError


async def known(sink: Mortal) -> dict[str, Any] | None:
    """What can be resumed; None where nothing can."""
    ledger = Ledger(ExportLaw())
    try:
        ledger.replay(await all_entries(Journal(sink.revived())))
    except JournalError:
        return None
    return summary(ledger) if sink.small or sink.sealed else None


async def test_a_discarded_journal_is_left_whole_or_not_at_all() -> None:
    states = 0
    for sink in await ended_anywhere():
        whole = await known(sink)
        for left in await ended(sink, "discard"):
            assert await known(left) in (whole, None)
            states += 1
    assert states > 200


async def test_the_rest_of_a_removed_journal_names_its_job() -> None:
    for sink in await ended_anywhere():
        for left in await ended(sink, "remove"):
            assert await Journal(left.revived()).opened() in (OPENED, None)


async def test_who_reads_meanwhile_finds_no_damage() -> None:
    """Between any two of a reader's steps the job goes on, and so does its compaction."""
    whole = 0
    for pause in range(12):
        sink, job = Mortal(), Job()
        ledger = await job.resume(sink, EVERY)
        history = [(0, "page", 0)] * 11
        await job.run(ledger, history[:2])
        get, turns = sink.get, count()

        async def slow_get(name: str, *, most: int | None = None) -> bytes | None:
            await let_run(1)
            if next(turns) == pause:  # noqa: B023
                await job.run(ledger, history)  # noqa: B023
            return await get(name, most=most)  # noqa: B023

        sink.get = slow_get  # type: ignore[method-assign]
        reader = Ledger(ExportLaw())
        reader.replay(await all_entries(Journal(sink)))
        whole += summary(reader) == summary(ledger)
    assert whole


async def test_a_chunk_that_is_gone_for_good_is_damage() -> None:
    sink = await compacted(8)
    looks = 0
    names = sink.list

    async def listed(prefix: str = "") -> list[Any]:
        nonlocal looks
        looks += 1
        return await names(prefix)

    sink.list = listed  # type: ignore[method-assign]
    del sink.small[name(7)]
    with pytest.raises(JournalError, match=f"expected {name(7)}, found {name(8)}"):
        await all_entries(Journal(sink))
    assert looks < 5


class Slow(MemorySink):
    """A sink that creates files once it is allowed to, or never."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def create(self, name: str, *, max_bytes: int) -> MemoryFile:
        await self.gate.wait()
        if self.error:
            raise self.error
        return await super().create(name, max_bytes=max_bytes)


def page(seq: int) -> list[JournalEntry]:
    return [Commit(0, 1, seq, AfterKey(str(seq)), read=1, written=1)]


async def test_commits_do_not_wait_for_a_compaction() -> None:
    sink = Slow()
    ledger = Ledger(ExportLaw(), Journal(sink, compact_after=EVERY))
    await ledger.record([OPENED])
    for seq in range(1, 10):
        await ledger.record(page(seq))
    assert len(sink.small) == 10
    sink.gate.set()
    await let_run()
    assert sorted(sink.sealed) == [name(3, compacted=True)]
    assert len(sink.small) == 7
    again = Ledger(ExportLaw())
    again.replay(await all_entries(Journal(sink)))
    assert summary(again) == summary(ledger)


async def test_large_chunks_are_compacted_sooner() -> None:
    sink, sizes = Slow(), []
    sink.gate.set()
    for _ in range(2):  # the second one goes on with what the first has left
        journal = Journal(sink, compact_bytes=5_000)
        ledger = Ledger(ExportLaw(), journal)
        ledger.replay(await all_entries(journal))
        await ledger.record([OPENED])
        for seq in range(1, 60):
            await ledger.record([Commit(0, 1, seq, AfterKey("p" * 200), types={f"{seq}": 1})])
            await let_run()
            sizes.append(sum(map(len, (*sink.small.values(), *sink.sealed.values()))))
    assert 7_000 < max(sizes) < 16_000


async def test_a_compaction_that_fails_is_told_and_done_later(caplog: pytest.LogCaptureFixture) -> None:
    sink = Slow()
    sink.gate.set()
    sink.error = DestinationError("The disk is full.")
    ledger = Ledger(ExportLaw(), Journal(sink, compact_after=EVERY))
    await ledger.record([OPENED])
    for seq in range(1, 5):
        await ledger.record(page(seq))
        await let_run()
    assert [record.getMessage() for record in caplog.records] == [
        "The journal in memory could not be compacted yet: The disk is full."
    ]
    sink.error = None
    for seq in range(5, 7):
        await ledger.record(page(seq))
        await let_run()
    assert sorted(sink.sealed) == [name(6, compacted=True)]


async def test_an_error_of_the_program_in_a_compaction_stops_the_job() -> None:
    sink = Slow()
    sink.gate.set()
    sink.error = ZeroDivisionError()
    ledger = Ledger(ExportLaw(), Journal(sink, compact_after=1))
    await ledger.record([OPENED])
    await let_run()
    with pytest.raises(ZeroDivisionError):
        await ledger.record(page(1))


@pytest.mark.parametrize("end", ["stop_compacting", "leave"])
async def test_a_compaction_that_is_under_way_ends_with_the_run(end: str) -> None:
    sink = Slow()
    ledger = Ledger(ExportLaw(), Journal(sink, compact_after=1))
    await ledger.record([OPENED])
    await let_run()
    await getattr(ledger, end)()
    sink.gate.set()
    await let_run()
    assert (list(sink.small), sink.sealed) == ([name(1)], {})


async def test_a_journal_is_removed_behind_its_compaction() -> None:
    sink = Slow()
    ledger = Ledger(ExportLaw(), Journal(sink, compact_after=1))
    await ledger.record([OPENED])
    closing = asyncio.create_task(ledger.close())
    await let_run()
    assert not closing.done()
    sink.gate.set()
    await closing
    assert (sink.small, sink.sealed) == ({}, {})


async def test_a_large_state_does_not_hold_the_event_loop() -> None:
    """It is encoded, and read back, in pieces of about a millisecond, between which others run."""
    files = [
        FileState(f"T-{number:04d}-00000.json", number, 0, START, END, 1, 1, 99, 1, sealed=True)
        for number in range(20_000)
    ]
    sink = MemorySink()
    journal = Journal(sink)
    await journal.append([OPENED])
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    running = asyncio.create_task(others())
    journal.compact(map(KnownFile, files))
    await let_run(100)
    size = len(sink.sealed[name(1, compacted=True)])
    assert turns >= size // BLOCK_BYTES > 5
    turns = 0
    read = await all_entries(Journal(sink))
    assert turns >= size // BLOCK_BYTES
    running.cancel()
    assert [msgspec.structs.asdict(entry.file) for entry in read if isinstance(entry, KnownFile)] == [
        msgspec.structs.asdict(file) for file in files
    ]
