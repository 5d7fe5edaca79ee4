"""The governor: coroutines wait here, first come, first served, until the bucket allows them to spend.

A waiter may be due at a certain time: from then on it takes precedence, and before that it yields to all others.

There are two phases: `acquire` an estimate before the request, then `settle` what the reply says it consumed, or
`refuse` what was throttled. A permit that is never settled, because the reply was lost or the task was cancelled,
counts with its estimate, since the service may have charged for it.
"""

from __future__ import annotations

import asyncio
import math
from bisect import insort
from collections import deque
from collections.abc import Callable
from operator import attrgetter
from typing import NamedTuple

from ddbio.capacity.bucket import Bucket
from ddbio.clock import Clock, Timer


class Permit:
    """The right to make one request."""

    __slots__ = ("_governor", "_reserved", "since", "units")

    def __init__(self, governor: Governor, units: float, since: float) -> None:
        self.since = since
        """When it was granted, by the clock of the governor."""
        self._governor = governor
        self.units = self._reserved = units
        """The units that it counts with: the estimate, until it is settled."""

    def settle(self, actual: float | None, *, evenly: bool = False) -> None:
        """Replace the estimate by the units that were consumed; None lets the estimate stand.

        `evenly`: the estimate was meant to delay others, so what is given back must not be spent immediately.
        """
        units = self.units if actual is None else actual
        self._governor.settle(self._reserved, self.units - units, evenly=evenly)
        self.units, self._reserved = units, 0.0

    def refuse(self, share: float = 1.0) -> None:
        """Give back the throttled share of the request; as much as was served may be spent again immediately."""
        units = self.units * share
        self._governor.refuse(units, min(units, self.units - units))
        self.units, self._reserved = self.units - units, self._reserved - units


class _Waiter(NamedTuple):
    permit: asyncio.Future[Permit]
    estimate: Callable[[], float]
    due: float


class Governor:
    """Grants permits at `rate` units per second; units unspent for up to `burst` seconds may be spent immediately."""

    def __init__(self, rate: float, clock: Clock, burst: float = 0.0) -> None:
        self._clock = clock
        self._bucket = Bucket(rate, clock.now(), burst)
        self._waiters: deque[_Waiter] = deque()
        self._due: list[_Waiter] = []
        """Waiters that are due at a certain time, the earliest first."""
        self._timer: Timer | None = None
        self._active = 0.0
        self._active_since = clock.now()
        self._waited = self._queued = 0.0
        self._waiting = 0
        self._waiting_since = clock.now()
        self._reserved = 0.0
        self.spent = 0.0
        """Total of all permits: as settled, or as estimated where not settled yet."""

    @property
    def settled(self) -> float:
        return max(self.spent - self._reserved, 0.0)

    @property
    def rate(self) -> float:
        return self._bucket.rate

    @property
    def waited(self) -> float:
        """Seconds during which at least one request waited, that is, more capacity would have been used."""
        return self._waited + (self._clock.now() - self._waiting_since if self._waiting else 0.0)

    @property
    def queued(self) -> float:
        """Sum of the waiting times of all requests, in seconds."""
        return self._queued + self._waiting * (self._clock.now() - self._waiting_since)

    @property
    def used_up(self) -> float:
        """Units that accrued and were not left unspent: rate × time, if the rate is used without a gap."""
        self._bucket.advance(self._clock.now())
        return self._bucket.used_up

    @property
    def active(self) -> float:
        """Seconds during which the rate was not 0."""
        return self._active + (self._clock.now() - self._active_since if self.rate > 0 else 0.0)

    def set_rate(self, rate: float) -> None:
        self._active, self._active_since = self.active, self._clock.now()
        self._bucket.set_rate(rate, self._clock.now())
        self._serve()

    async def acquire(self, estimate: Callable[[], float], due: float | None = None) -> Permit:
        """Wait until the request may be sent. `estimate` is called at that moment, since replies may have improved the
        estimate meanwhile. `due` is the time from which on the request takes precedence.
        """
        now = self._clock.now()
        if not self._waiting and self._bucket.try_take(units := estimate(), now):
            self.spent += units
            self._reserved += units
            return Permit(self, units, now)
        waiter = _Waiter(asyncio.get_running_loop().create_future(), estimate, due or 0.0)
        if due is None:
            self._waiters.append(waiter)
        else:
            insort(self._due, waiter, key=attrgetter("due"))
        self._serve()
        try:
            return await waiter.permit
        except asyncio.CancelledError:
            if not waiter.permit.cancelled():  # granted and cancelled in the same iteration of the loop
                waiter.permit.result().settle(0)
            raise

    def settle(self, reserved: float, unused: float, *, evenly: bool = False) -> None:
        """Settle `reserved` units, and give back those that were not used (negative: charge more)."""
        self._reserved -= reserved
        if unused:
            self.spent -= unused
            self._bucket.give_back(unused, self._clock.now())
            if evenly:
                self._bucket.spread(self._clock.now())
            if self._waiting:
                self._serve()

    def refuse(self, units: float, at_once: float) -> None:
        """Give back `units` that were throttled; `at_once` of them may be spent again immediately."""
        now = self._clock.now()
        self._reserved -= units
        self.spent -= units
        self._bucket.give_back(at_once, now)
        self._bucket.refuse(units - at_once, now)
        if self._waiting:
            self._serve()

    def _serve(self) -> None:
        """Grant the permits that are possible now, and set a timer for the next one."""
        now = self._clock.now()
        while (waiter := self._next(now)) is not None:
            units = waiter.estimate()
            if not self._bucket.try_take(units, now):
                break
            self.spent += units
            self._reserved += units
            waiter.permit.set_result(Permit(self, units, now))
        self._note_waiting(now)
        self._set_timer(now)

    def _next(self, now: float) -> _Waiter | None:
        while self._waiters and self._waiters[0].permit.done():
            self._waiters.popleft()
        while self._due and self._due[0].permit.done():
            self._due.pop(0)
        if self._due and (not self._waiters or self._due[0].due <= now):
            return self._due[0]
        return self._waiters[0] if self._waiters else None

    def _note_waiting(self, now: float) -> None:
        elapsed = now - self._waiting_since
        self._queued += self._waiting * elapsed
        self._waited += elapsed if self._waiting else 0.0
        self._waiting, self._waiting_since = len(self._waiters) + len(self._due), now

    def _set_timer(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            ready = self._bucket.ready_at(now)
            if ready < math.inf:
                self._timer = self._clock.call_at(ready, self._serve)
