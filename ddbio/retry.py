"""Which failures are tried again, after how long, and when to give up. Pure: the loops that use it are elsewhere."""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum, auto

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
    """Expires when nothing but failures came for `seconds`, as `now` counts them.

    A long job may meet any number of passing failures, and wait for long without asking for anything.
    """

    def __init__(self, now: Callable[[], float], seconds: float) -> None:
        self._now = now
        self.seconds = seconds
        self._since: float | None = None

    def touch(self) -> None:
        """Something succeeded."""
        self._since = None

    def failed(self) -> bool:
        """Something failed: whether `seconds` passed since the first failure after the last success."""
        if self._since is None:
            self._since = self._now()
        return self._now() - self._since >= self.seconds
