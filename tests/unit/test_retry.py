"""Verdicts, backoff, deadline."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio import errors
from ddbio.clock import Timer
from ddbio.retry import S3, S3_PREFLIGHT, Backoff, Deadline, Verdict, decide, dynamodb_error


class StoppedClock:
    """A clock that goes only when told to."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def now(self) -> float:
        return self.time

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (errors.ThrottledError("ThrottlingException", "", status=400), Verdict.THROTTLE),
        (errors.CredentialsError("ExpiredTokenException", "", status=400), Verdict.RENEW),
        (errors.UnavailableError("InternalServerError", "", status=500), Verdict.RETRY),
        (errors.TransportError("reset"), Verdict.RETRY),
        (errors.CorruptReplyError("crc"), Verdict.RETRY),
        (errors.RefusedError("ValidationException", "", status=400), Verdict.FATAL),
        (errors.CertificateError("unknown issuer"), Verdict.FATAL),
        (errors.CredentialsUnavailableError("none"), Verdict.FATAL),
        (errors.PreflightError("no table"), Verdict.FATAL),
        (KeyError("a bug"), Verdict.FATAL),
    ],
)
def test_each_error_has_its_verdict(error: Exception, verdict: Verdict) -> None:
    assert decide(error) is verdict


@given(st.integers(0, 10_000), st.floats(0.001, 10), st.floats(0.001, 100), st.floats(0, 1, exclude_max=True))
def test_a_delay_is_jittered_over_the_whole_of_its_step(attempt: int, base: float, cap: float, draw: float) -> None:
    delay = Backoff(base, cap, lambda: draw).delay(attempt)
    assert delay == pytest.approx(draw * min(cap, base * 2.0 ** min(attempt, 100)))
    assert 0 <= delay <= cap


def test_delays_of_many_workers_spread() -> None:
    backoff = Backoff(rng=random.Random(7).random)
    delays = [backoff.delay(3) for _ in range(1_000)]
    assert max(delays) < 0.4
    assert sum(delay < 0.1 for delay in delays) == pytest.approx(250, abs=60)


def test_a_deadline_expires_only_without_progress() -> None:
    clock = StoppedClock()
    deadline = Deadline(clock.now, 10.0)
    clock.time += 100
    assert not deadline.failed()
    clock.time += 9.9
    assert not deadline.failed()
    deadline.touch()
    clock.time += 100
    assert not deadline.failed()
    clock.time += 10
    assert deadline.failed()


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ProvisionedThroughputExceededException", 400, errors.ThrottledError),
        ("ExpiredTokenException", 400, errors.CredentialsError),
        ("ReplicatedWriteConflictException", 409, errors.UnavailableError),
        ("ItemCollectionSizeLimitExceededException", 400, errors.RefusedError),
        ("Unheard", 429, errors.ThrottledError),
        ("Unheard", 502, errors.UnavailableError),
        ("Unheard", 404, errors.RefusedError),
    ],
)
def test_a_code_of_dynamodb_has_its_error(code: str, status: int, kind: type[errors.ServiceError]) -> None:
    assert dynamodb_error(code, status) is kind


def test_a_preflight_gives_up_before_a_job_does() -> None:
    assert S3_PREFLIGHT.most < S3.most
