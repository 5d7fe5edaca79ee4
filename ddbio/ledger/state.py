"""What has become durable in a job: the sum of all entries of its journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import msgspec

from ddbio.errors import JournalError
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
from ddbio.ledger.numbers import Numbers
from ddbio.report import Rejection, Spending

_DONE = SplitState(finished=True)


class JobState:
    def __init__(self) -> None:
        self.splits: dict[int, SplitState] = {}
        """The splits that were begun and are not done."""
        self.done = Numbers()
        self.files: dict[str, FileState] = {}
        self.types = PathTypes()
        self._used: dict[str, Used] = {}
        self.read = 0
        self.written = 0
        self.rejected = 0
        self.reasons: dict[str, Rejection] = {}
        self.bytes = 0

    def split(self, number: int) -> SplitState:
        """How far one split is. Of one that is done, only that is known."""
        return _DONE if number in self.done else self.splits.get(number, SplitState())

    def open_files(self, splits: Iterable[int] | None = None) -> list[tuple[int, FileState]]:
        """Files that have commits and are not sealed, with their splits; of all splits, or of these."""
        chosen = self.splits if splits is None else splits
        found = [(number, self.split(number).open_file) for number in chosen]
        return [(number, self._known(name)) for number, name in found if name is not None]

    @property
    def used(self) -> Spending:
        return sum((run.spending for run in self._used.values()), Spending())

    def replay(self, entries: Iterable[JournalEntry]) -> None:
        """Apply what a journal holds already. Raises JournalError where it contradicts itself."""
        for entry in entries:
            self._apply(entry)

    def snapshot(self) -> Iterator[JournalEntry]:
        """Entries that make this state. They do not change with it, however late they are read."""
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
        """Returns the attribute paths that are found, for the first time, to hold a type that plain JSON loses."""
        match entry:
            case Commit():
                return self._apply_commit(entry)
            case Recovered():
                self._apply_recovery(entry)
            case Used():
                self._used[entry.run] = entry
            case Compacted():
                self._begin_with(entry)
            case KnownSplit():
                self.splits[entry.split] = entry.state
            case KnownFile():
                self.files[entry.file.name] = entry.file
        return []

    def _begin_with(self, entry: Compacted) -> None:
        self.splits, self.files, self.done = {}, {}, Numbers(entry.done)
        self.read, self.written, self.rejected, self.bytes = entry.read, entry.written, entry.rejected, entry.size
        self.types = entry.types
        self._used = {used.run: used for used in entry.used}
        self.reasons = dict(entry.reasons)

    def _apply_commit(self, commit: Commit) -> list[str]:
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
                f"The journal is damaged: it names {name}, and does not say what is in it.",
                hint="The job can't be resumed: start it over with --overwrite.",
            )
        return found

    def _with_file(self, split: SplitState, file: FileState) -> SplitState:
        if file.token is not None:
            known = self.files.get(file.name)
            file = msgspec.structs.replace(file, token=file.token.joined(known.token if known else None))
        self.files[file.name] = file
        return msgspec.structs.replace(split, open_file=None if file.sealed else file.name, number=file.number + 1)

    def _keep(self, number: int, split: SplitState) -> None:
        if split.done:
            self.done.add(number)
            self.splits.pop(number, None)
        else:
            self.splits[number] = split
