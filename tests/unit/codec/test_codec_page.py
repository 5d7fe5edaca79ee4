"""Scan replies to records."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio import hints
from ddbio.model import MalformedPageError, OutputFormat, Page
from tests.kit.codec_cases import IMPLEMENTATIONS, Typed, dumped, items, parsed, plain_object, values
from tests.kit.marks import examples

ITEM = b'{"a":{"S":"x"}}'


@pytest.fixture(params=IMPLEMENTATIONS, ids=lambda module: module.__name__.rpartition(".")[2])
def codec(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


def page(codec: ModuleType, body: bytes, fmt: OutputFormat = "jsonl") -> Page:
    result = codec.transcode_page(body, fmt)
    assert isinstance(result, Page)
    return result


def of_items(*found: bytes) -> bytes:
    return b'{"Count":%d,"Items":[%s]}' % (len(found), b",".join(found))


def one(codec: ModuleType, value: bytes, fmt: OutputFormat = "jsonl") -> bytes:
    return page(codec, of_items(b'{"a":%s}' % value), fmt).records


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (rb'{"S":"x"}', rb'"x"'),
        (rb'{"S":""}', rb'""'),
        (rb'{"S":"\u0041\ud83d\ude00\"\\\/\n"}', rb'"\u0041\ud83d\ude00\"\\\/\n"'),
        (rb'{"S":"\ud800"}', rb'"\ud800"'),
        ('{"S":"ä😀"}'.encode(), '"ä😀"'.encode()),
        (rb'{"N":"12345678901234567890123456789012345678"}', rb"12345678901234567890123456789012345678"),
        (rb'{"N":"-0.10E+5"}', rb"-0.10E+5"),
        (rb'{"B":"QUI="}', rb'"QUI="'),
        (rb'{"BOOL":true}', rb"true"),
        (rb'{"BOOL":false}', rb"false"),
        (rb'{"NULL":true}', rb"null"),
        (rb'{"SS":["a","b"]}', rb'["a","b"]'),
        (rb'{"NS":["1","2.5"]}', rb"[1,2.5]"),
        (rb'{"BS":["QQ=="]}', rb'["QQ=="]'),
        (rb'{"L":[]}', rb"[]"),
        (rb'{"M":{}}', rb"{}"),
        (rb'{"L":[{"N":"1"},{"M":{"x":{"NULL":true},"y":{"L":[{"L":[]}]}}}]}', rb'[1,{"x":null,"y":[[]]}]'),
    ],
)
def test_each_type(codec: ModuleType, value: bytes, plain: bytes) -> None:
    assert one(codec, value) == b'{"a":%s}\n' % plain
    assert one(codec, value, "dynamodb-json") == b'{"Item":{"a":%s}}\n' % value


def test_white_space_is_dropped_outside_strings(codec: ModuleType) -> None:
    body = b""" {\t"Items" : [ { "a b" : { "S" : " x\\t " } ,\r\n "n":{ "NS" : [ "1" , "2" ] }, "e" : { "M" : { } } } ]
      , "LastEvaluatedKey" : { "a b" : { "S" : " k " } , "l" : [ 1 , true , { } ] } , "Count" : 1 } \n"""
    result = page(codec, body)
    assert result.records == b'{"a b":" x\\t ","n":[1,2],"e":{}}\n'
    assert result.last_key == b'{"a b":{"S":" k "},"l":[1,true,{}]}'
    assert page(codec, body, "dynamodb-json").records == (
        b'{"Item":{"a b":{"S":" x\\t "},"n":{"NS":["1","2"]},"e":{"M":{}}}}\n'
    )


def test_the_members_of_the_reply(codec: ModuleType) -> None:
    result = page(
        codec,
        b'{"ScannedCount":9,"Other":[{"x":[1,"\\n",null]}],"Items":[{},{}],"Count":7,'
        b'"ConsumedCapacity":{"TableName":"t","CapacityUnits":128.5,"Table":{"CapacityUnits":1}},'
        b'"LastEvaluatedKey":{"pk":{"S":"k"}}}',
    )
    assert result == Page(b"{}\n{}\n", 2, 7, 9, b'{"pk":{"S":"k"}}', 128.5, {})


def test_what_may_be_absent(codec: ModuleType) -> None:
    assert page(codec, b'{"Count":0,"Items":[]}') == Page(b"", 0, 0, 0, None, None, {})
    assert page(codec, b'{"Count":3,"Items":[],"ConsumedCapacity":{}}') == Page(b"", 0, 3, 3, None, None, {})


@pytest.mark.parametrize(
    ("body", "position"),
    [
        (b"", 0),
        (b"[]", 0),
        (b'{"Count":1', 10),
        (b'{"Count":01,"Items":[]}', 10),
        (b'{"Count":1.0,"Items":[]}', 9),
        (b'{"Count":-1,"Items":[]}', 9),
        (b'{"Count":1234567890123456789,"Items":[]}', 9),
        (b'{"Count":"1","Items":[]}', 9),
        (b'{"Count":0,"Items":[],"Count":0}', 22),
        (b'{"Count":0,"Items":[]}x', 22),
        (b'{"Count":0,"Items":null}', 19),
        (b'{"Count":0,"Items":[],}', 22),
        (b'{"Count":0,"Items":[1]}', 20),
        (b'{"Count":0,"Items":[],"LastEvaluatedKey":null}', 41),
        (b'{"Count":0,"Items":[],"X":"\x01"}', 27),
        (b'{"Count":0,"Items":[],"X":"\\x"}', 27),
        (b'{"Count":0,"Items":[],"X":"\xff"}', 27),
        (b'{"Count":0,"Items":[],"X":tru}', 26),
        (b'{"Count":0,"Items":[],"X":' + b"[" * 101, 126),
    ],
)
def test_a_malformed_reply_is_refused_at_its_first_fault(codec: ModuleType, body: bytes, position: int) -> None:
    with pytest.raises(MalformedPageError, match=rf"at byte {position}\.$"):
        codec.transcode_page(body, "jsonl")


@pytest.mark.parametrize(
    ("value", "position"),
    [
        (b"{}", 1),
        (b'{"X":"a"}', 1),
        (b'{"\\u0053":"a"}', 1),
        (b'{"S":1}', 5),
        (b'{"S":"a","N":"1"}', 8),
        (b'{"S":"a\n"}', 7),
        (b'{"N":"+1"}', 5),
        (b'{"N":"01"}', 5),
        (b'{"N":"1."}', 5),
        (b'{"N":""}', 5),
        (b'{"N":1}', 5),
        (b'{"NULL":false}', 8),
        (b'{"BOOL":null}', 8),
        (b'{"L":[1]}', 6),
        (b'{"NS":["x"]}', 7),
        (b'{"M":[]}', 5),
        (b"null", 0),
        (b'{"L":[' * 101 + b"]}" * 101, 600),
    ],
)
def test_an_unknown_value_is_refused(codec: ModuleType, value: bytes, position: int) -> None:
    head = b'{"Count":1,"Items":[{"a":'
    with pytest.raises(MalformedPageError, match=rf"at byte {len(head) + position}\.$"):
        codec.transcode_page(head + value + b"}]}", "jsonl")


@pytest.mark.parametrize("missing", ["Count", "Items"])
def test_count_and_items_are_required(codec: ModuleType, missing: str) -> None:
    members = {"Count": 0, "Items": [], "ScannedCount": 0}
    del members[missing]
    with pytest.raises(MalformedPageError, match=f"no {missing}"):
        codec.transcode_page(json.dumps(members).encode(), "jsonl")


def test_no_message_holds_what_is_in_the_items(codec: ModuleType) -> None:
    with pytest.raises(MalformedPageError) as caught:
        one(codec, b'{"S":"secret","N":"secret"}')
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_types_are_noted_by_path(codec: ModuleType) -> None:
    body = of_items(
        rb'{"a":{"S":"x"},"b":{"B":"QQ=="},"n":{"N":"1"},"ss":{"SS":["a"]},"ns":{"NS":["1"]},"bs":{"BS":["QQ=="]}}',
        rb'{"a":{"B":"QQ=="},"l":{"L":[{"S":"x"},{"L":[{"BS":["QQ=="]}]},{"M":{"x.[]\\y":{"S":"b"}}}]},"m":{"M":{}}}',
        rb'{"\u0061":{"L":[]},"m":{"M":{"\u0061":{"S":""},"t":{"BOOL":true}}}}',
    )
    assert page(codec, body).types == {
        "a": hints.S | hints.B | hints.L,
        "b": hints.B,
        "ss": hints.SS,
        "ns": hints.NS,
        "bs": hints.BS,
        "l": hints.L,
        "l[]": hints.S | hints.L,
        "l[][]": hints.BS,
        r"l[].x\.\[\]\\y": hints.S,
        "m.a": hints.S,
    }
    assert page(codec, body, "dynamodb-json").types == {}


def test_types_of_no_more_than_so_many_paths_are_kept(codec: ModuleType) -> None:
    attributes = b",".join(b'"a%d":{"S":"x"}' % number for number in range(hints.MAX_PATHS + 10))
    types = page(codec, of_items(b"{" + attributes + b"}", b'{"a0":{"B":"QQ=="},"new":{"B":"QQ=="}}')).types
    assert len(types) == hints.MAX_PATHS
    assert types["a0"] == hints.S | hints.B
    assert f"a{hints.MAX_PATHS - 1}" in types


def test_records_may_be_much_longer_than_their_reply(codec: ModuleType) -> None:
    found = of_items(*[b"{}"] * 20_000)
    assert page(codec, found, "dynamodb-json").records == b'{"Item":{}}\n' * 20_000
    assert page(codec, found).records == b"{}\n" * 20_000
    assert page(codec, of_items()).records == b""


@st.composite
def replies(draw: st.DrawFn) -> tuple[list[Typed], Any, bytes]:
    found = draw(st.lists(items | st.dictionaries(st.just("x"), values), max_size=3))
    last_key = draw(st.none() | items)
    members: dict[str, Any] = {"Count": len(found), "Items": found, "ScannedCount": 5, "Extra": [{"a": 1.5}]}
    if last_key is not None:
        members["LastEvaluatedKey"] = last_key
    order = draw(st.permutations(list(members)))
    return found, last_key, draw(dumped({name: members[name] for name in order}))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=lambda module: module.__name__)
@examples(80)
@given(reply=replies())
def test_any_reply_keeps_everything(implementation: ModuleType, reply: tuple[list[Typed], Any, bytes]) -> None:
    found, last_key, body = reply
    plain = page(implementation, body)
    typed = page(implementation, body, "dynamodb-json")
    assert [parsed(line) for line in plain.records.split(b"\n")[:-1]] == [parsed(plain_object(item)) for item in found]
    assert [json.loads(line) for line in typed.records.split(b"\n")[:-1]] == [{"Item": item} for item in found]
    assert plain.items == typed.items == plain.count == len(found)
    assert (plain.last_key and json.loads(plain.last_key)) == last_key
    assert plain.scanned == 5


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=lambda module: module.__name__)
@examples(60)
@given(reply=replies(), data=st.data())
def test_a_cut_reply_is_always_refused(
    implementation: ModuleType, reply: tuple[list[Typed], Any, bytes], data: st.DataObject
) -> None:
    body = reply[2].rstrip()
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(MalformedPageError):
        implementation.transcode_page(body[:cut], "jsonl")
