"""How the journal of a job begins: anew, or where an earlier run of the same job stopped."""

from __future__ import annotations

from ddbio.errors import UsageError
from ddbio.events import Observer, Warned
from ddbio.jobs.claim import claim
from ddbio.ledger.checkpoint import Checkpoint, check_order, check_splits, refuse_unfinished, same_files, same_job
from ddbio.ledger.entries import Opened
from ddbio.ledger.law import ImportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.manifest import read_manifest
from ddbio.ledger.recovery import recover, sweep
from ddbio.ledger.rejects import RejectsFile
from ddbio.options import ExportOptions, ImportOptions
from ddbio.storage.base import MANIFEST, Sink
from ddbio.words import count


async def begin_export(
    options: ExportOptions, sink: Sink, before: Checkpoint, ledger: Ledger, opened: Opened, observer: Observer
) -> Opened:
    """Begin an export, or fill the ledger of the one that is resumed and seal what its last run left unsealed."""
    if options.resume and before.opened is not None:
        same_job(before.opened.identity, opened.identity)
        if options.segments not in (None, before.opened.segments):
            raise _other_segments(before.opened.segments, options.segments)
        await _replay(before, ledger)
        await recover(ledger, sink)
        await sweep(ledger, sink, opened.identity.table)
        return before.opened
    _begins_anew(options.resume, sink, observer)
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
    observer: Observer,
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
    _begins_anew(options.resume, state, observer)
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


def _begins_anew(resume: bool, sink: Sink, observer: Observer) -> None:
    if resume:
        observer(Warned(f"Nothing to resume in {sink.location}: the job starts over."))


def _other_segments(begun: int, asked: int | None) -> UsageError:
    return UsageError(
        f"The export was begun with {count(begun, 'segment')} and can't continue with {asked:,}.",
        hint="Leave --segments out.",
    )
