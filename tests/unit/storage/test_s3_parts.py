"""Parts of uploads: what ddbio's own transport is given to send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast
from zlib import crc32

import aioboto3
import pytest
from botocore.auth import _host_from_url
from botocore.config import Config

from ddbio.storage.s3.parts import PartBody, send_parts_through
from ddbio.wire.transport import Reply


class Recording:
    """A transport that answers every part."""

    def __init__(self) -> None:
        self.hosts: list[str] = []

    async def send(self, method: str, url: str, headers: Mapping[str, str], pieces: Sequence[bytes]) -> Reply:
        assert (method, list(pieces)) == ("PUT", [b"x"])
        assert headers["Host"] == _host_from_url(url)  # what the signature is over
        self.hosts.append(headers["Host"])
        return Reply(200, {"etag": '"e"'}, b"")


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("http://127.0.0.1:8333", "127.0.0.1:8333"),
        ("http://127.0.0.1:80", "127.0.0.1"),
        ("https://s3.example:443", "s3.example"),
        ("http://[::1]", "[::1]"),
        ("http://[::1]:8333", "[::1]:8333"),
    ],
)
async def test_the_host_that_is_sent_is_the_one_that_was_signed(endpoint: str, host: str) -> None:
    transport = Recording()
    config = Config(s3={"addressing_style": "path"})
    session = aioboto3.Session("a", "b", region_name="us-east-1")
    async with session.client("s3", endpoint_url=endpoint, config=config) as client:
        send_parts_through(cast("Any", transport), client)
        body = PartBody([b"x"], crc32(b"x"))
        members = {"Bucket": "bucket", "Key": "k", "UploadId": "u", "PartNumber": 1, "ChecksumCRC32": body.crc32}
        assert (await client.upload_part(Body=body, **members))["ETag"] == '"e"'
    assert transport.hosts == [host]
