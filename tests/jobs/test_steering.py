"""A job's budget, held against a table that changes while the job runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ddbio import Capacity, Connection, Control, ExportOptions, export_table
from ddbio.errors import UsageError
from ddbio.events import Event, JobPlanned
from tests.kit.servers.aws import REGION
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.tables import Table


async def test_a_new_capacity_is_held_against_what_the_table_has_then(tmp_path: Path) -> None:
    table, control, planned = Table(items=300, capacity=(1_000, 1_000)), Control(), asyncio.Event()
    plans: list[JobPlanned] = []

    def observe(event: Event) -> None:
        if isinstance(event, JobPlanned):
            plans.append(event)
            planned.set()

    control.pause()
    await control.set_capacity(Capacity(units=900))
    async with asyncio.timeout(60), CountingServer(table) as server:
        options = ExportOptions(
            table="T",
            destination=str(tmp_path),
            connection=Connection(region=REGION, endpoint_url=server.url),
            capacity=Capacity(units=100),
            processes=2,
            segments=8,
        )
        job = asyncio.create_task(export_table(options, observer=observe, control=control))
        await planned.wait()
        with pytest.raises(UsageError, match="provisioned throughput of 1000"):
            await control.set_capacity(Capacity(units=4_000))
        vars(table)["capacity"] = (5_000, 5_000)  # somebody raises it
        await control.set_capacity(Capacity(units=4_000))
        control.resume()
        report = await job
    assert report.items == 300
    assert plans[0].processes == 2  # those that 900 units are enough for
    assert {moment.budget for moment in report.timeline} <= {0, 4_000}


async def test_an_adaptive_budget_never_exceeds_the_tables_capacity(tmp_path: Path) -> None:
    table, control = Table(items=300, capacity=(1_000, 1_000)), Control()
    control.pause()
    async with asyncio.timeout(60), CountingServer(table) as server:
        options = ExportOptions(
            table="T",
            destination=str(tmp_path),
            connection=Connection(region=REGION, endpoint_url=server.url),
            segments=8,
        )
        planned = asyncio.Event()

        def observe(event: Event) -> None:
            if isinstance(event, JobPlanned):
                assert (event.budget, event.adaptive) == (500, True)
                planned.set()

        job = asyncio.create_task(export_table(options, observer=observe, control=control))
        await planned.wait()
        vars(table)["capacity"] = (30, 1_000)  # somebody lowers it
        await control.follow_table()
        control.resume()
        report = await job
    assert report.items == 300
    assert {moment.budget for moment in report.timeline} <= {0, 30}
