"""A manifest held against itself: whether an export can have had these files, and whether its sums are theirs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from ddbio.ledger.entries import FileState
from ddbio.ledger.identity import ExportIdentity
from ddbio.ledger.manifest import Manifest
from ddbio.ledger.positions import END, START, Position
from ddbio.names import file_name
from ddbio.options import MAX_SEGMENTS
from ddbio.words import count

MAX_TABLE_KEYS = 2
MAX_INDEX_KEYS = 8
"""Attributes in the key of a global index: four of each role."""


def read_options(manifest: Manifest) -> ExportIdentity:
    """The options of the export; raises ValueError where its segments or its key are impossible."""
    export = manifest.identity
    if export.command != "export":
        raise ValueError("it is the manifest of an import")
    if not 1 <= manifest.segments <= MAX_SEGMENTS:
        raise ValueError(f"an export has 1 to {MAX_SEGMENTS:,} segments, not {manifest.segments:,}")
    names, most = [name for name, _ in export.keys], MAX_INDEX_KEYS if export.index else MAX_TABLE_KEYS
    if not 1 <= len(names) <= most or not all(names) or len(set(names)) < len(names):
        raise ValueError(f"a key has 1 to {most} attributes with names of their own, not {names}")
    return export


def contradictions(manifest: Manifest, options: ExportIdentity) -> Iterator[str]:
    """What can't be true of a finished export, a sentence each."""
    yield from _totals(manifest)
    for path in sorted(manifest.type_hints.keys() & set(manifest.mixed)):
        yield f"The manifest says both that {path} held one type and that it held several."
    for name, times in Counter(file.name for file in manifest.files).items():
        if times > 1:
            yield f"{name}: the manifest lists it {times:,} times."
    for file in manifest.files:
        for problem in _file(file, manifest, options):
            yield f"{file.name}: {problem}"
    segments: defaultdict[int, list[FileState]] = defaultdict(list)
    for file in sorted(manifest.files, key=lambda file: file.number):
        segments[file.segment].append(file)
    for files in segments.values():
        yield from _positions(files)


def _totals(manifest: Manifest) -> Iterator[str]:
    files, totals = manifest.files, manifest.totals
    for what, stated, found in (
        ("items", totals.items, sum(file.items for file in files)),
        ("bytes", totals.bytes, sum(file.bytes for file in files)),
    ):
        if stated != found:
            yield f"The manifest says {stated:,} {what} in all, but the files that it lists have {found:,}."
    if totals.rejected or totals.rejects is not None:
        yield "The manifest speaks of rejected records, which no export has."


def _file(file: FileState, manifest: Manifest, options: ExportIdentity) -> Iterator[str]:
    name = file_name(manifest.identity.table, file.segment, file.number, options.compress)
    if file.name != name:
        yield f"as file {file.number:,} of segment {file.segment:,}, which the manifest says it is, it would be {name}."
    if file.segment >= manifest.segments:
        segments = count(manifest.segments, "segment")
        yield f"the manifest says that it is of segment {file.segment:,}, but the export had {segments}."
    if not file.sealed or file.token is not None:
        yield "the manifest says that it was not finished."
    if file.read != file.items:
        yield f"the manifest says that {file.read:,} items were read for it, and {file.items:,} written."
    if options.fingerprint != (file.fingerprint is not None):
        has, made = ("no", "with") if options.fingerprint else ("a", "without")
        yield f"the manifest has {has} fingerprint of it, but the export was made {made} fingerprints."


def _positions(files: Sequence[FileState]) -> Iterator[str]:
    """The files of one segment may not overlap. Gaps are possible: the service sends pages without items."""
    known: set[Position] = {START}
    before: Position = START
    for file in files:
        overlaps = (file.first in known and file.first != before) or file.last in known or file.last == file.first
        if overlaps or END in (file.first, before):
            yield f"{file.name}: the manifest says that it begins or ends where an earlier file of its segment does."
        known |= {file.first, file.last}
        before = file.last
