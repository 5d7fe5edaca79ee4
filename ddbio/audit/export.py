"""An export for an audit: its manifest, the files that exist, and what can't be verified from them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from ddbio.audit.items import ItemReader
from ddbio.audit.manifest import read_options
from ddbio.errors import NoInputError, PreflightError, SourceError, UsageError
from ddbio.hints import MAX_PATHS
from ddbio.ledger.entries import FileState
from ddbio.ledger.identity import ExportIdentity
from ddbio.ledger.manifest import Manifest, read_manifest
from ddbio.model import KeyType, OutputFormat
from ddbio.storage.base import MANIFEST, Source, SourceFile, Survey

_NAMED = 3
"""The number of attributes that a message names."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """A finished export. `files` are the files of the manifest that exist, by their names in it."""

    manifest: Manifest
    options: ExportIdentity
    files: dict[str, SourceFile]
    strangers: tuple[str, ...]
    """Files that an import would read but the manifest does not list."""

    @property
    def table(self) -> str:
        """The table that was exported."""
        return self.options.table

    @property
    def format(self) -> OutputFormat:
        """The format of the records."""
        return self.options.format

    @property
    def keys(self) -> Sequence[tuple[str, KeyType]]:
        """The primary key: names and types, the partition key first."""
        return self.options.keys

    @property
    def lossy(self) -> str | None:
        """The types that plain JSON does not preserve in these items, in words; None if all are preserved."""
        mixed = self.manifest.mixed
        if self.manifest.types_cut_off:
            names = f"the attributes beyond the first {MAX_PATHS:,} paths"
        elif mixed:
            names = ", ".join(mixed[:_NAMED]) + (f" and {len(mixed) - _NAMED:,} more" if len(mixed) > _NAMED else "")
        else:
            return None
        return f"Plain JSON does not preserve the types of {names}"

    def said(self, number: int) -> FileState:
        """The statement of the manifest about a file, as far as it can be verified."""
        said = self.manifest.files[number]
        return msgspec.structs.replace(said, fingerprint=None) if self.lossy else said

    def numbered(self) -> dict[int, SourceFile]:
        """The files that exist, by their numbers in the manifest."""
        named = enumerate(self.manifest.files)
        return {number: self.files[file.name] for number, file in named if file.name in self.files}

    def by_segment(self) -> dict[int, list[int]]:
        """The numbers of each segment's files in the manifest, in the order in which they were written.

        Files of a segment that the export did not have are read with those of the first segment.
        """
        segments: defaultdict[int, list[int]] = defaultdict(list)
        for number, file in enumerate(self.manifest.files):
            segments[file.segment if file.segment < self.manifest.segments else 0].append(number)
        return segments

    def reader(self) -> ItemReader:
        """A reader for the records of the files."""
        complete = self.options.projection_expression is None
        return ItemReader(self.keys, self.format, self.manifest.type_hints, complete=complete)

    def refuse_comparison(self, key: Sequence[tuple[str, str]], table: str) -> None:
        """Raises UsageError where the files do not contain complete items of a table with this key."""
        for option in ("index", "filter_expression", "projection_expression"):
            if getattr(self.options, option) is not None:
                words = option.replace("_", " ")
                raise UsageError(
                    f"This export has an option that keeps it from being compared with a table: its {words}.",
                    hint="Leave --table out: the files are still held against their manifest.",
                )
        if tuple(key) != tuple(self.keys):
            raise UsageError(
                f"The key of the exported items is {_words(self.keys)}, that of table {table} is {_words(key)}."
            )


async def find_export(source: Source) -> Export:
    """Read the manifest and look for the files.

    Raises PreflightError or UsageError where there is no export, and SourceError where the manifest can't be used.
    """
    text = await source.manifest()
    if text is None:
        raise PreflightError(
            f"{source.location} holds no {MANIFEST}.",
            hint="An export writes it when it is done: finish it with --resume, or name the folder of one.",
        )
    manifest = read_manifest(text, source.location)
    if manifest.identity.command != "export":
        raise UsageError(f"{source.location} holds no export.", hint="Name the folder or prefix of one.")
    options = _usable(manifest, source)
    try:
        survey = await source.survey()
    except NoInputError:
        survey = Survey([], "folder")
    seen = [_relative(file.name, source) for file in survey.files]
    files = {_relative(file.name, source): file for file in (*survey.files, *survey.hidden)}
    listed = {file.name for file in manifest.files}
    return Export(
        manifest=manifest,
        options=options,
        files={name: file for name, file in files.items() if name in listed},
        strangers=tuple(name for name in sorted(seen) if name not in listed),
    )


def _usable(manifest: Manifest, source: Source) -> ExportIdentity:
    """The options of the export. Raises SourceError where its files can't be read as the manifest says."""
    try:
        options = read_options(manifest)
        ItemReader(options.keys, options.format, manifest.type_hints, complete=False)
    except ValueError as error:
        raise SourceError(
            f"The manifest of {source.location} can't be used: {error}.",
            hint="Put a copy of it in its place, or export the table again.",
        ) from error
    return options


def _relative(name: str, source: Source) -> str:
    """The name of a file relative to the folder or prefix that is verified."""
    root = re.sub(r"^s3://[^/]*/", "", source.location).rstrip("/")
    if root and not name.startswith(f"{root}/"):
        raise UsageError(
            f"{source.location} is not the folder or prefix of an export.", hint=f"Name what holds {MANIFEST}."
        )
    return name[len(root) :].lstrip("/")


def _words(key: Sequence[tuple[str, str]]) -> str:
    return " and ".join(f"{name} ({kind})" for name, kind in key)
