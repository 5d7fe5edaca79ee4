"""Capacity as the proxy enforces it: exact over time, by table and by partition, and honest about why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.conftest import StartCounting
from tests.kit.faults.capacity import Capacity, Limits
from tests.kit.faults.proxy import FaultProxy
from tests.kit.servers.client import call, put_of
from tests.kit.servers.items import make_item
from tests.kit.servers.tables import Table

TABLE = "TableWriteProvisionedThroughputExceeded"
KEY_RANGE = "TableWriteKeyRangeThroughputExceeded"


class Time:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def key(number: int) -> dict[str, str]:
    return {"S": f"k{number}"}


def writes_in(capacity: Capacity, keys: Sequence[Any], units: float = 1) -> list[str | None]:
    return [capacity.admit_write("T", key, units) for key in keys]


def test_a_table_takes_its_burst_and_then_its_rate() -> None:
    time = Time()
    capacity = Capacity(Limits(read=1, write=10, burst=3), time)
    assert writes_in(capacity, [key(0)] * 31) == [None] * 30 + [TABLE]
    taken = 0
    for _ in range(1000):
        time.now += 0.03125
        taken += capacity.admit_write("T", key(0), 1) is None
    assert taken == int(1000 * 0.03125 * 10)
    time.now += 1000
    assert writes_in(capacity, [key(0)] * 31).count(None) == 30


def test_a_refused_put_costs_nothing_and_a_smaller_one_may_pass() -> None:
    capacity = Capacity(Limits(read=1, write=10), Time())
    assert [capacity.admit_write("T", key(0), units) for units in (6, 6, 4, 1)] == [None, TABLE, None, TABLE]


def test_a_put_larger_than_the_bucket_waits_and_is_paid_off() -> None:
    time = Time()
    capacity = Capacity(Limits(read=1, write=10), time)
    assert writes_in(capacity, [key(0)], 400) == [None]
    time.now += 39.8
    assert writes_in(capacity, [key(0)], 9) == [TABLE]
    time.now += 0.125
    assert writes_in(capacity, [key(0)], 9) == [None]
    assert capacity.admit_write("Other", key(0), 1) is None


def test_a_hot_partition_is_refused_while_others_take_more() -> None:
    capacity = Capacity(Limits(read=1, write=100, partitions=4, partition_write=20), Time())
    hot = writes_in(capacity, [key(0)] * 25)
    assert hot == [None] * 20 + [KEY_RANGE] * 5
    spread = writes_in(capacity, [key(number) for number in range(1, 200)])
    assert spread.count(None) == 60
    assert spread.count(KEY_RANGE) == 139


def test_reads_go_into_debt_by_one_page_at_most() -> None:
    time = Time()
    capacity = Capacity(Limits(read=100, write=1), time)
    first = capacity.admit_read("T", None, 0, 1)
    assert callable(first)
    first(128.5)
    assert capacity.admit_read("T", None, 0, 1) == "TableReadProvisionedThroughputExceeded"
    time.now += 0.285
    assert isinstance(capacity.admit_read("T", None, 0, 1), str)
    time.now += 0.715
    # The price of the last page is taken at once: two at a time don't get in for the tokens of one.
    assert callable(capacity.admit_read("T", None, 0, 1))
    assert isinstance(capacity.admit_read("T", None, 0, 1), str)


def test_a_page_that_was_not_served_costs_nothing() -> None:
    capacity = Capacity(Limits(read=100, write=1), Time())
    for _ in range(300):
        settle = capacity.admit_read("T", None, 0, 1)
        assert callable(settle)
        settle(0)


def test_segments_stand_for_partitions_indexes_for_themselves() -> None:
    capacity = Capacity(Limits(read=1000, write=1, partitions=2, partition_read=10), Time())
    for segment in (0, 2):
        settle = capacity.admit_read("T", None, segment, 4)
        assert callable(settle)
        settle(20)
    hot = "TableReadKeyRangeThroughputExceeded"
    assert [capacity.admit_read("T", None, segment, 4) for segment in range(4)] == [hot] * 4
    settle = capacity.admit_read("T", "by-size", 0, 4)
    assert callable(settle)
    settle(20)
    assert capacity.admit_read("T", "by-size", 1, 4) == "IndexReadKeyRangeThroughputExceeded"


@pytest.fixture
def slow() -> Limits:
    """So little that nothing comes back within a test."""
    return Limits(read=0.001, write=0.001, burst=10_000)


async def test_a_batch_is_taken_in_part_and_then_refused(counting: StartCounting, slow: Limits) -> None:
    server = await counting(Table(mode="stored"))
    puts = [put_of({**make_item("small", 0, index), "more": {"S": "x" * 1000}}) for index in range(25)]
    batch: dict[str, Any] = {"RequestItems": {"T": puts}, "ReturnConsumedCapacity": "TOTAL"}
    async with FaultProxy(server.url, limits=slow) as proxy:
        reply = (await call(proxy, "BatchWriteItem", **batch)).json
        assert reply["UnprocessedItems"] == {"T": puts[5:]}
        assert reply["ConsumedCapacity"] == [{"TableName": "T", "CapacityUnits": 10}]
        refused = await call(proxy, "BatchWriteItem", RequestItems=reply["UnprocessedItems"])
        assert (refused.status, refused.code) == (400, "ProvisionedThroughputExceededException")
        arn = "arn:aws:dynamodb:us-east-1:123456789012:table/T"
        assert refused.json["ThrottlingReasons"] == [{"reason": TABLE, "resource": arn}]
        assert proxy.account.throttled == {TABLE: 21}
        assert proxy.account.told.totals("write") == (10, 5, 1)
    assert server.account.totals("write").items == len(server.stored()) == 5


async def test_scans_are_refused_when_the_units_are_spent(counting: StartCounting, slow: Limits) -> None:
    server = await counting(Table(items=300))
    async with FaultProxy(server.url, limits=slow) as proxy:
        # 10 units: a page of 6 or 6.5, one more into debt, and no other.
        replies = [await call(proxy, "Scan", TableName="T", ReturnConsumedCapacity="TOTAL") for _ in range(4)]
        assert [reply.status for reply in replies] == [200, 200, 400, 400]
        reasons = replies[2].json["ThrottlingReasons"]
        assert [entry["reason"] for entry in reasons] == ["TableReadProvisionedThroughputExceeded"]
        assert proxy.account.served.pages == server.account.totals("read").requests == 2
        assert proxy.account.told.totals("read").units == server.account.totals("read").units
        assert (await call(proxy, "Scan", TableName="Other")).code == "ResourceNotFoundException"
