"""A credential provider under a test's control."""

from __future__ import annotations

from ddbio.errors import CredentialsUnavailableError
from ddbio.wire.signing import Credentials


class FakeCredentials:
    """Has the `current` credentials; each renewal of them takes the next of `others`.

    `asked` counts the renewals and `stale` is the last that was refused. With `error` set, every renewal raises it.
    """

    def __init__(self, current: Credentials, *others: Credentials) -> None:
        self.current = current
        self.others = list(others)
        self.error: Exception | None = None
        self.stale: Credentials | None = None
        self.asked = 0

    async def get(self) -> Credentials:
        return self.current

    async def renew(self, stale: Credentials) -> Credentials:
        if self.error is not None:
            raise self.error
        if stale == self.current:
            self.asked += 1
            self.stale = stale
            if not self.others:
                raise CredentialsUnavailableError("There are no others.")
            self.current = self.others.pop(0)
        return self.current
