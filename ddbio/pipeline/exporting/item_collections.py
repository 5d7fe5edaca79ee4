"""Item collections: all items with one partition key, however many they are.

Segments split a table by the hash of the partition key (Developer Guide, "Scanning tables in DynamoDB"), so one that is
much larger than the others holds a large collection. No other segment can take any of it over: what it waits for its
turn behind others, the whole job takes longer.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ddbio.capacity import Permit
from ddbio.capacity.shares import PARTITION_READ
from ddbio.pipeline.requests import Requester

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class CollectionTurns:
    """When the next page of one segment is due. A context manager around the reading of the segment.

    `partition_key` names its attributes; with none, no page is due.
    """

    def __init__(self, partition_key: Sequence[str], requester: Requester) -> None:
        self._names = partition_key
        self._requester = requester
        self._last: list[msgspec.Raw | None] = []
        self._due: float | None = None

    def __enter__(self) -> CollectionTurns:
        return self

    def __exit__(self, *exc: object) -> None:
        self._set(None)

    @property
    def due(self) -> float | None:
        """Where a page lay wholly inside a collection, the instant at which the collection's partition bears the next.

        None otherwise, and where there are so many large collections that they can use all the budget at any time: then
        none of them is what the others will have to wait for.
        """
        count = self._requester.meter.collections
        enough = count > 1 and count * PARTITION_READ >= self._requester.rate
        return None if enough else self._due

    def passed(self, last_key: bytes, permit: Permit) -> None:
        """A page was had with this permit, and more follow this key (JSON)."""
        if not self._names:
            return
        key = _members(last_key)
        last = [key.get(name) for name in self._names]
        inside, self._last = last == self._last, last
        if inside:
            pause = permit.units / PARTITION_READ
            # One that came late, as another had its turn, may come earlier the next time.
            self._set(max(self._due or permit.since, permit.since - pause) + pause)
        else:
            self._set(None)

    def _set(self, due: float | None) -> None:
        self._requester.meter.collections += (due is not None) - (self._due is not None)
        self._due = due
