"""An import of several sources: one wholly before the next, however it is stopped, and each by its own manifest."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ddbio import export_table, import_table
from ddbio.errors import CheckpointMismatchError, JournalError, NoInputError, UsageError
from ddbio.events import Event, JobPlanned, Warned
from ddbio.fleet import engine
from ddbio.jobs import planning
from ddbio.ledger.entries import Commit, Opened
from ddbio.ledger.journal import Journal
from ddbio.ledger.manifest import read_manifest
from ddbio.ledger.positions import AtOffset
from ddbio.options import Capacity, Connection, ExportOptions, ImportOptions
from ddbio.pipeline.importing.importer import Importer
from ddbio.pipeline.tuning import Tuning
from ddbio.report import JobReport
from ddbio.storage.base import MANIFEST
from ddbio.storage.local.sink import LocalSink
from tests.conftest import StartCounting
from tests.kit.marks import few
from tests.kit.servers.aws import Server
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.http import Handler, Reply, Request
from tests.kit.servers.tables import Table
from tests.kit.stopping import Journaled, Service, cancelled
from tests.kit.tuning import journal_at_once

RECORDS = 300
"""In each source; a third of them has the keys of the source before."""
KEY = (("pk", "S"), ("sk", "N"))


@pytest.fixture(autouse=True)
def fine_grain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit often, and cut files into many spans."""
    monkeypatch.setattr(engine, "Importer", partial(Importer, tuning=Tuning(commit_seconds=0.01)))
    monkeypatch.setattr(planning, "SMALLEST_SPAN", 2_001)


class Watched(Service):
    """The service; it notes of which source the items of each request are."""

    def __init__(self) -> None:
        super().__init__("BatchWriteItem")
        self.order: list[int] = []

    async def __call__(self, request: Request, serve: Handler) -> Reply:
        if request.operation == self.operation:
            puts = [write["PutRequest"]["Item"] for write in request.payload["RequestItems"]["T"]]
            self.order += sorted({int(item["source"]["N"]) for item in puts if "source" in item})
        return await super().__call__(request, serve)


class Imports:
    """Imports of several sources."""

    def __init__(self, server: CountingServer, service: Watched, root: Path) -> None:
        self.server = server
        self.service = service
        self.state = root / "state"
        self.events: list[Event] = []
        self.options = ImportOptions(
            table="T",
            source=[str(root / name) for name in ("0", "1.jsonl", "2*.jsonl")],
            connection=Connection(region="us-east-1", dynamodb_endpoint_url=server.url),
            capacity=Capacity(units=1_000_000),
            state=str(self.state),
        )

    async def run(self, **options: Any) -> JobReport:
        return await import_table(replace(self.options, **options), observer=self.events.append)

    @property
    def warnings(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Warned)]

    def check(self, sources: int = 3) -> None:
        """Each key has the line of the last source that has it."""
        stored = {item["pk"]["S"]: int(item["source"]["N"]) for item in self.server.stored().items}
        last = {key(source, number): source for source in range(sources) for number in range(RECORDS)}
        assert stored == last


def key(source: int, number: int) -> str:
    return f"k{source * RECORDS * 2 // 3 + number:06d}"


def lines(source: int) -> list[str]:
    return [json.dumps({"pk": key(source, number), "sk": 1, "source": source}) for number in range(RECORDS)]


def write(path: Path, records: Sequence[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{record}\n" for record in records))


@pytest.fixture
async def imports(counting: StartCounting, tmp_path: Path) -> Imports:
    """Imports of a folder, a file and a glob."""
    service = Watched()
    server = await counting(Table(mode="stored", key=KEY), on_request=service)
    write(tmp_path / "0" / "a.json", lines(0)[:200])
    write(tmp_path / "0" / "b.json", lines(0)[200:])
    write(tmp_path / "1.jsonl", lines(1))
    write(tmp_path / "2a.jsonl", lines(2)[::2])
    write(tmp_path / "2b.jsonl", lines(2)[1::2])
    return Imports(server, service, tmp_path)


@pytest.mark.parametrize(("processes", "capacity"), few([(1, 1e6), (3, 1e6), (3, 400)], 0, 2))
async def test_a_source_is_in_before_the_next_one_begins(imports: Imports, processes: int, capacity: float) -> None:
    report = await imports.run(processes=processes, capacity=Capacity(units=capacity))
    assert (report.items, report.files) == (3 * RECORDS, 5)
    assert imports.service.order == sorted(imports.service.order)
    imports.check()
    (plan,) = [event for event in imports.events if isinstance(event, JobPlanned)]
    assert plan.location == ", ".join(imports.options.sources)


@pytest.mark.parametrize("seed", few(range(4), 0))
async def test_resumed_anywhere_no_old_line_replaces_a_newer_one(
    imports: Imports, journaled: Journaled, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    journal_at_once(monkeypatch)
    rng = random.Random(seed)
    for stops in range(6):
        running = asyncio.ensure_future(imports.run(resume=stops > 0, concurrency=2))
        if not await cancelled(running, journaled.more(rng.randint(1, 3)), rng.choice([0, rng.uniform(0, 0.05)])):
            break
    report = await imports.run(resume=True)
    assert report.items == 3 * RECORDS
    assert imports.service.order == sorted(imports.service.order)
    imports.check()
    again = await imports.run(resume=True)
    assert (again.items, again.files) == (3 * RECORDS, 5)
    assert "nothing is left to do" in imports.warnings[-1]


async def test_a_file_that_is_named_twice_is_read_twice(imports: Imports, tmp_path: Path) -> None:
    first, second = str(tmp_path / "1.jsonl"), str(tmp_path / "2a.jsonl")
    report = await imports.run(source=[first, second, first])
    assert (report.items, report.files) == (2 * RECORDS + RECORDS // 2, 3)
    assert {item["source"]["N"] for item in imports.server.stored().items if item["pk"]["S"] < key(2, 0)} == {"1"}
    assert all(
        item["source"]["N"] == "1" for item in imports.server.stored().items if item["pk"]["S"] < key(1, RECORDS)
    )


async def test_an_empty_source_is_refused_before_anything_is_written(imports: Imports, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(NoInputError, match="none holds no input file"):
        await imports.run(source=[*imports.options.sources, str(tmp_path / "none")])
    assert (imports.service.served, imports.state.exists()) == (0, False)


async def test_other_sources_are_another_job_which_names_both(imports: Imports, journaled: Journaled) -> None:
    assert await cancelled(asyncio.ensure_future(imports.run(concurrency=1)), journaled.written, 0.0)
    sources = imports.options.sources
    begun = ", ".join(sources)
    for others in (sources[::-1], sources[:2], [*sources, sources[0]]):
        with pytest.raises(CheckpointMismatchError) as caught:
            await imports.run(source=others, resume=True)
        assert f"{begun} before, {', '.join(others)} now" in caught.value.message
    Path(sources[1]).touch()
    with pytest.raises(CheckpointMismatchError, match=r"1\.jsonl has changed since the import was begun"):
        await imports.run(resume=True)


async def test_the_state_folder_goes_by_all_sources(
    imports: Imports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, two = imports.options.sources[:2]
    for sources in (one, [one], [one, two], [two, one]):
        await imports.run(source=sources, state=None)
    assert len(list((tmp_path / ".ddbio").iterdir())) == 3


async def test_a_journal_that_names_another_file_is_refused(
    imports: Imports, journaled: Journaled, tmp_path: Path
) -> None:
    assert await cancelled(asyncio.ensure_future(imports.run(concurrency=1)), journaled.written, 0.0)
    secret = tmp_path / "secret.json"
    write(secret, ['{"pk": "secret", "sk": 1}'])
    async with LocalSink(imports.state, "forger", executor=None) as sink:  # type: ignore[arg-type]
        journal = Journal(sink)
        entries = [entry for chunk in [chunk async for chunk in journal.read()] for entry in chunk]
        await journal.remove()
        opened = entries[0]
        assert isinstance(opened, Opened)
        others = [split for split in opened.splits if split.file != imports.options.sources[1]]
        forged = msgspec.structs.replace(opened.splits[0], id=99, file=str(secret), start=0, end=None, source=1)
        await journal.append([msgspec.structs.replace(opened, splits=(*others, forged)), *entries[1:]])
    with pytest.raises(JournalError, match="names other files"):
        await imports.run(resume=True)
    assert "secret" not in {item["pk"]["S"] for item in imports.server.stored().items}


async def test_a_journal_that_begins_a_source_too_early_is_refused(imports: Imports, journaled: Journaled) -> None:
    """Else what is left of the earlier source would come over the lines of the later one that are there."""
    assert await cancelled(asyncio.ensure_future(imports.run(concurrency=1)), journaled.written, 0.0)
    async with LocalSink(imports.state, "forger", executor=None) as sink:  # type: ignore[arg-type]
        journal = Journal(sink)
        opened = await journal.opened()
        await journal.remove()
        assert opened is not None
        split = next(split for split in opened.splits if split.source == 1)
        assert split.size is not None
        await journal.append([opened, Commit(split.id, 1, 1, AtOffset(split.size), done=True)])
    before = imports.service.served
    with pytest.raises(JournalError, match="begun before an earlier one is done"):
        await imports.run(resume=True)
    assert imports.service.served == before


async def test_each_source_is_read_by_its_own_hints(imports: Imports, tmp_path: Path) -> None:
    for name, hints in {"a": {"x": "SS", "both": "SS"}, "b": {"both": "SS", "y": "NS"}}.items():
        record = {"pk": name, "sk": 1, "x": ["1", "2"], "y": [1, 2], "both": ["s"]}
        write(tmp_path / name / "f.json", [json.dumps(record)])
        (tmp_path / name / MANIFEST).parent.mkdir()
        (tmp_path / name / MANIFEST).write_text(json.dumps({"ddbio_manifest": 1, "type_hints": hints, "mixed": [name]}))
    await imports.run(source=[str(tmp_path / "a"), str(tmp_path / "b")])
    kinds = {
        item["pk"]["S"]: [next(iter(item[name])) for name in ("x", "y", "both")]
        for item in imports.server.stored().items
    }
    assert kinds == {"a": ["SS", "L", "SS"], "b": ["L", "NS", "SS"]}
    assert [message.partition(" held")[0] for message in imports.warnings] == [
        f"In {tmp_path / name}, {name}" for name in ("a", "b")
    ]
    manifest = read_manifest((imports.state / MANIFEST).read_bytes(), "there")
    assert manifest.type_hints == {"both": "SS"}
    assert manifest.mixed == ["a", "b", "x", "y"]
    imports.events.clear()
    write(imports.state / "mended.jsonl", [json.dumps({"pk": "mended", "sk": 1, "x": ["1"], "both": ["s"]})])
    await imports.run(source=str(imports.state), state=str(tmp_path / "next"))
    assert imports.warnings[0].startswith(f"In {imports.state}, a and 3 other attributes held sets or binary")


async def test_sources_may_lie_in_several_buckets_and_in_a_folder(
    imports: Imports, moto: Server, tmp_path: Path
) -> None:
    buckets = [moto.create_bucket() for _ in range(2)]
    for source, bucket in enumerate(buckets):
        records = [*lines(source), f'{{"pk": "bad {source}"}}']
        moto.client("s3").put_object(Bucket=bucket, Key="same/key.json", Body="\n".join(records).encode())
    connection = replace(imports.options.connection, s3_endpoint_url=moto.url)
    sources = [*(f"s3://{bucket}/same" for bucket in buckets), imports.options.sources[2]]
    for processes in (1, 2):
        imports.service.order.clear()
        report = await imports.run(source=sources, connection=connection, processes=processes)
        assert (report.items, report.rejected, report.files) == (3 * RECORDS, 2, 4)
        assert imports.service.order == sorted(imports.service.order)
        imports.check()
        assert report.rejects is not None
        told = [json.loads(line) for line in Path(report.rejects).read_text().splitlines()]
        assert sorted((reject["source"], reject["raw"]) for reject in told) == sorted(
            (f"s3://{bucket}/same/key.json", f'{{"pk": "bad {source}"}}') for source, bucket in enumerate(buckets)
        )


async def test_an_unfinished_export_among_the_sources_is_refused(imports: Imports, tmp_path: Path) -> None:
    journal = tmp_path / "0" / "_ddbio" / "journal"
    journal.mkdir(parents=True)
    (journal / "00000001.json").touch()
    with pytest.raises(UsageError, match=r"/0 has not ended: nothing was imported"):
        await imports.run(source=imports.options.sources[::-1])
    await imports.run(allow_partial=True)
    assert imports.warnings == [
        f"The export in {tmp_path / '0'} has not ended: what is imported is not the whole table."
    ]


@pytest.mark.parametrize("sources", [[], [""], ["a", ""], "", ["-", "a"], ["a", "-"], ["-", "-"]])
def test_impossible_sources_are_refused(sources: str | list[str]) -> None:
    with pytest.raises(UsageError):
        ImportOptions(table="T", source=sources)


async def test_one_source_in_a_list_is_the_same_import(imports: Imports, journaled: Journaled) -> None:
    source = imports.options.sources[0]
    assert await cancelled(asyncio.ensure_future(imports.run(source=source)), journaled.written, 0.0)
    assert (await imports.run(source=[source], resume=True)).resumed


async def test_what_was_exported_comes_back_from_two_exports(imports: Imports, tmp_path: Path) -> None:
    """A chain: the second export holds newer items of the same table."""
    await imports.run(source=imports.options.sources[0])
    options = ExportOptions(
        table="T",
        destination=str(tmp_path / "full"),
        connection=imports.options.connection,
        capacity=imports.options.capacity,
    )
    await export_table(options)
    await imports.run(source=imports.options.sources[1:], state=str(tmp_path / "other"))
    await export_table(replace(options, destination=str(tmp_path / "newer")))
    report = await imports.run(source=[str(tmp_path / "full"), str(tmp_path / "newer")], processes=2)
    assert report.items == RECORDS + len(imports.server.stored().items)
    imports.check()
