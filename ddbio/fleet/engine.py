"""What a worker works with: connections, storage, and the pipeline of its job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

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
from ddbio.pipeline.job import ExportJob, ImportJob, Job, S3Facts, most_lanes
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.outbox import Outbox
from ddbio.pipeline.requests import Requester
from ddbio.storage.places import open_sink, open_source
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
    client = await stack.enter_async_context(_s3_client(job.s3, tools.credentials)) if job.s3 else None
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
    sink = open_sink(
        options.destination,
        tools.run,
        client=client,
        s3_options=options.s3,
        executor=tools.executor,
        stream=tools.stream,
    )
    return Exporter(
        job,
        scan=scan,
        lanes=tools.lanes,
        sink=await stack.enter_async_context(sink),
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
    """What reads each source; sources whose buckets are in one place share a client."""
    clients: dict[S3Facts | None, Any] = {None: None}
    inputs = []
    for facts in job.sources:
        if facts.s3 is not None and facts.s3 not in clients:
            clients[facts.s3] = await stack.enter_async_context(_s3_client(facts.s3, tools.credentials))
        source = open_source(facts.place, client=clients[facts.s3], executor=tools.executor, stream=tools.stream)
        reader = SpanReader(await stack.enter_async_context(source), tools.executor)
        inputs.append(Input(reader, RecordEncoder(job.table.keys, job.options.format, facts.hints)))
    return inputs


def _s3_client(facts: S3Facts, credentials: CredentialProvider) -> Any:
    # Imported here: aioboto3 takes half a second, and a worker that writes to a folder never needs it.
    from ddbio.aws.session import s3_client  # noqa: PLC0415

    return s3_client(region=facts.region, endpoint_url=facts.endpoint, credentials=credentials, profile=facts.profile)
