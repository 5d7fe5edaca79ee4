"""The sources of an import: the files to read, what their manifests say, and whether the exports are complete."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ddbio.aws.table import TableInfo
from ddbio.codec import RecordEncoder
from ddbio.errors import NoInputError, PreflightError, SourceError, UsageError
from ddbio.hints import MAX_PATHS, HintType
from ddbio.jobs.identity import from_anywhere
from ddbio.jobs.opening import Services
from ddbio.ledger.manifest import Listed, Types, read_types
from ddbio.ledger.rejects import RejectsFile
from ddbio.options import ImportOptions
from ddbio.storage.base import ExportFolder, Source, SourceFile, Survey
from ddbio.storage.local.source import LocalSource
from ddbio.words import count


class FoundSource(NamedTuple):
    """One source: its files, and the type hints of the manifest beside them."""

    files: list[SourceFile]
    hints: dict[str, HintType]
    mixed: list[str]
    """Paths that, according to that manifest, held sets or binary and other types as well."""


async def find_all(
    sources: Sequence[Source], options: ImportOptions, table: TableInfo, state: str, services: Services
) -> list[FoundSource]:
    """Inspect all sources, and warn of what the user should know about them.

    `state` is the import's own folder. Raises PreflightError, UsageError if an export is incomplete and may not be, and
    SourceError if a manifest can't be used.
    """
    inspection = _Inspection(options, table, await asyncio.to_thread(os.path.realpath, state), services.warn)
    surveys = [await _survey(source) for source in sources]
    return [await inspection.inspect(source, survey) for source, survey in zip(sources, surveys, strict=True)]


async def _survey(source: Source) -> Survey:
    survey = await source.survey()
    return await asyncio.to_thread(_from_anywhere, survey) if isinstance(source, LocalSource) else survey


async def refuse_rejects_among(sources: Sequence[Source], rejects: RejectsFile) -> None:
    """Raises PreflightError if the rejects file, which exists, would be read as one of the source files."""
    for source in sources:
        if isinstance(source, LocalSource) and await asyncio.to_thread(_is_among, rejects.path, await source.files()):
            raise PreflightError(
                f"The rejects file {rejects.path} would be one of the files that are read from {source.location}.",
                hint="Give another location with --rejects or --state.",
            )


@dataclass(frozen=True)
class _Inspection:
    """Inspects the sources one after the other."""

    options: ImportOptions
    table: TableInfo
    state: str
    warn: Callable[[str], None]
    origins: set[tuple[str, str]] = field(default_factory=set)
    """The accounts and regions of which `warn` was told."""

    async def inspect(self, source: Source, survey: Survey) -> FoundSource:
        hints: dict[str, HintType] = {}
        mixed: list[str] = []
        gaps: list[_Gap] = []
        unused: list[str] = []
        sizes = {file.name: file.size for file in survey.files}
        for export in survey.exports:
            location = source.location_of(export.root).rstrip("/") or "/"
            text = await source.manifest(export.root) if export.has_manifest else None
            if text is None:
                gaps += _unfinished(location, export, mine=location == self.state)
                continue
            types = read_types(text, location)
            listed = {f"{export.root}{file.name}": file for file in types.files}
            sizes.update((file.name, file.size) for file in survey.hidden if file.name in listed)
            if survey.named == "file":  # a file that is named alone stands for no other
                listed = {name: file for name, file in listed.items() if name in sizes}
            gaps += _incomplete(location, listed, sizes)
            self._compare_origin(types, location)
            if export.root == survey.root:
                hints, mixed = self._usable(types, location), types.mixed
            elif types.type_hints:
                unused.append(location)
        files = [*survey.files, *(file for file in survey.hidden if file.name in sizes)]
        if not files:
            raise NoInputError(
                f"{source.location} holds no input file.",
                hint="The names of those that are there begin with _ or ., and no manifest lists them.",
            )
        self._tell_gaps(gaps, survey)
        self._tell_unused(unused)
        return FoundSource(sorted(files), hints, mixed)

    def _usable(self, types: Types, location: str) -> dict[str, HintType]:
        try:
            RecordEncoder(self.table.keys, "auto", types.type_hints)
        except ValueError as error:
            raise SourceError(
                f"The manifest of {location} has a type hint that can't be used: {error}.",
                hint="Mend it, or move it out of the way.",
            ) from error
        for warning in lost_types(location, types.mixed, cut_off=types.types_cut_off):
            self.warn(warning)
        return types.type_hints

    def _compare_origin(self, types: Types, location: str) -> None:
        """Warn if the export is of a table of the same name in another account or region: that may be a mistake."""
        table, origin = self.table, types.identity
        if origin is None or origin.command != "export" or origin.table != table.name:
            return
        found = origin.account, origin.region
        if found != (table.account, table.region) and found not in self.origins:
            self.origins.add(found)
            self.warn(
                f"The export in {location} is of table {origin.table} of account {origin.account} in {origin.region}; "
                f"it is imported into the table of that name of account {table.account} in {table.region}."
            )

    def _tell_gaps(self, gaps: Sequence[_Gap], survey: Survey) -> None:
        if gaps and survey.named == "folder" and not self.options.allow_partial:
            others = count(len(gaps) - 1, "other export is", "other exports are")
            more = f" {others} not whole either." if len(gaps) > 1 else ""
            raise UsageError(
                f"{gaps[0].what}: nothing was imported.{more}",
                hint="To import what is there all the same, use --allow-partial.",
            )
        for gap in gaps:
            self.warn(f"{gap.what}: {gap.so}")

    def _tell_unused(self, locations: Sequence[str]) -> None:
        if locations:
            others = f" and {count(len(locations) - 1, 'other export')}" if len(locations) > 1 else ""
            self.warn(
                f"The type hints of the export in {locations[0]}{others} are not used: sets and binary in plain JSON "
                "are imported as lists and strings. Name each export as a source of its own."
            )


def common_types(sources: Sequence[FoundSource]) -> tuple[dict[str, HintType], list[str]]:
    """The type hints that all sources share, and the paths whose type depends on the source."""
    first, *others = [source.hints for source in sources]
    hints = {path: kind for path, kind in first.items() if all(more.get(path) == kind for more in others)}
    lost = {path for source in sources for path in (*source.hints, *source.mixed)}
    return hints, sorted(lost - hints.keys())


def lost_types(location: str, mixed: Sequence[str], *, cut_off: bool) -> Iterator[str]:
    """What plain JSON has lost: `mixed` paths held several types; if `cut_off`, there were more than are recorded."""
    imported = "such sets are imported as lists, binary as strings. --format dynamodb-json keeps them."
    if mixed:
        names = f"{mixed[0]} and {count(len(mixed) - 1, 'other attribute')}" if len(mixed) > 1 else mixed[0]
        yield (
            f"In {location}, {names} held sets or binary, and other types as well. Plain JSON does not distinguish "
            f"them: {imported}"
        )
    if cut_off:
        yield (
            f"In {location}, attributes have more than {MAX_PATHS:,} paths. Beyond these, plain JSON does not "
            f"distinguish sets and binary: {imported}"
        )


class _Gap(NamedTuple):
    """A sign that the files are not a complete export, and its consequence."""

    what: str
    so: str


def _unfinished(location: str, export: ExportFolder, *, mine: bool) -> list[_Gap]:
    """Signs of an unfinished export in a folder without a manifest; `mine` is the import's own folder."""
    if export.has_journal and not mine:
        return [_Gap(f"The export in {location} has not ended", "what is imported is not the whole table.")]
    if export.part:
        return [_Gap(f"{location} holds a file that an export has not finished, {export.part}", "it is not imported.")]
    return []


def _incomplete(location: str, listed: Mapping[str, Listed], sizes: Mapping[str, int | None]) -> list[_Gap]:
    """Files that a manifest lists and that are missing or of another size; `sizes` are those of the files found."""
    missing = [file.name for name, file in listed.items() if name not in sizes]
    other = [file.name for name, file in listed.items() if file.bytes not in (None, sizes.get(name, file.bytes))]
    gaps = [f"{count(len(missing), 'file')} that the import does not read, like {min(missing)}"] if missing else []
    gaps += [f"another size for {count(len(other), 'file')} that it reads, like {min(other)}"] if other else []
    so = "what is imported is not the whole export. `ddbio verify` shows what is missing."
    return [_Gap(f"The manifest of {location} lists {', and '.join(gaps)}", so)] if gaps else []


def _from_anywhere(survey: Survey) -> Survey:
    """Absolute names: the journal lists the files, and the job may be resumed from another folder."""

    def renamed(file: SourceFile) -> SourceFile:
        return file._replace(name=from_anywhere(file.name))

    return survey._replace(files=list(map(renamed, survey.files)), hidden=tuple(map(renamed, survey.hidden)))


def _is_among(path: Path, files: Sequence[SourceFile]) -> bool:
    mine = path.stat()
    for file in files:
        with suppress(OSError):  # a problem with a source is reported when it is read
            if os.path.samestat(mine, Path(file.name).stat()):
                return True
    return False
