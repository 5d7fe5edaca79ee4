"""The one client of S3: what it retries, how listings advance, and what a small object is."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, IncompleteReadError, SSLError

from ddbio.errors import DestinationError
from ddbio.retry import Attempts, Backoff
from ddbio.storage.s3.client import S3Client

RETRIES = Attempts(most=3, backoff=Backoff(base=0.0))
NOWHERE = EndpointConnectionError(endpoint_url="http://s3.invalid")


def refusal(code: str, status: int = 400) -> ClientError:
    reply = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(reply, "AnyOperation")  # type: ignore[arg-type, unused-ignore]


class Body:
    """The body of a reply, which breaks off where `data` is an error."""

    def __init__(self, data: bytes | Exception) -> None:
        self._data = data

    async def __aenter__(self) -> Body:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def read(self) -> bytes:
        if isinstance(self._data, Exception):
            raise self._data
        return self._data


class Answering:
    """A client that answers every request from a list, and notes the requests."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.requests: list[dict[str, Any]] = []

    def __getattr__(self, operation: str) -> Any:
        async def answer(**parameters: Any) -> Any:
            self.requests.append(parameters)
            found = self._answers.pop(0)
            if isinstance(found, Exception):
                raise found
            return found

        return answer


@pytest.mark.parametrize(
    ("failure", "attempts"),
    [
        (refusal("SlowDown", 503), 3),
        (refusal("BadDigest"), 3),
        (refusal("502", 502), 3),
        (NOWHERE, 3),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), 3),
        (refusal("AccessDenied", 403), 1),
        (refusal("NotImplemented", 501), 1),
        (SSLError(endpoint_url="https://s3.invalid", error="self-signed"), 1),
        (KeyError("ETag"), 1),
    ],
)
async def test_what_is_transient_is_retried(failure: Exception, attempts: int) -> None:
    client = Answering(*[failure] * 3)
    with pytest.raises(type(failure)):
        await S3Client(client, retries=RETRIES).call("put_object", Key="k")
    assert client.requests == [{"Key": "k"}] * attempts


async def test_before_each_attempt_the_guard_is_asked() -> None:
    class LostError(Exception):
        pass

    def guard() -> None:
        if client.requests:
            raise LostError

    client = Answering(refusal("SlowDown"), {})
    with pytest.raises(LostError):
        await S3Client(client, retries=RETRIES, before=guard).call("put_object")
    assert len(client.requests) == 1


async def test_a_small_object_is_read_again_where_its_body_breaks_off() -> None:
    broken = {"Body": Body(IncompleteReadError(actual_bytes=1, expected_bytes=2)), "ContentLength": 2}
    whole = {"Body": Body(b"{}"), "ContentLength": 2}
    found = await S3Client(Answering(broken, whole), retries=RETRIES).read("b", "k")
    assert found is not None
    assert (found.data, found.reply) == (b"{}", whole)
    assert await S3Client(Answering(refusal("NoSuchKey", 404)), retries=RETRIES).read("b", "k") is None
    with pytest.raises(DestinationError, match="s3://b/k has more than 1 bytes"):
        await S3Client(Answering(whole), retries=RETRIES).read("b", "k", 1)


async def test_a_listing_goes_on_where_a_page_failed() -> None:
    first = {"IsTruncated": True, "NextKeyMarker": "a", "NextUploadIdMarker": "1"}
    client = Answering(first, refusal("SlowDown"), {"IsTruncated": False})
    pages = S3Client(client, retries=RETRIES).pages("list_multipart_uploads", Bucket="b")
    assert [page async for page in pages] == [first, {"IsTruncated": False}]
    second = {"Bucket": "b", "KeyMarker": "a", "UploadIdMarker": "1"}
    assert client.requests == [{"Bucket": "b"}, second, second]


@pytest.mark.parametrize("repeated", [{"IsTruncated": True}, {"IsTruncated": True, "NextContinuationToken": "t"}])
async def test_a_listing_that_does_not_advance_ends(repeated: dict[str, Any]) -> None:
    client = Answering(*[repeated] * 3)
    with pytest.raises(ValueError, match="does not advance"):
        async for _ in S3Client(client, retries=RETRIES).pages("list_objects_v2", Bucket="b"):
            pass
    assert len(client.requests) <= 2
