"""The repair: missing and different items are written to the table as they are in the files."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from ddbio.audit.finished_export import FinishedExport
from ddbio.audit.stage import Stage
from ddbio.audit.write_back import Repair
from ddbio.aws.table import TableInfo
from ddbio.capacity import Governor
from ddbio.clock import LoopClock
from ddbio.codec import RecordEncoder
from ddbio.jobs.opening import Services, table_facts
from ddbio.jobs.pace import write_pace
from ddbio.options import VerifyOptions
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.table_client import connect
from ddbio.report import Spending
from ddbio.storage.base import Source
from ddbio.words import count

BATCHES = 16
"""Batches in flight at once."""


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """What a repair has done; by default nothing."""

    items: int = 0
    problems: tuple[str, ...] = ()
    used: Spending = field(default_factory=Spending)


async def write_back(
    options: VerifyOptions, services: Services, table: TableInfo, export: FinishedExport, source: Source, rest: Stage
) -> Repaired:
    """Write the items that the findings of `rest` locate in the files, within the write budget."""
    clock, meter, refusals = LoopClock(), Meter(), list[str]()
    governor = Governor(write_pace(options.write_capacity, table).start, clock)
    connecting = connect(
        options.table or table.name,  # an ARN may be that of another account's table
        table_facts(table, services.session),
        connections=BATCHES,
        credentials=services.credentials,
        meter=meter,
        clock=clock,
        executor=services.executor,
        retry_seconds=options.retry_seconds,
    )
    async with connecting as client, client.dispatcher(client.requester(governor), Lanes(BATCHES)) as dispatcher:
        repair = Repair(
            source,
            export.numbered(),
            encoder=RecordEncoder(table.keys, export.format, export.manifest.type_hints),
            sender=dispatcher.sender(lambda _, message: refusals.append(message)),
            executor=services.executor,
            refused=refusals.append,
        )
        async with aclosing(_places(rest)) as places:
            await repair.write(places)
    used = Spending(
        capacity_units=governor.spent, requests=meter.requests, throttles=meter.throttles, retries=meter.retries
    )
    if not refusals:
        return Repaired(items=meter.items, used=used)
    problem = f"{count(len(refusals), 'item')} could not be written back, the first because: {refusals[0]}"
    return Repaired(items=meter.items, problems=(problem,), used=used)


async def _places(rest: Stage) -> AsyncGenerator[tuple[int, int]]:
    """The file numbers and offsets of the missing and different items, in the order of the files."""
    async with aclosing(rest.findings()) as batches:
        async for batch in batches:
            for finding in batch:
                if finding.file is not None and finding.offset is not None:
                    yield finding.file, finding.offset
