"""What a worker has used so far."""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ddbio.capacity import Governor
from ddbio.capacity.adaptive import UNPROCESSED
from ddbio.capacity.item_collections import LargeCollections
from ddbio.report import Spending


@dataclass(frozen=True, kw_only=True)
class Usage(Spending):
    """What a worker has used since it started: totals, so that a repeated Report counts once.

    The capacity units of requests that are under way are included in the last Report only. `seconds` stays 0.
    """

    waited: float = 0.0
    """Seconds during which at least one request waited for capacity."""
    queued: float = 0.0
    """Seconds that requests waited for capacity, summed over all requests."""
    used_up: float = 0.0
    """Units of its share that were not left unspent (see Governor)."""
    items: int = 0
    """Items read (export) or written (import), committed or not: for the progress display."""
    returned: int = 0
    """Items that the service left unprocessed; an item that was returned several times counts once."""
    bytes: int = 0
    """Bytes written (export) or read (import)."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Throttles by reason (API Reference, ThrottlingReason, or the error's code), followed by the index's name."""
    peak_rss_bytes: int = 0


class Meter:
    """The counters of one worker: the code that does the work increments them."""

    def __init__(self) -> None:
        self.items = 0
        self.returned = 0
        self.bytes = 0
        self.requests = 0
        self.retries = 0
        self.collections = LargeCollections()
        self.throttles = 0
        """Requests that were throttled, and replies that left items unprocessed."""
        self.reasons: Counter[str] = Counter()
        """Throttled requests by reason; the service gives none for items that it left unprocessed."""

    def throttled(self, reason: str) -> None:
        self.throttles += 1
        self.reasons[reason] += 1

    def usage(self, units: float, governor: Governor) -> Usage:
        """Return the counters so far, with `units` as capacity units used, and the process's CPU time and memory."""
        unexplained = self.throttles - self.reasons.total()
        return Usage(
            capacity_units=units,
            waited=governor.waited,
            queued=governor.queued,
            used_up=governor.used_up,
            items=self.items,
            returned=self.returned,
            bytes=self.bytes,
            requests=self.requests,
            retries=self.retries,
            throttles=self.throttles,
            reasons={**self.reasons, UNPROCESSED: unexplained} if unexplained else dict(self.reasons),
            cpu_seconds=time.process_time(),
            peak_rss_bytes=peak_rss_bytes(),
        )


def peak_rss_bytes() -> int:
    """Return the greatest resident memory of this process so far."""
    with suppress(OSError), Path("/proc/self/status").open("rb") as status:
        # On Linux, ru_maxrss includes the parent's memory at the time of the fork (getrusage(2)).
        for line in status:
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
