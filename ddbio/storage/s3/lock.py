"""The lock of a job on S3: an object that its holder renews, and that expires when the holder does not.

It is written under conditions (If-None-Match, If-Match) and then read back: the reply to a write may be lost, and some
servers ignore conditions. On those, if two jobs begin in the same instant, one finds out when it renews its lock.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import InitVar, dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple, NoReturn

import msgspec

from ddbio.clock import Clock, sleep
from ddbio.errors import DestinationError, JobLockedError, PreflightError
from ddbio.storage.holder import Holder, locked, read, this_process
from ddbio.storage.s3.client import S3Client
from ddbio.storage.s3.errors import ignoring, translated_errors
from ddbio.storage.s3.tuning import S3Tuning

LEASE_SECONDS = 60.0
"""A lock that was not renewed for this long, by the server's clock, can be taken over."""
RENEW_SECONDS = 15.0
VALID_SECONDS = LEASE_SECONDS - RENEW_SECONDS
"""The holder stops this long after the last renewal began: well before another job may begin."""
_ATTEMPTS = 3
_CONFLICTS = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")
_HINT = (
    f"Wait until that job has ended, or stop it; then run again. The lock of a job that died is free after "
    f"{LEASE_SECONDS:.0f} seconds."
)
_LOST_HINT = "See that no other job writes there; then run again and resume."
log = logging.getLogger("ddbio")


class _Found(NamedTuple):
    holder: Holder | None
    etag: str
    age: float


@dataclass
class Lock:
    """The object at `address`; it locks the files at `location`."""

    client: S3Client
    address: Mapping[str, str]
    location: str
    run: InitVar[str]
    parameters: Mapping[str, str]
    clock: Clock
    lost: JobLockedError | None = None
    """Why this job may not write any more."""

    def __post_init__(self, run: str) -> None:
        self._holder = this_process(run, uuid.uuid4().hex)
        self._valid_until = self.clock.now()

    async def take(self) -> None:
        asked = self.clock.now()
        with translated_errors(f"lock {self.location}", PreflightError):
            for _ in range(_ATTEMPTS):
                found = await self._read()
                if found is not None and self._is_own(found.holder):  # whatever the reply to the write was
                    self._valid_until = asked + VALID_SECONDS
                    return
                if found is not None and found.age <= LEASE_SECONDS:
                    raise locked(self.location, found.holder, _HINT)
                asked = self.clock.now()
                condition = {"IfNoneMatch": "*"} if found is None else {"IfMatch": found.etag}
                await self._write(condition)
        raise locked(self.location, None, _HINT)

    async def renew(self) -> None:
        """Renew the lock until cancelled; raises JobLockedError when another job has taken it."""
        while True:
            await sleep(self.clock, RENEW_SECONDS)
            try:
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._renew()
            except (TimeoutError, DestinationError) as error:
                log.debug("The lock on %s was not renewed: %s", self.location, error)

    async def watch(self) -> None:
        """Raise JobLockedError once the lock was not renewed in time."""
        while (left := self._valid_until - self.clock.now()) > 0:
            await sleep(self.clock, left)
        self._lose(f"The lock on {self.location} could not be renewed for {VALID_SECONDS:.0f} seconds.")

    async def release(self, seconds: float) -> None:
        """Delete the lock, if it is still held and S3 answers within `seconds`; otherwise it expires."""
        if self.lost or self.clock.now() >= self._valid_until:
            return
        try:
            async with asyncio.timeout(seconds):
                with translated_errors(f"unlock {self.location}", DestinationError):
                    await self._delete()
        except (TimeoutError, DestinationError) as error:
            log.debug("The lock on %s was not released: %s", self.location, error)
            stays = "S3 did not answer in time: the lock on %s stays for another %.0f seconds."
            log.warning(stays, self.location, LEASE_SECONDS)

    async def _renew(self) -> None:
        asked, before = self.clock.now(), self._holder.renewed
        with translated_errors(f"renew the lock on {self.location}", DestinationError):
            for _ in range(_ATTEMPTS):
                found = await self._read()
                if found is None or found.holder is None or not self._is_own(found.holder):
                    who = found and found.holder
                    self._lose(f"Another job has taken over {self.location}: {who or 'its lock is gone'}.")
                if found.holder.renewed > before:
                    self._valid_until = asked + VALID_SECONDS
                    return
                await self._write({"IfMatch": found.etag})

    def _lose(self, message: str) -> NoReturn:
        self.lost = JobLockedError(message, hint=_LOST_HINT)
        raise self.lost

    def _is_own(self, holder: Holder | None) -> bool:
        return holder is not None and holder.nonce == self._holder.nonce

    async def _read(self) -> _Found | None:
        found = await self.client.read(self.address["Bucket"], self.address["Key"])
        if found is None:
            return None
        now = found.reply["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        return _Found(read(found.data), found.reply["ETag"], _age(now, found.reply["LastModified"]))

    async def _write(self, condition: Mapping[str, str]) -> None:
        # What is written differs each time, and so does its ETag: a takeover can't miss a renewal.
        self._holder = msgspec.structs.replace(self._holder, renewed=self._holder.renewed + 1)
        body = msgspec.json.encode(self._holder)
        with ignoring(*_CONFLICTS):
            await self.client.call("put_object", **self.address, Body=body, **self.parameters, **condition)

    async def _delete(self) -> None:
        found = await self._read()
        if found is None or not self._is_own(found.holder):
            return
        with ignoring("NotImplemented"):
            with ignoring(*_CONFLICTS):  # it is another job's by now, or was deleted by a request whose reply was lost
                await self.client.call("delete_object", **self.address, IfMatch=found.etag)
            return
        await self.client.call("delete_object", **self.address)


def _age(now: str, written: datetime) -> float:
    """Seconds; 0 where the server does not give the time, since then it is not known that a lock has expired."""
    try:
        return (parsedate_to_datetime(now) - written).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return 0.0


@asynccontextmanager
async def hold(lock: Lock, tuning: S3Tuning) -> AsyncIterator[None]:
    """Hold a lock; when it is lost, the body is cancelled and JobLockedError is raised."""
    patience = tuning.release_seconds_at_end
    try:
        await lock.take()
        async with asyncio.TaskGroup() as group:
            keepers = [group.create_task(lock.renew()), group.create_task(lock.watch())]
            yield
            for keeper in keepers:
                keeper.cancel()
    except asyncio.CancelledError:
        patience = tuning.release_seconds
        raise
    except BaseExceptionGroup as errors:
        # The loss of the lock, or else what the body raised: it comes out as it would without a lock.
        raise errors.exceptions[0]  # noqa: B904
    finally:
        await lock.release(patience)
