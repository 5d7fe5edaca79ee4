"""Leases: which worker holds which split, and which commits are accepted. Pure state."""

from __future__ import annotations

import math
import random
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Container, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from operator import attrgetter

from ddbio.errors import LedgerError
from ddbio.fleet.protocol import lanes_for
from ddbio.ledger.entries import Commit, Lease, Split, SplitState

NEW = SplitState()


@dataclass(slots=True)
class _Begun:
    """A split that was begun: who holds it, and how far its commits have come."""

    known: SplitState = NEW
    """Where its next lease begins."""
    done: bool = False
    epoch: int = 0
    holder: int | None = None
    seq: int = 0
    deaths: int = 0
    """Workers that died while they held it."""


@dataclass(slots=True)
class _Slot:
    """What the worker in one slot of the fleet holds."""

    holding: int = 0
    ended: set[int] = field(default_factory=set)
    """Splits that are done, as long as the worker may send their commits again."""
    deaths: int = 0
    """Workers in this slot that died without holding a split."""


class Leases:
    """Leases splits to workers, and accepts each of their commits exactly once.

    Splits are leased in a random order (`rng`), because neighbours are on the same partition of the table. A split's id
    is its index in `splits`, which are ordered by source. Splits in `done` are finished; `progress` tells how far those
    are that were begun. Each source but the first waits for `begin_next_source`: otherwise a run that resumes could
    write an old line over a newer one.

    The memory and the time for a Report depend on the splits that are begun: of the others, only the number is kept.
    """

    def __init__(
        self,
        splits: Sequence[Split],
        *,
        slots: int,
        rng: random.Random,
        progress: Mapping[int, SplitState],
        done: Container[int],
        max_deaths: int,
    ) -> None:
        self._splits = splits
        self._begun = {number: _Begun(known) for number, known in progress.items()}
        self._later = deque(_shuffled(splits, done, rng))
        """The splits of each source that is not begun."""
        self._waiting = array("I")
        """Splits that can be leased, the next one last: removing it there is cheap."""
        self._open = 0
        """Splits of the current source that are not done."""
        self._slots = [_Slot() for _ in range(slots)]
        self._max_deaths = max_deaths
        self.too_many_deaths = False
        """Too many workers have died with the same split or in the same slot: something about it kills them."""
        self.begin_next_source()

    @property
    def splits_done(self) -> int:
        return len(self._splits) - self._open - sum(map(len, self._later))

    @property
    def done(self) -> bool:
        return not self._open and not self._later

    @property
    def between_sources(self) -> bool:
        """All splits of a source are done, and the next source is not begun."""
        return not self._open and bool(self._later)

    @property
    def held(self) -> int:
        """How many splits are being worked on."""
        return sum(slot.holding for slot in self._slots)

    @property
    def working(self) -> Set[int]:
        """The slots whose workers hold a split."""
        return {number for number, slot in enumerate(self._slots) if slot.holding}

    def begin_next_source(self) -> None:
        """Release the splits of the next source, if there is one."""
        if self._later:
            self._waiting = self._later.popleft()
            self._open = len(self._waiting)

    def lease(self, number: int, wanted: int) -> tuple[Lease, ...]:
        """Lease splits for about `wanted` lanes to the worker in this slot."""
        slot = self._slots[number]
        leases: list[Lease] = []
        lanes = 0.0
        idle = sum(not other.holding for other in self._slots if other is not slot)
        most = math.ceil(len(self._waiting) / (idle + 1))  # the rest is for the workers that have none
        while lanes < wanted and len(leases) < most:
            chosen = self._waiting.pop()
            split, state = self._splits[chosen], self._begun.setdefault(chosen, _Begun())
            state.epoch += 1
            state.holder = number
            state.seq = 0
            leases.append(Lease(split, state.epoch, state.known.position, state.known.number))
            lanes += lanes_for(split)
        slot.holding += len(leases)
        return tuple(leases)

    def accept(self, number: int, commits: Sequence[Commit]) -> tuple[Commit, ...]:
        """Return the new commits among all those that a worker has reported, in order.

        Raises LedgerError where one is missing. A split that is done is forgotten once its commits are not sent again.
        """
        accepted = tuple(commit for commit in commits if self._accept(number, commit))
        self._forget(self._slots[number], keep={commit.split for commit in commits})
        return accepted

    def lost(self, number: int) -> list[int]:
        """The worker in this slot has died. Return the splits that it held, which `release` returns to the queue."""
        slot = self._slots[number]
        self._forget(slot)
        deaths = slot.deaths + (not slot.holding)
        self._slots[number] = _Slot(deaths=deaths)
        held = {split: state for split, state in self._begun.items() if state.holder == number}
        for state in held.values():
            state.holder = None
            state.epoch += 1
            state.deaths += 1
        self.too_many_deaths |= max([deaths, *(state.deaths for state in held.values())]) >= self._max_deaths
        return list(held)

    def release(self, progress: Mapping[int, SplitState]) -> None:
        """Let these splits, which a lost worker held, be leased again; `progress` tells how far they are."""
        for number, known in progress.items():
            if known.done:
                self._open -= 1
                del self._begun[number]
            else:
                self._begun[number].known = known
        self._waiting[:0] = array("I", [number for number, known in progress.items() if not known.done])

    def _accept(self, number: int, commit: Commit) -> bool:
        """Whether the commit is new: not accepted before, and not of an older lease."""
        state = self._begun.get(commit.split)
        if state is None or commit.epoch != state.epoch or state.holder != number or commit.seq <= state.seq:
            return False
        if commit.seq != state.seq + 1 or state.done:
            raise LedgerError(f"Split {commit.split}: commit {commit.seq} came after {state.seq}; one is missing.")
        state.seq = commit.seq
        if commit.done:
            state.done = True
            self._open -= 1
            self._slots[number].holding -= 1
            self._slots[number].ended.add(commit.split)
        return True

    def _forget(self, slot: _Slot, keep: Set[int] = frozenset()) -> None:
        for split in slot.ended - keep:
            del self._begun[split]
        slot.ended &= keep


def _shuffled(splits: Sequence[Split], done: Container[int], rng: random.Random) -> Iterator[array[int]]:
    """Yield the numbers of each source's splits that are not done, shuffled; nothing for a source without any."""
    begin = 0
    while begin < len(splits):
        end = bisect_right(splits, splits[begin].source, lo=begin, key=attrgetter("source"))
        numbers = array("I", (number for number in range(begin, end) if number not in done))
        rng.shuffle(numbers)
        numbers.reverse()  # `lease` takes the last one first
        if numbers:
            yield numbers
        begin = end
