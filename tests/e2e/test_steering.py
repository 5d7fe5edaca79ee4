"""A job is steered while it runs, and ends at its limits: real processes, real time."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import urllib.request
from pathlib import Path

from tests.e2e.command import ddbio, end, start
from tests.e2e.test_budget import account, counting
from tests.servers.aws import Server

SIZE = ("--mode", "canned", "--size-mb", "60")
UNITS = 60 * 128


def units(server: Server) -> float:
    with urllib.request.urlopen(f"{server.url}/_account") as reply:
        counted: float = json.load(reply)["read"]["units"]
    return counted


async def rate(server: Server, seconds: float) -> float:
    """Units a second, from now on."""
    before, began = await asyncio.to_thread(units, server), time.monotonic()
    await asyncio.sleep(seconds)
    return (await asyncio.to_thread(units, server) - before) / (time.monotonic() - began)


async def test_a_running_export_is_steered(tmp_path: Path) -> None:
    with counting(*SIZE) as server:
        out = tmp_path / "out"
        running = await start(
            *("export", "-t", "T", "-d", str(out), "-p", "2", "-c", "300", "--json"), environment=server.environment()
        )
        try:
            async with asyncio.timeout(20):
                while not await asyncio.to_thread(units, server):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
            running.send_signal(signal.SIGUSR1)
            await asyncio.sleep(2)
            assert await rate(server, 1) == 0
            running.send_signal(signal.SIGUSR1)
            await asyncio.sleep(2)
            (out / "_ddbio" / "control.json").write_text('{"capacity": 2000}')
            await asyncio.sleep(2)
            assert 1_500 <= await rate(server, 2) <= 2_400
        finally:
            done = await end(running)
    assert done.code == 0, done.err
    assert "Paused" in done.err
    report = json.loads(done.out)
    assert {row["budget"] for row in report["timeline"]} == {0, 300, 2_000}
    assert sum(row["units"] for row in report["timeline"]) == report["capacity_units"]


def test_a_job_ends_at_its_limit_and_goes_on_afterwards(tmp_path: Path) -> None:
    with counting(*SIZE) as server:
        command = ("export", "-t", "T", "-d", str(tmp_path / "out"), "-p", "2", "-c", "2000", "--json")
        ended = ddbio(*command, "--max-units", "3000", environment=server.environment())
        assert (ended.code, json.loads(ended.out)["manifest"]) == (4, None)
        assert "its --max-units of 3,000 are used up" in ended.err
        assert ended.err.splitlines()[-1].endswith("--max-units 3000 --resume")
        assert 3_000 <= account(server, "read")["units"] < UNITS
        done = ddbio(*command, "--resume", environment=server.environment())
        assert done.code == 0, done.err
        assert 3_000 <= account(server, "read")["units"] <= UNITS * 1.3
