"""Requests: paid for before each attempt, settled by what became of it, repeated while that can help."""

from __future__ import annotations

import asyncio

import pytest

from ddbio import errors
from ddbio.capacity import Governor
from ddbio.options import RETRY_SECONDS
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.requests import CostEstimate, Requester
from tests.kit.fakes import VirtualClock, run_virtual

THROTTLED = errors.ThrottledError("ThrottlingException", "slow down", status=400)
UNAVAILABLE = errors.UnavailableError("InternalServerError", "", status=500)
EXPIRED = errors.CredentialsError("ExpiredTokenException", "", status=400)
LOST = errors.TransportError("reset")
REFUSED = errors.RefusedError("ValidationException", "", status=400)

Result = tuple[str, Governor, Meter, float]


def attempt(*failures: Exception, actual: float | None = 7.0, rate: float = 1e9) -> Result:
    """Run a request that fails so many times and then succeeds; return what is known afterwards."""

    async def main() -> Result:
        clock, meter, left = VirtualClock(), Meter(), list(failures)
        governor = Governor(rate, clock)

        async def send() -> str:
            if left:
                raise left.pop(0)
            return "reply"

        value, permit = await Requester(governor, meter, clock).run(lambda: 10.0, send)
        if actual is not None:
            permit.settle(actual)
        return value, governor, meter, clock.now()

    return run_virtual(main())


def test_a_request_that_succeeds_costs_what_the_reply_says() -> None:
    value, governor, meter, seconds = attempt()
    assert (value, governor.spent, seconds) == ("reply", 7, 0)
    assert (meter.requests, meter.retries, meter.throttles) == (1, 0, 0)


def test_a_reply_that_does_not_say_its_cost_costs_the_estimate() -> None:
    assert attempt(actual=None)[1].spent == 10


@pytest.mark.parametrize(
    ("failure", "cost"),
    [(THROTTLED, 0), (EXPIRED, 0), (LOST, 10), (UNAVAILABLE, 10), (errors.CorruptReplyError("c"), 10)],
)
def test_a_failed_attempt_is_free_unless_possibly_served(failure: Exception, cost: float) -> None:
    _, governor, meter, _ = attempt(failure, failure)
    assert governor.spent == 7 + 2 * cost
    assert (meter.requests, meter.retries) == (3, 2)
    assert meter.throttles == (2 if failure is THROTTLED else 0)


@pytest.mark.parametrize("failure", [REFUSED, errors.CertificateError("c"), errors.CredentialsUnavailableError("n")])
def test_what_can_not_succeed_is_not_repeated(failure: Exception) -> None:
    with pytest.raises(type(failure)) as caught:
        attempt(UNAVAILABLE, failure)
    assert caught.value is failure


def test_a_defect_is_not_repeated() -> None:
    with pytest.raises(KeyError):
        attempt(KeyError("k"))


def test_pauses_grow_and_stay_bounded() -> None:
    assert attempt(*[UNAVAILABLE] * 2)[3] <= 0.05 + 0.1
    assert 20 <= attempt(*[UNAVAILABLE] * 40)[3] <= 40 * 20


def test_it_gives_up_after_a_time_without_success() -> None:
    ends: list[float] = []

    async def main() -> None:
        clock = VirtualClock()

        async def send() -> None:
            ends.append(clock.now())
            raise THROTTLED

        await Requester(Governor(1e9, clock), Meter(), clock).run(lambda: 1.0, send)

    with pytest.raises(errors.ThrottledError):
        run_virtual(main())
    assert RETRY_SECONDS <= ends[-1] <= RETRY_SECONDS + 20


@pytest.mark.parametrize(
    ("failure", "waits"),
    [
        (
            errors.ThrottledError(
                "ThrottlingException", "", status=400, reasons=("TableReadKeyRangeThroughputExceeded",)
            ),
            0.0,
        ),
        (THROTTLED, 10 / 1.01),
        (EXPIRED, 0.0),
        (LOST, 10),
    ],
)
def test_throttled_records_are_slow_unless_only_a_few_keys_are(failure: Exception, waits: float) -> None:
    """For how long another request waits for what this one had taken."""

    async def main() -> float:
        clock = VirtualClock()
        governor = Governor(10, clock)

        async def send() -> None:
            raise failure

        requester = Requester(governor, Meter(), clock, patience=0)
        with pytest.raises(type(failure)):
            await requester.run(lambda: 100.0, send)
        begun = clock.now()
        await governor.acquire(lambda: 1.0)
        return clock.now() - begun

    assert run_virtual(main()) == pytest.approx(waits, abs=0.02)


def test_the_time_of_a_pause_does_not_count() -> None:
    async def main() -> float:
        clock, failures = VirtualClock(), [LOST] * 3
        governor = Governor(100, clock)

        async def send() -> None:
            governor.set_rate(0)
            asyncio.get_running_loop().call_later(2 * RETRY_SECONDS, governor.set_rate, 100)
            if failures:
                raise failures.pop()

        await Requester(governor, Meter(), clock).run(lambda: 1.0, send)
        return clock.now()

    assert run_virtual(main()) > 3 * RETRY_SECONDS


def test_while_others_succeed_a_request_goes_on() -> None:
    async def main() -> None:
        clock = VirtualClock()
        requester = Requester(Governor(1e9, clock), Meter(), clock)

        async def send() -> None:
            if clock.now() < 2 * RETRY_SECONDS:
                raise THROTTLED

        async def others() -> None:
            while True:
                await asyncio.sleep(RETRY_SECONDS / 2)
                requester.deadline.touch()

        succeeding = asyncio.create_task(others())
        await requester.run(lambda: 1.0, send)
        succeeding.cancel()

    run_virtual(main())


def test_others_use_the_lane_of_a_request_that_waits_to_retry() -> None:
    async def main() -> None:
        clock, lanes = VirtualClock(), Lanes(1)
        requester = Requester(Governor(1e9, clock), Meter(), clock, lanes=lanes)

        async def send() -> None:
            if clock.now() < 100:
                raise THROTTLED

        async def hot() -> None:
            await lanes.take(0)
            await requester.run(lambda: 1.0, send)
            lanes.give(0)

        waiting = asyncio.create_task(hot())
        async with asyncio.timeout(50):
            await asyncio.sleep(10)
            await lanes.take(0)
            lanes.give(0)
        await waiting

    run_virtual(main())


def test_every_attempt_waits_for_its_capacity() -> None:
    assert attempt(LOST, LOST, rate=1.0)[3] >= 20


def test_a_cancelled_request_counts_with_its_estimate() -> None:
    async def main() -> float:
        clock = VirtualClock()
        governor = Governor(100, clock)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await Requester(governor, Meter(), clock).run(lambda: 10.0, never_answered)
        return governor.spent

    assert run_virtual(main()) == 10


async def never_answered() -> None:
    await asyncio.sleep(10**6)


def test_the_estimate_is_the_most_of_the_recent_costs() -> None:
    cost = CostEstimate(128.5)
    assert cost.units() == 128.5
    cost.learn(3)
    assert cost.units() == 3
    cost.learn(90)
    for _ in range(15):
        cost.learn(1)
    assert cost.units() == 90
    cost.learn(1)
    assert cost.units() == 1
