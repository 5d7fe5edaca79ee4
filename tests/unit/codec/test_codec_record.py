"""Records to puts."""

from __future__ import annotations

import base64
import json
from decimal import Context
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.hints import HintType
from ddbio.model import InputFormat, KeyAttribute, Put, Reason, Refused
from tests.kit.codec_cases import (
    IMPLEMENTATIONS,
    KEYS,
    Typed,
    attributes_size,
    dumped,
    items,
    numbers,
    plain_object,
)
from tests.kit.marks import examples

PK = (KEYS[0],)
HINTS: dict[str, HintType] = {"b": "B", "ss": "SS", "ns": "NS", "bs": "BS", "l[].m": "SS", r"x\.y[][]": "BS"}


@pytest.fixture(params=IMPLEMENTATIONS, ids=lambda module: module.__name__.rpartition(".")[2])
def codec(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


def encode(
    codec: ModuleType,
    record: bytes,
    *,
    keys: tuple[KeyAttribute, ...] = PK,
    fmt: InputFormat = "auto",
    hints: dict[str, HintType] | None = None,
) -> Put | Refused:
    result = codec.RecordEncoder(keys, fmt, hints or {}).encode(record)
    assert isinstance(result, Put | Refused)
    return result


def put(codec: ModuleType, record: bytes, **options: Any) -> Put:
    result = encode(codec, record, **options)
    assert isinstance(result, Put), result
    return result


def written(codec: ModuleType, record: bytes, **options: Any) -> bytes:
    request = put(codec, record, **options).request
    head, tail = b'{"PutRequest":{"Item":', b"}}"
    assert request.startswith(head)
    assert request.endswith(tail)
    return request[len(head) : -len(tail)]


def verdict(codec: ModuleType, record: bytes, **options: Any) -> tuple[Reason, int]:
    result = encode(codec, record, **options)
    assert isinstance(result, Refused), result
    return result.reason, result.position


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        (rb'"x"', rb'{"S":"x"}'),
        (rb'""', rb'{"S":""}'),
        (rb'"\u0041\ud83d\ude00\u0000\"\/"', rb'{"S":"\u0041\ud83d\ude00\u0000\"\/"}'),
        ('"ä😀\x7f"'.encode(), '{"S":"ä😀\x7f"}'.encode()),
        (rb"0", rb'{"N":"0"}'),
        (rb"-1.50E+3", rb'{"N":"-1.50E+3"}'),
        (rb"12345678901234567890123456789012345678", rb'{"N":"12345678901234567890123456789012345678"}'),
        (rb"0e1000", rb'{"N":"0e1000"}'),
        (rb"true", rb'{"BOOL":true}'),
        (rb"false", rb'{"BOOL":false}'),
        (rb"null", rb'{"NULL":true}'),
        (rb"[]", rb'{"L":[]}'),
        (rb"{}", rb'{"M":{}}'),
        (rb'[1,"a",[null]]', rb'{"L":[{"N":"1"},{"S":"a"},{"L":[{"NULL":true}]}]}'),
        (rb'{"x":{"y":[false]},"":0}', rb'{"M":{"x":{"M":{"y":{"L":[{"BOOL":false}]}}},"":{"N":"0"}}}'),
    ],
)
def test_each_plain_value(codec: ModuleType, value: bytes, typed: bytes) -> None:
    assert written(codec, b'{"pk":"k","a":%s}' % value) == b'{"pk":{"S":"k"},"a":%s}' % typed


@pytest.mark.parametrize(
    "value",
    [
        rb'{"S":"\u0041"}',
        rb'{"N":"+1"}',
        rb'{"N":".5"}',
        rb'{"N":"5."}',
        rb'{"N":"0001.23"}',
        rb'{"N":"0e99999999999999999999"}',
        rb'{"B":"QUI="}',
        rb'{"B":""}',
        rb'{"B":"\/\/8="}',
        rb'{"BOOL":false}',
        rb'{"NULL":true}',
        rb'{"SS":["","a"]}',
        rb'{"NS":["1","2"]}',
        rb'{"BS":["QQ==",""]}',
        rb'{"L":[{"L":[]},{"M":{"a":{"NULL":true}}}]}',
    ],
)
def test_each_typed_value(codec: ModuleType, value: bytes) -> None:
    item = b'{"pk":{"S":"k"},"a":%s}' % value
    assert written(codec, item) == item
    assert written(codec, b' { "Item" : %s } ' % item) == item
    assert written(codec, item, fmt="dynamodb-json") == item


def test_white_space_is_dropped_outside_strings(codec: ModuleType) -> None:
    assert written(codec, b'\t{ "pk" : " k " ,\r\n "l" : [ 1 , { } , [ ] ] } \r') == (
        b'{"pk":{"S":" k "},"l":{"L":[{"N":"1"},{"M":{}},{"L":[]}]}}'
    )
    assert written(codec, b' { "pk" : { "S" : " k " } , "l" : { "NS" : [ "1" , "2" ] } } ') == (
        b'{"pk":{"S":" k "},"l":{"NS":["1","2"]}}'
    )


ITEM_KEY = (KeyAttribute("Item", "S", 2048),)
S_KEY = (KeyAttribute("S", "S", 2048),)


@pytest.mark.parametrize(
    ("record", "keys", "item"),
    [
        (b'{"pk":{"S":"k"}}', PK, b'{"pk":{"S":"k"}}'),
        (b'{"\\u0070k":{"\\u0053":"k"}}', PK, b'{"\\u0070k":{"S":"k"}}'),
        (b'{"a":{"S":"x"},"pk":"k"}', PK, b'{"a":{"M":{"S":{"S":"x"}}},"pk":{"S":"k"}}'),
        (b'{"a":{"S":"x"},"pk":{"S":"k"}}', PK, b'{"a":{"S":"x"},"pk":{"S":"k"}}'),
        (b'{"Item":{"pk":{"S":"k"}}}', PK, b'{"pk":{"S":"k"}}'),
        (b'{"Item":"x","pk":"k"}', PK, b'{"Item":{"S":"x"},"pk":{"S":"k"}}'),
        (
            b'{"Item":{"pk":{"S":"k"}},"pk":"k"}',
            PK,
            b'{"Item":{"M":{"pk":{"M":{"S":{"S":"k"}}}}},"pk":{"S":"k"}}',
        ),
        (b'{"Item":{"S":"k"}}', ITEM_KEY, b'{"Item":{"S":"k"}}'),
        (b'{"Item":{"Item":{"S":"k"}}}', ITEM_KEY, b'{"Item":{"S":"k"}}'),
        (b'{"Item":{"S":{"S":"k"}}}', S_KEY, b'{"S":{"S":"k"}}'),
        (b'{"pk":"k","a":{"\\"}{":["}"]}}', PK, b'{"pk":{"S":"k"},"a":{"M":{"\\"}{":{"L":[{"S":"}"}]}}}}'),
        (b'{"a":{"M":{"\\"}{":{"S":"}"}}},"pk":{"S":"k"}}', PK, b'{"a":{"M":{"\\"}{":{"S":"}"}}},"pk":{"S":"k"}}'),
    ],
)
def test_the_format_is_told_record_by_record(
    codec: ModuleType, record: bytes, keys: tuple[KeyAttribute, ...], item: bytes
) -> None:
    assert written(codec, record, keys=keys) == item


def test_a_format_can_be_forced(codec: ModuleType) -> None:
    assert verdict(codec, b'{"pk":{"S":"k"}}', fmt="jsonl") == (Reason.KEY_WRONG_TYPE, 6)
    assert verdict(codec, b'{"pk":"k"}', fmt="dynamodb-json") == (Reason.TYPE_INVALID, 6)
    assert verdict(codec, b'{"Item":{"pk":{"S":"k"}}}', fmt="jsonl") == (Reason.KEY_MISSING, 0)


@pytest.mark.parametrize(
    ("record", "item"),
    [
        (b'"b":"QQ==","c":"QQ=="', b'"b":{"B":"QQ=="},"c":{"S":"QQ=="}'),
        (b'"ss":["a","b"]', b'"ss":{"SS":["a","b"]}'),
        (b'"ss":[]', b'"ss":{"L":[]}'),
        (b'"ss":["a",1]', b'"ss":{"L":[{"S":"a"},{"N":"1"}]}'),
        (b'"ss":["a","a",1]', b'"ss":{"L":[{"S":"a"},{"S":"a"},{"N":"1"}]}'),
        (b'"ss":"a"', b'"ss":{"S":"a"}'),
        (b'"ns":[ 1 , 2.5 ]', b'"ns":{"NS":["1","2.5"]}'),
        (b'"ns":[1,null]', b'"ns":{"L":[{"N":"1"},{"NULL":true}]}'),
        (b'"bs":["QQ==",""]', b'"bs":{"BS":["QQ==",""]}'),
        (b'"bs":["QQ==","?"]', b'"bs":{"L":[{"S":"QQ=="},{"S":"?"}]}'),
        (b'"l":[{"m":["x"]},{"n":["x"]}]', b'"l":{"L":[{"M":{"m":{"SS":["x"]}}},{"M":{"n":{"L":[{"S":"x"}]}}}]}'),
        (b'"x.y":[["QQ=="]]', b'"x.y":{"L":[{"L":[{"S":"QQ=="}]}]}'),
        (b'"x.y":[[["QQ=="]]]', b'"x.y":{"L":[{"L":[{"BS":["QQ=="]}]}]}'),
        (b'"b":{"b":"QQ=="}', b'"b":{"M":{"b":{"S":"QQ=="}}}'),
    ],
)
def test_hints_restore_types(codec: ModuleType, record: bytes, item: bytes) -> None:
    assert written(codec, b'{"pk":"k",%s}' % record, hints=HINTS) == b'{"pk":{"S":"k"},%s}' % item


def test_faults_that_only_hints_bring(codec: ModuleType) -> None:
    assert verdict(codec, b'{"pk":"k","b":"QQ"}', hints=HINTS) == (Reason.BINARY_INVALID, 14)
    assert verdict(codec, b'{"pk":"k","ss":["a","\\u0061"]}', hints=HINTS) == (Reason.SET_DUPLICATE, 20)
    assert verdict(codec, b'{"pk":"k","ns":[1,1.0]}', hints=HINTS) == (Reason.SET_DUPLICATE, 18)


def test_hints_of_keys_yield_to_the_schema(codec: ModuleType) -> None:
    binary = (KeyAttribute("pk", "B", 2048),)
    assert written(codec, b'{"pk":"QQ=="}', keys=binary) == b'{"pk":{"B":"QQ=="}}'
    assert written(codec, b'{"pk":"QQ=="}', hints={"pk": "B"}) == b'{"pk":{"S":"QQ=="}}'


def test_impossible_hints_and_keys_are_told(codec: ModuleType) -> None:
    for path in ("a[0]", "a]", "[]x", "a[].b[", "a[]b"):
        with pytest.raises(ValueError, match="not an attribute path"):
            codec.RecordEncoder(PK, "auto", {path: "SS"})
    with pytest.raises(ValueError, match="'pk' can't be both S and N"):
        codec.RecordEncoder((*PK, KeyAttribute("pk", "N", 1024)), "auto", {})


INDEXED = (*KEYS, KeyAttribute("gsi", "B", 1024, required=False), KeyAttribute("pk", "S", 3, required=False))

PLAIN_FAULTS: list[tuple[bytes, Reason, int]] = [
    (b"", Reason.NOT_JSON, 0),
    (b" ", Reason.NOT_JSON, 1),
    (b"hello", Reason.NOT_JSON, 0),
    (b"[1,]", Reason.NOT_JSON, 3),
    (b"[1] x", Reason.NOT_JSON, 4),
    (b" [1]", Reason.NOT_AN_OBJECT, 1),
    (b'"a"', Reason.NOT_AN_OBJECT, 0),
    (b"null", Reason.NOT_AN_OBJECT, 0),
    (b"-1.5e3", Reason.NOT_AN_OBJECT, 0),
    (b"\xef\xbb\xbf{}", Reason.NOT_JSON, 0),
    (b"{", Reason.NOT_JSON, 1),
    (b"{,}", Reason.NOT_JSON, 1),
    (b"{1:2}", Reason.NOT_JSON, 1),
    (b'{"a"}', Reason.NOT_JSON, 4),
    (b'{"a":}', Reason.NOT_JSON, 5),
    (b'{"a":1,}', Reason.NOT_JSON, 7),
    (b'{"a":1 "b":2}', Reason.NOT_JSON, 7),
    (b'{"a":1}}', Reason.NOT_JSON, 7),
    (b'{"a":[1 2]}', Reason.NOT_JSON, 8),
    (b'{"a":[1,]}', Reason.NOT_JSON, 8),
    (b'{"a":01}', Reason.NOT_JSON, 6),
    (b'{"a":+1}', Reason.NOT_JSON, 5),
    (b'{"a":.5}', Reason.NOT_JSON, 5),
    (b'{"a":1.}', Reason.NOT_JSON, 6),
    (b'{"a":1e}', Reason.NOT_JSON, 6),
    (b'{"a":-}', Reason.NOT_JSON, 5),
    (b'{"a":NaN}', Reason.NOT_JSON, 5),
    (b'{"a":truE}', Reason.NOT_JSON, 5),
    (b'{"a":nullx}', Reason.NOT_JSON, 9),
    (b'{"a":"x}', Reason.NOT_JSON, 8),
    (b'{"a":"\t"}', Reason.NOT_JSON, 6),
    (b'{"a":"\x00"}', Reason.NOT_JSON, 6),
    (b'{"a":"b\\x"}', Reason.NOT_JSON, 7),
    (b'{"a":"b\\u12g4"}', Reason.NOT_JSON, 7),
    (b'{"a":"b\\', Reason.NOT_JSON, 7),
    (b'{"a":"\xff","b":\x01}', Reason.INVALID_UTF8, 6),
    (b'{"a":\x01"\xed\xa0\x80"}', Reason.INVALID_UTF8, 7),
    (b'{"a":"\xc3', Reason.INVALID_UTF8, 6),
    (b'{"a":"\xf4\x90\x80\x80"}', Reason.INVALID_UTF8, 6),
    (b'{"a":"x\\ud800"}', Reason.LONE_SURROGATE, 7),
    (b'{"a":"\\ud800\\ud800"}', Reason.LONE_SURROGATE, 6),
    (b'{"a":"\\udc00\\n"}', Reason.LONE_SURROGATE, 6),
    (b'{"a\\uDBFF":1}', Reason.LONE_SURROGATE, 3),
    (b'{"a":1,"a":x}', Reason.DUPLICATE_MEMBER, 7),
    (b'{"a":"x","\\u0061":1}', Reason.DUPLICATE_MEMBER, 9),
    (b'{"a":{"b":1,"b":2}}', Reason.DUPLICATE_MEMBER, 12),
    (b'{"a":' + b"[" * 33, Reason.NESTING_TOO_DEEP, 37),
    (b'{"a":' + b"[" * 32 + b"1" + b"]" * 32 + b"}", Reason.NESTING_TOO_DEEP, 37),
    (b'{"a":' + b'{"a":' * 32 + b"1", Reason.NESTING_TOO_DEEP, 165),
    (b'{"a":123456789012345678901234567890123456789x}', Reason.NUMBER_TOO_PRECISE, 5),
    (b'{"a":1e126}', Reason.NUMBER_OUT_OF_RANGE, 5),
    (b'{"a":-10E125}', Reason.NUMBER_OUT_OF_RANGE, 5),
    (b'{"a":0.1E-129}', Reason.KEY_MISSING, 0),
    (b'{"a":0.9E-130}', Reason.NUMBER_OUT_OF_RANGE, 5),
    (b'{"a":1e99999999999999999999}', Reason.NUMBER_OUT_OF_RANGE, 5),
    (b'{"a":[1,1e-99999999999999999999]}', Reason.NUMBER_OUT_OF_RANGE, 8),
    (b"{}", Reason.KEY_MISSING, 0),
    (b' {"sk":1}', Reason.KEY_MISSING, 1),
    (b'{"pk":"k"}', Reason.KEY_MISSING, 0),
    (b'{"pk":"k"} x', Reason.NOT_JSON, 11),
    (b'{"pk":1}', Reason.KEY_WRONG_TYPE, 6),
    (b'{"pk":null}', Reason.KEY_WRONG_TYPE, 6),
    (b'{"pk": ["k"]}', Reason.KEY_WRONG_TYPE, 7),
    (b'{"sk":"1"}', Reason.KEY_WRONG_TYPE, 6),
    (b'{"sk":true}', Reason.KEY_WRONG_TYPE, 6),
    (b'{"pk":""}', Reason.KEY_EMPTY, 6),
    (b'{"pk":"abcd"}', Reason.KEY_TOO_LONG, 6),
    ('{"pk":"äö"}'.encode(), Reason.KEY_TOO_LONG, 6),
    (b'{"pk":"k","sk":1,"gsi":1}', Reason.KEY_WRONG_TYPE, 23),
    (b'{"pk":"k","sk":1,"gsi":""}', Reason.KEY_EMPTY, 23),
    (b'{"pk":"k","sk":1,"gsi":"QR=="}', Reason.BINARY_INVALID, 23),
    (b'{"pk":"k","sk":1,"gsi":"QQ=\\n"}', Reason.BINARY_INVALID, 23),
]


@pytest.mark.parametrize(("record", "reason", "position"), PLAIN_FAULTS)
def test_faults_of_plain_records(codec: ModuleType, record: bytes, reason: Reason, position: int) -> None:
    assert verdict(codec, record, keys=INDEXED) == (reason, position)


TYPED_FAULTS: list[tuple[bytes, Reason, int]] = [
    (b"1", Reason.TYPE_INVALID, 0),
    (b"x", Reason.NOT_JSON, 0),
    (b"{}", Reason.TYPE_INVALID, 1),
    (b'{"X":1}', Reason.TYPE_INVALID, 1),
    (b'{"S" 1}', Reason.NOT_JSON, 5),
    (b'{"S":1}', Reason.TYPE_INVALID, 5),
    (b'{"S":}', Reason.NOT_JSON, 5),
    (b'{"S":"a","N":"1"}', Reason.TYPE_INVALID, 8),
    (b'{"S":"a"]', Reason.NOT_JSON, 8),
    (b'{"N":1}', Reason.TYPE_INVALID, 5),
    (b'{"N":""}', Reason.NUMBER_INVALID, 5),
    (b'{"N":" 1"}', Reason.NUMBER_INVALID, 5),
    (b'{"N":"NaN"}', Reason.NUMBER_INVALID, 5),
    (b'{"N":"Infinity"}', Reason.NUMBER_INVALID, 5),
    (b'{"N":"1e"}', Reason.NUMBER_INVALID, 5),
    (b'{"N":"."}', Reason.NUMBER_INVALID, 5),
    (b'{"N":"1e+"}', Reason.NUMBER_INVALID, 5),
    (b'{"N":"--1"}', Reason.NUMBER_INVALID, 5),
    (b'{"N":"1\\n"}', Reason.NUMBER_INVALID, 5),
    ('{"N":"１"}'.encode(), Reason.NUMBER_INVALID, 5),
    (b'{"N":"123456789012345678901234567890123456789"}', Reason.NUMBER_TOO_PRECISE, 5),
    (b'{"N":"1e126"}', Reason.NUMBER_OUT_OF_RANGE, 5),
    (b'{"B":"QQ="}', Reason.BINARY_INVALID, 5),
    (b'{"B":"QQ=="', Reason.NOT_JSON, 11),
    (b'{"B":"Q Q="}', Reason.BINARY_INVALID, 5),
    (b'{"B":"QR=="}', Reason.BINARY_INVALID, 5),
    (b'{"B":"===="}', Reason.BINARY_INVALID, 5),
    (b'{"B":"QQ==QQ=="}', Reason.BINARY_INVALID, 5),
    (b'{"B":"QQ-_"}', Reason.BINARY_INVALID, 5),
    (b'{"BOOL":"true"}', Reason.TYPE_INVALID, 8),
    (b'{"BOOL":null}', Reason.TYPE_INVALID, 8),
    (b'{"BOOL":truex}', Reason.NOT_JSON, 12),
    (b'{"NULL":false}', Reason.TYPE_INVALID, 8),
    (b'{"NULL":', Reason.NOT_JSON, 8),
    (b'{"L":{}}', Reason.TYPE_INVALID, 5),
    (b'{"L":[1]}', Reason.TYPE_INVALID, 6),
    (b'{"L":[{"S":"a"},]}', Reason.NOT_JSON, 16),
    (b'{"M":[]}', Reason.TYPE_INVALID, 5),
    (b'{"M":{"a":1}}', Reason.TYPE_INVALID, 10),
    (b'{"M":{"a":{"S":""},"a":{"S":""}}}', Reason.DUPLICATE_MEMBER, 19),
    (b'{"SS":"a"}', Reason.TYPE_INVALID, 6),
    (b'{"SS":[]}', Reason.SET_EMPTY, 6),
    (b'{"SS":[1]}', Reason.TYPE_INVALID, 7),
    (b'{"SS":["a","b","\\u0061","b"]}', Reason.SET_DUPLICATE, 15),
    (b'{"SS":["a","a",1]}', Reason.TYPE_INVALID, 15),
    (b'{"NS":["1","10e-1"]}', Reason.SET_DUPLICATE, 11),
    (b'{"NS":["0","-0.0e5"]}', Reason.SET_DUPLICATE, 11),
    (b'{"NS":["x"]}', Reason.NUMBER_INVALID, 7),
    (b'{"BS":["","\\u0051Q==","QQ=="]}', Reason.SET_DUPLICATE, 22),
    (b'{"BS":["Q"]}', Reason.BINARY_INVALID, 7),
    (b'{"L":[' * 32 + b'{"SS":["a"]}', Reason.NESTING_TOO_DEEP, 192),
]


@pytest.mark.parametrize(("value", "reason", "position"), TYPED_FAULTS)
def test_faults_of_typed_records(codec: ModuleType, value: bytes, reason: Reason, position: int) -> None:
    head = b'{"pk":{"S":"k"},"a":'
    assert verdict(codec, head + value) == (reason, len(head) + position)


def test_key_faults_of_typed_records(codec: ModuleType) -> None:
    assert verdict(codec, b'{"pk":{"N":"1"}}') == (Reason.KEY_WRONG_TYPE, 6)
    assert verdict(codec, b'{"pk":{"L":[]}}') == (Reason.KEY_WRONG_TYPE, 6)
    assert verdict(codec, b'{"pk": {"S":""}}') == (Reason.KEY_EMPTY, 7)
    assert verdict(codec, b'{"Item" : {}}', fmt="dynamodb-json") == (Reason.KEY_MISSING, 10)
    assert verdict(codec, b'{"Item":{"pk":{"S":"k"}}', fmt="dynamodb-json")[0] == Reason.TYPE_INVALID


def test_thirty_two_levels_pass(codec: ModuleType) -> None:
    assert put(codec, b'{"pk":"k","a":' + b"[" * 31 + b"1" + b"]" * 31 + b"}")
    assert put(codec, b'{"pk":{"S":"k"},"a":' + b'{"L":[' * 31 + b'{"SS":["a"]}' + b"]}" * 31 + b"}")


def test_a_refusal_says_nothing_of_the_contents(codec: ModuleType) -> None:
    for record in (b'{"pk":"k","secret":"secret" x}', b'{"pk":{"secret":1}}', b'{"pk":"k","n":1e999}'):
        refused = encode(codec, record)
        assert isinstance(refused, Refused)
        assert refused.message.endswith(".")
        assert "secret" not in refused.message
    refused = encode(codec, b"{}")
    assert isinstance(refused, Refused)
    assert "'pk'" in refused.message


def test_the_largest_item(codec: ModuleType) -> None:
    size = 409_600 - len(b"pk" + b"k" + b"a")
    assert put(codec, b'{"pk":"k","a":"%s"}' % (b"x" * size)).size == 409_600
    assert verdict(codec, b' {"pk":"k","a":"%s"}' % (b"x" * (size + 1))) == (Reason.ITEM_TOO_LARGE, 1)
    escaped = b"\\u00e4" * (size // 2)
    assert put(codec, b'{"pk":"k","a":"%s"}' % escaped).size <= 409_600


def test_the_example_of_the_guide(codec: ModuleType) -> None:
    key = (KeyAttribute("shirt-color", "S", 2048),)
    assert put(codec, b'{"shirt-color":"R","shirt-size":"M"}', keys=key).size == 23


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"pk":"A","sk":1}', b'{"sk":1.0,"x":2,"pk":"\\u0041"}'),
        (b'{"pk":"A","sk":0}', b'{"pk":{"S":"A"},"sk":{"N":"-0.00e7"}}'),
        (b'{"pk":"A","sk":100}', b'{"Item":{"sk":{"N":"+00.1e3"},"pk":{"S":"A"}}}'),
        ('{"pk":"😀","sk":1}'.encode(), b'{"pk":"\\ud83d\\ude00","sk":10e-1}'),
    ],
)
def test_equal_keys(codec: ModuleType, one: bytes, other: bytes) -> None:
    assert put(codec, one, keys=KEYS).key == put(codec, other, keys=KEYS).key


def test_keys_of_several_attributes_do_not_run_together(codec: ModuleType) -> None:
    keys = (KeyAttribute("a", "S", 2048), KeyAttribute("b", "S", 1024))
    found = {
        put(codec, json.dumps({"a": one, "b": other}).encode(), keys=keys).key
        for one in ("x", "xx", "x\0", "\0")
        for other in ("x", "xx", "\0", "\0x")
    }
    assert len(found) == 16


def test_binary_keys_compare_by_bytes(codec: ModuleType) -> None:
    keys = (KeyAttribute("pk", "B", 2048),)
    assert put(codec, b'{"pk":"//8="}', keys=keys).key == put(codec, b'{"pk":{"B":"\\/\\u002f8="}}', keys=keys).key
    assert put(codec, b'{"pk":"//8="}', keys=keys).key != put(codec, b'{"pk":"//4="}', keys=keys).key


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=lambda module: module.__name__)
@examples(100)
@given(data=st.data(), item=items)
def test_any_typed_item_is_kept_and_measured(implementation: ModuleType, data: st.DataObject, item: Typed) -> None:
    wrapped = data.draw(st.booleans())
    result = put(implementation, data.draw(dumped({"Item": item} if wrapped else item)), keys=KEYS)
    assert json.loads(result.request) == {"PutRequest": {"Item": item}}
    assert result.size == attributes_size(item)


def untyped(value: Typed) -> Typed:
    """The typed value that plain JSON without hints makes of a value: no sets, no binary."""
    ((kind, content),) = value.items()
    match kind:
        case "L":
            return {"L": [untyped(element) for element in content]}
        case "M":
            return {"M": {name: untyped(inner) for name, inner in content.items()}}
        case "SS" | "NS" | "BS":
            return {"L": [{"N" if kind == "NS" else "S": element} for element in content]}
        case "B":
            return {"S": content}
        case _:
            return value


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=lambda module: module.__name__)
@examples(100)
@given(item=items)
def test_any_plain_item_is_kept_and_measured(implementation: ModuleType, item: Typed) -> None:
    result = put(implementation, plain_object(item).encode(), keys=KEYS)
    expected = {name: untyped(value) for name, value in item.items()}
    assert json.loads(result.request) == {"PutRequest": {"Item": expected}}
    assert result.size == attributes_size(expected)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=lambda module: module.__name__)
@examples(100)
@given(one=numbers, other=numbers)
def test_number_keys_are_equal_where_the_values_are(implementation: ModuleType, one: str, other: str) -> None:
    encoder = implementation.RecordEncoder((KeyAttribute("n", "N", 1024),), "auto", {})
    exact = Context(prec=60)
    keys = [encoder.encode(f'{{"n":{{"N":"{text}"}}}}'.encode()).key for text in (one, other, one + "0" * ("." in one))]
    assert (keys[0] == keys[1]) == (exact.create_decimal(one) == exact.create_decimal(other))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=lambda module: module.__name__)
@examples(100)
@given(item=items, data=st.data())
def test_a_cut_record_is_always_refused(implementation: ModuleType, item: Typed, data: st.DataObject) -> None:
    record = data.draw(st.sampled_from([json.dumps(item).encode(), plain_object(item).encode()]))
    result = encode(implementation, record[: data.draw(st.integers(0, len(record) - 1))], keys=KEYS)
    assert isinstance(result, Refused)
    assert 0 <= result.position <= len(record)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=lambda module: module.__name__)
@examples(100)
@given(raw=st.binary(max_size=20), cut=st.integers(1, 3))
def test_base64_is_taken_as_it_is_written(implementation: ModuleType, raw: bytes, cut: int) -> None:
    text = base64.b64encode(raw)
    assert put(implementation, b'{"pk":{"S":"k"},"b":{"B":"%s"}}' % text).size == 4 + len(raw)
    if raw:
        assert verdict(implementation, b'{"pk":{"S":"k"},"b":{"B":"%s"}}' % text[:-cut])[0] is Reason.BINARY_INVALID
