"""What a journal may say: names and positions are held against the job before anything is done with them.

A checksum keeps accidents away, but whoever can write to a destination can make one. Without this, a journal could
have any file of the machine renamed, cut, or read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ddbio.errors import JournalError
from ddbio.ledger.entries import END, Commit, Entry, FileState, Opened, Recovered
from ddbio.names import ENDINGS, RUN_NAME, TABLE_NAME, file_name, is_part_of

Key = dict[str, dict[str, str]]
"""A LastEvaluatedKey."""


def vet_opening(opened: Opened, location: str) -> None:
    """Raises JournalError where the first entry could not have been written by ddbio."""
    if not RUN_NAME.fullmatch(opened.run) or not TABLE_NAME.fullmatch(opened.identity.table):
        raise _refused(location, "its first entry")


def vet(entries: Iterable[Entry], opened: Opened, location: str) -> None:
    """Raises JournalError where one of these entries does not belong to the job that was `opened`."""
    units = {unit.id for unit in opened.units} or range(opened.segments)
    for entry in entries:
        if not isinstance(entry, Commit | Recovered):
            continue
        known = entry.unit in units and (entry.file is None or _is_ours(entry.file, entry.unit, opened))
        if not known or (isinstance(entry, Commit) and not _is_position(entry.position, opened)):
            raise _refused(location, f"an entry about unit {entry.unit}")


def _is_ours(file: FileState, unit: int, opened: Opened) -> bool:
    compression = opened.identity.what.get("compress")
    return (
        compression in ENDINGS
        and file.segment == unit
        and file.name == file_name(opened.identity.table, file.segment, file.number, compression)
        and _is_position(file.first, opened)
        and _is_position(file.last, opened)
        and _is_token(file.token, file.name)
    )


def _is_token(token: dict[str, Any] | None, name: str) -> bool:
    """Whether a resume token, if there is one, is about this file (`ddbio.storage.base.OutputFile.resume_token`)."""
    part = (token or {}).get("part")
    return part is None or (isinstance(part, str) and is_part_of(part, name))


def _is_position(position: str, opened: Opened) -> bool:
    """Whether an export's position is a key, and an import's an offset."""
    if opened.identity.command == "import":
        return position.isascii() and position.isdecimal()
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
