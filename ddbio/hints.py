"""Which attributes plain JSON can't tell apart, and what they were.

Plain JSON has one string and one array where DynamoDB has S and B, and L, SS, NS and BS. While exporting, the codec
notes the types seen at each path; where a path held exactly one type throughout the job, the manifest says which, and
an import restores it. A path joins attribute names with `.`, writes a list's elements as `[]`, and escapes `.`, `[`,
`]` and `\\` in a name with a backslash: `photos[].data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

S, L, B, SS, NS, BS = 1, 2, 4, 8, 16, 32
LOSSY = B | SS | NS | BS
"""The types that plain JSON does not keep by itself."""
UNSURE = 64
"""Other types may have been seen there too."""
MAX_PATHS = 1_000

HintType = Literal["B", "SS", "NS", "BS"]
_NAMES: dict[int, HintType] = {B: "B", SS: "SS", NS: "NS", BS: "BS"}


@dataclass
class PathTypes:
    """The types seen at each path, for a whole job; at most `MAX_PATHS` paths.

    What is merged may have been cut off at `MAX_PATHS` itself. From then on nobody can say that a path which it does
    not name held no other type: such a path gets no hint.
    """

    masks: dict[str, int] = field(default_factory=dict)
    cut_off: bool = False
    """Whether there may be paths that are not in `masks`."""
    pages_cut_off: bool = False
    """Whether what was merged was cut off itself."""
    told_of_room: bool = False
    """Whether a path for which there is no room was returned as news."""

    def copy(self) -> PathTypes:
        """As they are now."""
        return replace(self, masks=dict(self.masks))

    def merge(self, seen: Mapping[str, int]) -> list[str]:
        """Add what a page or a worker saw; return the paths at which a lossy type is seen for the first time (of
        those for which there is no room, only the first).
        """
        news = [path for path, mask in seen.items() if mask & LOSSY and self._is_news(path)]
        for path, mask in seen.items():
            known = self.masks.get(path)
            if known is not None:
                self.masks[path] = known | mask
            elif len(self.masks) < MAX_PATHS:
                self.masks[path] = mask | UNSURE if self.pages_cut_off else mask
            else:
                self.cut_off = True
        if len(seen) >= MAX_PATHS:
            self.cut_off = self.pages_cut_off = True
            for path in self.masks.keys() - seen.keys():
                self.masks[path] |= UNSURE
        return news

    def hints(self) -> dict[str, HintType]:
        """The paths that held one lossy type and nothing that could be taken for it."""
        return {path: _NAMES[mask] for path, mask in sorted(self.masks.items()) if mask in _NAMES}

    def mixed(self) -> list[str]:
        """The paths whose lossy type can't be told from another that was, or may have been, seen there."""
        return sorted(path for path, mask in self.masks.items() if mask & LOSSY and mask not in _NAMES)

    def _is_news(self, path: str) -> bool:
        if path in self.masks:
            return not self.masks[path] & LOSSY
        if len(self.masks) < MAX_PATHS:
            return True
        told, self.told_of_room = self.told_of_room, True
        return not told
