"""Credentials that are fetched again in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ddbio.aws.credentials import EARLY_SECONDS, PAUSE_SECONDS, RenewingCredentials
from ddbio.clock import Timer
from ddbio.errors import CredentialsUnavailableError, PreflightError
from ddbio.wire.signing import Credentials


class QuickClock:
    """Calls back at once; `slept` holds the seconds that were asked for."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return 0.0

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        self.slept.append(when)
        return asyncio.get_running_loop().call_soon(callback)


class Chain:
    """Answers from a list (its last entry again and again), and notes how it was asked."""

    def __init__(self, *answers: Credentials | Exception) -> None:
        self.answers = list(answers)
        self.reloads: list[bool] = []
        self.wall = 10_000.0
        self.clock = QuickClock()
        self.source = RenewingCredentials(self.fetch, clock=self.clock, wall=lambda: self.wall)

    async def fetch(self, reload: bool) -> Credentials:
        self.reloads.append(reload)
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def key(name: str, expiry: float | None = None) -> Credentials:
    return Credentials(name, "secret", None, expiry)


PASSING = CredentialsUnavailableError("no answer")


async def test_credentials_without_expiry_are_fetched_once() -> None:
    chain = Chain(key("A"))
    for _ in range(3):
        assert await chain.source.get() == key("A")
        chain.wall += 1e9
    assert chain.reloads == [False]


async def test_credentials_are_fetched_again_before_they_expire() -> None:
    chain = Chain(key("A", 20_000), key("B", 30_000))
    assert (await chain.source.get()).access_key == "A"
    chain.wall = 20_000 - EARLY_SECONDS - 1
    assert (await chain.source.get()).access_key == "A"
    chain.wall = 20_000 - EARLY_SECONDS
    assert (await chain.source.get()).access_key == "B"
    assert chain.reloads == [False, False]


async def test_while_one_caller_refreshes_the_others_do_not_wait() -> None:
    chain = Chain(key("A", 20_000), key("B", 30_000))
    await chain.source.get()
    chain.wall = 19_500.0
    refreshing = asyncio.create_task(chain.source.get())
    await asyncio.sleep(0)
    assert (await chain.source.get()).access_key == "A"
    assert (await refreshing).access_key == "B"


async def test_credentials_that_still_hold_survive_a_failed_refresh() -> None:
    chain = Chain(key("A", 20_000), PASSING, key("B", 30_000))
    await chain.source.get()
    chain.wall = 19_500.0
    assert (await chain.source.get()).access_key == "A"
    assert (await chain.source.get()).access_key == "A"
    assert chain.reloads == [False, False]
    chain.wall += PAUSE_SECONDS
    assert (await chain.source.get()).access_key == "B"


async def test_expired_credentials_are_insisted_on() -> None:
    chain = Chain(key("A", 20_000), PASSING, PASSING, key("B", 30_000))
    await chain.source.get()
    chain.wall = 20_001.0
    both = await asyncio.gather(chain.source.get(), chain.source.get())
    assert [found.access_key for found in both] == ["B", "B"]
    assert chain.clock.slept == [1.0, 2.0]
    assert len(chain.reloads) == 4


async def test_tries_are_bounded() -> None:
    chain = Chain(PASSING)
    with pytest.raises(CredentialsUnavailableError, match="no answer"):
        await chain.source.get()
    assert len(chain.reloads) == 4


async def test_a_final_error_is_not_tried_again() -> None:
    chain = Chain(PreflightError("none at all"))
    with pytest.raises(PreflightError, match="none at all"):
        await chain.source.get()
    assert len(chain.reloads) == 1


async def test_short_lived_credentials_are_not_fetched_each_request() -> None:
    chain = Chain(key("A", 10_600))
    for _ in range(5):
        await chain.source.get()
    assert chain.reloads == [False]


async def test_one_caller_reloads_refused_credentials_for_all() -> None:
    chain = Chain(key("A"), key("A"), key("B"))
    stale = await chain.source.get()
    renewed = await asyncio.gather(*(chain.source.renew(stale) for _ in range(20)))
    assert {found.access_key for found in renewed} == {"B"}
    assert chain.reloads == [False, True, True]
    assert await chain.source.get() == key("B")


async def test_without_others_everybody_hears_it_after_four_tries() -> None:
    chain = Chain(key("A"))
    stale = await chain.source.get()
    answers = await asyncio.gather(*(chain.source.renew(stale) for _ in range(20)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {CredentialsUnavailableError}
    assert chain.reloads == [False, True, True, True, True]
