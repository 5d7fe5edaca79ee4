"""The one way to S3: every request is retried here, by one policy.

The SDK's own retries are off. They do not cover a body that was spoilt or cut on its way, in either direction, and are
limited by a quota that a single outage uses up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from ddbio import retry
from ddbio.clock import Clock, LoopClock, sleep
from ddbio.errors import DestinationError
from ddbio.storage.s3.errors import failed, ignoring, is_transient, name_of

T = TypeVar("T")
QUIET_SECONDS = 10.0
"""A request that has failed for longer than this is reported in the log."""
_NEXT_PAGE = {
    "list_objects_v2": {"ContinuationToken": "NextContinuationToken"},
    "list_multipart_uploads": {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"},
}
"""What the request for the next page repeats of the reply, by operation."""
_DELETED_AT_ONCE = 16
_ONE_BY_ONE = ("NotImplemented", "MethodNotAllowed", "MalformedXML")
"""Refusals of a server without DeleteObjects, or of a key that XML can't hold: one with a control character."""
log = logging.getLogger("ddbio")


class Object(NamedTuple):
    reply: Any
    data: bytes


class S3Client:
    """An aiobotocore S3 client whose requests are retried while their failure may be transient.

    Raises what `client` raises, which the caller opens and closes. `before` is called before each attempt; what it
    raises comes out.
    """

    def __init__(
        self,
        client: Any,
        *,
        retries: retry.Attempts = retry.S3,
        clock: Clock | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._retries = retries
        self._clock = clock or LoopClock()
        self._before = before

    async def call(self, operation: str, **parameters: Any) -> Any:
        """The reply to an operation, for example `call("head_object", Bucket=…, Key=…)`."""
        return await self.retry(lambda: self.attempt(operation, **parameters))

    async def attempt(self, operation: str, **parameters: Any) -> Any:
        """The same without retries, for a function that `retry` calls."""
        self._before()
        return await getattr(self._client, operation)(**parameters)

    async def retry(self, send: Callable[[], Awaitable[T]]) -> T:
        """What `send` returns; it is called again while its failure may be transient."""
        began = self._clock.now()
        for failures in range(self._retries.most - 1):
            try:
                return await send()
            except Exception as error:
                if not is_transient(error):
                    raise
                self._report(error, failures + 1, self._clock.now() - began)
            await sleep(self._clock, self._retries.backoff.delay(failures))
        return await send()

    def _report(self, error: Exception, failures: int, seconds: float) -> None:
        level = logging.WARNING if seconds > QUIET_SECONDS else logging.DEBUG
        message = "S3 has failed for %.0f seconds (%s): trying again, %d of %d times."
        log.log(level, message, seconds, name_of(error), failures, self._retries.most - 1)

    async def read(self, bucket: str, key: str, most: int | None = None) -> Object | None:
        """A small object; None where it does not exist. Raises DestinationError where it has more than `most` bytes."""

        async def send() -> Object:
            reply = await self.attempt("get_object", Bucket=bucket, Key=key)
            async with reply["Body"]:
                if most is not None and reply["ContentLength"] > most:
                    raise DestinationError(f"s3://{bucket}/{key} has more than {most:,} bytes.")
                return Object(reply, await reply["Body"].read())

        with ignoring("NoSuchKey"):
            return await self.retry(send)
        return None

    async def delete(self, bucket: str, keys: Sequence[str]) -> None:
        """Delete as many objects as one request may name; no error where one does not exist."""
        if len(keys) > 1:
            with ignoring(*_ONE_BY_ONE):
                return await self.retry(lambda: self._delete_many(bucket, keys))
        for first in range(0, len(keys), _DELETED_AT_ONCE):
            group = keys[first : first + _DELETED_AT_ONCE]
            await asyncio.gather(*(self.call("delete_object", Bucket=bucket, Key=key) for key in group))
        return None

    async def _delete_many(self, bucket: str, keys: Sequence[str]) -> None:
        objects = [{"Key": key} for key in keys]
        reply = await self.attempt("delete_objects", Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        for error in reply.get("Errors", ()):
            with ignoring("NoSuchKey"):
                raise failed("DeleteObjects", error.get("Code", ""), f"{error.get('Key')}: {error.get('Message')}")

    async def pages(self, operation: str, **parameters: Any) -> AsyncGenerator[Any]:
        while True:
            page = await self.call(operation, **parameters)
            yield page
            if not page.get("IsTruncated"):
                return
            position = {name: page[member] for name, member in _NEXT_PAGE[operation].items() if page.get(member)}
            if position.items() <= parameters.items():
                raise ValueError("the listing does not advance")
            parameters |= position
