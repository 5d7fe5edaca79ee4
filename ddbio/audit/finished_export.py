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
from ddbio.ledger.entries import FileState, Split
from ddbio.ledger.identity import ExportIdentity
from ddbio.ledger.manifest import Manifest, read_manifest
from ddbio.model import OutputFormat
from ddbio.storage.base import MANIFEST, Source, SourceFile, Survey

_NAMED = 3
"""The number of attributes that a message names."""


@dataclass(frozen=True, kw_only=True)
class FinishedExport:
    """A finished export. `files` are the files of the manifest that exist, by their numbers in it."""

    manifest: Manifest
    options: ExportIdentity
    files: dict[int, SourceFile]
    unlisted: tuple[str, ...]
    """What is wrong with files that the manifest does not list, a sentence each."""

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

    @property
    def scan_format(self) -> OutputFormat:
        """The format in which the table is compared with the files.

        Where plain JSON has lost types, the items of the table lose them too: this is no difference.
        """
        return self.options.format if self.lossy else "dynamodb-json"

    def listed(self, number: int) -> FileState:
        """What the manifest says about a file, as far as it can be verified.

        A file of a segment that the export did not have is read with those of the first segment.
        """
        file = self.manifest.files[number]
        segment = file.segment if file.segment < self.manifest.segments else 0
        return msgspec.structs.replace(file, segment=segment, fingerprint=None if self.lossy else file.fingerprint)

    def file_splits(self) -> list[Split]:
        """One split for each file of the manifest."""
        return [Split(number, file=file.name, size=file.bytes) for number, file in enumerate(self.manifest.files)]

    def by_segment(self) -> dict[int, list[int]]:
        """The numbers of each segment's files in the manifest, in the order in which they were written."""
        segments: defaultdict[int, list[int]] = defaultdict(list)
        for number in range(len(self.manifest.files)):
            segments[self.listed(number).segment].append(number)
        return segments

    def file_reader(self) -> ItemReader:
        """A reader for the records of the files."""
        complete = self.options.projection_expression is None
        return ItemReader(self.options.keys, self.options.format, self.manifest.type_hints, complete=complete)

    def table_reader(self) -> ItemReader:
        """A reader for the items of the table, in `scan_format`."""
        return ItemReader(self.options.keys, self.scan_format, self.manifest.type_hints, complete=True)

    def refuse_comparison(self, key: Sequence[tuple[str, str]], table: str) -> None:
        """Raises UsageError where the files do not contain complete items of a table with this key."""
        for option in ("index", "filter_expression", "projection_expression"):
            if getattr(self.options, option) is not None:
                words = option.replace("_", " ")
                raise UsageError(
                    f"This export has an option that keeps it from being compared with a table: its {words}.",
                    hint="Leave --table out: the files are still compared with their manifest.",
                )
        if tuple(key) != self.options.keys:
            raise UsageError(
                f"The key of the exported items is {_words(self.options.keys)}, that of table {table} is {_words(key)}."
            )


async def find_export(source: Source, run: str | None = None) -> FinishedExport:
    """Read the manifest, which has to be that of `run` if one is given, and look for the files.

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
    if run not in (None, manifest.run):
        raise SourceError(
            f"Another export was written to {source.location} while it was verified.",
            hint="Verify it again once it is finished.",
        )
    options = _usable(manifest, source)
    try:
        survey = await source.survey()
    except NoInputError:
        survey = Survey([], "folder")
    seen = [_relative(file.name, source) for file in survey.files]
    files = {_relative(file.name, source): file for file in (*survey.files, *survey.hidden)}
    listed = {file.name for file in manifest.files}
    return FinishedExport(
        manifest=manifest,
        options=options,
        files={number: files[file.name] for number, file in enumerate(manifest.files) if file.name in files},
        unlisted=tuple(
            f"{name}: the manifest does not list it, and an import would read it."
            for name in sorted(seen)
            if name not in listed
        ),
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
