"""The coordinator: who works on what, at what rate, and which commits count. Pure state; the time is handed in.

`report()` decides and returns; its carrier makes the decision durable and only then sends the Grant.
"""

from __future__ import annotations

import math
import random
from array import array
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Container, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from operator import attrgetter

from ddbio.capacity import Budget
from ddbio.capacity.shares import PARTITION_READ, share
from ddbio.errors import LedgerError
from ddbio.fleet.protocol import Failure, Grant, Report, lanes_for
from ddbio.ledger.entries import Commit, Lease, Split, SplitState
from ddbio.pipeline.meter import Usage

MEASURED_SECONDS = 0.45
"""What a worker could use is judged over so long a time: workers report about twice a second."""
WAITED = 0.9
ALL_USED = 0.97
"""Where requests waited for this part of the time, or used this part of what they had, they would use more."""
MAX_DEATHS = 3
"""So many workers may die while they hold a split; then something about it is deadly."""
SPARE = 0.02
"""A worker is left so much more than it uses, so that it can be seen to use that too."""
LEAST_SHARE = 0.01
"""Of an equal share: what a worker with work is left on top of that."""
SURE = 1 / 3
"""Of what a worker would use if nothing ever waited: so much it uses without gaps, however uneven its replies are. One
lane at a time with replies at random (exponential) uses 98% of that; several lanes use more.
"""
NEW = SplitState()
TINY = 1e-6
"""Stands for 0 where that would divide."""
SMOOTHING = 0.25
"""The weight of the newest measurement in what a worker uses."""


@dataclass(slots=True)
class _Begun:
    """Who holds a split, and how far its commits have come."""

    known: SplitState = NEW
    """What its next lease begins with."""
    done: bool = False
    epoch: int = 0
    holder: int | None = None
    seq: int = 0
    deaths: int = 0


@dataclass(slots=True)
class _WorkerState:
    """What a worker may spend, and what it says that it spends."""

    granted: float
    using: float = 0.0
    spending: float | None = None
    """Units a second that it uses of its share, smoothed; None where it has no work, or is not measured yet."""
    demand: float = math.inf
    """What it is known to use, and a little more."""
    potential: float = math.inf
    """What it would use if none of its requests waited for capacity."""
    hungry: bool = True
    """It would use more than it has."""
    usage: Usage = field(default_factory=Usage)
    measured: Usage = field(default_factory=Usage)
    measured_at: float = 0.0
    collections: int = 0
    """Segments that are inside a large item collection."""
    holding: int = 0
    ended: set[int] = field(default_factory=set)
    """Units that are done, as long as it repeats commits of them."""
    answered: tuple[int, Grant] | None = None
    """The last Report's number, and its Grant."""
    deaths: int = 0
    """Workers in this place that ended without holding a split, one after the other."""

    @property
    def bound(self) -> float:
        """The most that it may be spending now: a lowered rate counts once the worker says that it keeps to it."""
        return max(self.granted, self.using)


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a Report: the commits to make durable, in order, and the Grant to send after that."""

    commits: tuple[Commit, ...]
    grant: Grant


class Coordinator:
    """Hands out splits and shares of the budget, and accepts each commit exactly once.

    `splits` are leased in a random order (`rng`): neighbours sit on the same partition of the table. A split's id is
    its place among them, and they are in the order of their sources. `done` are those of which nothing is left to do,
    `progress` says how far others are already. Those of a later source are leased once all of the earlier ones are done
    and durable: else a run that resumes could write an old line over a newer one.

    Memory and time for a Report go by the splits that are begun, not by how many there are: of one that is not, only
    its number is kept.
    """

    def __init__(
        self,
        splits: Sequence[Split],
        *,
        workers: int,
        budget: Budget,
        rng: random.Random,
        progress: Mapping[int, SplitState] | None = None,
        done: Container[int] = frozenset(),
    ) -> None:
        self._splits = splits
        self._begun = {number: _Begun(known) for number, known in (progress or {}).items()}
        self._later = deque(_waiting(splits, done, rng))
        """Units of the sources that are not begun."""
        self._waiting = array("I")
        """The one to be leased next is the last: to take it away costs nothing."""
        self._open = 0
        """Units of the sources that were begun which are not done."""
        self._begin()
        self._budget = budget
        self._workers = {number: _WorkerState(granted=budget.rate / workers) for number in range(workers)}
        self._gone: list[Usage] = []
        self._aborting = False
        self.failure: Failure | None = None
        self.too_deadly = False
        """A split, or a worker's place, has lost `MAX_DEATHS` workers."""

    @property
    def splits_done(self) -> int:
        """How many splits are done."""
        return len(self._splits) - self._open - sum(map(len, self._later))

    @property
    def done(self) -> bool:
        """Every split is done."""
        return not self._open and not self._later

    @property
    def between_sources(self) -> bool:
        """All splits of a source are done, and the next one is not begun."""
        return not self._open and bool(self._later)

    @property
    def stopping(self) -> bool:
        """There is nothing more to do, or the job is to stop."""
        return self._aborting or self.done

    @property
    def usages(self) -> list[Usage]:
        """What each worker has used so far, those that are gone included."""
        return self._gone + [worker.usage for worker in self._workers.values()]

    @property
    def throttles(self) -> Counter[str]:
        """Throttles so far, by reason."""
        found: Counter[str] = Counter()
        for usage in self.usages:
            found.update(usage.reasons)
        return found

    @property
    def lanes(self) -> int:
        """How many splits are being worked on."""
        return sum(worker.holding for worker in self._workers.values())

    @property
    def budget(self) -> Budget:
        """What the whole job may use."""
        return self._budget

    def abort(self, failure: Failure | None = None) -> None:
        """Stop the job: from now on every Grant says so. The first failure is kept."""
        self._aborting = True
        self.failure = self.failure or failure

    def begin_next_source(self) -> None:
        """Every commit so far is durable: between sources, the splits of the next one can be leased.

        Nobody holds a lease then, so a Report that was answered with none may be taken in once more.
        """
        if self.between_sources:
            self._begin()
            for worker in self._workers.values():
                worker.answered = None

    def report(self, report: Report, now: float) -> Decision:
        """Take a worker's Report in, and decide what becomes durable and what the worker may do next."""
        worker = self._workers[report.worker]
        if worker.answered is not None and worker.answered[0] == report.number:
            return Decision((), worker.answered[1])
        self._account(worker, report, now)
        self._observe(now)
        if report.failure is not None:
            self.abort(report.failure)
        accepted = tuple(commit for commit in report.commits if self._accept(report.worker, commit))
        self._forget(worker.ended - {commit.split for commit in report.commits}, worker)
        leases = () if self._aborting or report.stopped else self._lease(report.worker, report.wanted)
        grant = Grant(
            rate=self._set_rate(report.worker),
            leases=leases,
            acknowledged=len(report.commits),
            stop="abort" if self._aborting else "done" if self.done else "",
        )
        worker.answered = report.number, grant
        return Decision(accepted, grant)

    def lost(self, number: int) -> list[int]:
        """A worker is gone: its share is free again. Returns the splits that it held, which `release` gives back."""
        worker = self._workers[number]
        usage, deaths = worker.usage, worker.deaths + (not worker.holding)
        self._forget(frozenset(worker.ended), worker)
        self._gone.append(usage)
        self._workers[number] = _WorkerState(granted=0.0, deaths=deaths)
        held = {split: state for split, state in self._begun.items() if state.holder == number}
        for state in held.values():
            state.holder = None
            state.epoch += 1
            state.deaths += 1
        self.too_deadly |= max([deaths, *(state.deaths for state in held.values())]) >= MAX_DEATHS
        return list(held)

    def release(self, progress: Mapping[int, SplitState]) -> None:
        """These splits, which a lost worker held, can be leased again; `progress` says how far they are."""
        for number, known in progress.items():
            if known.done:
                self._open -= 1
                del self._begun[number]
            else:
                self._begun[number].known = known
        self._waiting[:0] = array("I", [number for number, known in progress.items() if not known.done])

    def _begin(self) -> None:
        """Let the splits of the next source out, if there is one."""
        if self._later:
            self._waiting = self._later.popleft()
            self._open = len(self._waiting)

    def _accept(self, number: int, commit: Commit) -> bool:
        """Whether the commit is new; one that was seen already, or comes from an older lease, is not."""
        state = self._begun.get(commit.split)
        if state is None or commit.epoch != state.epoch or state.holder != number or commit.seq <= state.seq:
            return False
        if commit.seq != state.seq + 1 or state.done:
            raise LedgerError(f"Split {commit.split}: commit {commit.seq} came after {state.seq}; one is missing.")
        state.seq = commit.seq
        if commit.done:
            state.done = True
            self._open -= 1
            self._workers[number].holding -= 1
            self._workers[number].ended.add(commit.split)
        return True

    def _forget(self, splits: Set[int], worker: _WorkerState) -> None:
        """These are done, and no commit of them can come any more."""
        worker.ended -= splits
        for number in splits:
            del self._begun[number]

    def _lease(self, number: int, wanted: int) -> tuple[Lease, ...]:
        leases: list[Lease] = []
        without = sum(not worker.holding for other, worker in self._workers.items() if other != number)
        most = math.ceil(len(self._waiting) / (without + 1))  # the rest is for those who have none
        lanes = 0.0
        while lanes < wanted and len(leases) < most:
            chosen = self._waiting.pop()
            split, state = self._splits[chosen], self._begun.setdefault(chosen, _Begun())
            state.epoch += 1
            state.holder = number
            state.seq = 0
            leases.append(Lease(split, state.epoch, state.known.position, state.known.number))
            lanes += lanes_for(split)
        self._workers[number].holding += len(leases)
        return tuple(leases)

    def _account(self, worker: _WorkerState, report: Report, now: float) -> None:
        """Learn what the worker has spent and for how long it waited, and so what it could use."""
        worker.using = report.rate
        worker.usage = report.usage
        worker.collections = report.collections
        elapsed = now - worker.measured_at
        if not worker.holding:
            worker.spending, worker.hungry = None, True
            worker.demand = worker.potential = math.inf  # of the splits that come next
        elif elapsed >= MEASURED_SECONDS:
            self._measure(worker, report, elapsed)
        else:
            return
        worker.measured = report.usage
        worker.measured_at = now

    def _measure(self, worker: _WorkerState, report: Report, elapsed: float) -> None:
        """Of the requests that there can be at once, those that don't wait make what is used: all of them would make
        the potential.
        """
        usage, before = report.usage, worker.measured
        used = max(usage.used_up - before.used_up, 0.0) / elapsed  # what is given back may be of the time before
        worker.spending = used if worker.spending is None else worker.spending + SMOOTHING * (used - worker.spending)
        worker.demand = worker.spending * (1 + SPARE) + self._floor()
        waiting = (usage.queued - before.queued) / elapsed / max(report.at_once, 1)
        worker.potential = worker.spending / max(1 - waiting, TINY)
        waits = usage.waited - before.waited >= WAITED * elapsed
        worker.hungry = waits or used >= ALL_USED * worker.granted

    def _floor(self) -> float:
        """The least that a worker with work is left."""
        return self._budget.rate * LEAST_SHARE / len(self._workers)

    def _observe(self, now: float) -> None:
        """Let the budget learn from what all workers have met with."""
        usages = self.usages
        self._budget.observe(
            self.throttles,
            now,
            hungry=any(worker.holding and worker.hungry for worker in self._workers.values()),
            served=sum(usage.capacity_units for usage in usages),
            written=sum(usage.items for usage in usages),
            returned=sum(usage.returned for usage in usages),
        )

    def _demands(self) -> list[float]:
        """What each worker is to have, if the budget suffices: what it is known to use, and of its potential the part
        that the budget is of all potentials, but `SURE` at least.
        """
        working = [worker for worker in self._workers.values() if worker.holding]
        part = max(SURE, self._budget.rate / max(sum(worker.potential for worker in working), TINY))
        return [
            max(worker.demand, part * worker.potential) if worker.holding else 0.0 for worker in self._workers.values()
        ]

    def _first(self) -> list[float]:
        """What each worker is to have before all others: what a partition bears, for each large item collection."""
        return [worker.collections * PARTITION_READ if worker.holding else 0.0 for worker in self._workers.values()]

    def _set_rate(self, number: int) -> float:
        """The worker's share, as far as the others have really given up theirs."""
        target = share(self._budget.rate, self._demands(), self._first())[number]
        taken = sum(worker.bound for index, worker in self._workers.items() if index != number)
        worker = self._workers[number]
        # Less than before is always possible, even where a smaller budget is not yet kept by all.
        free = max(self._budget.rate - taken, worker.granted, 0.0)
        worker.granted = min(target, free)
        return worker.granted


def _waiting(splits: Sequence[Split], done: Container[int], rng: random.Random) -> Iterator[array[int]]:
    """The numbers of the splits of each source that are not done, shuffled; no source without any."""
    begin = 0
    while begin < len(splits):
        end = bisect_right(splits, splits[begin].source, lo=begin, key=attrgetter("source"))
        numbers = array("I", (number for number in range(begin, end) if number not in done))
        rng.shuffle(numbers)
        numbers.reverse()  # so that a seed gives the order that it gives to a list
        if numbers:
            yield numbers
        begin = end
