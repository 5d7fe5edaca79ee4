"""How the journal of a job begins: anew, or where an earlier run of the same job stopped."""

from __future__ import annotations

from contextlib import suppress

from ddbio.errors import JournalError, SourceError, UsageError
from ddbio.jobs.opening import Services
from ddbio.ledger.checkpoint import Checkpoint, check_order, check_splits, refuse_unfinished, same_files, same_job
from ddbio.ledger.entries import Commit, KnownFile, Opened, Recovered
from ddbio.ledger.law import ImportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.manifest import read_files, read_manifest
from ddbio.ledger.recovery import recover, sweep
from ddbio.ledger.rejects import RejectsFile
from ddbio.names import is_file_of, stem
from ddbio.options import ExportOptions, ImportOptions
from ddbio.storage.base import MANIFEST, Sink
from ddbio.words import count

_NOTHING = "Nothing to resume in {}: the job starts over."


async def begin_export(
    options: ExportOptions, sink: Sink, before: Checkpoint, ledger: Ledger, opened: Opened, services: Services
) -> Opened:
    """Begin an export, or fill the ledger of the one that is resumed and seal what its last run left unsealed."""
    if options.resume and before.opened is not None:
        same_job(before.opened.identity, opened.identity)
        if options.segments not in (None, before.opened.segments):
            raise UsageError(
                f"The export was begun with {count(before.opened.segments, 'segment')} and can't continue with "
                f"{options.segments:,}.",
                hint="Leave --segments out.",
            )
        await _replay(before, ledger)
        await recover(ledger, sink)
        await sweep(ledger, sink, opened.identity.table)
        return before.opened
    if options.resume:
        services.warn(_NOTHING.format(sink.location))
    if not options.overwrite:
        await refuse_unfinished(before, sink.location, "--overwrite")
    await claim(sink, opened.identity.table, before, overwrite=options.overwrite)
    await sweep(ledger, sink, opened.identity.table)
    await ledger.record([opened])
    return opened


async def begin_import(
    options: ImportOptions,
    state: Sink,
    before: Checkpoint,
    opened: Opened,
    rejects: RejectsFile,
    services: Services,
) -> tuple[Ledger, Opened]:
    """The ledger of a new import, or of the one that is resumed, without the rejects that no commit mentions."""
    ledger = Ledger(ImportLaw(), before.journal, rejects)
    await state.sweep(lambda _: False, ())
    if options.resume and before.opened is not None:
        same_files(before.opened.splits, opened.splits)
        same_job(before.opened.identity, opened.identity)
        check_splits(before.opened.splits, opened.splits)
        await _replay(before, ledger)
        check_order(before.opened.splits, ledger)
        await rejects.cut(before.journal.rejects_bytes)
        return ledger, before.opened
    if options.resume:
        services.warn(_NOTHING.format(state.location))
    await refuse_unfinished(before, state.location, "another --state")
    if before.manifest is not None and read_manifest(before.manifest, state.location).identity.command == "export":
        raise UsageError(f"{state.location} holds an export.", hint="Choose another folder with --state.")
    await before.journal.remove()
    await state.delete(MANIFEST)
    await ledger.record([opened])
    return ledger, opened


async def _replay(before: Checkpoint, ledger: Ledger) -> None:
    async for entries in before.entries():
        ledger.replay(entries)


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
