"""HTTP requests: the callable type `Transport`, and its implementation with a pool of connections."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from ddbio.errors import CertificateError, PreflightError, TransportError
from ddbio.wire.chunked import HttpError
from ddbio.wire.http1 import HttpConnection, Reply
from ddbio.wire.room import Room

if TYPE_CHECKING:
    from ddbio.wire.proxied import ProxiedTransport

__all__ = ["HttpTransport", "Reply", "Transport"]

CONNECT_SECONDS = 5.0
KEEPALIVE_SECONDS = 12.0
"""Shorter than the limit of the service, so that it rarely closes a connection while a request is on its way."""
ADDRESSES = 4
"""The number of addresses of a host that are tried. They are looked up for each new connection, since the service has
many and changes them."""

Transport = Callable[[str, Mapping[str, str], bytes], Awaitable[Reply]]
"""POST `body` with `headers` to a URL, once. Raises `TransportError` where no complete reply is received."""


class _Target(NamedTuple):
    secure: bool
    host: str
    port: int
    path: str
    proxy: str | None


class HttpTransport:
    """A `Transport` over at most `connections` concurrent connections. An async context manager.

    Connecting may take 5 seconds per address. A reply may pause for `timeout` seconds, and an attempt may take ten
    times as long, so that a slow network is not a failure. Large bodies share a `room`. Redirects are not followed, and
    bodies are not decompressed. Proxies are taken from the environment. `ca_bundle` (default: `AWS_CA_BUNDLE`, then the
    store of the system) is a file of trusted certificates.
    """

    def __init__(
        self, *, connections: int, timeout: float = 60.0, ca_bundle: str | None = None, room: Room | None = None
    ) -> None:
        self._slots = asyncio.Semaphore(connections)
        self._connections = connections
        self._timeout = timeout
        self._ca_bundle = ca_bundle or os.environ.get("AWS_CA_BUNDLE") or None
        self._context: ssl.SSLContext | None = None
        self._targets: dict[str, _Target] = {}
        self._idle: dict[tuple[bool, str, int], list[HttpConnection]] = {}
        self._room = room or Room()
        self._stack = AsyncExitStack()
        self._proxied: ProxiedTransport | None = None

    async def __aenter__(self) -> HttpTransport:
        self._context = await asyncio.to_thread(_ssl_context, self._ca_bundle)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._context = None
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()
        await self._stack.aclose()

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        return await self.send("POST", url, headers, (body,))

    async def send(self, method: str, url: str, headers: Mapping[str, str], pieces: Sequence[bytes]) -> Reply:
        """Send one request, whose body is given in pieces. `headers` must contain Host.

        Raises `TransportError`, or `CertificateError` where the server is not trusted.
        """
        if self._context is None:
            raise RuntimeError("HttpTransport is used outside its `async with` block")
        target = self._target(url)
        try:
            async with self._slots:
                if target.proxy is not None:
                    return await (await self._through_proxies()).send(method, url, headers, pieces, target.proxy)
                return await self._exchange(target, method, headers, pieces)
        except ssl.SSLCertVerificationError as error:
            raise CertificateError(
                f"The TLS certificate of {_host(url)} is not trusted: {error.verify_message}.",
                hint="If a proxy or an endpoint of your own is in the way, name its certificates with AWS_CA_BUNDLE.",
            ) from None
        except OSError as error:
            operation = headers.get("X-Amz-Target", method).rpartition(".")[2]
            # Not chained, since the messages of errors can quote data.
            raise TransportError(f"No reply from {_host(url)} to {operation}: {_cause(error)}.") from None

    async def _exchange(
        self, target: _Target, method: str, headers: Mapping[str, str], pieces: Sequence[bytes]
    ) -> Reply:
        idle = self._idle.setdefault((target.secure, target.host, target.port), [])
        connection = self._take(idle) or await self._connect(target)
        headers = {"User-Agent": "ddbio", "Accept-Encoding": "identity", **headers}
        reply = await connection.exchange(method, target.path, headers, pieces, self._timeout)
        if connection.usable and self._context is not None:
            idle.append(connection)
        else:
            connection.close()
        return reply

    def _take(self, idle: list[HttpConnection]) -> HttpConnection | None:
        """The connection that was used last, if it is still usable."""
        oldest = asyncio.get_running_loop().time() - KEEPALIVE_SECONDS
        while idle:
            connection = idle.pop()
            if connection.usable and connection.heard_at > oldest:
                return connection
            connection.close()
        return None

    async def _connect(self, target: _Target) -> HttpConnection:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        failure: OSError = TimeoutError()
        for _, _, _, _, address in found[:ADDRESSES]:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    _, connection = await loop.create_connection(
                        partial(HttpConnection, self._room),
                        str(address[0]),
                        target.port,
                        ssl=self._context if target.secure else None,
                        server_hostname=target.host if target.secure else None,
                    )
                    return connection
            except ssl.SSLCertVerificationError:
                raise
            except OSError as error:
                failure = error
        raise failure

    def _target(self, url: str) -> _Target:
        origin, slash, path = url.partition("://")[2].partition("/")
        key = url[: len(url) - len(slash) - len(path)]
        known = self._targets.get(key)
        if known is None:
            split = urlsplit(key)
            secure = split.scheme == "https"
            host = split.hostname or origin
            proxy = _proxy(split)
            known = self._targets[key] = _Target(secure, host, split.port or (443 if secure else 80), "/", proxy)
        return known._replace(path=f"/{path}") if path else known

    async def _through_proxies(self) -> ProxiedTransport:
        # Imported here, since proxies are rare and importing aiohttp takes 0.2 s.
        from ddbio.wire.proxied import ProxiedTransport  # noqa: PLC0415

        if self._proxied is None:
            self._proxied = ProxiedTransport(self._connections, self._timeout, self._context, self._room)
            await self._stack.enter_async_context(self._proxied)
        return self._proxied


def _proxy(url: SplitResult) -> str | None:
    """The proxy that the environment names for this URL; its exceptions may include ports."""
    if proxy_bypass(url.hostname or "") or proxy_bypass(url.netloc.rpartition("@")[2]):
        return None
    proxy = getproxies().get(url.scheme)
    return f"http://{proxy.removeprefix('//')}" if proxy and "://" not in proxy else proxy


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


def _cause(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    detail = error.strerror or (str(error) if isinstance(error, HttpError) else None)
    return f"{type(error).__name__} ({detail})" if detail else type(error).__name__
