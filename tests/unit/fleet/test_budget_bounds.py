"""The bounds of a budget, on whole fleets and virtual time: a short version of `benchmarks/capacity`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from itertools import accumulate
from math import inf
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from ddbio.capacity import Pace
from ddbio.capacity.item_collections import PARTITION_READ
from ddbio.events import Progress
from ddbio.jobs import planning
from ddbio.pipeline.tuning import Tuning
from ddbio.wire.transport import Reply
from tests.kit.fakes import reply, run_virtual
from tests.kit.faults.capacity import Capacity, Limits
from tests.kit.fleets import Fleet, export_job, import_job
from tests.kit.marks import few
from tests.kit.servers.account import Event, Kind
from tests.kit.servers.units import write_units
from tests.kit.sized import SizedTable, counts_for, exporting, run, spans_of, write_dump

KB = 1_024
SECONDS = 8
REQUESTS = 40
"""A run takes so long, and each process has so many, at least: what is under way at its ends counts little."""


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(11)  # the jitter of backoff


def most_over(events: Sequence[Event], rate: float) -> float:
    """How many units more than `rate` × W any window of W ≥ 1 seconds holds, both its ends included."""
    before = list(accumulate((event.units for event in events), initial=0.0))
    least = found = inf
    found = -inf
    opened = 0
    for number, event in enumerate(events):
        while events[opened].at <= event.at - 1:
            least = min(least, before[opened] - rate * events[opened].at)
            opened += 1
        until = before[number + 1]
        found = max(found, until - before[opened] - rate, until - rate * event.at - least)
    return found


def check(fleet: Fleet, kind: Kind) -> None:
    """Never more than 1.02 times the budget and one request of each process; 97% of it as long as there is work."""
    events = fleet.table.account.events[kind]
    largest = max(event.units for event in events)
    assert most_over(events, 1.02 * fleet.budget) <= fleet.workers * largest + 1e-6 * fleet.budget
    busy_until = max(at for at, _, grant in fleet.grants if grant.leases)
    served = sum(event.units for event in events if event.at < busy_until)
    assert served >= 0.97 * fleet.budget * (busy_until - events[0].at)


READS = [
    (440, 150 * KB, 2),
    *((5, 50, 16), (5, 4 * KB, 4), (5, 400 * KB, 1)),
    *((100, 50, 4), (100, 4 * KB, 1), (100, 400 * KB, 16)),
    *((1_000, 50, 1), (1_000, 4 * KB, 16), (1_000, 400 * KB, 4)),
    *((20_000, 50, 1), (20_000, 4 * KB, 4), (20_000, 400 * KB, 16)),
    *((200_000, 50, 4), (200_000, 4 * KB, 16), (200_000, 400 * KB, 1)),
]


@pytest.mark.parametrize(("budget", "item_bytes", "processes"), few(READS, 0, 5, 10))
def test_reading_keeps_to_the_budget_and_uses_it(budget: float, item_bytes: int, processes: int) -> None:
    segments = max(64, 32 * processes)
    affordable = planning.affordable(processes, Pace(budget), planning.PAGE_UNITS)
    workers = planning.process_count(affordable, segments)
    page = max(min(budget, planning.PAGE_UNITS), item_bytes / 8_192)
    units = max(SECONDS * budget, REQUESTS * workers * page)
    fleet = exporting(budget, counts_for(units, item_bytes, segments), item_bytes, processes)
    # A lane has one page under way at a time: so many lanes as the budget needs at this latency.
    fleet.job = export_job(segments, concurrency=max(8, int(budget / workers / 6_000)))
    run(fleet)
    check(fleet, "read")


WRITES = [
    (80, 100, 2),
    *((5, 50, 1), (5, KB, 4), (5, 400 * KB, 16)),
    *((100, 50, 16), (100, 4 * KB, 1), (100, 400 * KB, 4)),
    *((1_000, 50, 4), (1_000, 4 * KB, 16), (1_000, 400 * KB, 1)),
]


def writing(
    folder: Path, budget: float, item_bytes: int, processes: int, cost: float, table: SizedTable | None = None
) -> Fleet:
    """An import as the command would plan it, of items that cost so much."""
    affordable = planning.affordable(processes, Pace(budget), planning.BATCH_UNITS)
    workers = planning.process_count(affordable, 32 * processes)
    count = max(int(SECONDS * budget / cost), REQUESTS * workers)
    path = folder / "dump.json"
    write_dump(path, [f"key {number:09d}" for number in range(count)], item_bytes)
    units = spans_of(path, path.stat().st_size // (32 * workers))
    job = import_job(path, concurrency=16)
    return Fleet(job, table or SizedTable((), 1), units, budget, workers, rejects=folder / "rejects.jsonl")


@pytest.mark.parametrize(("budget", "item_bytes", "processes"), few(WRITES, 0, 5))
def test_writing_keeps_to_the_budget_and_uses_it(
    budget: float, item_bytes: int, processes: int, tmp_path: Path
) -> None:
    cost = write_units(item_bytes)
    fleet = writing(tmp_path, budget, item_bytes, processes, cost)
    run(fleet)
    check(fleet, "write")
    assert max(event.units for event in fleet.table.account.events["write"]) <= max(budget, cost)


class Replacing(SizedTable):
    """Whatever is put replaces an item of 40 KB, and costs what that would (API Reference, PutItem)."""

    COST = 40.0

    def _put(self, payload: dict[str, Any]) -> Reply:
        ((name, writes),) = payload["RequestItems"].items()
        self.account.record("write", self.COST * len(writes), len(writes))
        capacity = [{"TableName": name, "CapacityUnits": self.COST * len(writes)}]
        return reply({"UnprocessedItems": {}, "ConsumedCapacity": capacity})


@pytest.mark.parametrize(("budget", "processes"), few([(5, 1), (1_000, 4), (20_000, 1), (200_000, 16)], 1))
def test_what_replaces_larger_items_keeps_to_the_budget_too(budget: float, processes: int, tmp_path: Path) -> None:
    fleet = writing(tmp_path, budget, 50, processes, Replacing.COST, Replacing((), 1))
    run(fleet)
    check(fleet, "write")


@pytest.mark.parametrize("processes", [1, 4])
def test_costs_of_replaced_items_are_not_learned_all_at_once(processes: int, tmp_path: Path) -> None:
    fleet = writing(tmp_path, 4_000, 50, processes, Replacing.COST, Replacing((), 1, latency=0.1))
    run(fleet)
    check(fleet, "write")


class Refusing(SizedTable):
    """Serves nothing for a while."""

    FROM, UNTIL = 3.0, 3.5

    def _put(self, payload: dict[str, Any]) -> Reply:
        now = asyncio.get_running_loop().time()
        if self.FROM <= now < self.UNTIL:
            return self._refused("TableWriteProvisionedThroughputExceeded")
        return super()._put(payload)


def test_what_was_refused_does_not_come_as_a_burst(tmp_path: Path) -> None:
    """Many batches are on their way, again and again, when the table begins to bear them once more."""
    budget = 2_000
    fleet = writing(tmp_path, budget, 50, 2, 1.0, Refusing((), 1, latency=0.05))
    fleet.job = import_job(tmp_path / "dump.json", concurrency=64)
    run(fleet)
    events = fleet.table.account.events["write"]
    assert most_over(events, 1.02 * budget) <= fleet.workers * max(event.units for event in events)
    assert sum(usage.throttles for usage in fleet.coordinator.usages) > 32


def test_a_table_that_bears_less_than_the_budget_is_spared(
    tmp_path: Path,
) -> None:
    """It leaves parts of most batches: what is tried again is at most as much as is served."""
    budget, bears, seconds = 1_000, 400, 20
    fleet = writing(tmp_path, budget, 50, 2, 0.5, SizedTable((), 1, Limits(read=1, write=bears)))
    fleet.limits = {"max_seconds": float(seconds)}
    run_virtual(fleet.run())
    asked = 25 * sum(usage.requests for usage in fleet.coordinator.usages)
    assert bears * seconds <= len(fleet.table.items) <= 1.1 * bears * seconds
    assert asked <= 2 * budget * seconds
    assert fleet.ledger.written >= 0.5 * len(fleet.table.items)


def test_hot_keys_get_in_as_fast_as_they_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the items share a partition, which takes longer than all the others."""
    bears, count = 150, 30_000

    def partition(self: Capacity, key: dict[str, str]) -> int:
        return 0 if key["S"].startswith("hot") else 1 + crc32(key["S"].encode()) % (self._limits.partitions - 1)

    monkeypatch.setattr(Capacity, "_partition", partition)
    rng, path = random.Random(5), tmp_path / "dump.json"
    keys = [f"{'hot' if rng.random() < 0.1 else 'key'} {number}" for number in range(count)]
    write_dump(path, keys, 100)
    table = SizedTable((), 1, Limits(read=1, write=1e9, partitions=40, partition_write=bears))
    units = spans_of(path, path.stat().st_size // 16)
    seconds = run(Fleet(import_job(path, concurrency=16), table, units, 2_500, 2, rejects=tmp_path / "rejects.jsonl"))
    assert seconds <= 1.15 * sum(key.startswith("hot") for key in keys) / bears


class Hot(SizedTable):
    """The keys of the segment that is read first bear `BEARS` units a second, those of the others all there are."""

    BEARS = 50
    segment: int | None = None

    def _scan(self, payload: dict[str, Any]) -> Reply:
        now = asyncio.get_running_loop().time
        if self.segment is None:
            self.segment = payload["Segment"]
            self.served: list[Event] = []
            self._keys = Capacity(Limits(read=1e12, write=1, partition_read=self.BEARS), now)
        if payload["Segment"] != self.segment:
            return super()._scan(payload)
        permit = self._keys.admit_read("T", None, 0, 1)
        if isinstance(permit, str):
            return self._refused(permit)
        page = super()._scan(payload)
        self.served.append(self.account.events["read"][-1])
        permit(self.served[-1].units)
        return page


@pytest.mark.parametrize(("budget", "processes"), [(6_000, 4), (12_000, 1)])
def test_a_large_collection_is_read_at_its_partitions_rate(budget: float, processes: int) -> None:
    """70% of the table are in one segment, and nobody else can read any of them."""
    counts = counts_for(budget * 30, KB, 64, heavy=0.7)
    limits = Limits(read=inf, write=inf, partitions=64, partition_read=PARTITION_READ)
    fleet = exporting(budget, counts, KB, processes, limits=limits, collections=[0])
    fleet.job = export_job(len(counts), concurrency=16)
    seconds = run(fleet)
    assert seconds <= 1.05 * counts[0] * KB / 8_192 / PARTITION_READ
    events = fleet.table.account.events["read"]
    assert most_over(events, 1.02 * budget) <= processes * max(event.units for event in events) + 1e-6 * budget


def test_a_hot_segment_waits_and_the_others_have_the_rest() -> None:
    """A fleet whose budget adapts."""
    fleet = exporting(3_000, [6_000] * 64, 4 * KB, 4, auto=True)
    fleet.most = fleet.budget
    table = fleet.table = Hot([6_000] * 64, 4 * KB)
    run(fleet)

    def rate(events: Sequence[Event]) -> float:
        return sum(event.units for event in events if 5 <= event.at < 50) / 45

    assert rate(table.served) == pytest.approx(Hot.BEARS, rel=0.15)
    assert rate(table.account.events["read"]) >= 0.97 * 3_000
    progress = [event for event in fleet.events if isinstance(event, Progress)]
    assert {event.budget for event in progress} == {3_000}
    assert any("hot keys" in event.reason for event in progress)


def test_an_adaptive_budget_settles_on_what_a_table_bears() -> None:
    """Four seconds after the first cut it is near again, and most of what the table bears is used."""
    bears, most = 400, 540
    limits = Limits(read=bears, write=1, partition_read=1e12)
    fleet = exporting(most, counts_for(60 * 128, KB, 64), KB, 2, limits=limits, auto=True)
    fleet.most = most
    run(fleet)
    progress = [event for event in fleet.events if isinstance(event, Progress)]
    cut = next(event.seconds for event in progress if event.budget is not None and event.budget < most)
    settled = [event for event in progress if event.seconds >= cut + 4][:-1]
    assert len(settled) >= 4
    budgets = [event.budget or 0.0 for event in settled]
    assert max(budgets) - min(budgets) <= 0.3 * max(budgets)
    first, last = settled[0], settled[-1]
    assert last.units - first.units >= 0.85 * bears * (last.seconds - first.seconds)


def test_a_dump_in_partition_order_is_spread_over_partitions(tmp_path: Path) -> None:
    """8 partitions of 100 units a second each: read in its order, a dump writes to one after the other."""
    limits = Limits(read=1e12, write=1e12, partitions=8, partition_write=100)
    place = Capacity(limits)._partition
    keys = sorted((f"key {number:09d}" for number in range(6_000)), key=lambda key: place({"S": key}))
    path = tmp_path / "dump.json"
    write_dump(path, keys, 200)

    def seconds(spans: int, processes: int) -> float:
        units = spans_of(path, path.stat().st_size // spans + 1)
        table = SizedTable((), 1, limits)
        job = import_job(path, concurrency=16)
        fleet = Fleet(job, table, units, 700, processes, rejects=tmp_path / f"rejects-{spans}.jsonl")
        fleet.pipeline = Tuning(held_bytes=16 * KB)  # a small dump stands for a large one
        return run(fleet)

    in_order, spread = seconds(1, 1), seconds(64, 2)
    assert in_order >= 4 * spread
    assert spread <= 1.3 * 6_000 / 700


def test_a_changed_budget_is_kept_from_two_seconds_on() -> None:
    fleet = exporting(2_000, counts_for(30_000, 4 * 1024, 64), 4 * 1024, 4)
    run(fleet, [(5.0, lambda one: one.coordinator.budget.set(Pace(500)))])
    served = [event.units for event in fleet.table.account.events["read"] if 7 <= event.at < 20]
    assert sum(served) == pytest.approx(13 * 500, rel=0.04)
