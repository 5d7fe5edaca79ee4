"""Senders that share their batches: when these go out, who is told, and that nobody waits for ever."""

from __future__ import annotations

import asyncio
import math
import random
import sys
from collections import Counter
from collections.abc import Coroutine
from functools import partial
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.codec import EncodedRecord
from ddbio.codec.framing import Block
from ddbio.pipeline.importing.batcher import MAX_ITEMS, Batch
from ddbio.pipeline.importing.sending import Dispatcher, Sender
from ddbio.pipeline.importing.writing import Outcome, TableWriter
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.tuning import DEFAULT, Tuning
from ddbio.retry import Deadline
from tests.kit.fakes import VirtualClock, let_run, run_virtual
from tests.kit.marks import examples


class Table(TableWriter):
    """Takes everything, each batch `latency` seconds after it came; for a test to change."""

    def __init__(self, latency: float = 1.0) -> None:
        self.latency = latency
        self.sent: list[str] = []
        self.flying: set[bytes] = set()
        self.deadline = Deadline(lambda: 0.0, 1.0)

    @property
    def affordable(self) -> float:
        return inf

    async def write(self, batch: Batch) -> Outcome:
        keys = {entry.key for entry in batch.entries}
        assert len(keys) == len(batch.entries) <= MAX_ITEMS
        assert not keys & self.flying
        self.flying |= keys
        self.sent.append(names(batch.entries))
        try:
            await asyncio.sleep(self.latency)
            return self.judge(batch)
        finally:
            self.flying -= keys

    def judge(self, batch: Batch) -> Outcome:
        outcome = Outcome()
        outcome.written = batch.entries
        return outcome


def entry(key: str, offset: int = 0) -> EncodedRecord:
    return EncodedRecord(b"x" * 100, key.encode(), 100, Block(offset, None, b"{}"), offset, 2)


def entries(keys: str) -> list[EncodedRecord]:
    return [entry(key) for key in keys]


def names(sent: list[EncodedRecord]) -> str:
    return "".join(one.key.decode() for one in sent)


def dispatching(table: Table, lanes: int = 4, tuning: Tuning = DEFAULT) -> Dispatcher:
    requester: Any = table  # of which only the deadline is used
    return Dispatcher(
        table, requester=requester, lanes=Lanes(lanes), meter=Meter(), clock=VirtualClock(), tuning=tuning
    )


def refuse_none(refused: EncodedRecord, message: str) -> None:
    raise AssertionError


async def settle(sender: Sender) -> None:
    await sender.finish()
    while not sender.empty:
        await sender.moved()
    sender.close()


def run(main: Coroutine[Any, Any, None]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(1e6):
            await main

    run_virtual(in_time())


def test_senders_fill_batches_together_and_flush_the_rest() -> None:
    async def main() -> None:
        table = Table()
        async with dispatching(table) as dispatcher:
            first, second = dispatcher.sender(refuse_none), dispatcher.sender(refuse_none)
            await first.add(entries("abcdefghijklmnop"))
            await second.add(entries("ABCDEFGHIJKLMNOP"))
            settling = asyncio.create_task(settle(first))
            await asyncio.sleep(Tuning.leftover_seconds / 2)
            assert table.sent == []
            assert not settling.done()
            await settle(second)
            await settling
            assert table.sent == ["abcdefghijklmnopABCDEFGHI", "JKLMNOP"]

    run(main())


def test_what_is_left_does_not_wait_for_others_for_ever() -> None:
    async def main() -> None:
        table = Table()
        async with dispatching(table) as dispatcher:
            ended, slow = dispatcher.sender(refuse_none), dispatcher.sender(refuse_none)
            await ended.add(entries("abc"))
            await slow.add(entries("xyz"))
            began = asyncio.get_running_loop().time()
            await settle(ended)
            taken = asyncio.get_running_loop().time() - began
            assert taken == pytest.approx(Tuning.leftover_seconds + table.latency, abs=0.01)
            assert table.sent == ["abc"]
            await settle(slow)

    run(main())


def test_who_waits_for_memory_has_ready_records_sent() -> None:
    """Though another one, which is idle, might bring more."""

    async def main() -> None:
        table = Table()
        async with dispatching(table, tuning=Tuning(held_bytes=150)) as dispatcher:
            other, pressed, idle = (dispatcher.sender(refuse_none) for _ in range(3))
            await other.add(entries("kk"))
            settling = asyncio.create_task(settle(other))
            await asyncio.sleep(Tuning.leftover_seconds / 2)
            assert table.sent == []
            await pressed.add(entries("akk"))
            assert table.sent[:3] == ["a", "k", "k"]
            await settling
            await asyncio.gather(settle(pressed), settle(idle))
            assert table.sent[2:] == ["k", "k", "k"]

    run(main())


def test_while_one_waits_for_memory_the_others_fill_batches() -> None:
    async def main() -> None:
        table = Table(latency=100.0)
        async with dispatching(table, tuning=Tuning(held_bytes=150)) as dispatcher:
            pressed, other = dispatcher.sender(refuse_none), dispatcher.sender(refuse_none)
            adding = asyncio.create_task(pressed.add(entries("kkk")))
            await let_run()
            for key in "ABCDEFGHIJKLMNOPQRSTUVWXY":
                await other.add([entry(key)])
                await asyncio.sleep(1)
            assert table.sent == ["k", "ABCDEFGHIJKLMNOPQRSTUVWXY"]
            await adding
            await asyncio.gather(settle(pressed), settle(other))

    run(main())


def test_a_record_that_is_refused_is_told_to_its_own_sender() -> None:
    class Strict(Table):
        def judge(self, batch: Batch) -> Outcome:
            outcome = Outcome()
            outcome.written = [one for one in batch.entries if one.key.islower()]
            outcome.refused = [(one, "No capitals.") for one in batch.entries if one.key.isupper()]
            return outcome

    async def main() -> None:
        told: list[tuple[int, bytes, str]] = []
        async with dispatching(Strict()) as dispatcher:
            senders = [
                dispatcher.sender(partial(lambda number, one, message: told.append((number, one.key, message)), number))
                for number in range(2)
            ]
            await senders[0].add(entries("aB"))
            await senders[1].add(entries("Cd"))
            await asyncio.gather(*map(settle, senders))
        assert told == [(0, b"B", "No capitals."), (1, b"C", "No capitals.")]

    run(main())


def test_a_batch_that_fails_is_told_to_everybody() -> None:
    class Broken(Table):
        def judge(self, batch: Batch) -> Outcome:
            raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with dispatching(Broken()) as dispatcher:
                senders = [dispatcher.sender(refuse_none) for _ in range(3)]
                for number, sender in enumerate(senders):
                    await sender.add([entry(str(number))])
                waiting = [asyncio.create_task(settle(senders[0])), asyncio.create_task(senders[1].push())]
                results = await asyncio.gather(*waiting, return_exceptions=True)
                assert [type(result) for result in results] == [ZeroDivisionError] * 2
                with pytest.raises(ZeroDivisionError):
                    await senders[2].add([])

    run(main())


class Whimsical(Table):
    """Takes some of each batch, leaves some, refuses some; notes what became of each record, in order."""

    def __init__(self, seed: int, unprocessed: float, refused: float) -> None:
        super().__init__()
        self.rng = random.Random(seed)
        self.unprocessed = unprocessed
        self.refused = refused
        self.taken: list[EncodedRecord] = []

    def judge(self, batch: Batch) -> Outcome:
        self.latency = self.rng.random()
        outcome = Outcome()
        for one in batch.entries:
            if self.rng.random() < self.unprocessed:
                outcome.unprocessed.append(one)
            elif self.rng.random() < self.refused:
                outcome.refused.append((one, "No."))
            else:
                outcome.written.append(one)
        self.taken += outcome.written
        return outcome


@examples(150)
@given(
    keys=st.lists(st.lists(st.integers(0, 30), max_size=120), min_size=1, max_size=6),
    seed=st.integers(0, 1_000),
    unprocessed=st.sampled_from([0.0, 0.3]),
    refused=st.sampled_from([0.0, 0.2]),
    lanes=st.integers(1, 4),
    held=st.sampled_from([0, 300, sys.maxsize]),
)
def test_every_record_of_every_sender_is_settled_once_in_order(
    keys: list[list[int]], seed: int, unprocessed: float, refused: float, lanes: int, held: int
) -> None:
    table, rng, told = Whimsical(seed, unprocessed, refused), random.Random(seed), Counter[bytes]()

    async def bring(dispatcher: Dispatcher, mine: list[EncodedRecord]) -> None:
        sender = dispatcher.sender(lambda one, _: told.update([one.request]))
        at = 0
        while at < len(mine):
            count = rng.randint(1, 40)
            await sender.add(mine[at : at + count])
            at += count
            await asyncio.sleep(rng.choice([0, rng.random()]))
            if rng.random() < 0.2 and not sender.empty:
                await sender.push()
        await settle(sender)

    async def main() -> None:
        async with dispatching(table, lanes, Tuning(held_bytes=held)) as dispatcher, asyncio.TaskGroup() as group:
            for mine in records:
                group.create_task(bring(dispatcher, mine))
        assert dispatcher.adding == set()
        assert dispatcher.pressed == 0

    records = [
        [
            EncodedRecord(b"%d %d" % (sender, place), b"%d" % key, 9, Block(0, None, b"{}"), place, 2)
            for place, key in enumerate(own)
        ]
        for sender, own in enumerate(keys)
    ]
    table.deadline = Deadline(lambda: 0.0, math.inf)
    run(main())
    for mine in records:
        taken = [one for one in table.taken if one in mine]
        assert all((one.written is True) + told[one.request] == 1 for one in mine)
        assert len(taken) == sum(one.written is True for one in mine)
        for key in {one.key for one in taken}:
            offsets = [one.offset for one in taken if one.key == key]
            assert offsets == sorted(offsets)
