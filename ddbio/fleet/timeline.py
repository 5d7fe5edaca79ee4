"""The course of a job, a row a second, in bounded memory."""

from __future__ import annotations

from dataclasses import replace

from ddbio.fleet.tuning import MAX_ROWS
from ddbio.report import Moment

COUNTERS = ("units", "items", "bytes", "throttles")
"""Members of a `Moment` that are counted since the previous row; the others describe its end."""


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
