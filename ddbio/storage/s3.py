"""An S3 prefix as a destination: every file is a streamed multipart upload.

Even a file of one part is, and an empty one: so that `finish` leaves every byte stored under no final name, and whoever
holds the file's `resume_token` can complete it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from botocore.exceptions import ClientError

from ddbio.errors import DestinationError, PreflightError
from ddbio.options import S3Options
from ddbio.storage.base import OWN_FOLDER, OutputFile, Sink, StoredFile
from ddbio.storage.s3_errors import code_of, edge
from ddbio.storage.steps import Steps

MIB = 1024 * 1024
SMALLEST_PART = 8 * MIB
"""S3 takes 5 MiB at least, the last part excepted (S3 User Guide, "Multipart upload limits")."""
MOST_PARTS = 10_000
"""Parts of one upload (the same page)."""
FILE_IN_FLIGHT = 2
"""Parts of one file that are on their way at once."""
ABORTS = 3
"""An upload that still had parts on their way may need more than one abort (S3 API, AbortMultipartUpload)."""


def part_size(max_bytes: int) -> int:
    """The part size, in bytes, with which a file of `max_bytes` and one more block fits into 10,000 parts."""
    return max(SMALLEST_PART, math.ceil(max_bytes / (MOST_PARTS - 1) / MIB) * MIB)


class S3Sink(Sink):
    """Objects under a prefix of a bucket, through an aiobotocore S3 client that the caller opens and closes.

    Memory: `write` waits for a slot before a full part leaves, so at most
    `(open files + parts_in_flight) * (part size + one block)` bytes are held here, and one part more for an instant;
    the client's connections may hold the parts on their way a second time.
    The part size is 8 MiB, or for files over 78 GiB `max_bytes / 9,999` rounded up to MiB.

    `parameters` go into CreateMultipartUpload and PutObject as they stand, beside those of `options`.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        prefix: str,
        *,
        options: S3Options | None = None,
        parameters: Mapping[str, str] | None = None,
        parts_in_flight: int = 4,
    ) -> None:
        self.client = client
        self.bucket = bucket
        self.slots = asyncio.Semaphore(parts_in_flight)
        self.parameters = {**(options or S3Options()).parameters(), **(parameters or {})}
        self._prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        self._open: set[S3OutputFile] = set()

    @property
    def location(self) -> str:
        return f"s3://{self.bucket}/{self._prefix}"

    async def __aenter__(self) -> S3Sink:
        return self

    async def __aexit__(self, *exc: object) -> None:
        async with AsyncExitStack() as stack:
            for file in self._open:
                stack.push_async_callback(file.discard)

    async def check(self, expected_bytes: int | None) -> list[str]:  # noqa: ARG002 (a bucket has no size)
        # A listing, and an upload begun and aborted, need the very permissions that the job needs. Unlike a probe
        # that is put and deleted they leave no version behind, and need no s3:DeleteObject.
        with edge(f"look into {self.location}", PreflightError):
            await self.client.list_objects_v2(Bucket=self.bucket, Prefix=self._prefix, MaxKeys=1)
        try:
            file = await self.create(f"{OWN_FOLDER}/probe", max_bytes=0)
            await file.begin()
            await file.discard()
        except DestinationError as error:
            raise PreflightError(error.message, hint=error.hint) from error
        return []

    async def create(self, name: str, *, max_bytes: int) -> S3OutputFile:
        file = S3OutputFile(self, name, part_size(max_bytes))
        self._open.add(file)
        return file

    async def put(self, name: str, data: bytes) -> None:
        with edge(f"write {self.location}{name}", DestinationError):
            await self.client.put_object(Bucket=self.bucket, Key=self.key(name), Body=data, **self.parameters)

    async def get(self, name: str) -> bytes | None:
        with edge(f"read {self.location}{name}", DestinationError):
            return await read_object(self.client, self.bucket, self.key(name))

    async def list(self, prefix: str = "") -> list[StoredFile]:
        with edge(f"list {self.location}{prefix}", DestinationError):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.key(prefix))
            cut = len(self._prefix)
            # Sorted here: directory buckets answer in no order (S3 API, ListObjectsV2).
            return sorted(
                [
                    StoredFile(each["Key"][cut:], each["Size"])
                    async for page in pages
                    for each in page.get("Contents", ())
                ]
            )

    async def delete(self, name: str) -> None:
        with edge(f"delete {self.location}{name}", DestinationError):
            await self.client.delete_object(Bucket=self.bucket, Key=self.key(name))

    def key(self, name: str) -> str:
        """The key of a relative name."""
        return self._prefix + name

    def forget(self, file: S3OutputFile) -> None:
        """The file is sealed or discarded: nothing is left to do for it at the end."""
        self._open.discard(file)


class S3OutputFile(OutputFile):
    """One multipart upload, created when its first part is full, or at `finish`.

    Parts are cut at the ends of blocks and uploaded by tasks of their own; what goes wrong there is raised by the next
    call. No task outlives `seal` or `discard`.
    """

    def __init__(self, sink: S3Sink, name: str, size_of_part: int) -> None:
        self.name = name
        self._sink = sink
        self._place = f"{sink.location}{name}"
        self._address = {"Bucket": sink.bucket, "Key": sink.key(name)}
        self._size_of_part = size_of_part
        self._steps = Steps()
        self._upload_id: str | None = None
        self._blocks: list[bytes] = []
        self._waiting = 0
        self._ends: list[int] = []
        self._stored: dict[int, dict[str, object]] = {}
        self._contiguous = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._sealed = False

    @property
    def resume_token(self) -> Mapping[str, object] | None:
        """`upload_id`, and the stored `parts` as CompleteMultipartUpload takes them; None before the upload exists."""
        if self._upload_id is None:
            return None
        return {"upload_id": self._upload_id, "parts": self._durable_parts()}

    async def write(self, block: bytes) -> None:
        self._raise_failure()
        self._blocks.append(block)
        self._waiting += len(block)
        if self._waiting >= self._size_of_part:
            await self._send()

    async def sync(self) -> int:
        self._raise_failure()
        return self._durable()

    async def finish(self) -> int:
        self._raise_failure()
        if self._waiting or not self._ends:
            await self._send()
        while self._tasks:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
            self._raise_failure()
        return self._durable()

    async def seal(self) -> None:
        if not self._sealed:
            await self.finish()
            with edge(f"complete {self._place}", DestinationError):
                await self._steps.run(self._complete())

    async def discard(self) -> None:
        await self._steps.settle()
        if self._sealed:
            return
        aborts = ABORTS if self._tasks else 1
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._blocks.clear()
        with edge(f"abort the upload of {self._place}", DestinationError):
            await self._steps.run(self._abort(aborts))
        self._sink.forget(self)

    async def begin(self) -> None:
        """Create the upload, unless it is there. Cancelled or not, `discard` knows of it from here on."""
        if self._upload_id is None:
            with edge(f"begin the upload of {self._place}", DestinationError):
                await self._steps.run(self._create())

    async def _create(self) -> None:
        reply = await self._sink.client.create_multipart_upload(**self._address, **self._sink.parameters)
        self._upload_id = reply["UploadId"]

    async def _send(self) -> None:
        """Let the blocks that wait leave as one part, once there is a slot for it."""
        await self.begin()
        while len(self._tasks) >= FILE_IN_FLIGHT:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self._raise_failure()
        await self._sink.slots.acquire()
        number = len(self._ends) + 1
        self._ends.append((self._ends[-1] if self._ends else 0) + self._waiting)
        body = b"".join(self._blocks)
        self._blocks, self._waiting = [], 0
        task = asyncio.create_task(self._upload(number, body))
        self._tasks.add(task)
        task.add_done_callback(self._sent)

    async def _upload(self, number: int, body: bytes) -> None:
        with edge(f"store part {number} of {self._place}", DestinationError):
            reply = await self._sink.client.upload_part(
                **self._address, UploadId=self._upload_id, PartNumber=number, Body=body
            )
        part = {"PartNumber": number, "ETag": reply["ETag"]}
        if "ChecksumCRC32" in reply:  # S3 then checks it again when the upload is completed
            part["ChecksumCRC32"] = reply["ChecksumCRC32"]
        self._stored[number] = part

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._sink.slots.release()
        if not task.cancelled() and self._failure is None:
            self._failure = task.exception()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _durable(self) -> int:
        while self._contiguous + 1 in self._stored:
            self._contiguous += 1
        return self._ends[self._contiguous - 1] if self._contiguous else 0

    def _durable_parts(self) -> list[dict[str, object]]:
        self._durable()
        return [self._stored[number] for number in range(1, self._contiguous + 1)]

    async def _complete(self) -> None:
        try:
            await self._sink.client.complete_multipart_upload(
                **self._address, UploadId=self._upload_id, MultipartUpload={"Parts": self._durable_parts()}
            )
        except ClientError as error:
            # The client repeats a request whose reply was lost; by then the upload may be completed and gone.
            if code_of(error) != "NoSuchUpload" or not await self._is_there():
                raise
        self._sealed = True
        self._sink.forget(self)

    async def _is_there(self) -> bool:
        try:
            head = await self._sink.client.head_object(**self._address)
        except ClientError as error:
            if code_of(error) == "404":
                return False
            raise
        # The ETag of a multipart upload ends in its number of parts.
        return bool(head["ContentLength"] == self._durable() and head["ETag"].endswith(f'-{len(self._ends)}"'))

    async def _abort(self, times: int) -> None:
        for _ in range(times if self._upload_id is not None else 0):
            try:
                await self._sink.client.abort_multipart_upload(**self._address, UploadId=self._upload_id)
            except ClientError as error:
                if code_of(error) == "NoSuchUpload":
                    break
                raise
        self._upload_id = None


async def read_object(client: Any, bucket: str, key: str) -> bytes | None:
    """A small object whole, or None where it does not exist; raises what the client raises."""
    try:
        reply = await client.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if code_of(error) == "NoSuchKey":
            return None
        raise
    async with reply["Body"]:
        data: bytes = await reply["Body"].read()
    return data
