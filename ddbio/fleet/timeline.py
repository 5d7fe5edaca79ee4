"""The course of a job, a row a second, in bounded memory."""

from __future__ import annotations

from dataclasses import replace

from ddbio.report import Moment

MOST_ROWS = 3_600
"""More than these are merged in pairs: an hour has a row a second, a day one every 32."""


class Timeline:
    """Turns totals into rows. `step` is the length of a row in seconds, as far as totals come often enough."""

    def __init__(self) -> None:
        self.step = 1.0
        self._rows: list[Moment] = []
        self._before = Moment(seconds=0.0)

    def add(self, totals: Moment) -> None:
        """Take in the totals at `totals.seconds`; those within a step of the last row wait for the next one."""
        if totals.seconds - self._before.seconds < self.step * 0.95:  # who reports twice a second is not exact
            return
        self._append(totals)

    def rows(self, totals: Moment) -> tuple[Moment, ...]:
        """All rows, the last up to `totals`; each has what was done since the one before."""
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
        if len(self._rows) > MOST_ROWS:
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
