"""What a worker works with: connections, storage, and the pipeline of its job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from ddbio.aws.opening import Opener
from ddbio.capacity import Governor
from ddbio.clock import Clock
from ddbio.codec import RecordEncoder
from ddbio.ledger.entries import Lease
from ddbio.pipeline.exporting.exporter import Exporter
from ddbio.pipeline.exporting.scanning import SegmentScan
from ddbio.pipeline.importing.importer import Importer
from ddbio.pipeline.importing.reading import Input, SpanReader
from ddbio.pipeline.importing.sending import Dispatcher
from ddbio.pipeline.importing.writing import TableWriter
from ddbio.pipeline.job import ExportJob, ImportJob, Job, most_lanes
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.outbox import Outbox
from ddbio.pipeline.requests import Requester
from ddbio.wire.dynamodb import DynamoDB
from ddbio.wire.signing import CredentialProvider
from ddbio.wire.transport import HttpTransport


class Engine(Protocol):
    """What works on a split: an exporter or an importer."""

    async def work(self, lease: Lease) -> None:
        """Do the split, committing on the way; what is left to do when this returns is done in a task of the engine."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What all splits of one worker share."""

    governor: Governor
    credentials: CredentialProvider
    lanes: Lanes
    outbox: Outbox
    meter: Meter
    executor: Executor
    clock: Clock
    run: str
    """The worker's own name."""
    stream: BinaryIO | None = None
    """Standard input or output, where the job uses it."""


@asynccontextmanager
async def open_engine(job: Job, tools: Tools) -> AsyncIterator[Engine]:
    """Open the connections and the storage of `job`, and close them at the end."""
    async with AsyncExitStack() as stack:
        transport = await stack.enter_async_context(
            HttpTransport(connections=most_lanes(job), ca_bundle=job.table.ca_bundle)
        )
        dynamodb = DynamoDB(
            endpoint=job.table.endpoint,
            region=job.table.region,
            transport=transport,
            credentials=tools.credentials,
            executor=tools.executor,
        )
        requester = Requester(tools.governor, tools.meter, tools.clock, job.options.retry_seconds, tools.lanes)
        if isinstance(job, ExportJob):
            yield await _exporter(job, tools, dynamodb, requester, stack)
        else:
            yield await _importer(job, tools, dynamodb, requester, stack)


async def _exporter(
    job: ExportJob, tools: Tools, dynamodb: DynamoDB, requester: Requester, stack: AsyncExitStack
) -> Exporter:
    options = job.options
    scan = SegmentScan(
        options.table,
        options.scan,
        total=job.segments,
        output=options.format,
        partition_key=job.table.partition_key,
        fingerprint=options.fingerprint and tools.stream is None,
        dynamodb=dynamodb,
        requester=requester,
        executor=tools.executor,
    )
    opener = Opener(stack, tools.credentials, tools.executor, tools.stream)
    return Exporter(
        job,
        scan=scan,
        lanes=tools.lanes,
        sink=await opener.sink(options.destination, tools.run, s3=job.s3, options=options.s3),
        outbox=tools.outbox,
        meter=tools.meter,
        executor=tools.executor,
        clock=tools.clock,
    )


async def _importer(
    job: ImportJob, tools: Tools, dynamodb: DynamoDB, requester: Requester, stack: AsyncExitStack
) -> Importer:
    writer = TableWriter(
        job.options.table,
        dynamodb=dynamodb,
        requester=requester,
        meter=tools.meter,
        echo=RecordEncoder(job.table.keys, "dynamodb-json", {}),
    )
    dispatcher = Dispatcher(writer, requester=requester, lanes=tools.lanes, meter=tools.meter, clock=tools.clock)
    return Importer(
        inputs=await _inputs(job, tools, stack),
        dispatcher=await stack.enter_async_context(dispatcher),
        group=await stack.enter_async_context(asyncio.TaskGroup()),
        outbox=tools.outbox,
        meter=tools.meter,
        executor=tools.executor,
        clock=tools.clock,
    )


async def _inputs(job: ImportJob, tools: Tools, stack: AsyncExitStack) -> list[Input]:
    """What reads each source."""
    opener = Opener(stack, tools.credentials, tools.executor, tools.stream)
    inputs = []
    for facts in job.sources:
        reader = SpanReader(await opener.source(facts.place, s3=facts.s3), tools.executor)
        inputs.append(Input(reader, RecordEncoder(job.table.keys, job.options.format, facts.hints)))
    return inputs
