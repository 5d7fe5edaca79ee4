"""The governor: turns, capacity, and what happens to those who leave the queue."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.capacity import Governor, Permit
from ddbio.clock import Clock, LoopClock
from tests.kit.fakes import FakeClock, FakeTimer, VirtualClock, let_run, run_virtual
from tests.kit.marks import examples
from tests.kit.servers.account import Account

EXACT = VirtualClock()


class Queue:
    """Tasks that wait for a governor, and the order in which they were let through."""

    def __init__(self, governor: Governor, estimate: Callable[[], float] | None = None) -> None:
        self.governor = governor
        self.estimate = estimate
        self.order: list[str] = []
        self.tasks: dict[str, asyncio.Task[Permit]] = {}

    async def ask(self, name: str, units: float = 0.0, due: float | None = None) -> None:
        async def wait() -> Permit:
            permit = await self.governor.acquire(self.estimate or (lambda: units), due)
            self.order.append(name)
            return permit

        self.tasks[name] = asyncio.create_task(wait())
        await let_run()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def queue(clock: FakeClock) -> Queue:
    return Queue(Governor(100, clock))


async def test_requests_go_in_the_order_in_which_they_came(queue: Queue, clock: FakeClock) -> None:
    for name, units in [("large", 500.0), ("small", 1.0), ("large too", 300.0), ("tiny", 0.5)]:
        await queue.ask(name, units)
    assert queue.order == ["large"]
    for seconds, expected in [(4.99, 1), (0.011, 2), (0.02, 3), (2.9, 3), (0.2, 4)]:
        clock.advance(seconds)
        await let_run()
        assert len(queue.order) == expected
    assert queue.order == ["large", "small", "large too", "tiny"]
    assert queue.governor.spent == 801.5


async def test_small_requests_do_not_overtake_a_large_one(queue: Queue, clock: FakeClock) -> None:
    await queue.ask("first", 10)
    await queue.ask("large", 1_000)
    for number in range(50):
        await queue.ask(f"small {number}", 0.01)
    clock.advance(0.11)
    await let_run()
    assert queue.order == ["first", "large"]


async def test_who_is_due_is_the_next_from_that_instant_on(queue: Queue, clock: FakeClock) -> None:
    now = clock.now()
    await queue.ask("first", 100)
    for name, due in [("second", None), ("third", None), ("later", now + 1.9), ("soon", now + 1.5)]:
        await queue.ask(name, 100, due)
    for expected in ("second", "soon", "later", "third"):
        clock.advance(1.001)
        await let_run()
        assert queue.order[-1] == expected


async def test_who_is_due_later_does_not_wait_for_free_capacity(queue: Queue, clock: FakeClock) -> None:
    await queue.ask("at once", 100, clock.now() + 1_000)
    await queue.ask("as soon as it is there", 100, clock.now() + 1_000)
    clock.advance(1.001)
    await let_run()
    assert queue.order == ["at once", "as soon as it is there"]


async def test_who_is_due_and_leaves_has_taken_nothing(queue: Queue, clock: FakeClock) -> None:
    await queue.ask("first", 100)
    await queue.ask("next", 1)
    await queue.ask("leaves", 1_000, clock.now())
    queue.tasks["leaves"].cancel()
    await let_run()
    clock.advance(1.001)
    await let_run()
    assert queue.order == ["first", "next"]
    assert queue.governor.spent == 101


async def test_who_leaves_while_waiting_has_taken_nothing(queue: Queue, clock: FakeClock) -> None:
    await queue.ask("first", 100)
    await queue.ask("leaves", 1_000)
    await queue.ask("next", 1)
    queue.tasks["leaves"].cancel()
    await let_run()
    clock.advance(1.001)
    await let_run()
    assert queue.order == ["first", "next"]
    assert queue.governor.spent == 101


async def test_who_is_admitted_and_cancelled_wakes_the_next(queue: Queue, clock: FakeClock) -> None:
    await queue.ask("first", 100)
    await queue.ask("leaves", 1_000)
    await queue.ask("next", 1)
    clock.advance(1.001)  # "leaves" has its units now, and has not run yet
    queue.tasks["leaves"].cancel()
    await let_run()
    assert queue.tasks["leaves"].cancelled()
    assert queue.order == ["first", "next"]
    assert queue.governor.spent == 101


async def test_a_timeout_is_a_cancellation_like_any_other(clock: FakeClock) -> None:
    governor = Governor(1, clock)
    await governor.acquire(lambda: 50)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await governor.acquire(lambda: 50)
    assert governor.spent == 50


async def test_settling_for_less_wakes_the_next_at_once(queue: Queue) -> None:
    await queue.ask("first", 100)
    await queue.ask("second", 100)
    (await queue.tasks["first"]).settle(0)
    await let_run()
    assert queue.order == ["first", "second"]
    assert queue.governor.spent == 100


async def test_settling_for_more_delays_the_next(queue: Queue, clock: FakeClock) -> None:
    await queue.ask("first", 10)
    await queue.ask("second", 10)
    (await queue.tasks["first"]).settle(200)
    clock.advance(1.99)
    await let_run()
    assert queue.order == ["first"]
    clock.advance(0.02)
    await let_run()
    assert queue.order == ["first", "second"]


async def test_settling_twice_counts_the_last(queue: Queue) -> None:
    await queue.ask("first", 10)
    permit = await queue.tasks["first"]
    permit.settle(4)
    permit.settle(7)
    assert queue.governor.spent == 7


class LateClock(FakeClock):
    """A clock that calls back 5 ms late."""

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeTimer:
        return super().call_at(when + 0.005, callback)


async def test_who_waits_is_let_through_at_the_newest_estimate() -> None:
    clock, cost = LateClock(), 25.0
    queue = Queue(Governor(200_000, clock), lambda: cost)
    for number in range(100):
        await queue.ask(str(number))
    cost = 1_000.0  # a reply has taught this
    clock.advance(0.0052)  # the units that have come by now are those of one request, and one is allowed ahead
    await let_run()
    assert queue.order == ["0", "1", "2"]
    assert queue.governor.spent == 2_025


async def test_a_permit_never_settled_counts_with_its_estimate(queue: Queue) -> None:
    await queue.ask("lost", 42)
    assert queue.governor.spent == 42


async def test_a_new_rate_counts_at_once(queue: Queue, clock: FakeClock) -> None:
    await queue.ask("first", 100)
    await queue.ask("second", 1)
    queue.governor.set_rate(0)
    clock.advance(10_000)
    await let_run()
    assert queue.order == ["first"]
    queue.governor.set_rate(1_000)
    clock.advance(0.101)
    await let_run()
    assert queue.order == ["first", "second"]
    assert queue.governor.rate == 1_000


async def test_nothing_is_scheduled_while_nobody_waits(queue: Queue, clock: FakeClock) -> None:
    await queue.ask("first", 100)
    assert clock.next_timer() == float("inf")
    await queue.ask("second", 1)
    assert clock.next_timer() == pytest.approx(clock.now() + 1)
    clock.advance(2)
    await let_run()
    assert clock.next_timer() == float("inf")


async def test_the_time_in_which_somebody_waited_is_known(queue: Queue, clock: FakeClock) -> None:
    await queue.ask("first", 100)
    clock.advance(0.25)
    assert queue.governor.waited == 0
    await queue.ask("second", 100)
    clock.advance(0.5)
    assert queue.governor.waited == pytest.approx(0.5)
    clock.advance(0.5)
    await let_run()
    assert queue.order == ["first", "second"]
    assert queue.governor.waited == pytest.approx(0.75)


async def test_who_waits_and_what_is_left_unspent_is_known(queue: Queue, clock: FakeClock) -> None:
    await queue.ask("first", 100)
    for name in ("second", "third"):
        await queue.ask(name, 100)
    clock.advance(0.5)
    assert queue.governor.queued == pytest.approx(1.0)
    clock.advance(2.5)  # all are let through after 2 s, and paid for after 3
    await let_run()
    assert queue.governor.queued == pytest.approx(3.0)
    assert queue.governor.used_up == pytest.approx(300)
    clock.advance(10)
    assert queue.governor.used_up == pytest.approx(301)  # but for what a late waker may find


def spend(
    rate: float,
    cost: Callable[[], float],
    *,
    clock: Clock = EXACT,
    seconds: float = 10.0,
    lanes: int = 32,
    stall: float = 0.0,
    estimate: float | None = None,
) -> Account:
    """What a service counts when `lanes` tasks ask for as much as they can get.

    With `stall`, every five seconds everybody pauses for so long.
    """

    async def main() -> Account:
        loop = asyncio.get_running_loop()
        governor, account = Governor(rate, clock), Account(loop.time)

        async def lane() -> None:
            while loop.time() < seconds:
                actual = cost()
                permit = await governor.acquire(partial(float, actual if estimate is None else estimate))
                account.record("read", actual, 1)
                await asyncio.sleep(0.01)
                permit.settle(actual)
                if loop.time() % 5 < stall:
                    await asyncio.sleep(stall - loop.time() % 5)

        await asyncio.gather(*(lane() for _ in range(lanes)))
        return account

    return run_virtual(main())


@examples(15)
@given(st.floats(100, 10_000), st.lists(st.floats(0.5, 200), min_size=1, max_size=20), st.floats(0, 0.04))
def test_as_the_service_counts_the_rate_is_kept_and_used(rate: float, costs: list[float], stall: float) -> None:
    rng = random.Random(5)
    account = spend(rate, lambda: max(rng.choice(costs), rate / 400), stall=stall)
    for window in (1.0, 1.37, 2.0, 5.0):
        assert account.max_window("read", window) <= 1.02 * rate * window + max(*costs, rate / 400) + 1e-6
    assert account.mean("read") >= 0.97 * rate


@pytest.mark.parametrize(("rate", "cost"), [(1_000, 128), (4_000, 25), (20_000, 25), (64_000, 128)])
def test_an_event_loop_that_wakes_late_uses_the_whole_rate(rate: float, cost: float) -> None:
    account = spend(rate, lambda: cost, clock=LoopClock(), seconds=4, lanes=64)
    assert account.mean("read") >= 0.97 * rate
    assert account.max_window("read", 1) <= 1.02 * rate + cost


@pytest.mark.parametrize("rate", [1_000, 4_000])
def test_estimates_that_are_too_high_waste_nothing(rate: float) -> None:
    rng = random.Random(3)
    account = spend(rate, lambda: rng.choice([128, 20]), estimate=128.5, lanes=8)
    assert account.mean("read") >= 0.97 * rate


def test_what_is_throttled_now_and_then_wastes_nothing() -> None:
    """One of fourteen requests."""

    async def main() -> float:
        loop, rng, rate, served = asyncio.get_running_loop(), random.Random(6), 2_000.0, 0.0
        governor = Governor(rate, EXACT)

        async def lane() -> None:
            nonlocal served
            while loop.time() < 10:
                permit = await governor.acquire(lambda: 25.0)
                await asyncio.sleep(0.01)
                if rng.random() < 0.07:
                    permit.refuse()
                else:
                    permit.settle(None)
                    served += 25

        await asyncio.gather(*(lane() for _ in range(16)))
        assert governor.spent == governor.settled == pytest.approx(served)
        return served / loop.time() / rate

    assert run_virtual(main()) >= 0.97


@examples(40)
@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.floats(1, 300), st.none() | st.floats(0, 3)), min_size=1, max_size=40),
    st.lists(st.tuples(st.floats(0, 20), st.floats(1, 1_000)), max_size=5),
)
def test_nobody_waits_for_ever_whoever_leaves(
    requests: list[tuple[float, float, float | None]], rates: list[tuple[float, float]]
) -> None:
    """Requests come, wait, settle, leave; the rate changes. In the end all are through, and every unit is accounted."""

    async def main() -> None:
        governor = Governor(100, EXACT)
        consumed = 0.0

        async def request(begin: float, units: float, patience: float | None) -> None:
            nonlocal consumed
            await asyncio.sleep(begin)
            try:
                async with asyncio.timeout(patience):
                    permit = await governor.acquire(lambda: units)
            except TimeoutError:
                return
            await asyncio.sleep(0.01)
            permit.settle(units / 2)
            consumed += units / 2

        async def change(begin: float, rate: float) -> None:
            await asyncio.sleep(begin)
            governor.set_rate(rate)

        await asyncio.gather(*(request(*one) for one in requests), *(change(*one) for one in rates))
        assert governor.spent == pytest.approx(consumed)

    run_virtual(main())  # raises StuckError where somebody was forgotten


async def test_pairs_per_second_are_measured(record_property: Callable[[str, object], None]) -> None:
    """Not asserted: a machine may be slow. The figure stands in the test report's properties."""
    governor, pairs = Governor(1e12, LoopClock()), 20_000
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(pairs):
        (await governor.acquire(lambda: 25)).settle(25)
    record_property("acquire_settle_pairs_per_second", round(pairs / (loop.time() - began)))
    assert governor.spent == pytest.approx(25 * pairs)


@examples(40)
@given(st.lists(st.tuples(st.floats(0.5, 500), st.booleans(), st.integers(0, 3)), min_size=1, max_size=40))
def test_turns_are_kept_whoever_leaves(requests: list[tuple[float, bool, int]]) -> None:
    """Who asks first goes first; large requests are not overtaken; who leaves takes nothing with them."""

    async def main() -> None:
        governor, order, leaving = Governor(200, EXACT), [], []

        async def request(number: int, units: float) -> None:
            (await governor.acquire(lambda: units)).settle(units)
            order.append(number)

        for number, (units, leaves, turns) in enumerate(requests):
            task = asyncio.create_task(request(number, units))
            if leaves:
                leaving.append(task)
            await let_run(turns + 1)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
        assert order == sorted(order)
        assert {number for number, (_, leaves, _) in enumerate(requests) if not leaves} <= set(order)
        assert governor.spent == pytest.approx(sum(requests[number][0] for number in order))
        assert governor.settled == pytest.approx(governor.spent)

    run_virtual(main())
