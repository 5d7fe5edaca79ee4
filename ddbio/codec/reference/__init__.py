r"""The codec in Python: the oracle for the native one, and the fallback. Both give the same bytes and verdicts.

What is not told here follows from RFC 8259. Positions are byte positions in what was given. Strings are copied as they
stand, escapes untouched; white space (space, tab, line feed, carriage return) is dropped; names are compared decoded.

**A fault's position** is that of the first byte that can't stand where it stands; the end of the data where that comes
too early. In a string it is the control character, or the backslash of the escape; for a literal, or a number that
does not even begin as one, its first byte; a number ends where its grammar does (in `01` the `1` is at fault).
Invalid UTF-8 anywhere comes before everything else, at the first byte that begins no valid sequence.

`transcode_page` (`MalformedPageError` names the position)
    Reads the reply's members in any order. `Items` (an array of objects), `Count`, `ScannedCount` (integers of at most
    18 digits), `LastEvaluatedKey` and `ConsumedCapacity` (objects) may stand there once, spelled without escapes; the
    members of others are checked for their grammar only, and nested at most 100 deep, as attribute values are. An
    attribute value is an object with exactly one member, a type name without escapes. Numbers become bare in `jsonl`,
    so must be JSON numbers. Surrogate escapes need not pair. Types are noted in the order in which the values begin;
    the first `MAX_PATHS` paths are kept.

`RecordEncoder.encode`
    A record is one JSON object; another JSON value, faultless as plain JSON, is `not_an_object`.

    *Format.* A look ahead, which finds the ends of values by quotes and the number of brackets only. The object's only
    member `Item` is a wrapper where its value is an object, unless the table has a key attribute `Item` and the value
    is typed: an object whose only member is named as a type. With `auto`, the item is DynamoDB JSON where the value of
    its first key attribute is typed, and nothing but objects stand before that. `jsonl` knows no wrapper.

    *The pass* then goes from the first byte to the last, and the first fault that it meets is the verdict:

    - at a member's name: the string's faults, then `duplicate_member`, at the name;
    - where a value begins: `nesting_too_deep`, if it is on level 33 (an attribute's value is on level 1, the elements
      of a list and the members of a map one below it; elements of a set have no level);
    - at the end of a string, number or literal: its own faults (`number_*`, `binary_invalid`), at its first byte. For
      numbers `number_invalid` comes first, then `number_too_precise`, then `number_out_of_range`;
    - at the closing bracket of a set: `set_empty` at the opening bracket, `set_duplicate` at the first element that
      repeats another;
    - at the end of a key attribute's value: `key_wrong_type`, `key_empty`, `key_too_long`, at the value's first byte;
    - in DynamoDB JSON, `type_invalid`: where a value of the wrong kind begins (`not_json` where no value begins at
      all), at a name that is no type's, at the closing brace of an empty attribute value, or at the comma behind its
      first member;
    - at the record's end: `key_missing` (the first in the order of the schema), then `item_too_large`; both at the
      item's opening brace.

    *Plain JSON.* A string is B where the hint, or the key schema, says so. An array is SS, NS or BS where the hint says
    so, and it has elements, all of which are strings, faultless numbers, or base64; otherwise it is L. For a key
    attribute itself the schema counts, and no hint.

    *Numbers.* A number in DynamoDB JSON may begin with `+` or zeros, and lack digits on one side of the point; zero may
    have any exponent. *Binary* is base64 with padding, the unused bits of the last letter zero. Sets compare by value.

    *Size* is the service's: names and strings as UTF-8, binary as bytes, BOOL and NULL 1, L and M 3 and 1 for each
    element, sets their elements, numbers as `_numbers.Number.size` says.
"""

from __future__ import annotations

from ddbio.codec.reference.fingerprint import item_fingerprint
from ddbio.codec.framing import count_lines
from ddbio.codec.reference.pages import transcode_page
from ddbio.codec.reference.records import EncodedRecord, RecordEncoder, count_settled, settle, take_off, weigh

__all__ = [
    "EncodedRecord",
    "RecordEncoder",
    "count_lines",
    "count_settled",
    "item_fingerprint",
    "settle",
    "take_off",
    "transcode_page",
    "weigh",
]
