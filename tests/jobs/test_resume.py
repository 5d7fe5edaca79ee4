"""An export or import that was stopped anywhere and is resumed ends as if nothing had happened, wherever its files are.

Jobs run inline. Pages are small here and commits frequent, so that each moment is one of many.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
from collections import Counter
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ddbio import export_table
from ddbio.audit.manifest import contradictions, read_options
from ddbio.errors import (
    CheckpointMismatchError,
    DdbioError,
    DestinationError,
    JobLockedError,
    JournalError,
    LimitReachedError,
    SourceError,
    UnfinishedJobError,
    UsageError,
)
from ddbio.events import Event, JobPlanned, Progress, Warned
from ddbio.fleet import engine
from ddbio.ledger.entries import Commit
from ddbio.ledger.journal import Journal
from ddbio.ledger.manifest import Manifest, read_manifest
from ddbio.options import Capacity, Connection, ExportOptions, S3Options, ScanFilter
from ddbio.pipeline.exporting import segment_files
from ddbio.pipeline.exporting.exporter import Exporter
from ddbio.pipeline.tuning import Tuning
from ddbio.report import JobReport
from ddbio.storage.base import JOURNAL, MANIFEST, OWN_FOLDER
from ddbio.storage.local.sink import LocalSink
from ddbio.storage.s3 import tuning as s3_tuning
from ddbio.storage.s3.tuning import MIB, S3Tuning
from ddbio.storage.tokens import LocalToken
from tests.conftest import StartCounting
from tests.kit.marks import few
from tests.kit.places import PREFIX, Bucket, Folder, Place
from tests.kit.powerloss import VARIANTS, recording
from tests.kit.servers.counting import CountingServer
from tests.kit.servers.items import make_item
from tests.kit.servers.replies import error_reply
from tests.kit.servers.tables import Table
from tests.kit.stopping import PAGE_ITEMS, Journaled, Service, cancelled
from tests.kit.tuning import journal_at_once

ITEMS = 600
SEGMENTS = 3
REFUSED = error_reply("ValidationException", "Invalid FilterExpression.")


@pytest.fixture(autouse=True)
def fine_grain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit each page, cut a file after a few, and store parts of a page or two where the server takes them."""
    monkeypatch.setattr(engine, "Exporter", partial(Exporter, tuning=Tuning(commit_seconds=0.0)))
    journal_at_once(monkeypatch)
    monkeypatch.setattr(segment_files, "MEGABYTE", 12_000)
    monkeypatch.setattr(s3_tuning, "DEFAULT", S3Tuning(smallest_part=4_000))
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1)


@pytest.fixture(autouse=True)
def coarse_for_seaweed(request: pytest.FixtureRequest, fine_grain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """SeaweedFS takes no part under 5 MiB but the last."""
    if "place" in request.fixturenames and request.node.callspec.params["place"] == "seaweed":
        monkeypatch.setattr(s3_tuning, "DEFAULT", S3Tuning(smallest_part=8 * MIB))


class Exports:
    """Exports of one table to one place."""

    def __init__(self, server: CountingServer, service: Service, journaled: Journaled, place: Place) -> None:
        self.server = server
        self.service = service
        self.journaled = journaled
        self.place = place
        self.events: list[Event] = []
        remote = isinstance(place, Bucket)
        self.options = ExportOptions(
            table="T",
            destination=f"s3://{place.name}/{PREFIX}" if isinstance(place, Bucket) else str(place.root),  # type: ignore[attr-defined]
            connection=Connection(
                region="us-east-1",
                dynamodb_endpoint_url=server.url,
                s3_endpoint_url=place.server.url if remote else None,  # type: ignore[attr-defined]
            ),
            capacity=Capacity(units=1_000_000),
            segments=SEGMENTS,
            concurrency=2,
            file_size_mb=1,
        )

    async def run(self, **options: Any) -> JobReport:
        return await export_table(replace(self.options, **options), observer=self.events.append)

    async def interrupt(self, chunks: int = 4, delay: float = 0.0, **options: Any) -> bool:
        """Cancel an export `delay` seconds after so many chunks; returns whether it was still at work."""
        return await cancelled(asyncio.ensure_future(self.run(**options)), self.journaled.more(chunks), delay)

    @property
    def warnings(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Warned)]

    def manifest(self) -> Manifest:
        return read_manifest(self.place.finished()[MANIFEST], "there")

    def check(self, report: JobReport) -> None:
        """Every item once; every file in the manifest; nothing else is there."""
        assert report.items == ITEMS
        assert self.place.unfinished() == []
        found = self.place.finished()
        files = {name: data for name, data in found.items() if not name.startswith(OWN_FOLDER)}
        assert found.keys() - files.keys() == {MANIFEST}
        listed = {file.name: file for file in self.manifest().files}
        assert files.keys() == listed.keys()
        for name, data in files.items():
            assert (listed[name].bytes, listed[name].items) == (len(data), data.count(b"\n"))
        assert list(contradictions(self.manifest(), read_options(self.manifest()))) == []
        assert self.manifest().totals.items == ITEMS
        lines = [line for data in files.values() for line in data.splitlines()]
        keys = Counter(json.loads(line)["pk"] for line in lines)
        assert keys == Counter(make_item("small", 0, index)["pk"]["S"] for index in range(ITEMS))


@pytest.fixture
async def exports(counting: StartCounting, place: Place, journaled: Journaled) -> Exports:
    """Exports to each kind of place."""
    return await begin(counting, place, journaled)


@pytest.fixture
async def local(counting: StartCounting, tmp_path: Path, executor: Executor, journaled: Journaled) -> Exports:
    """Exports to a folder."""
    return await begin(counting, Folder(tmp_path / "out", executor), journaled)


async def begin(counting: StartCounting, place: Place, journaled: Journaled) -> Exports:
    """A service with a table, to be exported to `place`."""
    service = Service()
    return Exports(await counting(Table(items=ITEMS), on_request=service), service, journaled, place)


def compact_every(chunks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let journals be compacted after so many chunks."""
    monkeypatch.setattr("ddbio.ledger.journal.COMPACT_AFTER", chunks)


@pytest.mark.parametrize(("seed", "every"), few([(0, 512), (1, 2)], 0))
async def test_an_export_stopped_anywhere_ends_as_if_undisturbed(
    exports: Exports, seed: int, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compact_every(every, monkeypatch)
    rng = random.Random(seed)
    stops = 0
    while await exports.interrupt(rng.randint(1, 6), rng.choice([0, rng.uniform(0, 0.1)]), resume=stops > 0):
        stops += 1
        if stops == 3:
            break
    report = await exports.run(resume=True)
    assert report.resumed
    exports.check(report)
    finished = await exports.run(resume=True)
    assert replace(finished, peak_rss_bytes=report.peak_rss_bytes) == report
    assert "nothing is left to do" in exports.warnings[-1]


async def test_what_was_journaled_is_not_read_again(local: Exports) -> None:
    await local.interrupt()
    sealed = sum(data.count(b"\n") for name, data in local.place.finished().items() if OWN_FOLDER not in name)
    assert sealed > 0
    before = local.server.account.totals("read").requests
    local.check(await local.run(resume=True))
    assert sorted(path.name for path in (Path(local.options.destination) / OWN_FOLDER).iterdir()) == ["manifest.json"]
    # A segment whose last page was full ends with an empty one.
    assert local.server.account.totals("read").requests - before <= (ITEMS - sealed) // PAGE_ITEMS + SEGMENTS


async def test_a_resumed_export_tells_what_all_its_runs_have_used(local: Exports) -> None:
    local.service.answers[12] = error_reply("AccessDeniedException", "No.")
    with pytest.raises(DdbioError):
        await local.run()
    first = local.server.account.totals("read")
    assert first.requests > 0
    report = await local.run(resume=True)
    # A request that was refused is one; those that were on their way beside it may not have been counted any more.
    both = local.server.account.totals("read")
    assert both.requests - 2 <= report.used.requests <= both.requests + 1
    assert both.units - report.used.capacity_units <= 2 * PAGE_ITEMS
    totals = local.manifest().totals
    assert report.used == totals.used
    assert report.used.cpu_seconds > 0


async def test_an_interrupted_export_leaves_sealed_files_only(exports: Exports) -> None:
    assert await exports.interrupt()
    assert exports.place.unfinished() == []
    assert any(not name.startswith(OWN_FOLDER) for name in exports.place.finished())


async def test_an_export_that_failed_can_be_resumed(exports: Exports) -> None:
    exports.service.answers[20] = error_reply("AccessDeniedException", "No.")
    with pytest.raises(DdbioError) as caught:
        await exports.run()
    assert caught.value.resumable
    exports.check(await exports.run(resume=True, concurrency=5))


@pytest.mark.parametrize(("call", "first"), [("put", MANIFEST), ("delete", f"{JOURNAL}00000001.json")])
async def test_an_export_whose_end_was_not_written_can_be_resumed(
    local: Exports, monkeypatch: pytest.MonkeyPatch, call: str, first: str
) -> None:
    """The disk is full, or lost, when nothing is left to do but to write the manifest, or to remove the journal."""
    real = getattr(LocalSink, call)

    async def lost(sink: LocalSink, *arguments: Any) -> None:
        if first in arguments:
            raise DestinationError("No space left on device.")
        await real(sink, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(LocalSink, call, lost)
        with pytest.raises(DestinationError) as caught:
            await local.run()
    assert caught.value.resumable
    local.check(await local.run(resume=True))


async def test_an_export_refused_at_first_runs_once_corrected(exports: Exports) -> None:
    exports.service.answers |= dict.fromkeys(range(1, 10), REFUSED)
    with pytest.raises(DdbioError, match="FilterExpression") as caught:
        await exports.run()
    assert not caught.value.resumable
    assert exports.place.finished() == {}
    exports.service.answers.clear()
    exports.check(await exports.run())


async def test_an_export_refused_on_resume_can_still_be_resumed(local: Exports) -> None:
    await local.interrupt()
    local.service.answers |= dict.fromkeys(range(local.service.served + 1, local.service.served + 10), REFUSED)
    with pytest.raises(DdbioError) as caught:
        await local.run(resume=True)
    assert caught.value.resumable
    local.service.answers.clear()
    report = await local.run(resume=True)
    assert report.resumed
    local.check(report)


async def test_an_export_that_reached_its_limit_reports_what_it_did(local: Exports) -> None:
    with pytest.raises(LimitReachedError) as caught:
        await local.run(max_units=3, capacity=Capacity(units=5))
    report = caught.value.report
    assert report is not None
    assert (report.command, report.manifest, report.resumed) == ("export", None, False)
    assert 0 < report.items < ITEMS
    assert report.used.capacity_units >= 3
    assert report.files == sum(OWN_FOLDER not in name for name in local.place.finished())
    first = len(local.events)
    finished = await local.run(resume=True)
    assert finished.used.capacity_units > report.used.capacity_units
    local.check(finished)
    plan = next(event for event in local.events[first:] if isinstance(event, JobPlanned))
    assert plan.items_done == report.items
    begun = next(event for event in local.events[first:] if isinstance(event, Progress))
    assert (begun.seconds, begun.items, begun.units) == (0, report.items, report.used.capacity_units)


async def test_an_unfinished_export_is_refused_without_resume(exports: Exports) -> None:
    await exports.interrupt()
    before = exports.place.finished()
    with pytest.raises(UnfinishedJobError) as caught:
        await exports.run()
    assert "--resume" in str(caught.value.hint)
    assert exports.place.finished() == before
    exports.check(await exports.run(resume=True))


@pytest.mark.parametrize(
    ("options", "values"),
    few(
        [
            ({"format": "dynamodb-json"}, ["format", "jsonl", "dynamodb-json"]),
            ({"compress": "gzip"}, ["compress", "none", "gzip"]),
            ({"scan": ScanFilter(consistent=True)}, ["consistent read", "False", "True"]),
            ({"fingerprint": False}, ["fingerprint", "True", "False"]),
            ({"s3": S3Options(kms_key_id="K")}, ["KMS key", "None", "K"]),
            ({"s3": S3Options(sse="AES256")}, ["encryption", "None", "AES256"]),
            ({"s3": S3Options(storage_class="GLACIER_IR")}, ["storage class", "None", "GLACIER_IR"]),
            ({"s3": S3Options(acl="private")}, ["ACL", "None", "private"]),
        ],
        0,
        2,
        4,
    ),
)
async def test_another_job_is_refused_naming_both_values(
    local: Exports, options: dict[str, Any], values: list[str]
) -> None:
    await local.interrupt()
    with pytest.raises(CheckpointMismatchError) as caught:
        await local.run(resume=True, **options)
    assert all(value in caught.value.message for value in values)
    local.check(await local.run(resume=True))
    with pytest.raises(CheckpointMismatchError):
        await local.run(resume=True, **options)


async def test_the_segments_stay_those_of_the_beginning(local: Exports) -> None:
    await local.interrupt()
    with pytest.raises(UsageError, match="begun with 3 segments and can't continue with 4"):
        await local.run(resume=True, segments=4)
    local.check(await local.run(resume=True, segments=None, capacity=Capacity(units=500_000), file_size_mb=2))
    assert local.manifest().segments == SEGMENTS


async def test_an_unfinished_export_can_be_replaced(exports: Exports) -> None:
    await exports.interrupt()
    report = await exports.run(overwrite=True, segments=2)
    assert not report.resumed
    exports.check(report)
    exports.check(await exports.run(overwrite=True))


async def test_nothing_to_resume_begins_anew_and_says_so(exports: Exports) -> None:
    report = await exports.run(resume=True)
    assert not report.resumed
    exports.check(report)
    assert "starts over" in exports.warnings[0]


async def test_a_lost_file_is_read_again(exports: Exports) -> None:
    """A part or an upload that somebody has removed: its split goes back to the file's beginning."""
    names: list[str] = []
    recover = Journal.append

    async def keep_names(self: Journal, entries: Any, rejects_bytes: int = 0) -> None:
        names.extend(entry.file.name for entry in entries if getattr(entry, "file", None) and not entry.file.sealed)
        await recover(self, entries, rejects_bytes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", keep_names)
        patch.setattr("ddbio.jobs.run.SEAL_SECONDS", 0.0)
        assert await exports.interrupt()
    if isinstance(exports.place, Folder):
        for part in exports.place.root.rglob("*.part"):
            part.unlink()
    elif isinstance(exports.place, Bucket) and exports.place.server.name != "moto":  # it answers 500 for such an upload
        client = exports.place.server.client("s3")
        for upload in client.list_multipart_uploads(Bucket=exports.place.name).get("Uploads", []):
            client.abort_multipart_upload(Bucket=exports.place.name, Key=upload["Key"], UploadId=upload["UploadId"])
    assert names
    exports.check(await exports.run(resume=True))


async def test_a_journal_that_was_cut_short_claims_nothing_more(local: Exports) -> None:
    """A chunk that landed, although its write is said to have failed, is as good as any other when it is resumed."""
    append, chunks = Journal.append, 0

    async def fail_late(self: Journal, *arguments: Any) -> None:
        nonlocal chunks
        await append(self, *arguments)
        chunks += 1
        if chunks == 4:
            raise JournalError("The reply was lost.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", fail_late)
        with pytest.raises(JournalError):
            await local.run()
    local.check(await local.run(resume=True))


@pytest.mark.parametrize("what", few(["chunk", "missing", "first"], 0))
async def test_a_damaged_journal_is_refused_and_can_be_overwritten(local: Exports, tmp_path: Path, what: str) -> None:
    await local.interrupt()
    chunks = sorted((tmp_path / "out" / OWN_FOLDER / "journal").iterdir())
    if what == "chunk":
        chunks[2].write_bytes(chunks[2].read_bytes()[:-2])
    else:
        chunks[0 if what == "first" else 2].unlink()
    for resume in (True, False):
        with pytest.raises(JournalError, match="damaged"):
            await local.run(resume=resume)
    local.check(await local.run(overwrite=True))


async def test_a_chunk_that_was_being_written_is_no_damage(local: Exports, tmp_path: Path) -> None:
    await local.interrupt()
    journal = tmp_path / "out" / OWN_FOLDER / "journal"
    (journal / "00000099.json.20260101T000000Z-0a0b0c.part").write_bytes(b'{"ddbio_jou')
    local.check(await local.run(resume=True))


async def test_a_run_that_died_after_its_manifest_is_finished(local: Exports, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "remove", pytest.fail)
        with pytest.raises(pytest.fail.Exception):
            await local.run()
    served = local.server.account.totals("read").requests
    assert (await local.run(resume=True)).items == ITEMS
    assert local.server.account.totals("read").requests == served
    with pytest.raises(UsageError, match="already holds an export"):
        await local.run()
    local.check(await local.run(overwrite=True))


async def test_a_damaged_manifest_does_not_tell_of_a_finished_job(local: Exports, tmp_path: Path) -> None:
    await local.run()
    manifest = tmp_path / "out" / MANIFEST
    manifest.write_text(manifest.read_text().replace(f'"items": {ITEMS}', f'"items": {ITEMS + 1}'))
    with pytest.raises(SourceError, match=r"The manifest of .* is damaged: its checksum is wrong") as caught:
        await local.run(resume=True)
    assert "move it out of the way" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="already holds an export"):
        await local.run()
    local.check(await local.run(overwrite=True))


@pytest.mark.parametrize(
    ("calls", "every"), few([(1, 512), (2, 512), (4, 512), (7, 512), (1, 3), (2, 3), (4, 3)], 1, 5)
)
async def test_a_dead_overwrite_leaves_nothing_that_seems_whole(
    local: Exports, calls: int, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the export that is replaced was finished or not."""
    compact_every(every, monkeypatch)
    for finished in (True, False):
        await (local.run(overwrite=True) if finished else local.interrupt(overwrite=True))
        with pytest.MonkeyPatch.context() as patch:
            fail_at(patch, calls)
            with pytest.raises(ArithmeticError):
                await local.run(overwrite=True)
        try:
            report = await local.run(resume=True)
        except DdbioError:
            report = await local.run(overwrite=True)
        local.check(report)


def fail_at(patch: pytest.MonkeyPatch, calls: int) -> None:
    """Let the process die at a deletion."""
    from ddbio.storage.local.sink import LocalSink  # noqa: PLC0415

    delete, left = LocalSink.delete, calls

    async def die(self: LocalSink, *names: str) -> None:
        nonlocal left
        for name in names:
            left -= 1
            if not left:
                raise ArithmeticError
            await delete(self, name)

    patch.setattr(LocalSink, "delete", die)


async def test_one_job_at_a_time(exports: Exports) -> None:
    begun = exports.journaled.more(1)
    exports.service.open.clear()
    first = asyncio.ensure_future(exports.run())
    await begun.wait()
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(JobLockedError):
            await exports.run(**options)
    exports.service.open.set()
    exports.check(await first)


@pytest.mark.parametrize("variant", few(VARIANTS))
async def test_power_lost_at_any_moment(local: Exports, tmp_path: Path, variant: str) -> None:
    """Also `kill -9` ("all"): from every state that the disk may be in, a resume ends in the right result."""
    out = tmp_path / "out"
    out.mkdir()
    with recording(out) as disk:
        await local.interrupt()
        local.check(await local.run(resume=True))
    every = int(os.environ.get("DDBIO_POWER_EVERY", "25"))
    for state in disk.states((variant,)):
        if state.point % every == 0:
            await asyncio.to_thread(put_back, state.folder, out)
            local.check(await local.run(resume=True))


def put_back(state: Path, folder: Path) -> None:
    """Let a folder be as it was in some state."""
    shutil.rmtree(folder)
    shutil.copytree(state, folder)


async def test_a_link_as_destination_stands_for_its_target_folder(local: Exports, tmp_path: Path) -> None:
    assert await local.interrupt()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    local.check(await local.run(destination=str(tmp_path / "link"), resume=True))


async def test_overwriting_leaves_what_other_tables_have_there(exports: Exports) -> None:
    await exports.run()
    others = {f"T{name}-0000-00000.json": b"{}\n" for name in ("-Archive", "2", "-0000", ".old")}
    exports.place.fill(others)
    exports.events.clear()
    report = await exports.run(overwrite=True, segments=2)
    assert "holds other files that an import from there would read as well, like T" in exports.warnings[0]
    for name, data in others.items():
        assert exports.place.finished()[name] == data
        exports.place.remove(name)
    exports.check(report)


HOSTILE = ["../victim", "sub/../../victim", "T-0000-00000.json/../../victim"]


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_journal_that_names_other_files_is_not_obeyed(local: Exports, tmp_path: Path, name: str) -> None:
    victims = [tmp_path / "victim", tmp_path / "victim.run.part"]
    for victim in victims:
        victim.write_bytes(b"precious")
    assert await local.interrupt()
    journal = Journal(LocalSink(tmp_path / "out", "x", executor=local.place._executor))  # type: ignore[attr-defined]
    entries = [entry for chunk in [chunk async for chunk in journal.read()] for entry in chunk]
    mine = next(entry for entry in entries if isinstance(entry, Commit) and entry.file is not None)
    assert mine.file is not None
    hostile = msgspec.structs.replace(mine.file, name=name, token=LocalToken("victim.run.part"), bytes=1, sealed=False)
    await journal.append([msgspec.structs.replace(mine, file=hostile)])
    for options in ({"resume": True}, {}):
        with pytest.raises(JournalError, match="can't be trusted"):
            await local.run(**options)
    local.check(await local.run(overwrite=True))
    assert [victim.read_bytes() for victim in victims] == [b"precious"] * 2
