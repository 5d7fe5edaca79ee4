"""What a worker has used so far."""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import msgspec

from ddbio.capacity import Governor
from ddbio.capacity.adaptive import UNPROCESSED


class Usage(msgspec.Struct, frozen=True):
    """What a worker has used since it started: totals, so that a repeated Report counts once."""

    units: float = 0.0
    """Capacity units consumed; requests on their way count in the last Report only."""
    waited: float = 0.0
    """Seconds during which a request waited for capacity."""
    queued: float = 0.0
    """Seconds that each request waited for capacity, all added up."""
    used_up: float = 0.0
    """Units of its share that were not left unspent (see Governor)."""
    items: int = 0
    """Items read (export) or written (import), committed or not: for the progress display."""
    returned: int = 0
    """Items that the service left unprocessed; one that it did so with often counts once."""
    bytes: int = 0
    """Bytes written (export) or read (import)."""
    requests: int = 0
    retries: int = 0
    throttles: int = 0
    reasons: dict[str, int] = {}
    """Throttles by reason (API Reference, ThrottlingReason, or the error's code), with the index's name behind it."""
    cpu_seconds: float = 0.0
    peak_rss_bytes: int = 0


class Meter:
    """The counters behind `Usage`; whoever does the thing counts it."""

    def __init__(self) -> None:
        self.items = 0
        self.returned = 0
        self.bytes = 0
        self.requests = 0
        self.retries = 0
        self.collections = 0
        """Segments that are inside a large item collection now (see `CollectionTurns`)."""
        self.throttles = 0
        """Refused requests, and replies that left items unprocessed."""
        self.reasons: Counter[str] = Counter()
        """The former by reason; the service gives none for the latter."""

    def throttled(self, reason: str) -> None:
        """A request was refused for want of capacity."""
        self.throttles += 1
        self.reasons[reason] += 1

    def usage(self, units: float, governor: Governor) -> Usage:
        """The counters now, with the `units` used, the governor's own, and the process's CPU time and memory."""
        return Usage(
            units=units,
            waited=governor.waited,
            queued=governor.queued,
            used_up=governor.used_up,
            items=self.items,
            returned=self.returned,
            bytes=self.bytes,
            requests=self.requests,
            retries=self.retries,
            throttles=self.throttles,
            reasons=self._all_reasons(),
            cpu_seconds=time.process_time(),
            peak_rss_bytes=peak_rss_bytes(),
        )

    def _all_reasons(self) -> dict[str, int]:
        unexplained = self.throttles - self.reasons.total()
        return {**self.reasons, UNPROCESSED: unexplained} if unexplained else dict(self.reasons)


def peak_rss_bytes() -> int:
    """The most memory that this process has had resident."""
    with suppress(OSError), Path("/proc/self/status").open("rb") as status:
        # On Linux getrusage also counts what the parent had when it started this process (getrusage(2), ru_maxrss).
        for line in status:
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
