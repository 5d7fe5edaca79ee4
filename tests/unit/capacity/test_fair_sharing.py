"""Sharing a budget: never more than there is, nothing left while anybody wants it, nobody more than an equal part."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.capacity.fair_sharing import FIRST_PART, share

budgets = st.floats(0.01, 1e6)
demands = st.lists(st.just(0.0) | st.just(math.inf) | st.floats(0.001, 1e6), max_size=40)


@given(budgets, demands)
def test_the_sum_is_the_budget_where_anybody_wants_any(budget: float, demands: list[float]) -> None:
    shares = share(budget, demands)
    assert len(shares) == len(demands)
    assert min(shares, default=0.0) >= 0
    assert sum(shares) == pytest.approx(budget if any(demands) else 0.0)


@given(budgets, demands)
def test_who_wants_nothing_gets_nothing(budget: float, demands: list[float]) -> None:
    assert all(part == 0 for part, demand in zip(share(budget, demands), demands, strict=True) if demand == 0)


@given(budgets, demands)
def test_nobody_is_left_short_while_another_has_more(budget: float, demands: list[float]) -> None:
    shares = share(budget, demands)
    for part, demand in zip(shares, demands, strict=True):
        if part < demand * (1 - 1e-9):
            assert part >= max(shares) * (1 - 1e-9)


@pytest.mark.parametrize(
    ("demands", "expected"),
    [
        ([math.inf] * 4, [25, 25, 25, 25]),
        ([10, math.inf, math.inf], [10, 45, 45]),
        ([10, 20], [45, 55]),
        ([0, 0, math.inf], [0, 0, 100]),
        ([90, 90], [50, 50]),
        ([], []),
        ([0, 0], [0, 0]),
    ],
)
def test_small_demands_are_met_and_the_rest_is_split(demands: list[float], expected: list[float]) -> None:
    assert share(100, demands) == pytest.approx(expected)


@given(budgets, demands, st.data())
def test_the_first_have_what_they_can_use_and_nothing_is_lost(
    budget: float, demands: list[float], data: st.DataObject
) -> None:
    first = data.draw(st.lists(st.floats(0, budget), min_size=len(demands), max_size=len(demands)))
    shares = share(budget, demands, first)
    assert sum(shares) == pytest.approx(budget if any(demands) else 0.0)
    if sum(first) <= budget * FIRST_PART:
        for part, wish, demand in zip(shares, first, demands, strict=True):
            assert part >= min(wish, demand) * (1 - 1e-9)


@pytest.mark.parametrize(
    ("demands", "first", "expected"),
    [
        ([math.inf] * 4, [60, 0, 0, 0], [70, 10, 10, 10]),
        ([math.inf] * 4, [90, 0, 0, 0], [92.5, 2.5, 2.5, 2.5]),
        ([math.inf] * 4, [91, 0, 0, 0], [25, 25, 25, 25]),
        ([40, math.inf, 10], [60, 0, 0], [40, 50, 10]),
        ([5, 5], [60, 0], [50, 50]),
    ],
)
def test_nobody_comes_first_who_could_use_all_of_it_later_too(
    demands: list[float], first: list[float], expected: list[float]
) -> None:
    assert share(100, demands, first) == pytest.approx(expected)
