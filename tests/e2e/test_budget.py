"""A budget is kept and used, as the server counts: real processes, real time."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.kit.command import ddbio, end, start
from tests.kit.faults.process import run_faults
from tests.kit.servers.aws import Server
from tests.kit.servers.process import running

PROCESSES = 2
WINDOWS = (5, 7)
PLENTY = ("100000", "100000")


@contextmanager
def counting(*arguments: str) -> Iterator[Server]:
    """The counting server as a process of its own, so that it keeps its own time."""
    command = [sys.executable, "-m", "tests.kit.servers.counting", *arguments]
    with running(command, r'"url": "(?P<url>[^"]+)"') as match:
        yield Server("counting", match["url"])


@contextmanager
def bearing(read: str, write: str, *arguments: str) -> Iterator[Server]:
    """The same behind the fault proxy, which lets through so many units a second, and is the judge."""
    with (
        counting(*arguments) as server,
        run_faults(server, "--capacity", read, write, "--partition-capacity", *PLENTY) as proxy,
    ):
        yield proxy


def told(server: Server) -> dict[str, Any]:
    """The account of a proxy."""
    query = "&".join(f"window={seconds}" for seconds in WINDOWS)
    with urllib.request.urlopen(f"{server.url}/_account?{query}") as reply:
        account: dict[str, Any] = json.load(reply)
    return account


def forget(server: Server) -> None:
    """Begin the account anew."""
    urllib.request.urlopen(urllib.request.Request(f"{server.url}/_account", method="DELETE")).close()


def judge(counted: dict[str, Any], budget: float) -> None:
    """In any window at most 1.02 times the budget and one request of each process, and at least 97% of it used."""
    request = counted["units"] / counted["requests"]
    for seconds in WINDOWS:
        assert counted["max_window"][str(seconds)] <= 1.02 * budget * seconds + PROCESSES * request
    assert counted["steady"] >= 0.97 * budget


async def test_budgets_are_kept_and_used(tmp_path: Path) -> None:
    """An export and an import at the same time, with few and large requests: a process that is woken late, as on a busy
    machine, is late by little of what lies between two of them.
    """
    read, write = 440, 80
    source = tmp_path / "items.json"
    source.write_text("".join(json.dumps({"pk": f"p{i}", "sk": i, "text": "x" * 100}) + "\n" for i in range(8_000)))
    with bearing(*PLENTY, "--mode", "canned", "--shape", "large", "--size-mb", "100") as server:
        place = ("-s", str(source), "--state", str(tmp_path / "state"))
        jobs = [
            await start(*command, "-t", "T", "-p", str(PROCESSES), environment=server.environment())
            for command in (
                ("export", "-d", str(tmp_path / "out"), "-c", str(read)),
                ("import", *place, "-c", str(write)),
            )
        ]
        try:
            await begun(server)
            await asyncio.sleep(2)  # until every process is there, and has its share
            await asyncio.to_thread(forget, server)
            await asyncio.sleep(8)
            account = await asyncio.to_thread(told, server)
        finally:
            for job in jobs:
                job.send_signal(signal.SIGINT)
            done = await asyncio.gather(*map(end, jobs))
    assert [one.code for one in done] == [130, 130], done
    judge(account["told"]["read"], read)
    judge(account["told"]["write"], write)
    assert account["throttled"] == {}


async def begun(server: Server) -> None:
    """Wait until the first units of either kind are consumed."""
    async with asyncio.timeout(20):
        while not all(  # noqa: ASYNC110 - another process
            counted["units"] for counted in map((await asyncio.to_thread(told, server))["told"].get, ("read", "write"))
        ):
            await asyncio.sleep(0.05)


def test_a_budget_that_adapts_settles_on_what_the_table_bears(tmp_path: Path) -> None:
    bears = 400
    with bearing(str(bears), "1", "--mode", "canned", "--size-mb", "60") as server:
        done = ddbio(
            *("export", "-t", "T", "-d", str(tmp_path / "out"), "-p", str(PROCESSES), "-c", "auto:540", "--json"),
            environment=server.environment(),
        )
        account = told(server)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    reason = "TableReadProvisionedThroughputExceeded"
    assert report["throttle_reasons"] == account["throttled"] == {reason: report["throttles"]}
    # Four seconds after the first cut the budget is near again, whenever the workers began.
    cut = next(row["seconds"] for row in report["timeline"] if row["budget"] < 540)
    settled = [row for row in report["timeline"] if row["seconds"] >= cut + 4][:-1]
    assert len(settled) >= 4
    budgets = [row["budget"] for row in settled]
    assert max(budgets) - min(budgets) <= 0.3 * max(budgets)
    first, *others = settled
    assert sum(row["units"] for row in others) >= 0.85 * bears * (others[-1]["seconds"] - first["seconds"])
