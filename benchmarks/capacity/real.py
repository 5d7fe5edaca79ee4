"""The command itself, with its processes, against the fault proxy in its capacity mode, which keeps the account."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.capacity.fleet import shuffled
from tests.kit.servers.aws import Server
from tests.kit.servers.process import run_faults, running
from tests.kit.sized import write_dump

WINDOW = 5
SECONDS = 120


def run(arguments: Sequence[str], server: Sequence[str], capacity: tuple[int, int]) -> dict[str, Any]:
    """Run ddbio to its end before a table that bears `capacity`; what the proxy counted, and ddbio's own report."""
    command = [sys.executable, "-m", "tests.kit.servers.counting", *server]
    with (
        running(command, r'"url": "(?P<url>[^"]+)"') as match,
        run_faults(Server("counting", match["url"]), "--capacity", *map(str, capacity)) as proxy,
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ddbio", *arguments, "--json"],
            env={**os.environ, **proxy.environment()},
            capture_output=True,
            check=True,
            timeout=SECONDS,
        )
        with urllib.request.urlopen(f"{proxy.url}/_account?window={WINDOW}") as reply:
            account: dict[str, Any] = json.load(reply)
    return {**account, "report": json.loads(done.stdout)}


def export(budget: str, megabytes: int, shape: str, processes: int, capacity: int) -> dict[str, Any]:
    """Export a table of so many megabytes."""
    with TemporaryDirectory() as folder:
        arguments = ("export", "-t", "T", "-d", f"{folder}/out", "-p", str(processes), "-c", budget)
        server = ("--mode", "generated", "--shape", shape, "--size-mb", str(megabytes))
        return run(arguments, server, (capacity, capacity))


def import_(budget: str, items: int, item_bytes: int, processes: int, capacity: int) -> dict[str, Any]:
    """Import so many items."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "dump.json"
        write_dump(path, [f"key {number:09d}" for number in shuffled(items)], item_bytes)
        place = ("-s", str(path), "--state", f"{folder}/state")
        arguments = ("import", "-t", "T", *place, "-p", str(processes), "-c", budget)
        return run(arguments, ("--mode", "stored"), (capacity, capacity))
