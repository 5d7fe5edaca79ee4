"""What an earlier run left at a location, and whether a job may resume it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from operator import attrgetter
from typing import NamedTuple

import msgspec

from ddbio.errors import CheckpointMismatchError, JournalError, SourceError, UnfinishedJobError
from ddbio.ledger.entries import JournalEntry, Opened, Split
from ddbio.ledger.identity import Identity, SourceFiles
from ddbio.ledger.journal import Journal
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.manifest import read_manifest
from ddbio.ledger.vetting import Vetting, vet_opening
from ddbio.storage.base import MANIFEST, Sink

_START_OVER = "The import can't be resumed: start it over with another --state."
_OTHER_SOURCE = (
    "A file has changed if its size or its modification time (S3: its ETag) differs. To import what is there now, "
    "choose another --state."
)
_OPTIONS = {"acl": "ACL", "kms_key": "KMS key"}


class Checkpoint(NamedTuple):
    """What an earlier run left at a sink: an unfinished job has `opened`, and a finished one has `manifest`."""

    journal: Journal
    opened: Opened | None = None
    manifest: bytes | None = None
    location: str = ""

    async def entries(self) -> AsyncGenerator[list[JournalEntry]]:
        """The entries of an unfinished job's journal, a batch at a time; raises JournalError for any that is damaged or
        another job's.
        """
        if self.opened is None:
            return
        vetting = Vetting(self.opened, self.location)
        async with aclosing(self.journal.read()) as chunks:
            async for chunk in chunks:
                vetting.check(chunk)
                yield chunk


async def read_checkpoint(sink: Sink, *, overwrite: bool = False) -> Checkpoint:
    """Read what an earlier run left at `sink`. Unless it is to be overwritten, raises JournalError or SourceError where
    the journal or manifest can't be used.
    """
    journal, manifest = Journal(sink), await sink.get(MANIFEST)
    nothing_to_do = Checkpoint(journal, manifest=manifest)
    try:
        opened = await journal.opened()
        # A run may have ended after it wrote its manifest, and before all of its journal was removed.
        if opened is None or (manifest is not None and read_manifest(manifest, sink.location).run == opened.run):
            return nothing_to_do
        vet_opening(opened, sink.location)
        return Checkpoint(journal, opened, location=sink.location)
    except (JournalError, SourceError):
        if not overwrite:
            raise
        return nothing_to_do


async def refuse_unfinished(checkpoint: Checkpoint, location: str, option: str) -> None:
    """Raises UnfinishedJobError where a job is unfinished, JournalError where it can't be resumed either; `option` is
    the one with which a job can start over.
    """
    if checkpoint.opened is not None:
        async for _ in checkpoint.entries():
            pass
        raise UnfinishedJobError(
            f"There is an unfinished job in {location}.", hint=f"Resume it with --resume, or start over with {option}."
        )


def same_job(begun: Identity, asked: Identity) -> None:
    """Raises CheckpointMismatchError, with both values, where `asked` is not the job that was `begun`."""
    names = ("command", *asked.__struct_fields__) if type(begun) is type(asked) else ("command",)
    for name in names:
        before, now = getattr(begun, name), getattr(asked, name)
        if _words(before) != _words(now):  # a manifest of format 1 has all sources in one text
            raise CheckpointMismatchError(
                f"This is not the job that was begun. Its {_OPTIONS.get(name) or name.replace('_', ' ')}: "
                f"{_words(before)} before, {_words(now)} now.",
                hint=_OTHER_SOURCE
                if name == "source_files"
                else "Resume it with the options that it was begun with, or choose another location.",
            )


def same_files(begun: Iterable[Split], asked: Iterable[Split]) -> None:
    """Raises CheckpointMismatchError where a file has changed since the import was begun."""
    before = {(split.source, split.file): (split.size, split.tag) for split in begun}
    for split in asked:
        if before.get((split.source, split.file), (split.size, split.tag)) != (split.size, split.tag):
            raise CheckpointMismatchError(f"{split.file} has changed since the import was begun.", hint=_OTHER_SOURCE)


def check_splits(begun: Sequence[Split], asked: Iterable[Split]) -> None:
    """Raises JournalError unless the splits `begun` cover exactly the files of those `asked` for, each file whole: a
    damaged journal must not choose which files are read.
    """
    spans: defaultdict[Split, list[Split]] = defaultdict(list)
    for split in begun:
        spans[_file(split)].append(split)
    sources = [split.source for split in begun]
    is_ordered = [split.id for split in begun] == list(range(len(begun))) and sources == sorted(sources)
    if not is_ordered or spans.keys() != set(map(_file, asked)) or not all(map(_is_whole, spans.values())):
        raise JournalError("The journal names other files, or parts of files, than the import reads.", hint=_START_OVER)


def check_order(splits: Sequence[Split], ledger: Ledger) -> None:
    """Raises JournalError where a source was begun before all of an earlier one, whose rest would overwrite its items,
    was done.
    """
    left = min((split.source for split in splits if split.id not in ledger.done), default=None)
    begun = [split.source for split in splits if split.id in ledger.done or split.id in ledger.splits]
    if left is not None and begun and max(begun) > left:
        raise JournalError("By the journal, a source was begun before an earlier one is done.", hint=_START_OVER)


def _file(split: Split) -> Split:
    """The split as if it were the whole file, to compare files by."""
    return msgspec.structs.replace(split, id=0, start=0, end=None)


def _is_whole(spans: list[Split]) -> bool:
    """Whether these spans make up a file without gaps; only a plain file of known size has several."""
    spans = sorted(spans, key=attrgetter("start"))
    starts = [span.start for span in spans]
    if starts[0] != 0 or [span.end for span in spans] != [*starts[1:], None]:
        return False
    file = spans[0]
    return len(spans) == 1 or (
        file.compression == "none" and len(set(starts)) == len(starts) and starts[-1] < (file.size or 0)
    )


def _words(value: object) -> object:
    if isinstance(value, SourceFiles):
        return f"{value.count} of {value.bytes} bytes ({value.digest})"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value
