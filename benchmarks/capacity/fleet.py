"""Runs of ddbio's whole fleet on virtual time."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.capacity.judge import Verdict, judge
from benchmarks.capacity.table import PLENTY, SizedTable
from ddbio.capacity import Pace
from ddbio.jobs import planning
from ddbio.ledger.entries import Split
from tests.kit.fakes import run_virtual
from tests.kit.faults.capacity import Limits
from tests.kit.fleets import Fleet, export_job, import_job
from tests.kit.servers.units import read_units

During = Callable[[Fleet], None]
LEAST_SEGMENTS = 64


def counts_for(units: float, item_bytes: int, segments: int, heavy: float = 0.0) -> list[int]:
    """Items of each segment, so that reading them costs about `units`; segment 0 has the share `heavy` of them."""
    items = max(int(units * 8_192 / item_bytes), segments)
    light = int(items * (1 - heavy)) // (segments - 1 if heavy else segments)
    return [int(items * heavy) if heavy and not number else max(light, 1) for number in range(segments)]


def run(fleet: Fleet, changes: Sequence[tuple[float, During]] = ()) -> float:
    """Run the fleet; at each instant do a change. Returns the virtual seconds that it took."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        for at, change in changes:
            loop.call_at(at, change, fleet)
        await fleet.run()
        return loop.time()

    seconds = run_virtual(main())
    assert fleet.coordinator.failure is None, fleet.coordinator.failure
    fleet.ledger.check()
    return seconds


def exporting(
    budget: float,
    counts: Sequence[int],
    item_bytes: int,
    processes: int,
    *,
    limits: Limits = PLENTY,
    collections: Collection[int] = (),
    auto: bool = False,
    planned: bool = True,
) -> Fleet:
    """An export as the command would plan it; or with just so many processes, however small their shares are."""
    pace = Pace(budget, 1e12 if auto else None)
    workers = planning.process_count(processes, pace, planning.PAGE_UNITS, len(counts)) if planned else processes
    table = SizedTable(counts, item_bytes, limits, collections=collections)
    return Fleet(
        export_job(len(counts), concurrency=8), table, planning.segments(len(counts)), budget, workers, pace.most
    )


def verdict_of(fleet: Fleet, kind: str) -> Verdict:
    """How it kept its budget; work runs out when the last unit is leased."""
    busy = max((at for at, _, grant in fleet.grants if grant.leases), default=0.0)
    return judge(fleet.table.account, "read" if kind == "export" else "write", fleet.budget, fleet.workers, busy)


def matrix_export(budget: float, item_bytes: int, processes: int, seconds: float, *, planned: bool = True) -> Verdict:
    """One cell of the matrix."""
    segments = max(LEAST_SEGMENTS, (32 if planned else 8) * processes)
    page = read_units(min(planning.MEGABYTE, 128 * item_bytes), consistent=False)
    counts = counts_for(max(budget * seconds, planned * segments * min(page, budget)), item_bytes, segments)
    fleet = exporting(budget, counts, item_bytes, processes, planned=planned)
    # A lane has one page on its way at a time: so many lanes as the budget needs at this latency.
    lanes = max(8 if planned else 2, int(budget / processes / 6_000))
    fleet.job = export_job(segments, concurrency=lanes)
    run(fleet)
    return verdict_of(fleet, "export")


def write_dump(path: Path, keys: Sequence[str], item_bytes: int) -> None:
    """A file of items with these keys."""
    filler = "x" * max(item_bytes - 24, 0)
    with path.open("w") as file:
        file.writelines(json.dumps({"pk": key, "sk": 0, "t": filler}) + "\n" for key in keys)


def spans_of(path: Path, length: int) -> list[Split]:
    """The file in spans of about `length` bytes."""
    size, tag = path.stat().st_size, f"{path.stat().st_mtime_ns}-{path.stat().st_size}"
    starts = range(0, size, length)
    return [
        Split(number, str(path), start, start + length if start + length < size else None, size, tag)
        for number, start in enumerate(starts)
    ]


def matrix_import(budget: float, item_bytes: int, processes: int, seconds: float, *, planned: bool = True) -> Verdict:
    """One cell of the matrix."""
    cost = -(-item_bytes // 1_024)
    count = max(int(budget * seconds / cost), 300)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "dump.json"
        write_dump(path, [f"key {number:09d}" for number in range(count)], item_bytes)
        units = spans_of(path, max(path.stat().st_size // (32 * processes), 1_000))
        few = planning.process_count(processes, Pace(budget), planning.BATCH_UNITS, len(units))
        # So many lanes as the budget needs at this latency: each sends a hundred batches a second.
        lanes = max(16 if planned else 2, int(budget / processes / (1_500 * cost)))
        job = import_job(path, concurrency=lanes)
        fleet = Fleet(
            job, SizedTable((), 1), units, budget, few if planned else processes, rejects=Path(folder) / "rejects.jsonl"
        )
        run(fleet)
    return verdict_of(fleet, "import")


def shuffled(count: int, seed: int = 1) -> list[int]:
    """The numbers from 0, in another order."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order
