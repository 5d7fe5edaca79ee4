"""A table on virtual time whose pages cost what their items would, and which bears no more than it is given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ddbio.wire.transport import Reply
from tests.kit.fakes import FakeTable, reply
from tests.kit.faults.capacity import Capacity, Limits
from tests.kit.servers.items import item_size
from tests.kit.servers.units import read_units, write_units

PAGE_BYTES = 1024 * 1024
PLENTY = Limits(read=1e12, write=1e12, partition_read=1e12, partition_write=1e12)


class SizedTable(FakeTable):
    """Segments of `counts` items of `item_bytes` each. A page has one item in it and costs what all would.

    Those of each segment in `collections` have one partition key; all others have one of their own.
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
        """From now on the table bears this."""
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
