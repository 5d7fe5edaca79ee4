"""How many items a page may hold, where the budget is smaller than what a whole page costs."""

from __future__ import annotations

PAGE_SECONDS = 1.0
"""A page may cost so many seconds' worth of the budget."""
FIRST_UNITS_PER_ITEM = 0.5
"""What an item of 4 KB costs when it is read with eventual consistency; items as small as most cost far less."""


class PageLimit:
    """Learns from the pages what an item costs. `whole` is what a whole page costs, in capacity units."""

    def __init__(self, whole: float) -> None:
        self._whole = whole
        self._per_item = FIRST_UNITS_PER_ITEM
        self._affordable = 0.0

    def items(self, rate: float) -> int | None:
        """The Scan's `Limit` for a budget of `rate` units per second; None: the page needs none.

        A job that is paused (0) will go on as before.
        """
        self._affordable = rate * PAGE_SECONDS or self._affordable
        if not 0 < self._affordable < self._whole:
            return None
        return max(1, int(self._affordable / self._per_item))

    def learn(self, evaluated: int, units: float) -> None:
        """A page of so many evaluated items has cost so much."""
        if evaluated:
            self._per_item = max(units / evaluated, 1e-6)
