"""The table of bad and odd records: what is wrong or unusual in one line, whatever file it stands in."""

from __future__ import annotations

from typing import Any

from tests.kit.bad_inputs import ITEM_LIMIT, RECORD_LIMIT, TAG, Item, Line, Row, bad, good, one, row
from tests.kit.servers.aws import Key

HASH_RANGE: Key = (("pk", "S"), ("sk", "S"))
NUMBER: Key = (("n", "N"),)
BINARY: Key = (("b", "B"),)
NAMED_ITEM: Key = (("Item", "S"),)
INDEX: Key = (("gk", "S"),)


def plain(value: bytes, typed: Any) -> Line:
    """Plain JSON with this value, which is written as `typed`."""
    return good(b'{"pk":"@","v":%s}' % value, v=typed)


def plain_bad(value: bytes, reason: str) -> Line:
    """Plain JSON with this value, which is rejected."""
    return bad(b'{"pk":"@","v":%s}' % value, reason)


def typed(value: bytes, written: Any) -> Line:
    """DynamoDB JSON with this attribute value."""
    return good(b'{"pk":{"S":"@"},"v":%s}' % value, v=written)


def typed_bad(value: bytes, reason: str) -> Line:
    """DynamoDB JSON with this attribute value, which is rejected."""
    return bad(b'{"pk":{"S":"@"},"v":%s}' % value, reason)


def number_key(raw: bytes, value: str, version: int) -> Line:
    """A line in a table whose key is a number."""
    return Line(raw, {"n": {"N": value}, "v": {"N": str(version)}})


def both(key: str, sort: str, **attributes: Any) -> Item:
    """An item with a partition and a sort key."""
    return {"pk": {"S": key}, "sk": {"S": sort}, **attributes}


def nested_lists(levels: int) -> Any:
    """As boto3 gives a value with that many lists around nothing."""
    value: Any = {"L": []}
    for _ in range(levels - 1):
        value = {"L": [value]}
    return value


def text_of(size: int) -> bytes:
    """Plain JSON whose item has that size: the names `pk` and `v`, the key's 6 letters, and a text."""
    return b'{"pk":"@","v":"%s"}' % (b"x" * (size - 9))


NOT_JSON = (
    row("words", bad(b"hello, world", "not_json"), one(1)),
    row("half an object", bad(b'{"pk":"@","v":', "not_json"), one(1)),
    row("an open string", bad(b'{"pk":"@', "not_json"), one(1)),
    row("a number", bad(b"42", "not_an_object"), one(1)),
    row("a string", bad(b'"@"', "not_an_object"), one(1)),
    row("null and true", bad(b"null", "not_an_object"), bad(b"true", "not_an_object"), one(1)),
    row("an array", bad(b'[{"pk":"@"}]', "not_an_object"), one(1)),
    row("a CSV file", bad(b"pk,v", "not_json"), bad(b"@,1", "not_json")),
    row("two objects on a line", bad(b'{"pk":"@-a"}{"pk":"@-b"}', "not_json"), one(1)),
    row("a comma behind the object", bad(b'{"pk":"@-a"},', "not_json"), one(1)),
    row("a comma behind the last member", bad(b'{"pk":"@-a",}', "not_json"), one(1)),
    row("comments", bad(b"# one", "not_json"), bad(b"// two", "not_json"), one(1)),
    row("single quotes", bad(b"{'pk':'@'}", "not_json"), one(1)),
    row("names without quotes", bad(b'{pk:"@"}', "not_json"), one(1)),
    row("a line of NUL bytes", bad(b"\0" * 30, "not_json"), one(1)),
    row("a NUL byte in a string", plain_bad(b'"a\0b"', "not_json"), one(1)),
    row("control characters in strings", plain_bad(b'"a\tb"', "not_json"), plain_bad(b'"\x1f"', "not_json"), one(1)),
    row("an escaped NUL", plain(rb'"a\u0000b"', {"S": "a\0b"})),
    row("a form feed is no white space", bad(b"\x0c", "not_json"), one(1)),
    row(
        "white space around everything",
        good(b' \t{ "pk" : "@" , "v" : [ 1 , 2 ] } ', v={"L": [{"N": "1"}, {"N": "2"}]}),
    ),
    row("line separators in a string", plain('"\u2028\u2029\x85"'.encode(), {"S": "\u2028\u2029\x85"})),
    row("an unknown escape", plain_bad(rb'"\x41"', "not_json"), plain_bad(rb'"\u12"', "not_json"), one(1)),
    row("a pretty-printed object", *(bad(raw, "not_json") for raw in (b"{", b'  "pk": "@"', b"}")), one(1)),
    row(
        "a pretty-printed array",
        bad(b"[", "not_json"),
        bad(b'  {"pk": "@-a"},', "not_json"),
        good(b'  {"pk": "@-b"}', pk={"S": "@-b"}),
        bad(b"]", "not_json"),
    ),
    row(
        "100,000 brackets",
        bad(b'{"pk":"@","v":' + b"[" * 100_000, "nesting_too_deep"),
        bad(b"[" * 100_000, "nesting_too_deep"),
    ),
    row("a line as long as can be", good(b'{"pk":"@"' + b" " * (RECORD_LIMIT - 15) + b"}")),
    row("a line one byte too long", bad(b'{"pk":"@"' + b" " * (RECORD_LIMIT - 14) + b"}", "record_too_long"), one(1)),
    row("a blank line that is too long", bad(b" " * (RECORD_LIMIT + 1), "record_too_long"), one(1)),
)

MEMBERS = (
    row("two members of one name", bad(b'{"pk":"@","v":1,"v":1}', "duplicate_member"), one(1)),
    row("two members of one name, one escaped", bad(rb'{"pk":"@","v":1,"\u0076":1}', "duplicate_member"), one(1)),
    row("the key twice", bad(b'{"pk":"@","pk":"b"}', "duplicate_member"), one(1)),
    row("two members of one name in a map", plain_bad(b'[{"a":1,"a":2}]', "duplicate_member"), one(1)),
    row(
        "two members of one name in a typed map", typed_bad(b'{"M":{"a":{"N":"1"},"a":{"N":"1"}}}', "duplicate_member")
    ),
    row("one name on two levels", plain(b'{"v":1}', {"M": {"v": {"N": "1"}}})),
    row("an empty object", bad(b"{}", "key_missing"), one(1)),
)

KEYS = (
    row("a missing partition key", bad(b'{"v":1}', "key_missing"), one(1)),
    row(
        "a key that is null",
        bad(b'{"pk":null}', "key_wrong_type"),
        bad(b'{"pk":{"NULL":true}}', "key_wrong_type"),
        one(1),
    ),
    row("an empty key", bad(b'{"pk":""}', "key_empty"), bad(b'{"pk":{"S":""}}', "key_empty"), one(1)),
    row(
        "a number for a text key",
        bad(b'{"pk":1}', "key_wrong_type"),
        bad(b'{"pk":{"N":"1"}}', "key_wrong_type"),
        one(1),
    ),
    row(
        "a list, a map, a boolean for a key",
        *(bad(b'{"pk":%s}' % each, "key_wrong_type") for each in (b"[]", b'{"a":1}', b"true")),
    ),
    row("a key as long as can be", good(b'{"pk":"%s@"}' % (b"x" * 2042), pk={"S": "x" * 2042 + TAG})),
    row("a key one byte too long", bad(b'{"pk":"%s@"}' % (b"x" * 2043), "key_too_long"), one(1)),
    row("a key too long in UTF-8 only", bad(b'{"pk":"%s"}' % ("é".encode() * 1025), "key_too_long"), one(1)),
    row(
        "one key, once escaped: the last line counts",
        good(b'{"pk":"A@","v":1}', pk={"S": "A@"}, v={"N": "1"}),
        good(rb'{"pk":"\u0041@","v":2}', pk={"S": "A@"}, v={"N": "2"}),
    ),
    row(
        "a key that repeats in many lines: the last line counts",
        *(plain(b"%d" % number, {"N": str(number)}) for number in range(60)),
    ),
    row("a name of the key, escaped", good(rb'{"\u0070k":"@"}')),
    row("a missing sort key", bad(b'{"pk":"@"}', "key_missing"), bad(b'{"sk":"@"}', "key_missing"), key=HASH_RANGE),
    row(
        "a sort key as long as can be",
        Line(b'{"pk":"@","sk":"%s"}' % (b"x" * 1024), both(TAG, "x" * 1024)),
        key=HASH_RANGE,
    ),
    row("a sort key one byte too long", bad(b'{"pk":"@","sk":"%s"}' % (b"x" * 1025), "key_too_long"), key=HASH_RANGE),
    row("an empty sort key", bad(b'{"pk":"@","sk":""}', "key_empty"), key=HASH_RANGE),
    row(
        "1, 1.0 and 1E0 are one key",
        number_key(b'{"n":1,"v":1}', "1", 1),
        number_key(b'{"n":1.0,"v":2}', "1", 2),
        number_key(b'{"n":1E0,"v":3}', "1", 3),
        number_key(b'{"n":{"N":"01.00"},"v":{"N":"4"}}', "1", 4),
        key=NUMBER,
    ),
    row(
        "0, -0 and 0e9 are one key",
        number_key(b'{"n":0,"v":1}', "0", 1),
        number_key(b'{"n":-0,"v":2}', "0", 2),
        number_key(b'{"n":0e9,"v":3}', "0", 3),
        key=NUMBER,
    ),
    row("a text for a number key", bad(b'{"n":"1"}', "key_wrong_type"), key=NUMBER),
    row(
        "a number key out of range",
        bad(b'{"n":1e400}', "number_out_of_range"),
        bad(b'{"n":NaN}', "not_json"),
        key=NUMBER,
    ),
    row(
        "binary keys",
        Line(b'{"b":"QUI="}', {"b": {"B": b"AB"}}),
        Line(b'{"b":{"B":"Qw=="}}', {"b": {"B": b"C"}}),
        key=BINARY,
    ),
    row(
        "bad binary keys",
        bad(b'{"b":"QUI"}', "binary_invalid"),
        bad(b'{"b":"QUJ="}', "binary_invalid"),
        bad(b'{"b":""}', "key_empty"),
        bad(b'{"b":{"S":"QUI="}}', "key_wrong_type"),
        key=BINARY,
    ),
)


INDEX_KEYS = (
    row("an index key that is not there", good(b'{"pk":"@"}'), index=INDEX),
    row("an index key", good(b'{"pk":"@","gk":"x"}', gk={"S": "x"}), index=INDEX),
    row(
        "an index key of the wrong type",
        bad(b'{"pk":"@","gk":1}', "key_wrong_type"),
        bad(b'{"pk":"@","gk":null}', "key_wrong_type"),
        index=INDEX,
    ),
    row("an empty index key", bad(b'{"pk":"@","gk":""}', "key_empty"), index=INDEX),
    row(
        "an index key that is too long",
        bad(b'{"pk":"@","gk":"%s"}' % (b"x" * 2049), "key_too_long"),
        index=INDEX,
    ),
)

NUMBERS = (
    row("NaN", plain_bad(b"NaN", "not_json"), typed_bad(b'{"N":"NaN"}', "number_invalid"), one(1)),
    row("Infinity", plain_bad(b"-Infinity", "not_json"), typed_bad(b'{"N":"Infinity"}', "number_invalid"), one(1)),
    row(
        "39 digits",
        plain_bad(b"1" * 39, "number_too_precise"),
        plain_bad(b"0." + b"1" * 39, "number_too_precise"),
        one(1),
    ),
    row("38 digits", plain(b"1" * 38, {"N": "1" * 38})),
    row("39 digits, the last a zero", plain(b"1" * 38 + b"0", {"N": "1" * 38 + "0"})),
    row(
        "1e400", plain_bad(b"1e400", "number_out_of_range"), typed_bad(b'{"N":"1e400"}', "number_out_of_range"), one(1)
    ),
    row(
        "an exponent of 5,000 digits",
        plain_bad(b"1e" + b"9" * 5000, "number_out_of_range"),
        plain_bad(b"1e-" + b"9" * 5000, "number_out_of_range"),
    ),
    row("1E126", plain_bad(b"1E126", "number_out_of_range"), one(1)),
    row("1E-131", plain_bad(b"1E-131", "number_out_of_range"), plain_bad(b"-1E-131", "number_out_of_range"), one(1)),
    row("the largest number", plain(b"9" * 38 + b"E+88", {"N": "9" * 38 + "0" * 88})),
    row("the smallest number", plain(b"1E-130", {"N": "0." + "0" * 129 + "1"})),
    # ddbio lets it pass, dynalite does not: the batch is split until the bad record stands alone.
    row("a leading plus", plain_bad(b"+1", "not_json"), typed_bad(b'{"N":"+1"}', "refused_by_service"), one(1), one(2)),
    row("leading zeros", plain_bad(b"01", "not_json"), typed(b'{"N":"001"}', {"N": "1"})),
    row("hexadecimal numbers", plain_bad(b"0x10", "not_json"), typed_bad(b'{"N":"0x10"}', "number_invalid"), one(1)),
    row("halves of numbers", *(plain_bad(each, "not_json") for each in (b".5", b"5.", b"1e", b"-"))),
    row(
        "texts that are no numbers",
        *(typed_bad(b'{"N":"%s"}' % each, "number_invalid") for each in (b"", b" 1", b"1 ", b"1_0", b"1,0", b"one")),
    ),
    row("digits of another script", typed_bad('{"N":"١"}'.encode(), "number_invalid"), one(1)),
)

TEXT = (
    row(
        "a lone high surrogate",
        plain_bad(rb'"\ud83d"', "lone_surrogate"),
        plain_bad(rb'"\ud83dx"', "lone_surrogate"),
        one(1),
    ),
    row("a lone low surrogate", plain_bad(rb'"\ude00"', "lone_surrogate"), one(1)),
    row("a pair the wrong way round", plain_bad(rb'"\ude00\ud83d"', "lone_surrogate"), one(1)),
    row("a lone surrogate in a name", bad(rb'{"pk":"@","\ud83d":1}', "lone_surrogate"), one(1)),
    row("a lone surrogate in the key", bad(rb'{"pk":"\ud83d@"}', "lone_surrogate"), one(1)),
    row("a pair of surrogates", plain(rb'"\ud83d\ude00"', {"S": "\U0001f600"})),
    row("Latin-1", plain_bad(b'"caf\xe9"', "invalid_utf8"), one(1)),
    row(
        "overlong UTF-8", plain_bad(b'"\xc0\xaf"', "invalid_utf8"), plain_bad(b'"\xe0\x80\xaf"', "invalid_utf8"), one(1)
    ),
    row("a surrogate in UTF-8", plain_bad(b'"\xed\xa0\xbd\xed\xb8\x80"', "invalid_utf8"), one(1)),
    row("beyond Unicode", plain_bad(b'"\xf4\x90\x80\x80"', "invalid_utf8"), one(1)),
    row("half a character at the end of the line", bad(b'{"pk":"@"}\xe2\x82', "invalid_utf8"), one(1)),
    row("invalid UTF-8 in a name", bad(b'{"pk":"@","\xff":1}', "invalid_utf8"), one(1)),
    row("an empty text", plain(b'""', {"S": ""})),
)

TYPES = (
    row("an empty set", *(typed_bad(b'{"%s":[]}' % kind, "set_empty") for kind in (b"SS", b"NS", b"BS")), one(1)),
    row("texts that are equal in a set", typed_bad(rb'{"SS":["A","\u0041"]}', "set_duplicate"), one(1)),
    row("numbers that are equal in a set", typed_bad(b'{"NS":["1","1.0"]}', "set_duplicate"), one(1)),
    row("binary that is equal in a set", typed_bad(b'{"BS":["QQ==","QQ=="]}', "set_duplicate"), one(1)),
    row(
        "sets",
        typed(b'{"SS":["b","a"]}', {"SS": ["a", "b"]}),
        good(b'{"pk":{"S":"@-2"},"v":{"NS":["2","1e0"]}}', pk={"S": "@-2"}, v={"NS": ["1", "2"]}),
    ),
    row("an unknown type", typed_bad(b'{"X":"a"}', "type_invalid"), typed_bad(b'{"s":"a"}', "type_invalid"), one(1)),
    row("a key of an unknown type", bad(b'{"pk":{"X":"@"}}', "key_wrong_type"), one(1)),
    row("two types in one value", typed_bad(b'{"S":"a","N":"1"}', "type_invalid"), one(1)),
    row(
        "a value of no type",
        typed_bad(b"{}", "type_invalid"),
        typed_bad(b'"a"', "type_invalid"),
        typed_bad(b"null", "type_invalid"),
        one(1),
    ),
    row("NULL that is false", typed_bad(b'{"NULL":false}', "type_invalid"), one(1)),
    row("BOOL as a text", typed_bad(b'{"BOOL":"true"}', "type_invalid"), one(1)),
    row("a number as a number", typed_bad(b'{"N":1}', "type_invalid"), typed_bad(b'{"S":1}', "type_invalid"), one(1)),
    row(
        "a list where a map must be",
        typed_bad(b'{"M":[]}', "type_invalid"),
        typed_bad(b'{"L":{}}', "type_invalid"),
        one(1),
    ),
    row(
        "binary that is not base64",
        *(typed_bad(b'{"B":"%s"}' % each, "binary_invalid") for each in (b"!", b"QQ", b"QR==", b"Q Q==", b"_-__")),
        one(1),
    ),
    row("binary", typed(b'{"B":"AP8="}', {"B": b"\0\xff"})),
    row("32 levels", plain(b"[" * 32 + b"]" * 32, nested_lists(32))),
    row(
        "33 levels",
        plain_bad(b"[" * 33 + b"]" * 33, "nesting_too_deep"),
        typed_bad(b'{"L":[' * 33 + b"]}" * 33, "nesting_too_deep"),
    ),
)

FORMATS = (
    row("DynamoDB JSON with its wrapper", good(b'{"Item":{"pk":{"S":"@"}}}')),
    row(
        "formats mixed by line",
        one(1),
        good(b'{"Item":{"pk":{"S":"@-2"},"v":{"N":"1"}}}', pk={"S": "@-2"}, v={"N": "1"}),
        good(b'{"pk":{"S":"@-3"},"v":{"N":"1"}}', pk={"S": "@-3"}, v={"N": "1"}),
        good(b'{"pk":"@-4","v":{"N":"1"}}', pk={"S": "@-4"}, v={"M": {"N": {"S": "1"}}}),
    ),
    row("a wrapper around nothing", bad(b'{"Item":{}}', "key_missing"), bad(b'{"Item":null}', "key_missing"), one(1)),
    row("a wrapper with company", bad(b'{"Item":{"pk":{"S":"@"}},"x":1}', "key_missing"), one(1)),
    row("a wrapper twice", bad(b'{"Item":{"Item":{"pk":{"S":"@"}}}}', "key_missing"), one(1)),
    row("an attribute named Item", good(b'{"pk":"@","Item":1}', Item={"N": "1"})),
    row(
        "a key named Item",
        Line(b'{"Item":"@-1"}', {"Item": {"S": "@-1"}}),
        Line(b'{"Item":{"S":"@-2"}}', {"Item": {"S": "@-2"}}),
        Line(b'{"Item":{"Item":{"S":"@-3"}}}', {"Item": {"S": "@-3"}}),
        bad(b'{"Item":{"N":"1"}}', "key_wrong_type"),
        key=NAMED_ITEM,
    ),
    row(
        "a wrapper where plain JSON was promised",
        bad(b'{"Item":{"pk":{"S":"@"}}}', "key_missing"),
        one(1),
        form="jsonl",
    ),
    row("plain JSON where DynamoDB JSON was promised", bad(b'{"pk":"@"}', "type_invalid"), form="dynamodb-json"),
)

SIZES = (
    row("an item of 409,600 bytes", good(text_of(ITEM_LIMIT), v={"S": "x" * (ITEM_LIMIT - 9)})),
    row("an item of 409,601 bytes", bad(text_of(ITEM_LIMIT + 1), "item_too_large"), one(1)),
    row("an item whose JSON only is larger than 400 KB", plain(b'"%s"' % (rb"\u00e9" * 150_000), {"S": "é" * 150_000})),
    row(
        "a rejected line of more than 1 MiB",
        bad(b'{"pk":"@","v":"%s"}' % (b"x" * 1024 * 1024), "item_too_large"),
        one(1),
    ),
)

RECORDS: tuple[Row, ...] = (*NOT_JSON, *MEMBERS, *KEYS, *INDEX_KEYS, *NUMBERS, *TEXT, *TYPES, *FORMATS, *SIZES)
