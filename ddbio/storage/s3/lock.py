"""One job, one writer, on S3: a lease, which is an object that its holder rewrites all the time.

It is written under conditions (If-None-Match, If-Match), and read back: the reply to a write may be lost, and some
servers ignore conditions. There, of two jobs that begin in the same instant, one finds out when it renews its lease.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, NamedTuple, NoReturn

import msgspec

from ddbio.clock import Clock, sleep
from ddbio.errors import DestinationError, JobLockedError, PreflightError
from ddbio.storage.holder import Holder, locked, read, this_process
from ddbio.storage.s3.errors import edge, ignoring
from ddbio.storage.s3.retry import insist

LEASE_SECONDS = 60.0
"""A lease that was not renewed for so long, by the server's clock, can be taken over."""
RENEW_SECONDS = 15.0
VALID_SECONDS = LEASE_SECONDS - RENEW_SECONDS
"""Its holder stops so long after it began to write it: a good while before another job may begin."""
RELEASE_SECONDS = 0.5
"""One of the times that make up the two seconds which a job that is stopped has in all: workers that stop, files that
are sealed, a chunk of the journal that is written."""
DONE_SECONDS = 10.0
"""So long a job that ends by itself tries to give the lease back."""
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


class Lease:
    """The lease that the object at `address` stands for; `place` is what a person calls what it guards."""

    def __init__(
        self, client: Any, address: Mapping[str, str], place: str, run: str, parameters: Mapping[str, str], clock: Clock
    ) -> None:
        self._client = client
        self._address = address
        self._place = place
        self._parameters = parameters
        self._clock = clock
        self._holder = this_process(run, uuid.uuid4().hex)
        self._valid_until = clock.now()
        self.lost: JobLockedError | None = None
        """Why this job may not write any more."""

    async def take(self) -> None:
        """Take the lease; raises as `Sink.lock` says."""
        asked = self._clock.now()
        with edge(f"lock {self._place}", PreflightError):
            for _ in range(_ATTEMPTS):
                found = await insist(self._look, self._clock)
                if found is not None and self._is_own(found.holder):  # whatever the reply to the write was
                    self._valid_until = asked + VALID_SECONDS
                    return
                if found is not None and found.age <= LEASE_SECONDS:
                    raise locked(self._place, found.holder, _HINT)
                asked = self._clock.now()
                condition = {"IfNoneMatch": "*"} if found is None else {"IfMatch": found.etag}
                await insist(partial(self._write, condition), self._clock)
        raise locked(self._place, None, _HINT)

    async def renew(self) -> None:
        """Keep the lease until cancelled; raises JobLockedError when another job has taken it."""
        while True:
            await sleep(self._clock, RENEW_SECONDS)
            try:
                async with asyncio.timeout(RENEW_SECONDS):
                    await self._renew()
            except (TimeoutError, DestinationError) as error:
                log.debug("The lock on %s was not renewed: %s", self._place, error)

    async def watch(self) -> None:
        """Raise JobLockedError once the lease could not be renewed in time."""
        while (left := self._valid_until - self._clock.now()) > 0:
            await sleep(self._clock, left)
        self._lose(f"The lock on {self._place} could not be renewed for {VALID_SECONDS:.0f} seconds.")

    async def release(self, seconds: float) -> None:
        """Give the lease back, if it is still held and S3 answers within `seconds`; else it lapses."""
        if self.lost or self._clock.now() >= self._valid_until:
            return
        try:
            async with asyncio.timeout(seconds):
                with edge(f"unlock {self._place}", DestinationError):
                    await insist(self._delete, self._clock)
        except (TimeoutError, DestinationError) as error:
            log.debug("The lock on %s was not given back: %s", self._place, error)
            log.warning(
                "S3 did not answer in time: the lock on %s stays for another %.0f seconds.", self._place, LEASE_SECONDS
            )

    async def _renew(self) -> None:
        asked, before = self._clock.now(), self._holder.renewed
        with edge(f"renew the lock on {self._place}", DestinationError):
            for _ in range(_ATTEMPTS):
                found = await self._look()
                if found is None or found.holder is None or not self._is_own(found.holder):
                    who = found and found.holder
                    self._lose(f"Another job has taken over {self._place}: {who or 'its lock is gone'}.")
                if found.holder.renewed > before:
                    self._valid_until = asked + VALID_SECONDS
                    return
                await self._write({"IfMatch": found.etag})

    def _lose(self, message: str) -> NoReturn:
        self.lost = JobLockedError(message, hint=_LOST_HINT)
        raise self.lost

    def _is_own(self, holder: Holder | None) -> bool:
        return holder is not None and holder.nonce == self._holder.nonce

    async def _look(self) -> _Found | None:
        with ignoring("NoSuchKey"):
            reply = await self._client.get_object(**self._address)
            async with reply["Body"]:
                holder = read(await reply["Body"].read())
            now = reply["ResponseMetadata"]["HTTPHeaders"].get("date", "")
            return _Found(holder, reply["ETag"], _age(now, reply["LastModified"]))
        return None

    async def _write(self, condition: Mapping[str, str]) -> None:
        # What is written differs each time, and so does its ETag: a takeover can't miss a renewal.
        self._holder = msgspec.structs.replace(self._holder, renewed=self._holder.renewed + 1)
        body = msgspec.json.encode(self._holder)
        with ignoring(*_CONFLICTS):
            await self._client.put_object(**self._address, Body=body, **self._parameters, **condition)

    async def _delete(self) -> None:
        found = await self._look()
        if found is None or not self._is_own(found.holder):
            return
        with ignoring("NotImplemented"):
            await self._client.delete_object(**self._address, IfMatch=found.etag)
            return
        await self._client.delete_object(**self._address)


def _age(now: str, written: datetime) -> float:
    """Seconds; 0 where the server does not tell the time, as nobody can know then that a lease has run out."""
    try:
        return (parsedate_to_datetime(now) - written).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return 0.0


@asynccontextmanager
async def hold(lease: Lease) -> AsyncIterator[None]:
    """Hold a lease; when it gets lost, the body is cancelled and JobLockedError raised."""
    patience = DONE_SECONDS
    try:
        await lease.take()
        async with asyncio.TaskGroup() as group:
            keepers = [group.create_task(lease.renew()), group.create_task(lease.watch())]
            yield
            for keeper in keepers:
                keeper.cancel()
    except asyncio.CancelledError:
        patience = RELEASE_SECONDS
        raise
    except BaseExceptionGroup as errors:
        # The loss, or else what the body raised: a body under a lock raises what it raises without one.
        raise errors.exceptions[0]  # noqa: B904
    finally:
        await lease.release(patience)
