"""The progress of a job: its totals now, its timeline, and the events that report them."""

from __future__ import annotations

from ddbio.clock import Clock
from ddbio.events import Observer, Progress
from ddbio.fleet.coordinator import Coordinator
from ddbio.fleet.timeline import Timeline
from ddbio.fleet.tuning import PROGRESS_SECONDS
from ddbio.ledger.ledger import Ledger
from ddbio.report import Moment


class JobProgress:
    """Reports to the observer how far the job is, including what earlier runs of it have done."""

    def __init__(self, coordinator: Coordinator, ledger: Ledger, clock: Clock, observer: Observer) -> None:
        self._coordinator = coordinator
        self._ledger = ledger
        self._clock = clock
        self._observer = observer
        self._started = self._reported_at = clock.now()
        self._before = ledger.written, ledger.bytes, ledger.used
        self._timeline = Timeline()

    def totals(self) -> Moment:
        """What this run has done so far."""
        usages = self._coordinator.usages
        return Moment(
            seconds=self._clock.now() - self._started,
            budget=self._coordinator.budget.rate,
            units=sum(usage.capacity_units for usage in usages),
            items=sum(usage.items for usage in usages),
            bytes=sum(usage.bytes for usage in usages),
            throttles=sum(usage.throttles for usage in usages),
            splits=self._coordinator.splits_held,
        )

    def timeline(self) -> tuple[Moment, ...]:
        """The course of this run so far."""
        return self._timeline.rows(self.totals())

    def update(self, totals: Moment) -> None:
        """Add the totals to the timeline, and report them where the last report is old enough."""
        self._timeline.add(totals)
        if self._clock.now() - self._reported_at >= PROGRESS_SECONDS or self._coordinator.done:
            self.report(totals)

    def report(self, totals: Moment) -> None:
        """Report these totals."""
        now = self._reported_at = self._clock.now()
        items, size, used = self._before
        self._observer(
            Progress(
                seconds=totals.seconds,
                items=items + totals.items,
                bytes=size + totals.bytes,
                units=used.capacity_units + totals.units,
                throttles=used.throttles + totals.throttles,
                budget=totals.budget,
                reason=self._coordinator.budget.reason(now),
                rejected=self._ledger.rejected,
                splits_done=self._coordinator.splits_done,
            )
        )
