"""Lanes: how much is out at once."""

from __future__ import annotations

import asyncio

import pytest

from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.tuning import Tuning

IN_FLIGHT_BYTES, RESTING = Tuning.in_flight_bytes, Tuning.resting_per_lane


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


def waiting(lanes: Lanes, *sizes: int) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(lanes.take(size)) for size in sizes]


async def test_as_many_batches_are_out_as_there_are_lanes() -> None:
    lanes = Lanes(2)
    tasks = waiting(lanes, 1, 1, 1)
    await settle()
    assert [task.done() for task in tasks] == [True, True, False]
    lanes.give(1)
    await settle()
    assert tasks[2].done()


async def test_batches_under_way_are_limited_in_bytes() -> None:
    lanes = Lanes(9)
    tasks = waiting(lanes, IN_FLIGHT_BYTES, 1, IN_FLIGHT_BYTES + 1)
    await settle()
    assert [task.done() for task in tasks] == [True, False, False]
    lanes.give(IN_FLIGHT_BYTES)
    await settle()
    assert [task.done() for task in tasks] == [True, True, False]
    lanes.give(1)
    await settle()
    assert tasks[2].done()


async def test_nobody_overtakes() -> None:
    lanes = Lanes(2)
    tasks = waiting(lanes, 1, IN_FLIGHT_BYTES, 1)
    await settle()
    assert [task.done() for task in tasks] == [True, False, False]


@pytest.mark.parametrize("late", [False, True])
async def test_who_is_cancelled_gives_way(late: bool) -> None:
    """Also where the room was given in the same turn of the loop."""
    lanes = Lanes(1)
    tasks = waiting(lanes, 1, 1, 1)
    await settle()
    if late:
        lanes.give(1)
    tasks[1].cancel()
    await settle()
    assert tasks[1].cancelled()
    assert tasks[2].done() is late
    if not late:
        lanes.give(1)
        await settle()
    assert tasks[2].done()


async def test_lanes_can_be_added_and_taken_away() -> None:
    lanes = Lanes(1)
    tasks = waiting(lanes, 1, 1, 1, 1)
    await settle()
    lanes.limit = 3
    await settle()
    assert [task.done() for task in tasks] == [True, True, True, False]
    lanes.limit = 1
    lanes.give(1)
    lanes.give(1)
    await settle()
    assert not tasks[3].done()
    lanes.give(1)
    await settle()
    assert tasks[3].done()


async def test_a_resting_request_leaves_its_lane_and_is_next_again() -> None:
    lanes, over = Lanes(1), asyncio.Event()
    await lanes.take(IN_FLIGHT_BYTES - 1)
    resting = asyncio.create_task(lanes.rest(pause(over)))
    await settle()
    small, large = waiting(lanes, 1, 2)
    await settle()
    assert small.done()
    over.set()
    await settle()
    assert not resting.done()
    lanes.give(1)
    await settle()
    assert resting.done()
    assert not large.done()
    lanes.give(IN_FLIGHT_BYTES - 1)
    await settle()
    assert large.done()


async def test_so_many_requests_may_rest() -> None:
    lanes, over = Lanes(1), asyncio.Event()
    resting = []
    for _ in range(RESTING):
        await lanes.take(1)
        resting.append(asyncio.create_task(lanes.rest(pause(over))))
        await settle()
    (other,) = waiting(lanes, 1)
    await settle()
    assert not other.done()
    over.set()
    for done in range(RESTING + 1):
        await settle()
        assert sum(task.done() for task in [*resting, other]) == done + 1
        lanes.give(1)


@pytest.mark.parametrize("over", [True, False])
async def test_who_is_cancelled_while_resting_still_returns_its_lane(over: bool) -> None:
    lanes, event = Lanes(1), asyncio.Event()
    await lanes.take(5)
    resting = asyncio.create_task(lanes.rest(pause(event)))
    await settle()
    await lanes.take(5)
    if over:
        event.set()
        await settle()
    resting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await resting
    lanes.give(5)
    lanes.give(5)
    tasks = waiting(lanes, IN_FLIGHT_BYTES, IN_FLIGHT_BYTES)
    await settle()
    assert [task.done() for task in tasks] == [True, False]


async def pause(over: asyncio.Event) -> None:
    await over.wait()
