"""The budget that adapts: to tables that bear more, less, or first the one and then the other."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.capacity import Budget, Pace
from ddbio.capacity.adaptive import UNPROCESSED, index_of, scope
from ddbio.events import Progress
from ddbio.jobs import planning
from tests.kit.fakes import FakeTable, error_reply, run_virtual
from tests.kit.faults.capacity import Capacity, Limits
from tests.kit.fleets import Fleet, export_job
from tests.kit.marks import examples, few

TABLE = "TableReadProvisionedThroughputExceeded"
RANGE = "TableWriteKeyRangeThroughputExceeded"
ACCOUNT = "TableWriteAccountLimitExceeded"


class Table:
    """Bears `capacity` units a second, and a little more for a while; whoever asks uses the whole budget."""

    def __init__(self, budget: Budget, capacity: float, saved: float, reason: str = TABLE) -> None:
        self.budget = budget
        self.reason = reason
        self.capacity = capacity
        self.level = self.size = saved * capacity
        self.now = self.served = 0.0
        self.throttles: Counter[str] = Counter()
        self.rates: list[float] = []

    def run(self, seconds: float, *, hungry: bool = True) -> list[float]:
        """The rates from here on, one every half a second."""
        first = len(self.rates)
        for _ in range(round(seconds * 2)):
            self.now += 0.5
            asked = self.budget.rate if hungry else 0.0
            self.served += min(asked / 2, self.level + self.capacity / 2)
            self.level = min(self.level + (self.capacity - asked) / 2, self.size)
            if self.level < 0:
                self.throttles[self.reason] += 1
                self.level = 0.0
            self.budget.observe(self.throttles, self.now, hungry=hungry, served=self.served)
            self.rates.append(self.budget.rate)
        return self.rates[first:]


@examples(20)
@given(st.floats(20, 100_000), st.floats(0.05, 20), st.floats(0.1, 10), st.sampled_from([TABLE, ACCOUNT]))
def test_it_settles_near_what_the_table_bears(start: float, times: float, saved: float, reason: str) -> None:
    table = Table(Budget(Pace(start, float("inf"))), start * times, saved, reason)
    table.run(400)
    settled = table.run(600)
    assert max(settled) - min(settled) <= 0.3 * max(settled)
    assert 0.8 * table.capacity <= sum(settled) / len(settled) <= 1.1 * table.capacity


@pytest.mark.parametrize("factor", [0.2, 0.6, 1.5, 4.0])
def test_it_follows_a_step_of_the_capacity(factor: float) -> None:
    table = Table(Budget(Pace(1_000, float("inf"))), 2_000, 1.0)
    table.run(300)
    table.capacity *= factor
    table.run(90)
    settled = table.run(300)
    assert max(settled) - min(settled) <= 0.3 * max(settled)
    assert 0.8 * table.capacity <= sum(settled) / len(settled) <= 1.1 * table.capacity


def test_first_throttling_halves_it_and_the_most_is_not_passed() -> None:
    budget = Budget(Pace(500, 800))
    table = Table(budget, 1e9, 1.0)
    assert table.run(30)[-1] == 800
    table.throttles[TABLE] += 3
    table.run(0.5)
    assert budget.rate == 400
    assert budget.reason(table.now) == "throttled by the table: down from 800 to 400 units/s"
    table.throttles[TABLE] += 3  # still of what was sent before
    assert min(table.run(1.5)) == 400
    assert max(table.run(600)) == 800
    assert budget.reason(table.now) == ""


def test_a_further_throttling_cuts_by_what_was_served() -> None:
    budget = Budget(Pace(1_000, 2_000))
    budget.observe({TABLE: 1}, 10, hungry=True, served=9_000)
    assert budget.rate == 500
    budget.observe({TABLE: 2}, 12.5, hungry=True, served=9_000 + 2.5 * 490)  # it bears just a little less
    assert budget.rate == 425
    budget.observe({TABLE: 3}, 15, hungry=True, served=9_000 + 2.5 * 490 + 2.5 * 300)  # much less
    assert budget.rate == 212.5
    budget.observe({TABLE: 4}, 22, hungry=True, served=9_000 + 2.5 * 490 + 2.5 * 300)  # nobody has asked for long
    assert budget.rate == 212.5 * 0.85


def test_it_recovers_in_fifteen_seconds_and_passes_in_thirty() -> None:
    table = Table(Budget(Pace(1_000, float("inf"))), 1e9, 1.0)
    table.run(10)
    for _ in range(2):
        table.throttles[TABLE] += 1
        table.run(60)
    before = table.budget.rate
    table.throttles[TABLE] += 1
    rates = table.run(61)[::2]
    assert rates[0] == pytest.approx(0.85 * before)
    assert rates[15:18] == pytest.approx([before] * 3, rel=0.001)
    assert rates[31] == pytest.approx(1.15 * before, rel=0.01)
    assert rates[60] > 4 * before


def test_when_the_table_gets_more_it_goes_on_from_where_it_was() -> None:
    budget = Budget(Pace(500, 800))
    table = Table(budget, 1e9, 1.0)
    table.run(30)
    budget.limit(1_200)
    rates = table.run(30)
    assert all(later - earlier in (0, 50) for earlier, later in pairwise(rates))
    assert rates[-1] == 1_200
    budget.limit(300)
    assert (budget.rate, max(table.run(30))) == (300, 300)
    fixed = Budget(Pace(500))
    fixed.limit(300)
    assert fixed.rate == 500


def test_it_grows_only_while_requests_wait() -> None:
    table = Table(Budget(Pace(500, 800)), 1e9, 1.0)
    assert set(table.run(30, hungry=False)) == {500}
    rates = table.run(5)
    assert all(later - earlier in (0, 50) for earlier, later in pairwise(rates))
    assert rates[-1] > 600


def test_the_accounts_limit_slows_more() -> None:
    budget = Budget(Pace(1_000, 2_000))
    budget.observe({ACCOUNT: 1, TABLE: 5}, 10, hungry=True, served=0)
    assert budget.rate == 250
    assert "the account's limit" in budget.reason(10)


def test_it_grows_beside_hot_keys() -> None:
    table = Table(Budget(Pace(1_000, 2_000)), 1e9, 1.0)
    for _ in range(20):
        table.throttles[RANGE] += 3
        table.run(1)
    assert table.budget.rate == 2_000


def test_hot_keys_and_unprocessed_items_do_not_slow_the_job() -> None:
    budget = Budget(Pace(1_000, 2_000))
    budget.observe({RANGE: 1}, 10, hungry=False, served=0)
    budget.observe({RANGE: 1, UNPROCESSED: 7}, 12, hungry=False, served=0)
    assert budget.rate == 1_000
    assert "a few items" in budget.reason(12)
    budget.observe({RANGE: 2, UNPROCESSED: 8}, 14, hungry=False, served=0, written=100, returned=90)
    assert budget.rate == 1_000


def test_a_trickle_of_unprocessed_items_slows_nothing() -> None:
    """A hundredth of the keys are hot: each reply leaves some of them, again and again."""
    budget = Budget(Pace(1_000, 1_200))
    for tick in range(1, 240):
        budget.observe({UNPROCESSED: 10 * tick}, tick / 2, hungry=True, served=0, written=500 * tick, returned=5 * tick)
        assert budget.rate >= 1_000
    assert budget.rate == 1_200
    assert "a few items" in budget.reason(120)


def test_unprocessed_items_slow_the_job_to_a_tenth_at_least() -> None:
    budget = Budget(Pace(1_000, 2_000))
    rates = []
    for tick in range(1, 240):
        budget.observe({UNPROCESSED: tick}, tick / 2, hungry=False, served=0, written=90 * tick, returned=10 * tick)
        rates.append(budget.rate)
    assert rates[0] == 1_000
    assert 500 in rates
    assert rates[-1] == min(rates) == 100


def test_an_index_that_starves_is_named() -> None:
    reason = "IndexWriteProvisionedThroughputExceeded by-date"
    budget = Budget(Pace(1_000, 2_000))
    budget.observe({reason: 1}, 10, hungry=True, served=0)
    assert budget.reason(10).startswith("throttled by index by-date")
    assert index_of(reason) == "by-date"


@pytest.mark.parametrize(
    ("throttles", "told"),
    [
        ({"IndexWriteAccountLimitExceeded by-date": 9}, "the account's limit"),
        ({ACCOUNT: 1, "IndexWriteProvisionedThroughputExceeded by-date": 9}, "the account's limit"),
        ({TABLE: 50, "IndexWriteProvisionedThroughputExceeded by-date": 1}, "the table"),
        ({TABLE: 1, "IndexWriteProvisionedThroughputExceeded by-date": 50}, "index by-date"),
        ({TABLE: 1, "IndexWriteKeyRangeThroughputExceeded by-date": 50, UNPROCESSED: 99}, "the table"),
    ],
)
def test_what_throttles_is_told(throttles: dict[str, int], told: str) -> None:
    budget = Budget(Pace(1_000, 2_000))
    budget.observe(throttles, 10, hungry=True, served=0)
    assert budget.reason(10).startswith(f"throttled by {told}: down from 1,000 to ")
    budget.set(Pace(50))
    assert budget.reason(10) == ""


def test_the_least_is_kept_and_no_fall_is_told_of() -> None:
    budget = Budget(Pace(1, 2_000))
    budget.observe({TABLE: 1}, 10, hungry=True, served=0)
    assert (budget.rate, budget.reason(10)) == (1, "throttled by the table")
    assert index_of(RANGE) is None


def test_a_fixed_budget_stays_and_tells() -> None:
    budget = Budget(Pace(1_000))
    budget.observe({TABLE: 100}, 10, hungry=True, served=0)
    assert budget.rate == 1_000
    assert budget.reason(10) == "throttled by the table"


def test_pausing_keeps_the_rate() -> None:
    budget = Budget(Pace(1_000, 2_000))
    budget.paused = True
    for second in range(10):
        budget.observe({}, second, hungry=True, served=0)
    assert (budget.rate, budget.reason(0)) == (0, "paused")
    budget.paused = False
    assert budget.rate == 1_000


def test_reasons_are_told_apart() -> None:
    assert [scope(reason) for reason in (TABLE, RANGE, ACCOUNT, "RequestLimitExceeded", "ThrottlingException")] == [
        *("table", "range", "account", "account", "table")
    ]


@pytest.mark.parametrize("workers", few([1, 3], 0))
def test_a_whole_fleet_settles_on_what_the_table_bears(workers: int) -> None:
    page, capacity = 16.0, 3_000.0
    pages = [[page] * 1_400 for _ in range(12)]
    table = FakeTable(pages)
    fleet = Fleet(export_job(len(pages), concurrency=8), table, planning.segments(len(pages)), 1_000, workers, most=1e6)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limits = Capacity(Limits(read=capacity, write=1), loop.time)

        def admit(operation: str, payload: dict[str, object]) -> object:
            permit = limits.admit_read("T", None, int(str(payload["Segment"])), len(pages))
            if isinstance(permit, str):
                return error_reply("ProvisionedThroughputExceededException")
            permit(page)
            return None

        table.hook = admit  # type: ignore[assignment]
        await fleet.run()

    run_virtual(main())
    fleet.ledger.check()
    spent = [second.units for second in table.account.per_second("read")]
    settled = spent[len(spent) // 3 : -5]
    rates = [event.budget or 0.0 for event in fleet.events if isinstance(event, Progress) and event.seconds >= 40]
    assert max(rates) - min(rates) <= 0.3 * max(rates)
    assert sum(settled) / len(settled) >= 0.85 * capacity
    assert sum(usage.throttles for usage in fleet.coordinator.usages) < 0.05 * sum(map(len, pages))


@pytest.mark.parametrize(("latency", "most"), [(0.005, 2_000), (0.025, 800)])
def test_a_fleet_that_uses_all_grows_also_where_it_hardly_waits(latency: float, most: float) -> None:
    """A single lane waits for the service, too: it uses all of its share, or 80% of it."""
    pages = [[16.0] * 800 for _ in range(4)]
    table = FakeTable(pages, latency=latency)
    fleet = Fleet(export_job(len(pages), concurrency=1), table, planning.segments(4), 800, 1, most=2_000)
    run_virtual(fleet.run())
    assert max(event.budget or 0.0 for event in fleet.events if isinstance(event, Progress)) == most
