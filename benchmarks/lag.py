"""The longest that a job holds its event loop: `python -m benchmarks.lag export|import TABLE PLACE`.

Runs the job under full load inside this process, on asyncio's own loop, whose callbacks can be watched (uvloop's can't;
the code in them is the same but for the transport's). Prints one JSON object: how many callbacks there were once the
job had begun, how many took more than 5 ms of CPU time, and the longest of them. The garbage collector, which belongs
to the process and may strike in any callback, is counted apart.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import tempfile
from asyncio import events
from collections.abc import Iterator
from contextlib import contextmanager
from heapq import nlargest
from pathlib import Path
from time import thread_time
from typing import Any, get_args

from benchmarks.inputs import write_items
from benchmarks.setting import Setting
from benchmarks.wire.tables import page_of
from ddbio import Capacity, Event, ExportOptions, ImportOptions, JobPlanned, export_table, import_table
from ddbio.model import Compression
from tests.kit.servers.items import Shape

JOBS: tuple[tuple[str, Shape, tuple[str, ...]], ...] = (
    ("export", "small", ()),
    ("export nested", "nested", ()),
    ("export gzip", "small", ("--compress", "gzip")),
    ("import", "small", ()),
    ("import large", "large", ()),
)
LIMIT = 0.005
LONGEST = 5
PLENTY = Capacity(units=1_000_000)


class Watch:
    """Notes what each callback took, in seconds of CPU time, from the moment that the job is planned."""

    def __init__(self) -> None:
        self.callbacks = 0
        self.over_limit = 0
        self.longest: list[tuple[float, str]] = []
        self.longest_collection = 0.0
        self._begun = False
        self._collecting_since = 0.0
        self._collected = 0.0

    def observe(self, event: Event) -> None:
        """The job's observer."""
        self._begun = self._begun or isinstance(event, JobPlanned)

    def collector(self, phase: str, _: dict[str, int]) -> None:
        """What the garbage collector calls, before and after."""
        if phase == "start":
            self._collecting_since = thread_time()
            return
        pause = thread_time() - self._collecting_since
        self._collected += pause
        if self._begun:
            self.longest_collection = max(self.longest_collection, pause)

    def note(self, seconds: float, handle: events.Handle) -> None:
        """Take one callback into account."""
        seconds -= self._collected
        self._collected = 0.0
        if not self._begun:
            return
        self.callbacks += 1
        self.over_limit += seconds > LIMIT
        if len(self.longest) < LONGEST or seconds > self.longest[-1][0]:
            self.longest = nlargest(LONGEST, [*self.longest, (seconds, _name(handle))])

    def report(self) -> dict[str, Any]:
        """What is printed."""
        longest = [{"milliseconds": round(seconds * 1e3, 2), "callback": name} for seconds, name in self.longest]
        return {
            "callbacks": self.callbacks,
            "over_5_ms": self.over_limit,
            "longest": longest,
            "longest_collection_milliseconds": round(self.longest_collection * 1e3, 2),
        }


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch every callback of asyncio's loops."""
    watch, run = Watch(), events.Handle._run

    def timed(handle: events.Handle) -> None:
        began = thread_time()
        run(handle)
        watch.note(thread_time() - began, handle)

    events.Handle._run = timed  # type: ignore[assignment,method-assign]
    gc.callbacks.append(watch.collector)
    try:
        yield watch
    finally:
        gc.callbacks.remove(watch.collector)
        events.Handle._run = run  # type: ignore[method-assign]


def _name(handle: events.Handle) -> str:
    callback: Any = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        callback = owner.get_coro()
    return getattr(callback, "__qualname__", None) or repr(callback)


async def run(options: argparse.Namespace, watch: Watch, state: str) -> None:
    """Run the job inline."""
    if options.direction == "export":
        job = ExportOptions(
            table=options.table, destination=options.place, capacity=PLENTY, compress=options.compress, overwrite=True
        )
        await export_table(job, observer=watch.observe)
    else:
        await import_table(
            ImportOptions(table=options.table, source=options.place, capacity=PLENTY, state=state),
            observer=watch.observe,
        )


def measure(setting: Setting, pages: int) -> Iterator[dict[str, Any]]:
    """Exports of so many pages, imports of as many pages of large items, or a tenth as many of small ones."""
    for job, shape, more in JOBS:
        with tempfile.TemporaryDirectory(dir=setting.folder) as name:
            place = Path(name, "items")
            direction = job.partition(" ")[0]
            if direction == "import":
                write_items(place, shape, (pages if shape == "large" else pages // 10) * page_of(shape).items)
            table = f"{shape}-{pages}"
            command = [sys.executable, "-m", "benchmarks.lag", direction, table, str(place), *more]
            yield {"job": job, **json.loads(setting.run(command, setting.wire.environment(tls=True)).output)}


def main() -> None:
    """Parse the arguments and run the job."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lag", description=__doc__)
    parser.add_argument("direction", choices=("export", "import"))
    parser.add_argument("table")
    parser.add_argument("place", help="a destination, or a source")
    parser.add_argument("--compress", choices=get_args(Compression), default="none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as state, watching() as watch:
        asyncio.run(run(options, watch, state))
    print(json.dumps(watch.report()))


if __name__ == "__main__":
    main()
