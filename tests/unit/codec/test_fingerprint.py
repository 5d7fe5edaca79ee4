"""The fingerprint of items: what it is, what it does not see, and what it sees."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from decimal import Context, Decimal
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from ddbio.codec.fingerprint import MASK
from ddbio.codec.reference.fingerprint import number
from ddbio.model import MalformedPageError, OutputFormat
from tests.kit.codec_cases import IMPLEMENTATIONS, TOKENS, Typed, dumped, good_pages, items, numbers, soups, spoiled
from tests.kit.marks import examples

_EXACT = Context(prec=60)
TAGS = {"S": 1, "N": 2, "B": 3, "BOOL": 4, "NULL": 5, "M": 6, "L": 7, "SS": 8, "NS": 9, "BS": 10}
FACTOR = 0x9E3779B97F4A7C15
each_codec = pytest.mark.parametrize("codec", IMPLEMENTATIONS, ids=lambda module: module.__name__.rpartition(".")[2])


def le(value: int) -> bytes:
    return (value % 2**64).to_bytes(8, "little")


def number_text(text: str) -> bytes:
    """A number as the description says, made of a decimal."""
    value = _EXACT.create_decimal(text)
    sign, digits, _ = value.as_tuple()
    if not any(digits):
        return b"0"
    return f"{'-' * sign}{''.join(map(str, digits)).strip('0')}e{value.adjusted()}".encode()


def told(kind: str, content: Any, place: int = 0) -> int:
    """The hash of a value, computed as the description says and in no other way."""
    match kind:
        case "S" | "B":
            data = content.encode()
        case "N":
            data = number_text(content)
        case "BOOL":
            data = b"true" if content else b"false"
        case "NULL":
            data = b""
        case "M":
            data = le(sum(told(*typed(value), xxh3_64_intdigest(name.encode())) for name, value in content.items()))
        case "L":
            chained = 0
            for value in content:
                chained = told(*typed(value), chained)
            data = le(chained)
        case "NS":
            data = le(sum(xxh3_64_intdigest(number_text(element)) for element in content))
        case _:
            data = le(sum(xxh3_64_intdigest(element.encode()) for element in content))
    return xxh3_64_intdigest(data, (place + TAGS[kind] * FACTOR) % 2**64)


def typed(value: Typed) -> tuple[str, Any]:
    ((kind, content),) = value.items()
    return kind, content


@each_codec
@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (b"{}", 0x38FE5C1D649DE633),
        (b'{"a":{"S":"x"}}', 0x1FF456CC90994342),
    ],
)
def test_known_values(codec: ModuleType, item: bytes, expected: int) -> None:
    assert codec.item_fingerprint(item) == expected


@each_codec
@examples(300)
@given(data=st.data(), item=items)
def test_it_is_what_its_description_says(codec: ModuleType, data: st.DataObject, item: Typed) -> None:
    assert codec.item_fingerprint(data.draw(dumped(item))) == told("M", item)


@each_codec
def test_strings_of_every_length(codec: ModuleType) -> None:
    chance = random.Random(1)
    for length in [*range(300), 1_000, 1_024, 1_025, 100_000]:
        item = {
            "".join(chance.choices("abcä€😀", k=length % 70 + 1)): {"S": "".join(chance.choices("xyz 01ü", k=length))}
        }
        assert codec.item_fingerprint(json.dumps(item, ensure_ascii=False).encode()) == told("M", item)
        assert codec.item_fingerprint(json.dumps(item).encode()) == told("M", item)


@each_codec
@pytest.mark.parametrize(
    "spellings",
    [
        ["1", "1.0", "1E0", "+1", "01", "10e-1", "0.1E1", "1.", "1000e-3"],
        ["0", "-0", "0.00", "0e99", "-0E-5"],
        ["1200", "12e2", "1.2E+3", "0.0012e6"],
        ["1000000000", "1e9", "1E09"],
        ["10000000000", "1e10"],
        ["123456789012345678", "1.23456789012345678e17"],
        ["1234567890123456789", "1.234567890123456789e18"],
        ["-0.5", "-5e-1", "-.5"],
        ["12345678901234567890123456789012345678", "1.2345678901234567890123456789012345678e37"],
        ["1e-130", "0.1E-129"],
        ["9e125", "90E+124"],
    ],
)
def test_numbers_count_by_value(codec: ModuleType, spellings: list[str]) -> None:
    for wrapped in (lambda text: {"N": text}, lambda text: {"NS": [text, "7"]}):
        found = {codec.item_fingerprint(json.dumps({"n": wrapped(text)}).encode()) for text in spellings}
        assert len(found) == 1


@each_codec
def test_short_numbers_of_every_shape(codec: ModuleType) -> None:
    for text in [*map(str, range(3000)), "70000", "654321", "100000", "999999", "1000000", "1230000", "12345678"]:
        for spelled in (text, f"-{text}", f"0{text}", f"{text}.5", f"{text}.0"):
            assert codec.item_fingerprint(b'{"n":{"N":"%b"}}' % spelled.encode()) == told("M", {"n": {"N": spelled}})


@pytest.mark.skipif(len(IMPLEMENTATIONS) < 2, reason="the native codec is not built")
def test_the_codecs_agree_on_any_short_text_for_a_number() -> None:
    reference, native = IMPLEMENTATIONS
    texts = ["".join(chars) for length in range(1, 5) for chars in itertools.product("0129/:-.e", repeat=length)]
    texts += [f"1{char}{tail}" for char in map(chr, range(128)) for tail in ("", "2", "34", "567", "8901")]
    for item in (json.dumps({"n": {"N": text}}).encode() for text in [*texts, "١٢٣", "1é"]):
        assert native.item_fingerprint(item) == reference.item_fingerprint(item)


def test_a_type_is_no_change_of_a_short_content() -> None:
    """With seeds that differ in a few bits only, half of these would be the same."""
    for number_of in range(200):
        strings, binaries = (
            {
                IMPLEMENTATIONS[-1].item_fingerprint(json.dumps({f"a{number_of}": {kind: text}}).encode())
                for text in texts
            }
            for kind, texts in (("S", ["QUJDRA=="]), ("B", [f"{first}UJDRA==" for first in "PQRSTUVW"]))
        )
        assert not strings & binaries


@each_codec
def test_what_is_no_number_counts_as_it_is_spelled(codec: ModuleType) -> None:
    texts = ["", "x", "1e126", "10e125", "1" * 39, "-", "1_0"]
    found = [codec.item_fingerprint(json.dumps({"n": {"N": text}}).encode()) for text in texts]
    assert len(set(found)) == len(texts)
    assert found[2] == xxh3_64_intdigest(
        le(xxh3_64_intdigest(b"1e126", xxh3_64_intdigest(b"n") + 2 * FACTOR & MASK)), 6 * FACTOR & MASK
    )
    assert number(b"-1.50") == b"-15e0"


def test_different_values_differ() -> None:
    contents: dict[str, list[Any]] = {
        "S": ["", "1", "true", "a", "b", "ab", "1e0"],
        "N": ["1", "-1", "10", "0", "1e-1", "11"],
        "B": ["", "QQ==", "QUI="],
        "BOOL": [True, False],
        "NULL": [True],
        "SS": [["1"], ["a"], ["a", "b"], ["ab"]],
        "NS": [["1"], ["1", "10"]],
        "BS": [["QQ=="], ["QQ==", "QUI="]],
        "L": [
            [],
            [{"S": "1"}],
            [{"S": "a"}, {"S": "b"}],
            [{"S": "b"}, {"S": "a"}],
            [{"L": []}],
            [{"L": []}, {"L": []}],
        ],
        "M": [{}, {"a": {"S": "b"}}, {"b": {"S": "a"}}, {"a": {"M": {"b": {"S": "c"}}}}],
    }
    values: list[Typed] = [{kind: content} for kind, found in contents.items() for content in found]
    spelled: list[Any] = [{}, *({"a": value} for value in values), {"b": values[0]}, {"a": values[1], "b": values[3]}]
    spelled.append({"a": values[3], "b": values[1]})
    for codec in IMPLEMENTATIONS:
        found = [codec.item_fingerprint(json.dumps(item).encode()) for item in spelled]
        assert len(set(found)) == len(spelled)


def respelled(value: Typed, chance: random.Random) -> Typed:
    """The same value, with its sets and maps in another order and its numbers in another notation."""
    kind, content = typed(value)
    match kind:
        case "N":
            return {kind: f"{Decimal(content):e}"}
        case "SS" | "BS" | "NS":
            return {kind: chance.sample(content, len(content))}
        case "L":
            return {kind: [respelled(element, chance) for element in content]}
        case "M":
            return {kind: shuffled(content, chance)}
        case _:
            return value


def shuffled(attributes: Typed, chance: random.Random) -> Typed:
    names = chance.sample(list(attributes), len(attributes))
    return {name: respelled(attributes[name], chance) for name in names}


@examples(200)
@given(data=st.data(), item=items, chance=st.randoms(use_true_random=False))
def test_the_order_and_the_spelling_do_not_matter(data: st.DataObject, item: Typed, chance: random.Random) -> None:
    one, other = data.draw(dumped(item)), data.draw(dumped(shuffled(item, chance)))
    found = {codec.item_fingerprint(text) for codec in IMPLEMENTATIONS for text in (one, other)}
    assert len(found) == 1


def meaning(value: Any) -> object:
    """What the service sees of an item: comparable, and blind to order and spelling."""
    match value:
        case {"N": str(text)} if len(value) == 1:
            return ("N", number_text(text))
        case {"NS": list(texts)} if len(value) == 1:
            return ("NS", frozenset(map(number_text, texts)))
        case {"SS": list(texts)} | {"BS": list(texts)} if len(value) == 1:
            return (*value, frozenset(texts))
        case dict():
            return {name: meaning(inner) for name, inner in value.items()}
        case list():
            return [meaning(inner) for inner in value]
        case _:
            return value


@examples(300)
@given(one=items, other=items, name=st.sampled_from(["a", "sk", "pk"]), text=numbers)
def test_equal_means_equal(one: Typed, other: Typed, name: str, text: str) -> None:
    changed = {**one, name: {"N": text}}
    for left, right in ((one, other), (one, changed)):
        prints = [IMPLEMENTATIONS[-1].item_fingerprint(json.dumps(item).encode()) for item in (left, right)]
        same = {key: meaning(value) for key, value in left.items()} == {
            key: meaning(value) for key, value in right.items()
        }
        assert (prints[0] == prints[1]) == same


@each_codec
@examples(100)
@given(data=st.data(), found=st.lists(items, max_size=4), fmt=st.sampled_from(["jsonl", "dynamodb-json"]))
def test_a_page_has_the_sum(codec: ModuleType, data: st.DataObject, found: list[Typed], fmt: OutputFormat) -> None:
    body = data.draw(dumped({"Items": found, "Count": len(found)}))
    assert codec.transcode_page(body, fmt, True).fingerprint == sum(told("M", item) for item in found) & MASK
    assert codec.transcode_page(body, fmt).fingerprint == 0


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except MalformedPageError as error:
        return str(error)


@examples(500)
@given(
    body=st.one_of(soups.map(lambda soup: b'{"Count":1,"Items":[{' + soup), spoiled(good_pages())),
    fmt=st.sampled_from(["jsonl", "dynamodb-json"]),
)
def test_the_codecs_agree_on_any_page(body: bytes, fmt: OutputFormat) -> None:
    first, *others = [outcome(lambda c=codec: c.transcode_page(body, fmt, True)) for codec in IMPLEMENTATIONS]  # type: ignore[misc]
    assert all(other == first for other in others)


@pytest.mark.skipif(len(IMPLEMENTATIONS) < 2, reason="the native codec is not built")
@examples(500)
@given(
    item=st.one_of(soups, soups.map(lambda soup: b"{" + soup), spoiled(items.flatmap(dumped)), st.binary(max_size=20))
)
def test_what_is_no_item_is_refused(item: bytes) -> None:
    reference, native = IMPLEMENTATIONS
    try:
        found = native.item_fingerprint(item)
    except ValueError:
        return
    assert found == reference.item_fingerprint(item)


def test_the_tokens_hold_every_type() -> None:
    assert {f'"{kind}"'.encode() for kind in TAGS} <= set(TOKENS)
