"""Ctrl-C, SIGTERM, and a terminal that is closed: quick, clean, told, and followed by the command that goes on."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import pytest

from ddbio.generate import blocks, write_file
from tests.conftest import StartCounting
from tests.kit.command import Done, end, start
from tests.kit.faulty import proxy
from tests.kit.marks import few
from tests.kit.servers.aws import ACCESS_KEY, REGION, SECRET_KEY, Server
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.http import Handler, Reply, Request
from tests.kit.servers.items import make_item
from tests.kit.servers.tables import Table

STOP_SECONDS = 2.0
"""How soon a job ends after the signal, on a machine that does nothing else."""
STARTS = 20
"""How many starts of a process a busy machine may take longer: it is measured by the same machine's own pace."""
ITEMS = 9_000
PAGE_ITEMS = 100
PAGES = ITEMS // PAGE_ITEMS
SEGMENTS = 12
KEY = (("hash", "S"), ("range", "S"))


@pytest.fixture(autouse=True)
def hangup() -> Iterator[None]:
    """SIGHUP as a terminal's programs have it: whoever runs the tests in the background may ignore it, and a child
    inherits that.
    """
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


class Slow:
    """A service that takes its time, in small pages; tells when an operation was served a number of times."""

    def __init__(self, operation: str, times: int, *, seconds: float = 0.3) -> None:
        self._operation = operation
        self._left = times
        self.seconds = seconds
        self.reached = asyncio.Event()

    async def __call__(self, request: Request, serve: Handler) -> Reply:
        if request.operation != self._operation:
            return await serve(request)
        if request.operation == "Scan":
            request = request.with_payload({**request.payload, "Limit": PAGE_ITEMS})
        await asyncio.sleep(self.seconds)
        reply = await serve(request)
        self._left -= 1
        if self._left == 0:
            self.reached.set()
        return reply


def environment(server: CountingServer, s3: Server | None = None) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_DYNAMODB": server.url,
        "AWS_ENDPOINT_URL_S3": s3.url if s3 else "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
    }


async def end_soon(process: Process) -> Done:
    """Wait for the end, which must come in time."""
    began = perf_counter()
    done = await end(process)
    ended = perf_counter()
    assert (await end(await start("--version", environment={}))).code == 0
    assert ended - began < STOP_SECONDS + STARTS * (perf_counter() - ended)
    return done


async def interrupt(process: Process, number: signal.Signals = signal.SIGINT) -> Done:
    """Send the signal to the parent; it must end in time, having said so, and how to go on."""
    process.send_signal(number)
    done = await end_soon(process)
    assert done.code == 130, done.err
    assert "Stopping: no new requests are sent." in done.err
    assert "Traceback" not in done.err
    return done


def command_to_resume(done: Done) -> list[str]:
    """The arguments of the command that the last line names."""
    *_, interrupted, line = done.err.splitlines()
    assert interrupted == "Interrupted."
    assert line.startswith("Resume with: ddbio ")
    words = shlex.split(line.removeprefix("Resume with: ddbio "))
    assert words[-1] == "--resume"
    return words


def check_lines(keys: Counter[str]) -> None:
    assert keys == Counter(make_item("small", 0, number)["pk"]["S"] for number in range(ITEMS))


@pytest.mark.parametrize(
    ("processes", "number"), few([("1", signal.SIGTERM), ("2", signal.SIGINT), ("2", signal.SIGHUP)], 1)
)
async def test_interrupted_export_goes_on(
    counting: StartCounting, tmp_path: Path, processes: str, number: signal.Signals
) -> None:
    service = Slow("Scan", PAGES * 2 // 3)
    server = await counting(Table(items=ITEMS), on_request=service)
    out = tmp_path / "out of the table"
    process = await start(
        *("export", "-t", "T", "-c", "100000", "-p", processes, "--segments", str(SEGMENTS), "-d", str(out)),
        environment=environment(server),
    )
    await service.reached.wait()
    done = await interrupt(process, number)
    left = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    assert [path for path in left if path.parts[:2] != ("_ddbio", "journal") and path.suffix != ".json"] == []
    for file in out.glob("*.json"):
        text = file.read_bytes()
        assert text.endswith(b"\n")
        assert all(json.loads(line) for line in text.splitlines())
    read = server.account.totals("read").items
    assert read < ITEMS

    service.seconds = 0.0
    resumed = await end(await start(*command_to_resume(done), "--json", environment=environment(server)))
    assert resumed.code == 0, resumed.err
    report = json.loads(resumed.out)
    assert (report["items"], report["resumed"]) == (ITEMS, True)
    check_lines(
        Counter(json.loads(line)["pk"] for file in out.glob("*.json") for line in file.read_text().splitlines())
    )
    assert not list(out.rglob("*.part"))
    assert server.account.totals("read").items < read + ITEMS, "what was durable was read again"


@pytest.mark.parametrize("processes", few(["1", "2"], 1))
async def test_interrupted_export_to_s3_goes_on(counting: StartCounting, seaweed: Server, processes: str) -> None:
    service = Slow("Scan", PAGES * 2 // 3)
    server = await counting(Table(items=ITEMS), on_request=service)
    bucket = await asyncio.to_thread(seaweed.create_bucket)
    process = await start(
        *("export", "-t", "T", "-c", "100000", "-p", processes, "--segments", str(SEGMENTS)),
        *("-d", f"s3://{bucket}/x"),
        environment=environment(server, seaweed),
    )
    await service.reached.wait()
    done = await interrupt(process)
    service.seconds = 0.0
    command = command_to_resume(done)
    resumed = await end(await start(*command, "--json", environment=environment(server, seaweed)))
    assert resumed.code == 0, resumed.err
    assert json.loads(resumed.out)["items"] == ITEMS
    objects = await asyncio.to_thread(seaweed.objects, bucket, "x/T-")
    check_lines(Counter(json.loads(line)["pk"] for body in objects.values() for line in body.splitlines()))
    assert await asyncio.to_thread(seaweed.uploads, bucket) == []


@pytest.mark.parametrize("processes", few(["1", "2"], 1))
async def test_interrupted_import_goes_on(counting: StartCounting, tmp_path: Path, processes: str) -> None:
    service = Slow("BatchWriteItem", 100, seconds=0.1)
    server = await counting(Table(mode="stored", key=KEY), on_request=service)
    source = tmp_path / "in.json"
    await asyncio.to_thread(write_file, blocks(ITEMS, seed=1), str(source))
    process = await start(
        *("import", "-t", "T", "-c", "100000", "-p", processes, "-s", str(source), "--state", str(tmp_path / "state")),
        environment=environment(server),
    )
    await service.reached.wait()
    done = await interrupt(process)
    assert len(server.stored()) < ITEMS
    service.seconds = 0.0
    resumed = await end(await start(*command_to_resume(done), "--json", environment=environment(server)))
    assert resumed.code == 0, resumed.err
    assert json.loads(resumed.out)["items"] == ITEMS
    assert len(server.stored()) == ITEMS


@pytest.mark.parametrize("processes", few(["1", "2"], 1))
async def test_interrupted_while_s3_does_not_answer(counting: StartCounting, seaweed: Server, processes: str) -> None:
    """What could not be sealed in time is left to the run that resumes."""
    service = Slow("Scan", PAGES * 2 // 3)
    server = await counting(Table(items=ITEMS), on_request=service)
    bucket = await asyncio.to_thread(seaweed.create_bucket)
    async with proxy(seaweed.url) as between:
        process = await start(
            *("export", "-t", "T", "-c", "100000", "-p", processes, "--segments", str(SEGMENTS)),
            *("-d", f"s3://{bucket}/x"),
            environment=environment(server, replace(seaweed, url=between.url)),
        )
        await service.reached.wait()
        between.stall_after = 0
        command_to_resume(await interrupt(process))


async def test_interrupted_while_the_service_does_not_answer(counting: StartCounting, tmp_path: Path) -> None:
    service = Slow("Scan", 1, seconds=0.0)
    server = await counting(Table(items=ITEMS), on_request=service)
    process = await start(
        *("export", "-t", "T", "-c", "100000", "-p", "2", "--segments", "300", "-d", str(tmp_path / "out")),
        environment=environment(server),
    )
    await service.reached.wait()
    service.seconds = 3600.0
    await interrupt(process)


@pytest.mark.parametrize("processes", few(["1", "2"], 1))
async def test_interrupted_import_while_the_service_does_not_answer(
    counting: StartCounting, tmp_path: Path, processes: str
) -> None:
    service = Slow("BatchWriteItem", 20, seconds=0.0)
    server = await counting(Table(mode="stored", key=KEY), on_request=service)
    source = tmp_path / "in.json"
    await asyncio.to_thread(write_file, blocks(ITEMS, seed=1), str(source))
    process = await start(
        *("import", "-t", "T", "-c", "2000", "-p", processes, "-s", str(source), "--state", str(tmp_path / "state")),
        environment=environment(server),
    )
    await service.reached.wait()
    service.seconds = 3600.0
    command_to_resume(await interrupt(process))


@pytest.mark.parametrize("processes", few(["1", "2"], 1))
async def test_import_interrupted_while_its_s3_source_is_silent(
    counting: StartCounting, seaweed: Server, tmp_path: Path, processes: str
) -> None:
    service = Slow("BatchWriteItem", 20, seconds=0.0)
    server = await counting(Table(mode="stored", key=KEY), on_request=service)
    source = tmp_path / "in.json"
    await asyncio.to_thread(write_file, blocks(20 * ITEMS, seed=1), str(source))
    bucket = await asyncio.to_thread(seaweed.create_bucket)
    body = await asyncio.to_thread(source.read_bytes)
    await asyncio.to_thread(seaweed.client("s3").put_object, Bucket=bucket, Key="in.json", Body=body)
    async with proxy(seaweed.url) as between:
        process = await start(
            *("import", "-t", "T", "-c", "4000", "-p", processes, "-s", f"s3://{bucket}/in.json"),
            *("--state", str(tmp_path / "state")),
            environment=environment(server, replace(seaweed, url=between.url)),
        )
        await service.reached.wait()
        between.stall_after = 0
        command_to_resume(await interrupt(process))


async def test_interrupted_before_it_began(counting: StartCounting, tmp_path: Path) -> None:
    """Nothing can be resumed: above all not the older export that was to be replaced."""
    service = Slow("DescribeTable", 2, seconds=0.0)
    server = await counting(Table(items=100), on_request=service)
    command = ("export", "-t", "T", "-p", "1", "-d", str(tmp_path / "out"))
    assert (await end(await start(*command, environment=environment(server)))).code == 0
    hanging = asyncio.Event()

    async def hang(request: Request, serve: Handler) -> Reply:
        hanging.set()
        await asyncio.sleep(3600)
        return await serve(request)

    server.on_request = hang
    process = await start(*command, "--overwrite", environment=environment(server))
    await hanging.wait()
    done = await interrupt(process)
    assert done.err.splitlines()[-1] == "Interrupted before anything was done."


async def test_ctrl_c_at_a_terminal_reaches_everybody(counting: StartCounting, tmp_path: Path) -> None:
    """The terminal sends SIGINT to the whole foreground group: the workers leave it to their parent."""
    service = Slow("Scan", PAGES * 2 // 3)
    server = await counting(Table(items=ITEMS), on_request=service)
    process = await start(
        *("export", "-t", "T", "-c", "100000", "-p", "2", "--segments", str(SEGMENTS), "-d", str(tmp_path / "out")),
        environment=environment(server),
        session=True,
    )
    await service.reached.wait()
    os.killpg(process.pid, signal.SIGINT)
    done = await end_soon(process)
    assert done.code == 130
    assert "was killed" not in done.err
    command_to_resume(done)


async def test_a_second_signal_ends_at_once(counting: StartCounting, tmp_path: Path) -> None:
    """It waits for nothing: neither is anything sealed, nor the command to resume printed."""
    service = Slow("Scan", 3)
    server = await counting(Table(items=ITEMS), on_request=service)
    process = await start(
        *("export", "-t", "T", "-c", "100000", "-p", "2", "-d", str(tmp_path / "out")),
        environment=environment(server),
    )
    await service.reached.wait()
    # Stopped meanwhile, the process finds both signals when it goes on; two of the same number would be one.
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
        process.send_signal(number)
    done = await end_soon(process)
    assert (done.code, "--resume" in done.err) == (130, False), done.err


async def test_interrupted_generate() -> None:
    process = await start("generate", "-c", "100000000", "-f", "-", environment={})
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    done = await end(process)
    assert (done.code, done.err) == (130, "Interrupted.\n")
