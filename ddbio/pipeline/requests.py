"""Requests within the budget: capacity for each attempt, and the retry loop around them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from ddbio.capacity import Governor, Permit
from ddbio.capacity.adaptive import scope
from ddbio.clock import Clock, sleep
from ddbio.errors import ThrottledError, WireError
from ddbio.options import RETRY_SECONDS
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.retry import Backoff, Deadline, Verdict, decide

T = TypeVar("T")
log = logging.getLogger("ddbio.pipeline")


@dataclass(eq=False, repr=False)
class Requester:
    """Sends requests within the budget and retries them, until none has succeeded for `patience` seconds.

    With `lanes`, the caller of `run` occupies one, and leaves it to others while the request waits to be repeated.
    """

    governor: Governor
    meter: Meter
    clock: Clock
    patience: float = RETRY_SECONDS
    lanes: Lanes | None = None

    def __post_init__(self) -> None:
        self.deadline = Deadline(lambda: self.governor.active, self.patience)
        """To be touched after every success. Pauses of the job do not count."""
        self._backoff = Backoff()

    @property
    def rate(self) -> float:
        """Capacity units per second that this process may spend."""
        return self.governor.rate

    async def run(
        self, estimate: Callable[[], float], send: Callable[[], Awaitable[T]], due: float | None = None
    ) -> tuple[T, Permit]:
        """Acquire the estimated units (see `Governor.acquire`) and `send`, until that succeeds or must not be retried.

        The caller settles the Permit and touches `deadline`.
        """
        failures = 0
        while True:
            permit = await self.governor.acquire(estimate, due)
            self.meter.requests += 1
            try:
                return await send(), permit
            except WireError as error:
                if not self._failed(permit, error):
                    raise
                log.debug("attempt %d failed, trying again: %s", failures + 1, type(error).__name__)
            pause = sleep(self.clock, self._backoff.delay(failures))
            await (self.lanes.rest(pause) if self.lanes else pause)
            failures += 1

    def _failed(self, permit: Permit, error: WireError) -> bool:
        """Count and settle a failed attempt; whether there will be another one."""
        verdict = decide(error)
        if isinstance(error, ThrottledError):
            self.meter.throttled(error.reason)
        if isinstance(error, ThrottledError) and scope(error.reason) != "range":
            permit.refuse()
        else:  # where only a few keys are throttled, other requests may use all of the capacity
            permit.settle(None if verdict is Verdict.RETRY else 0)  # a lost reply may have cost the estimate
        if verdict is Verdict.FATAL or self.deadline.failed():
            return False
        self.meter.retries += 1
        return True


class CostRatio:
    """The ratio of the actual cost of requests to the estimate, at least 1: that of the first request, then smoothed.

    Overwriting a larger item costs the size of that item (API Reference, PutItem), and the entries of local indexes are
    charged to the table.
    """

    def __init__(self) -> None:
        self.value = 1.0
        self.known = False
        """Whether a request has been served."""
        self._weight = 1.0

    def learn(self, estimated: float, actual: float) -> None:
        """Learn from a request that was estimated to cost `estimated` units and has cost `actual`."""
        if estimated > 0:
            self.known = True
            self.value += self._weight * (max(actual / estimated, 1.0) - self.value)
            self._weight = 0.1


class CostEstimate:
    """The expected cost of the next request: the most that a recent one has cost; `first` before there is any."""

    def __init__(self, first: float) -> None:
        self._first = first
        self._recent: deque[float] = deque(maxlen=16)

    def units(self) -> float:
        return max(self._recent, default=self._first)

    def learn(self, actual: float) -> None:
        self._recent.append(actual)
