"""Whether a failure is retried, after how long, and when to give up: the decisions, for every service.

The loops that act on them are where the requests are made (`pipeline.requests`, `pipeline.importing.sending`,
`storage.s3.client`, `aws.credentials`). Errors of the SDK and of the network have no codes: `storage.s3.errors` and
`aws.errors` name those of their classes that are transient.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from ddbio.errors import (
    CorruptReplyError,
    CredentialsError,
    RefusedError,
    ServiceError,
    ThrottledError,
    TransportError,
    UnavailableError,
)

_LARGEST_EXPONENT = 32


class Verdict(Enum):
    """What a failed attempt calls for."""

    THROTTLE = auto()
    """Over capacity: lower the rate, back off, try again."""
    RETRY = auto()
    """A transient failure: back off, try again."""
    RENEW = auto()
    """The credentials were refused, and others have replaced them by now: try again."""
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
    return next((verdict for kind, verdict in _VERDICTS.items() if isinstance(error, kind)), Verdict.FATAL)


# Error codes

_DYNAMODB_ERRORS: dict[str, type[ServiceError]] = {
    "ProvisionedThroughputExceededException": ThrottledError,
    "ThrottlingException": ThrottledError,
    "RequestLimitExceeded": ThrottledError,
    "Throttling": ThrottledError,
    "TooManyRequestsException": ThrottledError,
    "RequestTimeout": UnavailableError,
    "RequestTimeoutException": UnavailableError,
    "ExpiredTokenException": CredentialsError,
    "ExpiredToken": CredentialsError,
    "UnrecognizedClientException": CredentialsError,
    "InvalidClientTokenId": CredentialsError,
    "InternalServerError": UnavailableError,
    "ServiceUnavailable": UnavailableError,
    "ServiceUnavailableException": UnavailableError,
    "ReplicatedWriteConflictException": UnavailableError,
}
_S3_TRANSIENT = frozenset(
    {
        *("BadDigest", "XAmzContentChecksumMismatch", "IncompleteBody", "InternalError", "ServiceUnavailable"),
        *("SlowDown", "RequestTimeout", "RequestTimeoutException", "PriorRequestNotComplete", "BandwidthLimitExceeded"),
        *("Throttling", "ThrottlingException", "RequestThrottled", "RequestLimitExceeded", "TooManyRequestsException"),
    }
)
_TRANSIENT_STATUS = frozenset({500, 502, 503, 504})
REFUSED_CREDENTIALS = frozenset(
    {
        *("UnrecognizedClientException", "InvalidSignatureException", "InvalidClientTokenId", "ExpiredTokenException"),
        *("ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"),
        *("MissingAuthenticationTokenException", "IncompleteSignatureException"),
    }
)
"""Codes by which the control plane refuses credentials: not retried, as there are no others yet."""


def dynamodb_error(code: str, status: int) -> type[ServiceError]:
    """The kind of error that a code of DynamoDB's stands for; unknown codes go by the HTTP status."""
    if code in _DYNAMODB_ERRORS:
        return _DYNAMODB_ERRORS[code]
    if status == 429:
        return ThrottledError
    return UnavailableError if status >= 500 else RefusedError


def is_transient_in_s3(code: str, status: int) -> bool:
    """Whether a request that S3 refused with this code may succeed later; `status` is 0 where it is not known."""
    return code in _S3_TRANSIENT or status in _TRANSIENT_STATUS


# Pauses


class Backoff:
    """Exponential backoff, with full jitter so that workers that were throttled together do not return together."""

    def __init__(self, base: float = 0.05, cap: float = 20.0, rng: Callable[[], float] = random.random) -> None:
        self._base = base
        self._cap = cap
        self._rng = rng

    def delay(self, attempt: int) -> float:
        """Seconds to wait after the failed attempt number `attempt` (from 0); `base` at most after the first."""
        return self._rng() * min(self._cap, self._base * 2.0 ** min(attempt, _LARGEST_EXPONENT))


class Deadline:
    """Expires `seconds` (as `now` counts them) after the first failure since the last success."""

    def __init__(self, now: Callable[[], float], seconds: float) -> None:
        self._now = now
        self.seconds = seconds
        self._since: float | None = None

    def touch(self) -> None:
        """Note a success."""
        self._since = None

    def failed(self) -> bool:
        """Note a failure; return whether `seconds` have passed since the first one after the last success."""
        if self._since is None:
            self._since = self._now()
        return self._now() - self._since >= self.seconds


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """A bounded number of attempts, with pauses between them."""

    most: int
    backoff: Backoff


@dataclass(frozen=True, kw_only=True)
class CredentialRetries:
    """How long a provider of credentials is asked again while there are none that hold. In seconds."""

    pauses: tuple[float, ...] = (1.0, 2.0, 4.0)
    """The pauses after the first failures; a provider that never gave credentials is given up after them."""
    longest_pause: float = 20.0
    """Every further pause."""
    patience: float = 900.0
    """How long a provider that has given credentials before may fail."""


UNPROCESSED = Backoff(cap=3.2)
"""Before items that BatchWriteItem returned unprocessed. With longer pauses, a partition that has only hot keys left
would often be idle."""
S3 = Attempts(most=16, backoff=Backoff(base=0.25, cap=20.0))
"""S3 throttles while it splits a prefix into partitions, which takes minutes: about 100 seconds of pauses in all."""
S3_PREFLIGHT = Attempts(most=9, backoff=Backoff(base=0.25, cap=20.0))
"""For the first request to S3, since somebody waits to learn that the endpoint is wrong. About 25 seconds in all."""
CREDENTIALS = CredentialRetries()
