"""What was recorded is what is replayed; several callers share a chunk; a caller that goes takes nothing with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.errors import DestinationError, JournalError
from ddbio.ledger.entries import (
    Commit,
    FileState,
    JournalEntry,
    KnownSplit,
    Recovered,
    Reject,
    SplitState,
    by_reason,
)
from ddbio.ledger.journal import Journal
from ddbio.ledger.law import ExportLaw, ImportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.positions import START, AfterKey
from ddbio.ledger.recovery import recover
from ddbio.ledger.rejects import RejectsFile
from ddbio.storage.base import JOURNAL
from tests.kit.fakes import MemorySink, all_entries, let_run
from tests.kit.histories import Segment, after, steps, summary
from tests.kit.marks import examples


@examples(150)
@given(history=st.lists(steps, max_size=40), chunk=st.integers(1, 5))
def test_a_replayed_ledger_is_the_recorded_one(history: list[tuple[int, str, int]], chunk: int) -> None:
    async def play() -> None:
        sink = MemorySink()
        ledger, segments = Ledger(ExportLaw(), Journal(sink)), [Segment(split) for split in range(3)]
        entries = [entry for split, what, size in history for entry in segments[split].step(what, size)]
        for first in range(0, len(entries), chunk):
            await ledger.record(entries[first : first + chunk])
        again = Ledger(ExportLaw(), Journal(sink))
        again.replay(await all_entries(Journal(sink)))
        assert summary(again) == summary(ledger)
        for segment in segments:
            state = again.split(segment.split)
            assert state.done == segment.done
            assert state.open_file == (segment.file and segment.file.name)
            if not segment.done:
                assert state.number == segment.number
                assert state.position == after(segment.page)
        # Files that are gone are out of the counts: what is left agrees once it is sealed.
        for segment in segments:
            await again.record(segment.step("end", 1))
        again.check()

    asyncio.run(play())


@pytest.mark.parametrize(
    "entry",
    [
        KnownSplit(0, SplitState(open_file="T-0-0")),
        Recovered(0, FileState("T-0-0", 0, 0, START, START, 0, 0, 0, 0, sealed=False), gone=True),
    ],
)
async def test_a_file_named_but_not_described_by_a_journal_is_damage(entry: JournalEntry) -> None:
    ledger = Ledger(ExportLaw(), Journal(MemorySink()))
    with pytest.raises(JournalError, match="T-0-0"):
        ledger.replay([entry])
        await recover(ledger, MemorySink())


class SlowSink(MemorySink):
    """A sink whose writes wait to be allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.open_gate = asyncio.Event()
        self.error: Exception | None = None
        self.puts = 0

    async def put(self, name: str, data: bytes) -> None:
        self.puts += 1
        await self.open_gate.wait()
        if self.error is not None:
            raise self.error
        await super().put(name, data)


def commit(split: int, seq: int = 1, **facts: Any) -> Commit:
    return Commit(split=split, epoch=1, seq=seq, position=AfterKey(str(seq)), read=1, written=1, **facts)


async def begin(ledger: Ledger, *entries: Sequence[JournalEntry]) -> list[asyncio.Task[list[str]]]:
    tasks = [asyncio.create_task(ledger.record(each)) for each in entries]
    await let_run()
    return tasks


async def test_callers_that_wait_share_a_chunk() -> None:
    sink = SlowSink()
    ledger = Ledger(ExportLaw(), Journal(sink))
    tasks = await begin(ledger, *([commit(split)] for split in range(9)))
    assert not any(task.done() for task in tasks)
    assert ledger.written == 0
    sink.open_gate.set()
    await asyncio.gather(*tasks)
    # All at once, or the first one alone and then the rest.
    assert sink.puts <= 2
    read = await all_entries(Journal(sink))
    assert sorted(entry.split for entry in read if isinstance(entry, Commit)) == list(range(9))
    assert ledger.written == 9


async def test_a_write_that_fails_fails_every_caller_then_and_later() -> None:
    sink = SlowSink()
    ledger = Ledger(ExportLaw(), Journal(sink))
    sink.error = DestinationError("Could not write.")
    tasks = await begin(ledger, [commit(0)], [commit(1)], [commit(2)])
    sink.open_gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {DestinationError, JournalError}
    sink.error = None
    with pytest.raises(JournalError):
        await ledger.record([commit(3)])
    with pytest.raises(JournalError):
        await ledger.settle()
    assert ledger.written == 0
    assert sink.small == {}


async def test_a_file_the_journal_may_hold_more_of_is_not_sealed() -> None:
    """A failed write may have landed: sealed by what the ledger knows, the file is not what the journal claims."""
    sink = SlowSink()
    ledger = Ledger(ExportLaw(), Journal(sink))
    sink.open_gate.set()
    file = await sink.create("T-0000-00000.json", max_bytes=99)
    state = FileState(file.name, 0, 0, START, AfterKey("1"), 1, 1, 5, 1, sealed=False)
    await ledger.record([commit(0, file=state)])
    sink.error = DestinationError("The reply was lost.")
    with pytest.raises(DestinationError):
        await ledger.record([commit(0, 2, file=msgspec.structs.replace(state, bytes=9))])
    with pytest.raises(JournalError):
        await recover(ledger, sink)
    assert ("recover", file.name) not in sink.calls


async def test_what_a_cancelled_caller_handed_in_is_taken_in() -> None:
    sink = SlowSink()
    ledger = Ledger(ExportLaw(), Journal(sink))
    tasks = await begin(ledger, [commit(0)], [commit(1)])
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)
    settling = asyncio.create_task(ledger.settle())
    await let_run()
    assert not settling.done()
    sink.open_gate.set()
    await settling
    assert ledger.written == 2
    again = Ledger(ExportLaw())
    again.replay(await all_entries(Journal(sink)))
    assert summary(again) == summary(ledger)


async def test_a_write_that_does_not_end_is_given_up() -> None:
    sink = SlowSink()
    ledger = Ledger(ExportLaw(), Journal(sink))
    (task,) = await begin(ledger, [commit(0)])
    await ledger.leave()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(JournalError):
        await ledger.settle()


async def test_rejects_are_durable_before_the_chunk_that_passes_them(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    seen: list[int] = []

    class Watching(MemorySink):
        async def put(self, name: str, data: bytes) -> None:
            seen.append((await asyncio.to_thread(path.read_text)).count("\n"))
            await super().put(name, data)

    sink = Watching()
    ledger = Ledger(ImportLaw(), Journal(sink), RejectsFile(path, "run"))
    bad = Reject("f", 0, 1, 1, "not_json", "No.", b"{")
    await ledger.record([commit(0, rejected=2, rejects=(bad, bad))])
    await ledger.record([commit(0, 2, rejected=1, rejects=(bad,))])
    assert seen == [2, 3]
    journal = Journal(sink)
    read = await all_entries(journal)
    assert journal.rejects_bytes == path.stat().st_size
    assert all(entry.rejects == () for entry in read if isinstance(entry, Commit))
    again = Ledger(ImportLaw(), journal, RejectsFile(path, "run"))
    again.replay(read)
    assert again.rejected == 3
    assert len([name for name in sink.small if name.startswith(JOURNAL)]) == 2
    await ledger.leave()


async def test_reasons_of_rejects_are_counted_over_all_runs(
    tmp_path: Path,
) -> None:
    def reject(source: str, offset: int, reason: str) -> Reject:
        return Reject(source, offset, 1, None, reason, f"{source} {offset}", None)

    def rejected(seq: int, *rejects: Reject) -> Commit:
        return commit(0, seq, rejected=len(rejects), rejects=rejects, reasons=by_reason(rejects))

    sink = MemorySink()
    ledger = Ledger(ImportLaw(), Journal(sink), RejectsFile(tmp_path / "r.jsonl", "run"))
    await ledger.record([rejected(1, reject("b", 9, "not_json"), reject("b", 12, "key_empty"))])
    await ledger.leave()
    journal = Journal(sink)
    again = Ledger(ImportLaw(), journal, RejectsFile(tmp_path / "r.jsonl", "run"))
    again.replay(await all_entries(journal))
    await again.record([rejected(2, reject("b", 0, "not_json"), reject("a", 0, "not_json"))])
    assert {reason: (found.count, found.message) for reason, found in again.reasons.items()} == {
        "not_json": (3, "a 0"),
        "key_empty": (1, "b 12"),
    }
    await again.leave()
