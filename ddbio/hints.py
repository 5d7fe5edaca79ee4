"""Type hints: the types of attributes that plain JSON does not distinguish.

Plain JSON has one string and one array where DynamoDB has S and B, and L, SS, NS and BS. During an export the codec
records the types seen at each path. If a path had exactly one type throughout the job, the manifest contains it, and
an import restores it. A path joins attribute names with `.`, writes a list's elements as `[]`, and escapes `.`, `[`,
`]` and `\\` in a name with a backslash: `photos[].data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

S, L, B, SS, NS, BS = 1, 2, 4, 8, 16, 32
LOSSY = B | SS | NS | BS
"""The types that plain JSON loses."""
UNSURE = 64
"""Other types may have been seen at the path too."""
MAX_PATHS = 1_000

HintType = Literal["B", "SS", "NS", "BS"]
_NAMES: dict[int, HintType] = {B: "B", SS: "SS", NS: "NS", BS: "BS"}


@dataclass
class PathTypes:
    """The types seen at each path during a whole job, for at most `MAX_PATHS` paths.

    After something that was itself truncated there has been merged, a path that it lacks gets no hint.
    """

    masks: dict[str, int] = field(default_factory=dict)
    cut_off: bool = False
    """Whether there may be paths that are not in `masks`."""
    pages_cut_off: bool = False
    """Whether something that was merged had been truncated."""
    room_reported: bool = False
    """Whether `merge` has returned a path that exceeds `MAX_PATHS`."""

    def copy(self) -> PathTypes:
        return replace(self, masks=dict(self.masks))

    def merge(self, seen: Mapping[str, int]) -> list[str]:
        """Add the types seen by a page or a worker; return the paths at which a lossy type is seen for the first time.

        Of the paths that exceed `MAX_PATHS`, only the first is returned.
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
        """Return the paths that had one lossy type and no type that looks the same in plain JSON."""
        return {path: _NAMES[mask] for path, mask in sorted(self.masks.items()) if mask in _NAMES}

    def mixed(self) -> list[str]:
        """Return the paths with a lossy type and another type that was, or may have been, seen too."""
        return sorted(path for path, mask in self.masks.items() if mask & LOSSY and mask not in _NAMES)

    def _is_news(self, path: str) -> bool:
        if path in self.masks:
            return not self.masks[path] & LOSSY
        if len(self.masks) < MAX_PATHS:
            return True
        told, self.room_reported = self.room_reported, True
        return not told
