"""How long a job keeps the event loop from everything else: the CPU time of its longest callbacks, under full load.

    python benchmarks/loop_lag.py [--size-mb 400] [--shape small]

Runs an export of canned pages (plain, gzip), then an import of what it wrote, each in this process on asyncio's own
loop, whose handles can be timed; the server is another process. CPU time, not the clock's: a busy machine does not
change it. What a job does before its first request is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import os
import sys
import tempfile
import time
from asyncio import events
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ddbio import Capacity, Connection, ExportOptions, ImportOptions, export_table, import_table
from ddbio.events import JobPlanned
from tests.servers.aws import Server
from tests.servers.process import running

ROOT = Path(__file__).resolve().parents[1]
SHOWN = 3
FAST = Capacity(units=1_000_000)


class Longest:
    """The longest callbacks since `start`, in milliseconds of CPU time, and how many there were."""

    def __init__(self) -> None:
        self.heap: list[tuple[float, str]] = []
        self.callbacks = 0
        self.began = False

    def start(self, event: object) -> None:
        """An observer of a job: it begins with its plan."""
        if isinstance(event, JobPlanned):
            self.heap, self.callbacks, self.began = [], 0, True

    def note(self, seconds: float, handle: events.Handle) -> None:
        self.callbacks += 1
        entry = (1000 * seconds, "")
        if self.began and (len(self.heap) < SHOWN or entry > self.heap[0]):
            entry = (entry[0], repr(handle).partition(" at 0x")[0][:160])
            (heapq.heappush if len(self.heap) < SHOWN else heapq.heapreplace)(self.heap, entry)


@contextmanager
def timing() -> Iterator[Longest]:
    """Time every callback of asyncio's loop while the block runs."""
    longest, run_handle = Longest(), events.Handle._run

    def timed(handle: Any) -> None:
        began = time.thread_time()
        try:
            run_handle(handle)
        finally:
            longest.note(time.thread_time() - began, handle)

    with patch.object(events.Handle, "_run", timed):
        yield longest


def measure(name: str, job: Any) -> None:
    with timing() as longest:
        asyncio.run(job(longest.start))
    print(f"{name}: {longest.callbacks:,} callbacks; the longest:")
    for milliseconds, what in sorted(longest.heap, reverse=True):
        print(f"  {milliseconds:6.2f} ms  {what}")


def main() -> None:
    parser = argparse.ArgumentParser(description="The longest callbacks of a job.")
    parser.add_argument("--size-mb", type=int, default=400)
    parser.add_argument("--shape", default="small")
    options = parser.parse_args()
    command = [sys.executable, "-m", "tests.servers.counting", "--mode", "canned"]
    command += ["--size-mb", str(options.size_mb), "--shape", options.shape]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder, running(command, r'"url": "(?P<url>[^"]+)"', environment) as match:
        server = Server("counting", match["url"])
        os.environ.update(server.environment())
        connection = Connection(endpoint_url=server.url)
        for compress in ("none", "gzip"):
            export = ExportOptions(
                table="T", destination=f"{folder}/{compress}", connection=connection, capacity=FAST, compress=compress
            )
            measure(f"export, {compress}", lambda observer, job=export: export_table(job, observer=observer))
        job = ImportOptions(
            table="T", source=f"{folder}/none", connection=connection, capacity=FAST, state=f"{folder}/state"
        )
        measure("import", lambda observer: import_table(job, observer=observer))


if __name__ == "__main__":
    main()
