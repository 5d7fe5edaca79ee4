"""The options of a job: frozen, keyword-only dataclasses that are validated when they are created.

The command line builds them from its flags; an application builds them itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ddbio.errors import UsageError
from ddbio.model import Compression, InputFormat, OutputFormat
from ddbio.words import plain

RETRY_SECONDS = 900.0
MAX_BURST = 300
"""Seconds of unused capacity that DynamoDB itself retains (Developer Guide, "Burst capacity")."""
MAX_SEGMENTS = 1_000_000
"""Maximum number of segments of a parallel Scan (API Reference, Scan)."""
LOCATIONS = "Give a file, a folder, a glob, s3://bucket/prefix, or - for standard input."


@dataclass(frozen=True, kw_only=True)
class Connection:
    """The account, region and endpoints to use; None means the value of the AWS configuration."""

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    """For both services; the two below override it."""
    dynamodb_endpoint_url: str | None = None
    s3_endpoint_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Capacity units per second that the whole job may use: a number, or a percentage of what the table has.

    With `auto` a job adapts to what the table can serve, up to `units` if given. `scan`, `BatchWriter` and the repair
    of `verify_export` do not adapt: for them `auto` means half of what the table has.
    """

    units: float | None = None
    percent: float | None = None
    auto: bool = False

    def __post_init__(self) -> None:
        if self.auto and self.percent is not None:
            raise UsageError("An adaptive capacity is limited by a number of units, not by a percentage.")
        if not self.auto and (self.units is None) == (self.percent is None):
            raise UsageError("A capacity is either a number of units or a percentage.")
        if self.units is not None and not 0 < self.units < float("inf"):
            raise UsageError(f"The capacity must be greater than 0 units per second, not {plain(self.units)}.")
        if self.percent is not None and not 0 < self.percent <= 100:
            raise UsageError(f"The capacity must be greater than 0% and at most 100%, not {plain(self.percent)}%.")

    @classmethod
    def parse(cls, text: str) -> Capacity:
        """Parse `1000` (units per second), `50%` (of what the table has), `auto` or `auto:1000`; raises UsageError."""
        if text.strip() == "auto":
            return cls(auto=True)
        match = re.fullmatch(r"\s*(?:(auto:)?(\d+(?:\.\d+)?)|(\d+(?:\.\d+)?)\s*%)\s*", text)
        if match is None:
            raise UsageError(
                f"{text!r} is not a capacity.",
                hint="Give units per second, such as 1000, a percentage, such as 50%, or auto, or auto:1000.",
            )
        return cls(percent=float(match[3])) if match[3] else cls(units=float(match[2]), auto=bool(match[1]))

    def __str__(self) -> str:
        if self.percent is not None:
            return f"{plain(self.percent)}%"
        if self.units is None:
            return "auto"
        return f"auto:{plain(self.units)}" if self.auto else plain(self.units)


HALF = Capacity(percent=50)
AUTO = Capacity(auto=True)


@dataclass(frozen=True, kw_only=True)
class S3Options:
    """How S3 objects are stored; the values are passed to S3 unchanged."""

    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    kms_key_id: str | None = None
    storage_class: str | None = None
    acl: str | None = None

    def parameters(self) -> dict[str, str]:
        """Return the corresponding parameters of PutObject and CreateMultipartUpload."""
        named = {
            "ServerSideEncryption": self.sse,
            "SSEKMSKeyId": self.kms_key_id,
            "StorageClass": self.storage_class,
            "ACL": self.acl,
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class ScanFilter:
    """What to read from a table: an index, a filter and a projection, as in the Scan API.

    DynamoDB applies filters and projections after reading the items, so they do not reduce the capacity consumed.
    """

    index: str | None = None
    consistent: bool = False
    filter_expression: str | None = None
    projection_expression: str | None = None
    expression_names: Mapping[str, str] = field(default_factory=dict)
    """Maps `#placeholder` to the name of an attribute."""
    expression_values: Mapping[str, Any] = field(default_factory=dict)
    """Maps `:placeholder` to a value in DynamoDB JSON, for example `{":year": {"N": "1999"}}`."""


@dataclass(frozen=True, kw_only=True)
class _JobOptions:
    """What all jobs have in common."""

    connection: Connection = Connection()
    processes: int = 1
    """Maximum number of worker processes; 1 runs the job inside the calling process."""
    concurrency: int | None = None
    retry_seconds: float = RETRY_SECONDS
    """Stop when a request has been failing, or the table of an import has accepted nothing, for this many seconds; an
    export or import can be resumed then."""

    def __post_init__(self) -> None:
        _positive("number of processes", self.processes)
        _positive("concurrency", self.concurrency)
        _positive("retry timeout", self.retry_seconds)


@dataclass(frozen=True, kw_only=True)
class _MoveOptions(_JobOptions):
    """What exports and imports have in common."""

    table: str
    capacity: Capacity = AUTO
    burst_seconds: float = 0.0
    """Up to this many seconds' worth of unused capacity may be spent at once, on top of the budget."""
    max_units: float | None = None
    """Stop with LimitReachedError once this run has consumed this many capacity units; the job can be resumed."""
    max_seconds: float | None = None
    """Stop with LimitReachedError after this many seconds; the job can be resumed."""
    resume: bool = False
    """Continue the unfinished job: of an export in the destination, of an import whose journal is in `state`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.burst_seconds <= MAX_BURST:
            raise UsageError(f"The burst must be from 0 to {MAX_BURST} seconds, not {plain(self.burst_seconds)}.")
        _positive("maximum number of units", self.max_units)
        _positive("maximum duration", self.max_seconds)


@dataclass(frozen=True, kw_only=True)
class ExportOptions(_MoveOptions):
    """Options of an export of one table or index to files of JSON lines."""

    destination: str
    """A folder, `s3://bucket/prefix`, or `-` for standard output."""
    concurrency: int | None = None
    """Segments read concurrently in each process; None adjusts it for the highest throughput, 32 at most."""
    segments: int | None = None
    """TotalSegments of the Scan; None chooses it from the table's size and the number of workers."""
    file_size_mb: int = 1024
    """Maximum size of a file as written, in MB of 2^20 bytes; a larger page is still written whole."""
    format: OutputFormat = "jsonl"
    compress: Compression = "none"
    fingerprint: bool = True
    """Compute fingerprints of the items, which `verify_export` checks."""
    scan: ScanFilter = ScanFilter()
    overwrite: bool = False
    """Replace the export in the destination."""
    s3: S3Options = S3Options()

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("file size", self.file_size_mb)
        if self.resume and (self.overwrite or self.destination == "-"):
            raise UsageError("--resume can't be combined with --overwrite or with standard output.")
        if self.segments is not None and not 1 <= self.segments <= MAX_SEGMENTS:
            raise UsageError(f"The number of segments must be from 1 to {MAX_SEGMENTS:,}, not {self.segments}.")


@dataclass(frozen=True, kw_only=True)
class ImportOptions(_MoveOptions):
    """Options of an import of files of JSON lines into one existing table."""

    source: str | Sequence[str]
    """A file, a folder (with its subfolders), a glob, `s3://bucket/prefix`, or `-` for standard input.

    Several sources are imported in order, each one completely before the next, so that a line of a later source
    replaces a line with the same key of an earlier one."""
    concurrency: int | None = None
    """Batches in flight, and spans read, concurrently in each process; None adjusts both for the highest throughput, at
    most 128 and 16."""
    format: InputFormat = "auto"
    rejects: str | None = None
    """File to which rejected records are appended; None means a new file in the state folder."""
    max_rejects: int = 1_000
    """Stop when more records than this have been rejected."""
    strict: bool = False
    """Stop at the first rejected record."""
    allow_partial: bool = False
    """Import an incomplete export, with a warning."""
    state: str | None = None
    """Folder for the journal and the rejects; None means `.ddbio/<table>-<hash>` in the current folder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sources or not all(self.sources):
            raise UsageError("An import needs at least one source, and no source may be empty.", hint=LOCATIONS)
        if "-" in self.sources and len(self.sources) > 1:
            raise UsageError(
                "Standard input can't be combined with other sources.", hint="Import them one after the other."
            )
        if self.resume and "-" in self.sources:
            raise UsageError("--resume can't be used with standard input, which can't be read again.")
        if self.max_rejects < 0:
            raise UsageError("--max-rejects must not be negative.")

    @property
    def sources(self) -> tuple[str, ...]:
        """All sources, in order."""
        return (self.source,) if isinstance(self.source, str) else tuple(self.source)


@dataclass(frozen=True, kw_only=True)
class VerifyOptions(_JobOptions):
    """Options of a verification of an export's files against its manifest and, if given, a table."""

    source: str
    """The destination of the export: a folder or `s3://bucket/prefix`."""
    table: str | None = None
    capacity: Capacity = HALF
    """For reading the table."""
    concurrency: int = 8
    """Segments (without a table: files) read concurrently in each process."""
    consistent: bool = False
    """Use strongly consistent reads, which cost twice the read units."""
    repair: bool = False
    """Write missing and different items to the table as they are in the files."""
    write_capacity: Capacity = HALF
    """For the repair."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source == "-":
            raise UsageError("Standard input can't be verified, as it has no manifest.", hint="Give a folder or s3://.")
        if self.repair and self.table is None:
            raise UsageError("A repair needs a table.", hint="Name it with --table.")


def _positive(what: str, value: float | None) -> None:
    if value is not None and value < 1:
        raise UsageError(f"The {what} must be at least 1, not {plain(value)}.")
