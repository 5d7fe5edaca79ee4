"""Recovery: a file that was left is sealed at its last commit, or its split goes back to the file's beginning."""

from __future__ import annotations

import pytest

from ddbio.errors import DestinationError
from ddbio.ledger.entries import Commit, FileState
from ddbio.ledger.law import ExportLaw
from ddbio.ledger.ledger import Ledger
from ddbio.ledger.positions import AfterKey
from ddbio.ledger.recovery import recover
from tests.kit.fakes import MemorySink

NAME = "T-0000-00003.json"


async def left(sink: MemorySink) -> Ledger:
    """A file of which 10 of 15 bytes are committed."""
    ledger = Ledger(ExportLaw())
    file = await sink.create(NAME, max_bytes=100)
    await file.write(b"x" * 10)
    await file.sync()
    await file.write(b"y" * 5)
    state = FileState(NAME, 0, 3, AfterKey('{"n":1}'), AfterKey('{"n":2}'), 4, 4, 10, 1, sealed=False)
    await ledger.record([Commit(0, 1, 1, AfterKey('{"n":2}'), file=state, read=4, written=4, bytes=10)])
    return ledger


async def test_a_file_is_sealed_at_its_last_commit_and_work_goes_on() -> None:
    sink = MemorySink()
    ledger = await left(sink)
    await recover(ledger, sink)
    await recover(ledger, sink)
    ledger.check()
    assert sink.sealed == {NAME: b"x" * 10}
    split = ledger.split(0)
    assert (split.position, split.number, split.open_file, split.done) == (AfterKey('{"n":2}'), 4, None, False)


async def test_where_the_file_is_gone_its_split_starts_over() -> None:
    sink = MemorySink()
    ledger = await left(sink)
    sink.open.clear()
    await recover(ledger, sink)
    ledger.check()
    assert (ledger.files, ledger.read, ledger.written, ledger.bytes) == ({}, 0, 0, 0)
    assert ledger.split(0).position == AfterKey('{"n":1}')


async def test_only_the_units_that_are_named_are_touched() -> None:
    sink = MemorySink()
    ledger = await left(sink)
    await recover(ledger, sink, [7])
    assert sink.sealed == {}
    await recover(ledger, sink, [0, 7])
    assert list(sink.sealed) == [NAME]


async def test_a_destination_that_fails_says_so() -> None:
    sink = MemorySink(fail="recover")
    ledger = await left(sink)
    with pytest.raises(DestinationError):
        await recover(ledger, sink)
