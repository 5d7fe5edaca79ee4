"""How many requests are under way: as many as bring more, fewer when throttled; by a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.capacity.lanes import INTERVAL, PATIENCE, AdaptiveLanes

STEP = INTERVAL / 5
RATE = 1_000.0


class Service:
    """Answers `rate(lanes)` requests a second."""

    def __init__(self, rate: Callable[[int], float], *, fewest: int = 1, first: int = 4, most: int = 32) -> None:
        self.rate = rate
        self.lanes = AdaptiveLanes(fewest=fewest, first=first, most=most, now=0.0)
        self.now = self.done = 0.0
        self.throttles = 0
        self.seen = [first]

    def run(self, seconds: float) -> int:
        end = self.now + seconds
        while self.now < end:
            self.now += STEP
            self.done += self.rate(self.lanes.count) * STEP
            self.seen.append(self.lanes.update(self.now, int(self.done), self.throttles))
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


def test_throttling_takes_lanes_away_at_once_and_no_further_than_allowed() -> None:
    service = Service(lambda lanes: RATE * lanes)
    service.run(20 * INTERVAL)
    service.throttles = 1
    assert service.run(STEP / 2) == 24
    for service.throttles in range(2, 40):
        service.run(STEP / 2)
    assert service.lanes.count == 1


def test_it_waits_for_enough_replies() -> None:
    service = Service(lambda lanes: 0.5 * lanes)
    assert service.run(4 / 0.5 - 2 * STEP) == 4
    assert service.run(4 * STEP) == 8


@pytest.mark.parametrize("number", [1, 7, 200])
def test_a_number_that_was_given_stays(number: int) -> None:
    service = Service(lambda lanes: RATE * lanes, fewest=number, first=number, most=number)
    service.run(10 * INTERVAL)
    service.throttles = 5
    service.run(10 * INTERVAL)
    assert set(service.seen) == {number}


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 10_000), st.booleans()), max_size=200))
def test_whatever_comes_it_keeps_to_its_bounds(news: list[tuple[float, int, bool]]) -> None:
    lanes = AdaptiveLanes(fewest=2, first=4, most=32, now=0.0)
    now = done = throttles = 0.0
    for elapsed, replies, throttled in news:
        now, done, throttles = now + elapsed, done + replies, throttles + throttled
        assert 2 <= lanes.update(now, int(done), int(throttles)) <= 32
