"""Credentials from botocore's chain: environment, profile, process, container, instance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ddbio.aws.errors import credentials_error
from ddbio.aws.sdk import configured_session
from ddbio.errors import CredentialsUnavailableError, PreflightError
from ddbio.wire.signing import Credentials

METADATA_SECONDS = 5
METADATA_ATTEMPTS = 4
"""With botocore's single attempt of 1 s, a busy event loop or link-local network fails on a healthy instance."""


class CredentialChain:
    """The first provider of the chain that has credentials, for one profile and region."""

    def __init__(self, profile: str | None, region: str) -> None:
        self._profile = profile
        self._region = region
        self._provider: Any = None

    async def fetch(self, reload: bool) -> Credentials:
        """Credentials that hold now; with `reload`, from the start of the chain (files are read again).

        Raises `CredentialsUnavailableError` where another attempt may help, `PreflightError` where it can't.
        """
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            if self._provider is None or reload:
                self._provider = await self._find(patient=self._provider is not None)
            frozen = await self._provider.get_frozen_credentials()
        except (BotoCoreError, ClientError, RuntimeError, OSError, ValueError) as error:
            raise credentials_error(error) from error
        # botocore has no public name for the expiry.
        expiry = getattr(self._provider, "_expiry_time", None)
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token, expiry and expiry.timestamp())

    async def _find(self, *, patient: bool) -> Any:
        """The provider. With `patient`, an instance's metadata service gets more time, and a lack of credentials raises
        `CredentialsUnavailableError`, since there were some before, instead of `PreflightError`.
        """
        session = configured_session(self._profile)
        session.set_config_variable("region", self._region)
        if patient:
            _raise_to(session, "metadata_service_timeout", METADATA_SECONDS)
            _raise_to(session, "metadata_service_num_attempts", METADATA_ATTEMPTS)
        found = await _in_thread(session.get_credentials)
        if found is None and patient:
            raise CredentialsUnavailableError("The AWS configuration holds no credentials any more.")
        if found is None:
            raise PreflightError(
                "No AWS credentials were found.",
                hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile with --profile, or log in.",
            )
        if found.method == "iam-role" and not patient:
            # Not before: where there is no instance, patience would hold up the message that there are no credentials.
            return await self._find(patient=True)
        await _in_thread(found.get_frozen_credentials)
        return found


async def _in_thread(call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine of botocore's on a loop of its own: at first use it reads files and loads models."""
    # It is created in the thread: a caller that is cancelled while all threads are busy would leave it behind.
    return await asyncio.to_thread(lambda: asyncio.run(call()))


def _raise_to(session: Any, variable: str, least: int) -> None:
    session.set_config_variable(variable, max(int(session.get_config_variable(variable)), least))
