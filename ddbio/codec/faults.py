"""What is wrong with a record or reply, without item contents in any message; shared by both implementations."""

from __future__ import annotations

from ddbio.model import MalformedPageError, Reason, Refused

_SENTENCES = {
    Reason.NOT_JSON: "The record is not valid JSON.",
    Reason.NOT_AN_OBJECT: "The record is JSON, but not an object.",
    Reason.INVALID_UTF8: "The record is not valid UTF-8.",
    Reason.LONE_SURROGATE: "A string has an escape that is half of a surrogate pair.",
    Reason.DUPLICATE_MEMBER: "An object has two members of the same name.",
    Reason.KEY_MISSING: "The key attribute {name!r} is missing.",
    Reason.KEY_EMPTY: "The key attribute {name!r} is empty.",
    Reason.KEY_TOO_LONG: "The key attribute {name!r} is longer than the service allows.",
    Reason.KEY_WRONG_TYPE: "The key attribute {name!r} is not of the type that the table's key schema demands.",
    Reason.ITEM_TOO_LARGE: "The item is larger than 400 KB by the service's rules.",
    Reason.NESTING_TOO_DEEP: "A value is nested deeper than 32 levels.",
    Reason.NUMBER_INVALID: "A number is not one that the service can read.",
    Reason.NUMBER_TOO_PRECISE: "A number has more than 38 significant digits.",
    Reason.NUMBER_OUT_OF_RANGE: "A number's magnitude is outside 1E-130 to 9.99E+125.",
    Reason.SET_EMPTY: "A set is empty.",
    Reason.SET_DUPLICATE: "A set has the same element twice.",
    Reason.BINARY_INVALID: "A binary value is not valid base64.",
    Reason.TYPE_INVALID: "An attribute value is not an object with one type name and a value of that type.",
}


def refusal(reason: Reason, position: int, name: str | None = None) -> Refused:
    """The rejection of a record; `name` is the key attribute's name, where the reason concerns one."""
    return Refused(reason, position, _SENTENCES[reason].format(name=name))


def malformed(position: int) -> MalformedPageError:
    return MalformedPageError(f"The Scan reply is malformed at byte {position}.")


def missing(member: str) -> MalformedPageError:
    return MalformedPageError(f"The Scan reply has no {member}.")
