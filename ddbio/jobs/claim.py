"""The export as a whole at its destination: nobody else's files are touched, and a manifest says what is there."""

from __future__ import annotations

from contextlib import suppress

from ddbio.errors import JournalError, SourceError, UsageError
from ddbio.ledger.checkpoint import Checkpoint
from ddbio.ledger.entries import Commit, KnownFile, Recovered
from ddbio.ledger.manifest import read_files
from ddbio.names import is_file_of, stem
from ddbio.storage.base import MANIFEST, Sink


async def claim(sink: Sink, table: str, before: Checkpoint, *, overwrite: bool) -> None:
    """Refuse a destination that holds an export already, or with `overwrite` remove that one.

    Removed are files that are called as those of `table` are, and those that the manifest or the journal there names:
    an export of another table may have been in this place. Raises UsageError.
    """
    is_mine = is_file_of(table)
    old = {file.name for file in await sink.list(f"{stem(table)}-") if is_mine(file.name)}
    old |= await _named(before)
    if before.manifest is not None:
        old.add(MANIFEST)
        with suppress(SourceError):  # then it names nothing, and goes with the files that are called like this table's
            old.update(read_files(before.manifest, sink.location))
    if old and not overwrite:
        raise UsageError(
            f"{sink.location} already holds an export: {_some(sorted(old))}.",
            hint="Choose another destination, or replace it with --overwrite.",
        )
    # What can be resumed, or claims to be finished, goes first: a crash in between leaves nothing that lies.
    await before.journal.discard()
    await sink.delete(MANIFEST)
    await sink.delete(*sorted(old - {MANIFEST}))


async def _named(before: Checkpoint) -> set[str]:
    """The files that the journal speaks of, as far as it can be read: it is to be overwritten."""
    names: set[str] = set()
    with suppress(JournalError):
        async for entries in before.entries():
            names |= {e.file.name for e in entries if isinstance(e, Commit | Recovered | KnownFile) and e.file}
    return names


def _some(names: list[str]) -> str:
    others = len(names) - 1
    return names[0] if not others else f"{names[0]} and {others:,} more"
