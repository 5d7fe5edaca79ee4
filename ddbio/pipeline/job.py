"""A job as a worker is told it: options, the table, and what the parent has found out."""

from __future__ import annotations

import msgspec

from ddbio.aws.s3 import S3Facts
from ddbio.hints import HintType
from ddbio.model import KeyAttribute
from ddbio.options import ExportOptions, ImportOptions


class TableFacts(msgspec.Struct, frozen=True):
    """What a worker needs to know of the table: where it is, and its key attributes (its indexes' included)."""

    name: str
    region: str
    endpoint: str
    keys: tuple[KeyAttribute, ...]
    partition_key: tuple[str, ...] = ()
    """The names of its attributes: of the index, where an index is read."""
    ca_bundle: str | None = None
    """A file of trusted certificates; None: the system's."""


class ExportJob(msgspec.Struct, frozen=True, tag="export"):
    """Everything that a worker of an export needs before its first lease."""

    run: str
    options: ExportOptions
    table: TableFacts
    segments: int
    s3: S3Facts | None


class SourceFacts(msgspec.Struct, frozen=True):
    """One source of an import: the place as a person wrote it, and the type hints of its manifest."""

    place: str
    hints: dict[str, HintType] = {}
    s3: S3Facts | None = None


class ImportJob(msgspec.Struct, frozen=True, tag="import"):
    """Everything that a worker of an import needs before its first lease."""

    run: str
    options: ImportOptions
    table: TableFacts
    sources: tuple[SourceFacts, ...]
    """In their order: `Split.source` counts them from 0."""


Job = ExportJob | ImportJob

FIRST_LANES = 4
"""So many a process begins with, where it may decide itself."""
MOST_PAGES = 32
"""Segments that an export reads at once in each process, where it may decide itself."""
MOST_BATCHES = 128
"""Batches that an import has in flight at once in each process, where it may decide itself: they are small."""
MOST_SPANS = 16
"""Spans that it then reads at once."""


def most_lanes(job: Job) -> int:
    """Most requests that one process of the job has under way at once."""
    return job.options.concurrency or (MOST_PAGES if isinstance(job, ExportJob) else MOST_BATCHES)


def splits_at_once(job: Job, lanes: int) -> int:
    """How many splits one process works on with so many lanes."""
    return lanes if job.options.concurrency or isinstance(job, ExportJob) else min(lanes, MOST_SPANS)


def requests_at_once(job: Job, lanes: int, splits: int) -> int:
    """How many requests one process can have under way with so many lanes, while it works on so many splits."""
    return min(lanes, splits) if isinstance(job, ExportJob) else lanes
