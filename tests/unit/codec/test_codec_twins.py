"""The native codec and its oracle say the same of any input, valid or not."""

from __future__ import annotations

import json
import math
from collections import Counter
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.codec.framing import Block
from ddbio.hints import HintType
from ddbio.model import InputFormat, KeyAttribute, MalformedPageError, OutputFormat, Put
from tests.kit.codec_cases import IMPLEMENTATIONS, dumped, good_pages, items, plain_object, soups, spoiled
from tests.kit.fuzz_codec import Fuzzer
from tests.kit.marks import examples

pytestmark = pytest.mark.skipif(len(IMPLEMENTATIONS) < 2, reason="the native codec is not built")

KEYS = (
    (KeyAttribute("pk", "S", 4),),
    (KeyAttribute("pk", "S", 4), KeyAttribute("sk", "N", 1024), KeyAttribute("gsi", "B", 2, required=False)),
    (KeyAttribute("Item", "N", 1024),),
    (KeyAttribute("S", "B", 3),),
)
HINTS: tuple[dict[str, HintType], ...] = (
    {},
    {"a": "SS", "b": "B", "x": "NS", "a[]": "BS", "b.a": "NS", "b[].a": "SS", "pk": "B"},
    {"a[][]": "NS", "a": "BS", **{f"{'n' * (number % 3)}{number}": "SS" for number in range(40)}},
)


def good_records() -> st.SearchStrategy[bytes]:
    typed = items.flatmap(lambda item: dumped(item) | dumped({"Item": item}))
    return typed | items.map(lambda item: plain_object(item).encode())


def page_outcome(codec: ModuleType, body: bytes, fmt: OutputFormat) -> Any:
    try:
        return codec.transcode_page(body, fmt)
    except MalformedPageError as error:
        return str(error)


@examples(700)
@given(
    record=st.one_of(soups, soups.map(lambda soup: b"{" + soup), spoiled(good_records()), st.binary(max_size=20)),
    keys=st.sampled_from(KEYS),
    hints=st.sampled_from(HINTS),
    fmt=st.sampled_from(["auto", "auto", "jsonl", "dynamodb-json"]),
)
def test_any_record(
    record: bytes, keys: tuple[KeyAttribute, ...], hints: dict[str, HintType], fmt: InputFormat
) -> None:
    expected, found = (codec.RecordEncoder(keys, fmt, hints).encode(record) for codec in IMPLEMENTATIONS)
    assert found == expected
    assert type(found) is type(expected)


def block_outcome(codec: ModuleType, block: Block, keys: tuple[KeyAttribute, ...]) -> Any:
    entries, refused = codec.RecordEncoder(keys, "auto", {}).encode_block(block)
    assert all(entry.block is block and entry.written is None and not entry.returned for entry in entries)
    seen = [(entry.offset, entry.length, entry.request, entry.key, entry.size) for entry in entries]
    return seen, refused, codec.weigh(entries), codec.count_lines(block.data)


@examples(300)
@given(
    lines=st.lists(st.one_of(good_records(), soups, st.sampled_from([b"", b" \t\r", b"{}\r"])), max_size=8),
    ended=st.booleans(),
    offset=st.integers(0, 1 << 50),
    dropped=st.sampled_from([0, 0, 0, 3]),
    keys=st.sampled_from(KEYS),
)
def test_any_block(lines: list[bytes], ended: bool, offset: int, dropped: int, keys: tuple[KeyAttribute, ...]) -> None:
    lines = [line.replace(b"\n", b"") for line in lines]
    if dropped:
        lines = [line for line in lines if line.strip()][:1]
    block = Block(offset, None, b"\n".join(lines) + b"\n" * ended, dropped)
    expected, found = (block_outcome(codec, block, keys) for codec in IMPLEMENTATIONS)
    assert found == expected
    seen, refused, (size, units), lines_found = found
    assert dropped or lines_found == len(seen) + len(refused)
    encode = IMPLEMENTATIONS[1].RecordEncoder(keys, "auto", {}).encode
    verdicts = {record.offset: encode(record.data) for record in block.records() if record.data}
    assert {place: Put(*put) for place, _, *put in seen} | {place: why for place, _, why in refused} == verdicts
    assert size == sum(len(request) for _, _, request, _, _ in seen)
    assert units == sum(math.ceil(weight / 1_024) for *_, weight in seen)


def flight(codec: ModuleType, names: list[bytes], landing: list[bool | None], awaited: set[bytes], first: int) -> Any:
    """What is told of entries with these keys that take off, and of which some land; `first` of them are another
    owner's.
    """
    entries = [codec.EncodedRecord(b"{}", name, 2, None, place, 9) for place, name in enumerate(names)]
    flying: dict[bytes, Any] = {}
    ready, held = map(
        list.__add__, codec.take_off(entries[:first], flying, 7), codec.take_off(entries[first:], flying, 3)
    )
    assert [entry.owner for entry in entries] == [7 if place < first else 3 for place in range(len(entries))]
    assert all(flying[entry.key] is entry for entry in ready)
    told = []
    for written in (True, False):
        landed = [entry for entry, verdict in zip(ready, landing, strict=False) if verdict is written]
        told.append(codec.settle(landed, written, flying, dict.fromkeys(awaited)))
        assert told[-1][1] == Counter(entry.owner for entry in landed)
    offsets = [[entry.offset for entry in group] for group in (ready, held, flying.values())]
    return offsets, told, [entry.written for entry in entries], codec.count_settled(entries)


@examples(300)
@given(
    names=st.lists(st.integers(0, 20).map(lambda number: b"%d" % number), max_size=40),
    landing=st.lists(st.sampled_from([True, True, True, False, None]), max_size=40),
    awaited=st.sets(st.integers(0, 20).map(lambda number: b"%d" % number)),
    first=st.integers(0, 40),
)
def test_any_flight(names: list[bytes], landing: list[bool | None], awaited: set[bytes], first: int) -> None:
    expected, found = (flight(codec, names, landing, awaited, first) for codec in IMPLEMENTATIONS)
    assert found == expected
    (ready, held, _), _, written, (settled, how_many) = found
    assert sorted(ready + held) == list(range(len(names)))
    assert [names[place] for place in ready] == list(dict.fromkeys(names))
    assert None not in written[:settled]
    assert written[settled : settled + 1] in ([], [None])
    assert how_many == sum(verdict is True for verdict in written[:settled])


def test_an_entry_that_does_not_fly_can_not_land() -> None:
    for codec in IMPLEMENTATIONS:
        with pytest.raises(KeyError):
            codec.settle([codec.EncodedRecord(b"{}", b"k", 2, None, 0, 9)], True, {}, {})


@examples(400)
@given(
    body=st.one_of(soups.map(lambda soup: b'{"Count":1,"Items":[{' + soup), spoiled(good_pages()), soups),
    fmt=st.sampled_from(["jsonl", "dynamodb-json"]),
)
def test_any_page(body: bytes, fmt: OutputFormat) -> None:
    expected, found = (page_outcome(codec, body, fmt) for codec in IMPLEMENTATIONS)
    assert found == expected
    assert type(found) is type(expected)


@examples(30)
@given(count=st.integers(5, 300), repeated=st.none() | st.integers(0, 300), nested=st.booleans())
def test_objects_with_many_members(count: int, repeated: int | None, nested: bool) -> None:
    names = [f"n{number}" for number in range(count)]
    if repeated is not None:
        names.insert(repeated % count + 1, names[repeated % (count // 2 + 1)])
    members = ",".join(f'"{name}":{{"x":[1],"y":0}}' for name in names)
    record = ('{"pk":"k","m":{' + members + "}}" if nested else '{"pk":"k",' + members + "}").encode()
    numbers = ",".join(name.replace("n", "") for name in names)
    for text in (record, f'{{"pk":"k","x":[{numbers}]}}'.encode()):
        expected, found = (codec.RecordEncoder(KEYS[0], "auto", HINTS[1]).encode(text) for codec in IMPLEMENTATIONS)
        assert found == expected


@pytest.mark.parametrize("size", [10, 16_000, 17_000, 300_000])
def test_records_and_pages_of_any_size(size: int) -> None:
    texts = ("x" * size, "ä" * (size // 2), "\n\\" * (size // 2))
    for text in texts:
        for ascii_only in (True, False):
            item = {"pk": {"S": "k"}, "a": {"S": text}, "l": {"L": [{"N": "1"}] * (size // 20)}}
            record = json.dumps(item, ensure_ascii=ascii_only).encode()
            expected, found = (codec.RecordEncoder(KEYS[0], "auto", {}).encode(record) for codec in IMPLEMENTATIONS)
            assert found == expected
            body = json.dumps({"Items": [item, item], "Count": 2}, ensure_ascii=ascii_only).encode()
            assert page_outcome(IMPLEMENTATIONS[1], body, "jsonl") == page_outcome(IMPLEMENTATIONS[0], body, "jsonl")


def test_pages_of_many_small_items_grow_as_dynamodb_json() -> None:
    body = b'{"Items":[' + b",".join([b"{}"] * 5000) + b'],"Count":5000,"LastEvaluatedKey":{"a":[1, 2]}}'
    for fmt in ("jsonl", "dynamodb-json"):
        assert page_outcome(IMPLEMENTATIONS[1], body, fmt) == page_outcome(IMPLEMENTATIONS[0], body, fmt)


def test_the_fuzzer_knows_how_the_codec_is_called() -> None:
    Fuzzer(IMPLEMENTATIONS[1], seed=0).run(300)
