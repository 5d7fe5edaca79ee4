"""Capacity as the service enforces it: token buckets for every table, and for every partition of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

PARTITION_READ = 3000.0
PARTITION_WRITE = 1000.0
FIRST_ESTIMATE = 0.5

ReadPermit = Callable[[float], None]
"""Takes the units that the page cost, 0 where none was served."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Units per second of every table (and index) and of each of its partitions.

    Unspent units are kept for `burst` seconds (the service keeps up to 300).
    """

    read: float
    write: float
    partitions: int = 1
    partition_read: float = PARTITION_READ
    partition_write: float = PARTITION_WRITE
    burst: float = 1.0


class TokenBucket:
    """Tokens at a rate, full at first."""

    def __init__(self, rate: float, size: float, now: Callable[[], float]) -> None:
        self._rate = rate
        self._size = size
        self._now = now
        self._at = now()
        self._tokens = size

    @property
    def tokens(self) -> float:
        """What there is; below zero in debt."""
        now = self._now()
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return self._tokens

    def holds(self, units: float) -> bool:
        """Whether `units` can be taken; for more than the bucket can hold, whether it is full."""
        return self.tokens >= min(units, self._size)

    def take(self, units: float) -> None:
        """Take them, into debt if need be; give back what is negative."""
        self._tokens = self.tokens - units


class Capacity:
    """The buckets of all tables. What is refused costs nothing.

    The price of a write is known beforehand. A read is admitted while there are tokens: it is charged the price of the
    last page, and corrected to its own price when it is settled, into debt if need be.
    """

    def __init__(self, limits: Limits, now: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._now = now
        self._buckets: dict[tuple[object, ...], TokenBucket] = {}
        self._last_page: dict[str, float] = {}

    def admit_write(self, table: str, partition_key: Any, units: float) -> str | None:
        """Spend the units of one put, or tell the reason why not. `partition_key` is a DynamoDB JSON value."""
        whole = self._bucket(self._limits.write, table, "write")
        part = self._bucket(self._limits.partition_write, table, "write", self._partition(partition_key))
        if reason := _reason("TableWrite", whole.holds(units), part.holds(units)):
            return reason
        whole.take(units)
        part.take(units)
        return None

    def admit_read(self, table: str, index: str | None, segment: int, segments: int) -> ReadPermit | str:
        """Let one page through, or tell the reason why not. A segment stands for the partition that it begins in."""
        name = table if index is None else f"{table}/{index}"
        whole = self._bucket(self._limits.read, name, "read")
        part = self._bucket(self._limits.partition_read, name, "read", segment * self._limits.partitions // segments)
        subject = "TableRead" if index is None else "IndexRead"
        if reason := _reason(subject, whole.tokens > 0, part.tokens > 0):
            return reason
        estimate = self._last_page.get(name, FIRST_ESTIMATE)
        whole.take(estimate)
        part.take(estimate)

        def settle(units: float) -> None:
            whole.take(units - estimate)
            part.take(units - estimate)
            if units:
                self._last_page[name] = units

        return settle

    def _bucket(self, rate: float, *name: object) -> TokenBucket:
        if name not in self._buckets:
            self._buckets[name] = TokenBucket(rate, rate * max(self._limits.burst, 1.0), self._now)
        return self._buckets[name]

    def _partition(self, key: Any) -> int:
        digest = blake2b(msgspec.json.encode(key), digest_size=8).digest()
        return int.from_bytes(digest) * self._limits.partitions >> 64


def _reason(subject: str, whole: bool, part: bool) -> str | None:
    if not whole:
        return f"{subject}ProvisionedThroughputExceeded"
    return None if part else f"{subject}KeyRangeThroughputExceeded"
