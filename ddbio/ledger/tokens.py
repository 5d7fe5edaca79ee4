"""Resume tokens in the journal: a commit tells only those parts of its file that no earlier one has told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Token = dict[str, Any]


def since(token: Mapping[str, Any], told: int) -> Token:
    """`token` without its first `told` parts, for `join`; as it is where it has no parts."""
    if "parts" not in token:
        return dict(token)
    return {**token, "after": told, "parts": token["parts"][told:]}


def join(known: Token | None, token: Token | None) -> Token | None:
    """The whole token, where `known` is that of the same file until now. Joined twice, it stays the same."""
    if token is None or "after" not in token:
        return token
    before = (known or {}).get("parts", [])[: token["after"]]
    return {**{name: value for name, value in token.items() if name != "after"}, "parts": [*before, *token["parts"]]}
