"""What is peculiar to the S3 sink: parts, their bounds, aborts, options, and what S3 refuses."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ddbio.errors import DestinationError, PreflightError
from ddbio.options import S3Options
from ddbio.storage.s3.output_file import MOST_PARTS, S3OutputFile, part_size
from ddbio.storage.s3.sink import S3Sink
from ddbio.storage.s3.tuning import DEFAULT, MIB
from tests.kit.faulty import proxy
from tests.kit.places import QUICK, Bucket, blocks, s3_client, write_all
from tests.kit.servers.aws import Server

NAME = "Table-0007-00001.json"


class Spy:
    """A client that notes what is under way at once."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.now = 0
        self.most = 0
        self.parts: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def upload_part(self, **arguments: Any) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self._client.upload_part(**arguments)
        finally:
            self.now -= 1
            self.parts.append(len(arguments["Body"]))


@pytest.mark.parametrize("max_bytes", [0, 1, 1024 * MIB, 9_999 * 8 * MIB, 9_999 * 8 * MIB + 1, 48 * 1024**2 * MIB])
def test_the_largest_file_fits_into_the_parts_of_one_upload(max_bytes: int) -> None:
    size = part_size(max_bytes, DEFAULT.smallest_part)
    full_parts_before_the_last_block = max_bytes // size
    assert full_parts_before_the_last_block + 1 <= MOST_PARTS
    assert DEFAULT.smallest_part <= size <= 5 * 1024 * MIB
    assert size % MIB == 0


async def test_parts_end_with_blocks_and_few_are_in_flight(bucket: Bucket) -> None:
    spy = Spy(bucket.client)
    async with bucket.sink(client=spy, tuning=replace(QUICK, parts_in_flight=2)) as sink, asyncio.TaskGroup() as group:
        for number in range(2):
            file = await sink.create(f"{number}.json", max_bytes=MIB)

            async def fill(file: S3OutputFile = file) -> None:
                await write_all(file, blocks(5, 5 * MIB))
                await file.seal()

            group.create_task(fill())
    assert spy.most <= 2
    assert sorted(spy.parts) == [5 * MIB] * 2 + [10 * MIB] * 4


async def test_one_file_has_two_parts_in_flight_at_most(bucket: Bucket) -> None:
    spy = Spy(bucket.client)
    async with bucket.sink(client=spy, tuning=replace(QUICK, parts_in_flight=8)) as sink:
        file = await sink.create(NAME, max_bytes=MIB)
        await write_all(file, blocks(6, 8 * MIB))
        await file.seal()
    assert spy.most == 2


async def test_an_upload_completed_without_a_reply_is_sealed(seaweed: Server) -> None:
    # moto answers 500 to an upload that it does not know.
    async with s3_client(seaweed) as client:
        await completed_and_forgotten(Bucket(seaweed, client))


async def completed_and_forgotten(bucket: Bucket) -> None:
    class Forgetful(Spy):
        async def complete_multipart_upload(self, **arguments: Any) -> Any:
            await self._client.complete_multipart_upload(**arguments)
            return await self._client.complete_multipart_upload(**{**arguments, "UploadId": "gone"})

    async with bucket.sink(client=Forgetful(bucket.client)) as sink:
        file = await sink.create(NAME, max_bytes=MIB)
        await file.write(b"{}\n")
        await file.seal()
        other = await sink.create("other.json", max_bytes=MIB)
        await other.write(b"{}\n")
        await other.finish()
        token = other.resume_token
        assert token is not None
        await bucket.client.abort_multipart_upload(
            Bucket=bucket.name, Key="exports/run 1/other.json", UploadId=token.upload_id
        )
        with pytest.raises(DestinationError, match=r"complete s3://.*/other.json"):
            await other.seal()
    assert bucket.finished() == {NAME: b"{}\n"}


class Deleting(Spy):
    """A client that notes how many objects each request deletes, and lets the first ones fail."""

    def __init__(self, client: Any, *errors: ClientError | list[dict[str, str]]) -> None:
        super().__init__(client)
        self.asked: list[int] = []
        self._errors = list(errors)

    async def delete_objects(self, **arguments: Any) -> Any:
        self.asked.append(len(arguments["Delete"]["Objects"]))
        error = self._errors.pop(0) if self._errors else None
        if isinstance(error, ClientError):
            raise error
        return {"Errors": error} if error else await self._client.delete_objects(**arguments)

    async def delete_object(self, **arguments: Any) -> Any:
        self.asked.append(1)
        return await self._client.delete_object(**arguments)


FOUR = {f"{number}.json": b"" for number in range(4)}


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "No."}}, "DeleteObjects")


async def test_objects_are_deleted_so_many_at_once(bucket: Bucket) -> None:
    client = Deleting(bucket.client)
    async with bucket.sink(client=client, tuning=replace(QUICK, keys_per_deletion=3)) as sink:
        for name in FOUR:
            await sink.put(name, b"x")
        await sink.delete(*FOUR)
    assert client.asked == [3, 1]
    assert bucket.finished() == {}


@pytest.mark.parametrize("code", ["NotImplemented", "MethodNotAllowed", "MalformedXML"])
async def test_where_many_can_not_be_deleted_at_once_each_is(bucket: Bucket, code: str) -> None:
    client = Deleting(bucket.client, refusal(code))
    async with bucket.sink(client=client) as sink:
        for name in FOUR:
            await sink.put(name, b"x")
        await sink.delete(*FOUR)
    assert client.asked == [4, 1, 1, 1, 1]
    assert bucket.finished() == {}


async def test_a_key_that_xml_can_not_hold_is_deleted(bucket: Bucket) -> None:
    class Strict(Deleting):
        async def delete_objects(self, **arguments: Any) -> Any:
            if any("\x01" in each["Key"] for each in arguments["Delete"]["Objects"]):
                raise refusal("MalformedXML")  # as S3 does; the servers here differ
            return await super().delete_objects(**arguments)

    async with bucket.sink(client=Strict(bucket.client)) as sink:
        await sink.delete("a\x01", "b\x01")


async def test_an_object_that_is_not_deleted_is_an_error(bucket: Bucket) -> None:
    denied = [{"Key": "exports/run 1/2.json", "Code": "AccessDenied", "Message": "No."}]
    async with bucket.sink(client=Deleting(bucket.client, denied)) as sink:
        with pytest.raises(
            DestinationError, match=r"delete s3://.* \(4 objects\): AccessDenied: .*2\.json: No"
        ) as caught:
            await sink.delete(*FOUR)
    assert "s3:DeleteObject" in str(caught.value.hint)


async def test_an_object_that_is_not_deleted_yet_is_tried_again(bucket: Bucket) -> None:
    passing = [{"Key": "exports/run 1/2.json", "Code": "InternalError", "Message": "We failed."}]
    gone = [{"Key": "exports/run 1/2.json", "Code": "NoSuchKey", "Message": "It is gone."}]
    client = Deleting(bucket.client, passing, gone)
    async with bucket.sink(client=client) as sink:
        await sink.delete(*FOUR)
    assert client.asked == [4, 4]


async def test_a_cancelled_upload_is_aborted(bucket: Bucket) -> None:
    async with proxy(bucket.server.url) as slow, s3_client(bucket.server, slow.url) as client:
        sink = bucket.sink(client=client)
        file = await sink.create(NAME, max_bytes=MIB)
        await file.write(bytes(8 * MIB))
        slow.stall_after = 12 * MIB
        writing = asyncio.create_task(write_all(file, blocks(9, 8 * MIB)))
        await slow.stalled.wait()
        assert bucket.unfinished() == [f"exports/run 1/{NAME}"]
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        slow.stall_after = None
        await file.discard()
        assert bucket.unfinished() == []
        assert not [task for task in asyncio.all_tasks() if "S3OutputFile" in repr(task.get_coro())]
    assert bucket.finished() == {}


async def test_an_upload_cancelled_while_being_created_is_aborted(bucket: Bucket) -> None:
    class Gate(Spy):
        async def create_multipart_upload(self, **arguments: Any) -> Any:
            reply = await self._client.create_multipart_upload(**arguments)
            created.set()
            await released.wait()
            return reply

    created, released = asyncio.Event(), asyncio.Event()
    sink = bucket.sink(client=Gate(bucket.client))
    async with sink:
        file = await sink.create(NAME, max_bytes=MIB)
        writing = asyncio.create_task(file.write(bytes(8 * MIB)))
        await created.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert len(bucket.unfinished()) == 1
        released.set()
    assert bucket.unfinished() == []


async def test_a_part_that_fails_is_raised_by_the_next_call(bucket: Bucket) -> None:
    class Refusing(Spy):
        async def upload_part(self, **arguments: Any) -> Any:
            if arguments["PartNumber"] == 2:
                refused.set()
                raise ClientError({"Error": {"Code": "SlowDown", "Message": "Reduce your request rate."}}, "UploadPart")
            return await self._client.upload_part(**arguments)

    refused = asyncio.Event()
    async with bucket.sink(client=Refusing(bucket.client)) as sink:
        file = await sink.create(NAME, max_bytes=MIB)
        await write_all(file, blocks(2, 8 * MIB))
        await refused.wait()
        with pytest.raises(DestinationError, match=r"store part 2 of s3://.*SlowDown.*run again, or with less"):
            await file.finish()
        for call in (file.sync, file.finish, file.seal, lambda: file.write(b"")):
            with pytest.raises(DestinationError, match="part 2"):
                await call()
    assert bucket.unfinished() == []


async def test_storage_options_reach_the_objects(moto: Server) -> None:
    async with s3_client(moto) as client:
        bucket = Bucket(moto, client)
        options = S3Options(sse="aws:kms", kms_key_id="key-1", storage_class="STANDARD_IA", acl="public-read")
        async with bucket.sink(options=options, parameters={"Tagging": "a=b"}) as sink:
            file = await sink.create("file.json", max_bytes=MIB)
            await file.write(b"{}\n")
            await file.seal()
            await sink.put("object.json", b"{}")
        for name in ("file.json", "object.json"):
            grants = moto.client("s3").get_object_acl(Bucket=bucket.name, Key=f"exports/run 1/{name}")["Grants"]
            assert "READ" in [grant["Permission"] for grant in grants]
            head = moto.client("s3").head_object(Bucket=bucket.name, Key=f"exports/run 1/{name}")
            assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "key-1")
            assert head["StorageClass"] == "STANDARD_IA"


async def test_a_missing_bucket_fails_the_check(s3: Server) -> None:
    async with s3_client(s3) as client, S3Sink(client, "no-such-bucket-here", "") as sink:
        with pytest.raises(PreflightError, match=r"s3://no-such-bucket-here/.*NoSuchBucket.*create it"):
            await sink.check(None)


async def test_wrong_credentials_fail_the_check(seaweed: Server) -> None:
    bucket = seaweed.create_bucket()
    stranger = Server("seaweed", seaweed.url, seaweed.access_key, "wrong")
    async with s3_client(stranger) as client, S3Sink(client, bucket, "out") as sink:
        with pytest.raises(PreflightError, match="Check the credentials") as caught:
            await sink.check(None)
    assert "wrong" not in str(caught.value)


async def test_a_forbidden_bucket_fails_the_check(moto: Server) -> None:
    async with s3_client(moto) as client:
        bucket = Bucket(moto, client)

        class Forbidding(Spy):
            async def create_multipart_upload(self, **arguments: Any) -> Any:
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": "Denied"}}, "CreateMultipartUpload")

        async with bucket.sink(client=Forbidding(client)) as sink:
            with pytest.raises(PreflightError, match=f"s3://{bucket.name}/.*AccessDenied.*Allow .*s3:PutObject"):
                await sink.check(None)


async def test_an_endpoint_that_is_not_there_fails_the_check(s3: Server) -> None:
    async with (
        s3_client(s3, "http://127.0.0.1:9") as client,
        S3Sink(client, "some-bucket", "out", tuning=QUICK) as sink,
    ):
        with pytest.raises(PreflightError, match="Check the network and the endpoint URL"):
            await sink.check(None)


class Answering:
    """A client, in whose place somebody else answers one operation: with success, and nothing that S3 would say."""

    def __init__(self, client: Any, operation: str) -> None:
        self._client = client
        self._operation = operation

    def __getattr__(self, name: str) -> Any:
        return self._nothing if name == self._operation else getattr(self._client, name)

    async def _nothing(self, **_: Any) -> dict[str, Any]:
        return {"ResponseMetadata": {"HTTPHeaders": {}}}


@pytest.mark.parametrize("operation", ["create_multipart_upload", "upload_part", "complete_multipart_upload"])
async def test_a_file_is_not_sealed_by_a_reply_that_is_not_of_s3(bucket: Bucket, operation: str) -> None:
    async with bucket.sink(client=Answering(bucket.client, operation)) as sink:
        file = await sink.create(NAME, max_bytes=1)
        await file.write(b"x")
        with pytest.raises(DestinationError, match=NAME):
            await file.seal()
    assert bucket.finished() == {}
    assert bucket.unfinished() == []


async def test_a_reply_that_is_not_of_s3_writes_and_reads_no_object(bucket: Bucket) -> None:
    async with bucket.sink(client=Answering(bucket.client, "put_object")) as sink:
        with pytest.raises(DestinationError, match="not one of S3's"):
            await sink.put("small.json", b"x")
    async with bucket.sink(client=Answering(bucket.client, "get_object")) as sink:
        with pytest.raises(DestinationError, match="not one of S3's"):
            await sink.get("small.json")
        with pytest.raises(PreflightError, match="not one of S3's"):
            async with sink.lock("run7"):
                raise AssertionError("no lock")
