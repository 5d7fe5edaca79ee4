"""Shares of the budget: how much each worker may spend. Pure state; the time is passed in."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass, field

from ddbio.capacity import Budget
from ddbio.capacity.fair_sharing import share
from ddbio.capacity.item_collections import first_share
from ddbio.fleet.protocol import Report
from ddbio.fleet.tuning import ALL_USED, LEAST_SHARE, MEASURED_SECONDS, SMOOTHING, SPARE, SURE, WAITED
from ddbio.pipeline.meter import Usage

TINY = 1e-6
"""Replaces 0 as a divisor."""


@dataclass(slots=True)
class _Share:
    """What the worker in one slot may spend, and what it could use. Rates are in capacity units per second."""

    granted: float
    kept: float = 0.0
    """The rate that the worker has confirmed."""
    spending: float | None = None
    """What it uses, smoothed; None if it has no work, or is not measured yet."""
    demand: float = math.inf
    """What it is known to use, and a little more."""
    potential: float = math.inf
    """What it would use if none of its requests waited for capacity."""
    hungry: bool = True
    """It would use more than it has."""
    measured: Usage = field(default_factory=Usage)
    measured_at: float = 0.0
    collections: int = 0
    """Segments that are inside a large item collection."""

    @property
    def bound(self) -> float:
        """The most that the worker may be spending now: a lower rate counts once the worker has confirmed it."""
        return max(self.granted, self.kept)


class Shares:
    """Divides the budget among the workers by what they use, so that the shares never exceed it in total.

    `working` are the slots whose workers hold a split.
    """

    def __init__(self, budget: Budget, slots: int) -> None:
        self._budget = budget
        self._shares = [_Share(granted=budget.rate / slots) for _ in range(slots)]

    def learn(self, report: Report, now: float, working: Set[int]) -> None:
        """Learn from a Report what its worker has used, how long it waited, and so what it could use."""
        one = self._shares[report.worker]
        one.kept = report.rate
        one.collections = report.collections
        elapsed = now - one.measured_at
        if report.worker not in working:
            one.spending, one.hungry = None, True
            one.demand = one.potential = math.inf  # of the splits that come next
        elif elapsed >= MEASURED_SECONDS:
            self._measure(one, report, elapsed)
        else:
            return
        one.measured = report.usage
        one.measured_at = now

    def hungry(self, working: Set[int]) -> bool:
        """Whether a worker would use more than it has."""
        return any(self._shares[number].hungry for number in working)

    def grant(self, number: int, working: Set[int]) -> float:
        """Set the rate of the worker in this slot: its share, as far as the others have confirmed lower rates."""
        target = self._targets(working)[number]
        one = self._shares[number]
        taken = sum(other.bound for other in self._shares if other is not one)
        # Keeping what it has, or less, is always possible, even while others do not keep to a smaller budget yet.
        one.granted = min(target, max(self._budget.rate - taken, one.granted, 0.0))
        return one.granted

    def free(self, number: int) -> None:
        """The worker in this slot is gone."""
        self._shares[number] = _Share(granted=0.0)

    def _measure(self, one: _Share, report: Report, elapsed: float) -> None:
        """The requests that did not wait account for what was used; without waiting, all would: the potential."""
        usage, before = report.usage, one.measured
        used = max(usage.used_up - before.used_up, 0.0) / elapsed  # units may be given back after the measurement
        one.spending = used if one.spending is None else one.spending + SMOOTHING * (used - one.spending)
        one.demand = one.spending * (1 + SPARE) + self._budget.rate * LEAST_SHARE / len(self._shares)
        waiting = (usage.queued - before.queued) / elapsed / max(report.at_once, 1)
        one.potential = one.spending / max(1 - waiting, TINY)
        waits = usage.waited - before.waited >= WAITED * elapsed
        one.hungry = waits or used >= ALL_USED * one.granted

    def _targets(self, working: Set[int]) -> list[float]:
        """What each worker is to have: what it is known to use, or part of its potential if that is more.

        That part is the ratio of the budget to the sum of all potentials, but at least `SURE`.
        """
        part = max(SURE, self._budget.rate / max(sum(self._shares[number].potential for number in working), TINY))
        demands, first = [0.0] * len(self._shares), [0.0] * len(self._shares)
        for number in working:
            one = self._shares[number]
            demands[number] = max(one.demand, part * one.potential)
            first[number] = first_share(one.collections)
        return share(self._budget.rate, demands, first)
