"""`kill -9` of a worker, of the parent, of all: nothing is lost, nothing is there twice, and --resume goes on."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ddbio.audit.manifest import contradictions, read_options
from ddbio.ledger.manifest import read_manifest
from tests.conftest import StartCounting
from tests.kit.command import SECONDS, Done, end, gone, start, workers
from tests.kit.marks import few
from tests.kit.servers.aws import ACCESS_KEY, REGION, SECRET_KEY
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.http import Handler, Reply, Request
from tests.kit.servers.items import make_item
from tests.kit.servers.replies import RESET
from tests.kit.servers.tables import Table

ITEMS = 24_000
PAGE_ITEMS = 200
PAGES = ITEMS // PAGE_ITEMS
SEGMENTS = 6
SEEDS = int(os.environ.get("DDBIO_KILL_SEEDS", "1"))
KEY = (("pk", "S"), ("sk", "N"))
Killer = Callable[[], None]


class Killing:
    """The service, slow enough to be killed at; `killers` are called when so many requests have come."""

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._killers: dict[int, tuple[Killer, asyncio.Event]] = {}
        self.served = 0
        self.always: Killer | None = None

    def at(self, requests: int, killer: Killer) -> asyncio.Event:
        """Call `killer` at the request that comes so many later; the event is set then."""
        event = asyncio.Event()
        self._killers[self.served + requests] = killer, event
        return event

    async def __call__(self, request: Request, serve: Handler) -> Reply:
        if request.operation != self._operation:
            return await serve(request)
        self.served += 1
        if self.always is not None:
            self.always()
            return RESET
        if self.served in self._killers:
            killer, event = self._killers.pop(self.served)
            killer()
            event.set()
        if request.operation == "Scan":
            request = request.with_payload({**request.payload, "Limit": PAGE_ITEMS})
        await asyncio.sleep(0.05)
        return await serve(request)


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


class Jobs:
    """Exports of one table, or imports into it, as processes."""

    def __init__(self, server: CountingServer, service: Killing, command: tuple[str, ...]) -> None:
        self.server = server
        self.service = service
        self._command = command

    async def start(self, *more: str) -> Process:
        environment = {
            "AWS_ENDPOINT_URL": self.server.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
        }
        return await start(*self._command, "-p", "2", "-c", "100000", "--json", *more, environment=environment)

    async def kill_at(self, requests: int, *more: str, everybody: bool = False) -> None:
        """Start one, and kill the parent, or everybody, when so many requests have come; all of them end."""
        job = await self.start(*more)
        pids: list[int] = []

        def killer() -> None:
            pids.extend(workers(job))
            kill(job.pid, *(pids if everybody else ()))

        await self.service.at(requests, killer).wait()
        assert pids
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*map(gone, pids))
        assert (await end(job)).code == -signal.SIGKILL


@pytest.fixture
async def exports(counting: StartCounting, tmp_path: Path) -> Jobs:
    service = Killing("Scan")
    server = await counting(Table(items=ITEMS), on_request=service)
    command = ("export", "-t", "T", "-d", str(tmp_path / "out"), "--segments", str(SEGMENTS))
    return Jobs(server, service, command)


def check(out: Path, done: Done) -> None:
    """Every item once, every file in the manifest, and nothing else."""
    assert done.code == 0, done.err
    assert json.loads(done.out)["items"] == ITEMS
    found = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
    manifest = read_manifest(found.pop("_ddbio/manifest.json").read_bytes(), "there")
    assert found.keys() == {file.name for file in manifest.files}
    assert list(contradictions(manifest, read_options(manifest))) == []
    keys = Counter(json.loads(line)["pk"] for path in found.values() for line in path.read_bytes().splitlines())
    assert keys == Counter(make_item("small", 0, index)["pk"]["S"] for index in range(ITEMS))


async def test_a_worker_that_is_killed_is_replaced(exports: Jobs, tmp_path: Path) -> None:
    job = await exports.start()
    for _ in range(2):
        await exports.service.at(PAGES // 4, lambda: kill(workers(job)[0])).wait()
    done = await end(job)
    check(tmp_path / "out", done)
    assert done.err.count("was killed by SIGKILL before its work was done. Another one takes its place.") == 2
    # Lost is what came in since the last commit, at most a second and a half ago, and one page for each segment.
    assert exports.server.account.totals("read").requests <= 2 * PAGES


async def test_workers_end_with_their_parent_and_the_export_goes_on(exports: Jobs, tmp_path: Path) -> None:
    await exports.kill_at(PAGES * 2 // 3)
    check(tmp_path / "out", await end(await exports.start("--resume")))


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_everybody_is_killed_again_and_again(exports: Jobs, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    await exports.kill_at(rng.randint(1, PAGES * 3 // 4), everybody=True)
    await exports.kill_at(rng.randint(1, PAGES // 4), "--resume", everybody=True)
    job = await exports.start("--resume")
    check(tmp_path / "out", await end(job))


async def test_three_deaths_on_a_split_fail_a_resumable_job(exports: Jobs, tmp_path: Path) -> None:
    job = await exports.start()

    def kill_all() -> None:
        kill(*workers(job))

    exports.service.always = kill_all
    done = await end(job)
    assert done.code == 1
    assert len(done.errors) == 1
    assert "was killed by SIGKILL before its work was done" in done.errors[0]
    assert "--resume" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err
    # A third death of any split is the last one.
    assert done.err.count("Another one takes its place") <= 2 * SEGMENTS
    exports.service.always = None
    check(tmp_path / "out", await end(await exports.start("--resume")))


@pytest.mark.parametrize("everybody", few([True, False], 1))
async def test_a_killed_import_sends_only_what_was_not_journaled(
    counting: StartCounting, tmp_path: Path, everybody: bool
) -> None:
    service = Killing("BatchWriteItem")
    server = await counting(Table(mode="stored", key=KEY), on_request=service)
    lines = [json.dumps({"pk": f"k{number:06d}", "sk": number, "text": "x" * 60}) for number in range(4_000)]
    bad = [f'{{"pk": "bad {number}"}}' for number in range(40)]
    for number, line in enumerate(bad):
        lines.insert(number * 100, line)
    source, state = tmp_path / "in", tmp_path / "state"
    await asyncio.to_thread(write_files, source, lines)
    jobs = Jobs(server, service, ("import", "-t", "T", "-s", str(source), "--state", str(state), "--concurrency", "2"))
    await jobs.kill_at(110, everybody=everybody)
    taken = server.account.totals("write").items
    done = await end(await jobs.start("--resume"))
    assert done.code == 3, done.err
    report = json.loads(done.out)
    assert (report["items"], report["rejected"], report["resumed"]) == (4_000, 40, True)
    assert {item["pk"]["S"] for item in server.stored().items} == {f"k{number:06d}" for number in range(4_000)}
    (rejects,) = state.glob("rejects-*.jsonl")
    assert sorted(json.loads(line)["raw"] for line in rejects.read_text().splitlines()) == sorted(bad)
    assert {path for path in state.rglob("*") if path.is_file()} == {rejects, state / "_ddbio" / "manifest.json"}
    sent_again = server.account.totals("write").items - 4_000
    # Two lanes of two workers, for a second and a half, at a batch in 50 ms each.
    assert 0 <= sent_again <= min(taken, 4 * 30 * 25)


class Boundary(Killing):
    """The service, at which everybody is killed once the first item of the second source comes."""

    def __init__(self) -> None:
        super().__init__("BatchWriteItem")
        self.killer: Killer | None = None
        self.killed = asyncio.Event()
        self.sent: list[str] = []

    async def __call__(self, request: Request, serve: Handler) -> Reply:
        if request.operation != "BatchWriteItem":
            return await serve(request)
        self.sent += [put["PutRequest"]["Item"]["from"]["S"] for put in request.payload["RequestItems"]["T"]]
        if self.killer is not None and "second" in self.sent:
            self.killer()
            self.killer = None
            self.killed.set()
            return RESET
        return await super().__call__(request, serve)


async def test_an_import_killed_at_a_sources_end_does_not_repeat_it(counting: StartCounting, tmp_path: Path) -> None:
    service = Boundary()
    server = await counting(Table(mode="stored", key=KEY), on_request=service)
    for name in ("first", "second"):
        lines = [json.dumps({"pk": f"k{number:06d}", "sk": 1, "from": name}) for number in range(1_000)]
        await asyncio.to_thread(write_files, tmp_path / name, lines)
    sources = ("-s", str(tmp_path / "first"), "-s", str(tmp_path / "second"))
    jobs = Jobs(server, service, ("import", "-t", "T", *sources, "--state", str(tmp_path / "state")))
    job = await jobs.start()
    service.killer = lambda: kill(job.pid, *workers(job))
    await service.killed.wait()
    assert (await end(job)).code == -signal.SIGKILL
    assert service.sent[:1_000] == ["first"] * 1_000
    service.sent.clear()
    done = await end(await jobs.start("--resume"))
    assert done.code == 0, done.err
    assert service.sent.count("first") == 0
    report = json.loads(done.out)
    assert (report["items"], report["files"], report["resumed"]) == (2_000, 8, True)
    assert {item["from"]["S"] for item in server.stored().items} == {"second"}


def write_files(folder: Path, lines: list[str]) -> None:
    """Every fourth line into the same file."""
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.jsonl").write_text("\n".join(lines[number::4]))
