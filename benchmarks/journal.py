"""How long a journal takes to open, to compact and to remove.

    python -m benchmarks.journal [--places folder s3] [--chunks 40000] [--files 10000] [--units 64] [--whole]

Writes a journal as an export of so many output files does, of which `--units` segments are at work in each chunk, into
a folder and into a SeaweedFS of its own, and prints Markdown. `--whole` lets it grow without being compacted.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

from benchmarks.cases import run_s3
from ddbio.ledger.entries import Commit, FileState, JournalEntry, Opened, Used
from ddbio.ledger.journal import COMPACT_AFTER, Journal
from ddbio.ledger.law import ExportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.positions import START, AfterKey
from ddbio.report import Spending
from ddbio.storage.base import Sink
from ddbio.storage.local.sink import LocalSink
from ddbio.storage.s3.sink import S3Sink
from ddbio.storage.tokens import LocalToken
from tests.kit.identities import EXPORT
from tests.kit.places import s3_client

OPENED = Opened("run", EXPORT, 1_000_000)
KEY = '{"pk":{"S":"customer-%012d"},"sk":{"N":"20260101000000"}}'


class Figures(NamedTuple):
    """Seconds."""

    chunks: int
    """Files of the journal when it was opened."""
    megabytes: float
    write: float
    """The median of a chunk."""
    slowest_write: float
    opened: float
    """To find out which job it is."""
    read: float
    """And to have its whole ledger."""
    remove: float


def entries(chunks: int, files: int, units: int) -> Iterator[list[JournalEntry]]:
    """What becomes durable chunk after chunk: each segment writes one file, and is done with the file."""
    each = max(chunks * units // files, 1)
    for chunk in range(chunks):
        found: list[JournalEntry] = [Used("run", Spending(capacity_units=chunk * 1e3, requests=chunk))]
        for lane in range(units):
            unit, step = lane + units * (chunk // each), chunk % each
            done = step == each - 1
            file = FileState(
                f"T-{unit:04d}-00000.json",
                unit,
                0,
                START,
                AfterKey(KEY % chunk),
                step * 99,
                step * 99,
                step * 10**6,
                123_456_789,
                sealed=done,
                fingerprint="0123456789abcdef",
                token=None if done else LocalToken(f"T-{unit:04d}-00000.json.20260101T000000Z-abcdef.part"),
            )
            found.append(Commit(unit, 1, step + 1, AfterKey(KEY % chunk), done, file, 99, 99, 10**6))
        yield found


async def measure(sink: Sink, other: Sink, chunks: int, files: int, units: int, compact_after: int) -> Figures:
    """Write at `sink`, then open at `other`, which is the same place."""
    ledger, times = Ledger(ExportLaw(), Journal(sink, compact_after=compact_after)), []
    await ledger.record([OPENED])
    for number, each in enumerate(entries(chunks, files, units)):
        began = perf_counter()
        await ledger.record(each)
        times.append(perf_counter() - began)
        if number % 1_000 == 0:
            print(f"{sink.location}: {number:,} chunks", file=sys.stderr, flush=True)
    await ledger.stop_compacting()
    there = await other.list("_ddbio/journal/")
    began = perf_counter()
    journal = Journal(other)
    await journal.opened()
    opened, again = perf_counter() - began, Ledger(ExportLaw(), journal)
    async for found in journal.read():
        again.replay(found)
    read = perf_counter() - began
    if (again.written, len(again.files)) != (ledger.written, len(ledger.files)):
        raise SystemExit("what was read is not what was written")
    began = perf_counter()
    await again.close()
    size = sum(file.size for file in there) / 1e6
    return Figures(len(there), size, median(times), max(times), opened, read, perf_counter() - began)


@asynccontextmanager
async def sinks(place: str, folder: Path) -> AsyncIterator[tuple[Sink, Sink]]:
    """One place, twice."""
    async with AsyncExitStack() as stack:
        if place == "folder":
            executor = stack.enter_context(ThreadPoolExecutor(4))
            yield LocalSink(folder / "out", "a", executor=executor), LocalSink(folder / "out", "b", executor=executor)
            return
        server = stack.enter_context(run_s3(folder))
        bucket = server.create_bucket()
        client = await stack.enter_async_context(s3_client(server))
        yield S3Sink(client, bucket, "out"), S3Sink(client, bucket, "out")


async def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description="How long a journal takes to open.")
    parser.add_argument("--places", choices=["folder", "s3"], nargs="+", default=["folder", "s3"])
    parser.add_argument("--chunks", type=int, default=40_000)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--folder", help="where files are written; default: the system's folder for temporary files")
    options = parser.parse_args()
    compact_after = options.chunks + 2 if options.whole else COMPACT_AFTER
    print("| place | files of the journal | MB | write, ms | slowest, ms | whose, s | opened, s | removed, s |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for place in options.places:
        with TemporaryDirectory(dir=options.folder) as name:
            async with sinks(place, Path(name)) as (sink, other):
                found = await measure(sink, other, options.chunks, options.files, options.units, compact_after)
        print(
            f"| {place} | {found.chunks:,} | {found.megabytes:.1f} | {found.write * 1e3:.1f} | "
            f"{found.slowest_write * 1e3:.0f} | {found.opened:.2f} | {found.read:.2f} | {found.remove:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    asyncio.run(main())
