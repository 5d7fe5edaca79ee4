"""The ledger: counts that must agree, and the types seen on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ddbio.errors import LedgerError
from ddbio.hints import NS, SS, B, L, S
from ddbio.ledger.entries import Commit, FileState, Reject
from ddbio.ledger.law import ExportLaw, ImportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.positions import END, START, AfterKey
from ddbio.ledger.rejects import RejectsFile


def state(items: int, *, sealed: bool = True, name: str = "T-0000-00000.json") -> FileState:
    return FileState(
        name=name, segment=0, number=0, first=START, last=END, read=items, items=items, bytes=9, crc32=1, sealed=sealed
    )


def commit(seq: int = 1, **facts: Any) -> Commit:
    return Commit(split=0, epoch=1, seq=seq, position=AfterKey("{}"), **facts)


async def test_an_export_whose_counts_agree_passes() -> None:
    ledger = Ledger(ExportLaw())
    await ledger.record([commit(read=3, written=3, bytes=5, file=state(3, sealed=False))])
    await ledger.record([commit(2, read=2, written=2, bytes=4, file=state(5, sealed=False)), commit(3, file=state(5))])
    ledger.check()
    assert (ledger.read, ledger.written, ledger.bytes) == (5, 5, 9)
    assert list(ledger.files) == ["T-0000-00000.json"]


@pytest.mark.parametrize(
    ("commits", "message"),
    [
        ([commit(read=3, written=2, file=state(2))], "Read 3 records, but wrote 2"),
        ([commit(read=2, written=2, file=state(2, sealed=False))], "1 file was not finished, T-0000-00000"),
        ([commit(read=2, written=2, file=state(3))], "Wrote 2 items, but the files hold 3"),
        ([commit(read=2, written=2)], "Wrote 2 items, but the files hold 0"),
    ],
)
async def test_counts_that_differ_are_an_error(commits: list[Commit], message: str) -> None:
    ledger = Ledger(ExportLaw())
    await ledger.record(commits)
    with pytest.raises(LedgerError, match=message):
        ledger.check()


async def test_an_import_may_have_rejects(tmp_path: Path) -> None:
    ledger = Ledger(ImportLaw(), rejects=RejectsFile(tmp_path / "r.jsonl", "run"))
    assert ledger.rejects_location is None
    bad = Reject("f", 0, 1, 1, "not_json", "No.", b"{")
    await ledger.record([commit(read=5, written=4, rejected=1, rejects=(bad,))])
    ledger.check()
    assert ledger.rejected == 1
    assert ledger.rejects_location == str(tmp_path / "r.jsonl")
    await ledger.record([commit(2, read=1)])
    with pytest.raises(LedgerError, match="Read 6 records, but wrote 4 and rejected 1"):
        ledger.check()
    await ledger.leave()


async def test_an_attribute_that_plain_json_loses_is_news_once() -> None:
    ledger = Ledger(ExportLaw())
    news = [
        await ledger.record([commit(seq, types=types)])
        for seq, types in enumerate([{"a": S, "b": B}, {"b": B | L}, {"a": S | SS, "c": L}, {"c": NS}], 1)
    ]
    assert news == [["b"], [], ["a"], ["c"]]
    assert ledger.types.mixed() == ["a", "b", "c"]
