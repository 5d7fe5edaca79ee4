"""Credentials that are renewed before they expire, without a pause while the old ones are still valid."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count

from ddbio.clock import Clock, LoopClock, sleep
from ddbio.errors import CredentialsUnavailableError
from ddbio.retry import CREDENTIALS
from ddbio.wire.signing import Credentials

EARLY_SECONDS = 900.0
"""How long before their expiry credentials are fetched again; botocore begins to refresh at the same time."""
PAUSE_SECONDS = 30.0
"""The least time between two attempts while the present credentials are still valid."""

Fetch = Callable[[bool], Awaitable[Credentials]]
"""Fetches credentials, with True from the start of the chain (files are read again). Raises
`CredentialsUnavailableError` where another attempt may help; any other error is final."""


class RenewingCredentials:
    """A `CredentialProvider` over `fetch`. `wall` returns the time of day, in seconds since the epoch."""

    def __init__(self, fetch: Fetch, *, clock: Clock | None = None, wall: Callable[[], float] = time.time) -> None:
        self._fetch = fetch
        self._clock = clock or LoopClock()
        self._wall = wall
        self._lock = asyncio.Lock()
        self._current: Credentials | None = None
        self._ask_at = 0.0
        self._given_up: Credentials | None = None

    async def get(self) -> Credentials:
        """The current credentials. Raises what `fetch` raises, `CredentialsUnavailableError` after four attempts."""
        current, now = self._current, self._wall()
        if current is not None and now < self._ask_at:
            return current
        if current is not None and current.expiry is not None and now < current.expiry:
            # One caller fetches; the others go on with what they have, as does this one if there is no answer.
            self._ask_at = min(now + PAUSE_SECONDS, current.expiry)
            try:
                return self._keep(await self._fetch(False))
            except CredentialsUnavailableError:
                return current
        async with self._lock:
            if self._current is not None and self._current is not current:
                return self._current
            return await self._insist(reload=False, unlike=None)

    async def renew(self, stale: Credentials) -> Credentials:
        """Other credentials than `stale`. Raises `CredentialsUnavailableError` after four attempts."""
        async with self._lock:
            if self._current is not None and not _same(self._current, stale):
                return self._current
            if self._given_up is not None and _same(self._given_up, stale):
                raise _no_others()
            try:
                return await self._insist(reload=True, unlike=stale)
            except CredentialsUnavailableError:
                self._given_up = stale
                raise

    async def _insist(self, *, reload: bool, unlike: Credentials | None) -> Credentials:
        """Fetch until there are credentials other than `unlike`.

        A provider that never gave any, or keeps giving those that were refused, is given up after the first pauses.
        """
        began, pauses = self._clock.now(), CREDENTIALS.pauses
        for failures in count():
            try:
                fetched = await self._fetch(reload)
                if unlike is None or not _same(fetched, unlike):
                    return self._keep(fetched)
                if failures >= len(pauses):
                    break
            except CredentialsUnavailableError:
                patience = 0.0 if self._current is None else CREDENTIALS.patience
                if failures >= len(pauses) and self._clock.now() - began >= patience:
                    raise
            await sleep(self._clock, pauses[failures] if failures < len(pauses) else CREDENTIALS.longest_pause)
        raise _no_others()

    def _keep(self, credentials: Credentials) -> Credentials:
        self._current = credentials
        if credentials.expiry is None:
            self._ask_at = float("inf")
        else:
            soonest = min(self._wall() + PAUSE_SECONDS, credentials.expiry)
            self._ask_at = max(soonest, credentials.expiry - EARLY_SECONDS)
        return credentials


def _same(one: Credentials, other: Credentials) -> bool:
    return (one.access_key, one.secret_key, one.token) == (other.access_key, other.secret_key, other.token)


def _no_others() -> CredentialsUnavailableError:
    return CredentialsUnavailableError(
        "The service refused the credentials, and the AWS configuration has no others.",
        hint="Log in again, or set new keys, then run the same command with --resume.",
    )
