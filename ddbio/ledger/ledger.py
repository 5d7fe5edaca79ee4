"""The job's ledger: takes entries in, makes them durable, counts, and judges whether the counts agree."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import msgspec

from ddbio.errors import JournalError
from ddbio.ledger.entries import Commit, JournalEntry
from ddbio.ledger.journal import Journal
from ddbio.ledger.law import Law
from ddbio.ledger.rejects import RejectsFile
from ddbio.ledger.state import JobState

LEAVE_SECONDS = 0.1
"""How long the end of a job waits for a write that is under way."""


class Ledger(JobState):
    """The durable state of one job, and the way to add to it.

    Without a `journal`, as for the standard streams, the job can't be resumed.
    """

    def __init__(self, law: Law, journal: Journal | None = None, rejects: RejectsFile | None = None) -> None:
        super().__init__()
        self._law = law
        self._journal = journal
        self._rejects = rejects
        self._pending: list[JournalEntry] = []
        self._unsettled: set[tuple[int, int, int]] = set()
        self._turn = asyncio.Lock()
        self._writing: set[asyncio.Task[list[str]]] = set()
        self._broken = False

    @property
    def has_journal(self) -> bool:
        return self._journal is not None

    @property
    def untouched(self) -> bool:
        """Whether a run that resumes the job would find nothing done."""
        return not self._law.has_progress(self)

    @property
    def rejects_location(self) -> str | None:
        return str(self._rejects.path) if self._rejects is not None and self.rejected else None

    def take(self, entries: Iterable[JournalEntry]) -> None:
        """Take entries in, in order. They become durable with the next `write`, whoever calls it."""
        for entry in entries:
            self._pending.append(entry)
            if isinstance(entry, Commit):
                self._unsettled.add(_name(entry))

    def settled(self, commit: Commit) -> bool:
        return _name(commit) not in self._unsettled

    @property
    def all_durable(self) -> bool:
        return not self._unsettled

    async def write(self) -> list[str]:
        """Write what was taken in as one chunk of the journal; it is durable when this returns.

        A caller that is cancelled returns at once, and the chunk is written all the same (`settle` waits for it).
        Returns the attribute paths that are found, for the first time, to hold a type that plain JSON loses.
        """
        writing = asyncio.create_task(self._write())
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        return await asyncio.shield(writing)

    async def record(self, entries: Iterable[JournalEntry]) -> list[str]:
        self.take(entries)
        return await self.write()

    async def settle(self) -> None:
        """Make durable what was taken in, and wait for the writes of cancelled callers.

        Raises JournalError where a write failed: the journal may hold more than this ledger, so no file may be touched.
        """
        await self._all_written()
        await self.write()

    async def leave(self) -> None:
        """The job ends: give up a write that takes longer than `LEAVE_SECONDS`, and release the rejects file."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._all_written()
        for writing in self._writing:
            writing.cancel()
        await self._all_written()
        await self.stop_compacting()
        if self._rejects is not None:
            await self._rejects.aclose()

    async def stop_compacting(self) -> None:
        """Stop a compaction of the journal; the next `write` may begin another one."""
        if self._journal is not None:
            await self._journal.stop_compacting()

    async def close(self) -> None:
        """Remove the journal: the job is done."""
        if self._journal is not None:
            await self._journal.remove()

    def check(self) -> None:
        self._law.check(self)

    async def _all_written(self) -> None:
        if self._writing:
            await asyncio.wait(self._writing)

    async def _write(self) -> list[str]:
        async with self._turn:
            if self._broken:
                raise JournalError("The journal could not be written.", hint="See the first error of this job.")
            entries, self._pending = self._pending, []
            if entries:
                self._broken = True
                await self._make_durable(entries)
                self._broken = False
            found = [path for entry in entries for path in self._apply(entry)]
            self._unsettled -= {_name(entry) for entry in entries if isinstance(entry, Commit)}
            if self._journal is not None and self._journal.is_long:
                self._journal.compact(self.snapshot())
            return found

    async def _make_durable(self, entries: list[JournalEntry]) -> None:
        """Rejects first: a commit in the journal moves the job past them."""
        size = 0
        if self._rejects is not None:
            commits = (entry for entry in entries if isinstance(entry, Commit))
            size = await self._rejects.add(reject for commit in commits for reject in commit.rejects)
        if self._journal is not None:
            await self._journal.append([_without_rejects(entry) for entry in entries], size)


def _without_rejects(entry: JournalEntry) -> JournalEntry:
    return msgspec.structs.replace(entry, rejects=()) if isinstance(entry, Commit) else entry


def _name(commit: Commit) -> tuple[int, int, int]:
    return commit.split, commit.epoch, commit.seq
