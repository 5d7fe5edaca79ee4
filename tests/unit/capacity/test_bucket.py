"""The bucket: what it lets through in any window, and what it makes of stalls."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.capacity import Bucket

START = 5_000.0
Taken = list[tuple[float, float]]

rates = st.floats(1, 200_000)
costs = st.lists(st.floats(0.5, 500), min_size=1, max_size=120)
pauses = st.lists(st.floats(0, 5), min_size=1, max_size=120)


def spend(bucket: Bucket, costs: Sequence[float], pauses: Sequence[float]) -> Taken:
    """Take each cost as soon as it may go; before it, do nothing for a while."""
    now, taken = START, []
    for cost, pause in zip(costs, pauses, strict=False):
        now = max(now + pause, bucket.ready_at(now + pause))
        assert bucket.try_take(cost, now)
        taken.append((now, cost))
    return taken


def worst_excess(taken: Taken, rate: float) -> float:
    """By how much the worst window of a second or more passes 1.02 times the rate and one request."""
    sums = list(accumulate((cost for _, cost in taken), initial=0.0))
    return max(
        sums[last + 1] - sums[first] - 1.02 * rate * max(taken[last][0] - taken[first][0], 1.0)
        for first in range(len(taken))
        for last in range(first, len(taken))
    ) - max(cost for _, cost in taken)


@given(rates, costs, pauses)
def test_no_window_holds_more_than_the_rate_and_one_request(
    rate: float, costs: list[float], pauses: list[float]
) -> None:
    taken = spend(Bucket(rate, START), costs, pauses)
    assert worst_excess(taken, rate) <= 1e-6 * rate


@given(rates, st.lists(st.floats(0.001, 0.1), min_size=200, max_size=400), st.floats(0, 1), st.floats(0, 1))
def test_refusals_add_a_tenth_at_most(rate: float, seconds: list[float], refused: float, idle: float) -> None:
    """To all that is asked for, be it served or refused; each request costs so many seconds' worth."""
    rng = random.Random(4)
    bucket, taken, now = Bucket(rate, START), Taken(), START
    for cost in (rate * each for each in seconds):
        now = bucket.ready_at(now + (rng.random() if rng.random() < idle / 20 else 0))
        assert bucket.try_take(cost, now)
        taken.append((now, cost))
        if rng.random() < refused:
            bucket.refuse(cost, now)
    assert worst_excess(taken, 1.135 / 1.02 * rate) <= 1e-6 * rate


def test_what_is_refused_in_excess_is_spent_slowly() -> None:
    bucket, now, taken = Bucket(100, START), START, 0
    assert bucket.try_take(51, now)
    bucket.refuse(51, now)
    while now < START + 51:
        now = bucket.ready_at(now)
        taken += bucket.try_take(1, now)
    assert taken == pytest.approx(1.01 * 5_100 - 51, abs=2)
    assert bucket.credit == pytest.approx(0, abs=1)


@given(rates, costs)
def test_who_always_waits_gets_the_whole_rate(rate: float, costs: list[float]) -> None:
    taken = spend(Bucket(rate, START), costs, [0.0] * len(costs))
    assert taken[-1][0] - START == pytest.approx(sum(costs[:-1]) / rate, rel=1e-6, abs=1e-5)


@given(st.floats(10, 50_000), st.floats(1, 200), st.floats(0.001, 0.1))
def test_a_stall_is_made_up_for_without_a_burst(rate: float, cost: float, stall: float) -> None:
    bucket = Bucket(rate, START)
    bucket.advance(START + stall)
    seconds = 200 * stall + 100 * cost / rate
    taken, now = 0.0, START + stall
    while (now := bucket.ready_at(now)) < START + seconds and taken < 2_000 * cost:
        assert bucket.try_take(cost, now)
        taken += cost
    assert taken - cost <= rate * (now - START) * (1 + 1e-6)
    if now >= START + seconds:
        assert taken >= 0.97 * rate * seconds


@given(st.floats(20, 50_000), st.floats(0.0001, 0.008))
def test_who_is_woken_late_each_time_still_gets_the_whole_rate(rate: float, late: float) -> None:
    bucket, cost, now, taken = Bucket(rate, START), 1.0, START, 0.0
    while now < START + 2:
        now = bucket.ready_at(now) + late
        while bucket.try_take(cost, now):
            taken += cost
    assert taken >= 0.97 * rate * (now - START)
    assert taken - cost <= rate * (now - START) * (1 + 1e-6)


def test_a_request_larger_than_the_rate_is_served_and_paid_for() -> None:
    bucket = Bucket(10, START)
    assert bucket.try_take(400, START)
    assert bucket.ready_at(START + 1) == pytest.approx(START + 40)
    assert not bucket.try_take(1, START + 39.99)
    assert bucket.try_take(1, START + 40)


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 300), st.floats(0, 300)), max_size=60), rates)
def test_the_instant_foretold_is_the_instant_at_which_it_may_go(
    steps: list[tuple[float, float, float]], rate: float
) -> None:
    bucket, now = Bucket(rate, START), START
    for pause, cost, unused in steps:
        now += pause
        bucket.try_take(cost, now)
        bucket.give_back(unused, now)
        ready = bucket.ready_at(now)
        assert ready >= now
        if ready > now + 1e-4:
            early = Bucket(rate, START)
            early.__dict__.update(bucket.__dict__)
            assert not early.try_take(0, ready - 1e-4)
        now = ready
        assert bucket.try_take(0, now)


def test_units_given_back_serve_the_next_request_at_once() -> None:
    bucket = Bucket(100, START)
    bucket.try_take(128, START)
    bucket.give_back(120, START + 0.01)
    assert bucket.ready_at(START + 0.01) == pytest.approx(START + 0.08, abs=0.001)


def test_units_charged_afterwards_put_it_into_debt() -> None:
    bucket = Bucket(100, START)
    bucket.try_take(10, START)
    bucket.give_back(-40, START)
    assert bucket.ready_at(START) == pytest.approx(START + 0.5)


def test_a_new_rate_keeps_the_debt() -> None:
    bucket = Bucket(100, START)
    bucket.try_take(100, START)
    bucket.set_rate(10, START + 0.5)
    assert bucket.ready_at(START + 0.5) == pytest.approx(START + 5.5)


def test_at_rate_0_nothing_may_start_even_without_debt() -> None:
    bucket = Bucket(0, START)
    assert not bucket.try_take(0, START)
    assert bucket.ready_at(START) == math.inf


def test_at_rate_0_a_debt_is_never_paid() -> None:
    bucket = Bucket(1, START)
    bucket.try_take(1, START)
    bucket.set_rate(0, START)
    assert bucket.ready_at(START + 1_000) == math.inf
    bucket.set_rate(1, START + 1_000)
    assert bucket.ready_at(START + 1_000) == pytest.approx(START + 1_001)


def test_an_earlier_instant_changes_nothing() -> None:
    bucket = Bucket(100, START)
    bucket.try_take(100, START)
    bucket.advance(START + 0.5)
    bucket.advance(START)
    assert bucket.level == pytest.approx(-50)


@pytest.mark.parametrize("burst", [0.0, 5.0])
@pytest.mark.parametrize("unused", [0.0, 20.0])
def test_what_is_used_up_is_what_requests_took_and_kept(burst: float, unused: float) -> None:
    """A request every 10 ms for half the rate; with `unused`, it had taken more and gives that back later."""
    bucket, used = Bucket(1_000, START, burst), []
    for tick in range(2_001):
        now = START + tick * 0.01
        if tick % 100 == 0:
            used.append(bucket.used_up)
        assert bucket.try_take(5 + unused, now)
        bucket.give_back(unused, now + 0.005)
    assert [after - before for before, after in pairwise(used)][8:] == pytest.approx([500] * 12, rel=0.03)


def test_a_burst_is_used_up_when_it_is_taken() -> None:
    bucket = Bucket(100, START, 5.0)
    bucket.advance(START + 9)
    assert bucket.used_up == pytest.approx(1)  # what a late waker may find
    bucket.try_take(400, START + 9)
    assert bucket.used_up == pytest.approx(401)
    bucket.give_back(150, START + 9)
    assert bucket.used_up == pytest.approx(251)
    bucket.give_back(-1_000, START + 9)
    assert bucket.used_up == pytest.approx(500)
