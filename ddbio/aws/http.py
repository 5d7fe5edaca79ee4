"""The HTTP session of the AWS SDK's clients, stricter than aiobotocore's.

It follows no redirections, which would carry the session token to another host; it verifies the server, where
aiobotocore checks no host names, and behind a proxy no certificates; and it does not wait forever for a proxy's reply
to CONNECT.
"""

from __future__ import annotations

import ssl
from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession


class StraightSession(AIOHTTPSession):  # type: ignore[misc]
    """The `http_session_cls` of a client. The SDK itself handles the services' redirections to another region."""

    _timeout: aiohttp.ClientTimeout

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        limits = self._timeout
        connect, read = limits.sock_connect, limits.sock_read
        self._timeout = aiohttp.ClientTimeout(total=None, connect=read, sock_connect=connect, sock_read=read)

    def _get_ssl_context(self) -> ssl.SSLContext:
        context: ssl.SSLContext = super()._get_ssl_context()
        context.check_hostname = True
        return context

    def _create_connector(self, proxy_url: str | None) -> Any:  # noqa: ARG002 - the parent's parameter
        return super()._create_connector(None)  # with the URL of a proxy it would verify nothing

    async def _get_session(self, proxy_url: str | None) -> _Straight:
        return _Straight(await super()._get_session(proxy_url))


class _Straight:
    """The part of an aiohttp session that the SDK uses."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, method: str, **arguments: Any) -> Any:
        return await self._session.request(method, allow_redirects=False, **arguments)
