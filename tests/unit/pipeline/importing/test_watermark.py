"""The watermark: where a span could go on, and what lies below it."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from ddbio.codec import EncodedRecord
from ddbio.codec.framing import Block, LineFramer, records
from ddbio.ledger.entries import Reject
from ddbio.pipeline.importing.watermark import Watermark


def entry(offset: int, length: int = 9) -> EncodedRecord:
    return EncodedRecord(b"{}", str(offset).encode(), 2, Block(offset, None, bytes(length)), offset, length)


def reject(offset: int, length: int = 9) -> Reject:
    return Reject("f", offset, length, None, "not_json", "It is no JSON.", None)


def write(*entries: EncodedRecord) -> None:
    for one in entries:
        one.written = True


def test_it_stays_where_it_began_until_something_is_settled() -> None:
    mark = Watermark(100)
    mark.opened([entry(100)])
    assert mark.advance() == (100, 0, 0, ())


def test_it_passes_what_is_settled_up_to_the_first_that_is_open() -> None:
    mark, entries = Watermark(0), [entry(offset) for offset in (0, 10, 20, 30)]
    mark.opened(entries)
    write(entries[0], entries[1], entries[3])
    assert mark.advance() == (19, 2, 2, ())
    assert mark.advance() == (19, 0, 0, ())
    write(entries[2])
    assert mark.advance() == (39, 2, 2, ())


def test_a_reject_waits_for_what_is_before_it() -> None:
    mark, first, bad = Watermark(0), entry(0), reject(10)
    mark.opened([first])
    mark.rejected(bad)
    assert mark.advance() == (0, 0, 0, ())
    write(first)
    assert mark.advance() == (19, 2, 1, (bad,))


def test_a_record_the_service_refuses_becomes_a_reject_in_place() -> None:
    mark, entries = Watermark(0), [entry(offset) for offset in (0, 10, 20)]
    mark.opened(entries)
    refused = reject(10)
    entries[1].written = False
    mark.rejected(refused)
    write(entries[0], entries[2])
    assert mark.advance() == (29, 3, 2, (refused,))


lines = st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=40)


@given(lines, st.integers(0, 1_000))
def test_from_any_watermark_every_other_record_is_found_once(lines: list[bytes], seed: int) -> None:
    """Stop at any moment and frame the file again from the watermark: what was passed and what is found is it all."""
    data, rng = b"\n".join(lines), random.Random(seed)
    framer = LineFramer(limit=1_000)
    found = records(framer.feed(data) + framer.end())
    mark, entries = Watermark(0), []
    for record in found:
        if rng.random() < 0.2:
            mark.rejected(reject(record.offset, record.length))
        else:
            entries.append(entry(record.offset, record.length))
            mark.opened(entries[-1:])
    passed, order, written = 0, rng.sample(entries, len(entries)), 0
    for one in [*order, None]:
        position, read, new, rejects = mark.advance()
        passed, written = passed + read, written + new
        assert read == new + len(rejects)
        again = LineFramer(position, limit=1_000)
        rest = records(again.feed(data[max(position - 1, 0) :]) + again.end())
        assert [record.offset for record in rest] == [record.offset for record in found[passed:]]
        if one is not None:
            write(one)
    assert (passed, written) == (len(found), len(entries))


def test_only_what_is_open_is_held() -> None:
    """However large rejected records were, and whoever waits for room would wait for nothing."""
    mark, first = Watermark(0), entry(100)
    mark.rejected(reject(0, 99))
    mark.opened([first])
    mark.rejected(reject(110, 100_000_000))
    mark.move()
    held = mark.held_bytes
    assert held > 200_000_000
    write(first)
    assert mark.held_bytes == held
    mark.move()
    assert mark.held_bytes == 0
    assert mark.advance() == (100_000_110, 3, 1, (reject(0, 99), reject(110, 100_000_000)))
