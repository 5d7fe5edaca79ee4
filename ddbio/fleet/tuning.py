"""Tuning of the fleet. Tests pass another `Tuning` where they need other values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How the coordinator and the desk run a job."""

    max_deaths: int = 3
    """A job fails when this many workers have died while they held the same split, or in the same slot."""
    journal_seconds: float = 1.0
    """Interval between chunks of the journal, unless a commit is urgent: on S3, each chunk costs a request."""


DEFAULT = Tuning()

# Reports

REPORT_SECONDS = 0.5
"""Longest interval between two Reports of a worker."""
REPORT_PAUSE = 0.05
"""Shortest interval between two Reports of a worker, in seconds."""
ANSWER_SECONDS = 0.5
"""An answer waits no longer than this for the journal or for credentials: it may carry a pause or an abort."""
LANE_BYTES = 1024 * 1024
LANE_FILES = 64
"""Small files are leased in groups, up to this many bytes or files for each lane, because Reports are too rare to lease
them one by one. Both are powers of two, so that fractions of a lane add up exactly."""

# Shares of the budget

MEASURED_SECONDS = 0.45
"""Shortest time over which a worker's spending is measured; workers report about twice a second."""
SMOOTHING = 0.25
"""Weight of the newest measurement of a worker's spending."""
WAITED = 0.9
ALL_USED = 0.97
"""A worker is hungry if its requests waited for this part of the time, or if it used this part of its share."""
SPARE = 0.02
"""What a worker is given beyond what it uses, as a part of that: it shows whether the worker can use more."""
LEAST_SHARE = 0.01
"""What a worker with work is given in addition, as a part of an equal share."""
SURE = 1 / 3
"""The part of a worker's potential that it uses without gaps, however much the latency of replies varies. With random
(exponential) latency, a single lane uses 98% of that; several lanes use more.
"""

# The parent's side

PROGRESS_SECONDS = 0.25
"""Shortest interval between two Progress events."""
MAX_ROWS = 3_600
"""When a timeline has more rows, they are merged in pairs: an hour has a row a second, a day one every 32 seconds."""
STOP_SECONDS = 0.5
"""Time that worker processes have to stop when the job is cancelled, before they are killed."""
EXIT_SECONDS = 2.0
"""Time that a worker process has to exit once its socket is closed, before it is killed."""

# The worker's side
