"""The journal: numbered chunks that are read back as they were written, or not at all."""

from __future__ import annotations

import asyncio
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.errors import DestinationError, JournalError
from ddbio.ledger.entries import Commit, FileState, JournalEntry, Opened, Recovered, Split
from ddbio.ledger.identity import ExportIdentity, ImportIdentity
from ddbio.ledger.journal import AT_ONCE, Journal
from ddbio.ledger.positions import END, START, AfterKey, AtOffset
from ddbio.model import Compression
from ddbio.storage.base import JOURNAL
from ddbio.storage.tokens import LocalToken, Part, UploadToken
from tests.kit.fakes import MemorySink, all_entries
from tests.kit.identities import EXPORT
from tests.kit.marks import examples

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
number = st.integers(0, 2**53)
positions = st.just(START) | st.just(END) | st.builds(AfterKey, text) | st.builds(AtOffset, number)
parts = st.lists(st.builds(Part, number, text, text), max_size=3).map(tuple)
tokens = st.builds(LocalToken, text) | st.builds(UploadToken, text, parts, number)
files = st.builds(
    FileState,
    name=text,
    segment=number,
    number=number,
    first=positions,
    last=positions,
    read=number,
    items=number,
    bytes=number,
    crc32=st.integers(0, 2**32 - 1),
    sealed=st.booleans(),
    token=st.none() | tokens,
)
commits = st.builds(
    Commit,
    split=number,
    epoch=number,
    seq=number,
    position=positions,
    done=st.booleans(),
    file=st.none() | files,
    read=number,
    written=number,
    bytes=number,
    rejected=number,
    rejects=st.just(()),
    types=st.dictionaries(text, st.integers(0, 1023), max_size=3),
)
splits = st.builds(
    Split,
    id=number,
    file=text,
    start=number,
    end=st.none() | number,
    size=st.none() | number,
    tag=text,
    compression=st.sampled_from(get_args(Compression)),
)
identities = st.from_type(ExportIdentity) | st.from_type(ImportIdentity)
openings = st.builds(
    Opened, run=text, identity=identities, segments=number, splits=st.lists(splits, max_size=3).map(tuple)
)
entries = st.one_of(openings, commits, st.builds(Recovered, split=number, file=files, gone=st.booleans()))


def commit(offset: int = 1) -> Commit:
    return Commit(split=1, epoch=1, seq=1, position=AtOffset(offset))


async def filled(chunks: int) -> MemorySink:
    """A journal of so many chunks, whose entries tell their numbers."""
    sink, journal = MemorySink(), None
    journal = Journal(sink)
    for position in range(1, chunks + 1):
        await journal.append([commit(position)], rejects_bytes=position * 10)
    return sink


def chunk(number: int) -> str:
    return f"{JOURNAL}{number:08d}.json"


@examples(60)
@given(chunks=st.lists(st.lists(entries, max_size=4), max_size=4))
def test_what_was_written_is_read_back(chunks: list[list[JournalEntry]]) -> None:
    async def write_and_read() -> tuple[list[JournalEntry], int]:
        sink = MemorySink()
        journal = Journal(sink)
        for size, each in enumerate(chunks, 1):
            await journal.append(each, size)
        again = Journal(sink)
        return await all_entries(again), again.rejects_bytes

    read, size = asyncio.run(write_and_read())
    assert read == [entry for each in chunks for entry in each]
    assert size == len(chunks)


async def test_chunks_are_numbered_and_go_on_after_what_was_read() -> None:
    sink = await filled(3)
    journal = Journal(sink)
    await all_entries(journal)
    assert journal.rejects_bytes == 30
    await journal.append([commit(4)], 40)
    assert sorted(sink.small) == [chunk(number) for number in range(1, 5)]
    assert journal.rejects_bytes == 40
    assert await all_entries(Journal(sink)) == [commit(number) for number in range(1, 5)]


async def test_many_chunks_keep_their_order() -> None:
    sink = await filled(AT_ONCE * 3 + 1)
    assert await all_entries(Journal(sink)) == [commit(number) for number in range(1, AT_ONCE * 3 + 2)]


async def test_no_more_than_a_few_chunks_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = await filled(AT_ONCE * 3)
    get, asked = sink.get, 0

    async def counted(name: str) -> bytes | None:
        nonlocal asked
        asked += 1
        return await get(name)

    monkeypatch.setattr(sink, "get", counted)
    given = 0
    async for entries in Journal(sink).read():
        given += len(entries)
        assert asked - given < AT_ONCE


async def test_a_place_without_a_journal_has_no_entries() -> None:
    assert await all_entries(Journal(MemorySink())) == []
    assert await Journal(MemorySink()).opened() is None


async def test_a_journal_says_first_which_job_it_is() -> None:
    with pytest.raises(JournalError, match="does not say which job this is"):
        await Journal(await filled(1)).opened()


@pytest.mark.parametrize("missing", [1, 2, 4])
async def test_a_missing_chunk_is_damage(missing: int) -> None:
    sink = await filled(5)
    del sink.small[chunk(missing)]
    with pytest.raises(JournalError, match=f"expected {chunk(missing)}, found {chunk(missing + 1)}") as caught:
        await all_entries(Journal(sink))
    assert "--overwrite" in str(caught.value.hint)


async def test_a_chunk_in_the_place_of_another_is_damage() -> None:
    sink = await filled(3)
    sink.small[chunk(2)] = sink.small[chunk(3)]
    with pytest.raises(JournalError, match="damaged"):
        await all_entries(Journal(sink))


async def test_a_chunk_that_is_too_deeply_nested_is_damage() -> None:
    sink = await filled(2)
    sink.small[chunk(2)] = b"[" * 20_000
    with pytest.raises(JournalError, match="can't be read"):
        await all_entries(Journal(sink))


@examples(300)
@given(data=st.data())
def test_a_chunk_that_differs_in_anything_is_damage(data: st.DataObject) -> None:
    async def damage() -> None:
        sink = await filled(2)
        whole = sink.small[chunk(2)]
        place = data.draw(st.integers(0, len(whole) - 1))
        changed = data.draw(
            st.sampled_from([whole[:place], whole[:place] + whole[place + 1 :], whole + b"x", _flipped(whole, place)])
        )
        sink.small[chunk(2)] = changed
        try:
            read = await all_entries(Journal(sink))
        except JournalError:
            return
        assert read == [commit(1), commit(2)]  # white space, which says nothing

    asyncio.run(damage())


def _flipped(whole: bytes, place: int) -> bytes:
    return whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :]


async def test_what_is_no_chunk_is_not_looked_at() -> None:
    """A chunk that was being written when its process died never became one; a file manager leaves its own."""
    sink = await filled(2)
    sink.small |= {f"{chunk(3)}.20260101T000000Z-0a0b0c.part": b'{"ddb', f"{JOURNAL}.DS_Store": b"\0"}
    assert len(await all_entries(Journal(sink))) == 2


class Dying(MemorySink):
    """A sink whose process ends after some deletions."""

    left = 2

    async def delete(self, *names: str) -> None:
        for name in names:
            if not self.left:
                raise DestinationError("killed")
            self.left -= 1
            await super().delete(name)


OPENED = Opened("run", EXPORT, 3)


async def dying() -> tuple[Dying, Journal]:
    sink = Dying()
    journal = Journal(sink)
    entries: list[JournalEntry] = [OPENED, commit(2), commit(3), commit(4)]
    for entry in entries:
        await journal.append([entry])
    return sink, journal


async def test_an_interrupted_removal_leaves_the_name_of_its_job() -> None:
    sink, journal = await dying()
    with pytest.raises(DestinationError):
        await journal.remove()
    assert await Journal(sink).opened() == OPENED
    sink.left = 9
    await journal.remove()
    assert sink.small == {}
    await journal.append([commit()])
    assert await all_entries(Journal(sink)) == [commit()]


async def test_what_is_left_of_an_interrupted_discarding_is_none() -> None:
    sink, journal = await dying()
    with pytest.raises(DestinationError):
        await journal.discard()
    for read in (all_entries(Journal(sink)), Journal(sink).opened()):
        with pytest.raises(JournalError):
            await read
    sink.left = 9
    await journal.discard()
    assert await all_entries(Journal(sink)) == []
