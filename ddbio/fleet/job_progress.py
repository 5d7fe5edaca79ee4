"""The progress of a job: its totals now, its timeline, and the events that report them."""

from __future__ import annotations

from dataclasses import dataclass

from ddbio.clock import Clock
from ddbio.events import Observer, Progress
from ddbio.fleet.coordinator import Coordinator
from ddbio.fleet.timeline import Timeline
from ddbio.fleet.tuning import PROGRESS_SECONDS
from ddbio.ledger.ledger import Ledger
from ddbio.report import Moment


@dataclass
class JobProgress:
    """Reports to the observer how far the job is, including what earlier runs of it have done."""

    coordinator: Coordinator
    ledger: Ledger
    clock: Clock
    observer: Observer

    def __post_init__(self) -> None:
        self._started = self._reported_at = self.clock.now()
        self._before = self.ledger.written, self.ledger.bytes, self.ledger.used
        self._timeline = Timeline()

    def totals(self) -> Moment:
        """What this run has done so far."""
        usages = self.coordinator.usages
        return Moment(
            seconds=self.clock.now() - self._started,
            budget=self.coordinator.budget.rate,
            units=sum(usage.capacity_units for usage in usages),
            items=sum(usage.items for usage in usages),
            bytes=sum(usage.bytes for usage in usages),
            throttles=sum(usage.throttles for usage in usages),
            splits=self.coordinator.leases.held,
        )

    def timeline(self) -> tuple[Moment, ...]:
        """The course of this run so far."""
        return self._timeline.rows(self.totals())

    def update(self, totals: Moment) -> None:
        """Add the totals to the timeline, and report them where the last report is old enough."""
        self._timeline.add(totals)
        if self.clock.now() - self._reported_at >= PROGRESS_SECONDS or self.coordinator.leases.done:
            self.report(totals)

    def report(self, totals: Moment) -> None:
        """Report these totals."""
        now = self._reported_at = self.clock.now()
        items, size, used = self._before
        self.observer(
            Progress(
                seconds=totals.seconds,
                items=items + totals.items,
                bytes=size + totals.bytes,
                units=used.capacity_units + totals.units,
                throttles=used.throttles + totals.throttles,
                budget=totals.budget,
                reason=self.coordinator.budget.told(now),
                rejected=self.ledger.rejected,
                splits_done=self.coordinator.leases.splits_done,
            )
        )
