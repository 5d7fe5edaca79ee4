"""Jobs that end at a limit: what was done until then is done, however short the run was."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ddbio import export_table, import_table
from ddbio.errors import LimitReachedError
from ddbio.events import JobPlanned
from ddbio.options import Capacity, Connection, ExportOptions, ImportOptions
from ddbio.report import JobReport
from tests.conftest import StartCounting
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.tables import Table

ITEMS = 300
RUNS = 12
"""More than the budget of a run makes it take."""


async def until_done(run: Callable[[bool], Awaitable[JobReport]]) -> list[int]:
    """Run a job again and again, until it is done: so many items it had after each run."""
    items: list[int] = []
    for number in range(RUNS):
        try:
            report = await run(number > 0)
        except LimitReachedError as error:
            assert error.report is not None
            items.append(error.report.items)
        else:
            return [*items, report.items]
    raise AssertionError(f"not done after {RUNS} runs: {items}")


def connection(server: CountingServer) -> dict[str, Any]:
    return {
        "table": "T",
        "connection": Connection(region="us-east-1", dynamodb_endpoint_url=server.url),
        "concurrency": 2,
    }


async def test_an_import_in_runs_of_less_than_a_second_gets_done(counting: StartCounting, tmp_path: Path) -> None:
    server = await counting(Table(mode="stored"))
    source = tmp_path / "items.json"
    source.write_text("".join(json.dumps({"pk": f"k{number}", "sk": number}) + "\n" for number in range(ITEMS)))

    def run(resume: bool) -> Awaitable[JobReport]:
        options = ImportOptions(
            source=str(source),
            state=str(tmp_path / "state"),
            capacity=Capacity(units=200),
            max_units=50,
            resume=resume,
            **connection(server),
        )
        return import_table(options)

    items = await until_done(run)
    assert items[-1] == ITEMS == len(server.stored().items)
    assert len(items) > 2
    # What was on its way when a run ended is sent again: two batches at most.
    assert server.account.totals("write").items <= ITEMS + 2 * 25 * len(items)


async def test_an_export_in_runs_of_less_than_a_second_gets_done(counting: StartCounting, tmp_path: Path) -> None:
    server = await counting(Table(items=100 * ITEMS))

    def run(resume: bool) -> Awaitable[JobReport]:
        options = ExportOptions(
            destination=str(tmp_path / "out"),
            segments=2,
            capacity=Capacity(units=1_000),
            max_units=100,
            resume=resume,
            **connection(server),
        )
        return export_table(options)

    items = await until_done(run)
    assert items[-1] == 100 * ITEMS
    assert len(items) > 1
    lines = [line for file in (tmp_path / "out").glob("*.json") for line in file.read_text().splitlines()]
    assert len(lines) == len(set(lines)) == 100 * ITEMS


@pytest.mark.parametrize(("processes", "capacity", "segments"), [(200, 100, 8), (200, 300, 16), (1, 4_000, 8)])
async def test_a_table_of_unknown_size_is_cut_for_its_processes(
    counting: StartCounting, tmp_path: Path, processes: int, capacity: int, segments: int
) -> None:
    server = await counting(Table(items=0))  # the service says so of a new one, too
    plans: list[JobPlanned] = []
    options = ExportOptions(
        destination=str(tmp_path / "out"), processes=processes, capacity=Capacity(units=capacity), **connection(server)
    )
    await export_table(options, observer=lambda event: plans.append(event) if isinstance(event, JobPlanned) else None)
    assert plans[0].splits == segments
    assert server.account.operations["Scan"] == segments
