"""What every carrier does, whichever way its workers run; and how a slot is filled again when its worker is lost."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from ddbio.capacity import Budget, Control, Pace
from ddbio.clock import LoopClock
from ddbio.errors import JobFailedError, WorkerLostError
from ddbio.fleet.carrier import Carrier, fill_slots
from ddbio.fleet.engine import open_engine
from ddbio.fleet.inline import Inline
from ddbio.fleet.limits import Limits
from ddbio.fleet.processes import Processes
from ddbio.fleet.protocol import Welcome
from ddbio.jobs import planning
from ddbio.jobs.export import WrittenFiles
from ddbio.jobs.run import Run
from ddbio.ledger.law import ExportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.model import KeyAttribute
from ddbio.pipeline.job import ExportJob, TableFacts
from ddbio.storage.local.sink import LocalSink
from ddbio.wire.signing import Credentials, StaticCredentials
from tests.conftest import StartCounting
from tests.kit.fakes import let_run
from tests.kit.fleets import CREDENTIALS, Virtual, export_job
from tests.kit.servers.counting import REGION, CountingServer
from tests.kit.servers.http import Handler, Reply, Request
from tests.kit.servers.items import make_item
from tests.kit.servers.replies import error_reply
from tests.kit.servers.tables import Table

ITEMS = 2_000
SEGMENTS = 6
CARRIERS: dict[str, Callable[[], Carrier]] = {
    "inline": lambda: Inline(clock=LoopClock()),
    "processes": lambda: Processes(workers=2),
    "virtual": lambda: Virtual(2, LoopClock(), open_engine),
}


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> Callable[[], Carrier]:
    """Each carrier in turn; to be made in the event loop that it is used in."""
    return CARRIERS[request.param]


class Job:
    """An export of the server's table into a folder, run by a carrier."""

    def __init__(self, server: CountingServer, folder: Path, executor: ThreadPoolExecutor, carrier: Carrier) -> None:
        keys = (KeyAttribute("pk", "S", 2_048), KeyAttribute("sk", "N", 1_024))
        job = export_job(SEGMENTS, destination=str(folder))
        self.job: ExportJob = msgspec.structs.replace(job, table=TableFacts("T", REGION, server.url, keys, ("pk",)))
        self.folder = folder
        self.ledger = Ledger(ExportLaw())
        self.run = Run(
            job=self.job,
            splits=planning.segments(SEGMENTS),
            budget=Budget(Pace(100_000)),
            ledger=self.ledger,
            files=WrittenFiles(ledger=self.ledger, sink=LocalSink(folder, "run", executor=executor), table="T"),
            credentials=StaticCredentials(CREDENTIALS),
            carrier=carrier,
            clock=LoopClock(),
            rng=random.Random(7),
            observer=lambda _: None,
            limits=Limits(),
            control=Control(),
        )

    def keys(self) -> list[str]:
        """The keys of all items that were exported."""
        lines = [line for path in self.folder.glob("*.json") for line in path.read_text().splitlines()]
        return sorted(json.loads(line)["pk"] for line in lines)


@pytest.fixture
async def table(counting: StartCounting) -> CountingServer:
    return await counting(Table(items=ITEMS, seed=3))


async def test_every_item_is_moved_once(
    carrier: Callable[[], Carrier], table: CountingServer, tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    job = Job(table, tmp_path / "out", executor, carrier())
    report = await job.run.execute()
    assert job.keys() == sorted(make_item("small", 3, index)["pk"]["S"] for index in range(ITEMS))
    assert (report.items, report.files) == (ITEMS, SEGMENTS)
    assert report.used.requests == table.account.totals("read").requests
    assert report.used.capacity_units == table.account.totals("read").units


async def test_a_failure_in_a_worker_ends_the_job(
    carrier: Callable[[], Carrier], table: CountingServer, tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    async def deny(request: Request, serve: Handler) -> Reply:
        return error_reply("AccessDeniedException", "no") if request.operation == "Scan" else await serve(request)

    table.on_request = deny
    job = Job(table, tmp_path / "out", executor, carrier())
    with pytest.raises(JobFailedError, match="AccessDenied"):
        await job.run.execute()
    assert job.keys() == []


async def test_a_cancelled_run_leaves_no_worker(
    carrier: Callable[[], Carrier], table: CountingServer, tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def hold(request: Request, serve: Handler) -> Reply:
        asked.set()
        await answer.wait()
        return await serve(request)

    table.on_request = hold
    job = Job(table, tmp_path / "out", executor, carrier())
    running = asyncio.create_task(job.run.execute())
    await asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    requests = table.account.operations.copy()
    answer.set()
    await let_run()
    assert table.account.operations == requests
    assert job.keys() == []


class LosingDesk:
    """Notes what it is told of lost workers; `ends` says after how many a slot stays empty."""

    def __init__(self, ends: int) -> None:
        self.ends = ends
        self.lost_by: list[int] = []

    async def lost(self, worker: int, failure: object) -> bool:
        self.lost_by.append(worker)
        return len(self.lost_by) < self.ends

    async def credentials(self) -> Credentials:
        return Credentials("NEW", "secret")


async def fill(desk: LosingDesk, slots: int, lost: Sequence[int]) -> list[Welcome]:
    """Fill the slots with workers; each of `lost` is the slot of a worker that is lost."""
    welcomes, left = [], list(lost)

    async def serve(welcome: Welcome) -> WorkerLostError | None:
        welcomes.append(welcome)
        if welcome.worker in left:
            left.remove(welcome.worker)
            return WorkerLostError("gone")
        return None

    await fill_slots(export_job(1), desk, CREDENTIALS, slots, serve)  # type: ignore[arg-type]
    return welcomes


async def test_a_lost_worker_is_replaced_under_another_name() -> None:
    desk = LosingDesk(ends=9)
    welcomes = await fill(desk, 3, [1, 1])
    assert sorted((one.worker, one.run) for one in welcomes) == [
        (0, "run-0-0"),
        *((1, "run-1-0"), (1, "run-1-1"), (1, "run-1-2")),
        (2, "run-2-0"),
    ]
    assert desk.lost_by == [1, 1]
    assert {one.credentials.access_key for one in welcomes if one.run in ("run-1-1", "run-1-2")} == {"NEW"}


async def test_a_slot_stays_empty_where_the_desk_says_so() -> None:
    desk = LosingDesk(ends=1)
    assert [one.run for one in await fill(desk, 1, [0, 0])] == ["run-0-0"]
