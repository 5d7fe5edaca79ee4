"""The export as a whole at its destination: nobody else's files are touched, and a manifest says what is there."""

from __future__ import annotations

import re
from contextlib import suppress

from ddbio.errors import JournalError, UsageError
from ddbio.ledger.checkpoint import Checkpoint
from ddbio.ledger.entries import Commit, KnownFile, Recovered
from ddbio.ledger.manifest import read_files
from ddbio.options import ExportOptions
from ddbio.storage.base import MANIFEST, Sink

EXPORTED = re.compile(r"[A-Za-z0-9_.-]+-\d{4,}-\d{5,}\.json(\.gz|\.zst)?")
"""The names of exported files, of any table."""


async def claim(sink: Sink, options: ExportOptions, before: Checkpoint) -> None:
    """Refuse a destination that holds an export already, or with `overwrite` remove that one.

    Raises UsageError.
    """
    mine = [file.name for file in await sink.list(f"{options.table}-") if file.name.startswith(f"{options.table}-")]
    named = await _named(before)
    listed = [] if before.manifest is None else read_files(before.manifest, sink.location)
    # Whatever a manifest or a journal names: nothing is removed but what an export writes.
    old = {name for name in (*mine, *named, *listed) if EXPORTED.fullmatch(name)}
    if before.manifest is not None:
        old.add(MANIFEST)
    if old and not options.overwrite:
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
    if before.state == "unfinished":
        with suppress(JournalError):
            async for entries in before.journal.read():
                names |= {e.file.name for e in entries if isinstance(e, Commit | Recovered | KnownFile) and e.file}
    return names


def _some(names: list[str]) -> str:
    others = len(names) - 1
    return names[0] if not others else f"{names[0]} and {others:,} more"
