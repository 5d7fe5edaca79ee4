"""Parts of uploads, prepared and signed by the S3 client and sent by ddbio's own transport.

aiobotocore takes 3 ms of CPU for each MiB: it hashes a part, computes its checksum, and copies it more than once. Here
the checksum is known, the pieces are sent as they are in memory, and the payload is not hashed for the signature, as S3
allows (S3 API, "Authenticating requests: using the Authorization header"): TLS keeps others from changing it.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from aiobotocore.awsrequest import AioAWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import HTTPClientError, SSLError

from ddbio.errors import CertificateError, TransportError
from ddbio.wire.transport import HttpTransport

_SET_BY_TRANSPORT = frozenset({"content-length", "expect"})


class PartBody(io.RawIOBase):
    """The body of a part, in pieces. An S3 client reads it as a file; ddbio's own transport sends the pieces."""

    def __init__(self, pieces: Sequence[bytes], crc: int) -> None:
        self.pieces = pieces
        self.crc32 = b64encode(crc.to_bytes(4, "big")).decode()
        self._size = sum(map(len, pieces))
        self._at = 0

    def __len__(self) -> int:
        return self._size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        start = 0
        for piece in self.pieces:
            if self._at < start + len(piece):
                stretch = memoryview(piece)[self._at - start :][: len(buffer)]
                buffer[: len(stretch)] = stretch
                self._at += len(stretch)
                return len(stretch)
            start += len(piece)
        return 0


def send_parts_through(transport: HttpTransport, client: Any) -> None:

    async def send(request: Any, **_: Any) -> AioAWSResponse | None:
        if not isinstance(request.body, PartBody):
            return None
        try:
            reply = await transport.send(request.method, request.url, _headers(request), request.body.pieces)
        except CertificateError as error:
            raise SSLError(endpoint_url=request.url, error=error.message) from None
        except TransportError as error:
            raise HTTPClientError(error=str(error)) from None
        headers = HTTPHeaders.from_dict(reply.headers)
        return AioAWSResponse(request.url, reply.status, headers, _Raw(bytes(reply.body)))

    unsigned = client.meta.config.merge(Config(s3={**(client.meta.config.s3 or {}), "payload_signing_enabled": False}))

    def leave_unsigned(request: Any, **_: Any) -> None:
        request.context["client_config"] = unsigned

    client.meta.events.register("before-sign.s3.UploadPart", leave_unsigned)
    client.meta.events.register("before-send.s3.UploadPart", send)


def _headers(request: Any) -> Mapping[str, str]:
    """The request's headers without those that the transport sets itself, and the Host that was signed."""
    split = urlsplit(request.url)
    default = {"http": 80, "https": 443}.get(split.scheme)
    headers = {"Host": split.netloc.removesuffix(f":{default}")}
    for name, value in request.headers.items():
        if name.lower() not in _SET_BY_TRANSPORT:
            headers[name] = value.decode() if isinstance(value, bytes) else str(value)
    return headers


class _Raw(NamedTuple):
    """A body in memory, as aiobotocore reads one."""

    body: bytes

    async def read(self) -> bytes:
        return self.body
