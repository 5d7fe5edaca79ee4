"""What the proxy saw: what the upstream really did, what clients were really told, and whether that was too much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from tests.kit.servers.account import Account, Kind


class PageId(NamedTuple):
    """One page of a scan; `start` is the start key as sorted JSON, empty at the beginning of the segment."""

    table: str
    segment: int
    segments: int
    start: str

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> PageId:
        """The page that a Scan asks for."""
        start = payload.get("ExclusiveStartKey")
        return cls(
            payload["TableName"],
            payload.get("Segment", 0),
            payload.get("TotalSegments", 1),
            "" if start is None else msgspec.json.encode(start, order="sorted").decode(),
        )


class Served(NamedTuple):
    """How many pages were served, and how many puts acknowledged."""

    pages: int
    puts: int


@dataclass(frozen=True)
class Work:
    """What the upstream did for one request: a page read, or puts (each as `put_id` names it) taken."""

    kind: Kind
    units: float
    items: int
    page: PageId | None = None
    puts: tuple[bytes, ...] = ()


class FaultAccount:
    """Counts of one proxy: `done` by the upstream, and of that what was `told` to a client in a whole reply.

    `pages` and `puts` tell how often each was told, `faults` how often each kind was injected, `throttled` how often
    each reason for want of capacity was given (a put sent back as unprocessed has one too).
    """

    def __init__(self) -> None:
        self.done = Account()
        self.told = Account()
        self.pages: Counter[PageId] = Counter()
        self.puts: Counter[bytes] = Counter()
        self.operations: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()
        self.upstream_errors = 0

    def note(self, work: Work, *, told: bool) -> None:
        """The upstream did this; `told` where the client is to get the whole reply."""
        self.done.record(work.kind, work.units, work.items)
        if not told:
            return
        self.told.record(work.kind, work.units, work.items)
        if work.page is not None:
            self.pages[work.page] += 1
        self.puts.update(work.puts)

    @property
    def served(self) -> Served:
        """What was told, in all."""
        return Served(self.told.totals("read").requests, self.told.totals("write").items)

    def busiest(self, seconds: float) -> Served:
        """The most that was told in any window of `seconds`: what one commit interval may hold."""
        return Served(self.told.max_requests("read", seconds), self.told.max_items("write", seconds))

    def judge(self, undisturbed: Served, kills: int, per_commit: Served) -> list[str]:
        """What a run that was killed `kills` times did too much of, one sentence each; nothing where all is well.

        It may repeat what one commit interval holds for each kill, and no page more than once for each kill.
        """
        violations = []
        for name, have, plain, extra in zip(Served._fields, self.served, undisturbed, per_commit, strict=True):
            bound = plain + kills * extra
            if have > bound:
                violations.append(f"{have} {name} served, at most {bound} allowed after {kills} kills")
        violations += [
            f"segment {page.segment} of {page.segments} of {page.table}: the page after {page.start or 'the start'} "
            f"was served {times} times, at most {1 + kills} allowed after {kills} kills"
            for page, times in self.pages.items()
            if times > 1 + kills
        ]
        return violations

    def summary(self, windows: Iterable[float] = (1.0, 5.0), *, pages: bool = False) -> dict[str, Any]:
        """Everything as JSON values. `times` tells how many pages and puts were told once, twice and so on."""
        lengths = list(windows)
        told: dict[str, Any] = {
            "served": self.served._asdict(),
            "times": {"pages": _distribution(self.pages), "puts": _distribution(self.puts)},
            "operations": dict(self.operations),
            "faults": dict(self.faults),
            "throttled": dict(self.throttled),
            "upstream_errors": self.upstream_errors,
            "done": self.done.summary(lengths),
            "told": self.told.summary(lengths),
        }
        if pages:
            told["pages"] = [{**page._asdict(), "times": times} for page, times in self.pages.items()]
        return told


def put_id(write: object) -> bytes:
    """A short name for a put of exactly this item."""
    return blake2b(msgspec.json.encode(write, order="sorted"), digest_size=8).digest()


def _distribution(counts: Counter[Any]) -> dict[str, int]:
    return {str(times): number for times, number in sorted(Counter(counts.values()).items())}
