"""Runs of ddbio's whole fleet on virtual time."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.capacity.judge import Verdict, judge
from ddbio.capacity import Pace
from ddbio.jobs import planning
from tests.kit.fleets import Fleet, export_job, import_job
from tests.kit.servers.units import read_units
from tests.kit.sized import SizedTable, counts_for, exporting, run, spans_of, write_dump

LEAST_SEGMENTS = 64


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


def matrix_import(budget: float, item_bytes: int, processes: int, seconds: float, *, planned: bool = True) -> Verdict:
    """One cell of the matrix."""
    cost = -(-item_bytes // 1_024)
    count = max(int(budget * seconds / cost), 300)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "dump.json"
        write_dump(path, [f"key {number:09d}" for number in range(count)], item_bytes)
        units = spans_of(path, max(path.stat().st_size // (32 * processes), 1_000))
        affordable = planning.affordable(processes, Pace(budget), planning.BATCH_UNITS)
        few = planning.process_count(affordable, len(units))
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
