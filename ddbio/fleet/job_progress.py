"""The progress of a job: its totals now, its timeline, and the events that report them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ddbio.clock import Clock
from ddbio.events import Observer, Progress
from ddbio.fleet.coordinator import Coordinator
from ddbio.fleet.tuning import MAX_ROWS, PROGRESS_SECONDS
from ddbio.ledger.ledger import Ledger
from ddbio.report import Moment

COUNTERS = ("units", "items", "bytes", "throttles")
"""Members of a `Moment` that are counted since the previous row; the others describe its end."""


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
                reason=self.coordinator.budget.reason(now),
                rejected=self.ledger.rejected,
                splits_done=self.coordinator.leases.splits_done,
            )
        )


class Timeline:
    """Turns totals into rows of about `step` seconds, which doubles when there are more than `max_rows`."""

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._max_rows = max_rows
        self.step = 1.0
        self._rows: list[Moment] = []
        self._before = Moment(seconds=0.0)

    def add(self, totals: Moment) -> None:
        """Add a row, unless the last one is less than a step old."""
        if totals.seconds - self._before.seconds < self.step * 0.95:  # the times of Reports vary a little
            return
        self._append(totals)

    def rows(self, totals: Moment) -> tuple[Moment, ...]:
        """Return all rows, the last one up to `totals`."""
        if totals.seconds > self._before.seconds:
            self._append(totals)
        return tuple(self._rows)

    def _append(self, totals: Moment) -> None:
        self._rows.append(_plus(totals, self._before, -1))
        self._before = totals
        if len(self._rows) > self._max_rows:
            last = self._rows[len(self._rows) & ~1 :]  # without a partner
            pairs = zip(self._rows[::2], self._rows[1::2], strict=False)
            self._rows = [*(_plus(second, first) for first, second in pairs), *last]
            self.step *= 2


def _plus(row: Moment, other: Moment, sign: int = 1) -> Moment:
    """Add the counters of another row, or subtract them."""
    return replace(row, **{name: getattr(row, name) + sign * getattr(other, name) for name in COUNTERS})
