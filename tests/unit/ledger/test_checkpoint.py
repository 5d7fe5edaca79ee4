"""The checkpoint: what an earlier run left, and whether it is this job's."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ddbio.errors import CheckpointMismatchError, JournalError, SourceError, UnfinishedJobError
from ddbio.jobs.start import claim
from ddbio.ledger.checkpoint import check_splits, read_checkpoint, refuse_unfinished, same_job
from ddbio.ledger.entries import (
    Commit,
    FileState,
    JournalEntry,
    KnownFile,
    KnownSplit,
    Opened,
    Recovered,
    Split,
    SplitState,
)
from ddbio.ledger.identity import Identity, SourceFiles
from ddbio.ledger.journal import Journal
from ddbio.ledger.positions import END, START, AfterKey, AtOffset, Position
from ddbio.report import Spending
from ddbio.storage.base import JOURNAL, MANIFEST
from ddbio.storage.tokens import LocalToken, UploadToken
from tests.kit.fakes import MemorySink, all_entries
from tests.kit.identities import EXPORT, IMPORT

KEY = AfterKey('{"pk":{"S":"p"}}')
OPENED = Opened("run-1", EXPORT, 3)
COMMIT = Commit(1, 1, 1, KEY, read=1, written=1)
NAME = "T-0001-00002.json"
FILE = FileState(NAME, 1, 2, START, KEY, 1, 1, 1, 1, False, token=LocalToken(f"{NAME}.run-1-0-0.part"))


def manifest(run: str) -> bytes:
    table = {"arn": "arn", "item_count": 1, "size_bytes": 1, "indexes": []}
    totals = dict.fromkeys(("items", "bytes", "rejected"), 0) | {"used": Spending()}
    return msgspec.json.encode(
        {
            "ddbio_manifest": 2,
            "run": run,
            "identity": EXPORT,
            "table": table,
            "segments": 3,
            "files": [],
            "type_hints": {},
            "mixed": [],
            "totals": {**totals, "rejects": None},
        }
    )


async def journaled(*chunks: Any) -> MemorySink:
    sink = MemorySink()
    journal = Journal(sink)
    for chunk in chunks:
        await journal.append([chunk])
    return sink


async def test_nothing() -> None:
    found = await read_checkpoint(MemorySink())
    assert (found.opened, found.manifest) == (None, None)
    await refuse_unfinished(found, "/out", "--overwrite")


async def test_a_journal_is_an_unfinished_job() -> None:
    found = await read_checkpoint(await journaled(OPENED, COMMIT))
    assert (found.opened, found.manifest) == (OPENED, None)
    with pytest.raises(UnfinishedJobError, match="There is an unfinished job in /out") as caught:
        await refuse_unfinished(found, "/out", "--overwrite")
    assert caught.value.hint == "Resume it with --resume, or start over with --overwrite."


async def test_a_manifest_is_a_finished_job() -> None:
    sink = MemorySink()
    sink.small[MANIFEST] = manifest("run-1")
    found = await read_checkpoint(sink)
    assert (found.opened, found.manifest) == (None, sink.small[MANIFEST])
    await refuse_unfinished(found, "/out", "--overwrite")


async def test_a_run_that_died_after_its_manifest_is_finished() -> None:
    sink = await journaled(OPENED, COMMIT)
    sink.small[MANIFEST] = manifest("run-1")
    found = await read_checkpoint(sink)
    assert (found.opened, found.manifest is None) == (None, False)


async def test_a_manifest_of_an_earlier_job_does_not_finish_this_one() -> None:
    sink = await journaled(OPENED, COMMIT)
    sink.small[MANIFEST] = manifest("run-0")
    assert (await read_checkpoint(sink)).opened is not None


async def test_a_manifest_that_can_not_be_read_is_told() -> None:
    sink = await journaled(OPENED)
    sink.small[MANIFEST] = b"{"
    with pytest.raises(SourceError, match="The manifest of memory"):
        await read_checkpoint(sink)


async def test_a_damaged_journal_stops_everything_but_overwriting() -> None:
    sink = await journaled(OPENED, COMMIT)
    del sink.small[f"{JOURNAL}00000001.json"]
    with pytest.raises(JournalError):
        await read_checkpoint(sink)
    found = await read_checkpoint(sink, overwrite=True)
    assert (found.opened, found.manifest) == (None, None)
    await found.journal.discard()
    await found.journal.append([OPENED])
    assert await all_entries(Journal(sink)) == [OPENED]


async def test_overwriting_removes_what_a_damaged_journal_still_names() -> None:
    kept = await journaled(OPENED, msgspec.structs.replace(COMMIT, file=FILE), COMMIT)
    kept.small[f"{JOURNAL}00000003.json"] = b"{"
    kept.sealed[NAME] = b""
    await claim(kept, "Other", await read_checkpoint(kept, overwrite=True), overwrite=True)
    assert (kept.sealed, kept.small) == ({}, {})


def file(**changes: Any) -> Commit:
    return msgspec.structs.replace(COMMIT, file=msgspec.structs.replace(FILE, **changes))


HOSTILE: dict[str, JournalEntry] = {
    "a path upwards": file(name="../T-0001-00002.json"),
    "an absolute path": file(name="/etc/passwd"),
    "a file below": file(name="sub/T-0001-00002.json"),
    "another table's file": file(name="U-0001-00002.json"),
    "another compression": file(name="T-0001-00002.json.gz"),
    "another number": file(number=3),
    "another segment's file": file(name="T-0002-00002.json", segment=2),
    "a part of another file": file(token=LocalToken("T-0001-00003.json.run-1-0-0.part")),
    "a part somewhere else": file(token=LocalToken("../T-0001-00002.json.run-1-0-0.part")),
    "a part that leads away": file(token=LocalToken(f"{NAME}./../../x.part")),
    "a part that is the file": file(token=LocalToken(NAME)),
    "a file that begins at no key": file(first=AfterKey("},")),
    "a segment that is not there": msgspec.structs.replace(COMMIT, split=3),
    "a position that is no key": msgspec.structs.replace(COMMIT, position=AfterKey('{"pk":{"S":"p"}},"Limit":1')),
    "a key of a wrong type": msgspec.structs.replace(COMMIT, position=AfterKey('{"pk":{"S":1}}')),
    "a file in a compacted journal": KnownFile(msgspec.structs.replace(FILE, name="../x")),
    "a key of another table": msgspec.structs.replace(COMMIT, position=AfterKey('{"id":{"S":"p"}}')),
    "no key": msgspec.structs.replace(COMMIT, position=AfterKey("{}")),
    "another job": msgspec.structs.replace(OPENED, segments=4),
    "a split in a compacted journal": KnownSplit(1, SplitState(AfterKey('{"pk":'))),
    "an offset in a segment": msgspec.structs.replace(COMMIT, position=AtOffset(7)),
    "a file that begins at an offset": file(first=AtOffset(7)),
    "a recovered file": Recovered(1, msgspec.structs.replace(FILE, name="../../x"), gone=True),
}


@pytest.mark.parametrize("entry", HOSTILE.values(), ids=HOSTILE)
async def test_what_belongs_to_no_job_is_not_taken_from_a_journal(entry: JournalEntry) -> None:
    found = await read_checkpoint(await journaled(OPENED, msgspec.structs.replace(COMMIT, file=FILE), entry))
    with pytest.raises(JournalError, match=r"The journal in memory can't be trusted: an entry about split -?\d"):
        [entries async for entries in found.entries()]
    sink = await journaled(OPENED, entry)
    sink.sealed = {"x": b"", "U-0001-00002.json": b"", "T-0001-00002.json.gz": b"", "T-0002-00002.json": b""}
    kept = dict(sink.sealed)
    await claim(sink, "Other", await read_checkpoint(sink, overwrite=True), overwrite=True)
    assert (sink.sealed, sink.small) == (kept, {})


@pytest.mark.parametrize(
    "entry",
    [
        msgspec.structs.replace(COMMIT, split=-1),
        msgspec.structs.replace(COMMIT, read=-5),
        msgspec.structs.replace(COMMIT, types={"a": -1}),
        KnownSplit(1, SplitState(KEY, -5)),
        file(bytes=-1),
        msgspec.structs.replace(COMMIT, position=AtOffset(-1)),
        file(token=LocalToken(1)),  # type: ignore[arg-type]
        file(token=UploadToken("x", (("1", 2),))),  # type: ignore[arg-type]
        file(token=UploadToken("x", (), -1)),
    ],
)
async def test_no_count_is_less_than_nothing(entry: JournalEntry) -> None:
    found = await read_checkpoint(await journaled(OPENED, entry))
    with pytest.raises(JournalError, match="can't be read"):
        [entries async for entries in found.entries()]


@pytest.mark.parametrize("run", ["", "../../x", "a/b", "a.b", "x" * 65])
async def test_a_run_name_that_is_a_path_is_not_taken_from_a_journal(run: str) -> None:
    with pytest.raises(JournalError, match="its first entry is not one that ddbio writes"):
        await read_checkpoint(await journaled(msgspec.structs.replace(OPENED, run=run)))


@pytest.mark.parametrize("position", [START, END, AfterKey("{}"), KEY, AtOffset(0), AtOffset(9)])
async def test_an_import_goes_on_at_an_offset(position: Position) -> None:
    opened = Opened("run-1", IMPORT, 0, (Split(1, "f", start=10),))
    found = await read_checkpoint(await journaled(opened, msgspec.structs.replace(COMMIT, position=position)))
    with pytest.raises(JournalError, match="an entry about split 1"):
        [entries async for entries in found.entries()]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"table_id": "id-2"}, "Its table id: id-1 before, id-2 now"),
        ({"region": "us-east-1"}, "Its region: eu-west-1 before, us-east-1 now"),
        ({"format": "dynamodb-json"}, "Its format: jsonl before, dynamodb-json now"),
        ({"index": "by-date"}, "Its index: None before, by-date now"),
        ({"kms_key": "k"}, "Its KMS key: None before, k now"),
    ],
)
def test_another_job_is_refused_naming_both_values(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(CheckpointMismatchError, match=told):
        same_job(EXPORT, msgspec.structs.replace(EXPORT, **changes))


def test_another_command_is_another_job() -> None:
    with pytest.raises(CheckpointMismatchError, match="Its command: export before, import now"):
        same_job(EXPORT, IMPORT)


def test_other_files_are_another_job() -> None:
    other = msgspec.structs.replace(IMPORT, source_files=SourceFiles(2, 99, "00"))
    with pytest.raises(
        CheckpointMismatchError, match=r"source files: 1 of 90 bytes .* before, 2 of 99 bytes"
    ) as caught:
        same_job(IMPORT, other)
    assert "modification time" in (caught.value.hint or "")


def test_a_journal_of_a_later_version_may_say_more() -> None:
    document = msgspec.json.decode(msgspec.json.encode(EXPORT)) | {"later": {"more": 1}}
    same_job(msgspec.json.decode(msgspec.json.encode(document), type=Identity), EXPORT)


async def test_a_job_that_went_through_the_journal_is_the_same() -> None:
    found = await read_checkpoint(await journaled(OPENED))
    assert found.opened is not None
    same_job(found.opened.identity, EXPORT)


def split(number: int, start: int, end: int | None, **more: Any) -> Split:
    return Split(number, **{"file": "/in/a", "start": start, "end": end, "size": 90, "tag": "t", **more})


PACKED = split(3, 0, None, file="/in/b.gz", compression="gzip", source=1)
UNITS = [split(0, 0, 30), split(1, 30, 60), split(2, 60, None), PACKED]


def test_the_units_of_an_import_may_be_cut_otherwise() -> None:
    whole = [split(0, 0, None), msgspec.structs.replace(PACKED, id=1)]
    check_splits(UNITS, whole)
    check_splits(whole, UNITS)
    empty = split(0, 0, None, size=0)
    check_splits([empty], [empty])


@pytest.mark.parametrize(
    "begun",
    [
        [split(0, 0, None, file="/etc/shadow"), PACKED],
        [*UNITS, split(4, 0, None, file="/etc/shadow")],
        [split(0, 0, None, size=91), PACKED],
        [split(0, 0, None, tag="u"), PACKED],
        [split(0, 0, None, compression="gzip"), PACKED],
        [split(0, 0, None, source=1), PACKED],
        [split(0, 0, None, source=-1), PACKED],
        [split(0, 0, None), msgspec.structs.replace(PACKED, source=2)],
        [split(0, 0, None)],
        [],
        [*UNITS[1:]],
        [*UNITS[:2], PACKED],
        [UNITS[0], UNITS[2], PACKED],
        [*UNITS, split(4, 30, 60)],
        [split(0, 0, 30), split(1, 30, 30), split(2, 30, None), PACKED],
        [split(0, 0, 90), split(1, 90, None), PACKED],
        [split(0, 0, 99), PACKED],
        [split(0, -1, None), PACKED],
        [split(0, 0, 30), split(0, 30, None), PACKED],
        [split(3, 0, None), PACKED],
        [split(0, 0, None), msgspec.structs.replace(PACKED, end=9), msgspec.structs.replace(PACKED, id=4, start=9)],
    ],
)
def test_a_journal_does_not_choose_what_an_import_reads(begun: list[Split]) -> None:
    with pytest.raises(JournalError, match="other files, or parts of files, than the import reads"):
        check_splits(begun, UNITS)
