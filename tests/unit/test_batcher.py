"""Batches: their limits, their keys, their order."""

from __future__ import annotations

import random
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddbio.codec import Entry
from ddbio.codec.framing import Block
from ddbio.pipeline.batcher import MAX_BYTES, MAX_ITEMS, Batcher


class Big(bytes):
    """A request that says that it is long, without being so."""

    def __new__(cls, length: int) -> Big:
        made = super().__new__(cls)
        made.length = length
        return made

    length: int

    def __len__(self) -> int:
        return self.length


def entry(key: str, *, offset: int = 0, length: int = 100) -> Entry:
    return Entry(Big(length), key.encode(), length, Block(offset, None, b"{}"), offset, 2)


def take(batcher: Batcher, *, flush: bool, most_units: float = inf) -> list[Entry]:
    """The entries of the next batch, if there is one."""
    batch = batcher.take(flush=flush, most_units=most_units)
    if batch is None:
        return []
    assert batch.size == sum(len(one.request) for one in batch.entries)
    assert batch.units == sum(-(-one.size // 1_024) for one in batch.entries)
    return batch.entries


def keys(batch: list[Entry]) -> str:
    return "".join(entry.key.decode() for entry in batch)


def filled(names: str, length: int = 100) -> Batcher:
    batcher = Batcher()
    batcher.add([entry(name, length=length) for name in names])
    return batcher


def test_a_batch_waits_until_it_is_full_or_flushed() -> None:
    batcher = filled("abcdefghijklmnopqrstuvwx")
    assert take(batcher, flush=False) == []
    batcher.add([entry("y")])
    assert keys(take(batcher, flush=False)) == "abcdefghijklmnopqrstuvwxy"
    assert take(batcher, flush=True) == []
    batcher.add([entry("z")])
    assert keys(take(batcher, flush=True)) == "z"


def test_a_batch_ends_before_it_is_too_large() -> None:
    batcher = filled("abcde", MAX_BYTES // 3)
    assert keys(take(batcher, flush=False)) == "abc"
    assert keys(take(batcher, flush=False)) == ""
    assert keys(take(batcher, flush=True)) == "de"


def test_a_record_larger_than_a_batch_goes_alone() -> None:
    batcher = filled("a", 10)
    batcher.add([entry("b", length=MAX_BYTES + 1), entry("c")])
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
    assert batcher.held_bytes == 100
    first = take(batcher, flush=True)
    assert keys(first) == "ab"
    assert take(batcher, flush=True) == []
    batcher.finish(first[1:], written=True)
    assert take(batcher, flush=True) == []
    assert not batcher.empty
    batcher.finish(first[:1], written=False)
    assert [one.written for one in first] == [False, True]
    assert batcher.held_bytes == 0
    second = take(batcher, flush=True)
    assert keys(second) == "a"
    assert second[0] is not first[0]
    batcher.finish(second, written=True)
    assert batcher.empty


def test_what_was_not_processed_goes_first_and_still_holds_its_key() -> None:
    batcher = filled("abcda")
    batch = take(batcher, flush=True)
    batcher.add([entry("e")])
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
    out: list[list[Entry]] = []
    done: list[Entry] = []

    def send(*, flush: bool) -> None:
        while batch := take(batcher, flush=flush, most_units=most_units):
            assert len(batch) <= MAX_ITEMS
            assert len(batch) == 1 or sum(-(-one.size // 1_024) for one in batch) <= most_units
            assert sum(len(one.request) for one in batch) <= MAX_BYTES
            out.append(batch)
        flying = [one.key for batch in out for one in batch]
        assert len(set(flying)) == len(flying)

    def come_back() -> None:
        batch = out.pop(rng.randrange(len(out)))
        back = [one for one in batch if rng.random() < unprocessed]
        settled = [one for one in batch if one not in back]
        batcher.finish(settled, written=True)
        batcher.put_back(back)
        done.extend(settled)

    while waiting:
        some = rng.randint(1, 30)
        batcher.add(waiting[:some])
        del waiting[:some]
        send(flush=rng.random() < 0.2)
        while out and rng.random() < 0.4:
            come_back()
    while not batcher.empty:
        send(flush=True)
        come_back()
    assert sorted(one.offset for one in done) == list(range(len(records)))
    for key in {one.key for one in done}:
        offsets = [one.offset for one in done if one.key == key]
        assert offsets == sorted(offsets)
    assert batcher.held_bytes == 0
    assert take(batcher, flush=True) == []


@pytest.mark.parametrize("flush", [True, False])
def test_an_empty_batcher_has_nothing(flush: bool) -> None:
    assert Batcher().empty
    assert take(Batcher(), flush=flush) == []
