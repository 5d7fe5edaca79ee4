"""Which failures are tried again, after how long, and when to give up. Pure: the loops that use it are elsewhere."""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum, auto

from ddbio.clock import Clock
from ddbio.errors import CorruptReplyError, CredentialsError, ThrottledError, TransportError, UnavailableError

_LARGEST_EXPONENT = 32


class Verdict(Enum):
    """What a failed attempt calls for."""

    THROTTLE = auto()
    """Over capacity: lower the rate, back off, try again."""
    RETRY = auto()
    """A passing failure: back off, try again."""
    RENEW = auto()
    """The credentials were refused and others are in place by now: try again."""
    FATAL = auto()
    """Trying again can't help."""


_VERDICTS: dict[type[Exception], Verdict] = {
    ThrottledError: Verdict.THROTTLE,
    CredentialsError: Verdict.RENEW,
    TransportError: Verdict.RETRY,
    CorruptReplyError: Verdict.RETRY,
    UnavailableError: Verdict.RETRY,
}


def decide(error: Exception) -> Verdict:
    """What to do about `error`; anything unknown is fatal."""
    for kind, verdict in _VERDICTS.items():
        if isinstance(error, kind):
            return verdict
    return Verdict.FATAL


class Backoff:
    """Exponential backoff with full jitter: seconds, from 0 to `base` at first, never more than `cap`.

    `rng` gives numbers in [0, 1). Without jitter, workers that were throttled together would come back together.
    """

    def __init__(self, base: float = 0.05, cap: float = 20.0, rng: Callable[[], float] = random.random) -> None:
        self._base = base
        self._cap = cap
        self._rng = rng

    def delay(self, attempt: int) -> float:
        """How long to wait before the attempt that follows the failed attempt number `attempt` (from 0)."""
        return self._rng() * min(self._cap, self._base * 2.0 ** min(attempt, _LARGEST_EXPONENT))


class Deadline:
    """Expires when nothing succeeded for `seconds`: a long job may meet any number of passing failures."""

    def __init__(self, clock: Clock, seconds: float = 900.0) -> None:
        self._clock = clock
        self._seconds = seconds
        self._since = clock.now()

    def touch(self) -> None:
        """Something succeeded: count from now."""
        self._since = self._clock.now()

    def expired(self) -> bool:
        """Whether `seconds` passed since the last success (or the start)."""
        return self._clock.now() - self._since >= self._seconds
