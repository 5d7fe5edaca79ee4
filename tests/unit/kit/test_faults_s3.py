"""The fault proxy before S3 servers, one that believes everything and one that verifies everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

from tests.kit.faults.proxy import FaultProxy
from tests.kit.faults.s3 import operation_of
from tests.kit.faults.schedule import Schedule
from tests.kit.servers.aws import Server
from tests.kit.servers.http import Request

MIB = 1024 * 1024


class Bucket:
    """An empty bucket behind a proxy; a call runs in a thread, for boto3 blocks."""

    def __init__(self, server: Server, proxy: FaultProxy) -> None:
        self.server = server
        self.proxy = proxy
        self.name = server.create_bucket()
        self._client = replace(server, url=proxy.url).client("s3")

    async def call(self, operation: str, **members: Any) -> Any:
        """One call through the proxy."""
        return await asyncio.to_thread(getattr(self._client, operation), Bucket=self.name, **members)

    async def refused(self, operation: str, **members: Any) -> str:
        """The code of the error that the call ends with."""
        with pytest.raises(ClientError) as error:
            await self.call(operation, **members)
        code: str = error.value.response["Error"]["Code"]
        return code

    def faults(self, **rates: float) -> None:
        """From now on, these."""
        self.proxy.schedule = Schedule(0, rates)

    async def begin(self, key: str) -> str:
        """Begin a multipart upload."""
        upload: str = (await self.call("create_multipart_upload", Key=key))["UploadId"]
        return upload

    async def open_uploads(self) -> list[str]:
        """What the upstream says."""
        return await asyncio.to_thread(self.server.uploads, self.name)

    async def objects(self) -> dict[str, bytes]:
        """What the upstream holds."""
        return await asyncio.to_thread(self.server.objects, self.name)


@pytest.fixture
async def bucket(s3: Server) -> AsyncIterator[Bucket]:
    """Each S3 in turn."""
    async with FaultProxy(s3.url, access_key=s3.access_key, secret_key=s3.secret_key) as proxy:
        yield Bucket(s3, proxy)


@asynccontextmanager
async def part(bucket: Bucket, key: str) -> AsyncIterator[dict[str, Any]]:
    """The members of UploadPart for a new upload."""
    upload = await bucket.begin(key)
    yield {"Key": key, "UploadId": upload, "PartNumber": 1, "Body": b"x" * 100_000}


async def test_everything_passes(bucket: Bucket) -> None:
    key = "a folder/é+&= ?.json"
    # More than one part, more than is held whole.
    parts = [bytes([number]) * (9 * MIB) for number in range(2)]
    upload = await bucket.begin(key)
    done = []
    for number, body in enumerate(parts, 1):
        reply = await bucket.call("upload_part", Key=key, UploadId=upload, PartNumber=number, Body=body)
        done.append({"PartNumber": number, "ETag": reply["ETag"]})
    assert len((await bucket.call("list_parts", Key=key, UploadId=upload))["Parts"]) == 2
    await bucket.call("complete_multipart_upload", Key=key, UploadId=upload, MultipartUpload={"Parts": done})
    head = await bucket.call("head_object", Key=key)
    assert head["ContentLength"] == 18 * MIB
    ranged = await bucket.call("get_object", Key=key, Range=f"bytes={9 * MIB - 2}-{9 * MIB + 1}", IfMatch=head["ETag"])
    assert (await asyncio.to_thread(ranged["Body"].read), ranged["ContentLength"]) == (b"\0\0\1\1", 4)
    whole = await bucket.call("get_object", Key=key)
    assert await asyncio.to_thread(whole["Body"].read) == b"".join(parts)
    assert await bucket.refused("get_object", Key=key, IfMatch='"other"') in {"PreconditionFailed", "412"}
    listed = await bucket.call("list_objects_v2", Prefix="a folder/")
    assert [entry["Key"] for entry in listed["Contents"]] == [key]
    await bucket.call("delete_object", Key=key)
    assert await bucket.objects() == {}
    assert bucket.proxy.account.upstream_errors == 0


@pytest.mark.parametrize(
    ("kind", "operation", "code"),
    [
        ("slow_down", "put_object", "SlowDown"),
        ("internal_error", "put_object", "InternalError"),
        ("bad_digest", "put_object", "BadDigest"),
        ("expired_token", "put_object", "ExpiredToken"),
        ("unrecognized_client", "put_object", "InvalidAccessKeyId"),
    ],
)
async def test_refusals(moto: Server, kind: str, operation: str, code: str) -> None:
    async with FaultProxy(moto.url, Schedule(0, {kind: 1.0})) as proxy:
        bucket = Bucket(moto, proxy)
        assert await bucket.refused(operation, Key="k", Body=b"x" * 100_000) == code
        assert await bucket.objects() == {}
        assert proxy.account.faults == {kind: 1}


@pytest.mark.parametrize(("kind", "objects"), [("reset_before", 0), ("reset_upload", 0), ("reset_after", 1)])
async def test_resets(bucket: Bucket, kind: str, objects: int) -> None:
    bucket.faults(**{kind: 1.0})
    with pytest.raises((HTTPClientError, ConnectionClosedError)):
        await bucket.call("put_object", Key="k", Body=b"x" * 3 * MIB)
    assert len(await bucket.objects()) == objects


async def test_a_download_ends_early(bucket: Bucket) -> None:
    for size in (100_000, 12 * MIB):
        await bucket.call("put_object", Key="k", Body=b"x" * size)
        bucket.faults(cut=1.0)
        reply = await bucket.call("get_object", Key="k")
        assert reply["ContentLength"] == size
        with pytest.raises(Exception, match=r"(?i)incomplete|broken|more expected|bytes"):
            await asyncio.to_thread(reply["Body"].read)
        bucket.faults()


async def test_an_upload_vanishes_once(bucket: Bucket) -> None:
    bucket.faults(no_such_upload=1.0)
    async with part(bucket, "k") as members:
        assert await bucket.refused("upload_part", **members) == "NoSuchUpload"
        assert await bucket.open_uploads() == []
    async with part(bucket, "k") as members:
        etag = (await bucket.call("upload_part", **members))["ETag"]
        done = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        await bucket.call("complete_multipart_upload", Key="k", UploadId=members["UploadId"], MultipartUpload=done)
    assert bucket.proxy.account.faults == {"no_such_upload": 1}
    assert await bucket.objects() == {"k": members["Body"]}


async def test_an_error_inside_200_leaves_the_upload_open(bucket: Bucket) -> None:
    async with part(bucket, "k") as members:
        etag = (await bucket.call("upload_part", **members))["ETag"]
    complete = {"Key": "k", "UploadId": members["UploadId"]}
    complete["MultipartUpload"] = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    bucket.faults(error_in_200=1.0)
    assert await bucket.refused("complete_multipart_upload", **complete) == "InternalError"
    assert await bucket.open_uploads() == ["k"]
    bucket.faults()
    await bucket.call("complete_multipart_upload", **complete)
    assert await bucket.objects() == {"k": members["Body"]}


@pytest.mark.parametrize("expect", [False, True])
async def test_chunked_bodies_pass(moto: Server, expect: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(20):
            yield bytes([number]) * 70_001

    async with FaultProxy(moto.url) as proxy, aiohttp.ClientSession() as session:
        bucket = Bucket(moto, proxy)
        async with session.put(f"{proxy.url}/{bucket.name}/k", data=pieces(), expect100=expect) as reply:
            assert reply.status == 200
        assert await bucket.objects() == {"k": b"".join([piece async for piece in pieces()])}


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("PUT", "/b/k?partNumber=1&uploadId=u", "UploadPart"),
        ("PUT", "/b/k/l", "PutObject"),
        ("POST", "/b/k?uploads", "CreateMultipartUpload"),
        ("POST", "/b/k?uploadId=u", "CompleteMultipartUpload"),
        ("DELETE", "/b/k?uploadId=u", "AbortMultipartUpload"),
        ("DELETE", "/b/k", "DeleteObject"),
        ("GET", "/b/k?uploadId=u", "ListParts"),
        ("GET", "/b/k", "GetObject"),
        ("HEAD", "/b/k", "HeadObject"),
        ("GET", "/b?uploads", "ListMultipartUploads"),
        ("GET", "/b?list-type=2&prefix=p", "ListObjectsV2"),
        ("POST", "/b/?delete", "DeleteObjects"),
        ("PUT", "/b", "Other"),
        ("GET", "/", "Other"),
    ],
)
def test_requests_have_the_names_of_the_reference(method: str, path: str, operation: str) -> None:
    assert urlsplit(path).path
    assert operation_of(Request(method, path, {}, b"")) == operation
