"""How many requests are under way: as many as bring more, fewer when throttled; by a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.capacity.concurrency import INTERVAL, LONGEST, PATIENCE, SAMPLES, AdaptiveConcurrency

STEP = INTERVAL / 5
RATE = 1_000.0


class Service:
    """Answers `rate(lanes)` requests a second, and refuses `share` times as many more; `waiting`: so much of the time
    requests wait for capacity.
    """

    def __init__(self, rate: Callable[[int], float], *, fewest: int = 1, first: int = 4, most: int = 32) -> None:
        self.rate = rate
        self.lanes = AdaptiveConcurrency(fewest=fewest, first=first, most=most, now=0.0)
        self.now = self.done = self.throttles = self.waited = 0.0
        self.share = self.waiting = 0.0
        self.seen = [first]

    def run(self, seconds: float) -> int:
        end = self.now + seconds
        while self.now < end:
            self.now += STEP
            self.done += self.rate(self.lanes.count) * STEP
            self.throttles += self.share * self.rate(self.lanes.count) * STEP
            self.waited += self.waiting * STEP
            self.seen.append(
                self.lanes.update(self.now, done=int(self.done), throttles=int(self.throttles), waited=self.waited)
            )
        return self.lanes.count


def test_it_grows_while_that_brings_more() -> None:
    service = Service(lambda lanes: RATE * lanes)
    assert service.run(20 * INTERVAL) == 32
    assert sorted(service.seen) == service.seen


def test_it_stays_where_more_lanes_bring_nothing() -> None:
    service = Service(lambda lanes: RATE * min(lanes, 8))
    assert service.run(6 * INTERVAL) == 8
    assert 32 not in service.seen


def test_it_tries_again_later() -> None:
    service = Service(lambda lanes: RATE * min(lanes, 4))
    assert service.run(5 * INTERVAL) == 4
    service.rate = lambda lanes: RATE * lanes
    assert service.run(3 * PATIENCE * INTERVAL) == 32


def test_what_is_too_many_is_taken_back_seldom_and_soon() -> None:
    service = Service(lambda lanes: RATE * min(lanes, 8))
    service.run(200 * INTERVAL)
    assert service.seen.count(16) / len(service.seen) < 0.15


def test_throttling_removes_lanes_once_an_interval() -> None:
    service = Service(lambda lanes: RATE * lanes)
    service.run(20 * INTERVAL)
    service.share = 1.0
    seen = [service.run(INTERVAL) for _ in range(12)]
    assert 24 <= seen[0] < 32
    assert all(0.7 * before <= after for before, after in pairwise(seen[:5]))
    service.share = 1e9
    assert service.run(20 * INTERVAL) == 1


@pytest.mark.parametrize("share", [0.003, 0.01, 0.03])
def test_stray_throttles_take_no_lanes_away(share: float) -> None:
    service = Service(lambda lanes: RATE * lanes)
    service.share = share
    assert service.run(20 * INTERVAL) == 32
    assert sorted(service.seen) == service.seen


def test_lanes_stay_the_same_while_requests_wait_for_capacity() -> None:
    service = Service(lambda lanes: RATE * lanes)
    service.waiting, service.share = 0.95, 0.2
    service.run(20 * INTERVAL)
    assert set(service.seen) == {4}


def test_a_step_that_reaches_the_budget_is_kept() -> None:
    service = Service(lambda lanes: RATE * min(lanes, 4.6))
    assert service.run(INTERVAL + STEP / 2) == 8
    service.waiting = 1.0
    assert service.run(20 * INTERVAL) == 8


def test_it_waits_for_enough_replies_but_not_for_ever() -> None:
    service = Service(lambda lanes: 2 * lanes)
    assert service.run(SAMPLES / 2 - 2 * STEP) == 4
    assert service.run(4 * STEP) == 8
    stuck = Service(lambda lanes: 0)
    assert stuck.run(LONGEST - STEP / 2) == 4
    assert stuck.run(2 * STEP) == 8
    assert stuck.run(LONGEST + STEP) == 4


@pytest.mark.parametrize("number", [1, 7, 200])
def test_a_number_that_was_given_stays(number: int) -> None:
    service = Service(lambda lanes: RATE * lanes, fewest=number, first=number, most=number)
    service.run(10 * INTERVAL)
    service.share = 5
    service.run(10 * INTERVAL)
    assert set(service.seen) == {number}


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 10_000), st.booleans()), max_size=200))
def test_whatever_comes_it_keeps_to_its_bounds(news: list[tuple[float, int, bool]]) -> None:
    lanes = AdaptiveConcurrency(fewest=2, first=4, most=32, now=0.0)
    now = done = throttles = 0.0
    for elapsed, replies, throttled in news:
        now, done, throttles = now + elapsed, done + replies, throttles + throttled
        assert 2 <= lanes.update(now, done=int(done), throttles=int(throttles), waited=now / 2) <= 32
