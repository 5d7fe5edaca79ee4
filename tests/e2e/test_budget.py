"""A budget is kept and used, as the server counts: real processes, real time."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.command import ddbio
from tests.servers.aws import Server
from tests.servers.process import running

WINDOW = 5
PROCESSES = 2


@contextmanager
def counting(*arguments: str) -> Iterator[Server]:
    """The counting server as a process of its own, so that it keeps its own time."""
    command = [sys.executable, "-m", "tests.servers.counting", *arguments]
    with running(command, r'"url": "(?P<url>[^"]+)"') as match:
        yield Server("counting", match["url"])


def account(server: Server, kind: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{server.url}/_account?window={WINDOW}") as reply:
        counted: dict[str, Any] = json.load(reply)[kind]
    return counted


def within(counted: dict[str, Any], budget: float, request: float) -> None:
    """In any window at most 1.05 × the budget and one request per process, on average at least 95% of it."""
    assert counted["max_window"][str(WINDOW)] <= 1.05 * budget * WINDOW + PROCESSES * request
    assert counted["mean"] >= 0.95 * budget


def test_import_keeps_to_its_budget(tmp_path: Path) -> None:
    source = tmp_path / "items.json"
    source.write_text("".join(json.dumps({"pk": f"p{i}", "sk": i, "text": "x" * 100}) + "\n" for i in range(20_000)))
    with counting("--mode", "stored") as server:
        done = ddbio(
            *("import", "-t", "T", "-s", str(source), "-p", str(PROCESSES), "-c", "500", "--state", str(tmp_path)),
            environment=server.environment(),
        )
        assert done.code == 0, done.err
        counted = account(server, "write")
        assert counted["items"] == 20_000
        within(counted, 500, request=25)


def test_export_keeps_to_its_budget(tmp_path: Path) -> None:
    with counting("--mode", "canned", "--size-mb", "200") as server:
        done = ddbio(
            *("export", "-t", "T", "-d", str(tmp_path / "out"), "-p", str(PROCESSES), "-c", "2000", "--json"),
            environment=server.environment(),
        )
        assert done.code == 0, done.err
        counted = account(server, "read")
        assert counted["items"] == json.loads(done.out)["items"]
        within(counted, 2_000, request=128.5)
