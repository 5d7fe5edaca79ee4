"""The coordinator: answers each Report with a decision. Pure state; the time is passed in.

`report()` only decides: the desk makes the decision durable, and sends the Grant after that.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from ddbio.capacity import Budget
from ddbio.errors import DdbioError
from ddbio.fleet.failure import as_job_error, revive
from ddbio.fleet.leases import Leases
from ddbio.fleet.protocol import Grant, Report
from ddbio.fleet.tuning import DEFAULT, Tuning
from ddbio.fleet.worker_shares import Shares
from ddbio.ledger.entries import Commit, Split, SplitState
from ddbio.pipeline.meter import Usage


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a Report: the commits to make durable, in order, and the Grant to send after that."""

    commits: tuple[Commit, ...]
    grant: Grant


class Coordinator:
    """Joins the leases (see `Leases`) and the shares of the budget (see `Shares`) of a job with `workers` slots."""

    def __init__(
        self,
        splits: Sequence[Split],
        *,
        workers: int,
        budget: Budget,
        rng: random.Random,
        progress: Mapping[int, SplitState] | None = None,
        done: Container[int] = frozenset(),
        tuning: Tuning = DEFAULT,
    ) -> None:
        self.leases = Leases(
            splits, slots=workers, rng=rng, progress=progress or {}, done=done, max_deaths=tuning.max_deaths
        )
        self._shares = Shares(budget, workers)
        self._usages = [Usage()] * workers
        self._gone: list[Usage] = []
        """What workers that died have used."""
        self._answered: dict[int, tuple[int, Grant]] = {}
        """By slot: the number of its last Report, and the Grant that answered it."""
        self._aborting = False
        self.budget = budget
        """What the whole job may use."""
        self.failure: DdbioError | None = None

    @property
    def stopping(self) -> bool:
        """There is nothing more to do, or the job is to stop."""
        return self._aborting or self.leases.done

    @property
    def usages(self) -> list[Usage]:
        """What each worker has used so far, including those that died."""
        return self._gone + self._usages

    @property
    def throttles(self) -> Counter[str]:
        """Throttles so far, by reason."""
        found: Counter[str] = Counter()
        for usage in self.usages:
            found.update(usage.reasons)
        return found

    def abort(self, error: DdbioError | None = None) -> None:
        """Stop the job: from now on every Grant says so. The first error is kept."""
        self._aborting = True
        if self.failure is None and error is not None:
            self.failure = as_job_error(error)

    def begin_next_source(self) -> None:
        """Between sources, once every commit so far is durable: let the splits of the next source be leased.

        Nobody holds a lease then, so Reports that were answered without leases may be answered once more.
        """
        if self.leases.between_sources:
            self.leases.begin_next_source()
            self._answered.clear()

    def report(self, report: Report, now: float) -> Decision:
        """Decide what becomes durable and what the worker may do next."""
        number, grant = self._answered.get(report.worker, (None, None))
        if grant is not None and number == report.number:
            return Decision((), grant)
        self._usages[report.worker] = report.usage
        self._shares.learn(report, now, self.leases.working)
        self._observe(now)
        if report.failure is not None:
            self.abort(revive(report.failure))
        accepted = self.leases.accept(report.worker, report.commits)
        refused = self._aborting or report.stopped
        leases = () if refused else self.leases.lease(report.worker, report.wanted)
        grant = Grant(
            rate=self._shares.grant(report.worker, self.leases.working),
            leases=leases,
            acknowledged=len(report.commits),
            stop="abort" if self._aborting else "done" if self.leases.done else "",
        )
        self._answered[report.worker] = report.number, grant
        return Decision(accepted, grant)

    def lost(self, number: int) -> list[int]:
        """The worker in this slot has died: its share is free. Return the splits that it held, for `Leases.release`."""
        self._gone.append(self._usages[number])
        self._usages[number] = Usage()
        self._answered.pop(number, None)
        self._shares.free(number)
        return self.leases.lost(number)

    def _observe(self, now: float) -> None:
        """Let the budget learn from what all workers have met with."""
        usages = self.usages
        self.budget.observe(
            self.throttles,
            now,
            hungry=self._shares.hungry(self.leases.working),
            served=sum(usage.capacity_units for usage in usages),
            written=sum(usage.items for usage in usages),
            returned=sum(usage.returned for usage in usages),
        )
