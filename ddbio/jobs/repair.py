"""The repair: missing and different items are written to the table as they are in the files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from ddbio.audit.finished_export import FinishedExport
from ddbio.audit.staging import Staging
from ddbio.aws.table import TableInfo
from ddbio.capacity import Governor
from ddbio.codec import RecordEncoder
from ddbio.codec.framing import Block, Record, records
from ddbio.errors import SourceError
from ddbio.jobs.opening import Services, table_facts
from ddbio.jobs.pace import write_pace
from ddbio.ledger.entries import Split
from ddbio.options import VerifyOptions
from ddbio.pipeline.importing.reading import SpanReader
from ddbio.pipeline.importing.sending import Sender
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.table_client import connect
from ddbio.report import Spending
from ddbio.storage.base import Source, SourceFile
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
    options: VerifyOptions, services: Services, table: TableInfo, export: FinishedExport, source: Source, rest: Staging
) -> Repaired:
    """Write the items that the findings of `rest` locate in the files, within the write budget."""
    clock, meter, refusals = services.clock, Meter(), list[str]()
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
        repair = _Repair(
            files=export.files,
            reader=SpanReader(source, services.executor),
            encoder=RecordEncoder(table.keys, export.options.format, export.manifest.type_hints),
            sender=dispatcher.sender(lambda _, message: refusals.append(message)),
            refusals=refusals,
        )
        async with aclosing(_located(rest)) as located:
            await repair.write(located)
    used = Spending() + meter.usage(governor.spent, governor)
    if not refusals:
        return Repaired(items=meter.items, used=used)
    problem = f"{count(len(refusals), 'item')} could not be written back, the first because: {refusals[0]}"
    return Repaired(items=meter.items, problems=(problem,), used=used)


RecordIds = AsyncGenerator[tuple[int, int]]
"""File numbers and offsets of records, in ascending order."""


async def _located(rest: Staging) -> RecordIds:
    """The missing and different items, where they are in the files."""
    async with aclosing(rest.findings()) as batches:
        async for batch in batches:
            for finding in batch:
                if finding.file is not None and finding.offset is not None:
                    yield finding.file, finding.offset


@dataclass(frozen=True, kw_only=True)
class _Repair:
    """Writes records of the files of an export to a table."""

    files: Mapping[int, SourceFile]
    reader: SpanReader
    encoder: RecordEncoder
    sender: Sender
    refusals: list[str]
    """Why records could not be written."""

    async def write(self, located: RecordIds) -> None:
        """Write these records; returns when all are settled."""
        wanted = await anext(located, None)
        while wanted is not None:
            wanted = await self._from_file(wanted, located)
        while not self.sender.empty:
            await self.sender.push()

    async def _from_file(self, first: tuple[int, int], located: RecordIds) -> tuple[int, int] | None:
        """Write the records of one file, reading it once; return the first record in another file."""
        number, offset = first
        file = self.files[number]
        wanted: tuple[int, int] | None = first
        async with aclosing(self._records(file, offset)) as found:
            async for record in found:
                if wanted == (number, record.offset):
                    await self._put(record)
                    wanted = await anext(located, None)
                    if wanted is None or wanted[0] != number:
                        return wanted
        raise SourceError(f"{file.name} was changed while it was read.", hint="Verify again once nobody writes to it.")

    async def _records(self, file: SourceFile, start: int) -> AsyncGenerator[Record]:
        split = Split(0, file.name, start, size=file.size, tag=file.tag, compression=file.compression)
        async with aclosing(self.reader.blocks(split, start)) as blocks:
            async for block in blocks:
                for record in records(block):
                    yield record

    async def _put(self, record: Record) -> None:
        entries, refused = self.encoder.encode_block(Block(record.offset, record.line, record.data))
        await self.sender.add(entries)
        self.refusals.extend(verdict.message for _, _, verdict in refused)
