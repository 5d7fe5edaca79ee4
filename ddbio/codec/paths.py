"""Attribute paths (see `ddbio.hints`): writing and parsing; shared by both implementations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ddbio.hints import HintType


def child_path(parent: str | None, name: bytes) -> str:
    """The path of the member with this decoded name; `parent` is None for a top-level attribute."""
    step = name.decode().replace("\\", r"\\").replace(".", r"\.").replace("[", r"\[").replace("]", r"\]")
    return step if parent is None else f"{parent}.{step}"


class HintTree:
    """The hints at and below one path; a pass descends through it as it descends into a value."""

    __slots__ = ("elements", "kind", "members")

    def __init__(self) -> None:
        self.kind: HintType | None = None
        self.members: dict[bytes, HintTree] = {}
        self.elements: HintTree | None = None

    @classmethod
    def of(cls, hints: Mapping[str, HintType]) -> HintTree:
        """The tree of all hints; its members are the top-level attributes. Raises ValueError for a malformed path."""
        root = cls()
        for path, kind in hints.items():
            node = root
            for name, lists in _steps(path):
                node = node.members.setdefault(name.encode(), HintTree())
                for _ in range(lists):
                    node.elements = node.elements or HintTree()
                    node = node.elements
            node.kind = kind
        return root


def _steps(path: str) -> Iterator[tuple[str, int]]:
    """The names along a path, each with the number of `[]` that follow it."""
    name, lists = "", 0
    chars = iter(path)
    for char in chars:
        if char == ".":
            yield name, lists
            name, lists = "", 0
        elif char == "[" and next(chars, "") == "]":
            lists += 1
        elif char in "[]" or lists:
            raise ValueError(f"not an attribute path: {path!r}")
        else:
            name += next(chars, "") if char == "\\" else char
    yield name, lists
