"""HTTP for the AWS SDK's clients that follows no redirection: to another host it would take the session token along.

And that knows whom it talks to: aiobotocore looks neither at the names in certificates nor, behind a proxy, at
certificates at all, and waits for ever for a proxy that does not answer CONNECT.
"""

from __future__ import annotations

import ssl
from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession


class StraightSession(AIOHTTPSession):  # type: ignore[misc]
    """A client's `http_session_cls`. The services' own redirections name a region, which the SDK goes by itself."""

    _timeout: aiohttp.ClientTimeout

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        limits = self._timeout
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=limits.sock_read, sock_connect=limits.sock_connect, sock_read=limits.sock_read
        )

    def _get_ssl_context(self) -> ssl.SSLContext:
        context: ssl.SSLContext = super()._get_ssl_context()
        context.check_hostname = True
        return context

    def _create_connector(self, proxy_url: str | None) -> Any:  # noqa: ARG002 - the parent's parameter
        return super()._create_connector(None)  # with a proxy's URL it would verify nothing

    async def _get_session(self, proxy_url: str | None) -> _Straight:
        return _Straight(await super()._get_session(proxy_url))


class _Straight:
    """An aiohttp session, as far as the SDK uses it."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, method: str, **arguments: Any) -> Any:
        """One request, and its very reply."""
        return await self._session.request(method, allow_redirects=False, **arguments)
