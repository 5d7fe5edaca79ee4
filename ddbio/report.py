"""The report of a finished job."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class JobReport:
    """What a job did and what it used."""

    command: Literal["export", "import"]
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
    """Sum of the processes' greatest resident memory."""
    resumed: bool
    manifest: str | None
    """Where the manifest is; None for an import and for standard output."""

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, in the order of the fields."""
        return asdict(self)
