"""S3 behind the proxy: what a request is called, and its faults."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from tests.kit.faults.schedule import Decision
from tests.kit.faults.upstream import Upstream
from tests.kit.servers.http import Reply, Request
from tests.kit.servers.replies import RESET

ERRORS = {
    "slow_down": (503, "SlowDown", "Please reduce your request rate."),
    "internal_error": (500, "InternalError", "We encountered an internal error. Please try again."),
    "bad_digest": (400, "BadDigest", "The CRC32 you specified did not match the calculated checksum."),
    "error_in_200": (200, "InternalError", "We encountered an internal error. Please try again."),
    "no_such_upload": (
        404,
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
        "completed.",
    ),
    "expired_token": (400, "ExpiredToken", "The provided token has expired."),
    "unrecognized_client": (
        403,
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist in our records.",
    ),
}
"""Status, code and message of the faults that are refusals."""


class S3:
    """Serves the requests of S3 clients."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._vanished: set[str] = set()

    def applies(self, fault: str, request: Request) -> bool:
        """Whether the fault can befall this very request: an upload vanishes once for every key."""
        return fault != "no_such_upload" or urlsplit(request.path).path not in self._vanished

    async def answer(self, request: Request, operation: str, decision: Decision) -> Reply:
        """The reply, as the decision has it. Raises UpstreamError, PeerGoneError."""
        fault = decision.fault
        if fault == "reset_before":
            return RESET
        if fault == "reset_upload":
            await _read_some(request, decision.point)
            return RESET
        if fault == "no_such_upload":
            await self._abort(request)
        if fault in ERRORS:
            return refusal(fault)
        reply = await self._upstream.forward(request, whole=False)
        if fault == "reset_after":
            return await _lost(reply)
        return _cut(reply, decision.point) if fault == "cut" else reply

    async def _abort(self, request: Request) -> None:
        split = urlsplit(request.path)
        self._vanished.add(split.path)
        (upload_id,) = parse_qs(split.query)["uploadId"]
        await self._upstream.abort_upload(request.path, upload_id)


def refusal(fault: str) -> Reply:
    """The error that stands for one of the faults in ERRORS."""
    status, code, message = ERRORS[fault]
    error = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return Reply((b'<?xml version="1.0" encoding="UTF-8"?>\n', error.encode()), status, content_type="application/xml")


def operation_of(request: Request) -> str:
    """The name of a path-style request, as S3's API reference has it; for what ddbio never does, `Other`."""
    split = urlsplit(request.path)
    _, _, key = split.path.lstrip("/").partition("/")
    query = parse_qs(split.query, keep_blank_values=True).keys()
    subject = "object" if key else "bucket"
    copied = "x-amz-copy-source" in request.headers
    for (method, place, member), operation in _OPERATIONS.items():
        if (method, place) == (request.method, subject) and (member is None or member in query):
            return _COPIES.get(operation, operation) if copied else operation
    return "Other"


_OPERATIONS: dict[tuple[str, str, str | None], str] = {
    ("PUT", "object", "partNumber"): "UploadPart",
    ("PUT", "object", None): "PutObject",
    ("POST", "object", "uploads"): "CreateMultipartUpload",
    ("POST", "object", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "object", "uploadId"): "AbortMultipartUpload",
    ("DELETE", "object", None): "DeleteObject",
    ("GET", "object", "uploadId"): "ListParts",
    ("GET", "object", None): "GetObject",
    ("HEAD", "object", None): "HeadObject",
    ("GET", "bucket", "uploads"): "ListMultipartUploads",
    ("GET", "bucket", "list-type"): "ListObjectsV2",
    ("POST", "bucket", "delete"): "DeleteObjects",
}
_COPIES = {"UploadPart": "UploadPartCopy", "PutObject": "CopyObject"}


async def _read_some(request: Request, point: float) -> None:
    """Read about the share `point` of the body."""
    if request.stream is None:
        return
    left = int(point * (request.stream.length or 0))
    async for piece in request.stream:
        left -= len(piece)
        if left <= 0:
            return


async def _lost(reply: Reply) -> Reply:
    if reply.stream is not None:
        async with aclosing(reply.stream):
            # A generator that never began does not clean up.
            await anext(reply.stream, None)
    return RESET


def _cut(reply: Reply, point: float) -> Reply:
    size = reply.length if reply.stream is not None else len(reply.body)
    return replace(reply, cut=int(point * (size or 1)))
