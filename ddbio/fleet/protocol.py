"""The one message between a worker and the coordinator: Report → Grant.

A worker sends a Report about twice a second, and at once when a split ends or something fails. A Report
that comes twice is answered with the same Grant, and commits are repeated until they are acknowledged, so a lost or
doubled message changes nothing.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ddbio.ledger.entries import Commit, Lease, Split
from ddbio.pipeline.job import Job
from ddbio.pipeline.meter import Usage
from ddbio.wire.signing import Credentials

LANE_BYTES = 1024 * 1024
LANE_UNITS = 64
"""Small files are leased many at once, so many bytes or files for each lane: Reports come too seldom for one each.
Both are powers of two, so that parts of lanes add up exactly."""


def lanes_for(split: Split) -> float:
    """How many lanes this split keeps busy until the next Report."""
    if split.size is None:
        return 1.0
    length = (split.size if split.end is None else split.end) - split.start
    return min(max(length / LANE_BYTES, 1 / LANE_UNITS), 1.0)


class Failure(msgspec.Struct, frozen=True):
    """Why a worker can't go on: the error's class in `ddbio.errors`, its message, hint and traceback."""

    kind: str
    message: str
    hint: str | None = None
    trace: str = ""


class Report(msgspec.Struct, frozen=True):
    """From a worker to the coordinator."""

    worker: int
    number: int
    """1, 2, 3 …; one that is sent again, for want of a Grant, keeps its number."""
    wanted: int
    """Lanes for which it has no splits (see `lanes_for`)."""
    rate: float
    """The rate that it keeps to, in capacity units per second."""
    usage: Usage
    at_once: int = 1
    """Requests that it could have under way, those that wait for capacity included."""
    collections: int = 0
    """Segments that are inside a large item collection: no other worker can take any of it over."""
    commits: tuple[Commit, ...] = ()
    urgent: bool = False
    """Somebody waits for these commits: the Grant is to acknowledge them all."""
    stale_key: str | None = None
    """The access key that the service refused, if it did."""
    failure: Failure | None = None
    stopped: bool = False
    """This is the worker's last Report."""


class Grant(msgspec.Struct, frozen=True):
    """From the coordinator to a worker: the answer to a Report. One that says `abort` may also come unasked for."""

    rate: float
    """Capacity units per second that the worker may spend."""
    leases: tuple[Lease, ...] = ()
    acknowledged: int = 0
    """So many commits of the Report, the first ones, are durable (or too late); the rest is to be sent again."""
    credentials: Credentials | None = None
    """New credentials, where the worker's own are not the newest."""
    stop: Literal["", "done", "abort"] = ""


class Welcome(msgspec.Struct, frozen=True):
    """The first message to a worker process: who it is, and its job."""

    worker: int
    run: str
    """The worker's own name, unlike that of any other: it marks the files that it has not finished."""
    job: Job
    credentials: Credentials
