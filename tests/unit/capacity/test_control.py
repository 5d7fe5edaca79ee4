"""Steering a job while it runs: by the library, by the control file; and jobs that end early."""

from __future__ import annotations

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from math import inf
from pathlib import Path
from typing import Any

import pytest

from ddbio.capacity import Budget, Control, Pace
from ddbio.errors import DestinationError, LimitReachedError, PreflightError, UsageError
from ddbio.events import Event, Progress, Steered, Warned
from ddbio.jobs import control_file as steering
from ddbio.jobs import planning
from ddbio.jobs.control_file import CONTROL, following
from ddbio.options import AUTO, Capacity
from ddbio.report import Moment
from ddbio.storage.local.sink import LocalSink
from tests.kit.fakes import FakeTable, MemorySink, VirtualClock, let_run, run_virtual
from tests.kit.fleets import Fleet, export_job

PAGE = 16.0
HUNDRED = Capacity(units=100)


async def plan(capacity: Capacity) -> Pace:
    if capacity.units is not None and capacity.units > 10_000:
        raise UsageError("The table has 10,000.")
    return Pace(capacity.units or 0.0)


def fleet_of(workers: int, budget: float, pages: int = 4_000) -> Fleet:
    table = FakeTable([[PAGE] * (pages // 20)] * 20)
    return Fleet(export_job(20, concurrency=8), table, planning.segments(20), budget, workers)


def steer(fleet: Fleet, *steps: tuple[float, Any]) -> None:
    """Run the fleet; at each instant do a step with its control, and in the end stop it."""

    async def main() -> None:
        control, loop = Control(), asyncio.get_running_loop()
        running = asyncio.create_task(fleet.run())
        await asyncio.sleep(0)
        async with control.steering(fleet.coordinator.budget, plan, Capacity(units=fleet.budget)):
            for at, step in steps:
                await asyncio.sleep(at - loop.time())
                if (doing := step(control)) is not None:
                    await doing
            fleet.coordinator.abort()
            await running

    run_virtual(main())


def used(fleet: Fleet, first: float, last: float) -> float:
    events = fleet.table.account.events["read"]
    return sum(event.units for event in events if first <= event.at < last) / (last - first)


@pytest.mark.parametrize("workers", [1, 5])
def test_a_new_capacity_holds_within_two_seconds(workers: int) -> None:
    fleet = fleet_of(workers, 1_000)
    steer(
        fleet,
        (10, lambda control: control.set_capacity(Capacity(units=250))),
        (20, lambda control: control.set_capacity(Capacity(units=2_000))),
        (30, lambda control: None),
    )
    assert used(fleet, 2, 10) == pytest.approx(1_000, rel=0.03)
    assert used(fleet, 12, 20) == pytest.approx(250, rel=0.05)
    assert used(fleet, 22, 30) == pytest.approx(2_000, rel=0.03)


@pytest.mark.parametrize("workers", [1, 5])
def test_a_pause_stops_every_request_within_two_seconds(workers: int) -> None:
    fleet = fleet_of(workers, 1_000)
    steer(
        fleet,
        (10, lambda control: control.pause()),
        (20, lambda control: control.resume()),
        (30, lambda control: None),
    )
    assert used(fleet, 12, 20) == 0
    assert used(fleet, 22, 30) == pytest.approx(1_000, rel=0.03)
    told = {event.reason for event in fleet.events if isinstance(event, Progress)}
    assert told == {"", "paused"}


async def test_a_wish_made_before_the_job_holds_from_its_beginning() -> None:
    control, budget = Control(), Budget(Pace(100))
    await control.set_capacity(Capacity(units=70))
    control.pause()
    async with control.steering(budget, plan, HUNDRED):
        assert (budget.rate, control.paused) == (0, True)
        control.resume()
        assert (budget.rate, budget.pace) == (70, Pace(70))


async def test_the_next_job_begins_with_its_own_capacity() -> None:
    control = Control()
    for capacity in (HUNDRED, Capacity(units=40)):
        budget = Budget(Pace(capacity.units or 0))
        async with control.steering(budget, plan, capacity):
            assert budget.rate == capacity.units
            await control.set_capacity(Capacity(units=70))
            assert budget.rate == 70
    assert await control.set_capacity(HUNDRED) is None  # no job


async def test_the_next_job_does_not_begin_paused() -> None:
    control = Control()
    async with control.steering(Budget(Pace(100)), plan, HUNDRED):
        control.pause()
    budget = Budget(Pace(100))
    async with control.steering(budget, plan, HUNDRED):
        assert not control.paused
        assert budget.rate == 100


def test_a_control_is_good_for_one_event_loop_after_the_other() -> None:
    control = Control()

    async def slow(capacity: Capacity) -> Pace:
        await asyncio.sleep(0)
        return await plan(capacity)

    async def main() -> None:
        budget = Budget(Pace(100))
        async with control.steering(budget, slow, HUNDRED):
            await asyncio.gather(*(control.set_capacity(Capacity(units=units)) for units in (50, 60, 70)))
            assert budget.rate == 70

    for _ in range(2):
        asyncio.run(main())


async def test_a_wish_too_late_for_one_job_is_not_for_the_next() -> None:
    control, first, second, answers = Control(), Budget(Pace(100)), Budget(Pace(100)), asyncio.Event()

    async def slow(capacity: Capacity) -> Pace:
        await answers.wait()
        return await plan(capacity)

    async with control.steering(first, slow, HUNDRED):
        setting = asyncio.create_task(control.set_capacity(Capacity(units=70)))
        await let_run()
    answers.set()
    assert await setting == 70
    async with control.steering(second, plan, HUNDRED):
        assert second.rate == 100


async def test_of_two_jobs_at_once_one_is_refused() -> None:
    control, first, second = Control(), Budget(Pace(100)), Budget(Pace(100))
    async with control.steering(first, plan, HUNDRED):
        with pytest.raises(UsageError, match="one job at a time"):
            async with control.steering(second, plan, HUNDRED):
                raise AssertionError("two jobs")
        await control.set_capacity(Capacity(units=70))
        assert (first.rate, second.rate) == (70, 100)


async def test_wishes_made_while_a_job_begins_keep_their_order() -> None:
    control, budget, answers = Control(), Budget(Pace(100)), asyncio.Event()

    async def slow(capacity: Capacity) -> Pace:
        if capacity.units == 10:
            await answers.wait()
        return await plan(capacity)

    async def begin() -> None:
        async with control.steering(budget, slow, HUNDRED):
            await setting

    await control.set_capacity(Capacity(units=10))
    beginning = asyncio.create_task(begin())
    await let_run()
    setting = asyncio.create_task(control.set_capacity(Capacity(units=20)))
    await let_run()
    answers.set()
    await beginning
    assert (setting.result(), budget.rate) == (20, 20)


async def test_more_than_there_is_is_refused_and_changes_nothing() -> None:
    control, budget = Control(), Budget(Pace(100))
    async with control.steering(budget, plan, HUNDRED):
        with pytest.raises(UsageError):
            await control.set_capacity(Capacity(units=20_000))
        assert budget.rate == 100


def test_the_control_file_is_obeyed_when_it_changes() -> None:
    warned: list[Event] = []
    budget = Budget(Pace(100))
    rates: list[float] = []

    async def main() -> None:
        control, sink = Control(), MemorySink()
        files = [
            {"capacity": 7},  # lies there when the job begins
            None,
            {"capacity": "500"},
            {"capacity": "500"},
            {"paused": True},
            {"paused": False, "capacity": 300},
            {"capacity": "20000"},
            {"rate": 3},
            b"{",
            b"[" * 20_000,
        ]
        await put(sink, files[0])
        async with (
            control.steering(budget, plan, HUNDRED),
            following(sink, control, VirtualClock(), warned.append),
        ):
            for content in files[1:]:
                await asyncio.sleep(0.5)
                await put(sink, content)
                await asyncio.sleep(1.0)
                rates.append(budget.rate)

    async def put(sink: MemorySink, content: Any) -> None:
        if content is None:
            await sink.delete(CONTROL)
        else:
            await sink.put(CONTROL, content if isinstance(content, bytes) else json.dumps(content).encode())

    run_virtual(main())
    assert rates == [100, 500, 500, 0, 300, 300, 300, 300, 300]
    messages = [event.message for event in warned if isinstance(event, Warned)]
    assert len(messages) == 4
    assert "The table has 10,000" in messages[0]
    assert "unknown field `rate` (it knows capacity and paused)" in messages[1]
    assert all(CONTROL in message for message in messages)
    assert [event.message for event in warned if isinstance(event, Steered)] == [
        "Capacity: 500 units/s from now on.",
        "Paused: no new requests.",
        "Capacity: 300 units/s from now on.",
        "Going on.",
    ]


def test_a_file_that_could_not_be_read_for_once_is_no_news() -> None:
    warned: list[Event] = []

    class Flaky(MemorySink):
        reads = 0

        async def get(self, name: str, *, most: int | None = None) -> bytes | None:
            self.reads += 1
            if self.reads in (1, 3, 4):
                raise DestinationError("500")
            return await super().get(name, most=most)

    async def main() -> bool:
        control, sink = Control(), Flaky()
        await sink.put(CONTROL, b'{"paused": true}')  # of an earlier run
        async with following(sink, control, VirtualClock(), warned.append):
            await asyncio.sleep(8.5)
        assert sink.reads == 9
        return control.paused

    assert not run_virtual(main())
    assert len(warned) == 1


@pytest.mark.parametrize(
    ("text", "rate", "told"),
    [
        (b'{"capacity": 1e4}', 1e4, "10,000 units/s from now on"),
        (b'{"capacity": 500.5}', 500.5, "500.5 units/s from now on"),
        (b'\xef\xbb\xbf{"capacity": "auto:70"}', 70, "auto, beginning with 70 units/s, at most 70"),
    ],
)
def test_capacities_in_the_control_file(text: bytes, rate: float, told: str) -> None:
    events: list[Event] = []

    async def main() -> float:
        control, sink, budget = Control(), MemorySink(), Budget(Pace(100))
        async with (
            control.steering(budget, plan, HUNDRED),
            following(sink, control, VirtualClock(), events.append),
        ):
            await asyncio.sleep(0.5)
            await sink.put(CONTROL, text)
            await asyncio.sleep(1)
            return budget.rate

    assert run_virtual(main()) == rate
    assert events == [Steered(f"Capacity: {told}.")]


async def test_what_is_no_regular_file_or_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "_ddbio").mkdir()
    path = tmp_path / CONTROL
    with ThreadPoolExecutor(1) as executor:
        sink = LocalSink(tmp_path, "run", executor=executor)
        os.mkfifo(path)
        with pytest.raises(DestinationError, match="not a regular file"):
            await asyncio.wait_for(sink.get(CONTROL, most=9), 5)
        path.unlink()
        path.mkdir()
        with pytest.raises(DestinationError, match="not a regular file"):
            await sink.get(CONTROL)
        path.rmdir()
        path.write_bytes(b"x" * 10)
        with pytest.raises(DestinationError, match="more than 9 bytes"):
            await sink.get(CONTROL, most=9)
        assert await sink.get(CONTROL, most=10) == b"x" * 10


def test_without_a_place_there_is_no_control_file() -> None:
    async def main() -> None:
        async with following(None, Control(), VirtualClock(), lambda _: None):
            await asyncio.sleep(2 * steering.POLL_SECONDS)

    run_virtual(main())


@pytest.mark.parametrize(
    ("capacity", "most"), [(AUTO, 500.0), (Capacity(units=5_000, auto=True), 500.0), (AUTO, inf), (HUNDRED, None)]
)
def test_an_adaptive_budget_is_checked_each_minute(capacity: Capacity, most: float | None) -> None:
    """The service is asked, but for once does not answer; a budget that knows no limit or is fixed stays as it is."""
    has = [1_000.0, None, 4_000.0, 300.0]
    asked: list[Capacity] = []

    async def look(capacity: Capacity) -> Pace:
        asked.append(capacity)
        if (most := has[min(len(asked), len(has)) - 1]) is None:
            raise PreflightError("No answer.")
        return Pace(most / 2, most)

    async def main() -> list[float | None]:
        control, budget = Control(), Budget(Pace(500, most))
        found: list[float | None] = []
        async with (
            following(None, control, VirtualClock(), lambda _: None),
            control.steering(budget, look, capacity),
        ):
            await asyncio.sleep(0.5)
            for _ in has:
                await asyncio.sleep(steering.TABLE_SECONDS)
                found.append(budget.pace.most)
                assert budget.rate <= (budget.pace.most or 500)
        return found

    assert run_virtual(main()) == ([1_000, 1_000, 4_000, 300] if most == 500 else [most] * 4)
    assert asked == ([capacity] * 4 if most == 500 else [])


@pytest.mark.parametrize(
    ("limits", "least", "most"),
    [({"max_units": 5_000.0}, 5_000, 6_100), ({"max_seconds": 4.0}, 3_900, 5_100)],
)
@pytest.mark.parametrize("workers", [1, 4])
def test_a_job_ends_at_its_limit(limits: dict[str, float], least: float, most: float, workers: int) -> None:
    fleet = fleet_of(workers, 1_000)
    fleet.limits = limits
    run_virtual(fleet.run())
    assert isinstance(fleet.coordinator.failure, LimitReachedError)
    assert least <= fleet.table.account.totals("read").units <= most


def test_a_job_that_is_done_at_its_limit_has_not_failed() -> None:
    fleet = fleet_of(1, 1_000, pages=100)
    fleet.limits = {"max_units": 1_700.0}
    run_virtual(fleet.run())
    assert fleet.coordinator.failure is None
    fleet.ledger.check()


def test_a_burst_spends_what_a_stall_left() -> None:
    def most(burst: float) -> float:
        fleet = Fleet(
            export_job(20, concurrency=8, burst_seconds=burst),
            FakeTable([[PAGE] * 100] * 20),
            planning.segments(20),
            1_000,
            2,
        )
        stall = (5.0, 9.0)

        class Stalling(FakeTable):
            async def __call__(self, *arguments: Any) -> Any:
                now = asyncio.get_running_loop().time()
                if stall[0] <= now < stall[1]:
                    await asyncio.sleep(stall[1] - now)
                return await super().__call__(*arguments)

        fleet.table = Stalling(fleet.table.pages)
        run_virtual(fleet.run())
        return fleet.table.account.max_window("read", 2.0)

    assert most(0) <= 1.02 * 2_000 + 20 * PAGE + 2 * PAGE  # those that were held up come at once
    assert most(3) >= 3_500


def test_the_timeline_and_the_progress_tell_the_course() -> None:
    fleet = fleet_of(2, 1_000, pages=1_000)

    async def main() -> tuple[Moment, ...]:
        await fleet.run()
        return fleet.desk.timeline()

    rows = run_virtual(main())
    assert sum(row.units for row in rows) == fleet.table.account.totals("read").units
    assert sum(row.items for row in rows) == fleet.ledger.written
    assert {row.budget for row in rows} == {1_000}
    assert [row.splits for row in rows[:5]] == [16] * 5
    assert all(row.units == pytest.approx(1_000, rel=0.1) for row in rows[1:10])
    progress = [event for event in fleet.events if isinstance(event, Progress)]
    assert all(event.units <= 1_000 * event.seconds + 2 * PAGE for event in progress)
