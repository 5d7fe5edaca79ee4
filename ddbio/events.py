"""The events of a running job, which are passed to its observer.

An observer is any callable that takes an event. It is called on the job's event loop and must return quickly. An
exception in an observer does not stop the job; the first one is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ddbio.report import Rejection


@dataclass(frozen=True, kw_only=True)
class JobPlanned:
    """All checks have passed; the first paid request follows."""

    command: str
    """`export`, `import` or `verify`."""
    account: str
    """The twelve-digit account ID in the table's ARN."""
    region: str
    table: str
    table_bytes: int | None
    """Size of the table, which DynamoDB updates about every six hours; None if unknown."""
    table_items: int | None
    """Number of items, updated together with the size; None if unknown."""
    source_bytes: int | None
    """Size of the files to import as stored; None for an export or a stream."""
    budget: float
    """Capacity units per second for the whole job."""
    adaptive: bool = False
    """Whether the budget is only the initial one and adapts to what the table can serve."""
    splits: int
    """Number of segments (export, verify) or spans (import)."""
    processes: int
    expected_seconds: float | None
    """Estimated duration of the remaining work at this budget; None if unknown."""
    location: str
    """The destination, or the sources, of the files."""
    items_done: int = 0
    """Items that earlier runs of the job have moved."""
    state: str | None = None
    """The state folder of an import."""


@dataclass(frozen=True, kw_only=True)
class CheckPlanned:
    """The files of an export are about to be checked against their manifest."""

    location: str
    table: str
    """The table that was exported."""
    files: int
    bytes: int
    """Size as stored."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of the job: totals over all its runs, except the time. The first event holds what earlier runs did."""

    seconds: float
    """Since the start of this run."""
    items: int
    """Items read (export, verify) or acknowledged (import)."""
    bytes: int
    """Bytes written (export) or read (import, verify)."""
    units: float
    """Capacity units consumed."""
    throttles: int
    """Requests that were throttled or partly left unprocessed."""
    rejected: int
    """Rejected records."""
    splits_done: int
    """Segments, spans or files that are finished."""
    budget: float | None = None
    """Capacity units per second that the job may currently use."""
    reason: str = ""
    """What is holding the job back: a description of the throttling, or `paused`."""


@dataclass(frozen=True)
class Warned:
    """A condition that the user should know about and that does not stop the job."""

    message: str


@dataclass(frozen=True, kw_only=True)
class RecordsRejected:
    """The records that an import has rejected in all its runs; sent when it ends, whatever the outcome."""

    count: int
    location: str
    """The rejects file."""
    reasons: Mapping[str, Rejection]
    """Maps the stable code of a reason to its count and an example."""


@dataclass(frozen=True)
class Steered:
    """A change of capacity, a pause, or its end has taken effect."""

    message: str


@dataclass(frozen=True)
class ProblemFound:
    """A file does not match the manifest, or the manifest contradicts itself."""

    message: str


Event = JobPlanned | CheckPlanned | Progress | Warned | RecordsRejected | Steered | ProblemFound
Observer = Callable[[Event], None]
log = logging.getLogger("ddbio")


def silent(event: Event) -> None:
    del event


def tolerant(observer: Observer) -> Observer:
    """Wrap an observer so that its exceptions are suppressed; the first one is logged."""
    failed = False

    def observe(event: Event) -> None:
        nonlocal failed
        try:
            observer(event)
        except Exception:
            if not failed:
                log.exception("The observer raised an exception; the job continues.")
            failed = True

    return observe
