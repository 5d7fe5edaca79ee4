"""What a job tells while it runs: typed events, handed to an observer.

An observer is any callable that takes an event. It runs on the job's event loop, and must be quick. One that raises
does not stop the job: its first exception is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ddbio.report import Rejection


@dataclass(frozen=True, kw_only=True)
class JobPlanned:
    """Everything is checked; the first paid request comes next."""

    command: str
    """`export`, `import` or `verify`."""
    account: str
    """Twelve digits, as the table's ARN has them."""
    region: str
    table: str
    table_bytes: int | None
    """The table's size as the service last counted it (about every six hours); None where it is not known."""
    table_items: int | None
    """The number of its items, as old as its size."""
    source_bytes: int | None
    """Size of the import's files as stored; None for an export or a stream."""
    budget: float
    """Capacity units per second for the whole job."""
    adaptive: bool = False
    """That is what it begins with; then it adapts to what the table bears."""
    splits: int
    """Segments or spans."""
    processes: int
    expected_seconds: float | None
    """About how long the rest takes at that budget, by the size; None where that is not known."""
    location: str
    """Where the files go to or come from."""
    items_done: int = 0
    """Items that earlier runs of the job have moved."""
    state: str | None = None
    """The folder of an import's own files."""


@dataclass(frozen=True, kw_only=True)
class CheckPlanned:
    """An export's files are about to be read and held against their manifest."""

    location: str
    table: str
    """The table that was exported."""
    files: int
    bytes: int
    """Their size as stored."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the job is: totals over all its runs, but for the time. The first one tells where this run begins."""

    seconds: float
    """Since this run began."""
    items: int
    """Items read (export, verify) or acknowledged (import)."""
    bytes: int
    """Bytes written (export) or read (import, verify)."""
    units: float
    """Capacity units consumed."""
    throttles: int
    """Requests that were throttled, or came back unprocessed in part."""
    rejected: int
    """Records put among the rejects."""
    splits_done: int
    """Segments, spans or files that are done."""
    budget: float | None = None
    """Capacity units per second that the job may use now."""
    reason: str = ""
    """What holds it back: throttling, in words, or `paused`."""


@dataclass(frozen=True)
class Warned:
    """Something that the person should know and that does not stop the job."""

    message: str


@dataclass(frozen=True, kw_only=True)
class RecordsRejected:
    """Where an import ends, however it does: the records that it has rejected, in all its runs."""

    count: int
    location: str
    """The rejects file."""
    reasons: Mapping[str, Rejection]
    """By the stable code of the reason, with an example each."""


@dataclass(frozen=True)
class Steered:
    """What was asked for while the job runs holds from now on: a capacity, a pause, or its end."""

    message: str


@dataclass(frozen=True)
class ProblemFound:
    """A file is not what the manifest says, or the manifest contradicts itself."""

    message: str


Event = JobPlanned | CheckPlanned | Progress | Warned | RecordsRejected | Steered | ProblemFound
Observer = Callable[[Event], None]
log = logging.getLogger("ddbio")


def silent(event: Event) -> None:
    """The observer that does nothing."""
    del event


def tolerant(observer: Observer) -> Observer:
    """`observer`, without its exceptions: the first one is logged."""
    failed = False

    def observe(event: Event) -> None:
        nonlocal failed
        try:
            observer(event)
        except Exception:
            if not failed:
                log.exception("The observer failed at an event; the job goes on.")
            failed = True

    return observe
