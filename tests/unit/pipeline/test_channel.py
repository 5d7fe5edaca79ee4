"""Bounds in bytes: nobody passes them, everybody gets a turn."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddbio.pipeline.channel import ByteBudget, Channel
from tests.kit.fakes import let_run, run_virtual


class Takers:
    """Tasks that take from a budget, and the order in which they got it."""

    def __init__(self, budget: ByteBudget) -> None:
        self.budget = budget
        self.order: list[int] = []

    async def take(self, size: int) -> asyncio.Task[None]:
        async def run() -> None:
            await self.budget.take(size)
            self.order.append(size)

        task = asyncio.create_task(run())
        await let_run()
        return task


async def test_what_fits_goes_at_once_and_the_rest_waits() -> None:
    takers = Takers(ByteBudget(10))
    for size in (4, 6, 1):
        await takers.take(size)
    assert takers.order == [4, 6]
    takers.budget.give(4)
    await let_run()
    assert takers.order == [4, 6, 1]


async def test_a_piece_larger_than_the_limit_goes_alone() -> None:
    takers = Takers(ByteBudget(10))
    for size in (1, 50, 2):
        await takers.take(size)
    assert takers.order == [1]
    takers.budget.give(1)
    await let_run()
    assert takers.order == [1, 50]
    takers.budget.give(50)
    await let_run()
    assert takers.order == [1, 50, 2]


async def test_nobody_overtakes() -> None:
    takers = Takers(ByteBudget(10))
    for size in (8, 9, 1):
        await takers.take(size)
    assert takers.order == [8]


async def test_who_leaves_makes_way_for_the_next() -> None:
    takers = Takers(ByteBudget(10))
    await takers.take(8)
    leaves = await takers.take(9)
    await takers.take(1)
    leaves.cancel()
    await let_run()
    assert takers.order == [8, 1]


async def test_who_gets_it_and_is_cancelled_at_once_gives_it_back() -> None:
    takers = Takers(ByteBudget(10))
    await takers.take(8)
    leaves = await takers.take(9)
    await takers.take(3)
    takers.budget.give(8)
    leaves.cancel()
    await let_run()
    assert takers.order == [8, 3]


@settings(deadline=None)
@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 30), st.floats(0, 3), st.none() | st.floats(0, 2)), max_size=40),
)
def test_the_limit_holds_and_nobody_waits_for_ever(limit: int, takers: list[tuple[int, float, float | None]]) -> None:
    async def main() -> None:
        budget, out = ByteBudget(limit), [0]

        async def take(size: int, begin: float, patience: float | None) -> None:
            await asyncio.sleep(begin)
            try:
                async with asyncio.timeout(patience):
                    await budget.take(size)
            except TimeoutError:
                return
            out.append(size)
            assert sum(out) <= limit or sum(out) == max(out)
            await asyncio.sleep(1)
            out.remove(size)
            budget.give(size)

        await asyncio.gather(*(take(*taker) for taker in takers))

    run_virtual(main())


async def test_a_channel_keeps_the_order_and_ends_when_it_is_closed() -> None:
    channel: Channel[str] = Channel(100)
    for text in ("a", "b", "c"):
        await channel.put(text, 1)
    channel.close()
    assert [text async for text in channel] == ["a", "b", "c"]


async def test_a_full_channel_makes_its_producer_wait() -> None:
    channel: Channel[int] = Channel(10)
    produced: list[int] = []

    async def produce() -> None:
        for number in range(5):
            await channel.put(number, 4)
            produced.append(number)
        channel.close()

    producer = asyncio.create_task(produce())
    await let_run()
    assert produced == [0, 1]
    consumer = aiter(channel)
    assert await anext(consumer) == 0
    await let_run()
    assert produced == [0, 1]  # the piece that is being worked on still takes its room
    assert await anext(consumer) == 1
    await let_run()
    assert produced == [0, 1, 2]
    assert [number async for number in consumer] == [2, 3, 4]
    await producer


async def test_a_piece_larger_than_the_channel_passes() -> None:
    channel: Channel[str] = Channel(10)
    await channel.put("large", 1_000)
    channel.close()
    assert [text async for text in channel] == ["large"]


async def test_a_closed_channel_without_pieces_is_empty() -> None:
    channel: Channel[str] = Channel(10)
    channel.close()
    with pytest.raises(StopAsyncIteration):
        await anext(aiter(channel))
