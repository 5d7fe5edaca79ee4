"""What a server served and took: every request with its instant, so that any window can be summed afterwards."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import accumulate
from statistics import linear_regression
from typing import Any, Literal, NamedTuple

Kind = Literal["read", "write"]
KINDS: tuple[Kind, ...] = ("read", "write")


class Event(NamedTuple):
    """One page served or one batch taken, at a monotonic instant in seconds."""

    at: float
    units: float
    items: int


class Totals(NamedTuple):
    """Sums over events; `requests` are pages when reading and batches when writing."""

    units: float = 0.0
    items: int = 0
    requests: int = 0


class Account:
    """The events of one server, and questions about them. `operations` counts requests by name, errors included."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self.events: dict[Kind, list[Event]] = {"read": [], "write": []}
        self.operations: Counter[str] = Counter()

    def record(self, kind: Kind, units: float, items: int) -> None:
        """Note one page or batch, now."""
        self.events[kind].append(Event(self._now(), units, items))

    def reset(self) -> None:
        """Forget everything so far."""
        self.operations.clear()
        for events in self.events.values():
            events.clear()

    def totals(self, kind: Kind) -> Totals:
        """Everything of this kind so far."""
        return _sum(self.events[kind])

    def max_window(self, kind: Kind, seconds: float) -> float:
        """The most units in any window of `seconds`, ends excluded on one side."""
        return self._most(kind, seconds, lambda event: event.units)

    def max_items(self, kind: Kind, seconds: float) -> int:
        """The most items in any such window."""
        return round(self._most(kind, seconds, lambda event: event.items))

    def max_requests(self, kind: Kind, seconds: float) -> int:
        """The most pages or batches in any such window."""
        return round(self._most(kind, seconds, lambda _: 1))

    def _most(self, kind: Kind, seconds: float, amount: Callable[[Event], float]) -> float:
        events = self.events[kind]
        most = inside = 0.0
        first = 0
        for event in events:
            inside += amount(event)
            while event.at - events[first].at >= seconds:
                inside -= amount(events[first])
                first += 1
            most = max(most, inside)
        return most

    def mean(self, kind: Kind) -> float:
        """Units per second between the first and the last request.

        The last request opens an interval that nobody measured, so its own units are left out. 0 for fewer than two.
        """
        events = self.events[kind]
        if len(events) < 2 or events[-1].at == events[0].at:
            return 0.0
        return _sum(events[:-1]).units / (events[-1].at - events[0].at)

    def steady(self, kind: Kind, until: float = math.inf) -> float:
        """Units per second before an instant, as the slope of the line that fits best: unlike in the mean, what several
        clients have under way at the ends hardly counts. 0 for fewer than two requests.
        """
        events = [event for event in self.events[kind] if event.at < until]
        if len(events) < 2 or events[-1].at == events[0].at:
            return 0.0
        sums = list(accumulate(event.units for event in events))
        return linear_regression([event.at for event in events], sums).slope

    def per_second(self, kind: Kind) -> list[Totals]:
        """Totals of each second, counted from the first request of either kind."""
        starts = [events[0].at for events in self.events.values() if events]
        seconds: dict[int, list[Event]] = {}
        for event in self.events[kind]:
            seconds.setdefault(int(event.at - min(starts)), []).append(event)
        return [_sum(seconds.get(second, [])) for second in range(max(seconds, default=-1) + 1)]

    def summary(self, windows: Iterable[float] = (1.0, 5.0)) -> dict[str, Any]:
        """Everything above as JSON values, with the largest window of each length in `windows`."""
        lengths = list(windows)
        kinds: dict[str, Any] = {
            kind: {
                **self.totals(kind)._asdict(),
                "mean": self.mean(kind),
                "steady": self.steady(kind),
                "max_window": {f"{seconds:g}": self.max_window(kind, seconds) for seconds in lengths},
                "per_second": [second._asdict() for second in self.per_second(kind)],
            }
            for kind in KINDS
        }
        return {"operations": dict(self.operations), **kinds}


def _sum(events: list[Event]) -> Totals:
    return Totals(sum(event.units for event in events), sum(event.items for event in events), len(events))
