"""Export: one segment of a table, page by page, into files.

Memory of a process: `concurrency` × (one page being read + `Tuning.channel_bytes` + one page being compressed and
written), and for S3 the parts that the sink holds (see `ddbio.storage.s3.sink`).
Measured (`benchmarks/memory.py`): 50 MB + `concurrency` × 4 MB where pages are 1 MB of JSON; to S3 150 MB +
`concurrency` × 11 MB, or 17 MB compressed. Unless it is given, `concurrency` grows to `job.MOST_PAGES`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass

from ddbio.clock import Clock
from ddbio.ledger.entries import Lease
from ddbio.ledger.positions import AfterKey
from ddbio.model import Page
from ddbio.pipeline.channel import Channel
from ddbio.pipeline.exporting.scanning import SegmentScan
from ddbio.pipeline.exporting.segment_files import SegmentFiles
from ddbio.pipeline.job import ExportJob
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.outbox import Outbox
from ddbio.pipeline.tuning import DEFAULT, Tuning
from ddbio.storage.base import Sink


@dataclass(eq=False, repr=False)
class Exporter:
    """Exports segments with the connections and the sink of one worker and its share of the budget."""

    job: ExportJob
    scan: SegmentScan
    lanes: Lanes
    sink: Sink
    outbox: Outbox
    meter: Meter
    executor: Executor
    clock: Clock
    tuning: Tuning = DEFAULT

    async def work(self, lease: Lease) -> None:
        """Export one segment; if this fails or is cancelled, an unfinished file remains to be recovered."""
        channel: Channel[Page] = Channel(self.tuning.channel_bytes)
        files = SegmentFiles(
            self.job,
            lease=lease,
            sink=self.sink,
            outbox=self.outbox,
            executor=self.executor,
            clock=self.clock,
            tuning=self.tuning,
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(lease, channel))
                async for page in channel:
                    size = await files.add(page)
                    self.meter.bytes += size
            await files.finish()
        except asyncio.CancelledError:
            await files.save()
            raise
        finally:
            await files.leave()

    async def _read(self, lease: Lease, channel: Channel[Page]) -> None:
        after = lease.position.key if isinstance(lease.position, AfterKey) else ""
        async with aclosing(self.scan.pages(lease.split.id, after)) as pages:
            while (page := await self._next(pages)) is not None:
                self.meter.items += page.items
                await channel.put(page, len(page.records))
        channel.close()

    async def _next(self, pages: AsyncGenerator[Page]) -> Page | None:
        await self.lanes.take(0)
        try:
            return await anext(pages, None)
        finally:
            self.lanes.give(0)
