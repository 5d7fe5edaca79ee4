"""The current budget of a job: fixed, or adapting to what the table sustains. Pure state; the time is passed in.

An adapting budget grows each second by a tenth of its first value while requests wait for capacity and nothing is
throttled, and is halved on throttling. The rate at which throttling began is remembered, and from then on the budget
grows like the window of TCP CUBIC (RFC 9438, section 4.2): quickly towards that rate, slowly around it, and ever more
quickly beyond it, since the table may sustain more by then. Throttling there reduces the budget to `SETTLED_CUT` only.
So, for a table whose capacity is constant, it stays between 0.85 and 1.15 times that capacity.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Literal, NamedTuple

STEP_SECONDS = 1.0
STEP = 0.1
"""Each step up until the first throttling, as a share of the first rate."""
CUT = 0.5
ACCOUNT_CUT = 0.25
"""The limit of the account is shared with everything else that the account does."""
SETTLED_CUT = 0.85
BACK_SECONDS = 15.0
"""Time to return from there to the rate at which throttling began; the table's saved capacity is used up by then."""
BLIND_SECONDS = 2.0
"""Throttles soon after a cut are due to the rate before it: workers report twice a second, and replies take time."""
AGAIN_SECONDS = 6.0
ENOUGH = 0.8
"""A cut was not enough if there are throttles so soon after it, and less than this part of the budget was served."""
SHOWN_SECONDS = 10.0
"""Time for which an event is shown."""
LEAST = 1.0
"""The lowest rate, in units per second."""

UNPROCESSED_CUT = 0.05
"""If this share of the items was unprocessed, the table throttles; if less, a few hot keys do."""
JUDGED_SECONDS = 2.0
"""The time over which that share is measured."""
LEAST_CUT = 0.1
"""The lowest rate where the service gives no reason, as a share of the first rate."""

UNPROCESSED = "UnprocessedItems"
"""Stands for the reason where items of a batch were unprocessed, for which the service gives none."""

Scope = Literal["account", "table", "range"]
_WORST_FIRST: tuple[Scope, ...] = ("account", "table", "range")


class Pace(NamedTuple):
    """Units per second at the beginning. With `most`, the budget adapts up to that limit."""

    start: float
    most: float | None = None


def scope(reason: str) -> Scope:
    """What a throttling reason (API Reference, ThrottlingReason) or error code refers to."""
    if "AccountLimit" in reason or reason == "RequestLimitExceeded":
        return "account"
    return "range" if "KeyRange" in reason else "table"


def index_of(reason: str) -> str | None:
    """The index that a reason in `Meter.reasons` refers to, if any."""
    name, _, index = reason.partition(" ")
    return index if name.startswith("Index") and index else None


def _most_throttled_index(news: Mapping[str, int]) -> str | None:
    """The index that was throttled most often, unless it was the table itself."""
    reasons = [reason for reason in news if reason != UNPROCESSED and scope(reason) == "table"]
    return index_of(max(reasons, key=news.__getitem__)) if reasons else None


class Budget:
    """Capacity units per second for the whole job. It can be changed and paused, and adapts with `Pace.most`."""

    def __init__(self, pace: Pace) -> None:
        self.paused = False
        self._seen: Counter[str] = Counter()
        self._judged: tuple[float, int, int] | None = None
        self._reason = ""
        self._shown_until = -math.inf
        self._range_until = -math.inf
        self._last_cut = -math.inf
        self._observed_at: float | None = None
        self._allowed = self._served = self._served_at_cut = 0.0
        self._next_step: float | None = None
        self.set(pace)

    @property
    def rate(self) -> float:
        return 0.0 if self.paused else self._rate

    def set(self, pace: Pace) -> None:
        """Continue at this pace, and forget what was learned."""
        self.pace = pace
        self._rate = pace.start if pace.most is None else min(pace.start, pace.most)
        self._first = self._rate
        self._knee: float | None = None
        self._shown_until = -math.inf

    def limit(self, most: float) -> None:
        """Limit an adapting budget from now on; what it has learned remains. A fixed budget does not change."""
        if self.pace.most is not None:
            self.pace = self.pace._replace(most=most)
            self._rate = min(self._rate, most)

    def reason(self, now: float) -> str:
        """What limits the job, in words; empty if nothing does."""
        if self.paused:
            return "paused"
        return self._reason if now < self._shown_until else ""

    def observe(
        self,
        throttles: Mapping[str, int],
        now: float,
        *,
        hungry: bool,
        served: float,
        written: int = 0,
        returned: int = 0,
    ) -> None:
        """Learn from the totals so far: `throttles` by reason, units `served`, items `written`, and items `returned` as
        unprocessed, each counted once. `hungry` says whether requests have been waiting for capacity.
        """
        if self._observed_at is not None:
            self._allowed += self.rate * (now - self._observed_at)
        self._observed_at, self._served = now, served
        totals = Counter(throttles)
        news, self._seen = totals - self._seen, totals
        if now - self._last_cut < BLIND_SECONDS:
            self._judged = now, written, returned
            return
        worst = self._judge(news, now, self._share_returned(now, written, returned))
        if worst in ("table", "account"):
            # Without a reason, it is unknown whose limit it is: a few hot keys must not stop everything.
            self._slow_down(worst, news, now, least=LEAST if set(news) - {UNPROCESSED} else self._first * LEAST_CUT)
        elif worst == "range":
            self._show("hot keys are throttled: only what reads or writes them waits", now)
        if worst in ("table", "account") or not hungry or self.paused or self._next_step is None:
            self._next_step = now + STEP_SECONDS
        elif now >= self._next_step:
            self._next_step = now + STEP_SECONDS
            self._speed_up()

    def _share_returned(self, now: float, written: int, returned: int) -> float:
        """The unprocessed share of the items that were first sent in the last seconds; 0 if it is too soon to tell."""
        since, written_before, returned_before = self._judged or (now, 0, 0)
        self._judged = since, written_before, returned_before
        if now - since < JUDGED_SECONDS:
            return 0.0
        self._judged = now, written, returned
        back = returned - returned_before
        return back / max(back + written - written_before, 1)

    def _judge(self, news: Mapping[str, int], now: float, share_returned: float) -> Scope | None:
        scopes = {scope(reason) for reason in news if reason != UNPROCESSED}
        if "range" in scopes:
            self._range_until = now + SHOWN_SECONDS
        if share_returned >= UNPROCESSED_CUT:
            scopes.add("range" if now < self._range_until else "table")
        elif UNPROCESSED in news:
            self._show("a few items are throttled: only they wait", now)
        return next((each for each in _WORST_FIRST if each in scopes), None)

    def _slow_down(self, worst: Scope, news: Mapping[str, int], now: float, least: float) -> None:
        what = "the account's limit" if worst == "account" else "the table"
        if worst == "table" and (index := _most_throttled_index(news)):
            what = f"index {index}"
        self._show(f"throttled by {what}", now)
        if self.pace.most is None:
            return
        before = self._rate
        if self._knee is not None and not self._was_not_enough(now):
            factor = SETTLED_CUT
        else:
            factor = ACCOUNT_CUT if worst == "account" else CUT
        self._knee = before
        self._last_cut, self._served_at_cut, self._allowed = now, self._served, 0.0
        self._rate = min(max(before * factor, least), before)
        if self._rate < before:
            self._show(f"throttled by {what}: down from {before:,.0f} to {self._rate:,.0f} units/s", now)

    def _was_not_enough(self, now: float) -> bool:
        """Whether the last cut was recent, and the table sustains much less than the budget that it left."""
        is_soon = now - self._last_cut < AGAIN_SECONDS
        return is_soon and self._served - self._served_at_cut < ENOUGH * self._allowed

    def _speed_up(self) -> None:
        if self.pace.most is None:
            return
        rate = self._rate + self._first * STEP if self._knee is None else self._step_around(self._knee)
        self._rate = min(rate, self.pace.most)

    def _step_around(self, knee: float) -> float:
        """The next rate on the curve, which is flat at the knee: -1 on it is `SETTLED_CUT` below, 0 is the knee."""
        at = math.cbrt((self._rate / knee - 1) / (1 - SETTLED_CUT)) + STEP_SECONDS / BACK_SECONDS
        return knee * (1 + (1 - SETTLED_CUT) * at**3)

    def _show(self, text: str, now: float) -> None:
        self._reason, self._shown_until = text, now + SHOWN_SECONDS
