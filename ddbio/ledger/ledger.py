"""The job's ledger: takes entries in, makes them durable, counts, and judges whether the counts agree."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain

import msgspec

from ddbio.errors import JournalError, LedgerError
from ddbio.hints import PathTypes
from ddbio.ledger.entries import (
    Commit,
    Compacted,
    FileState,
    JournalEntry,
    KnownFile,
    KnownSplit,
    Recovered,
    SplitState,
    Used,
    add_up,
)
from ddbio.ledger.journal import Journal
from ddbio.ledger.numbers import Numbers
from ddbio.ledger.rejects import RejectsFile
from ddbio.ledger.tokens import join
from ddbio.report import Rejection, Spending
from ddbio.words import count

LEAVE_SECONDS = 0.1
_DONE = SplitState(finished=True)


class Ledger:
    """What has become durable in one job.

    `journal` keeps it beyond this process (None: standard output, which can't be resumed); `rejects` is where rejected
    records go (None: there can't be any).
    """

    def __init__(self, journal: Journal | None = None, rejects: RejectsFile | None = None) -> None:
        self._journal = journal
        self._rejects = rejects
        self._pending: list[JournalEntry] = []
        self._unsettled: set[tuple[int, int, int]] = set()
        self._turn = asyncio.Lock()
        self._writing: set[asyncio.Task[list[str]]] = set()
        self._broken = False
        self.splits: dict[int, SplitState] = {}
        """The splits that were begun and are not done."""
        self.done = Numbers()
        """The splits that are done."""
        self.files: dict[str, FileState] = {}
        self.types = PathTypes()
        self._used: dict[str, Used] = {}
        self.read = 0
        self.written = 0
        self.rejected = 0
        self.reasons: dict[str, Rejection] = {}
        self.bytes = 0

    @property
    def has_journal(self) -> bool:
        """Whether what is recorded outlives this process."""
        return self._journal is not None

    @property
    def untouched(self) -> bool:
        """No run of the job has recorded anything as done: there is nothing to go on with."""
        # An export with a filter may be far without an item; an import's offsets say no more than its counts.
        scanned = self._rejects is None and (self.done or any(split.position for split in self.splits.values()))
        return not (self.read or self.rejected or self.files or scanned)

    @property
    def rejects_location(self) -> str | None:
        """Where the rejected records are; None if there was none."""
        return str(self._rejects.path) if self._rejects is not None and self.rejected else None

    def split(self, number: int) -> SplitState:
        """How far one split is; of one that is done, no more than that."""
        return _DONE if number in self.done else self.splits.get(number, SplitState())

    def open_files(self, splits: Iterable[int] | None = None) -> list[tuple[int, FileState]]:
        """Files that have commits and are not sealed, with their splits; of all splits, or of these.

        Raises JournalError where the journal names one and tells nothing else of it.
        """
        chosen = self.splits if splits is None else splits
        found = [(number, self.split(number).open_file) for number in chosen]
        return [(number, self._known(name)) for number, name in found if name is not None]

    @property
    def used(self) -> Spending:
        """What the job has used in all its runs, as far as it was taken in."""
        return sum((run.spending for run in self._used.values()), Spending())

    def replay(self, entries: Iterable[JournalEntry]) -> None:
        """Take in what a journal holds already. Raises JournalError where that contradicts itself."""
        for entry in entries:
            self._apply(entry)

    def take(self, entries: Iterable[JournalEntry]) -> None:
        """Take entries in, in order: they become durable with the next `write`, whoever asks for it."""
        for entry in entries:
            self._pending.append(entry)
            if isinstance(entry, Commit):
                self._unsettled.add(_name(entry))

    def settled(self, commit: Commit) -> bool:
        """Whether this commit, if it was taken in, is durable."""
        return _name(commit) not in self._unsettled

    @property
    def all_durable(self) -> bool:
        """Whether every commit that was taken in is durable."""
        return not self._unsettled

    async def write(self) -> list[str]:
        """Make durable, in one chunk of the journal, what was taken in; it is so when this returns.

        A caller that is cancelled goes at once; the chunk is written nevertheless (`settle` waits for that). Returns
        the attribute paths that are found, now for the first time, to hold a type that plain JSON loses.
        """
        writing = asyncio.create_task(self._write())
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        return await asyncio.shield(writing)

    async def record(self, entries: Iterable[JournalEntry]) -> list[str]:
        """`take` these entries and `write`."""
        self.take(entries)
        return await self.write()

    async def settle(self) -> None:
        """Make durable what was taken in, and wait for what cancelled callers have begun to write.

        Raises JournalError where a write failed: the journal may hold more than this ledger then, so nothing may be
        done to the files.
        """
        await self._all_written()
        await self.write()

    async def leave(self) -> None:
        """Nobody needs this ledger any more: a write that does not end within `LEAVE_SECONDS` is given up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._all_written()
        for writing in self._writing:
            writing.cancel()
        await self._all_written()
        await self.stop_compacting()

    async def stop_compacting(self) -> None:
        """Write nothing but what callers wait for, until the next `write`."""
        if self._journal is not None:
            await self._journal.stop_compacting()

    async def close(self) -> None:
        """The job is finished and its manifest written, or has come to nothing: remove the journal."""
        if self._journal is not None:
            await self._journal.remove()

    def check(self) -> None:
        """The ledger law: every record read is written or rejected, and in a file that is sealed.

        Raises LedgerError with the counts where they differ.
        """
        if self.read != self.written + self.rejected:
            raise LedgerError(
                f"Read {self.read:,} records, but wrote {self.written:,} and rejected {self.rejected:,}.",
                hint="Do not trust the result; please report this.",
            )
        unsealed = [name for name, file in self.files.items() if not file.sealed]
        if unsealed:
            raise LedgerError(
                f"{count(len(unsealed), 'file was', 'files were')} not finished, {unsealed[0]} among them."
            )
        in_files = sum(file.items for file in self.files.values())
        if (self.files or self._rejects is None) and in_files != self.written:
            raise LedgerError(f"Wrote {self.written:,} items, but the files hold {in_files:,}.")

    async def _all_written(self) -> None:
        if self._writing:
            await asyncio.wait(self._writing)

    async def _write(self) -> list[str]:
        async with self._turn:
            self._refuse_if_broken()
            entries, self._pending = self._pending, []
            if entries:
                self._broken = True
                await self._make_durable(entries)
                self._broken = False
            found = [path for entry in entries for path in self._apply(entry)]
            if self._journal is not None and self._journal.is_long:
                self._journal.compact(self._state())
            return found

    def _refuse_if_broken(self) -> None:
        if self._broken:
            raise JournalError("The journal could not be written.", hint="See the first error of this job.")

    async def _make_durable(self, entries: list[JournalEntry]) -> None:
        commits = [entry for entry in entries if isinstance(entry, Commit)]
        size = 0
        if self._rejects is not None:
            size = await self._rejects.add(reject for commit in commits for reject in commit.rejects)
        if self._journal is not None:
            await self._journal.append([_without_rejects(entry) for entry in entries], size)

    def _state(self) -> Iterator[JournalEntry]:
        """All that this ledger knows now, in entries. Nothing that they are made of changes, however late that is."""
        totals = Compacted(
            done=self.done.packed(),
            read=self.read,
            written=self.written,
            rejected=self.rejected,
            size=self.bytes,
            types=self.types.copy(),
            used=tuple(self._used.values()),
            reasons=dict(self.reasons),
        )
        splits = [KnownSplit(number, state) for number, state in self.splits.items()]
        return chain([totals], splits, map(KnownFile, list(self.files.values())))

    def _apply(self, entry: JournalEntry) -> list[str]:
        if isinstance(entry, Commit):
            return self._apply_commit(entry)
        if isinstance(entry, Recovered):
            self._apply_recovery(entry)
        elif isinstance(entry, Used):
            self._used[entry.run] = entry
        elif isinstance(entry, Compacted):
            self._begin_with(entry)
        elif isinstance(entry, KnownSplit):
            self.splits[entry.split] = entry.state
        elif isinstance(entry, KnownFile):
            self.files[entry.file.name] = entry.file
        return []

    def _begin_with(self, entry: Compacted) -> None:
        self.splits, self.files, self.done = {}, {}, Numbers(entry.done)
        self.read, self.written, self.rejected, self.bytes = entry.read, entry.written, entry.rejected, entry.size
        self.types = entry.types
        self._used = {used.run: used for used in entry.used}
        self.reasons = dict(entry.reasons)

    def _apply_commit(self, commit: Commit) -> list[str]:
        self._unsettled.discard(_name(commit))
        self.rejected += commit.rejected
        add_up(self.reasons, commit.reasons)
        self.read += commit.read
        self.written += commit.written
        self.bytes += commit.bytes
        split = self.split(commit.split)
        split = msgspec.structs.replace(split, position=commit.position, finished=split.finished or commit.done)
        self._keep(commit.split, split if commit.file is None else self._with_file(split, commit.file))
        return self.types.merge(commit.types)

    def _apply_recovery(self, entry: Recovered) -> None:
        split, file = self.split(entry.split), entry.file
        if not entry.gone:
            self._keep(entry.split, self._with_file(split, file))
            return
        del self.files[self._known(file.name).name]
        self._keep(entry.split, msgspec.structs.replace(split, open_file=None, position=file.first))
        self.read -= file.read
        self.written -= file.items
        self.bytes -= file.bytes

    def _known(self, name: str) -> FileState:
        found = self.files.get(name)
        if found is None:
            raise JournalError(
                f"The journal is damaged: it speaks of {name}, and does not tell what is in it.",
                hint="The job can't be resumed: start it anew with --overwrite.",
            )
        return found

    def _with_file(self, split: SplitState, file: FileState) -> SplitState:
        known = self.files.get(file.name)
        self.files[file.name] = msgspec.structs.replace(file, token=join(known.token if known else None, file.token))
        return msgspec.structs.replace(split, open_file=None if file.sealed else file.name, number=file.number + 1)

    def _keep(self, number: int, split: SplitState) -> None:
        if split.done:
            self.done.add(number)
            self.splits.pop(number, None)
        else:
            self.splits[number] = split


def _without_rejects(entry: JournalEntry) -> JournalEntry:
    return msgspec.structs.replace(entry, rejects=()) if isinstance(entry, Commit) else entry


def _name(commit: Commit) -> tuple[int, int, int]:
    return commit.split, commit.epoch, commit.seq
