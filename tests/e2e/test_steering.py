"""A job is steered while it runs, and ends at its limits, as real processes.

What is asserted of a rate holds at any speed of the machine: a paused job stands still, and a job that would take
longer than a test may take ends once its budget has been raised. tests/unit/fleet measures rates on virtual time.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.request
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.kit.command import SECONDS, ddbio, end, start, workers
from tests.kit.servers.aws import Server
from tests.kit.servers.items import make_item
from tests.kit.servers.process import run_counting

STILL_SECONDS = 2.5
"""Several requests come in this time from a job that is not paused."""
SIZE = ("--mode", "canned", "--size-mb", "60")
"""At 100 units a second, that takes longer than `SECONDS`."""


def counted(server: Server, kind: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{server.url}/_account") as reply:
        found: dict[str, float] = json.load(reply)[kind]
    return found


def units(server: Server, kind: str = "read") -> float:
    return counted(server, kind)["units"]


async def moves(server: Server, kind: str, by: float = 1) -> None:
    """Wait until the job has consumed so many units more."""
    before = await asyncio.to_thread(units, server, kind)
    async with asyncio.timeout(SECONDS):
        while await asyncio.to_thread(units, server, kind) < before + by:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def stands_still(server: Server, kind: str) -> None:
    """Wait until the job consumes nothing any more."""
    before, now = -1.0, 0.0
    async with asyncio.timeout(SECONDS):
        while before != now:
            before, now = now, await asyncio.to_thread(units, server, kind)
            await asyncio.sleep(STILL_SECONDS)


async def test_a_running_export_is_steered(tmp_path: Path) -> None:
    with run_counting(*SIZE) as server:
        out = tmp_path / "out"
        running = await start(
            *("export", "-t", "T", "-d", str(out), "-p", "2", "-c", "100", "--json"), environment=server.environment()
        )
        try:
            await moves(server, "read", by=3 * 100)  # so that whole seconds of the timeline have this budget
            running.send_signal(signal.SIGUSR1)
            await stands_still(server, "read")
            running.send_signal(signal.SIGUSR1)
            await moves(server, "read")
            (out / "_ddbio" / "control.json").write_text('{"capacity": 10000}')
        finally:
            done = await end(running)
    assert done.code == 0, done.err
    assert "Paused" in done.err
    report = json.loads(done.out)
    assert {row["budget"] for row in report["timeline"]} == {0, 100, 10_000}
    assert sum(row["units"] for row in report["timeline"]) == report["capacity_units"]


@pytest.mark.exhaustive
async def test_an_export_to_s3_is_steered_there(seaweed: Server) -> None:
    bucket = await asyncio.to_thread(seaweed.create_bucket)

    async def wish(wishes: Mapping[str, object]) -> None:
        place = {"Bucket": bucket, "Key": "x/_ddbio/control.json"}
        await asyncio.to_thread(seaweed.client("s3").put_object, **place, Body=json.dumps(wishes).encode())

    with run_counting(*SIZE) as server:
        environment = {**server.environment(), "AWS_ENDPOINT_URL_S3": seaweed.url}
        running = await start(
            *("export", "-t", "T", "-d", f"s3://{bucket}/x", "-p", "2", "-c", "100", "--json"), environment=environment
        )
        try:
            await moves(server, "read", by=3 * 100)
            await wish({"paused": True})
            await stands_still(server, "read")
            await wish({"paused": False, "capacity": "10000"})
        finally:
            done = await end(running)
    assert done.code == 0, done.err
    assert {row["budget"] for row in json.loads(done.out)["timeline"]} == {0, 100, 10_000}


@pytest.mark.exhaustive
async def test_a_running_import_is_steered(tmp_path: Path) -> None:
    source, state = tmp_path / "items.json", tmp_path / "state"
    source.write_text("".join(json.dumps({"pk": f"p{i}", "sk": i}) + "\n" for i in range(8_000)))
    with run_counting("--mode", "stored") as server:
        running = await start(
            *("import", "-t", "T", "-s", str(source), "--state", str(state), "-p", "2", "-c", "100", "--json"),
            environment=server.environment(),
        )
        try:
            await moves(server, "write", by=3 * 100)
            running.send_signal(signal.SIGUSR1)
            await stands_still(server, "write")
            running.send_signal(signal.SIGUSR1)
            await moves(server, "write")
            for worker in workers(running):  # `pkill` reaches them, too
                os.kill(worker, signal.SIGUSR1)
            (state / "_ddbio" / "control.json").write_text('{"capacity": 5000}')
        finally:
            done = await end(running)
        assert counted(server, "write")["items"] == 8_000
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["items"], report["rejected"]) == (8_000, 0)
    assert {row["budget"] for row in report["timeline"]} == {0, 100, 5_000}
    assert "Capacity: 5,000 units/s from now on." in done.err
    assert "SIGUSR1" not in done.err


def test_an_export_ends_at_its_limits_and_goes_on_afterwards(tmp_path: Path) -> None:
    items = 40_000
    with run_counting("--items", str(items)) as server:
        out = tmp_path / "out"
        command = ("export", "-t", "T", "-d", str(out), "-p", "2", "--segments", "64", "--json")
        ended = ddbio(*command, "-c", "100", "--max-units", "150", environment=server.environment())
        assert (ended.code, json.loads(ended.out)["manifest"]) == (4, None)
        assert "its --max-units of 150 are used up" in ended.err
        assert ended.err.splitlines()[-1].endswith("--max-units 150 --resume")
        used = units(server)
        assert 150 <= used < 450
        ended = ddbio(*command, "-c", "100", "--max-duration", "3", "--resume", environment=server.environment())
        assert (ended.code, json.loads(ended.out)["manifest"]) == (4, None)
        assert "its --max-duration of 3 s is over" in ended.err
        assert used < units(server) < used + 600
        done = ddbio(*command, "-c", "20000", "--resume", environment=server.environment())
    assert done.code == 0, done.err
    assert json.loads(done.out)["items"] == items
    keys = Counter(json.loads(line)["pk"] for file in out.glob("*.json") for line in file.read_text().splitlines())
    assert keys == Counter(make_item("small", 0, number)["pk"]["S"] for number in range(items))


@pytest.mark.exhaustive
def test_an_import_ends_at_its_limits_and_goes_on_afterwards(tmp_path: Path) -> None:
    source = tmp_path / "items.json"
    source.write_text("".join(json.dumps({"pk": f"p{i}", "sk": i}) + "\n" for i in range(6_000)))
    with run_counting("--mode", "stored") as server:
        place = ("-s", str(source), "--state", str(tmp_path / "state"))
        command = ("import", "-t", "T", *place, "-p", "2", "--json")
        ended = ddbio(*command, "-c", "500", "--max-units", "1000", environment=server.environment())
        assert (ended.code, json.loads(ended.out)["manifest"]) == (4, None)
        assert "its --max-units of 1,000 are used up" in ended.err
        assert ended.err.splitlines()[-1].endswith("--max-units 1000 --resume")
        used = units(server, "write")
        assert 1_000 <= used < 2_500
        ended = ddbio(*command, "-c", "500", "--max-duration", "3", "--resume", environment=server.environment())
        assert (ended.code, json.loads(ended.out)["manifest"]) == (4, None)
        assert "its --max-duration of 3 s is over" in ended.err
        assert used < units(server, "write") < used + 2_500
        done = ddbio(*command, "-c", "5000", "--resume", environment=server.environment())
        assert done.code == 0, done.err
        report = json.loads(done.out)
        assert (report["items"], report["rejected"]) == (6_000, 0)
        assert counted(server, "write")["items"] <= 6_000 + 2 * 1_500  # a run's last second is not in the journal
        out = tmp_path / "out"
        back = ddbio("export", "-t", "T", "-d", str(out), "-p", "1", "-c", "10000", environment=server.environment())
    assert back.code == 0, back.err
    keys = Counter(json.loads(line)["pk"] for file in out.glob("*.json") for line in file.read_text().splitlines())
    assert keys == Counter(f"p{i}" for i in range(6_000))
