r"""The codec in Python: the specification and oracle of the native codec, and the fallback where that was not built.

Both implementations produce the same bytes and the same rejections. Whatever this text leaves open follows RFC 8259.
Positions are byte positions in the input. Strings are copied verbatim, with their escapes; white space (space, tab,
line feed, carriage return) is dropped; names are compared decoded.

**The position of a fault** is that of the first byte that can't be where it is, or the end of the data if that comes
too early. In a string it is the control character, or the backslash of the escape; for a literal, or for a number that
does not begin as one, its first byte. A number ends where its grammar does: in `01`, the `1` is at fault. Invalid
UTF-8 takes precedence over everything else; its position is the first byte that begins no valid sequence.

`transcode_page` (`MalformedPageError` names the position)
    The members of the reply may come in any order. `Items` (an array of objects), `Count`, `ScannedCount` (integers of
    at most 18 digits), `LastEvaluatedKey` and `ConsumedCapacity` (objects) may occur once each, with names that
    contain no escapes. Other members are checked for their grammar only; they may be nested 100 levels deep, as may
    attribute values. An attribute value is an object with exactly one member, whose name is a type without escapes.
    Numbers become bare numbers in `jsonl`, so they must be JSON numbers. Surrogate escapes need not be paired. Types
    are recorded in the order in which the values begin, for the first `MAX_PATHS` paths.

`RecordEncoder.encode`
    A record is one JSON object; any other JSON value that is valid as plain JSON is rejected as `not_an_object`.

    *Format.* It is determined by a look ahead that finds the ends of values by quotes and the number of brackets only.
    An object whose only member is `Item` is a wrapper if the value is an object, unless the table has a key attribute
    `Item` and the value is typed, that is, an object whose only member is named as a type. With `auto`, the item is
    DynamoDB JSON if the value of its first key attribute is typed and only objects precede it. `jsonl` has no wrapper.

    *The pass* then goes from the first byte to the last, and the first fault that it meets decides the rejection:

    - at a member's name: the faults of the string, then `duplicate_member`, at the name;
    - where a value begins: `nesting_too_deep` on level 33 (an attribute's value is on level 1, the elements of a list
      and the members of a map one level below it; elements of a set have no level);
    - at the end of a string, number or literal: its own faults (`number_*`, `binary_invalid`), at its first byte. For
      numbers the order is `number_invalid`, `number_too_precise`, `number_out_of_range`;
    - at the closing bracket of a set: `set_empty` at the opening bracket, `set_duplicate` at the first element that
      repeats another;
    - at the end of a key attribute's value: `key_wrong_type`, `key_empty`, `key_too_long`, at the value's first byte;
    - in DynamoDB JSON, `type_invalid`: where a value of the wrong kind begins (`not_json` where no value begins at
      all), at a name that is no type, at the closing brace of an empty attribute value, or at the comma after its
      first member;
    - at the end of the record: `key_missing` (the first in the order of the schema), then `item_too_large`; both at
      the item's opening brace.

    *Plain JSON.* A string is B if the hint or the key schema says so. An array is SS, NS or BS if the hint says so and
    it has elements, all of which are strings, valid numbers, or base64, respectively; otherwise it is L. For a key
    attribute itself the schema applies, and hints do not.

    *Numbers.* A number in DynamoDB JSON may begin with `+` or zeros, and may lack digits on one side of the point;
    zero may have any exponent. *Binary* is padded base64 in which the unused bits of the last letter are zero. The
    elements of sets are compared by value.

    *Size* is the service's: names and strings as UTF-8, binary as bytes, BOOL and NULL 1, L and M 3 plus 1 for each
    element, sets the sum of their elements, numbers as `ddbio.codec.numbers.Number.size` computes them.
"""

from __future__ import annotations

from ddbio.codec.framing import count_lines
from ddbio.codec.reference.fingerprint import item_fingerprint
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
