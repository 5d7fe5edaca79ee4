"""Reading and writing one table: the connections, the requests and what paces them, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from ddbio.capacity import Governor
from ddbio.clock import Clock
from ddbio.codec import RecordEncoder
from ddbio.model import OutputFormat
from ddbio.options import RETRY_SECONDS, ScanFilter
from ddbio.pipeline.exporting.scanning import SegmentScan
from ddbio.pipeline.importing.sending import Dispatcher
from ddbio.pipeline.importing.writing import TableWriter
from ddbio.pipeline.job import TableFacts
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.requests import Requester
from ddbio.pipeline.tuning import DEFAULT, Tuning
from ddbio.wire.dynamodb import DynamoDB
from ddbio.wire.signing import CredentialProvider
from ddbio.wire.transport import HttpTransport, Transport

OpenTransport = Callable[..., AbstractAsyncContextManager[Transport]]
"""Opens the connections to the service; called like `HttpTransport`."""


@dataclass(frozen=True, kw_only=True)
class TableClient:
    """Reads and writes one table; its requests are counted in `meter`."""

    name: str
    """What the service is asked for: the table's name, or an ARN, which may name the table of another account."""
    facts: TableFacts
    dynamodb: DynamoDB
    meter: Meter
    clock: Clock
    executor: Executor
    retry_seconds: float = RETRY_SECONDS
    tuning: Tuning = DEFAULT

    def requester(self, governor: Governor, lanes: Lanes | None = None) -> Requester:
        """What sends requests at the rate of `governor`; one that waits to be repeated leaves its lane to others."""
        return Requester(governor, self.meter, self.clock, self.retry_seconds, lanes)

    def scan(
        self, what: ScanFilter, requester: Requester, *, total: int, output: OutputFormat, fingerprint: bool = False
    ) -> SegmentScan:
        return SegmentScan(
            self.name,
            what,
            total=total,
            output=output,
            dynamodb=self.dynamodb,
            requester=requester,
            executor=self.executor,
            fingerprint=fingerprint,
            partition_key=self.facts.partition_key,
            tuning=self.tuning,
        )

    def dispatcher(self, requester: Requester, lanes: Lanes) -> Dispatcher:
        """What gathers records into batches and writes them, one batch in each of the `lanes`."""
        meter, tuning, echo = self.meter, self.tuning, RecordEncoder(self.facts.keys, "dynamodb-json", {})
        writer = TableWriter(
            self.name, dynamodb=self.dynamodb, requester=requester, meter=meter, echo=echo, tuning=tuning
        )
        return Dispatcher(writer, requester=requester, lanes=lanes, meter=meter, clock=self.clock, tuning=tuning)


@asynccontextmanager
async def connect(
    name: str,
    facts: TableFacts,
    *,
    connections: int,
    credentials: CredentialProvider,
    meter: Meter,
    clock: Clock,
    executor: Executor,
    retry_seconds: float = RETRY_SECONDS,
    open_transport: OpenTransport = HttpTransport,
    tuning: Tuning = DEFAULT,
) -> AsyncIterator[TableClient]:
    """A client of the table over at most `connections` connections, which are closed at the end."""
    async with open_transport(connections=connections, ca_bundle=facts.ca_bundle) as transport:
        dynamodb = DynamoDB(facts.endpoint, facts.region, transport, credentials=credentials, executor=executor)
        yield TableClient(
            name=name,
            facts=facts,
            dynamodb=dynamodb,
            meter=meter,
            clock=clock,
            executor=executor,
            retry_seconds=retry_seconds,
            tuning=tuning,
        )
