"""The files of a segment: where they are cut, what is committed when, and in which order they are sealed."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any
from zlib import crc32

import pytest

from ddbio.errors import DestinationError
from ddbio.ledger.entries import Commit, Lease, Split
from ddbio.ledger.positions import END, AfterKey
from ddbio.model import Page
from ddbio.pipeline.exporting.segment_files import MEGABYTE, SegmentFiles
from ddbio.pipeline.outbox import Outbox
from tests.kit.fakes import FakeClock, MemorySink, let_run
from tests.kit.fleets import export_job


def page(size: int, *, items: int = 1, last: str | None = "{}", types: dict[str, int] | None = None) -> Page:
    records = b"x" * (size - 1) + b"\n" if size else b""
    return Page(records, items if size else 0, items, items, last and last.encode(), 1.0, types or {})  # type: ignore[arg-type]


LEASE = Lease(Split(3), 1)


class Segment:
    """The files of segment 3, and a coordinator that acknowledges at once unless it is told not to."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.sink = MemorySink()
        self.outbox = Outbox(self._answer)
        self.commits: list[Commit] = []
        self.silent = False
        self.options = {"file_size_mb": 1, **options}

    def open(self, lease: Lease = LEASE) -> SegmentFiles:
        return SegmentFiles(
            export_job(8, **self.options),
            lease=lease,
            sink=self.sink,
            outbox=self.outbox,
            executor=None,  # type: ignore[arg-type] # the loop's own
            clock=self.clock,
        )

    def _answer(self) -> None:
        if not self.silent:
            self.collect()

    def collect(self) -> list[Commit]:
        """Acknowledge everything, and return all commits so far."""
        pending = self.outbox.pending()
        self.commits += pending
        self.outbox.acknowledge(len(pending))
        self.sink.calls += [("acknowledge", str(commit.position)) for commit in pending]
        return self.commits

    def check(self) -> None:
        """What the last commit says of each file is what lies there."""
        states = {commit.file.name: commit.file for commit in self.commits if commit.file}
        assert sorted(states) == sorted(self.sink.sealed)
        for name, data in self.sink.sealed.items():
            state = states[name]
            assert (state.segment, state.bytes, state.crc32, state.sealed) == (3, len(data), crc32(data), True)
        in_order = sorted(states.values(), key=lambda state: state.number)
        assert [state.number for state in in_order] == list(range(len(in_order)))
        assert sum(commit.written for commit in self.commits) == sum(state.items for state in states.values())
        assert sum(commit.bytes for commit in self.commits) == sum(map(len, self.sink.sealed.values()))
        assert [commit.seq for commit in self.commits] == list(range(1, len(self.commits) + 1))


@pytest.fixture
def segment() -> Segment:
    return Segment()


async def test_a_segment_without_items_leaves_no_file_and_is_done(segment: Segment) -> None:
    files = segment.open()
    await files.add(page(0, items=0))
    await files.add(page(0, items=0, last=None))
    await files.finish()
    await files.leave()
    assert segment.sink.sealed == {}
    assert [(commit.done, commit.file) for commit in segment.collect()] == [(False, None), (True, None)]


async def test_pages_go_into_one_file_while_they_fit(segment: Segment) -> None:
    files = segment.open()
    for _ in range(4):
        assert await files.add(page(MEGABYTE // 4, items=10)) == MEGABYTE // 4
    await files.finish()
    segment.collect()
    assert {name: len(data) for name, data in segment.sink.sealed.items()} == {"T-0003-00000.json": MEGABYTE}
    assert segment.commits[-1].done
    segment.check()


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_file_carries_the_sum_of_its_pages_fingerprints(wanted: bool) -> None:
    segment = Segment(fingerprint=wanted)
    files = segment.open()
    for size, fingerprint in ((700_000, 2**64 - 1), (200_000, 18), (900_000, 5), (0, 0)):
        await files.add(page(size)._replace(fingerprint=fingerprint))
        segment.clock.advance(1)
    await files.finish()
    states = {commit.file.name: commit.file for commit in segment.collect() if commit.file}
    found = [states[name].fingerprint for name in sorted(states)]
    assert found == ([f"{17:016x}", f"{5:016x}"] if wanted else [None, None])
    segment.check()


async def test_files_are_cut_between_pages_and_a_large_page_is_alone(segment: Segment) -> None:
    files = segment.open()
    for size in (700_000, 400_000, 3 * MEGABYTE, 10):
        await files.add(page(size))
    await files.finish()
    segment.collect()
    assert [len(data) for _, data in sorted(segment.sink.sealed.items())] == [700_000, 400_000, 3 * MEGABYTE, 10]
    segment.check()


@pytest.mark.parametrize("pause", [0.0, 1.0])
async def test_a_file_is_named_only_when_all_of_it_is_acknowledged(segment: Segment, pause: float) -> None:
    """With a pause of a second, every page is committed on its way, and nothing is left to commit at the end."""
    files = segment.open()
    segment.silent = True
    for _ in range(3):
        segment.clock.advance(pause)
        await files.add(page(300_000))
    closing = asyncio.create_task(files.add(page(900_000)))
    await let_run()
    assert not segment.sink.sealed
    segment.collect()
    await closing
    assert list(segment.sink.sealed) == ["T-0003-00000.json"]
    segment.silent = False
    await files.finish()
    segment.collect()
    segment.check()


async def test_what_is_durable_is_committed_once_a_second(segment: Segment) -> None:
    files = segment.open()
    for number in range(10):
        segment.clock.advance(0.3)
        await files.add(page(1_000, items=5, last=f'{{"n":{number}}}'))
    commits = segment.collect()
    assert [(commit.position, commit.written) for commit in commits] == [
        (AfterKey('{"n":3}'), 20),
        (AfterKey('{"n":7}'), 20),
    ]
    assert [commit.file.bytes for commit in commits if commit.file] == [4_000, 8_000]
    await files.leave()


async def test_only_pages_that_are_durable_are_committed(segment: Segment) -> None:
    segment.sink.lag = 1_500
    files = segment.open()
    for number in range(4):
        segment.clock.advance(1)
        await files.add(page(1_000, last=f'{{"n":{number}}}'))
    assert [(one.position, one.file and one.file.bytes) for one in segment.collect()] == [
        (AfterKey('{"n":0}'), 1_000),
        (AfterKey('{"n":1}'), 2_000),
    ]
    await files.finish()
    segment.collect()
    segment.check()


async def test_every_page_is_counted_once_whatever_the_rhythm(segment: Segment) -> None:
    files = segment.open()
    segment.sink.lag = 200_000
    sizes = [0, 300_000, 0, 600_000, 400_000, 0, 5, 2_000_000, 0, 0, 900_000]
    for number, size in enumerate(sizes):
        segment.clock.advance(number % 3 * 0.6)
        await files.add(page(size, items=2))
    await files.finish()
    await files.leave()
    segment.collect()
    assert sum(commit.read for commit in segment.commits) == 2 * len(sizes)
    assert sum(commit.written for commit in segment.commits) == 2 * sum(size > 0 for size in sizes)
    assert [commit.done for commit in segment.commits].index(True) == len(segment.commits) - 1
    segment.check()


async def test_a_successor_starts_a_file_after_the_last_commit(segment: Segment) -> None:
    files = segment.open(Lease(Split(3), 2, AfterKey('{"n":41}'), 7))
    await files.add(page(10, last='{"n":42}'))
    await files.add(page(10, last=None))
    await files.finish()
    (state,) = {commit.file for commit in segment.collect() if commit.file and commit.file.sealed}
    assert (state.name, state.number, state.first, state.last) == ("T-0003-00007.json", 7, AfterKey('{"n":41}'), END)
    assert {commit.epoch for commit in segment.commits} == {2}
    assert segment.commits[-1].position == END


async def test_types_arrive_whole(segment: Segment) -> None:
    files = segment.open()
    await files.add(page(10, types={"a": 1, "b": 8}))
    await files.add(page(10, types={"a": 4}))
    await files.add(page(0, items=0, types={"c": 2}))
    await files.finish()
    merged: dict[str, int] = {}
    for commit in segment.collect():
        for path, mask in commit.types.items():
            merged[path] = merged.get(path, 0) | mask
    assert merged == {"a": 5, "b": 8, "c": 2}


async def test_compressed_pages_can_be_read_as_one_file() -> None:
    segment = Segment(compress="gzip")
    files = segment.open()
    for _ in range(3):
        await files.add(page(50_000))
    await files.finish()
    segment.collect()
    ((name, data),) = segment.sink.sealed.items()
    assert name == "T-0003-00000.json.gz"
    assert gzip.decompress(data) == page(50_000).records * 3
    segment.check()


async def test_the_size_of_a_file_is_that_of_what_is_written() -> None:
    segment = Segment(compress="zstd")
    files = segment.open()
    for _ in range(5):
        await files.add(page(MEGABYTE))
    await files.finish()
    segment.collect()
    assert list(segment.sink.sealed) == ["T-0003-00000.json.zst"]


@pytest.mark.parametrize("call", ["create", "write", "sync", "finish", "seal"])
async def test_a_file_that_fails_is_not_committed_as_sealed(call: str) -> None:
    segment = Segment()
    segment.sink = MemorySink(fail=call)
    files = segment.open()
    with pytest.raises(DestinationError):
        for _ in range(4):
            segment.clock.advance(0.6)
            await files.add(page(300_000))
        await files.finish()
    await files.leave()
    assert not any(commit.done or (commit.file and commit.file.sealed) for commit in segment.collect())
    assert call == "create" or ("leave", "T-0003-00000.json") in segment.sink.calls
