"""What S3 spoils or refuses for a while is sent again; what stays wrong ends in an error, after a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ddbio.errors import DestinationError
from ddbio.retry import Attempts, Backoff
from ddbio.storage.s3.client import S3Client
from tests.kit.fakes import VirtualClock, run_virtual
from tests.kit.faults.proxy import FaultProxy
from tests.kit.faults.schedule import Schedule
from tests.kit.places import ATTEMPTS, Bucket, blocks, s3_client, write_all
from tests.kit.servers.aws import Server

NAME = "T-0000-00000.json"
PARTS = blocks(6, 8 * 1024 * 1024)


def often(*kinds: str) -> Mapping[str, float]:
    """Half of all requests fail in one of these ways."""
    return dict.fromkeys(kinds, 0.5 / len(kinds))


@pytest.mark.parametrize("kind", ["bad_digest", "slow_down", "internal_error", "reset_before", "reset_after"])
async def test_a_part_is_sent_again(seaweed: Server, kind: str) -> None:
    # Seed 2: no part meets the fault in all of its attempts.
    async with (
        FaultProxy(seaweed.url, access_key=seaweed.access_key, secret_key=seaweed.secret_key) as proxy,
        s3_client(seaweed, proxy.url) as client,
    ):
        bucket = Bucket(seaweed, client)
        async with bucket.sink() as sink:
            file = await sink.create(NAME, max_bytes=1)
            await file.begin()
            proxy.schedule = Schedule(2, often(kind))
            await write_all(file, PARTS)
            await file.finish()
            proxy.schedule = Schedule(2, {})
            await file.seal()
        assert proxy.account.faults[kind] > 0
        assert bucket.finished() == {NAME: b"".join(PARTS)}


async def test_a_small_object_is_sent_and_read_again(moto: Server) -> None:
    async with FaultProxy(moto.url, Schedule(2, often("bad_digest", "cut"))) as proxy:
        async with s3_client(moto, proxy.url) as client, Bucket(moto, client).sink() as sink:
            for number in range(10):
                await sink.put(f"{number}.json", b"x" * 1000)
                assert await sink.get(f"{number}.json") == b"x" * 1000
        assert proxy.account.faults.keys() == {"bad_digest", "cut"}


@pytest.mark.parametrize(("code", "attempts"), [("BadDigest", ATTEMPTS), ("SlowDown", ATTEMPTS), ("NoSuchUpload", 1)])
async def test_what_stays_wrong_ends_in_an_error(bucket: Bucket, code: str, attempts: int) -> None:
    client = Refusing(bucket.client, code)
    async with bucket.sink(client=client) as sink:
        file = await sink.create(NAME, max_bytes=1)
        await file.write(b"x")
        with pytest.raises(DestinationError, match=code):
            await file.finish()
    assert client.asked == attempts
    assert bucket.unfinished() == []


@pytest.mark.parametrize("kind", ["slow_down", "internal_error", "reset_before", "reset_after"])
async def test_a_deletion_is_sent_again(moto: Server, kind: str) -> None:
    async with FaultProxy(moto.url) as proxy, s3_client(moto, proxy.url) as client:
        bucket = Bucket(moto, client)
        async with bucket.sink() as sink:
            for round_of in range(8):
                await sink.put("a", b"")
                await sink.put("b", b"")
                proxy.schedule = Schedule(round_of, {kind: 0.3})
                await sink.delete("a", "b")
                proxy.schedule = Schedule(round_of, {})
        assert proxy.account.faults[kind] > 0
        assert bucket.finished() == {}


def test_who_waits_for_long_is_told_why(caplog: pytest.LogCaptureFixture) -> None:
    tried = 0

    async def fail_slowly() -> None:
        nonlocal tried
        tried += 1
        await asyncio.sleep(6)
        raise ClientError({"Error": {"Code": "InternalError", "Message": "no"}}, "GetObject")

    async def main() -> None:
        retries = Attempts(most=ATTEMPTS, backoff=Backoff(base=0.0))
        with pytest.raises(ClientError):
            await S3Client(None, retries=retries, clock=VirtualClock()).retry(fail_slowly)

    with caplog.at_level("WARNING", "ddbio"):
        run_virtual(main())
    assert tried == ATTEMPTS
    assert [record.getMessage() for record in caplog.records] == [
        f"S3 has failed for {6 * times} seconds (InternalError): trying again, {times} of {ATTEMPTS - 1} times."
        for times in (2, 3, 4)
    ]


class Refusing:
    """A client to which every part is refused."""

    def __init__(self, client: Any, code: str) -> None:
        self._client = client
        self._error = ClientError({"Error": {"Code": code, "Message": "no"}}, "UploadPart")
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def upload_part(self, **_: Any) -> Any:
        self.asked += 1
        raise self._error
