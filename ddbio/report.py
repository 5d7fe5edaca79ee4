"""The report of a finished job."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A row of a job's timeline: what was done since the row before, and how it stood at its end."""

    seconds: float
    """Since the job began."""
    budget: float = 0.0
    """Capacity units a second."""
    units: float = 0.0
    items: int = 0
    bytes: int = 0
    throttles: int = 0
    lanes: int = 0
    """Segments or spans that were being worked on."""


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """How many records were rejected for one reason, and where one of them is."""

    count: int
    source: str
    offset: int
    line: int | None
    message: str

    def __add__(self, other: Rejection) -> Rejection:
        """Both together; of their examples the one closer to a file's beginning, where it is told what the file is."""
        first = min(self, other, key=lambda each: (each.offset, each.source))
        return replace(first, count=self.count + other.count)


@dataclass(frozen=True, kw_only=True)
class JobReport:
    """What a job did and what it used, in all its runs where it was resumed (but `peak_rss_bytes`).

    Of a run that was killed, what it used counts up to its last entry in the journal.
    """

    command: Literal["export", "import", "verify"]
    table: str
    items: int
    """Items in the files (export), or acknowledged by the service (import)."""
    bytes: int
    """Bytes written (export), or read from the source, decompressed (import)."""
    files: int
    """Files written or read."""
    rejected: int
    """Records that could not be written; `rejects` says where they are."""
    rejects: str | None
    capacity_units: float
    requests: int
    throttles: int
    retries: int
    seconds: float
    cpu_seconds: float
    """CPU time of all processes."""
    peak_rss_bytes: int
    """Sum of the processes' greatest resident memory, in the last run."""
    resumed: bool
    manifest: str | None
    """Where the manifest is; None where the job is not done, and for the standard streams."""
    reject_reasons: dict[str, int] = field(default_factory=dict)
    """How many records were rejected, by the stable code of the reason."""
    throttle_reasons: dict[str, int] = field(default_factory=dict)
    """Of the last run, by the service's reason, the index's name behind it; `UnprocessedItems` where it gives none."""
    timeline: tuple[Moment, ...] = ()
    """Of the last run: a row a second; after an hour, of two seconds each, and so on."""

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, in the order of the fields."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    """Times and units to the thousandth, without the noise of binary fractions."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return round(value, 3) if isinstance(value, float) else value


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One item that is not the same in an export's files and in a table."""

    kind: Literal["missing", "extra", "different"]
    """missing: in the files, not in the table. extra: in the table, not in the files."""
    segment: int
    """The segment of the export's Scan that it was found in."""
    key: dict[str, dict[str, str]]
    """The key attributes, as DynamoDB JSON."""

    def as_dict(self) -> dict[str, Any]:
        """What `ddbio verify` prints, as plain values."""
        return {"ddbio_difference": 1, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What was verified, what was found, and what that used."""

    command: Literal["verify"]
    source: str
    table: str | None
    """The table that the files were compared with."""
    files: int
    """Files of the manifest that are there."""
    items: int
    """Records in them."""
    bytes: int
    """Their size as stored."""
    problems: tuple[str, ...]
    """What is wrong with the files or the manifest, a sentence each."""
    scanned: int
    """Items of the table."""
    missing: int
    extra: int
    different: int
    repaired: int
    """Missing and different items that were written back."""
    read_units: float
    write_units: float
    requests: int
    throttles: int
    retries: int
    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int

    @property
    def clean(self) -> bool:
        """Nothing is wrong with the files or the manifest, and every difference, if there was any, is repaired."""
        return not self.problems and self.missing + self.different == self.repaired and not self.extra

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, in the order of the fields."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain
