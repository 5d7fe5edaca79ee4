"""Ctrl-C and SIGTERM: quick, clean, and told."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from time import perf_counter

import pytest

from ddbio.generate import blocks, write_file
from tests.conftest import StartCounting
from tests.e2e.command import end, start
from tests.servers.aws import ACCESS_KEY, REGION, SECRET_KEY
from tests.servers.http import Handler, Reply, Request
from tests.servers.tables import Table

SECONDS = 4.0
"""Two for the job to stop, and as many for a busy machine."""


class Served:
    """Tells when an operation has been served a number of times."""

    def __init__(self, operation: str, times: int) -> None:
        self._operation = operation
        self._left = times
        self.reached = asyncio.Event()

    async def __call__(self, request: Request, serve: Handler) -> Reply:
        reply = await serve(request)
        if request.operation == self._operation:
            self._left -= 1
            if self._left == 0:
                self.reached.set()
        return reply


def environment(url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
    }


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted_export(
    counting: StartCounting, tmp_path: Path, processes: str, number: signal.Signals
) -> None:
    served = Served("Scan", 6)
    server = await counting(Table(items=2_000_000), on_request=served)
    out = tmp_path / "out"
    process = await start(
        *("export", "-t", "T", "-c", "1000", "-p", processes, "--segments", "2000", "-d", str(out)),
        environment=environment(server.url),
    )
    await served.reached.wait()
    process.send_signal(number)
    began = perf_counter()
    done = await end(process)
    assert perf_counter() - began < SECONDS
    assert done.code == 130, done.err
    assert "Stopping: " in done.err
    assert f"Interrupted. Finished files are kept in {out}; the same command with --overwrite starts anew." in done.err
    assert "Traceback" not in done.err
    assert [path.name for path in out.rglob("*") if path.is_file() and path.suffix != ".json"] == []
    for file in out.glob("*.json"):
        assert all(json.loads(line) for line in file.read_text().splitlines())
        assert file.read_bytes().endswith(b"\n")


async def test_interrupted_import(counting: StartCounting, tmp_path: Path) -> None:
    served = Served("BatchWriteItem", 5)
    key = (("hash", "S"), ("range", "S"))
    server = await counting(Table(mode="stored", key=key), on_request=served)
    source = tmp_path / "in.json"
    await asyncio.to_thread(write_file, blocks(60_000, seed=1), str(source))
    process = await start(
        *("import", "-t", "T", "-c", "500", "-p", "2", "-s", str(source), "--state", str(tmp_path / "state")),
        environment=environment(server.url),
    )
    await served.reached.wait()
    process.send_signal(signal.SIGINT)
    began = perf_counter()
    done = await end(process)
    assert perf_counter() - began < SECONDS
    assert done.code == 130, done.err
    assert "Interrupted. What is written stays in the table" in done.err
    assert "Traceback" not in done.err


async def test_second_ctrl_c_ends_at_once(counting: StartCounting, tmp_path: Path) -> None:
    served = Served("Scan", 3)
    server = await counting(Table(items=2_000_000), on_request=served)
    process = await start(
        *("export", "-t", "T", "-c", "1000", "-p", "2", "-d", str(tmp_path / "out")),
        environment=environment(server.url),
    )
    await served.reached.wait()
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    began = perf_counter()
    done = await end(process)
    assert perf_counter() - began < SECONDS
    assert done.code == 130


async def test_interrupted_generate() -> None:
    process = await start("generate", "-c", "100000000", "-f", "-", environment={})
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    done = await end(process)
    assert (done.code, done.err) == (130, "Interrupted.\n")
