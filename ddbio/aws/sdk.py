"""The AWS SDK as ddbio sets it up: configuration, endpoints, and clients that sign with a `CredentialProvider`.

Importing this module does not import aioboto3, which takes half a second.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ddbio.wire.signing import CredentialProvider


def configured_session(profile: str | None, credentials: CredentialProvider | None = None) -> Any:
    """An aiobotocore session; with `credentials`, its clients ask these before each request."""
    from aiobotocore.session import AioSession  # noqa: PLC0415

    session = AioSession(profile=profile)
    if credentials is not None:
        session.register_component("credential_provider", _SdkCredentials(credentials))
    return session


def warm_up(session: Any, service: str, region: str, endpoint_url: str | None) -> str:
    """Load a service's models (0.2 s at first, so in a thread) into the loader that `session` shares with a blocking
    twin of its client; return the client's endpoint.
    """
    from botocore.session import Session as BlockingSession  # noqa: PLC0415

    twin = BlockingSession(profile=session.get_config_variable("profile"))
    twin.register_component("data_loader", session.get_component("data_loader"))
    keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    client = twin.create_client(service, region, endpoint_url=endpoint_url, **keys)
    return str(client.meta.endpoint_url)


def configured_endpoint(session: Any, service: str) -> str | None:
    """The endpoint URL that the environment or the profile gives for a service, if any."""
    from botocore.configprovider import ConfiguredEndpointProvider  # noqa: PLC0415

    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    provider = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), service)
    return provider.provide()  # type: ignore[no-any-return]


class _SdkCredentials:
    """A `CredentialProvider` in place of botocore's credential chain, and of the credentials that it would yield."""

    method = "ddbio"

    def __init__(self, provider: CredentialProvider) -> None:
        self._provider = provider

    async def load_credentials(self) -> _SdkCredentials:
        return self

    async def get_frozen_credentials(self) -> Any:
        from botocore.credentials import ReadOnlyCredentials  # noqa: PLC0415

        credentials = await self._provider.get()
        return ReadOnlyCredentials(credentials.access_key, credentials.secret_key, credentials.token, None)

    async def get_account_id(self) -> None:
        """Unknown, so that requests go to the region's own endpoint, not to one of the account."""

    def get_deferred_property(self, _name: str) -> Callable[[], Awaitable[None]]:
        """The account id again, in the form that botocore's endpoint rules ask for."""
        return self.get_account_id
