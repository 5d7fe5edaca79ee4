"""The one message between a worker and the coordinator: Report → Grant.

A worker sends a Report about twice a second, and at once when a split ends or something fails. A Report that is
received twice is answered with the same Grant, and commits are repeated until they are acknowledged, so a message that
is lost or duplicated changes nothing.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ddbio.audit.commits import AuditCommit
from ddbio.fleet.tuning import LANE_BYTES, LANE_FILES
from ddbio.ledger.entries import Commit, Lease, Split
from ddbio.pipeline.job import Job
from ddbio.pipeline.meter import Usage
from ddbio.wire.signing import Credentials


def lanes_for(split: Split) -> float:
    """How many lanes this split keeps busy until the next Report."""
    if split.size is None:
        return 1.0
    length = (split.size if split.end is None else split.end) - split.start
    return min(max(length / LANE_BYTES, 1 / LANE_FILES), 1.0)


class Failure(msgspec.Struct, frozen=True):
    """An exception as a message: its class in `ddbio.errors`, its message, hint and traceback."""

    kind: str
    message: str
    hint: str | None = None
    trace: str = ""


class Report(msgspec.Struct, frozen=True):
    """From a worker to the coordinator."""

    worker: int
    """The worker's slot: workers that replace one another have the same."""
    number: int
    """1, 2, 3 …; a Report that is sent again because no Grant came keeps its number."""
    wanted: int
    """Lanes for which it has no splits (see `lanes_for`)."""
    rate: float
    """The rate that it keeps to, in capacity units per second."""
    usage: Usage
    at_once: int = 1
    """Requests that it could have under way, including those that wait for capacity."""
    collections: int = 0
    """Segments that are inside a large item collection, of which no other worker can read a part."""
    commits: tuple[Commit | AuditCommit, ...] = ()
    urgent: bool = False
    """The worker waits for these commits: the Grant should acknowledge all of them."""
    stale_key: str | None = None
    """The access key that the service refused, if it did."""
    failure: Failure | None = None
    stopped: bool = False
    """This is the worker's last Report."""


class Grant(msgspec.Struct, frozen=True):
    """From the coordinator to a worker: the answer to a Report. An `abort` may also be sent without a Report."""

    rate: float
    """Capacity units per second that the worker may spend."""
    leases: tuple[Lease, ...] = ()
    acknowledged: int = 0
    """How many commits of the Report, counted from the first, are durable (or of an older lease); the others are to be
    sent again."""
    credentials: Credentials | None = None
    """The newest credentials, if they were available in time."""
    stop: Literal["", "done", "abort"] = ""


class Welcome(msgspec.Struct, frozen=True):
    """The first message to a worker process: who it is, and its job."""

    worker: int
    run: str
    """The worker's unique name: it marks the files that it has not finished."""
    job: Job
    credentials: Credentials
