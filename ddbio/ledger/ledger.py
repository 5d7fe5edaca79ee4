"""The job's ledger: takes entries in, makes them durable, counts, and judges whether the counts agree."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from ddbio.codec.hints import PathTypes
from ddbio.errors import JournalError, LedgerError
from ddbio.ledger.entries import END, Commit, Entry, FileState, Recovered
from ddbio.ledger.journal import Journal
from ddbio.ledger.rejects import RejectsFile

LEAVE_SECONDS = 0.2


@dataclass(slots=True)
class UnitState:
    """How far one unit is: what a new lease on it begins with."""

    position: str = ""
    number: int = 0
    finished: bool = False
    open_file: str | None = None
    """The file of its last commit, if that is not sealed."""

    @property
    def done(self) -> bool:
        """Nothing is left to do: read to its end, and its last file sealed."""
        return self.finished or (self.position == END and self.open_file is None)


class Ledger:
    """What has become durable in one job.

    `journal` keeps it beyond this process (None: standard output, which can't be resumed); `rejects` is where rejected
    records go (None: there can't be any).
    """

    def __init__(self, journal: Journal | None = None, rejects: RejectsFile | None = None) -> None:
        self._journal = journal
        self._rejects = rejects
        self._pending: list[Entry] = []
        self._turn = asyncio.Lock()
        self._recording: set[asyncio.Task[list[str]]] = set()
        self._broken = False
        self.units: dict[int, UnitState] = {}
        self.files: dict[str, FileState] = {}
        self.types = PathTypes()
        self.read = 0
        self.written = 0
        self.rejected = 0
        self.bytes = 0

    @property
    def has_journal(self) -> bool:
        """Whether what is recorded outlives this process."""
        return self._journal is not None

    @property
    def rejects_location(self) -> str | None:
        """Where the rejected records are; None if there was none."""
        return str(self._rejects.path) if self._rejects is not None and self.rejected else None

    def unit(self, number: int) -> UnitState:
        """The state of one unit, made at first mention."""
        return self.units.setdefault(number, UnitState())

    def open_files(self, units: Iterable[int] | None = None) -> list[tuple[int, FileState]]:
        """Files that have commits and are not sealed, with their units; of all units, or of these."""
        chosen = self.units if units is None else units
        found = [(number, self.unit(number).open_file) for number in chosen]
        return [(number, self.files[name]) for number, name in found if name is not None]

    def replay(self, entries: Iterable[Entry]) -> None:
        """Take in what a journal holds already."""
        for entry in entries:
            self._apply(entry)

    async def record(self, entries: Sequence[Entry]) -> list[str]:
        """Take entries in, in order; what they say is durable when this returns.

        Several callers at once share one chunk of the journal. A caller that is cancelled goes at once; what it handed
        in is taken in nevertheless (`settle` waits for that). Returns the attribute paths that are found, now for the
        first time, to hold a type that plain JSON loses.
        """
        self._pending += entries
        recording = asyncio.create_task(self._record(entries))
        self._recording.add(recording)
        recording.add_done_callback(self._recording.discard)
        return await asyncio.shield(recording)

    async def settle(self) -> None:
        """Wait for what cancelled callers have handed in.

        Raises JournalError where a write failed: the journal may hold more than this ledger then, so nothing may be
        done to the files.
        """
        await self._all_recorded()
        async with self._turn:
            self._refuse_if_broken()

    async def leave(self) -> None:
        """Nobody needs this ledger any more: a write that does not end within `LEAVE_SECONDS` is given up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._all_recorded()
        for recording in self._recording:
            recording.cancel()
        await self._all_recorded()

    async def close(self) -> None:
        """The job is finished and its manifest written: remove the journal."""
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
            raise LedgerError(f"{len(unsealed)} files were not finished, {unsealed[0]} among them.")
        in_files = sum(file.items for file in self.files.values())
        if (self.files or self._rejects is None) and in_files != self.written:
            raise LedgerError(f"Wrote {self.written:,} items, but the files hold {in_files:,}.")

    async def _all_recorded(self) -> None:
        if self._recording:
            await asyncio.wait(self._recording)

    async def _record(self, entries: Sequence[Entry]) -> list[str]:
        async with self._turn:
            written, self._pending = self._pending, []
            self._refuse_if_broken()
            if written:
                self._broken = True
                await self._make_durable(written)
                self._broken = False
        news: list[str] = []
        for entry in entries:
            news += self._apply(entry)
        return news

    def _refuse_if_broken(self) -> None:
        if self._broken:
            raise JournalError("The journal could not be written.", hint="See the first error of this job.")

    async def _make_durable(self, entries: list[Entry]) -> None:
        commits = [entry for entry in entries if isinstance(entry, Commit)]
        size = 0
        if self._rejects is not None:
            size = await self._rejects.add(reject for commit in commits for reject in commit.rejects)
        if self._journal is not None:
            await self._journal.append([_without_rejects(entry) for entry in entries], size)

    def _apply(self, entry: Entry) -> list[str]:
        if isinstance(entry, Commit):
            return self._apply_commit(entry)
        if isinstance(entry, Recovered):
            self._apply_recovery(entry)
        return []

    def _apply_commit(self, commit: Commit) -> list[str]:
        unit = self.unit(commit.unit)
        unit.position = commit.position
        unit.finished = commit.done
        self.rejected += commit.rejected
        self.read += commit.read
        self.written += commit.written
        self.bytes += commit.bytes
        if commit.file is not None:
            self._keep_file(unit, commit.file)
        return self.types.merge(commit.types)

    def _apply_recovery(self, entry: Recovered) -> None:
        unit, file = self.unit(entry.unit), entry.file
        if not entry.gone:
            self._keep_file(unit, file)
            return
        del self.files[file.name]
        unit.open_file = None
        unit.position = file.first
        self.read -= file.read
        self.written -= file.items
        self.bytes -= file.bytes

    def _keep_file(self, unit: UnitState, file: FileState) -> None:
        self.files[file.name] = file
        unit.open_file = None if file.sealed else file.name
        unit.number = file.number + 1


def _without_rejects(entry: Entry) -> Entry:
    return msgspec.structs.replace(entry, rejects=()) if isinstance(entry, Commit) else entry
