"""Requests through the proxy that the environment names, made with aiohttp."""

from __future__ import annotations

import io
import ssl
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

import aiohttp
from yarl import URL

from ddbio.errors import PreflightError
from ddbio.wire.chunked import HttpError
from ddbio.wire.http1 import Reply
from ddbio.wire.room import LARGE_BODY, MAX_BODY, Room

_STREAMED_BYTES = 1 << 20


class ProxiedTransport:
    """An async context manager. `send` raises OSError where no complete reply is received."""

    def __init__(self, connections: int, timeout: float, context: ssl.SSLContext | None, room: Room) -> None:
        self._connections = connections
        # Only `connect` limits the time that a proxy takes to answer CONNECT.
        self._timeout = aiohttp.ClientTimeout(
            total=10 * timeout, connect=timeout, sock_connect=timeout, sock_read=timeout
        )
        self._context = context
        self._room = room
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> ProxiedTransport:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, ttl_dns_cache=10, ssl=self._context or True),
            timeout=self._timeout,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": "ddbio"},
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], pieces: Sequence[bytes], proxy: str
    ) -> Reply:
        if self._session is None:
            raise RuntimeError("ProxiedTransport is used outside its `async with` block")
        body = b"".join(pieces)
        # aiohttp writes a large `bytes` body at once and warns about it, but a file in pieces.
        data = body if len(body) <= _STREAMED_BYTES else io.BytesIO(body)
        try:
            async with self._session.request(
                method, URL(url, encoded=True), data=data, headers=headers, proxy=proxy, allow_redirects=False
            ) as response:
                fields = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status, fields, await self._read(response))
        except aiohttp.ClientConnectorCertificateError as error:
            if isinstance(error.certificate_error, ssl.SSLCertVerificationError):
                raise error.certificate_error from None
            raise HttpError("certificate refused") from None
        except aiohttp.ClientHttpProxyError as error:
            raise HttpError(f"the proxy answers with HTTP status {error.status}") from None
        except aiohttp.InvalidURL:
            raise PreflightError(
                "The proxy that the environment names has no valid address.",
                hint="Look at http_proxy and https_proxy: they must be URLs like http://proxy.example:3128.",
            ) from None
        except aiohttp.ClientError as error:
            if isinstance(error, OSError):
                raise
            raise HttpError(type(error).__name__) from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytearray:
        """The body. A large one waits for room, and counts as the largest, since its length is not known in advance."""
        body = bytearray()
        async with AsyncExitStack() as stack:
            async for piece in response.content.iter_any():
                before = len(body)
                body += piece
                if len(body) > MAX_BODY:
                    raise HttpError("the reply is too long")
                if before <= LARGE_BODY < len(body):
                    await stack.enter_async_context(self._room.hold(MAX_BODY))
        return body
