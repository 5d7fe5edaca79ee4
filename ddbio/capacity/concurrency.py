"""How many requests a process keeps under way at once: pure state, the time and the counts are handed in.

It begins with few and doubles them while that brings more; where it did not, it goes back and tries one step up again
later, for what the service sustains may change. Where requests wait for capacity, there are enough. Throttling takes as
large a share of the lanes away as half of that of the requests which it refuses: a stray one takes none.
"""

from __future__ import annotations

GROWTH = 1.2
"""Twice as many lanes have to bring a fifth more, or they are taken back: idle ones cost memory, and the caches."""
INTERVAL = 0.45
"""Seconds that a number of lanes is tried for, at least; workers look at it twice a second."""
SAMPLES = 4
"""Attempts in each lane that it is tried for too."""
LONGEST = 4.5
"""Seconds after which it is judged by fewer: all that is under way may be held up by a few hot keys."""
PATIENCE = 10
"""Trials after which one more step up is tried again; as many after one that took lanes away."""
ENOUGH = 0.9
"""With requests that wait for capacity during this share of the time, more of them would bring nothing."""


class AdaptiveConcurrency:
    """`count` lanes: `first` so many, never under `fewest` nor over `most`. `update` it as often as you like."""

    def __init__(self, *, fewest: int, first: int, most: int, now: float) -> None:
        self.count = first
        self._fewest = fewest
        self._most = most
        self._since = now
        self._done = 0
        self._throttles = 0
        self._waited = 0.0
        self._before = 0
        """The number of lanes before the last step up; 0 where none is on trial."""
        self._rate = 0.0
        """Replies a second with those."""
        self._patience = 0

    def update(self, now: float, *, done: int, throttles: int, waited: float) -> int:
        """Take in how many replies and throttles (by the table or the account) there were so far, in all, and for how
        many seconds requests waited for capacity; return the number of lanes from now on.
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
