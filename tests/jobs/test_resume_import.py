"""An import that was stopped anywhere and is resumed: everything is in the table, every reject is told once."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ddbio import export_table, import_table
from ddbio.errors import (
    CheckpointMismatchError,
    DdbioError,
    DestinationError,
    TooManyRejectsError,
    UnfinishedJobError,
    UsageError,
)
from ddbio.events import Event, JobPlanned, Warned
from ddbio.fleet import engine
from ddbio.jobs import planning
from ddbio.options import Capacity, Connection, ExportOptions, ImportOptions
from ddbio.pipeline.importing.importer import Importer
from ddbio.pipeline.tuning import Tuning
from ddbio.report import JobReport
from ddbio.storage.base import MANIFEST, OWN_FOLDER
from ddbio.storage.local.sink import LocalSink
from tests.conftest import StartCounting
from tests.kit.marks import few
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.replies import error_reply
from tests.kit.servers.tables import Table
from tests.kit.stopping import Journaled, Service, cancelled
from tests.kit.tuning import journal_at_once

RECORDS = 1_500
BAD = 60
KEY = (("pk", "S"), ("sk", "N"))


@pytest.fixture(autouse=True)
def fine_grain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit often, and cut files into many spans."""
    monkeypatch.setattr(engine, "Importer", partial(Importer, tuning=Tuning(commit_seconds=0.01)))
    journal_at_once(monkeypatch)
    monkeypatch.setattr(planning, "SMALLEST_SPAN", 9_001)


def source_lines() -> list[str]:
    """Records, with bad ones and blank lines among them."""
    lines = [json.dumps({"pk": f"k{number:06d}", "sk": number, "ä": "☃" * (number % 7)}) for number in range(RECORDS)]
    for number in range(BAD):
        lines.insert(number * 20, f'{{"pk": "bad {number}"}}')
    return [line for pair in zip(lines, ["", "\r"] * len(lines), strict=False) for line in pair]


class Imports:
    """Imports of one source."""

    def __init__(self, server: CountingServer, service: Service, journaled: Journaled, root: Path) -> None:
        self.server = server
        self.service = service
        self.journaled = journaled
        self.state = root / "state"
        self.source = root / "in"
        self.events: list[Event] = []
        self.options = ImportOptions(
            table="T",
            source=str(self.source),
            connection=Connection(region="us-east-1", dynamodb_endpoint_url=server.url),
            capacity=Capacity(units=1_000_000),
            concurrency=3,
            state=str(self.state),
        )

    async def run(self, **options: Any) -> JobReport:
        return await import_table(replace(self.options, **options), observer=self.events.append)

    async def interrupt(self, chunks: int = 4, delay: float = 0.0, **options: Any) -> bool:
        return await cancelled(asyncio.ensure_future(self.run(**options)), self.journaled.more(chunks), delay)

    async def interrupt_after_a_reject(self) -> Path:
        """Interrupt the import, again if need be (its first spans may have no rejects); the rejects file."""
        assert await self.interrupt(3)
        while not self.rejects:
            assert await self.interrupt(3, resume=True)
        (rejects,) = self.rejects
        return rejects

    @property
    def warnings(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Warned)]

    @property
    def rejects(self) -> list[Path]:
        return list(self.state.glob("rejects-*.jsonl"))

    def check(self, report: JobReport, rejects: Path | None = None) -> None:
        """Every record is in the table or in the rejects file, once; nothing else is in the state folder."""
        assert (report.items, report.rejected) == (RECORDS, BAD)
        stored = {item["pk"]["S"]: len(item["ä"]["S"]) for item in self.server.stored().items}
        assert stored == {f"k{number:06d}": number % 7 for number in range(RECORDS)}
        (found,) = self.rejects if rejects is None else [rejects]
        told = Counter(json.loads(line)["raw"].strip() for line in found.read_text().splitlines())
        assert told == Counter(f'{{"pk": "bad {number}"}}' for number in range(BAD))
        assert {path.name for path in self.state.rglob("*") if path.is_file()} - {found.name} == {"manifest.json"}


@pytest.fixture
async def imports(counting: StartCounting, tmp_path: Path, journaled: Journaled) -> Imports:
    """Imports of a plain file and a compressed one."""
    service = Service("BatchWriteItem")
    server = await counting(Table(mode="stored", key=KEY), on_request=service)
    imports = Imports(server, service, journaled, tmp_path)
    lines = source_lines()
    half = len(lines) // 2
    imports.source.mkdir()
    (imports.source / "1.jsonl").write_text("\n".join(lines[:half]))
    (imports.source / "2.jsonl.gz").write_bytes(gzip.compress("\n".join(lines[half:]).encode()))
    return imports


@pytest.mark.parametrize("seed", few(range(4), 0))
async def test_an_import_stopped_anywhere_ends_as_if_undisturbed(imports: Imports, seed: int) -> None:
    rng = random.Random(seed)
    for stops in range(4):
        delay = rng.choice([0, rng.uniform(0, 0.05)])
        if not await imports.interrupt(rng.randint(1, 3), delay, resume=stops > 0):
            break
    report = await imports.run(resume=True)
    assert report.resumed
    imports.check(report)
    again = await imports.run(resume=True)
    assert replace(again, peak_rss_bytes=report.peak_rss_bytes) == report
    assert (again.items, again.rejected, again.files) == (RECORDS, BAD, report.files)
    assert "nothing is left to do" in imports.warnings[-1]


async def test_an_import_refused_at_first_runs_once_corrected(imports: Imports) -> None:
    (imports.source / "2.jsonl.gz").unlink()
    (imports.source / "1.jsonl").write_text("".join(f'{{"pk": "{number:0300}", "sk": 1}}\n' for number in range(99)))
    imports.service.answers |= dict.fromkeys(range(1, 20), error_reply("AccessDeniedException", "No."))
    with pytest.raises(DdbioError, match="AccessDenied") as caught:
        await imports.run()
    assert not caught.value.resumable
    assert [path for path in imports.state.rglob("*") if path.is_file()] == []
    imports.service.answers.clear()
    report = await imports.run()
    assert (report.items, report.files, report.resumed) == (99, 1, False)


async def test_what_was_journaled_is_not_sent_again(imports: Imports) -> None:
    assert await cancelled(asyncio.ensure_future(imports.run()), imports.journaled.written, 0.0)
    written = replayed(imports.state)
    assert written > 0
    before = imports.server.account.totals("write").items
    imports.check(await imports.run(resume=True))
    assert imports.server.account.totals("write").items - before == RECORDS - written


def replayed(state: Path) -> int:
    """How many records the journal says are in the table."""
    chunks = sorted((state / OWN_FOLDER / "journal").iterdir())
    entries = [json.loads(line) for chunk in chunks for line in chunk.read_bytes().splitlines()[1:]]
    return sum(entry.get("written", 0) for entry in entries)


async def test_an_import_that_failed_can_be_resumed(imports: Imports) -> None:
    imports.service.answers[30] = error_reply("AccessDeniedException", "No.")
    with pytest.raises(DdbioError) as caught:
        await imports.run()
    assert caught.value.resumable
    imports.check(await imports.run(resume=True, concurrency=1))


async def test_an_import_whose_manifest_failed_can_be_resumed(
    imports: Imports, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LocalSink.put

    async def full(sink: LocalSink, name: str, data: bytes) -> None:
        if name == MANIFEST:
            raise DestinationError("No space left on device.")
        await real(sink, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(LocalSink, "put", full)
        with pytest.raises(DestinationError) as caught:
            await imports.run()
    assert caught.value.resumable
    imports.check(await imports.run(resume=True))


async def test_rejects_that_no_commit_speaks_of_are_cut_off(imports: Imports) -> None:
    rejects = await imports.interrupt_after_a_reject()
    with rejects.open("a") as file:
        file.write(rejects.read_text()[:60])
    imports.check(await imports.run(resume=True))


async def test_rejects_of_another_job_survive_ones_resuming(imports: Imports, tmp_path: Path) -> None:
    rejects = tmp_path / "both.jsonl"
    await imports.interrupt(3, rejects=str(rejects))
    other = tmp_path / "other.jsonl"
    other.write_text('{"pk": 1}\n')
    await imports.run(source=str(other), state=str(tmp_path / "other"), rejects=str(rejects))
    report = await imports.run(resume=True, rejects=str(rejects))
    told = rejects.read_text().splitlines()
    assert [json.loads(line)["source"] for line in told if str(other) in line] == [str(other)]
    rejects.write_text("".join(f"{line}\n" for line in told if str(other) not in line and line.strip()))
    imports.check(report, rejects)


async def test_a_rejects_file_that_somebody_has_shortened_stays_text(imports: Imports) -> None:
    rejects = await imports.interrupt_after_a_reject()
    rejects.write_text("")
    await imports.run(resume=True)
    assert all(json.loads(line)["ddbio_reject"] for line in rejects.read_text().splitlines())


async def test_a_named_rejects_file_is_appended_to(imports: Imports, tmp_path: Path) -> None:
    rejects = tmp_path / "mine.jsonl"
    rejects.write_text('{"mine": 1}\n')
    await imports.interrupt(3, rejects=str(rejects))
    with pytest.raises(CheckpointMismatchError, match=f"Its rejects file: {rejects} before, None now"):
        await imports.run(resume=True)
    report = await imports.run(resume=True, rejects=str(rejects))
    assert report.rejects == str(rejects)
    first, _, rest = rejects.read_text().partition("\n")
    assert first == '{"mine": 1}'
    rejects.write_text(rest)
    imports.check(report, rejects)


async def test_too_many_rejects_stop_an_import_that_can_go_on(imports: Imports) -> None:
    for resume in (False, True):
        with pytest.raises(TooManyRejectsError, match="records were rejected, more than the 5 allowed") as caught:
            await imports.run(max_rejects=5, resume=resume)
        assert caught.value.resumable
    with pytest.raises(TooManyRejectsError, match="Stopped at the first rejected record"):
        await imports.run(strict=True, resume=True)
    imports.check(await imports.run(resume=True))


@pytest.mark.parametrize(
    ("change", "options", "told"),
    [
        (lambda source: (source / "1.jsonl").write_text("{}"), {}, "1.jsonl has changed since .* modification time"),
        (lambda source: (source / "1.jsonl").touch(), {}, "1.jsonl has changed since .* modification time"),
        (lambda source: (source / "3.jsonl").touch(), {}, "Its source files: 2 of .* before, 3 of .* now"),
        (lambda source: None, {"format": "jsonl"}, "Its format: auto before, jsonl now"),
    ],
)
async def test_another_import_is_refused(
    imports: Imports, change: Callable[[Path], object], options: dict[str, Any], told: str
) -> None:
    await imports.interrupt(2)
    change(imports.source)
    with pytest.raises(CheckpointMismatchError, match=told):
        await imports.run(resume=True, **options)


async def test_an_unfinished_import_is_refused_without_resume(imports: Imports) -> None:
    await imports.interrupt(2)
    with pytest.raises(UnfinishedJobError) as caught:
        await imports.run()
    assert caught.value.hint == "Resume it with --resume, or start over with another --state."
    imports.check(await imports.run(resume=True))


async def test_a_finished_import_begins_anew_without_resume(imports: Imports) -> None:
    await imports.run()
    (first,) = imports.rejects
    first.unlink()
    report = await imports.run()
    assert not report.resumed
    imports.check(report)
    assert imports.server.account.totals("write").items == 2 * RECORDS


async def test_a_chunk_that_was_being_written_is_no_damage(imports: Imports) -> None:
    await imports.interrupt(2)
    (imports.state / OWN_FOLDER / "journal" / "00000099.json.20260101T000000Z-0a0b0c.part").touch()
    imports.check(await imports.run(resume=True))


@pytest.mark.parametrize("source", ["in", "./in/", "other/../in", "in/*.jsonl*", "link/in"])
async def test_an_import_goes_on_from_another_folder(
    imports: Imports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    await imports.interrupt(2, state=None, source=source)
    (plan,) = [event for event in imports.events if isinstance(event, JobPlanned)]
    assert plan.state is not None
    assert Path(plan.state).is_absolute()
    monkeypatch.chdir(tmp_path / "other")
    files = "*.jsonl*" if "*" in source else ""
    report = await imports.run(resume=True, state=plan.state, source=f"../in/{files}")
    assert (report.resumed, report.items, report.rejected) == (True, RECORDS, BAD)


async def test_the_folder_of_an_export_is_no_state(imports: Imports) -> None:
    options = imports.options
    await export_table(
        ExportOptions(
            table="T", destination=str(imports.state), connection=options.connection, capacity=options.capacity
        )
    )
    manifest = (imports.state / MANIFEST).read_bytes()
    with pytest.raises(UsageError, match="holds an export"):
        await imports.run()
    with pytest.raises(CheckpointMismatchError, match="Its command: export before, import now"):
        await imports.run(resume=True)
    assert (imports.state / MANIFEST).read_bytes() == manifest
