"""A worker's credentials: the parent refreshes them, and every Grant carries the newest ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ddbio.errors import CredentialsUnavailableError
from ddbio.retry import CREDENTIALS
from ddbio.wire.signing import Credentials

RENEW_SECONDS = CREDENTIALS.patience + 60.0
"""How long a worker waits for other credentials: a little longer than the parent asks for them."""


class CredentialBox:
    """A `CredentialProvider` that is filled from outside. It calls `urgent` when it needs new credentials."""

    def __init__(self, credentials: Credentials, urgent: Callable[[], None]) -> None:
        self._current = credentials
        self._urgent = urgent
        self._changed = asyncio.Event()
        self.stale_key: str | None = None
        """The access key that the service refused, until new credentials arrive."""

    def update(self, credentials: Credentials) -> None:
        if credentials != self._current:
            self._current = credentials
            self.stale_key = None
            self._changed.set()
            self._changed = asyncio.Event()

    async def get(self) -> Credentials:
        return self._current

    async def renew(self, stale: Credentials) -> Credentials:
        """Wait for credentials other than `stale`; raises CredentialsUnavailableError after `RENEW_SECONDS`."""
        if self._current == stale:
            self.stale_key = stale.access_key
            self._urgent()
            try:
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._changed.wait()
            except TimeoutError as error:
                raise CredentialsUnavailableError("The service refused the credentials, and no others came.") from error
        return self._current
