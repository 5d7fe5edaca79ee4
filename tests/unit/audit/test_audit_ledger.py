"""The ledger of a verification: what workers hand over counts once, also when a worker is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ddbio.audit.audit_ledger import AuditLedger
from ddbio.audit.commits import AuditCommit, Row
from ddbio.audit.staging import Finding, Staging
from ddbio.errors import LedgerError
from ddbio.ledger.positions import START


@pytest.fixture
async def rest() -> AsyncIterator[Staging]:
    with ThreadPoolExecutor(2) as executor:
        async with Staging(executor) as rest:
            yield rest


def commit(split: int = 0, seq: int = 1, **found: Any) -> AuditCommit:
    return AuditCommit(split=split, epoch=1, seq=seq, position=START, **found)


def row(key: bytes, segment: int = 0) -> Row:
    return Row(key, 7, segment)


async def findings(rest: Staging) -> list[Finding]:
    return [finding async for batch in rest.findings() for finding in batch]


async def test_pieces_and_counts_are_put_together(rest: Staging) -> None:
    told: list[str] = []
    ledger = AuditLedger(rest, told.append)
    end = commit(seq=2, done=True, rows=(row(b"c"),), handed_over=3, scanned=9, problems=("A problem.",))
    await ledger.record(
        [
            commit(
                rows=(
                    row(b"a"),
                    row(b"b"),
                )
            ),
            end,
        ]
    )
    await ledger.record([commit(split=2, done=True, scanned=1, problems=("Another.",))])
    await ledger.record([commit(split=1, done=True, scanned=2, problems=("One more.",))])
    ledger.check()
    assert [finding.key for finding in await findings(rest)] == [b"a", b"b", b"c"]
    assert (ledger.scanned, len(ledger.done)) == (12, 3)
    assert told == ["A problem.", "Another.", "One more."]
    assert ledger.problems == ["A problem.", "One more.", "Another."]


async def test_what_a_lost_worker_handed_over_does_not_count(rest: Staging) -> None:
    ledger = AuditLedger(rest, lambda _: None)
    await ledger.record([commit(rows=(row(b"stale"),)), commit(split=1, rows=(row(b"kept", 1),))])
    await ledger.forget([0, 5])
    await ledger.record([commit(done=True, rows=(row(b"new"),), handed_over=1)])
    with pytest.raises(LedgerError, match="1 split was verified only in part"):
        ledger.check()
    await ledger.record([commit(split=1, seq=2, done=True, handed_over=1)])
    ledger.check()
    assert {finding.key for finding in await findings(rest)} == {b"kept", b"new"}


async def test_rows_that_do_not_arrive_are_an_error(rest: Staging) -> None:
    ledger = AuditLedger(rest, lambda _: None)
    with pytest.raises(LedgerError, match="3 rows were handed over, but 2 arrived"):
        await ledger.record(
            [
                commit(
                    done=True,
                    rows=(
                        row(b"a"),
                        row(b"b"),
                    ),
                    handed_over=3,
                )
            ]
        )
