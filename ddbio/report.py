"""What a job has used, and the report of a finished job."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Spending:
    """What a worker, a run or a whole job has used."""

    capacity_units: float = 0.0
    requests: int = 0
    """Requests sent, including those that were throttled or failed."""
    throttles: int = 0
    """Requests that were throttled, and replies that left items unprocessed."""
    retries: int = 0
    seconds: float = 0.0
    """Elapsed time."""
    cpu_seconds: float = 0.0
    """CPU time of all processes."""

    def __add__(self, other: Spending) -> Spending:
        """Add the counters of `Spending` itself, not those that a subclass adds."""
        names = [each.name for each in fields(Spending)]
        return Spending(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A row of the timeline: what was done since the previous row, and the state at the end of it."""

    seconds: float
    """Since the start of the job."""
    budget: float = 0.0
    """Capacity units per second."""
    units: float = 0.0
    items: int = 0
    bytes: int = 0
    throttles: int = 0
    splits: int = 0
    """Segments or spans being worked on."""


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """Number of records rejected for one reason, and the position of one of them."""

    count: int
    source: str
    offset: int
    line: int | None
    message: str

    def __add__(self, other: Rejection) -> Rejection:
        """Add the counts; keep the example nearer to a file's beginning, whose message may describe the file."""
        first = min(self, other, key=lambda each: (each.offset, each.source))
        return replace(first, count=self.count + other.count)


@dataclass(frozen=True)
class _Report:
    """Base class of the reports."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-compatible values, in the order of the fields, with the members of `used`."""
        flat: dict[str, Any] = {}
        for name, value in asdict(self).items():
            flat |= value if name == "used" else {name: value}
        return {name: _plain(value) for name, value in flat.items()}


def _plain(value: Any) -> Any:
    """Round times and units to three decimals, to hide binary fractions."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return round(value, 3) if isinstance(value, float) else value


@dataclass(frozen=True, kw_only=True)
class JobReport(_Report):
    """What a job did and what it used, in all its runs if it was resumed, except where a field says otherwise.

    Of a verification, this is what its workers did; `VerifyReport` is made from it.
    """

    command: Literal["export", "import", "verify"]
    table: str
    """Empty if the files of an export were only checked."""
    items: int
    """Items in the files (export) or acknowledged by the service (import); 0 of a verification, which moves none."""
    bytes: int
    """Bytes written (export), decompressed bytes read (import), or bytes read as stored (verify)."""
    files: int
    """Files written or read."""
    rejected: int
    """Records that could not be written; `rejects` is the file that holds them."""
    rejects: str | None

    used: Spending
    """Of a run that was killed, what it used up to its last entry in the journal."""
    peak_rss_bytes: int
    """Sum of the peak resident memory of all processes, in the last run."""
    resumed: bool
    manifest: str | None
    """Location of the manifest; None if the job is not done, and for standard streams."""
    reject_reasons: dict[str, int] = field(default_factory=dict)
    """Number of rejected records by the stable code of the reason."""
    throttle_reasons: dict[str, int] = field(default_factory=dict)
    """Throttles of the last run by the service's reason and the index's name; `UnprocessedItems` if it gives none."""
    timeline: tuple[Moment, ...] = ()
    """Timeline of the last run: one row per second; after an hour one row per two seconds, and so on."""


DifferenceKind = Literal["missing", "extra", "different"]
"""`missing` from the table, `extra` in the table, or `different`."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An item that differs between an export's files and a table."""

    kind: DifferenceKind
    segment: int
    """The segment of the export's Scan in which it was found."""
    key: dict[str, dict[str, str]]
    """The key attributes, as DynamoDB JSON."""

    def as_dict(self) -> dict[str, Any]:
        """Return what `ddbio verify` prints, as JSON-compatible values."""
        return {"ddbio_difference": 1, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class VerifyReport(_Report):
    """What was verified, what was found, and what that used."""

    command: Literal["verify"]
    source: str
    table: str | None
    """The table with which the files were compared, if any."""
    files: int
    """Files in the manifest that exist."""
    items: int
    """Records in them."""
    bytes: int
    """Size of the files as stored."""
    problems: tuple[str, ...]
    """Problems with the files or the manifest, one sentence each."""
    scanned: int
    """Items read from the table."""
    missing: int
    extra: int
    different: int
    repaired: int
    """Missing and different items that were written to the table."""
    read_units: float
    """Capacity units that reading the table used."""
    write_units: float
    """Capacity units that the repair used."""
    used: Spending
    """Reading and repair together."""
    peak_rss_bytes: int

    @property
    def clean(self) -> bool:
        """Whether there are no problems, and no differences that were not repaired."""
        return not self.problems and self.missing + self.different == self.repaired and not self.extra
