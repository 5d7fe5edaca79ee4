"""How many requests a process keeps under way at once: pure state, the time and the counts are handed in.

It begins with few and doubles them while that brings more; where it did not, it goes back and tries one step up again
later, for what the service sustains may change. Throttling takes a quarter of the lanes away.
"""

from __future__ import annotations

GROWTH = 1.2
"""Twice as many lanes have to bring a fifth more, or they are taken back: idle ones cost memory, and the caches."""
INTERVAL = 0.5
"""Seconds that a number of lanes is tried for, at least."""
SAMPLES = 4
"""Replies in each lane that it is tried for, at least."""
PATIENCE = 10
"""Intervals after which one more step up is tried again; as many after a throttled one."""


class AdaptiveLanes:
    """`count` lanes: `first` so many, never under `fewest` nor over `most`. `update` it as often as you like."""

    def __init__(self, *, fewest: int, first: int, most: int, now: float) -> None:
        self.count = first
        self._fewest = fewest
        self._most = most
        self._since = now
        self._done = 0
        self._throttles = 0
        self._before = 0
        """The number of lanes before the last step up; 0 where none is on trial."""
        self._rate = 0.0
        """Replies a second with those."""
        self._waiting = 0

    def update(self, now: float, done: int, throttles: int) -> int:
        """Take in how many replies and throttles there were so far, in all; return the number of lanes from now on."""
        if throttles > self._throttles:
            self._throttles = throttles
            self._step_down()
            self._begin(now, done)
            return self.count
        elapsed, replies = now - self._since, done - self._done
        if elapsed < INTERVAL or replies < SAMPLES * self.count:
            return self.count
        self._judge(replies / elapsed)
        self._begin(now, done)
        return self.count

    def _begin(self, now: float, done: int) -> None:
        self._since, self._done = now, done

    def _step_down(self) -> None:
        self.count = max(self.count * 3 // 4, self._fewest)
        self._before = 0
        self._waiting = PATIENCE

    def _judge(self, rate: float) -> None:
        if self._before and rate < GROWTH * self._rate:
            self.count, self._before, self._waiting = self._before, 0, PATIENCE
        elif self._waiting:
            self._waiting -= 1
        elif self.count < self._most:
            self._before, self._rate = self.count, rate
            self.count = min(2 * self.count, self._most)
        else:
            self._before = 0
