"""The rules for key attributes, and the canonical form of a primary key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ddbio.codec.reference.lexical import Fault
from ddbio.codec.reference.numbers import Number
from ddbio.codec.reference.paths import HintTree
from ddbio.hints import HintType
from ddbio.model import KeyAttribute, KeyType, Reason


class Scalar(NamedTuple):
    """A value that could be a key: its type, and its UTF-8 text, raw bytes or number."""

    type: KeyType
    content: bytes | Number


class KeyRule(NamedTuple):
    """What the table and its indexes together demand of one attribute."""

    name: str
    type: KeyType
    limit: int
    required: bool

    def check(self, value: Scalar | None, position: int) -> bytes:
        """The value in canonical form; raises `Fault` where the service would not take it as a key."""
        if value is None or value.type != self.type:
            raise Fault(Reason.KEY_WRONG_TYPE, position, self.name)
        if isinstance(value.content, Number):
            return value.content.canonical
        if not value.content:
            raise Fault(Reason.KEY_EMPTY, position, self.name)
        if len(value.content) > self.limit:
            raise Fault(Reason.KEY_TOO_LONG, position, self.name)
        return value.content


class Keys:
    """All key attributes by name; `rules` is in the order in which they were given."""

    def __init__(self, keys: Sequence[KeyAttribute]) -> None:
        self.rules: dict[bytes, KeyRule] = {}
        for key in keys:
            name = key.name.encode()
            other = self.rules.get(name, KeyRule(*key))
            if other.type != key.type:
                raise ValueError(f"the key attribute {key.name!r} can't be both {other.type} and {key.type}")
            self.rules[name] = KeyRule(
                key.name, key.type, min(key.limit, other.limit), required=key.required or other.required
            )
        self._required = [name for name, rule in self.rules.items() if rule.required]

    def canonical(self, found: Mapping[bytes, bytes], position: int) -> bytes:
        """The primary key out of the checked values, each behind its length; raises `Fault` where one is missing."""
        parts = []
        for name in self._required:
            if name not in found:
                raise Fault(Reason.KEY_MISSING, position, self.rules[name].name)
            parts.append(len(found[name]).to_bytes(4, "big") + found[name])
        return b"".join(parts)


def hint_tree(hints: Mapping[str, HintType], keys: Keys) -> HintTree:
    """The hints for plain JSON, where the key schema comes before the manifest."""
    tree = HintTree.of(hints)
    for name, rule in keys.rules.items():
        tree.members.setdefault(name, HintTree()).kind = "B" if rule.type == "B" else None
    return tree
