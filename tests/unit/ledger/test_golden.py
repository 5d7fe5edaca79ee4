"""Golden files of the durable formats: they are read as what they say, and written again byte for byte."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ddbio.errors import JournalError
from ddbio.hints import PathTypes
from ddbio.ledger.entries import (
    Commit,
    Compacted,
    FileState,
    JournalEntry,
    KnownFile,
    KnownSplit,
    Opened,
    Recovered,
    Reject,
    Split,
    SplitState,
    Used,
    by_reason,
)
from ddbio.ledger.journal import Journal
from ddbio.ledger.manifest import Manifest, TableRecord, Totals, encode, read_manifest
from ddbio.ledger.positions import END, START, AfterKey, AtOffset
from ddbio.ledger.rejects import RejectsFile, unwrap
from ddbio.report import Moment, Spending
from ddbio.storage.tokens import LocalToken, Part, UploadToken
from tests.kit.fakes import MemorySink, all_entries, let_run
from tests.kit.identities import EXPORT, IMPORT

GOLDEN = Path(__file__).parents[2] / "golden"
KEY = AfterKey('{"pk":{"S":"a"}}')
PART = FileState(
    "T-0000-00000.json", 0, 0, START, KEY, 2, 2, 40, 7, sealed=False, token=LocalToken("T-0000-00000.json.r.part")
)
UPLOAD = FileState(
    "T-0001-00000.json",
    1,
    0,
    START,
    END,
    1,
    1,
    20,
    9,
    True,
    "0123456789abcdef",
    UploadToken("u", (Part(20, "e", "c"),), 2),
)
SEALED = msgspec.structs.replace(UPLOAD, token=None)
REJECTS = (
    Reject("/in/a", 9, 4, 2, "not_json", "The record is not valid JSON.", b"{bad"),
    Reject("/in/a", 14, 2, 3, "invalid_utf8", "The record is not valid UTF-8.", b"\xff{"),
    Reject("/in/a", 17, 2_000_000, None, "record_too_long", "The record is too long.", None),
)
SPENT = Spending(capacity_units=1.5, requests=2, throttles=3, retries=4, seconds=5.5, cpu_seconds=6.5)
USED = Used("r", SPENT)
EXPORTING: list[JournalEntry] = [
    Opened("r", EXPORT, 2),
    Commit(0, 1, 1, KEY, file=PART, read=2, written=2, bytes=40, types={"pk": 1, "tags": 8}),
    Commit(1, 1, 1, END, done=True, file=UPLOAD, read=1, written=1, bytes=20),
    Recovered(0, PART, gone=True),
    USED,
]
IMPORTING: list[JournalEntry] = [
    Opened("r", IMPORT, 0, (Split(0, "/in/a", 0, None, 90, "t"),)),
    Commit(0, 1, 1, AtOffset(19), read=4, written=1, bytes=19, rejected=3, reasons=by_reason(REJECTS)),
]
STATE: list[JournalEntry] = [
    Compacted(b"\x02", 3, 3, 0, 60, PathTypes({"pk": 1, "tags": 8}), (USED,)),
    KnownSplit(0, SplitState(KEY, 1, open_file=PART.name)),
    KnownFile(PART),
    KnownFile(SEALED),
]
MANIFEST = Manifest(
    ddbio_manifest=2,
    run="r",
    identity=EXPORT,
    table=TableRecord("arn", 3, 60, ["by-date"]),
    segments=2,
    files=[SEALED],
    type_hints={"tags": "SS"},
    mixed=["other"],
    totals=Totals(1, 20, 0, None, SPENT),
    throttle_reasons={"TableReadProvisionedThroughputExceeded": 3},
    timeline=[Moment(seconds=1.0, budget=2.0, units=1.5, items=1, bytes=20, throttles=3, splits=1)],
)


JOURNALS: dict[str, tuple[list[JournalEntry], list[JournalEntry] | None]] = {
    "journal-2-export": (EXPORTING, None),
    "journal-2-import": (IMPORTING, None),
    "journal-2-compacted": (EXPORTING, STATE),
}


def golden(name: str) -> dict[str, bytes]:
    """The files of a golden folder, by their names relative to it."""
    folder = GOLDEN / name
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", JOURNALS)
async def test_a_journal_is_read_and_written_as_it_was(name: str) -> None:
    entries, state = JOURNALS[name]
    sink = MemorySink()
    sink.small = golden(name)
    assert await all_entries(Journal(sink)) == (entries if state is None else [entries[0], *state])
    written = MemorySink()
    journal = Journal(written)
    await journal.append(entries, 123)
    if state is not None:
        journal.compact(state)
        await let_run()
    assert {**written.small, **written.sealed} == golden(name)


def test_a_manifest_is_read_and_written_as_it_was() -> None:
    (text,) = golden("manifest-2").values()
    manifest = read_manifest(text, "golden")
    assert msgspec.structs.replace(manifest, checksum=None) == MANIFEST
    assert encode(MANIFEST) == text


async def test_rejects_are_written_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    async with aclosing(RejectsFile(path, "r")) as file:
        await file.add(REJECTS)
    (text,) = golden("rejects-1").values()
    assert path.read_bytes() == text
    assert [unwrap(line) for line in text.splitlines()[:2]] == [b"{bad", b"\xff{"]


FREE = {"types", "reasons", "masks", "expression_names", "type_hints", "throttle_reasons", "reject_reasons"}
"""Members whose own members are data."""


def later(value: Any) -> Any:
    """The document as a later version may write it: with another member in every object of the format."""
    if isinstance(value, list):
        return [later(each) for each in value]
    if not isinstance(value, dict):
        return value
    members = {name: each if name in FREE else later(each) for name, each in value.items()}
    return members | {"a later member": {"more": [1]}}


@pytest.mark.parametrize("entry", [*EXPORTING, *IMPORTING, *STATE], ids=lambda entry: type(entry).__name__)
def test_an_entry_may_have_more_members(entry: JournalEntry) -> None:
    document = later(msgspec.json.decode(msgspec.json.encode(entry)))
    assert msgspec.json.decode(msgspec.json.encode(document), type=JournalEntry) == entry


@pytest.mark.parametrize("entry", [*EXPORTING, *IMPORTING, *STATE], ids=lambda entry: type(entry).__name__)
def test_an_entry_may_lack_the_members_that_have_defaults(entry: JournalEntry) -> None:
    needed = [each for each in msgspec.structs.fields(type(entry)) if each.required]
    document = msgspec.json.decode(msgspec.json.encode(entry))
    earlier = {name: document[name] for name in ("type", *(each.encode_name for each in needed))}
    expected = type(entry)(**{each.name: getattr(entry, each.name) for each in needed})
    assert msgspec.json.decode(msgspec.json.encode(earlier), type=JournalEntry) == expected


def test_a_manifest_may_have_more_members() -> None:
    (text,) = golden("manifest-2").values()
    document = later(msgspec.json.decode(text) | {"checksum": None})
    assert read_manifest(msgspec.json.encode(document), "golden") == MANIFEST


def test_a_line_of_a_rejects_file_may_have_more_members() -> None:
    line = golden("rejects-1")["rejects.jsonl"].splitlines()[0]
    assert unwrap(line[:-1] + b',"a later member":{"more":[1]}}') == b"{bad"


async def test_a_journal_of_a_later_format_is_refused_as_such() -> None:
    sink = MemorySink()
    sink.small = {
        name: data.replace(b'"ddbio_journal":2', b'"ddbio_journal":3')
        for name, data in golden("journal-2-export").items()
    }
    with pytest.raises(
        JournalError, match="by a later version of ddbio: its format is 3, and this version reads format 2"
    ):
        await Journal(sink).opened()
