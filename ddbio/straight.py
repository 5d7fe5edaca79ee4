"""HTTP for the AWS SDK's clients that follows no redirection: to another host it would take the session token along."""

from __future__ import annotations

from typing import Any

from aiobotocore.httpsession import AIOHTTPSession


class StraightSession(AIOHTTPSession):  # type: ignore[misc]
    """A client's `http_session_cls`. The services' own redirections name a region, which the SDK goes by itself."""

    async def _get_session(self, proxy_url: str | None) -> _Straight:
        return _Straight(await super()._get_session(proxy_url))


class _Straight:
    """An aiohttp session, as far as the SDK uses it."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, method: str, **arguments: Any) -> Any:
        """One request, and its very reply."""
        return await self._session.request(method, allow_redirects=False, **arguments)
