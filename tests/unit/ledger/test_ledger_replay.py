"""What was recorded is what is replayed; several callers share a chunk; a caller that goes takes nothing with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddbio.errors import DestinationError, JournalError
from ddbio.hints import NS, SS, B, S
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
from ddbio.ledger.positions import END, START, AfterKey, Position
from ddbio.ledger.recovery import recover
from ddbio.ledger.rejects import RejectsFile
from ddbio.storage.base import JOURNAL
from ddbio.storage.tokens import Part, UploadToken
from tests.kit.fakes import MemorySink, all_entries, let_run


def summary(ledger: Ledger) -> dict[str, Any]:
    """Everything that a ledger knows."""
    return {
        "splits": ledger.splits,
        "done": ledger.done.packed(),
        "files": ledger.files,
        "types": ledger.types,
        "used": ledger.used,
        "counts": (ledger.read, ledger.written, ledger.rejected, ledger.bytes),
    }


class Segment:
    """One segment of an export as its workers write it: files of pages, sealed or left, found again or gone."""

    def __init__(self, split: int) -> None:
        self.split = split
        self.page = 0
        self.number = 0
        self.seq = 0
        self.file: FileState | None = None
        self.done = False

    def step(self, what: str, size: int) -> list[JournalEntry]:
        """What becomes durable next."""
        self.seq += 1
        if self.done:
            return []
        match what:
            case "page":
                return [self._page(size)]
            case "empty":
                self.page += 1
                return [self._commit(file=self.file)]
            case "seal" if self.file is not None:
                return [self._commit(file=self._sealed())]
            case "end":
                self.done = True
                return [self._commit(END, file=self._sealed() if self.file else None, done=True)]
            case "recovered" if self.file is not None:
                return [Recovered(self.split, self._sealed())]
            case "gone" if self.file is not None:
                file, self.file = self.file, None
                self.page = _page(file.first)
                return [Recovered(self.split, file, gone=True)]
        return []

    def _page(self, size: int) -> Commit:
        before = self.file or FileState(
            f"T-{self.split}-{self.number}", self.split, self.number, _after(self.page), START, 0, 0, 0, 0, sealed=False
        )
        self.page += 1
        self.number = before.number + 1
        told = before.token.parts_recorded if before.token else 0
        self.file = msgspec.structs.replace(
            before,
            last=_after(self.page),
            read=before.read + size,
            items=before.items + size,
            bytes=before.bytes + size * 10,
            token=UploadToken(before.name, (Part(told, f"tag{self.page}", ""),), told),
        )
        types = {f"a{size}": [S, SS, NS, B][size % 4]}
        return self._commit(file=self.file, read=size, written=size, bytes=size * 10, types=types)

    def _sealed(self) -> FileState:
        assert self.file is not None
        file, self.file = self.file, None
        return msgspec.structs.replace(file, sealed=True, token=None)

    def _commit(self, position: Position = START, **facts: Any) -> Commit:
        return Commit(self.split, 1, self.seq, position if position == END else _after(self.page), **facts)


def _after(page: int) -> Position:
    """Where a segment goes on after so many pages."""
    return AfterKey(str(page)) if page else START


def _page(position: Position) -> int:
    return int(position.key) if isinstance(position, AfterKey) else 0


steps = st.tuples(
    st.integers(0, 2),
    st.sampled_from(["page", "page", "page", "empty", "seal", "recovered", "gone", "end"]),
    st.integers(1, 5),
)


@settings(max_examples=150, deadline=None)
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
                assert state.position == _after(segment.page)
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
async def test_a_file_that_a_journal_names_and_does_not_tell_of_is_damage(entry: JournalEntry) -> None:
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


async def test_a_file_is_not_sealed_where_the_journal_may_hold_more_of_it() -> None:
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


async def test_reasons_of_rejects_are_counted_over_all_runs_with_the_example_closest_to_a_beginning(
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
