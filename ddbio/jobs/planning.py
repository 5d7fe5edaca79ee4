"""How a job's work is divided: its processes and its splits. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any

from ddbio.capacity import Pace
from ddbio.jobs.pace import foreseen
from ddbio.ledger.entries import Split
from ddbio.model import READ_UNIT_BYTES
from ddbio.options import MAX_SEGMENTS
from ddbio.storage.base import SourceFile

MEGABYTE = 1024 * 1024
SEGMENTS_PER_PROCESS = 32
"""Many more than are read at once, so that a slow segment does not hold up the job."""
SMALLEST_SEGMENT = 4 * MEGABYTE
LARGEST_SEGMENT = 1024 * MEGABYTE
UNKNOWN_SIZE_SEGMENTS = 8
"""For each process, if the table's size is not known (the service counts it every six hours)."""
SPANS_PER_PROCESS = 16
SMALLEST_SPAN = MEGABYTE
LARGEST_SPAN = 256 * MEGABYTE
PAGE_UNITS = 128
"""What a full page costs, read with eventual consistency."""
BATCH_UNITS = 25
"""What a full batch of small items costs."""


def affordable(wanted: int, pace: Pace, request_units: float) -> int:
    """How many processes the budget feeds: each needs enough for one request a second."""
    return max(1, min(wanted, int(foreseen(pace) // request_units)))


def process_count(affordable: int, splits: int) -> int:
    """How many processes have something to do: each needs its share of the budget, and a split to work on."""
    return max(1, min(affordable, splits))


def segment_count(asked: int | None, size_bytes: int, processes: int) -> int:
    """TotalSegments: many for each process, none too small to be worth a request or too large to be one file.

    `processes` are those that the budget feeds, so that no more segments are made than they can read. A table of
    unknown size (the service counts it every six hours) may be empty, or hold many gigabytes by now. It is divided into
    enough segments to occupy each process, and few enough that reading them costs next to nothing if they are empty:
    half a unit each, of the 128 or more that a process has every second.
    """
    if asked is not None:
        return asked
    if size_bytes <= 0:
        return UNKNOWN_SIZE_SEGMENTS * processes
    by_workers = min(SEGMENTS_PER_PROCESS * processes, ceil(size_bytes / SMALLEST_SEGMENT))
    return min(max(by_workers, ceil(size_bytes / LARGEST_SEGMENT), 1), MAX_SEGMENTS)


def scan_units(table_bytes: int, *, consistent: bool) -> float:
    """About how many read units a scan of the whole table consumes."""
    return table_bytes / READ_UNIT_BYTES / (1 if consistent else 2)


def plain_bytes(files: Sequence[SourceFile]) -> int | None:
    """How many bytes will be read in total; None if a stream or a compressed file is among the files."""
    if any(file.size is None or file.compression != "none" for file in files):
        return None
    return sum(file.size or 0 for file in files)


def segments(count: int) -> Sequence[Split]:
    """One split per segment."""
    return _Segments(count)


class _Segments(Sequence[Split]):
    """Splits that are made when they are asked for: there may be a million."""

    def __init__(self, count: int) -> None:
        self._numbers = range(count)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, at: Any) -> Any:
        numbers = self._numbers[at]
        return Split(numbers) if isinstance(numbers, int) else [Split(number) for number in numbers]


def spans(sources: Sequence[Sequence[SourceFile]], processes: int) -> list[Split]:
    """The files of each source, divided into spans: a compressed file or a stream is one, a large plain file many."""
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
    """How many splits the largest source has: only the splits of one source are worked on at the same time."""
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
