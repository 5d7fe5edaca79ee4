"""Which attributes plain JSON can't tell apart, and what they were.

Plain JSON has one string and one array where DynamoDB has S and B, and L, SS, NS and BS. While exporting, the codec
notes the types seen at each path; where a path held exactly one type throughout the job, the manifest says which, and
an import restores it. A path joins attribute names with `.`, writes a list's elements as `[]`, and escapes `.`, `[`,
`]` and `\\` in a name with a backslash: `photos[].data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

S, L, B, SS, NS, BS = 1, 2, 4, 8, 16, 32
LOSSY = B | SS | NS | BS
"""The types that plain JSON does not keep by itself."""
MAX_PATHS = 1_000

HintType = Literal["B", "SS", "NS", "BS"]
_NAMES: dict[int, HintType] = {B: "B", SS: "SS", NS: "NS", BS: "BS"}


class PathTypes:
    """The types seen at each path, for a whole job; at most `MAX_PATHS` paths."""

    def __init__(self) -> None:
        self.masks: dict[str, int] = {}

    def merge(self, seen: Mapping[str, int]) -> list[str]:
        """Add what a page or a worker saw; return the paths whose lossy type is seen here for the first time,
        mixed with another, or not kept for want of room.
        """
        news = []
        for path, mask in seen.items():
            known = self.masks.get(path, 0)
            merged = known | mask
            if merged == known:
                continue
            if known or len(self.masks) < MAX_PATHS:
                self.masks[path] = merged
            if merged & LOSSY:
                news.append(path)
        return news

    def hints(self) -> dict[str, HintType]:
        """The paths that held one lossy type and nothing that could be taken for it."""
        return {path: _NAMES[mask] for path, mask in sorted(self.masks.items()) if mask in _NAMES}

    def mixed(self) -> list[str]:
        """The paths whose lossy type can't be told from another that was seen there."""
        return sorted(path for path, mask in self.masks.items() if mask & LOSSY and mask not in _NAMES)
