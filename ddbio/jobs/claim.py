"""Claiming a destination for a new export: an older export is refused or replaced; other files are not touched."""

from __future__ import annotations

from contextlib import suppress

from ddbio.errors import JournalError, SourceError, UsageError
from ddbio.ledger.checkpoint import Checkpoint
from ddbio.ledger.entries import Commit, KnownFile, Recovered
from ddbio.ledger.manifest import read_files
from ddbio.names import is_file_of, stem
from ddbio.storage.base import MANIFEST, Sink


async def claim(sink: Sink, table: str, before: Checkpoint, *, overwrite: bool) -> None:
    """Refuse a destination that already holds an export, or remove that export if `overwrite` is set.

    Removed are the files whose names are those of an export of `table`, and the files that the manifest or the journal
    there lists, since the older export may be of another table. Raises UsageError.
    """
    is_mine = is_file_of(table)
    old = {file.name for file in await sink.list(f"{stem(table)}-") if is_mine(file.name)}
    old |= await _named(before)
    if before.manifest is not None:
        old.add(MANIFEST)
        with suppress(SourceError):  # an unreadable manifest lists nothing, and is removed all the same
            old.update(read_files(before.manifest, sink.location))
    if old and not overwrite:
        raise UsageError(
            f"{sink.location} already holds an export: {_some(sorted(old))}.",
            hint="Choose another destination, or replace it with --overwrite.",
        )
    # The journal and the manifest go first, so that neither describes files that a crash has left half removed.
    await before.journal.discard()
    await sink.delete(MANIFEST)
    await sink.delete(*sorted(old - {MANIFEST}))


async def _named(before: Checkpoint) -> set[str]:
    """The files that the journal lists, as far as it can be read."""
    names: set[str] = set()
    with suppress(JournalError):
        async for entries in before.entries():
            names |= {e.file.name for e in entries if isinstance(e, Commit | Recovered | KnownFile) and e.file}
    return names


def _some(names: list[str]) -> str:
    others = len(names) - 1
    return names[0] if not others else f"{names[0]} and {others:,} more"
