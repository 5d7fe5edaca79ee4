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
from ddbio.ledger.entries import END, Commit, Entry, FileState, Opened, Recovered
from ddbio.names import ENDINGS, RUN_NAME, TABLE_NAME, file_name, is_part_of

Key = dict[str, dict[str, str]]
"""A LastEvaluatedKey."""
_OFFSET = re.compile(r"[0-9]{1,18}")


def vet_opening(opened: Opened, location: str) -> None:
    """Raises JournalError where the first entry could not have been written by ddbio."""
    if not RUN_NAME.fullmatch(opened.run) or not TABLE_NAME.fullmatch(opened.identity.table):
        raise _refused(location, "its first entry")


class Vetting:
    """Holds the entries of a journal against the job that was `opened`."""

    def __init__(self, opened: Opened, location: str) -> None:
        self._opened = opened
        self._location = location
        self._starts = {unit.id: unit.start for unit in opened.units}

    def check(self, entries: Iterable[Entry]) -> None:
        """Raises JournalError where one of these entries does not belong to the job."""
        for entry in entries:
            if isinstance(entry, Commit | Recovered) and not self._belongs(entry):
                raise _refused(self._location, f"an entry about unit {entry.unit}")

    def _belongs(self, entry: Commit | Recovered) -> bool:
        if self._opened.identity.command == "import":
            return isinstance(entry, Commit) and entry.file is None and self._is_offset(entry)
        return (
            0 <= entry.unit < self._opened.segments
            and (isinstance(entry, Recovered) or _is_key(entry.position))
            and (entry.file is None or self._is_ours(entry.file, entry.unit))
        )

    def _is_offset(self, commit: Commit) -> bool:
        start = self._starts.get(commit.unit)
        return start is not None and _OFFSET.fullmatch(commit.position) is not None and int(commit.position) >= start

    def _is_ours(self, file: FileState, unit: int) -> bool:
        identity = self._opened.identity
        compression = identity.what.get("compress")
        return (
            compression in ENDINGS
            and file.segment == unit
            and file.name == file_name(identity.table, file.segment, file.number, compression)
            and _is_key(file.first)
            and _is_key(file.last)
            and _is_token(file.token, file.name)
        )


def _is_token(token: dict[str, Any] | None, name: str) -> bool:
    """Whether a resume token, if there is one, is about this file (`ddbio.storage.base.OutputFile.resume_token`)."""
    part = (token or {}).get("part")
    return part is None or (isinstance(part, str) and is_part_of(part, name))


def _is_key(position: str) -> bool:
    """Whether an export's position is the beginning or the end of its segment, or a key."""
    if position in ("", END):
        return True
    try:
        msgspec.json.decode(position, type=Key)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _refused(location: str, what: str) -> JournalError:
    return JournalError(
        f"The journal in {location} can't be trusted: {what} is not one that ddbio writes for this job.",
        hint="Find out who has changed it. To start anew, give an export --overwrite, an import another --state.",
    )
