"""An output file in S3: a multipart upload, even where it is small or empty, so that `finish` stores every byte without
giving the file its final name.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from typing import Protocol

from isal.isal_zlib import crc32

from ddbio.errors import DestinationError
from ddbio.storage.base import OutputFile
from ddbio.storage.s3 import uploads
from ddbio.storage.s3.client import S3Client
from ddbio.storage.s3.errors import translated_errors
from ddbio.storage.s3.parts import PartBody
from ddbio.storage.s3.tuning import MIB, S3Tuning
from ddbio.storage.steps import Steps
from ddbio.storage.tokens import Part, UploadToken

MOST_PARTS = 10_000
"""Parts of one upload (S3 User Guide, "Multipart upload limits")."""
log = logging.getLogger("ddbio")


def part_size(max_bytes: int, smallest: int) -> int:
    """The part size, in bytes, with which a file of `max_bytes` and one more block fits into 10,000 parts."""
    return max(smallest, math.ceil(max_bytes / (MOST_PARTS - 1) / MIB) * MIB)


class Owner(Protocol):
    client: S3Client
    guarded: S3Client
    """A client that refuses requests once the sink has lost its lock."""
    tuning: S3Tuning
    part_permits: asyncio.Semaphore
    parameters: Mapping[str, str]
    unsealed: set[S3OutputFile]

    @property
    def location(self) -> str: ...

    def address(self, name: str) -> dict[str, str]: ...


class S3OutputFile(OutputFile):
    """One multipart upload, created when its first part is full, or by `finish`.

    Parts are uploaded by tasks of their own, whose failure is raised by the next call.
    """

    def __init__(self, sink: Owner, name: str, size_of_part: int) -> None:
        self.name = name
        self._sink = sink
        self._location = f"{sink.location}{name}"
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
            with translated_errors(f"complete {self._location}", DestinationError):
                await self._steps.run(self._complete())

    async def discard(self) -> None:
        try:
            async with asyncio.timeout(self._sink.tuning.discard_seconds):
                await self._drop()
        except TimeoutError:
            await self._steps.abandon()
            log.debug("The upload of %s may remain: S3 did not answer in time.", self._location)
        self._sink.unsealed.discard(self)

    async def leave(self) -> None:
        await self._stop_sending()
        await self._steps.abandon()
        self._sink.unsealed.discard(self)

    async def begin(self) -> None:
        if self._upload_id is None:
            with translated_errors(f"begin the upload of {self._location}", DestinationError):
                await self._steps.run(self._create())

    async def _create(self) -> None:
        reply = await self._sink.client.call("create_multipart_upload", **self._address, **self._sink.parameters)
        self._upload_id = reply["UploadId"]

    async def _send(self) -> None:
        await self.begin()
        while len(self._tasks) >= self._sink.tuning.parts_of_file_in_flight:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self._raise_failure()
        await self._sink.part_permits.acquire()
        number = len(self._ends) + 1
        self._ends.append((self._ends[-1] if self._ends else 0) + self._waiting)
        body = PartBody(self._blocks, self._crc)
        self._blocks, self._waiting, self._crc = [], 0, 0
        task = asyncio.create_task(self._upload(number, body))
        self._tasks.add(task)
        task.add_done_callback(self._sent)

    async def _upload(self, number: int, body: PartBody) -> None:
        with translated_errors(f"store part {number} of {self._location}", DestinationError):
            part = {"UploadId": self._upload_id, "PartNumber": number, "Body": body, "ChecksumCRC32": body.crc32}
            reply = await self._sink.client.call("upload_part", **self._address, **part)
            etag = reply["ETag"].strip('"')
        crc = reply.get("ChecksumCRC32", "")
        if crc not in ("", body.crc32):
            raise DestinationError(f"Could not store part {number} of {self._location}: S3 has stored other bytes.")
        self._stored[number] = Part(self._ends[number - 1], etag, crc)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._sink.part_permits.release()
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
        if not await uploads.complete(self._sink.guarded, self._address, str(self._upload_id), self._durable_parts()):
            hint = "It was aborted: check that no lifecycle rule aborts uploads this soon, then run again and resume."
            raise DestinationError(f"Could not complete {self._location}: the upload is gone.", hint=hint)
        self._sealed = True
        self._sink.unsealed.discard(self)

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
        with translated_errors(f"abort the upload of {self._location}", DestinationError):
            await self._steps.run(uploads.abort(self._sink.client, self._address, self._upload_id))
        self._upload_id = None
