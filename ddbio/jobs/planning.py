"""What a job needs before it starts: its budget, its processes, its splits. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import ceil, inf
from typing import overload

from ddbio.aws.table import TableInfo
from ddbio.capacity import Pace
from ddbio.errors import UsageError
from ddbio.ledger.entries import Split
from ddbio.ledger.ledger import Ledger
from ddbio.model import WRITE_UNIT_BYTES
from ddbio.options import MAX_SEGMENTS, Capacity
from ddbio.pipeline.job import ImportJob, Job
from ddbio.storage.base import SourceFile
from ddbio.words import plain

MEGABYTE = 1024 * 1024
SEGMENTS_PER_PROCESS = 32
"""Many more than are read at once, so that a slow one does not hold the job."""
SMALLEST_SEGMENT = 4 * MEGABYTE
LARGEST_SEGMENT = 1024 * MEGABYTE
UNKNOWN_SIZE_SEGMENTS = 8
"""For each process, where the service does not know the table's size (it counts every six hours)."""
SPANS_PER_PROCESS = 16
SMALLEST_SPAN = MEGABYTE
LARGEST_SPAN = 256 * MEGABYTE
NEW_ON_DEMAND_READ = 12_000.0
NEW_ON_DEMAND_WRITE = 4_000.0
"""What a new on-demand table serves at once (Developer Guide, "On-demand capacity mode")."""
READ_UNIT_BYTES = 4_096
PAGE_UNITS = 128
BATCH_UNITS = 25


def read_pace(capacity: Capacity, table: TableInfo) -> Pace:
    """Read units per second for the whole job; raises UsageError where the table does not have that many."""
    return _pace(capacity, table, "read", table.read_capacity, table.max_on_demand_read, NEW_ON_DEMAND_READ)


def write_pace(capacity: Capacity, table: TableInfo) -> Pace:
    """Write units per second for the whole job; raises UsageError where the table does not have that many."""
    return _pace(capacity, table, "write", table.write_capacity, table.max_on_demand_write, NEW_ON_DEMAND_WRITE)


def _pace(
    capacity: Capacity, table: TableInfo, kind: str, known: float | None, maximum: float | None, new: float
) -> Pace:
    limit = maximum if table.billing == "on-demand" else known
    basis = min(known or new, maximum or inf)
    if capacity.auto:
        most = min(capacity.units or inf, limit or inf)
        return Pace(min(basis / 2, most), most)
    if capacity.percent is not None:
        return Pace(basis * capacity.percent / 100)
    units = capacity.units or 0.0
    if limit is not None and units > limit:
        what = "a maximum" if table.billing == "on-demand" else "a provisioned throughput"
        place = f"Index {table.index} of table {table.name}" if table.index else f"Table {table.name}"
        raise UsageError(
            f"A capacity of {plain(units)} was asked for, but {place[0].lower()}{place[1:]} has {what} of "
            f"{plain(limit)} {kind} units a second.",
            hint=f"Give at most {plain(limit)}, or a share such as 50%.",
        )
    return Pace(units)


def foreseen(pace: Pace) -> float:
    """The units a second that processes are started for: a budget that adapts may double."""
    return pace.start if pace.most is None else min(2 * pace.start, pace.most)


def affordable(wanted: int, pace: Pace, request_units: float) -> int:
    """How many processes the budget feeds: each needs a request's worth of it a second."""
    return max(1, min(wanted, int(foreseen(pace) // request_units)))


def process_count(wanted: int, pace: Pace, request_units: float, splits: int) -> int:
    """How many processes have something to do: each needs a share of the budget, and a split of work."""
    return max(1, min(affordable(wanted, pace, request_units), splits))


def segment_count(asked: int | None, size_bytes: int, processes: int) -> int:
    """TotalSegments: many for each process, none too small to be worth a request or too large to be one file.

    `processes` are those that the budget feeds, so that no more segments are made than it can read at once. A table of
    unknown size (the service counts every six hours) may have nothing in it, or many gigabytes by now: it is cut into
    as many as give each process something to do, and few enough that a request for each costs next to nothing where
    they are empty: half a unit, of 128 and more that a process has in each second.
    """
    if asked is not None:
        return asked
    if size_bytes <= 0:
        return UNKNOWN_SIZE_SEGMENTS * processes
    by_workers = min(SEGMENTS_PER_PROCESS * processes, ceil(size_bytes / SMALLEST_SEGMENT))
    return min(max(by_workers, ceil(size_bytes / LARGEST_SEGMENT), 1), MAX_SEGMENTS)


def units_left(job: Job, table: TableInfo, source_bytes: int | None, ledger: Ledger) -> float:
    """About how many units the job will still consume, for an import at least; 0 where that can't be told."""
    if isinstance(job, ImportJob):
        return max((source_bytes or 0) - ledger.bytes, 0) / WRITE_UNIT_BYTES
    units = table.size_bytes / READ_UNIT_BYTES
    return max((units if job.options.scan.consistent else units / 2) - ledger.used.capacity_units, 0.0)


def plain_bytes(files: Sequence[SourceFile]) -> int | None:
    """How many bytes will be read in all; None where a stream or a compressed file keeps that from being known."""
    if any(file.size is None or file.compression != "none" for file in files):
        return None
    return sum(file.size or 0 for file in files)


def segments(count: int) -> Sequence[Split]:
    """One split per segment."""
    return _Segments(count)


class _Segments(Sequence[Split]):
    """Units that are made when they are asked for: there may be a million."""

    def __init__(self, count: int) -> None:
        self._numbers = range(count)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, at: int) -> Split: ...

    @overload
    def __getitem__(self, at: slice) -> list[Split]: ...

    def __getitem__(self, at: int | slice) -> Split | list[Split]:
        return Split(self._numbers[at]) if isinstance(at, int) else [Split(number) for number in self._numbers[at]]


def spans(sources: Sequence[Sequence[SourceFile]], processes: int) -> list[Split]:
    """The files of each source cut into spans: a compressed file or a stream is one, a large plain file many."""
    found = [(source, *span) for source, files in enumerate(sources) for span in _cut_all(files, processes)]
    return [
        Split(
            id=number,
            file=file.name,
            start=start,
            end=end,
            size=file.size,
            tag=file.tag,
            compression=file.compression,
            source=source,
        )
        for number, (source, file, start, end) in enumerate(found)
    ]


def largest_source(splits: Sequence[Split]) -> int:
    """How many splits the largest source has: only those of one source are worked on at the same time."""
    return max(Counter(split.source for split in splits).values(), default=0)


def _cut_all(files: Sequence[SourceFile], processes: int) -> Iterator[tuple[SourceFile, int, int | None]]:
    total = sum(file.size or 0 for file in files if file.compression == "none")
    length = min(max(total // (SPANS_PER_PROCESS * processes), SMALLEST_SPAN), LARGEST_SPAN)
    return (span for file in files for span in _cut(file, length))


def _cut(file: SourceFile, length: int) -> Iterator[tuple[SourceFile, int, int | None]]:
    if file.compression != "none" or file.size is None:
        yield file, 0, None
        return
    count = max(1, ceil(file.size / length))
    for number in range(count):
        end = (number + 1) * length
        yield file, number * length, end if number + 1 < count else None
