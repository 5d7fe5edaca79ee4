"""A verification by several processes finds what one process finds, whatever happens to the processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ddbio import (
    Capacity,
    CheckPlanned,
    Connection,
    Control,
    Difference,
    Event,
    ExportOptions,
    JobPlanned,
    Progress,
    VerifyOptions,
    VerifyReport,
    export_table,
    verify_export,
)
from tests.conftest import StartCounting
from tests.kit.command import SECONDS, end, gone, start, workers
from tests.kit.servers.aws import ACCESS_KEY, REGION, SECRET_KEY
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.http import Handler, Reply, Request
from tests.kit.servers.items import make_item
from tests.kit.servers.tables import Table

ITEMS = 6_000
COPIED = 5_000
"""Items of the copy: the segments are ranges of the items, so most keys are in another one there."""
PAGE_ITEMS = 100
SEGMENTS = 8
PLENTY = Capacity(units=100_000)


class Service:
    """Serves small pages slowly; `at` calls a function when a page of the copy is asked for."""

    def __init__(self) -> None:
        self.pages = 0
        self.at: dict[int, Callable[[], None]] = {}

    async def __call__(self, request: Request, serve: Handler) -> Reply:
        if request.operation != "Scan":
            return await serve(request)
        if request.payload["TableName"] == "Copy":
            self.pages += 1
            self.at.pop(self.pages, lambda: None)()
            await asyncio.sleep(0.02)
        return await serve(request.with_payload({**request.payload, "Limit": PAGE_ITEMS}))


class Found(NamedTuple):
    report: VerifyReport
    differences: list[Difference]
    events: list[Event]

    @property
    def facts(self) -> dict[str, Any]:
        """What does not depend on how the verification was done."""
        used = ("seconds", "cpu_seconds", "peak_rss_bytes")
        return {name: value for name, value in self.report.as_dict().items() if name not in used}

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Case:
    """An export of a table, of which one file is damaged and one is missing, and a smaller copy of the table."""

    def __init__(self, server: CountingServer, service: Service, folder: Path) -> None:
        self.service = service
        self.source = str(folder)
        self.connection = Connection(region=REGION, endpoint_url=server.url)
        self.environment = {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
        }

    async def verify(
        self,
        processes: int,
        *,
        control: Control | None = None,
        observer: Callable[[Event], None] = lambda _: None,
        **options: Any,
    ) -> Found:
        differences: list[Difference] = []
        events: list[Event] = []

        def observe(event: Event) -> None:
            events.append(event)
            observer(event)

        given = {"table": "Copy", "capacity": PLENTY, **options}
        asked = VerifyOptions(source=self.source, connection=self.connection, processes=processes, **given)
        report = await verify_export(asked, observer=observe, on_difference=differences.append, control=control)
        return Found(report, sorted(differences, key=lambda one: str(one.key)), events)

    async def start(self) -> asyncio.subprocess.Process:
        command = ("verify", "-s", self.source, "-t", "Copy", "-p", "2", "-c", "100000", "--json")
        return await start(*command, environment=self.environment)


@pytest.fixture
async def case(counting: StartCounting, tmp_path: Path) -> Case:
    service, folder = Service(), tmp_path / "out"
    server = await counting(Table(items=ITEMS), Table(name="Copy", items=COPIED), on_request=service)
    case = Case(server, service, folder)
    options = {"connection": case.connection, "capacity": PLENTY, "segments": SEGMENTS}
    await export_table(ExportOptions(table="T", destination=str(folder), **options))  # type: ignore[arg-type]
    changed, gone, *_ = sorted(folder.glob("*.json"))
    value = make_item("small", 0, 3)["val_1"]["S"]
    changed.write_bytes(changed.read_bytes().replace(value.encode(), value[::-1].encode()))
    gone.unlink()
    return case


async def test_two_processes_find_what_one_finds(case: Case) -> None:
    one, two = await case.verify(1), await case.verify(2)
    assert [found.of(JobPlanned)[0].processes for found in (one, two)] == [1, 2]
    in_a_file = ITEMS // SEGMENTS
    report = one.report
    assert (report.items, report.scanned) == (ITEMS - in_a_file, COPIED)
    assert (report.different, report.missing, report.extra) == (1, ITEMS - COPIED, in_a_file)
    assert len(report.problems) == 3  # of the changed file the checksum and the fingerprint
    assert two.facts == one.facts
    assert two.differences == one.differences


@pytest.mark.parametrize("processes", [1, 2])
async def test_files_alone_are_divided_among_processes(case: Case, processes: int) -> None:
    found = await case.verify(processes, table=None)
    assert found.report.items == ITEMS - ITEMS // SEGMENTS
    assert found.report.problems == (await case.verify(1)).report.problems
    assert (found.report.used.requests, found.report.read_units) == (0, 0)
    assert found.of(CheckPlanned)[0].files == SEGMENTS
    assert found.of(Progress)[-1].splits_done == SEGMENTS


async def test_a_worker_that_is_killed_changes_nothing(case: Case) -> None:
    undisturbed = await case.verify(2)
    job = await case.start()
    struck = []

    def kill() -> None:
        struck.append(workers(job)[0])
        os.kill(struck[-1], signal.SIGKILL)

    begun = case.service.pages
    case.service.at = {begun + 10: kill, begun + 40: kill}
    done = await end(job)
    *lines, report = map(json.loads, done.out.splitlines())
    assert done.err.count("was killed by SIGKILL before its work was done. Another one takes its place.") == 2
    assert done.code == 1
    expected = [difference.as_dict() for difference in undisturbed.differences]
    assert sorted(lines, key=lambda line: str(line["key"])) == expected
    same = ("items", "bytes", "problems", "scanned", "missing", "extra", "different")
    assert {name: report[name] for name in same} == {
        name: value for name, value in undisturbed.report.as_dict().items() if name in same
    } | {"problems": list(undisturbed.report.problems)}


async def test_an_interrupt_ends_every_process(case: Case) -> None:
    job = await case.start()
    pids: list[int] = []

    def interrupt() -> None:
        pids.extend(workers(job))
        job.send_signal(signal.SIGINT)

    case.service.at = {10: interrupt}
    done = await end(job)
    assert (done.code, done.out, len(pids)) == (130, b"", 2)
    assert "Resume with" not in done.err
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*map(gone, pids))


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_verification_adapts_and_can_be_steered(case: Case, processes: int) -> None:
    control, steering = Control(), asyncio.TaskGroup()
    control.pause()

    async def steer() -> None:
        assert case.service.pages == 0
        assert await control.set_capacity(Capacity(units=50_000)) == 50_000
        control.resume()

    def observe(event: Event) -> None:
        if isinstance(event, JobPlanned):
            steering.create_task(steer())

    async with asyncio.timeout(SECONDS), steering:
        auto = Capacity(auto=True, units=80_000)
        found = await case.verify(processes, capacity=auto, control=control, observer=observe)
    (plan,) = found.of(JobPlanned)
    assert (plan.adaptive, plan.processes) == (True, processes)
    assert found.of(Progress)[0].reason == "paused"
    assert found.of(Progress)[-1].budget == 50_000
    assert found.report.scanned == COPIED
