"""What a job is asked to do: frozen, keyword-only, checked when made.

The command line builds these from its flags; an application builds them itself.
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
"""So many seconds' worth the service itself keeps (Developer Guide, "Burst capacity")."""
MAX_SEGMENTS = 1_000_000
"""Most segments of one parallel Scan (API Reference, Scan)."""
PLACES = "Name a file, a folder, a glob, s3://bucket/prefix, or - for standard input."


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Which account, region and endpoints to talk to; what is None comes from the AWS configuration."""

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    """For both services; the two below win over it."""
    dynamodb_endpoint_url: str | None = None
    s3_endpoint_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """How many capacity units a second the whole job may use: an absolute figure, or a share of what the table has.

    With `auto` a job adapts to what the table bears, with `units` as the most, if given. `scan`, `BatchWriter` and the
    repair of `verify_export` stay at what it begins with: half of what the table has.
    """

    units: float | None = None
    percent: float | None = None
    auto: bool = False

    def __post_init__(self) -> None:
        if self.auto and self.percent is not None:
            raise UsageError("What adapts is limited by a number of units, not by a percentage.")
        if not self.auto and (self.units is None) == (self.percent is None):
            raise UsageError("A capacity is either a number of units or a percentage.")
        if self.units is not None and not 0 < self.units < float("inf"):
            given = plain(self.units)
            raise UsageError(f"A capacity of {given} units a second is not possible.", hint="Give more than 0.")
        if self.percent is not None and not 0 < self.percent <= 100:
            given = plain(self.percent)
            raise UsageError(f"A capacity of {given}% is not possible.", hint="Give more than 0, at most 100.")

    @classmethod
    def parse(cls, text: str) -> Capacity:
        """Read `1000` (units a second), `50%` (of what the table has), `auto` or `auto:1000`; raises UsageError."""
        if text.strip() == "auto":
            return cls(auto=True)
        match = re.fullmatch(r"\s*(?:(auto:)?(\d+(?:\.\d+)?)|(\d+(?:\.\d+)?)\s*%)\s*", text)
        if match is None:
            raise UsageError(
                f"{text!r} is not a capacity.",
                hint="Write units a second, like 1000, a share, like 50%, or auto, or like auto:1000.",
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
    """How S3 objects are to be stored; passed to S3 as they stand."""

    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    kms_key_id: str | None = None
    storage_class: str | None = None
    acl: str | None = None

    def parameters(self) -> dict[str, str]:
        """The request parameters of PutObject and CreateMultipartUpload that these options stand for."""
        named = {
            "ServerSideEncryption": self.sse,
            "SSEKMSKeyId": self.kms_key_id,
            "StorageClass": self.storage_class,
            "ACL": self.acl,
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class ScanFilter:
    """What to read of a table: an index, a filter and a projection, as the Scan API takes them.

    A filter and a projection are applied after the items are read: they save no capacity.
    """

    index: str | None = None
    consistent: bool = False
    filter_expression: str | None = None
    projection_expression: str | None = None
    expression_names: Mapping[str, str] = field(default_factory=dict)
    """`#placeholder` → attribute name."""
    expression_values: Mapping[str, Any] = field(default_factory=dict)
    """`:placeholder` → value in DynamoDB JSON, for example `{":year": {"N": "1999"}}`."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """An export: one table (or index) to files of JSON lines."""

    table: str
    destination: str
    """A folder, `s3://bucket/prefix`, or `-` for standard output."""
    connection: Connection = Connection()
    capacity: Capacity = AUTO
    processes: int = 1
    """Worker processes; 1 runs inside the calling process."""
    concurrency: int | None = None
    """Segments read at once in each process; None: as many as bring the most, 32 at most. Memory: see
    `ddbio.pipeline.exporting.exporter`."""
    segments: int | None = None
    """TotalSegments of the Scan; None: chosen from the table's size and the number of workers."""
    file_size_mb: int = 1024
    """Largest size of one file as written, in MB of 1,048,576 bytes (one larger page is written whole)."""
    format: OutputFormat = "jsonl"
    compress: Compression = "none"
    fingerprint: bool = True
    """Compute fingerprints of the items (`ddbio.codec.fingerprint`), for a later verification."""
    scan: ScanFilter = ScanFilter()
    burst_seconds: float = 0.0
    """So many seconds' worth of capacity that was left unspent may be spent at once, beside the budget."""
    max_units: float | None = None
    """End with LimitReachedError, resumably, once this run has consumed so many capacity units."""
    max_seconds: float | None = None
    """The same once it has taken so long."""
    retry_seconds: float = RETRY_SECONDS
    """So long a request may fail, one attempt after the other, before the job stops, resumably."""
    overwrite: bool = False
    """Replace the export that is in the destination."""
    resume: bool = False
    """Go on with the unfinished export that is in the destination."""
    s3: S3Options = S3Options()

    def __post_init__(self) -> None:
        _positive("processes", self.processes)
        _positive("concurrency", self.concurrency)
        _positive("retry timeout", self.retry_seconds)
        _check_limits(self.burst_seconds, self.max_units, self.max_seconds)
        _positive("file size", self.file_size_mb)
        if self.resume and (self.overwrite or self.destination == "-"):
            raise UsageError("--resume goes neither with --overwrite nor with standard output.")
        if self.segments is not None and not 1 <= self.segments <= MAX_SEGMENTS:
            raise UsageError(f"{self.segments} segments are not possible.", hint=f"Give 1 to {MAX_SEGMENTS:,}.")


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """An import: files of JSON lines into one existing table."""

    table: str
    source: str | Sequence[str]
    """A file, a folder (walked), a glob, `s3://bucket/prefix`, or `-` for standard input. Several are imported in their
    order, one wholly before the next: a later one's line replaces an earlier one's with the same key."""
    connection: Connection = Connection()
    capacity: Capacity = AUTO
    processes: int = 1
    """Worker processes; 1 runs inside the calling process."""
    concurrency: int | None = None
    """Batches in flight, and spans read, at once in each process; None: as many as bring the most, at most 128 and 16.
    Memory: see `ddbio.pipeline.importing.importer`."""
    format: InputFormat = "auto"
    rejects: str | None = None
    """Where rejected records go; None: a new file in the state folder. An existing file is added to."""
    burst_seconds: float = 0.0
    """So many seconds' worth of capacity that was left unspent may be spent at once, beside the budget."""
    max_units: float | None = None
    """End with LimitReachedError, resumably, once this run has consumed so many capacity units."""
    max_seconds: float | None = None
    """The same once it has taken so long."""
    retry_seconds: float = RETRY_SECONDS
    """So long a request may fail, or the table take nothing, before the job stops, resumably."""
    max_rejects: int = 1_000
    """More rejected records than this stop the import."""
    strict: bool = False
    """Stop at the first rejected record."""
    allow_partial: bool = False
    """Import a folder or prefix also where it holds an export that is not whole: what is there, with a warning."""
    resume: bool = False
    """Go on with the unfinished import whose state is in the state folder."""
    state: str | None = None
    """Folder for the job's own files; None: `.ddbio/<table>-<hash>` in the current folder."""

    def __post_init__(self) -> None:
        _positive("processes", self.processes)
        _positive("concurrency", self.concurrency)
        _positive("retry timeout", self.retry_seconds)
        _check_limits(self.burst_seconds, self.max_units, self.max_seconds)
        if not self.sources or not all(self.sources):
            raise UsageError("An import needs a source, and none can be empty.", hint=PLACES)
        if "-" in self.sources and len(self.sources) > 1:
            raise UsageError("Standard input goes with no other source.", hint="Import one after the other.")
        if self.resume and "-" in self.sources:
            raise UsageError("--resume does not go with standard input: it can't be read again.")
        if self.max_rejects < 0:
            raise UsageError("max-rejects can't be negative.")

    @property
    def sources(self) -> tuple[str, ...]:
        """All sources, in their order."""
        return (self.source,) if isinstance(self.source, str) else tuple(self.source)


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """A verification: an export's files against its manifest, and where a table is named, against that too."""

    source: str
    """What the export's destination was: a folder, or `s3://bucket/prefix`."""
    table: str | None = None
    connection: Connection = Connection()
    capacity: Capacity = HALF
    """For reading the table."""
    processes: int = 1
    """Maximum number of worker processes; 1 runs the verification inside the calling process."""
    concurrency: int = 8
    """Segments (without a table: files) worked on at once in each process."""
    consistent: bool = False
    """Read the table with strong consistency, at twice the read units."""
    repair: bool = False
    """Write the items that are missing from the table, or different there, back from the files."""
    write_capacity: Capacity = HALF
    """For the repair."""
    retry_seconds: float = RETRY_SECONDS
    """So long a request may fail, one attempt after the other, before the verification fails."""

    def __post_init__(self) -> None:
        _positive("processes", self.processes)
        _positive("concurrency", self.concurrency)
        _positive("retry timeout", self.retry_seconds)
        if self.source == "-":
            raise UsageError("Standard input can't be verified: there is no manifest.", hint="Name a folder or s3://.")
        if self.repair and self.table is None:
            raise UsageError("A repair needs a table.", hint="Name it with --table.")


def _check_limits(burst: float, units: float | None, seconds: float | None) -> None:
    if not 0 <= burst <= MAX_BURST:
        raise UsageError(f"A burst of {plain(burst)} seconds is not possible.", hint=f"Give 0 to {MAX_BURST}.")
    if units is not None:
        _positive("most units", units)
    if seconds is not None:
        _positive("longest duration", seconds)


def _positive(what: str, value: float | None) -> None:
    if value is not None and value < 1:
        raise UsageError(f"{what} must be at least 1, not {plain(value)}.")
