"""Names and positions in a journal are checked against the job before they are used.

Anyone who can write to the destination can compute a checksum. Without these checks, a forged journal could have any
file of the machine renamed, truncated or read.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ddbio.errors import JournalError
from ddbio.ledger.entries import Commit, FileState, JournalEntry, KnownFile, KnownSplit, Opened, Recovered
from ddbio.ledger.identity import ExportIdentity
from ddbio.ledger.positions import START, AfterKey, AtOffset, Position
from ddbio.names import RUN_NAME, TABLE_NAME, file_name, is_part_of
from ddbio.storage.tokens import LocalToken
from ddbio.unreadable import UNREADABLE

LastEvaluatedKey = dict[str, dict[str, str]]


def vet_opening(opened: Opened, location: str) -> None:
    """Raises JournalError where the first entry could not have been written by ddbio."""
    if not RUN_NAME.fullmatch(opened.run) or not TABLE_NAME.fullmatch(opened.identity.table):
        raise _refused(location, "its first entry")


class Vetting:
    def __init__(self, opened: Opened, location: str) -> None:
        self._opened = opened
        self._location = location
        self._starts = {split.id: split.start for split in opened.splits}
        self._key = dict(opened.identity.keys)

    def check(self, entries: Iterable[JournalEntry]) -> None:
        """Raises JournalError where one of these entries does not belong to the job."""
        for entry in entries:
            split, belongs = self._examine(entry)
            if not belongs:
                raise _refused(self._location, f"an entry about split {split}")

    def _examine(self, entry: JournalEntry) -> tuple[int, bool]:
        """The split that an entry is about, and whether the entry could be about that one."""
        match entry:
            case Commit(split=split, position=position, file=file):
                return split, self._is_position(split, position) and (file is None or self._is_ours(file, split))
            case Recovered(split=split, file=file):
                return split, self._is_ours(file, split)
            case KnownFile(file=file):
                return file.segment, self._is_ours(file, file.segment)
            case KnownSplit(split=split, state=state):
                return split, state.position == START or self._is_position(split, state.position)
        return 0, not isinstance(entry, Opened) or entry == self._opened

    def _is_position(self, split: int, position: Position) -> bool:
        if self._opened.identity.command == "export":
            return 0 <= split < self._opened.segments and self._is_scan_position(position)
        start = self._starts.get(split)
        return start is not None and isinstance(position, AtOffset) and position.offset >= start

    def _is_ours(self, file: FileState, split: int) -> bool:
        identity = self._opened.identity
        return (
            isinstance(identity, ExportIdentity)
            and 0 <= split < self._opened.segments
            and file.segment == split
            and file.name == file_name(identity.table, file.segment, file.number, identity.compress)
            and self._is_scan_position(file.first)
            and self._is_scan_position(file.last)
            and (not isinstance(file.token, LocalToken) or is_part_of(file.token.part, file.name))
        )

    def _is_scan_position(self, position: Position) -> bool:
        """Whether it is the beginning or the end of a segment, or a key of the table or index."""
        if not isinstance(position, AfterKey):
            return not isinstance(position, AtOffset)
        try:
            key = msgspec.json.decode(position.key, type=LastEvaluatedKey)
        except UNREADABLE:
            return False
        return all(key.get(name, {}).keys() == {kind} for name, kind in self._key.items())


def _refused(location: str, what: str) -> JournalError:
    return JournalError(
        f"The journal in {location} can't be trusted: {what} is not one that ddbio writes for this job.",
        hint="Find out who has changed it. To start over, use --overwrite (export) or another --state (import).",
    )
