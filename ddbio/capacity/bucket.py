"""The token bucket: pure state, the time is passed in.

A request may start whenever the level is not negative, whatever it costs: its cost puts the bucket into debt, and the
next request waits until the debt is paid. At rate 0 no request may start, even if it will cost nothing. So requests are
paced evenly, and a request that costs more than a second of the rate is served rather than rejected.

Since waiters wake up a little late, units of up to `SLACK_SECONDS` are kept, and may be spent immediately. What a
longer stall leaves unspent becomes credit. Credit is paid out slowly, at `CATCH_UP` of the rate in addition to it, so
that a stall costs no throughput and never ends in a burst.

The units of throttled requests may be spent again immediately, up to `REUSED` of the rate; the rest becomes credit.
Otherwise, when everything is throttled, ever more requests would be in flight, delay each other, and arrive as a burst
when the table accepts them again.

Together, any window of W seconds contains at most (1 + `CATCH_UP`) × rate × W + rate × `SLACK_SECONDS` + one request,
which is at most 1.02 × rate × W + one request for W ≥ 1. Requests that were in flight again when throttling ended add
`REUSED` × rate × the time of a reply (more if only a few keys or parts of requests were throttled, since the governor
gives back more of these immediately), and so does a `burst`.
"""

from __future__ import annotations

import math

CATCH_UP = 0.01
"""Credit is spent at this share of the rate, in addition to it."""
SLACK_SECONDS = 0.01
"""An event loop is a millisecond late when it is idle, and several when it is busy."""
REUSED = 0.1
REUSE_SECONDS = 0.1
"""What may be reused accumulates for this time, for requests that are throttled together."""
_ROUNDING_SECONDS = 1e-6
"""Debt of less than this time is a rounding error of the clock, and ignored."""


class Bucket:
    """Capacity units that accrue at `rate` per second from `now` on; those of up to `burst` seconds are kept."""

    def __init__(self, rate: float, now: float, burst: float = 0.0) -> None:
        self._accrue(rate)
        self._kept_seconds = max(burst, SLACK_SECONDS)
        self.level = 0.0
        self.credit = 0.0
        self.used_up = 0.0
        """Units that accrued and were not left unspent, spread evenly over time; those of a burst count when taken."""
        self._at = now
        self._reusable = 0.0
        self._reused_at = now

    def advance(self, now: float) -> None:
        """Let units accrue up to `now`; an earlier time changes nothing."""
        elapsed = now - self._at
        if elapsed <= 0:
            return
        self._at = now
        gained = self.rate * elapsed
        self.used_up += gained
        self.level += gained
        if self.credit:
            due = gained * CATCH_UP
            repaid = due if due < self.credit else self.credit
            self.credit -= repaid
            self.level += repaid
        left = self.level - self._slack
        if left > 0:
            self.used_up -= left if left < gained else gained
            surplus = self.level - self.rate * self._kept_seconds
            if surplus > 0:
                self.credit += surplus
                self.level -= surplus

    def set_rate(self, rate: float, now: float) -> None:
        """Accrue at `rate` from `now` on; debt and credit remain."""
        self.advance(now)
        self._accrue(rate)

    def try_take(self, units: float, now: float) -> bool:
        """Take `units` if the rate is not 0 and there is no debt at `now`; the bucket may go into debt by this."""
        self.advance(now)
        if self.level < self._clear:
            return False
        left = self.level - self._slack
        if left > 0:
            self.used_up += units if units < left else left
        self.level -= units
        return True

    def give_back(self, units: float, now: float) -> None:
        """Return `units` that were taken and not used (negative: take more); they may be taken again immediately."""
        self.advance(now)
        before = self.level - self._slack
        after = before + units
        if before > 0:
            self.used_up += before
        if after > 0:
            self.used_up -= after  # it is left unspent as long as it is there
        self.level += units

    def spread(self, now: float) -> None:
        """Keep no more of what has accrued up to `now` than the slack; the rest becomes credit."""
        self.advance(now)
        surplus = self.level - self._slack
        if surplus > 0:
            self.credit += surplus
            self.level -= surplus

    def refuse(self, units: float, now: float) -> None:
        """Return `units` that were taken for throttled requests."""
        fresh = self.rate * REUSED * (now - self._reused_at)
        self._reusable = min(self._reusable + fresh, self.rate * REUSED * REUSE_SECONDS)
        self._reused_at = now
        again = min(units, self._reusable)
        self._reusable -= again
        self.give_back(again, now)
        self.credit += units - again

    def ready_at(self, now: float) -> float:
        """The time at which the debt will be paid; infinity while the rate is 0."""
        self.advance(now)
        if self.level >= self._clear:
            return now
        if self.rate <= 0:
            return math.inf
        debt = -self.level
        with_credit = debt / (self.rate * (1 + CATCH_UP))
        if with_credit * self.rate * CATCH_UP <= self.credit:
            return now + with_credit
        return now + (debt - self.credit) / self.rate

    def _accrue(self, rate: float) -> None:
        self.rate = rate
        self._slack = rate * SLACK_SECONDS
        self._clear = -rate * _ROUNDING_SECONDS if rate > 0 else math.inf  # from this level on, there is no debt
