"""Checking of key attributes, and the canonical form of a primary key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ddbio.codec.keys import KeyRule
from ddbio.codec.numbers import Number
from ddbio.codec.reference.lexical import Fault
from ddbio.model import KeyType, Reason


class Scalar(NamedTuple):
    """A value that can be a key: its type, and its UTF-8 text, raw bytes or number."""

    type: KeyType
    content: bytes | Number


def checked_key(rule: KeyRule, value: Scalar | None, position: int) -> bytes:
    """The value in canonical form; raises `Fault` where the service would not accept it as a key."""
    if value is None or value.type != rule.type:
        raise Fault(Reason.KEY_WRONG_TYPE, position, rule.name)
    if isinstance(value.content, Number):
        return value.content.canonical
    if not value.content:
        raise Fault(Reason.KEY_EMPTY, position, rule.name)
    if len(value.content) > rule.limit:
        raise Fault(Reason.KEY_TOO_LONG, position, rule.name)
    return value.content


def primary_key(rules: Mapping[bytes, KeyRule], found: Mapping[bytes, bytes], position: int) -> bytes:
    """The canonical primary key: each checked value, preceded by its length. Raises `Fault` where one is missing."""
    parts = []
    for name, rule in rules.items():
        if rule.required:
            if name not in found:
                raise Fault(Reason.KEY_MISSING, position, rule.name)
            parts.append(len(found[name]).to_bytes(4, "big") + found[name])
    return b"".join(parts)
