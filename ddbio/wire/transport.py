"""How bytes get to a server and back: a callable type, and its implementation on aiohttp."""

from __future__ import annotations

import asyncio
import io
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from ddbio.errors import CertificateError, PreflightError, TransportError

CONNECT_SECONDS = 5.0
KEEPALIVE_SECONDS = 12.0
"""Shorter than the service's own limit, so that a connection is rarely closed while a request is on its way."""
DNS_SECONDS = 10
"""The service answers with few of its many addresses at a time: asking again often spreads the connections."""
_STREAMED_BYTES = 1 << 20


class Reply(NamedTuple):
    """An HTTP reply; its header names are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Transport = Callable[[str, Mapping[str, str], bytes], Awaitable[Reply]]
"""POST `body` with `headers` to a URL: one attempt. Raises `TransportError` where no whole reply came back."""


class HttpTransport:
    """A `Transport` on aiohttp, with a pool of `connections`. An async context manager.

    A connection must stand within 5 s; a reply may be silent for `timeout` seconds, and an attempt takes at most ten
    times that, so that a slow line is no failure. Redirects are not followed, bodies not decompressed. Proxies are
    taken from the environment; `ca_bundle` (default: `AWS_CA_BUNDLE`, then the system's store) is a file of trusted
    certificates.
    """

    def __init__(self, *, connections: int, timeout: float = 60.0, ca_bundle: str | None = None) -> None:
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=10 * timeout, sock_connect=CONNECT_SECONDS, sock_read=timeout)
        self._ca_bundle = ca_bundle or os.environ.get("AWS_CA_BUNDLE") or None
        self._proxies: dict[str, str | None] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> HttpTransport:
        connector = aiohttp.TCPConnector(
            limit=self._connections,
            keepalive_timeout=KEEPALIVE_SECONDS,
            ttl_dns_cache=DNS_SECONDS,
            ssl=await asyncio.to_thread(_ssl_context, self._ca_bundle),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
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

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """One attempt. Raises `TransportError`, or `CertificateError` where the server is not trusted."""
        if self._session is None:
            raise RuntimeError("HttpTransport is used outside its `async with` block")
        # aiohttp writes a large bytes body in one go, and warns about it; a file is written in pieces.
        data = body if len(body) <= _STREAMED_BYTES else io.BytesIO(body)
        try:
            async with self._session.post(
                url, data=data, headers=headers, proxy=self._proxy(url), allow_redirects=False
            ) as response:
                return Reply(response.status, response.headers, await response.read())
        except aiohttp.ClientConnectorCertificateError as error:
            reason = getattr(error.certificate_error, "verify_message", "certificate refused")
            raise CertificateError(
                f"The TLS certificate of {_host(url)} is not trusted: {reason}.",
                hint="If a proxy or an endpoint of your own is in the way, name its certificates with AWS_CA_BUNDLE.",
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            # Not chained: aiohttp's errors can quote the bytes that they stumbled over.
            raise TransportError(f"No reply from {_host(url)} to {_operation(headers)}: {_cause(error)}.") from None

    def _proxy(self, url: str) -> str | None:
        # aiohttp's own trust_env asks two threads before each request, and reads .netrc, whose logins are not for us.
        if url not in self._proxies:
            split = urlsplit(url)
            bypassed = proxy_bypass(split.hostname or "")
            self._proxies[url] = None if bypassed else getproxies().get(split.scheme)
        return self._proxies[url]


def _ssl_context(ca_bundle: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:
        raise PreflightError(
            f"The certificates in {ca_bundle} could not be read: {error.strerror or type(error).__name__}.",
            hint="AWS_CA_BUNDLE (or ca_bundle in the AWS profile) must name a file of PEM certificates.",
        ) from error


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _operation(headers: Mapping[str, str]) -> str:
    return headers.get("X-Amz-Target", "POST").rpartition(".")[2]


def _cause(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    detail = error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__} ({detail})" if detail else type(error).__name__
