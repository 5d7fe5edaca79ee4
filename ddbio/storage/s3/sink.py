"""An S3 prefix as a destination."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from ddbio.clock import Clock, LoopClock
from ddbio.errors import DestinationError, PreflightError
from ddbio.names import is_seen
from ddbio.options import S3Options
from ddbio.storage.base import LOCK, OWN_FOLDER, PROBE, Sink, StoredFile
from ddbio.storage.s3 import tuning as s3_tuning
from ddbio.storage.s3 import uploads
from ddbio.storage.s3.client import S3Client
from ddbio.storage.s3.errors import translated_errors
from ddbio.storage.s3.lock import Lock, hold
from ddbio.storage.s3.output_file import S3OutputFile, part_size
from ddbio.storage.s3.tuning import S3Tuning
from ddbio.storage.tokens import Token, UploadToken
from ddbio.words import count


class S3Sink(Sink):
    """Objects under a prefix of a bucket, through an aiobotocore S3 client that the caller opens and closes.

    Memory: at most `(open files + parts in flight) * (part size + one block)` bytes, since `write` waits for a slot
    before a full part leaves, and the parts in flight a second time in the client's connections.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        prefix: str,
        *,
        options: S3Options | None = None,
        parameters: Mapping[str, str] | None = None,
        tuning: S3Tuning | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.tuning = tuning or s3_tuning.DEFAULT
        self._clock = clock or LoopClock()
        self.client = S3Client(client, retries=self.tuning.retries, clock=self._clock)
        self.guarded = S3Client(client, retries=self.tuning.retries, clock=self._clock, before=self._refuse_if_lost)
        self.bucket = bucket
        self.part_permits = asyncio.Semaphore(self.tuning.parts_in_flight)
        self.parameters: Mapping[str, str] = {**(options or S3Options()).parameters(), **(parameters or {})}
        self._prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        self._lock: Lock | None = None
        self.unsealed: set[S3OutputFile] = set()

    @property
    def location(self) -> str:
        return f"s3://{self.bucket}/{self._prefix}"

    async def __aexit__(self, *exc: object) -> None:
        # Concurrently: on a dead network each of them takes all of its time.
        ends = await asyncio.gather(*(file.discard() for file in self.unsealed), return_exceptions=True)
        for end in ends:
            if end is not None:
                raise end

    async def check(self, expected_bytes: int | None) -> list[str]:  # noqa: ARG002 (a bucket has no size)
        # Two listings, and an upload that is created and aborted, need the same permissions as the job. Unlike a probe
        # that is put and deleted, they leave no version behind, and need no s3:DeleteObject.
        with translated_errors(f"look into {self.location}", PreflightError):
            await self.client.call("list_objects_v2", Bucket=self.bucket, Prefix=self._prefix, MaxKeys=1)
            await self.client.call("list_multipart_uploads", Bucket=self.bucket, Prefix=self._prefix, MaxUploads=1)
        try:
            file = await self.create(PROBE, max_bytes=0)
            await file.begin()
            await file.discard()
        except DestinationError as error:
            raise PreflightError(error.message, hint=error.hint) from error
        return []

    async def create(self, name: str, *, max_bytes: int) -> S3OutputFile:
        file = S3OutputFile(self, name, part_size(max_bytes, self.tuning.smallest_part))
        self.unsealed.add(file)
        return file

    async def put(self, name: str, data: bytes) -> None:
        with translated_errors(f"write {self.location}{name}", DestinationError):
            reply = await self.guarded.call("put_object", **self.address(name), Body=data, **self.parameters)
            _ = reply["ETag"]  # a reply without one is not S3's

    async def get(self, name: str, *, most: int | None = None) -> bytes | None:
        with translated_errors(f"read {self.location}{name}", DestinationError):
            found = await self.client.read(self.bucket, self.key(name), most)
        return found and found.data

    async def list(self, prefix: str = "") -> list[StoredFile]:
        cut = len(self._prefix)
        with translated_errors(f"list {self.location}{prefix}", DestinationError):
            # Sorted here: directory buckets reply in no order (S3 API, ListObjectsV2).
            return sorted(
                [
                    StoredFile(each["Key"][cut:], each["Size"])
                    async for page in self.client.pages("list_objects_v2", Bucket=self.bucket, Prefix=self.key(prefix))
                    for each in page.get("Contents", ())
                ]
            )

    async def foreign_input(self, is_mine: Callable[[str], bool]) -> str | None:
        with translated_errors(f"list {self.location}", DestinationError):
            found = await self.client.call("list_objects_v2", Bucket=self.bucket, Prefix=self._prefix)
        names = (each["Key"][len(self._prefix) :] for each in found.get("Contents", ()))
        return next((name for name in names if is_seen(name) and not is_mine(name)), None)

    async def delete(self, *names: str) -> None:
        what = names[0] if len(names) == 1 else f" ({count(len(names), 'object')})"
        most = self.tuning.keys_per_deletion
        with translated_errors(f"delete {self.location}{what}", DestinationError):
            for first in range(0, len(names), most):
                keys = [self.key(name) for name in names[first : first + most]]
                await self.guarded.delete(self.bucket, keys)

    async def recover(self, name: str, size: int, token: Token | None) -> bool:
        self._refuse_if_lost()
        if not isinstance(token, UploadToken):
            return False
        with translated_errors(f"complete {self.location}{name}", DestinationError):
            return await uploads.recover(self.guarded, self.address(name), size, token)

    async def sweep(self, owns: Callable[[str], bool], keep: Container[str]) -> Sequence[str]:
        def unwanted(key: str) -> bool:
            name = key[len(self._prefix) :]
            return name not in keep and (name.startswith(f"{OWN_FOLDER}/") or owns(name))

        with translated_errors(f"abort uploads to {self.location}", DestinationError):
            keys = await uploads.sweep(self.guarded, self.bucket, self._prefix, unwanted)
        return sorted(key[len(self._prefix) :] for key in keys)

    def lock(self, run: str) -> AbstractAsyncContextManager[None]:
        """An object that is renewed. Once the lock is lost, this sink changes nothing any more."""
        # A storage class may charge for each renewal, or keep the object from being read.
        parameters = {name: value for name, value in self.parameters.items() if name != "StorageClass"}
        self._lock = Lock(self.client, self.address(LOCK), self.location, run, parameters, self._clock)
        return hold(self._lock, self.tuning)

    def _refuse_if_lost(self) -> None:
        if self._lock is not None and self._lock.lost is not None:
            raise self._lock.lost

    def address(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.key(name)}

    def key(self, name: str) -> str:
        return self._prefix + name
