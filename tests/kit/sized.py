"""Tables on virtual time whose pages cost what their items would, and fleets that export and import them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ddbio.capacity import Pace
from ddbio.jobs import planning
from ddbio.ledger.entries import Split
from ddbio.wire.transport import Reply
from tests.kit.fakes import FakeTable, reply, run_virtual
from tests.kit.faults.capacity import Capacity, Limits
from tests.kit.fleets import Fleet, export_job
from tests.kit.servers.items import item_size
from tests.kit.servers.units import read_units, write_units

During = Callable[[Fleet], None]
PAGE_BYTES = 1024 * 1024
PLENTY = Limits(read=1e12, write=1e12, partition_read=1e12, partition_write=1e12)


class SizedTable(FakeTable):
    """A table with `counts[segment]` items of `item_bytes` in each segment. A page holds one item and costs what all
    of its items would.

    The items of each segment in `collections` share one partition key; all other items have one of their own.
    """

    def __init__(
        self,
        counts: Sequence[int],
        item_bytes: int,
        limits: Limits = PLENTY,
        *,
        latency: float = 0.01,
        collections: Collection[int] = (),
    ) -> None:
        super().__init__(latency=latency)
        self.counts = counts
        self.collections = collections
        self.item_bytes = item_bytes
        self.throttled: list[tuple[float, str]] = []
        self._capacity: Capacity | None = None
        self.limits = limits

    def change(self, limits: Limits) -> None:
        """Set what the table can serve from now on."""
        self.limits, self._capacity = limits, None

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if self._capacity is None:
            self._capacity = Capacity(self.limits, asyncio.get_running_loop().time)
        return await super().__call__(url, headers, body)

    def _scan(self, payload: dict[str, Any]) -> Reply:
        assert self._capacity is not None
        segment = payload["Segment"]
        permit = self._capacity.admit_read("T", None, segment, payload["TotalSegments"])
        if isinstance(permit, str):
            return self._refused(permit)
        start = int(payload["ExclusiveStartKey"]["sk"]["N"]) if "ExclusiveStartKey" in payload else 0
        whole = PAGE_BYTES // self.item_bytes + 1
        count = min(payload.get("Limit", whole), whole, self.counts[segment] - start)
        units = read_units(count * self.item_bytes, consistent=False)
        permit(units)
        self.account.record("read", units, count)
        page: dict[str, Any] = {
            "Count": 1,
            "ScannedCount": count,
            "Items": [{"pk": {"S": f"{segment}-{start}"}}],
            "ConsumedCapacity": {"TableName": "T", "CapacityUnits": units},
        }
        if start + count < self.counts[segment]:
            partition = "one" if segment in self.collections else str(start + count)
            page["LastEvaluatedKey"] = {"pk": {"S": partition}, "sk": {"N": str(start + count)}}
        return reply(page)

    def _put(self, payload: dict[str, Any]) -> Reply:
        assert self._capacity is not None
        ((_, writes),) = payload["RequestItems"].items()
        left, units, reason = [], 0.0, None
        for write in writes:
            item = write["PutRequest"]["Item"]
            cost = write_units(item_size(item))
            refused = self._capacity.admit_write("T", item["pk"], cost)
            if refused is None:
                units += cost
                self.items[item["pk"]["S"]] = item
            else:
                left.append(write)
                reason = refused
        if reason is not None:
            self._note(reason)
        if len(left) == len(writes):
            return self._refused(str(reason), noted=True)
        self.account.record("write", units, len(writes) - len(left))
        return reply(
            {
                "UnprocessedItems": {"T": left} if left else {},
                "ConsumedCapacity": [{"TableName": "T", "CapacityUnits": units}],
            }
        )

    def _refused(self, reason: str, *, noted: bool = False) -> Reply:
        if not noted:
            self._note(reason)
        kind = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
        body = {"__type": kind, "message": "", "ThrottlingReasons": [{"reason": reason, "resource": ""}]}
        return reply(json.dumps(body).encode(), 400)

    def _note(self, reason: str) -> None:
        self.throttled.append((asyncio.get_running_loop().time(), reason))


def counts_for(units: float, item_bytes: int, segments: int, heavy: float = 0.0) -> list[int]:
    """The number of items in each segment, so that reading all costs about `units`; segment 0 has the share `heavy`."""
    items = max(int(units * 8_192 / item_bytes), segments)
    light = int(items * (1 - heavy)) // (segments - 1 if heavy else segments)
    return [int(items * heavy) if heavy and not number else max(light, 1) for number in range(segments)]


def run(fleet: Fleet, changes: Sequence[tuple[float, During]] = ()) -> float:
    """Run the fleet, and make each change at its instant. Returns the virtual seconds that the run took."""

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
    """An export as the command would plan it, or, unless `planned`, with exactly this number of processes."""
    pace = Pace(budget, 1e12 if auto else None)
    affordable = planning.affordable(processes, pace, planning.PAGE_UNITS)
    workers = planning.process_count(affordable, len(counts)) if planned else processes
    table = SizedTable(counts, item_bytes, limits, collections=collections)
    return Fleet(
        export_job(len(counts), concurrency=8), table, planning.segments(len(counts)), budget, workers, pace.most
    )


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
