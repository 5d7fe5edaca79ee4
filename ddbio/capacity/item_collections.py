"""Large item collections: whoever reads one has the first call on the budget.

An item collection is all items with one partition key. Scan divides a table into segments by the hash of the partition
key (Developer Guide, "Scanning tables in DynamoDB"), so a large collection is in one segment, no other segment can take
over any of it, and a partition of the table serves no more than `PARTITION_READ`. Every moment in which such a segment
waits for the capacity that others use therefore makes the whole job longer.

So the process that reads such segments gets a larger share of the budget (`first_share`), and within the process the
pages of these segments go before all others (`CollectionTurns`, and `due` in the governor).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import msgspec

from ddbio.capacity.governor import Permit

PARTITION_READ = 3_000.0
"""Read units per second that one partition of a table serves (Developer Guide, "Burst and adaptive capacity")."""
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def first_share(collections: int) -> float:
    """Return the units a second that a process gets before others while it reads this many large collections."""
    return collections * PARTITION_READ


class LargeCollections:
    """Counts the segments of one process that are inside a large item collection now."""

    def __init__(self) -> None:
        self.count = 0

    def exhaust(self, rate: float) -> bool:
        """Whether there are several that can use this rate at any time: then it does not matter which goes first."""
        return self.count > 1 and first_share(self.count) >= rate


class CollectionTurns:
    """Tells when the next page of one segment is due; used as a context around the reading of the segment.

    `partition_key` names the key's attributes; without any, no page is ever due. `large` is shared by all segments of
    the process.
    """

    def __init__(self, partition_key: Sequence[str], large: LargeCollections) -> None:
        self._names = partition_key
        self._large = large
        self._last: list[msgspec.Raw | None] = []
        self._due: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._set(None)

    def due(self, rate: float) -> float | None:
        """Return the instant at which the partition can serve the next page, at this rate of the process.

        None if the last page was not wholly inside a collection, or if large collections use up the rate anyway.
        """
        return None if self._large.exhaust(rate) else self._due

    def passed(self, last_key: bytes, permit: Permit) -> None:
        """A page was read with this permit, and more pages follow this key (JSON)."""
        if not self._names:
            return
        key = _members(last_key)
        last = [key.get(name) for name in self._names]
        inside, self._last = last == self._last, last
        if inside:
            pause = permit.units / PARTITION_READ
            # If the page was late because others had their turn, the next one may be earlier by up to one pause.
            self._set(max(self._due or permit.since, permit.since - pause) + pause)
        else:
            self._set(None)

    def _set(self, due: float | None) -> None:
        self._large.count += (due is not None) - (self._due is not None)
        self._due = due
