"""An S3 prefix as a destination: every file is a streamed multipart upload.

Even a file of one part is, and an empty one: so that `finish` leaves every byte stored under no final name, and whoever
holds the file's `resume_token` can complete it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from botocore.exceptions import ClientError
from isal.isal_zlib import crc32

from ddbio.clock import Clock, LoopClock
from ddbio.errors import DestinationError, PreflightError
from ddbio.options import S3Options
from ddbio.storage.base import LOCK, OWN_FOLDER, PROBE, OutputFile, Sink, StoredFile
from ddbio.storage.naming import is_seen
from ddbio.storage.s3 import uploads
from ddbio.storage.s3.deletion import MOST_KEYS, delete
from ddbio.storage.s3.errors import code_of, edge
from ddbio.storage.s3.lock import Lease, hold
from ddbio.storage.s3.parts import PartBody
from ddbio.storage.s3.retry import insist
from ddbio.storage.steps import Steps
from ddbio.storage.tokens import Part, Token, UploadToken
from ddbio.words import count

T = TypeVar("T")
MIB = 1024 * 1024
SMALLEST_PART = 8 * MIB
"""S3 takes 5 MiB at least, the last part excepted (S3 User Guide, "Multipart upload limits")."""
MOST_PARTS = 10_000
"""Parts of one upload (the same page)."""
FILE_IN_FLIGHT = 2
"""Parts of one file that are on their way at once."""
DISCARD_SECONDS = 1.2
"""So long a discarded file waits for S3."""
log = logging.getLogger("ddbio")


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
        clock: Clock | None = None,
    ) -> None:
        self.client = client
        self.bucket = bucket
        self.slots = asyncio.Semaphore(parts_in_flight)
        self.parameters = {**(options or S3Options()).parameters(), **(parameters or {})}
        self._prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        self._clock = clock or LoopClock()
        self._lease: Lease | None = None
        self._open: set[S3OutputFile] = set()

    @property
    def location(self) -> str:
        return f"s3://{self.bucket}/{self._prefix}"

    async def __aenter__(self) -> S3Sink:
        return self

    async def __aexit__(self, *exc: object) -> None:
        # All at once: on a dead network each of them takes as long as it may.
        ends = await asyncio.gather(*(file.discard() for file in self._open), return_exceptions=True)
        for end in ends:
            if end is not None:
                raise end

    async def check(self, expected_bytes: int | None) -> list[str]:  # noqa: ARG002 (a bucket has no size)
        # Two listings, and an upload begun and aborted, need the very permissions that the job needs. Unlike a probe
        # that is put and deleted they leave no version behind, and need no s3:DeleteObject.
        with edge(f"look into {self.location}", PreflightError):
            await self.client.list_objects_v2(Bucket=self.bucket, Prefix=self._prefix, MaxKeys=1)
            await self.client.list_multipart_uploads(Bucket=self.bucket, Prefix=self._prefix, MaxUploads=1)
        try:
            file = await self.create(PROBE, max_bytes=0)
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
        def send() -> Awaitable[Any]:
            self.refuse_if_lost()
            put: Awaitable[Any] = self.client.put_object(**self.address(name), Body=data, **self.parameters)
            return put

        with edge(f"write {self.location}{name}", DestinationError):
            # Only S3's own reply has an ETag.
            _ = (await self.insist(send))["ETag"]

    async def get(self, name: str, *, most: int | None = None) -> bytes | None:
        with edge(f"read {self.location}{name}", DestinationError):
            return await self.insist(lambda: read_object(self.client, self.bucket, self.key(name), most))

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

    async def foreign_input(self, is_mine: Callable[[str], bool]) -> str | None:
        with edge(f"list {self.location}", DestinationError):
            found = await self.insist(lambda: self.client.list_objects_v2(Bucket=self.bucket, Prefix=self._prefix))
        names = (each["Key"][len(self._prefix) :] for each in found.get("Contents", ()))
        return next((name for name in names if is_seen(name) and not is_mine(name)), None)

    async def delete(self, *names: str) -> None:
        what = names[0] if len(names) == 1 else f" ({count(len(names), 'object')})"
        with edge(f"delete {self.location}{what}", DestinationError):
            for first in range(0, len(names), MOST_KEYS):
                await self._delete(names[first : first + MOST_KEYS])

    async def _delete(self, names: Sequence[str]) -> None:
        def send() -> Awaitable[None]:
            self.refuse_if_lost()
            return delete(self.client, self.bucket, [self.key(name) for name in names])

        await self.insist(send)

    async def recover(self, name: str, size: int, token: Token | None) -> bool:
        self.refuse_if_lost()
        if not isinstance(token, UploadToken):
            return False
        with edge(f"complete {self.location}{name}", DestinationError):
            return await uploads.recover(self.client, self.address(name), size, token)

    async def sweep(self, owns: Callable[[str], bool], keep: Container[str]) -> Sequence[str]:
        def unwanted(key: str) -> bool:
            name = key[len(self._prefix) :]
            return name not in keep and (name.startswith(f"{OWN_FOLDER}/") or owns(name))

        self.refuse_if_lost()
        with edge(f"abort uploads to {self.location}", DestinationError):
            keys = await uploads.sweep(self.client, self.bucket, self._prefix, unwanted)
        return sorted(key[len(self._prefix) :] for key in keys)

    def lock(self, run: str) -> AbstractAsyncContextManager[None]:
        """A lease; once it is lost, this sink neither seals, puts, deletes, recovers nor sweeps any more."""
        # A storage class may charge for each renewal, or keep the object from being read.
        parameters = {name: value for name, value in self.parameters.items() if name != "StorageClass"}
        self._lease = Lease(self.client, self.address(LOCK), self.location, run, parameters, self._clock)
        return hold(self._lease)

    async def insist(self, send: Callable[[], Awaitable[T]]) -> T:
        """What `send` returns, tried again while its failure may pass."""
        return await insist(send, self._clock)

    def refuse_if_lost(self) -> None:
        """Raise `JobLockedError` where the lock that this sink held is lost."""
        if self._lease is not None and self._lease.lost is not None:
            raise self._lease.lost

    def address(self, name: str) -> dict[str, str]:
        """Bucket and key of a relative name, as request parameters."""
        return {"Bucket": self.bucket, "Key": self.key(name)}

    def key(self, name: str) -> str:
        """The key of a relative name."""
        return self._prefix + name

    def forget(self, file: S3OutputFile) -> None:
        """The file is sealed, discarded or left: nothing is left to do for it at the end."""
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
        self._address = sink.address(name)
        self._size_of_part = size_of_part
        self._steps = Steps()
        self._upload_id: str | None = None
        self._blocks: list[bytes] = []
        self._waiting = self._crc = 0
        self._ends: list[int] = []
        self._stored: dict[int, Part] = {}
        self._contiguous = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._sealed = False

    @property
    def resume_token(self) -> UploadToken | None:
        """The upload and its stored parts; None before the upload exists."""
        return None if self._upload_id is None else UploadToken(self._upload_id, tuple(self._durable_parts()))

    async def write(self, block: bytes) -> None:
        self._raise_failure()
        self._blocks.append(block)
        self._waiting += len(block)
        self._crc = crc32(block, self._crc)
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
            self._sink.refuse_if_lost()
            with edge(f"complete {self._place}", DestinationError):
                await self._steps.run(self._complete())

    async def discard(self) -> None:
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                await self._drop()
        except TimeoutError:
            await self._steps.abandon()
            log.debug("The upload of %s may remain: S3 did not answer in time.", self._place)
        self._sink.forget(self)

    async def leave(self) -> None:
        await self._stop_sending()
        await self._steps.abandon()
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
        body = PartBody(self._blocks, self._crc)
        self._blocks, self._waiting, self._crc = [], 0, 0
        task = asyncio.create_task(self._upload(number, body))
        self._tasks.add(task)
        task.add_done_callback(self._sent)

    async def _upload(self, number: int, body: PartBody) -> None:
        with edge(f"store part {number} of {self._place}", DestinationError):
            reply = await self._sink.insist(
                lambda: self._sink.client.upload_part(
                    **self._address,
                    UploadId=self._upload_id,
                    PartNumber=number,
                    Body=body,
                    ChecksumCRC32=body.crc32,
                )
            )
            etag = reply["ETag"].strip('"')
        end = self._ends[number - 1]
        crc = reply.get("ChecksumCRC32", "")
        if crc not in ("", body.crc32):
            raise DestinationError(f"Could not store part {number} of {self._place}: S3 has something else.")
        self._stored[number] = Part(end, etag, crc)

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

    def _durable_parts(self) -> list[Part]:
        self._durable()
        return [self._stored[number] for number in range(1, self._contiguous + 1)]

    async def _complete(self) -> None:
        if not await uploads.complete(self._sink.client, self._address, str(self._upload_id), self._durable_parts()):
            hint = "Somebody has aborted it: see that no lifecycle rule does so this soon, then run again and resume."
            raise DestinationError(f"Could not complete {self._place}: the upload is gone.", hint=hint)
        self._sealed = True
        self._sink.forget(self)

    async def _stop_sending(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._blocks.clear()

    async def _drop(self) -> None:
        await self._stop_sending()
        await self._steps.settle()
        if self._sealed or self._upload_id is None:
            return
        with edge(f"abort the upload of {self._place}", DestinationError):
            await self._steps.run(uploads.abort(self._sink.client, self._address, self._upload_id))
        self._upload_id = None


async def read_object(client: Any, bucket: str, key: str, most: int | None = None) -> bytes | None:
    """A small object whole, or None where it does not exist; raises what the client raises.

    Raises DestinationError where it has more than `most` bytes.
    """
    try:
        reply = await client.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if code_of(error) == "NoSuchKey":
            return None
        raise
    async with reply["Body"]:
        if most is not None and reply["ContentLength"] > most:
            raise DestinationError(f"s3://{bucket}/{key} has more than {most:,} bytes.")
        data: bytes = await reply["Body"].read()
    return data
