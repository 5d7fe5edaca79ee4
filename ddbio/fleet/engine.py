"""What a worker works with: the connections, the storage, and the pipeline for its kind of job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from ddbio.audit.auditor import Auditor
from ddbio.audit.finished_export import find_export
from ddbio.aws.opening import Opener
from ddbio.capacity import Governor
from ddbio.clock import Clock
from ddbio.codec import RecordEncoder
from ddbio.ledger.entries import Lease
from ddbio.options import ScanFilter
from ddbio.pipeline.exporting.exporter import Exporter
from ddbio.pipeline.importing.importer import Importer
from ddbio.pipeline.importing.reading import Input, SpanReader
from ddbio.pipeline.job import ExportJob, ImportJob, Job, VerifyJob
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.outbox import Outbox
from ddbio.pipeline.table_client import OpenTransport, TableClient, connect
from ddbio.pipeline.tuning import DEFAULT, Tuning
from ddbio.wire.signing import CredentialProvider
from ddbio.wire.transport import HttpTransport


class Engine(Protocol):
    """What works on a split."""

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
    """Standard input or output, if the job uses it."""


@dataclass(frozen=True, kw_only=True)
class Outside:
    """How an engine reaches what lies outside the process, and its tuning; tests pass others."""

    open_transport: OpenTransport = HttpTransport
    opener: type[Opener] = Opener
    tuning: Tuning = DEFAULT


EngineFactory = Callable[[Job, Tools], AbstractAsyncContextManager[Engine]]
OUTSIDE = Outside()


@asynccontextmanager
async def open_engine(job: Job, tools: Tools, outside: Outside = OUTSIDE) -> AsyncIterator[Engine]:
    """Open the connections and the storage of `job`, and close them at the end."""
    async with AsyncExitStack() as stack:
        client = None
        if job.table is not None:
            connection = connect(
                job.options.table or "",
                job.table,
                connections=job.most_lanes,
                credentials=tools.credentials,
                meter=tools.meter,
                clock=tools.clock,
                executor=tools.executor,
                retry_seconds=job.options.retry_seconds,
                open_transport=outside.open_transport,
                tuning=outside.tuning,
            )
            client = await stack.enter_async_context(connection)
        opener = outside.opener(stack, tools.credentials, tools.executor, tools.stream)
        yield await _ENGINES[type(job)](job, tools, client, opener, outside.tuning)


async def _exporter(job: ExportJob, tools: Tools, client: TableClient, opener: Opener, tuning: Tuning) -> Exporter:
    options = job.options
    scan = client.scan(
        options.scan,
        client.requester(tools.governor, tools.lanes),
        total=job.segments,
        output=options.format,
        fingerprint=options.fingerprint and tools.stream is None,
    )
    return Exporter(
        job,
        scan=scan,
        lanes=tools.lanes,
        sink=await opener.sink(options.destination, tools.run, s3=job.s3, options=options.s3),
        outbox=tools.outbox,
        meter=tools.meter,
        executor=tools.executor,
        clock=tools.clock,
        tuning=tuning,
    )


async def _importer(job: ImportJob, tools: Tools, client: TableClient, opener: Opener, tuning: Tuning) -> Importer:
    inputs = []
    for facts in job.sources:
        reader = SpanReader(await opener.source(facts.location, s3=facts.s3), tools.executor)
        inputs.append(Input(reader, RecordEncoder(job.table.keys, job.options.format, facts.hints)))
    dispatcher = client.dispatcher(client.requester(tools.governor, tools.lanes), tools.lanes)
    return Importer(
        inputs=inputs,
        dispatcher=await opener.stack.enter_async_context(dispatcher),
        group=await opener.stack.enter_async_context(asyncio.TaskGroup()),
        outbox=tools.outbox,
        meter=tools.meter,
        executor=tools.executor,
        clock=tools.clock,
        tuning=tuning,
    )


async def _auditor(job: VerifyJob, tools: Tools, client: TableClient | None, opener: Opener, _: Tuning) -> Auditor:
    source = await opener.source(job.options.source, s3=job.s3)
    export = await find_export(source, run=job.export)
    scan = None
    if client is not None:
        scan = client.scan(
            ScanFilter(consistent=job.options.consistent),
            client.requester(tools.governor),
            total=export.manifest.segments,
            output=export.scan_format,
        )
    return Auditor(
        export=export, source=source, scan=scan, outbox=tools.outbox, meter=tools.meter, executor=tools.executor
    )


_ENGINES: dict[type, Callable[..., Awaitable[Engine]]] = {
    ExportJob: _exporter,
    ImportJob: _importer,
    VerifyJob: _auditor,
}
"""The engine of each kind of job."""
