"""Batches: their limits, their keys, their order."""

from __future__ import annotations

import random
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddbio.codec import EncodedRecord
from ddbio.codec.framing import Block
from ddbio.pipeline.importing.batcher import MAX_BYTES, MAX_ITEMS, Batcher


class Big(bytes):
    """A request that says that it is long, without being so."""

    def __new__(cls, length: int) -> Big:
        made = super().__new__(cls)
        made.length = length
        return made

    length: int

    def __len__(self) -> int:
        return self.length


ME, OTHER = 1, 2


def entry(key: str, *, offset: int = 0, length: int = 100) -> EncodedRecord:
    return EncodedRecord(Big(length), key.encode(), length, Block(offset, None, b"{}"), offset, 2)


def take(batcher: Batcher, owner: int | None = ME, *, flush: bool, most_units: float = inf) -> list[EncodedRecord]:
    """The entries of the next batch, if there is one."""
    batch = batcher.take(owner, flush=flush, most_units=most_units)
    if batch is None:
        return []
    assert batch.size == sum(len(one.request) for one in batch.entries)
    assert batch.units == sum(-(-one.size // 1_024) for one in batch.entries)
    return batch.entries


def keys(batch: list[EncodedRecord]) -> str:
    return "".join(entry.key.decode() for entry in batch)


def filled(names: str, length: int = 100) -> Batcher:
    batcher = Batcher()
    batcher.add([entry(name, length=length) for name in names], ME)
    return batcher


def release(batcher: Batcher, batch: list[EncodedRecord], *, written: bool = True) -> str:
    """Settle these entries; the keys of those that are ready for that."""
    owners, released = batcher.finish(batch, written=written)
    assert sum(owners.values()) == len(batch)
    return keys(released)


def test_a_batch_waits_until_it_is_full_or_flushed() -> None:
    batcher = filled("abcdefghijklmnopqrstuvwx")
    assert take(batcher, flush=False) == []
    batcher.add([entry("y")], ME)
    assert keys(take(batcher, flush=False)) == "abcdefghijklmnopqrstuvwxy"
    assert take(batcher, flush=True) == []
    batcher.add([entry("z")], ME)
    assert keys(take(batcher, flush=True)) == "z"


def test_a_batch_ends_before_it_is_too_large() -> None:
    batcher = filled("abcde", MAX_BYTES // 3)
    assert keys(take(batcher, flush=False)) == "abc"
    assert keys(take(batcher, flush=False)) == ""
    assert keys(take(batcher, flush=True)) == "de"


def test_a_record_larger_than_a_batch_goes_alone() -> None:
    batcher = filled("a", 10)
    batcher.add([entry("b", length=MAX_BYTES + 1), entry("c")], ME)
    assert [keys(take(batcher, flush=False)) for _ in range(3)] == ["a", "b", ""]


def test_a_batch_costs_no_more_than_is_given_or_is_one_item() -> None:
    batcher = filled("abcdefg", 3_000)
    assert keys(take(batcher, flush=False)) == ""
    assert keys(take(batcher, flush=False, most_units=7)) == "ab"
    assert keys(take(batcher, flush=False, most_units=2.5)) == "c"
    assert keys(take(batcher, flush=False, most_units=0)) == "d"
    assert keys(take(batcher, flush=False, most_units=9.5)) == ""
    assert keys(take(batcher, flush=True, most_units=9.5)) == "efg"


def test_a_key_on_its_way_holds_the_next_record_back() -> None:
    batcher = filled("aab")
    assert batcher.waiting_bytes(ME) == 100
    first = take(batcher, flush=True)
    assert keys(first) == "ab"
    assert take(batcher, flush=True) == []
    assert release(batcher, first[1:]) == ""
    assert take(batcher, flush=True) == []
    assert batcher.open(ME) == 2
    assert release(batcher, first[:1], written=False) == "a"
    assert [one.written for one in first] == [False, True]
    assert batcher.waiting_bytes(ME) == 0
    second = take(batcher, flush=True)
    assert keys(second) == "a"
    assert second[0] is not first[0]
    assert release(batcher, second) == ""
    assert batcher.open(ME) == 0


def test_rests_of_several_owners_share_a_batch_but_not_a_key() -> None:
    batcher = filled("abc")
    batcher.add([entry("d"), entry("b"), entry("b")], OTHER)
    assert (batcher.open(ME), batcher.open(OTHER)) == (3, 3)
    assert (batcher.waiting_bytes(ME), batcher.waiting_bytes(OTHER)) == (0, 200)
    assert take(batcher, None, flush=True) == []
    batcher.end(ME)
    batcher.end(OTHER)
    assert batcher.left == 4
    batch = take(batcher, None, flush=True)
    assert keys(batch) == "abcd"
    assert [one.owner for one in batch] == [ME, ME, ME, OTHER]
    owners, released = batcher.finish(batch, written=True)
    assert owners == {ME: 3, OTHER: 1}
    assert [one.owner for one in released] == [OTHER]
    assert batcher.left == 1
    assert (batcher.open(ME), batcher.open(OTHER), batcher.waiting_bytes(OTHER)) == (0, 2, 100)


def test_unprocessed_records_go_out_after_their_owner_ended() -> None:
    batcher = filled("abc")
    batcher.add(entries := [entry("x"), entry("y")], OTHER)
    first, second = take(batcher, flush=True), take(batcher, OTHER, flush=True)
    batcher.end(OTHER)
    batcher.put_back([first[1], *second])
    assert keys(take(batcher, flush=True)) == "b"
    assert take(batcher, None, flush=True) == entries


def test_what_rests_counts_as_waiting_until_it_goes_on() -> None:
    batcher = filled("abc")
    batch = take(batcher, flush=True)
    batcher.rest(batch[:2])
    assert batcher.waiting_bytes(ME) == 200
    assert take(batcher, flush=True) == []
    batcher.go_on(batch[:2])
    assert (batcher.waiting_bytes(ME), batcher.open(ME)) == (0, 3)
    assert take(batcher, flush=True) == batch[:2]


def test_unprocessed_records_go_first_and_still_hold_their_key() -> None:
    batcher = filled("abcda")
    batch = take(batcher, flush=True)
    batcher.add([entry("e")], ME)
    batcher.put_back(batch[:2])
    batcher.finish(batch[2:], written=True)
    assert keys(take(batcher, flush=True)) == "abe"


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, MAX_BYTES // 3)), max_size=150),
    st.integers(0, 1_000),
    st.floats(0, 0.9),
    st.floats(0, 1e5),
)
def test_whatever_happens_nothing_is_lost_doubled_or_overtaken(
    records: list[tuple[int, int]], seed: int, unprocessed: float, most_units: float
) -> None:
    rng, batcher = random.Random(seed), Batcher()
    waiting = [entry(str(key), offset=offset, length=length) for offset, (key, length) in enumerate(records)]
    out: list[list[EncodedRecord]] = []
    resting: list[list[EncodedRecord]] = []
    done: list[EncodedRecord] = []

    def send(owner: int | None, *, flush: bool) -> None:
        while batch := take(batcher, owner, flush=flush, most_units=most_units):
            assert len(batch) <= MAX_ITEMS
            assert len(batch) == 1 or sum(-(-one.size // 1_024) for one in batch) <= most_units
            assert sum(len(one.request) for one in batch) <= MAX_BYTES
            out.append(batch)
        flying = [one.key for batch in out + resting for one in batch]
        assert len(set(flying)) == len(flying)

    def come_back() -> None:
        batch = out.pop(rng.randrange(len(out)))
        back = [one for one in batch if rng.random() < unprocessed]
        settled = [one for one in batch if one not in back]
        batcher.finish(settled, written=True)
        batcher.rest(back)
        resting.append(back)
        done.extend(settled)

    def go_on() -> None:
        batcher.go_on(resting.pop(rng.randrange(len(resting))))

    while waiting:
        some = rng.randint(1, 30)
        batcher.add(waiting[:some], owner := rng.randint(1, 3))
        del waiting[:some]
        send(owner, flush=rng.random() < 0.2)
        while out and rng.random() < 0.4:
            come_back()
        while resting and rng.random() < 0.5:
            go_on()
    for owner in range(1, 4):
        batcher.end(owner)
    while len(done) < len(records):
        send(None, flush=True)
        while out:
            come_back()
        while resting:
            go_on()
    assert sorted(one.offset for one in done) == list(range(len(records)))
    for key in {one.key for one in done}:
        offsets = [one.offset for one in done if one.key == key]
        assert offsets == sorted(offsets)
    assert [batcher.open(owner) + batcher.waiting_bytes(owner) for owner in range(1, 4)] == [0, 0, 0]
    assert take(batcher, flush=True) == []


@pytest.mark.parametrize("flush", [True, False])
def test_an_empty_batcher_has_nothing(flush: bool) -> None:
    assert take(Batcher(), flush=flush) == []
