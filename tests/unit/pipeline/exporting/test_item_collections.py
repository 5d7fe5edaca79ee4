"""Item collections: which pages lie inside one, and when the next is due."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from ddbio.capacity import Governor
from ddbio.capacity.shares import PARTITION_READ
from ddbio.pipeline.exporting.item_collections import CollectionTurns
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.requests import Requester
from tests.kit.fakes import FakeClock

A1 = b'{"id":{"S":"a"},"n":{"N":"1"}}'
A2 = b'{"n": {"N": "2"}, "id": {"S":"a"}}'
A3 = b'{"id":{"S":"a"},"n":{"N":"3"}}'
B1 = b'{"id":{"S":"b"},"n":{"N":"1"}}'
PAGE = 150.0
PAUSE = PAGE / PARTITION_READ


class Reading(NamedTuple):
    """A process that reads segments, whose pages cost PAGE units and take no time."""

    clock: FakeClock
    governor: Governor
    requester: Requester

    def turns(self, *names: str) -> CollectionTurns:
        return CollectionTurns(names or ("id",), self.requester)

    async def pages(self, turns: CollectionTurns, *keys: bytes) -> None:
        for key in keys:
            permit = await self.governor.acquire(lambda: 1.0)
            permit.settle(PAGE)
            turns.passed(key, permit)
            self.clock.advance(10.0)


@pytest.fixture
def reading() -> Reading:
    clock = FakeClock(0.0)
    governor = Governor(10_000, clock)
    return Reading(clock, governor, Requester(governor, Meter(), clock))


async def test_a_page_within_one_partition_key_makes_the_next_one_due(reading: Reading) -> None:
    turns = reading.turns()
    await reading.pages(turns, A1)
    assert turns.due is None
    await reading.pages(turns, A2)
    assert turns.due == pytest.approx(10 + PAUSE)
    assert reading.requester.meter.collections == 1
    await reading.pages(turns, B1)
    assert turns.due is None
    assert reading.requester.meter.collections == 0


async def test_one_that_had_to_wait_may_come_earlier_but_by_no_more_than_a_page(reading: Reading) -> None:
    turns = reading.turns()
    await reading.pages(turns, A1, A2, A3)  # each ten seconds after the one before: far too late
    assert turns.due == pytest.approx(20)


@pytest.mark.parametrize("key", [b'{"id":{"S":"a"}}', b'{"id":{"B":"YQ=="}}'])
async def test_keys_without_a_sort_key_are_all_different(reading: Reading, key: bytes) -> None:
    turns = reading.turns()
    await reading.pages(turns, key, b'{"id":{"N":"1"}}', key)
    assert turns.due is None


async def test_all_attributes_of_the_partition_key_count(reading: Reading) -> None:
    turns = reading.turns("id", "n")
    await reading.pages(turns, A1, A2)
    assert turns.due is None
    await reading.pages(turns, A2)
    assert turns.due is not None


async def test_where_no_partition_key_is_named_nothing_is_due(reading: Reading) -> None:
    turns = CollectionTurns((), reading.requester)
    await reading.pages(turns, A1, A2, A3)
    assert turns.due is None


async def test_where_collections_can_use_all_of_the_budget_none_is_due(reading: Reading) -> None:
    many = [reading.turns() for _ in range(4)]
    for turns in many:
        await reading.pages(turns, A1, A2)
    assert [turns.due for turns in many] == [None] * 4  # 4 x 3,000 of 10,000
    with many.pop():
        pass
    assert None not in [turns.due for turns in many]
    reading.governor.set_rate(500)
    assert many[0].due is None
    for turns in many[1:]:
        with turns:
            pass
    assert many[0].due is not None  # a single one is the largest, whatever the budget
