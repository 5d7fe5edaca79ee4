"""The course of a job, a row a second, in bounded memory."""

from __future__ import annotations

from dataclasses import replace

from ddbio.fleet.tuning import MAX_ROWS
from ddbio.report import Moment


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
        """Return all rows, the last one up to `totals`; each has what was done since the previous one."""
        if totals.seconds > self._before.seconds:
            self._append(totals)
        return tuple(self._rows)

    def _append(self, totals: Moment) -> None:
        before, self._before = self._before, totals
        self._rows.append(
            replace(
                totals,
                units=totals.units - before.units,
                items=totals.items - before.items,
                bytes=totals.bytes - before.bytes,
                throttles=totals.throttles - before.throttles,
            )
        )
        if len(self._rows) > self._max_rows:
            self._rows = [_merge(*self._rows[first : first + 2]) for first in range(0, len(self._rows), 2)]
            self.step *= 2


def _merge(first: Moment, second: Moment | None = None) -> Moment:
    if second is None:
        return first
    return replace(
        second,
        units=first.units + second.units,
        items=first.items + second.items,
        bytes=first.bytes + second.bytes,
        throttles=first.throttles + second.throttles,
    )
