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
from ddbio.options import Connection, S3Options
from ddbio.pipeline.job import TableFacts
from ddbio.runtime import threads
from ddbio.storage import parse_location
from ddbio.storage.base import Sink, Source

THREADS = 4
"""For files, compression and checksums, which release the GIL."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the stages of one job share; what is opened here stays open as long as `stack`."""

    session: Session
    opener: Opener
    executor: Executor
    stack: AsyncExitStack
    stream: BinaryIO | None
    """What the location `-` stands for."""

    async def sink(self, destination: str, run: str, options: S3Options) -> tuple[Sink, S3Facts | None]:
        """The sink that `destination` names, and where its bucket is, if it is in S3."""
        s3 = await self.session.s3_facts(destination)
        return await self.opener.sink(destination, run, s3=s3, options=options), s3

    async def source(self, location: str) -> tuple[Source, S3Facts | None]:
        """The source that `location` names, and where its bucket is, if it is in S3."""
        s3 = await self.session.s3_facts(location)
        return await self.opener.source(location, s3=s3), s3


@asynccontextmanager
async def opened(connection: Connection, stream: BinaryIO | None, *locations: str) -> AsyncIterator[Services]:
    """Open what a job on these locations needs; the location `-` stands for `stream`.

    Raises UsageError if one is not a location, before AWS is asked.
    """
    for location in locations:
        parse_location(location)
    async with AsyncExitStack() as stack:
        executor = stack.enter_context(threads(THREADS))
        session = await stack.enter_async_context(Session(connection))
        await session.credentials()
        opener = Opener(stack, session.credential_provider(), executor, stream)
        yield Services(session=session, opener=opener, executor=executor, stack=stack, stream=stream)


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


def new_run() -> str:
    """A name for this run that no other has: the time at which it began, and a random part."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{random.SystemRandom().getrandbits(24):06x}"
