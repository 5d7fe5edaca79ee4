"""What a job is opened with: the session with AWS, the way to S3, and threads for files."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from ddbio.aws.opening import Opener
from ddbio.aws.s3 import S3Facts
from ddbio.aws.session import Session
from ddbio.aws.table import TableInfo
from ddbio.capacity import Control
from ddbio.clock import Clock, LoopClock
from ddbio.events import Observer, Warned, tolerant
from ddbio.options import Connection, S3Options
from ddbio.pipeline.job import TableFacts
from ddbio.runtime import threads
from ddbio.storage import S3, parse_location
from ddbio.storage.base import Sink, Source
from ddbio.wire.signing import CredentialProvider, Credentials, StaticCredentials


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the stages of one job share; what is opened here stays open as long as `stack`."""

    aws: Session | None
    """None if the job needs nothing from AWS."""
    opener: Opener
    executor: Executor
    stack: AsyncExitStack
    stream: BinaryIO | None
    """What the location `-` stands for."""
    clock: Clock
    observer: Observer
    control: Control
    run: str
    """A name for this run that no other has: the time at which it began, and a random part."""

    def warn(self, message: str) -> None:
        self.observer(Warned(message))

    @property
    def session(self) -> Session:
        """The session of a job that works on a table."""
        if self.aws is None:
            raise RuntimeError("this job has no session")
        return self.aws

    @property
    def credentials(self) -> CredentialProvider:
        """What the job and its workers sign requests with."""
        return self.aws.credential_provider() if self.aws else StaticCredentials(Credentials("", ""))

    async def sink(self, destination: str, options: S3Options) -> tuple[Sink, S3Facts | None]:
        """The sink that `destination` names, and where its bucket is, if it is in S3."""
        s3 = await self.session.s3_facts(destination)
        return await self.opener.sink(destination, self.run, s3=s3, options=options), s3

    async def source(self, location: str) -> tuple[Source, S3Facts | None]:
        """The source that `location` names, and where its bucket is, if it is in S3."""
        s3 = await self.aws.s3_facts(location) if self.aws else None
        return await self.opener.source(location, s3=s3), s3


@asynccontextmanager
async def opened(
    connection: Connection,
    stream: BinaryIO | None,
    *locations: str,
    observer: Observer,
    control: Control | None,
    table: bool = True,
) -> AsyncIterator[Services]:
    """Open what a job on these locations and, unless that is denied, on a table needs.

    The location `-` stands for `stream`. Raises UsageError if one is not a location, before AWS is asked.
    """
    in_s3 = [isinstance(parse_location(location), S3) for location in locations]
    async with AsyncExitStack() as stack:
        executor = stack.enter_context(threads())
        session = None
        if table or any(in_s3):
            session = await stack.enter_async_context(Session(connection))
            await session.credentials()
        opener = Opener(stack, session.credential_provider() if session else None, executor, stream)
        yield Services(
            aws=session,
            opener=opener,
            executor=executor,
            stack=stack,
            stream=stream,
            clock=LoopClock(),
            observer=tolerant(observer),
            control=control or Control(),
            run=f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{random.SystemRandom().getrandbits(24):06x}",
        )


def table_facts(table: TableInfo, session: Session) -> TableFacts:
    """What is needed to read and write the table."""
    return TableFacts(
        name=table.name,
        region=session.region,
        endpoint=session.dynamodb_endpoint,
        keys=table.keys,
        partition_key=table.partition_key,
        ca_bundle=session.ca_bundle,
    )
