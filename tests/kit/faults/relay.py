"""The base of the HTTP proxies: a server on 127.0.0.1 in front of another one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from tests.kit.faults.upstream import Upstream, UpstreamError
from tests.kit.servers.aws import ACCESS_KEY, SECRET_KEY
from tests.kit.servers.http import HttpServer, Reply, Request
from tests.kit.servers.replies import RESET


class Relay(ABC):
    """Serves what `upstream` (a URL) serves, as `answer` passes it on; the keys sign the proxy's own requests."""

    def __init__(self, upstream: str, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY) -> None:
        self.url = ""
        self.upstream = Upstream(upstream, access_key, secret_key)
        self._http = HttpServer(self._handle, streaming=True)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen at `url`."""
        await self._stack.enter_async_context(self.upstream)
        self._stack.push_async_callback(self._http.stop)
        self.url = f"http://127.0.0.1:{await self._http.start(port)}"

    async def stop(self) -> None:
        """Close every connection. Raises an ExceptionGroup of what went wrong in the proxy itself."""
        await self._stack.aclose()

    @abstractmethod
    async def answer(self, request: Request) -> Reply:
        """The reply to a request. Where it raises UpstreamError, the connection is reset."""

    async def _handle(self, request: Request) -> Reply:
        try:
            return await self.answer(request)
        except UpstreamError:
            return RESET
