"""What a journal may say: names and positions are held against the job before anything is done with them.

A checksum keeps accidents away, but whoever can write to a destination can make one. Without this, a journal could
have any file of the machine renamed, cut, or read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from ddbio.errors import JournalError
from ddbio.ledger.entries import END, Commit, FileState, JournalEntry, KnownFile, KnownSplit, Opened, Recovered
from ddbio.names import ENDINGS, RUN_NAME, TABLE_NAME, file_name, is_part_of
from ddbio.unreadable import UNREADABLE

Key = dict[str, dict[str, str]]
"""A LastEvaluatedKey."""
_OFFSET = re.compile(r"[0-9]{1,18}")


class _Token(msgspec.Struct, forbid_unknown_fields=True):
    """What the places give as a resume token (`ddbio.storage.base.OutputFile.resume_token`, `ddbio.ledger.tokens`)."""

    part: str | None = None
    upload_id: str | None = None
    parts: list[tuple[int, str, str]] = []
    after: int = 0


def vet_opening(opened: Opened, location: str) -> None:
    """Raises JournalError where the first entry could not have been written by ddbio."""
    if not RUN_NAME.fullmatch(opened.run) or not TABLE_NAME.fullmatch(opened.identity.table):
        raise _refused(location, "its first entry")


class Vetting:
    """Holds the entries of a journal against the job that was `opened`."""

    def __init__(self, opened: Opened, location: str) -> None:
        self._opened = opened
        self._location = location
        self._starts = {split.id: split.start for split in opened.splits}
        self._key = dict(opened.identity.keys)

    def check(self, entries: Iterable[JournalEntry]) -> None:
        """Raises JournalError where one of these entries does not belong to the job."""
        for entry in entries:
            split, belongs = self._look(entry)
            if not belongs:
                raise _refused(self._location, f"an entry about split {split}")

    def _look(self, entry: JournalEntry) -> tuple[int, bool]:
        """The split that an entry is about, and whether it could be about that one."""
        match entry:
            case Commit(split=split, position=position, file=file):
                return split, self._is_position(split, position) and (file is None or self._is_ours(file, split))
            case Recovered(split=split, file=file):
                return split, self._is_ours(file, split)
            case KnownFile(file=file):
                return file.segment, self._is_ours(file, file.segment)
            case KnownSplit(split=split, state=state):
                return split, not state.position or self._is_position(split, state.position)
        return 0, not isinstance(entry, Opened) or entry == self._opened

    def _is_position(self, split: int, position: str) -> bool:
        if self._opened.identity.command == "export":
            return 0 <= split < self._opened.segments and self._is_key(position)
        start = self._starts.get(split)
        return start is not None and _OFFSET.fullmatch(position) is not None and int(position) >= start

    def _is_ours(self, file: FileState, split: int) -> bool:
        identity = self._opened.identity
        compression = identity.what.get("compress")
        return (
            identity.command == "export"
            and 0 <= split < self._opened.segments
            and compression in ENDINGS
            and file.segment == split
            and file.name == file_name(identity.table, file.segment, file.number, compression)
            and self._is_key(file.first)
            and self._is_key(file.last)
            and _is_token(file.token, file.name)
        )

    def _is_key(self, position: str) -> bool:
        """Whether an export's position is the beginning or the end of its segment, or a key of its table or index."""
        if position in ("", END):
            return True
        try:
            key = msgspec.json.decode(position, type=Key)
        except UNREADABLE:
            return False
        return all(key.get(name, {}).keys() == {kind} for name, kind in self._key.items())


def _is_token(token: dict[str, Any] | None, name: str) -> bool:
    """Whether a resume token, if there is one, is about this file."""
    try:
        found = msgspec.convert(token or {}, type=_Token)
    except msgspec.ValidationError:
        return False
    return found.part is None or is_part_of(found.part, name)


def _refused(location: str, what: str) -> JournalError:
    return JournalError(
        f"The journal in {location} can't be trusted: {what} is not one that ddbio writes for this job.",
        hint="Find out who has changed it. To start anew, give an export --overwrite, an import another --state.",
    )
