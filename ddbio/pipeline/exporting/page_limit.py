"""How many items a page may hold where the budget is smaller than the cost of a whole page."""

from __future__ import annotations

from ddbio.pipeline.tuning import Tuning

FIRST_UNITS_PER_ITEM = 0.5
"""The cost of an eventually consistent read of an item of 4 KB; most items are smaller and cost far less."""


class PageLimit:
    """Learns the cost of an item from the pages. A whole page costs `whole` capacity units; a page may cost at most
    `seconds` of the budget.
    """

    def __init__(self, whole: float, seconds: float = Tuning.page_seconds) -> None:
        self._whole = whole
        self._seconds = seconds
        self._per_item = FIRST_UNITS_PER_ITEM
        self._affordable = 0.0

    def items(self, rate: float) -> int | None:
        """The `Limit` of a Scan for a budget of `rate` units per second; None where the page needs none.

        While the job is paused (rate 0), the last budget stands.
        """
        self._affordable = rate * self._seconds or self._affordable
        if not 0 < self._affordable < self._whole:
            return None
        return max(1, int(self._affordable / self._per_item))

    def learn(self, evaluated: int, units: float) -> None:
        if evaluated:
            self._per_item = max(units / evaluated, 1e-6)
