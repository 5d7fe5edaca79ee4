"""The ledger of a verification: what workers hand over counts once, also when a worker is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ddbio.audit.findings import Findings, Found, pack
from ddbio.audit.stage import Row, Stage, Verdict
from ddbio.errors import LedgerError
from ddbio.ledger.entries import Commit


@pytest.fixture
async def rest() -> AsyncIterator[Stage]:
    with ThreadPoolExecutor(2) as executor:
        async with Stage(executor) as rest:
            yield rest


def commit(found: Found, *, split: int = 0, seq: int = 1, done: bool = False) -> Commit:
    return Commit(split=split, epoch=1, seq=seq, position="", done=done, found=pack(found))


def row(key: bytes, segment: int = 0) -> Row:
    return Row(key, 7, segment)


async def verdicts(rest: Stage) -> list[Verdict]:
    return [verdict async for batch in rest.verdicts() for verdict in batch]


async def test_pieces_and_counts_are_put_together(rest: Stage) -> None:
    told: list[str] = []
    findings = Findings(rest, told.append)
    end = Found(rows=[row(b"c")], handed_over=3, scanned=9, problems=["A problem."])
    await findings.record([commit(Found(rows=[row(b"a"), row(b"b")])), commit(end, seq=2, done=True)])
    await findings.record([commit(Found(scanned=1, problems=["Another."]), split=2, done=True)])
    await findings.record([commit(Found(scanned=2, problems=["One more."]), split=1, done=True)])
    findings.check()
    assert [verdict.key for verdict in await verdicts(rest)] == [b"a", b"b", b"c"]
    assert (findings.scanned, len(findings.done)) == (12, 3)
    assert told == ["A problem.", "Another.", "One more."]
    assert findings.problems == ["A problem.", "One more.", "Another."]


async def test_what_a_lost_worker_handed_over_does_not_count(rest: Stage) -> None:
    findings = Findings(rest, lambda _: None)
    await findings.record([commit(Found(rows=[row(b"stale")])), commit(Found(rows=[row(b"kept", 1)]), split=1)])
    await findings.forget([0, 5])
    await findings.record([commit(Found(rows=[row(b"new")], handed_over=1), done=True)])
    with pytest.raises(LedgerError, match=r"in part: \[1\]"):
        findings.check()
    await findings.record([commit(Found(handed_over=1), split=1, seq=2, done=True)])
    findings.check()
    assert {verdict.key for verdict in await verdicts(rest)} == {b"kept", b"new"}


async def test_rows_that_do_not_arrive_are_an_error(rest: Stage) -> None:
    findings = Findings(rest, lambda _: None)
    with pytest.raises(LedgerError, match="3 rows were handed over, but 2 arrived"):
        await findings.record([commit(Found(rows=[row(b"a"), row(b"b")], handed_over=3), done=True)])
