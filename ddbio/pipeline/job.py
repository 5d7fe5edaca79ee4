"""A job as its workers receive it: the options, the table, and what the parent process has found out."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from ddbio.aws.s3 import S3Facts
from ddbio.hints import HintType
from ddbio.model import KeyAttribute
from ddbio.options import ExportOptions, ImportOptions, VerifyOptions

FIRST_LANES = 4
"""The number of lanes that a process starts with, unless `--concurrency` sets it."""
MOST_PAGES = 32
"""The maximum number of segments that an export reads at once in each process, unless `--concurrency` sets it."""
MOST_BATCHES = 128
"""The maximum number of batches that an import has in flight in each process, unless `--concurrency` sets it."""
MOST_SPANS = 16
"""The maximum number of spans that it reads at once then."""

Command = Literal["export", "import", "verify"]


class TableFacts(msgspec.Struct, frozen=True):
    """Where the table is, and its key attributes, those of its indexes included."""

    name: str
    region: str
    endpoint: str
    keys: tuple[KeyAttribute, ...]
    partition_key: tuple[str, ...] = ()
    """The names of the partition key's attributes; those of the index when an index is read."""
    ca_bundle: str | None = None
    """A file of trusted certificates; None means those of the system."""


class _Job(msgspec.Struct, frozen=True):
    """What a job needs in each process; the defaults are those of jobs that read a table."""

    def splits_at_once(self, lanes: int) -> int:
        """How many splits a process with this number of lanes works on at the same time."""
        return lanes

    def requests_at_once(self, lanes: int, splits: int) -> int:
        """How many requests a process can have in flight: each segment is read one page after the other."""
        return min(lanes, splits)


class ExportJob(_Job, frozen=True, tag="export"):
    """Everything that a worker of an export needs before its first lease."""

    command: ClassVar[Command] = "export"

    run: str
    options: ExportOptions
    table: TableFacts
    segments: int
    s3: S3Facts | None

    @property
    def burst_seconds(self) -> float:
        """How many seconds' worth of unspent capacity may be spent at once."""
        return self.options.burst_seconds

    @property
    def most_lanes(self) -> int:
        """The maximum number of lanes of each process."""
        return self.options.concurrency or MOST_PAGES


class SourceFacts(msgspec.Struct, frozen=True):
    """One source of an import: its location as the user wrote it, and the type hints of its manifest."""

    location: str
    hints: dict[str, HintType] = {}
    s3: S3Facts | None = None


class ImportJob(_Job, frozen=True, tag="import"):
    """Everything that a worker of an import needs before its first lease."""

    command: ClassVar[Command] = "import"

    run: str
    options: ImportOptions
    table: TableFacts
    sources: tuple[SourceFacts, ...]
    """In order: `Split.source` is an index into them."""

    @property
    def burst_seconds(self) -> float:
        return self.options.burst_seconds

    @property
    def most_lanes(self) -> int:
        return self.options.concurrency or MOST_BATCHES

    def splits_at_once(self, lanes: int) -> int:
        return lanes if self.options.concurrency else min(lanes, MOST_SPANS)

    def requests_at_once(self, lanes: int, splits: int) -> int:  # noqa: ARG002 - a span fills any number of batches
        return lanes


class VerifyJob(_Job, frozen=True, tag="verify"):
    """Everything that a worker of a verification needs before its first lease."""

    command: ClassVar[Command] = "verify"
    burst_seconds: ClassVar[float] = 0.0

    run: str
    options: VerifyOptions
    export: str
    """The run that made the export: its manifest has to be there still."""
    table: TableFacts | None
    """The table whose segments are compared with the export; None if files alone are verified."""
    s3: S3Facts | None

    @property
    def most_lanes(self) -> int:
        return self.options.concurrency


Job = ExportJob | ImportJob | VerifyJob
