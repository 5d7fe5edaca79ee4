"""Jobs and scans inside an application's own event loop: they do their work, change nothing of its, leave nothing.

Every test runs on asyncio's default loop and on uvloop.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ddbio import (
    BatchWriter,
    Capacity,
    Connection,
    ExportOptions,
    ImportOptions,
    ScanOptions,
    WriterOptions,
    export_table,
    import_table,
    runtime,
    scan,
)
from ddbio.errors import DdbioError
from ddbio.events import Event
from tests.kit.marks import few
from tests.kit.servers.aws import REGION
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.http import Handler, Reply, Request
from tests.kit.servers.items import make_item
from tests.kit.servers.replies import Hook, error_reply
from tests.kit.servers.tables import Table

ITEMS = 3_000
SECONDS = 60
"""Longer than any of these jobs takes on a busy machine."""
FAST = Capacity(units=100_000)
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.SelectorEventLoop, uvloop.new_event_loop]
JOBS = [("export", 1), ("export", 2), ("import", 1), ("import", 2), ("scan", 1), ("write", 1)]
Main = Callable[[CountingServer], Awaitable[None]]


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """Each kind of event loop in turn."""
    factory: Callable[[], asyncio.AbstractEventLoop] = request.param
    return factory


class Application:
    """Runs a coroutine as an application would, beside a server, and compares what was with what is."""

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self._loop_factory = loop_factory
        self.on_request: Hook | None = None

    def run(self, main: Main) -> None:
        """Run `main`. Nothing but its effects on files and tables may remain."""
        self._loop_factory().close()  # libuv's first loop opens a pipe for the process
        gc.collect()  # what earlier tests left may hold descriptors
        before = around()
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(self._observed(main))
        # A thread that was told to end needs a moment for it.
        for thread in set(threading.enumerate()) - before.pop("threads"):
            thread.join(SECONDS)
            assert not thread.is_alive()
        after = around()
        del after["threads"]
        assert after == before

    async def _observed(self, main: Main) -> None:
        tables = [Table(items=ITEMS), Table(name="Copy", mode="stored"), Table(name="Other", items=100, seed=1)]
        before = signals()
        seen: list[dict[int, object]] = []

        async def note(request: Request, serve: Handler) -> Reply:
            seen.append(signals())
            return await (serve(request) if self.on_request is None else self.on_request(request, serve))

        async with asyncio.timeout(SECONDS), CountingServer(*tables, on_request=note) as server:
            await main(server)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert all(during == before for during in [*seen, signals()])


def signals() -> dict[int, object]:
    """What is done on each signal."""
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def around() -> dict[str, Any]:
    """What an application would not like to be changed."""
    loggers = [logging.root, *(logging.getLogger(name) for name in ("ddbio", "botocore", "aiobotocore", "asyncio"))]
    return {
        "threads": set(threading.enumerate()),
        "children": set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()),
        "signals": signals(),
        "logging": [(logger.level, list(logger.handlers), logger.propagate) for logger in loggers],
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "warnings": list(warnings.filters),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
    }


@pytest.fixture
def application(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> Application:
    """An application."""
    return Application(loop_factory)


def exporting(server: CountingServer, folder: Path, **members: Any) -> ExportOptions:
    return ExportOptions(
        table="T", destination=str(folder), connection=connection(server), capacity=FAST, segments=8, **members
    )


def importing(server: CountingServer, folder: Path, state: Path, **members: Any) -> ImportOptions:
    return ImportOptions(
        table="Copy", source=str(folder), connection=connection(server), capacity=FAST, state=str(state), **members
    )


def connection(server: CountingServer) -> Connection:
    return Connection(region=REGION, endpoint_url=server.url)


def keys_in(folder: Path) -> list[str]:
    return sorted(json.loads(line)["pk"] for file in folder.glob("*.json") for line in file.read_text().splitlines())


def keys(count: int) -> list[str]:
    return [make_item("small", 0, number)["pk"]["S"] for number in range(count)]


@pytest.mark.parametrize("processes", few([1, 2], 1))
def test_export_and_import(
    application: Application, tmp_path: Path, processes: int, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    async def main(server: CountingServer) -> None:
        gone = await export_table(exporting(server, out, processes=processes))
        come = await import_table(importing(server, out, tmp_path / "state", processes=processes))
        assert gone.items == come.items == len(server.stored("Copy")) == ITEMS

    application.run(main)
    assert keys_in(out) == keys(ITEMS)
    assert capfd.readouterr() == ("", "")


def test_jobs_scans_and_writers_at_once(application: Application, tmp_path: Path) -> None:
    """Several jobs share the loop: each gives its own events and its own report."""
    plain, other = tmp_path / "plain", tmp_path / "other"
    source = tmp_path / "in.json"
    source.write_text("".join(json.dumps({"pk": key, "sk": 1}) + "\n" for key in keys(500)))

    async def main(server: CountingServer) -> None:
        async def count() -> int:
            return len([item async for item in scan(ScanOptions(table="T", connection=connection(server)))])

        async def write() -> None:
            async with BatchWriter(WriterOptions(table="Copy", connection=connection(server))) as writer:
                for key in keys(300):
                    await writer.put({"pk": {"S": key}, "sk": {"N": "2"}})

        reports = await asyncio.gather(
            export_table(exporting(server, plain)),
            export_table(replace(exporting(server, other), table="Other", processes=2)),
            import_table(importing(server, source, tmp_path / "state")),
            count(),
            write(),
        )
        assert [reports[0].items, reports[1].items, reports[2].items, reports[3]] == [ITEMS, 100, 500, ITEMS]
        assert len(server.stored("Copy")) == 800

    application.run(main)
    assert keys_in(plain) == keys(ITEMS)
    assert keys_in(other) == keys(100)


@pytest.mark.parametrize(("job", "processes"), few(JOBS, 0, 3))
def test_nothing_is_left_after_a_failure(application: Application, tmp_path: Path, job: str, processes: int) -> None:
    async def denied(request: Request, serve: Handler) -> Reply:
        if request.operation in ("Scan", "BatchWriteItem"):
            return error_reply("AccessDeniedException", "not authorized")
        return await serve(request)

    async def main(server: CountingServer) -> None:
        with pytest.raises(DdbioError, match="AccessDeniedException: not authorized"):
            await jobs(server, tmp_path, processes)[job]

    application.on_request = denied
    application.run(main)


@pytest.mark.parametrize(("job", "processes"), few(JOBS, 1, 4))
def test_nothing_is_left_after_a_cancellation(
    application: Application, tmp_path: Path, job: str, processes: int
) -> None:
    """Cancelled while a request is on its way; the same options with `resume` go on."""

    async def main(server: CountingServer) -> None:
        reached, opened = asyncio.Event(), asyncio.Event()

        async def hold(request: Request, serve: Handler) -> Reply:
            if request.operation in ("Scan", "BatchWriteItem"):
                reached.set()
                await opened.wait()
            return await serve(request)

        application.on_request = hold
        task = asyncio.ensure_future(jobs(server, tmp_path, processes)[job])
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        opened.set()
        if job in ("export", "import"):
            report = await jobs(server, tmp_path, processes, resume=True)[job]
            assert (report.items, report.resumed) == (ITEMS if job == "export" else 500, True)

    application.run(main)


class Lazy(dict[str, Callable[[], Coroutine[Any, Any, Any]]]):
    """Coroutines that are made when they are asked for."""

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name)()


def items_file(folder: Path) -> Path:
    """500 items."""
    file = folder / "in.json"
    if not file.exists():
        file.write_text("".join(json.dumps({"pk": key, "sk": 1}) + "\n" for key in keys(500)))
    return file


def jobs(server: CountingServer, folder: Path, processes: int, **members: Any) -> Lazy:
    """One of each kind, by name."""
    source = items_file(folder)

    async def read() -> None:
        async for _ in scan(ScanOptions(table="T", connection=connection(server))):
            pass

    async def write() -> None:
        async with BatchWriter(WriterOptions(table="Copy", connection=connection(server))) as writer:
            await writer.put({"pk": {"S": "a"}, "sk": {"N": "2"}})

    return Lazy(
        {
            "export": lambda: export_table(exporting(server, folder / "out", processes=processes, **members)),
            "import": lambda: import_table(importing(server, source, folder / "state", processes=processes, **members)),
            "scan": read,
            "write": write,
        }
    )


@pytest.mark.parametrize("job", ["export", "import"])
def test_an_observer_that_fails_stops_no_job(
    job: str, application: Application, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def observe(event: Event) -> None:
        raise RuntimeError("no more memory for events")

    async def main(server: CountingServer) -> None:
        if job == "export":
            report = await export_table(exporting(server, tmp_path / "out"), observer=observe)
        else:
            report = await import_table(importing(server, items_file(tmp_path), tmp_path / "state"), observer=observe)
        assert report.items == (ITEMS if job == "export" else 500)

    application.run(main)
    assert [record.message for record in caplog.records] == ["The observer raised an exception; the job continues."]


async def loop_in_use() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def test_own_processes_run_on_uvloop_where_it_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runtime.run(loop_in_use()) == "uvloop"
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert runtime.run(loop_in_use()) == "asyncio"
