"""The outbox: commits in order, kept until acknowledged, bounded."""

from __future__ import annotations

import asyncio

import pytest

from ddbio.ledger.entries import Commit, Lease, Reject, Split
from ddbio.ledger.positions import AtOffset
from ddbio.pipeline.outbox import Committer, Outbox
from ddbio.pipeline.tuning import Tuning
from tests.kit.fakes import let_run

A, B, C = map(AtOffset, range(3))
LEASE = Lease(Split(7), 3)
PLAIN = Commit(split=7, epoch=3, seq=1, position=A)


def rejects(size: int) -> tuple[Reject, ...]:
    return (Reject("f", 0, size, None, "not_json", "It is no JSON.", bytes(size)),)


class Bell:
    def __init__(self) -> None:
        self.rings = 0

    def ring(self) -> None:
        self.rings += 1


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
def outbox(bell: Bell) -> Outbox:
    return Outbox(bell.ring)


async def test_commits_stay_in_order_until_acknowledged(outbox: Outbox) -> None:
    committer = Committer(LEASE, outbox)
    for position in (A, B, C):
        await committer.commit(position, read=1)
    expected = [
        Commit(split=7, epoch=3, seq=seq, position=position, read=1) for seq, position in enumerate((A, B, C), 1)
    ]
    assert list(outbox.pending()) == expected
    assert list(outbox.pending()) == expected
    outbox.acknowledge(2)
    assert list(outbox.pending()) == expected[2:]


async def test_commits_after_a_report_are_not_acknowledged_with_it(outbox: Outbox) -> None:
    await outbox.push(PLAIN)
    reported = outbox.pending()
    committer = Committer(LEASE, outbox)
    await committer.commit(C)
    outbox.acknowledge(len(reported))
    assert [commit.position for commit in outbox.pending()] == [C]


async def test_an_end_or_a_reject_is_urgent_and_a_plain_commit_is_not(outbox: Outbox, bell: Bell) -> None:
    committer = Committer(LEASE, outbox)
    await committer.commit(A)
    assert bell.rings == 0
    await committer.commit(B, rejects=rejects(10))
    assert bell.rings == 1
    await committer.commit(C, done=True)
    assert bell.rings == 2


async def test_waiting_for_a_commit_is_urgent_until_acknowledged(outbox: Outbox, bell: Bell) -> None:
    await outbox.push(PLAIN)
    waiting = asyncio.create_task(Committer(LEASE, outbox).commit_and_wait(B))
    await let_run()
    assert bell.rings == 1
    outbox.acknowledge(1)
    await let_run()
    assert not waiting.done()
    outbox.acknowledge(1)
    await waiting


async def test_who_stops_waiting_leaves_the_commit_in_place(outbox: Outbox) -> None:
    waiting = asyncio.create_task(Committer(LEASE, outbox).commit_and_wait(B))
    await let_run()
    waiting.cancel()
    await let_run()
    assert [commit.position for commit in outbox.pending()] == [B]
    outbox.acknowledge(1)
    assert outbox.pending() == ()


async def test_a_commit_that_never_got_in_is_told(outbox: Outbox) -> None:
    committer = Committer(LEASE, outbox)
    await committer.commit(A, rejects=rejects(Tuning.outbox_bytes))
    assert committer.intact
    second = asyncio.create_task(committer.commit(B, rejects=rejects(1)))
    await let_run()
    second.cancel()
    await let_run()
    assert not committer.intact


async def test_rejects_are_bounded(outbox: Outbox) -> None:
    committer = Committer(LEASE, outbox)
    await committer.commit(A, rejects=rejects(Tuning.outbox_bytes - 10_000))
    second = asyncio.create_task(committer.commit(B, rejects=rejects(20_000)))
    await let_run()
    assert not second.done()
    assert len(outbox.pending()) == 1
    outbox.acknowledge(1)
    await second
    assert [commit.position for commit in outbox.pending()] == [B]


async def test_more_than_the_limit_goes_alone(outbox: Outbox) -> None:
    await Committer(LEASE, outbox).commit(A, rejects=rejects(2 * Tuning.outbox_bytes))
    assert len(outbox.pending()) == 1


async def test_only_awaited_commits_and_rejects_are_durable_at_once(outbox: Outbox) -> None:
    committer = Committer(LEASE, outbox)
    await committer.commit(A, done=True)
    assert not outbox.urgent
    await committer.commit(B, rejects=rejects(10))
    assert outbox.urgent
    outbox.acknowledge(2)
    assert not outbox.urgent
    waiting = asyncio.create_task(committer.commit_and_wait(C))
    await let_run()
    assert outbox.urgent
    outbox.acknowledge(1)
    await waiting
