"""The key attributes and type hints of a table, prepared for an encoder; shared by both implementations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ddbio.codec.paths import HintTree
from ddbio.hints import HintType
from ddbio.model import KeyAttribute


def key_rules(keys: Sequence[KeyAttribute]) -> dict[bytes, KeyAttribute]:
    """What the table and its indexes together require of each attribute, by its name, in the order of `keys`.

    Raises ValueError where two keys contradict each other.
    """
    rules: dict[bytes, KeyAttribute] = {}
    for key in keys:
        name = key.name.encode()
        other = rules.get(name, key)
        if other.type != key.type:
            raise ValueError(f"the key attribute {key.name!r} can't be both {other.type} and {key.type}")
        rules[name] = key._replace(limit=min(key.limit, other.limit), required=key.required or other.required)
    return rules


def hint_tree(hints: Mapping[str, HintType], rules: Mapping[bytes, KeyAttribute]) -> HintTree:
    """The hints for plain JSON; for key attributes, the key schema overrides the manifest."""
    tree = HintTree.of(hints)
    for name, rule in rules.items():
        tree.members.setdefault(name, HintTree()).kind = "B" if rule.type == "B" else None
    return tree
