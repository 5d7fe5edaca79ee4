"""How many lanes a process uses: pure state, the time and the counts are passed in.

The number begins low and doubles as long as that increases the throughput. When it does not, the last step is undone
and tried again later, since what the service sustains may change. While requests wait for capacity, there are enough
lanes. Throttling removes half of the share of the requests that were throttled, so that a single one removes no lane.
"""

from __future__ import annotations

GROWTH = 1.2
"""Doubling the lanes must increase the throughput by this factor, or it is undone: idle lanes cost memory."""
INTERVAL = 0.45
"""Shortest trial of a number of lanes, in seconds; workers update it twice a second."""
SAMPLES = 4
"""Attempts per lane in a trial."""
LONGEST = 4.5
"""Seconds after which fewer attempts suffice, since a few hot keys may delay all requests."""
PATIENCE = 10
"""Trials after a step down, for whatever reason, until a step up is tried again."""
ENOUGH = 0.9
"""If requests wait for capacity during this share of the time, more lanes would not increase the throughput."""


class AdaptiveConcurrency:
    """The number of lanes is `count`: `first` at the beginning, then from `fewest` to `most`."""

    def __init__(self, *, fewest: int, first: int, most: int, now: float) -> None:
        self.count = first
        self._fewest = fewest
        self._most = most
        self._since = now
        self._done = 0
        self._throttles = 0
        self._waited = 0.0
        self._before = 0
        """The number of lanes before the step up that is being tried; 0 if there is none."""
        self._rate = 0.0
        """Replies per second with that number."""
        self._patience = 0

    def update(self, now: float, *, done: int, throttles: int, waited: float) -> int:
        """Return the number of lanes from now on. May be called at any time.

        The arguments are totals: replies, throttles by the table or the account, and the seconds during which requests
        waited for capacity.
        """
        elapsed, replies, refused = now - self._since, done - self._done, throttles - self._throttles
        attempts = replies + refused
        if elapsed < INTERVAL or (attempts < SAMPLES * self.count and elapsed < LONGEST):
            return self.count
        if waited - self._waited >= ENOUGH * elapsed:
            self._before = 0
        elif (fewer := round(self.count * (1 - refused / max(attempts, 1) / 2))) < self.count:
            self._go_back(max(fewer, self._fewest))
        else:
            self._judge(replies / elapsed)
        self._since, self._done, self._throttles, self._waited = now, done, throttles, waited
        return self.count

    def _go_back(self, count: int) -> None:
        self.count, self._before, self._patience = count, 0, PATIENCE

    def _judge(self, rate: float) -> None:
        if self._before and rate <= GROWTH * self._rate:
            self._go_back(self._before)
        elif self._patience:
            self._patience -= 1
        elif self.count < self._most:
            self._before, self._rate = self.count, rate
            self.count = min(2 * self.count, self._most)
        else:
            self._before = 0
