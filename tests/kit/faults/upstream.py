"""The server behind the proxy: requests go there as they came, replies come back as they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from io import BytesIO
from types import TracebackType
from typing import Self
from urllib.parse import urlencode, urlsplit

import aiohttp
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from multidict import CIMultiDict
from yarl import URL

from tests.kit.servers.aws import ACCESS_KEY, REGION, SECRET_KEY
from tests.kit.servers.http import BLOCK, WITHOUT_BODY, Fields, PeerGoneError, Reply, Request

LARGE = 8 * 1024 * 1024
"""A body of S3 that says to be larger is never held whole."""
IDLE_SECONDS = 2.0
"""A connection is not kept longer: servers close idle ones, and a request that meets this is lost."""
HOP_BY_HOP = {
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
OF_AIOHTTP = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class UpstreamError(Exception):
    """The upstream gave no reply."""


class Upstream:
    """Forwards to the server at `url`. The keys sign what the proxy does there by itself.

    The Host header stays the client's: it is part of what the client has signed.
    """

    def __init__(self, url: str, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY) -> None:
        self._url = url.rstrip("/")
        self._credentials = Credentials(access_key, secret_key)
        self._session: aiohttp.ClientSession | None = None
        self._streams: set[aiohttp.ClientResponse] = set()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60),
            auto_decompress=False,
            skip_auto_headers=OF_AIOHTTP,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        for reply in self._streams:  # nobody has read them, as where a fault took their place
            reply.close()
        await self._session.close()

    async def forward(self, request: Request, *, whole: bool = True) -> Reply:
        """The upstream's reply; unless it is to be `whole`, a large one is a stream. Raises UpstreamError."""
        assert self._session is not None
        stream = request.stream if request.stream is not None and request.stream.length != 0 else None
        fields = CIMultiDict((name, value) for name, value in request.fields if name.lower() not in HOP_BY_HOP)
        if stream is not None and stream.length is not None:
            fields["Content-Length"] = str(stream.length)
        try:
            reply = await self._session.request(
                request.method,
                URL(self._url + request.path, encoded=True),
                headers=fields,
                data=stream or (BytesIO(request.body) if request.body else None),
                allow_redirects=False,
            )
            return await self._reply(reply, whole)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamError(str(error)) from error

    async def abort_upload(self, path: str, upload_id: str) -> None:
        """Abort the multipart upload of the object at `path`, in the proxy's own name. Raises UpstreamError."""
        url = f"{self._url}{urlsplit(path).path}?{urlencode({'uploadId': upload_id})}"
        signed = AWSRequest("DELETE", url)
        S3SigV4Auth(self._credentials, "s3", REGION).add_auth(signed)
        request = Request("DELETE", url.removeprefix(self._url), {}, b"", tuple(signed.headers.items()))
        reply = await self.forward(request)
        if reply.status != 204:
            raise UpstreamError(f"the upload could not be aborted: HTTP status {reply.status}")

    async def _reply(self, reply: aiohttp.ClientResponse, whole: bool) -> Reply:
        fields = _fields(reply)
        crc = reply.headers.get("x-amz-crc32")
        length = reply.headers.get("content-length")
        size = None if length is None else int(length)
        if reply.method == "HEAD" or reply.status in WITHOUT_BODY:
            reply.release()
            return Reply((), reply.status, fields=fields, length=size)
        if not whole and size is not None and size > LARGE:
            self._streams.add(reply)
            return Reply((), reply.status, fields=fields, length=size, stream=self._stream(reply))
        body = await reply.read()
        return Reply((body,), reply.status, crc=None if crc is None else int(crc), fields=fields)

    async def _stream(self, reply: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        try:
            async for piece in reply.content.iter_chunked(BLOCK):
                yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PeerGoneError from error
        finally:
            self._streams.discard(reply)
            reply.close()


def _fields(reply: aiohttp.ClientResponse) -> Fields:
    pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.raw_headers)
    return tuple((name, value) for name, value in pairs if name.lower() not in HOP_BY_HOP | {"x-amz-crc32"})
