"""A worker's credentials: the parent refreshes them, and every Grant brings the newest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ddbio.errors import CredentialsUnavailableError
from ddbio.retry import CREDENTIALS
from ddbio.wire.signing import Credentials

RENEW_SECONDS = CREDENTIALS.patience + 60.0
"""How long a worker waits for other credentials: a little longer than the parent asks for them."""


class CredentialBox:
    """A `CredentialProvider` that is filled from outside. `urgent` is called when others are needed at once."""

    def __init__(self, credentials: Credentials, urgent: Callable[[], None]) -> None:
        self._current = credentials
        self._urgent = urgent
        self._changed = asyncio.Event()
        self.stale_key: str | None = None
        """The access key that the service refused, while no other has come."""

    def update(self, credentials: Credentials) -> None:
        """These are the newest."""
        if credentials != self._current:
            self._current = credentials
            self.stale_key = None
            self._changed.set()
            self._changed = asyncio.Event()

    async def get(self) -> Credentials:
        """The newest credentials that have come."""
        return self._current

    async def renew(self, stale: Credentials) -> Credentials:
        """Ask for others than `stale` and wait for them; raises CredentialsUnavailableError after `RENEW_SECONDS`."""
        if self._current == stale:
            self.stale_key = stale.access_key
            self._urgent()
            try:
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._changed.wait()
            except TimeoutError as error:
                raise CredentialsUnavailableError("The service refused the credentials, and no others came.") from error
        return self._current
