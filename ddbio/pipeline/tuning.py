"""The tuning of the pipeline: sizes, times and shares that follow from measurements rather than from the service."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Shared by the parts of one worker's pipeline; tests pass other values."""

    commit_seconds: float = 1.0
    """Interval between the commits of one split."""
    in_flight_bytes: int = 64 * MIB
    """Limit of the batches that are in flight at the same time in a process."""
    resting_per_lane: int = 4
    """While this many requests per lane wait to be repeated, no new ones are sent."""
    outbox_bytes: int = 16 * MIB
    """Limit of the rejects and findings that wait to be acknowledged, in a process."""

    # Exporting
    channel_bytes: int = 2 * MIB
    """Limit of the transcoded pages that wait to be written, per segment."""
    save_seconds: float = 0.25
    """Time that a cancelled segment may take to make durable what it has written."""
    threaded_page_bytes: int = 1536 * KIB
    """Larger pages are transcoded in a thread, so that the event loop stays responsive."""
    page_seconds: float = 1.0
    """The most that a page may cost, as seconds of the budget."""

    # Importing
    ahead_bytes: int = 8 * MIB
    """Limit of the memory of records between the first that is not settled and the last that was read, per span."""
    held_bytes: int = 4 * MIB
    """Limit of the records that rest or wait for an earlier record with the same key, per span."""
    reject_bytes: int = 1 * MIB
    """A span reports its rejects and waits for the acknowledgement when they take this much."""
    raw_bytes: int = 1 * MIB
    """Longer rejected records are not copied into the rejects file."""
    settling_bytes: int = 4 * MIB
    """Limit of the memory of all spans of a process that are read to their end but not settled."""
    tail_bytes: int = 64 * KIB
    """A span counts as read to its end when its records and rejects that are not settled take no more than this."""
    threaded_record_bytes: int = 64 * KIB
    """Longer records are encoded in a thread, so that the event loop stays responsive."""
    leftover_seconds: float = 1.0
    """Time that the last records of a span may wait for other spans to complete their batch."""
    batch_seconds: float = 1.0
    """The most that a batch of several items may cost, as seconds of the budget."""
    first_batch_seconds: float = 0.25
    """Until the first reply tells what the items cost that others replace, each batch is charged at least this many
    seconds of the budget: a second one might cost far more than expected."""


DEFAULT = Tuning()
