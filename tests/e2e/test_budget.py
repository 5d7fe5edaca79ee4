"""A budget is kept by real processes, as the server counts. How much of it they use, and how soon it is near what a
table bears, depends on the machine: tests/unit/fleet/test_budget_bounds.py measures both on virtual time.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kit.command import ddbio, end, start
from tests.kit.servers.aws import Server
from tests.kit.servers.process import run_counting, run_faults

PROCESSES = 2
PLENTY = ("100000", "100000")


@contextmanager
def bearing(read: str, write: str, *arguments: str) -> Iterator[Server]:
    """A counting server behind the fault proxy, which serves so many units a second, and whose account is judged."""
    with (
        run_counting(*arguments) as server,
        run_faults(server, "--capacity", read, write, "--partition-capacity", *PLENTY) as proxy,
    ):
        yield proxy


def account_of(server: Server) -> dict[str, Any]:
    with urllib.request.urlopen(f"{server.url}/_account") as reply:
        account: dict[str, Any] = json.load(reply)
    return account


async def test_budgets_are_kept(tmp_path: Path) -> None:
    """An export and an import at the same time. A machine that is slow makes them slower, but never faster."""
    read, write = 440, 80
    source = tmp_path / "items.json"
    source.write_text("".join(json.dumps({"pk": f"p{i}", "sk": i, "text": "x" * 100}) + "\n" for i in range(400)))
    with bearing(*PLENTY, "--mode", "canned", "--shape", "large", "--size-mb", "20") as server:
        place = ("-s", str(source), "--state", str(tmp_path / "state"))
        began = time.monotonic()

        async def run(*command: str) -> tuple[float, dict[str, Any]]:
            more = ("-t", "T", "-p", str(PROCESSES), "--json")
            done = await end(await start(*command, *more, environment=server.environment()))
            assert done.code == 0, done.err
            return time.monotonic() - began, json.loads(done.out)

        runs = await asyncio.gather(
            run("export", "-d", str(tmp_path / "out"), "-c", str(read)), run("import", *place, "-c", str(write))
        )
        account = await asyncio.to_thread(account_of, server)
    for kind, budget, (seconds, report) in zip(("read", "write"), (read, write), runs, strict=True):
        counted = account["told"][kind]
        assert counted["units"] == report["capacity_units"] > 4 * budget
        assert counted["units"] <= 1.02 * budget * seconds + PROCESSES * counted["units"] / counted["requests"]
        assert {row["budget"] for row in report["timeline"]} == {budget}
    assert account["throttled"] == {}


@pytest.mark.exhaustive
def test_an_adaptive_budget_yields_to_throttling(tmp_path: Path) -> None:
    with bearing("400", "1", "--mode", "canned", "--size-mb", "20") as server:
        done = ddbio(
            *("export", "-t", "T", "-d", str(tmp_path / "out"), "-p", str(PROCESSES), "-c", "auto:5000", "--json"),
            environment=server.environment(),
        )
        account = account_of(server)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    reason = "TableReadProvisionedThroughputExceeded"
    assert report["throttle_reasons"] == account["throttled"] == {reason: report["throttles"]}
    budgets = [row["budget"] for row in report["timeline"]]
    assert max(budgets) <= 5_000
    assert min(budgets) < 2_500
