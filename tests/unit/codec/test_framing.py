"""Bytes to lines, whatever the chunks and the spans."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.codec import framing
from ddbio.codec.framing import Block, LineFramer, Record, records
from tests.kit.marks import examples

LIMIT = 12


def frame(content: bytes, *, sizes: list[int] | None = None, limit: int = LIMIT) -> list[Record]:
    return frame_span(content, 0, None, sizes or [len(content) or 1], limit=limit)


def frame_span(content: bytes, start: int, stop: int | None, sizes: list[int], *, limit: int = LIMIT) -> list[Record]:
    """Feed a span as a reader would: from the byte before it, in chunks of these sizes over and over, until done."""
    framer = LineFramer(start, limit=limit, stop=stop)
    found = []
    pos, turn = max(start - 1, 0), 0
    while pos < len(content) and not framer.done:
        size = sizes[turn % len(sizes)]
        found += framer.feed(content[pos : pos + size])
        pos, turn = pos + size, turn + 1
    return records(found + framer.end())


def told(content: bytes) -> list[Record]:
    """The records of a file, found line by line."""
    lines, offset = [], 0
    for number, line in enumerate(content.split(b"\n"), 1):
        data = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if len(line) > LIMIT:
            lines.append(Record(offset, number, b"", len(line)))
        elif data.strip(b" \t\r"):
            lines.append(Record(offset, number, data, len(line)))
        offset += len(line) + 1
    return lines


def test_lines() -> None:
    assert frame(b"ab\ncd\n") == [Record(0, 1, b"ab", 2), Record(3, 2, b"cd", 2)]
    assert frame(b"ab\ncd") == [Record(0, 1, b"ab", 2), Record(3, 2, b"cd", 2)]
    assert frame(b"") == frame(b"\n \n\t\r\n") == frame(b" ") == []


def test_blank_lines_count_but_are_skipped() -> None:
    assert frame(b"\n\r\n a\n\nb") == [Record(3, 3, b" a", 2), Record(7, 5, b"b", 1)]


def test_a_carriage_return_stays_with_its_line() -> None:
    assert frame(b"a\r\nb\r\n") == [Record(0, 1, b"a\r", 2), Record(3, 2, b"b\r", 2)]


def test_a_byte_order_mark_is_dropped_only_at_the_file_s_start() -> None:
    assert frame(b"\xef\xbb\xbfa\n\xef\xbb\xbfb") == [Record(0, 1, b"a", 4), Record(5, 2, b"\xef\xbb\xbfb", 4)]
    assert frame(b"\xef\xbb\xbf\na") == [Record(4, 2, b"a", 1)]
    assert frame(b"\xef\xbb\xbfa", sizes=[1]) == [Record(0, 1, b"a", 4)]


def test_a_line_over_the_limit_is_reported_without_its_data() -> None:
    content = b"a\n" + b"x" * 13 + b"\nb\n" + b"y" * 12
    expected = [Record(0, 1, b"a", 1), Record(2, 2, b"", 13), Record(16, 3, b"b", 1), Record(18, 4, b"y" * 12, 12)]
    for sizes in ([100], [1], [5]):
        found = frame(content, sizes=sizes)
        assert found == expected
        assert [record.too_long for record in found] == [False, True, False, False]


def test_no_more_is_held_than_the_limit() -> None:
    framer = LineFramer(limit=1000)
    for _ in range(1000):
        assert framer.feed(b"x" * 1000) == []
        assert sum(len(value) for value in vars(framer).values() if isinstance(value, bytes | bytearray)) <= 1000
    assert records(framer.feed(b"\nab\n")) == [Record(0, 1, b"", 1_000_000), Record(1_000_001, 2, b"ab", 2)]


def test_line_numbers_are_known_only_from_the_file_s_start() -> None:
    assert frame_span(b"a\nb\nc\n", 2, None, [10]) == [Record(2, None, b"b", 1), Record(4, None, b"c", 1)]


def test_a_span_owns_the_lines_that_begin_in_it() -> None:
    content = b"aaa\nbbb\nccc\n"
    assert [r.data for r in frame_span(content, 0, 4, [99])] == [b"aaa"]
    assert [r.data for r in frame_span(content, 0, 5, [99])] == [b"aaa", b"bbb"]
    assert [r.data for r in frame_span(content, 4, 5, [99])] == [b"bbb"]
    assert [r.data for r in frame_span(content, 5, 8, [99])] == []
    assert [r.data for r in frame_span(content, 5, 9, [99])] == [b"ccc"]
    assert frame_span(content, 3, 3, [99]) == []


def test_a_framer_is_done_as_soon_as_its_last_line_is_out() -> None:
    framer = LineFramer(0, limit=LIMIT, stop=4)
    assert not framer.done
    assert records(framer.feed(b"aaa\n")) == [Record(0, 1, b"aaa", 3)]
    assert framer.done
    assert framer.feed(b"bbb\n") == framer.end() == []


contents = st.lists(
    st.sampled_from(
        [b"", b" ", b"\r", b"a", b"bc", b"\xef\xbb\xbf", b"x" * 11, b"y" * 12, b"z" * 13, b" " * 14, b"w" * 40]
    )
).map(b"\n".join)
chunkings = st.lists(st.integers(1, 20), min_size=1, max_size=4)


@examples(300)
@given(content=contents, sizes=chunkings)
def test_chunks_make_no_difference(content: bytes, sizes: list[int]) -> None:
    assert frame(content, sizes=sizes) == told(content)


@examples(300)
@given(content=contents, sizes=chunkings, data=st.data())
def test_spans_together_hold_every_record_once(content: bytes, sizes: list[int], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, max(len(content) - 1, 1)), max_size=5)))
    bounds = [0, *cuts, len(content)]
    together = []
    for start, stop in itertools.pairwise(bounds):
        found = frame_span(content, start, stop, sizes)
        assert all(start <= record.offset < stop for record in found)
        together += found
    assert [record._replace(line=None) for record in together] == [
        record._replace(line=None) for record in told(content)
    ]


@examples(200)
@given(content=contents, sizes=chunkings, size=st.integers(1, 12))
def test_blocks_of_any_size_make_no_difference(content: bytes, sizes: list[int], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "BLOCK_BYTES", size)
        assert frame(content, sizes=[len(content) or 1], limit=LIMIT) == told(content)
        assert frame(content, sizes=sizes, limit=LIMIT) == told(content)


def test_a_block_is_about_as_large_as_said_or_one_line() -> None:
    lines = b"".join(b"x" * length + b"\n" for length in (10, 100_000, 10, *[99] * 1_000))
    blocks = LineFramer(limit=1_000_000).feed(lines)
    assert b"".join(block.data for block in blocks) == lines
    for block in blocks:
        assert block.length < framing.BLOCK_BYTES + 100 or block.data.count(b"\n") <= 2


@examples(200)
@given(content=contents, cut=st.integers(0, 80), first=st.sampled_from([0, 100]))
def test_a_block_is_cut_between_lines(content: bytes, cut: int, first: int) -> None:
    block = Block(first, 1, content + b"\n")
    whole = block.records()
    before, behind = (part.records() if part else [] for part in (block.before(first + cut), block.after(first + cut)))
    assert before == [record for record in whole if record.offset < first + cut]
    assert behind == [record for record in whole if record.offset >= first + cut]
    assert [block.record(record.offset, record.length) for record in whole] == whole
