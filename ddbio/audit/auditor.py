"""The auditor: reads the files of an export, and the segments of a table, and hands over what differs.

Memory of a process: `concurrency` × (a chunk of 1 MiB or a page, its rows, and `staging.CACHE_KIB`), whatever the size
of the table.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from ddbio.audit.commits import AuditCommit, Row
from ddbio.audit.files import FileCheck
from ddbio.audit.finished_export import FinishedExport
from ddbio.audit.items import ItemReader
from ddbio.audit.staging import Staging
from ddbio.errors import JobFailedError
from ddbio.ledger.entries import Lease
from ddbio.ledger.positions import START
from ddbio.model import Refused
from ddbio.pipeline.exporting.scanning import SegmentScan
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.outbox import Committer, Outbox
from ddbio.storage.base import Source

PIECE_BYTES = 1024 * 1024
"""A commit hands over about this many bytes of rows; the next piece waits until it has arrived."""


@dataclass(kw_only=True)
class Auditor:
    """Works on the splits of a verification: on segments where there is a `scan` of the table, otherwise on files."""

    export: FinishedExport
    source: Source
    scan: SegmentScan | None
    outbox: Outbox
    meter: Meter
    executor: Executor

    def __post_init__(self) -> None:
        self.files = self.export.by_segment()
        self.file_reader = self.export.file_reader()
        self.table_reader = self.export.table_reader()

    async def work(self, lease: Lease) -> None:
        """Audit one segment or file; the last commit has the counts and the problems."""
        audit = _SplitAudit(self, lease)
        await (audit.check() if self.scan is None else audit.compare(self.scan))


class _SplitAudit:
    """The audit of one split: what has been counted and found so far."""

    def __init__(self, auditor: Auditor, lease: Lease) -> None:
        self._auditor = auditor
        self._number = lease.split.id
        self._committer = Committer(lease, auditor.outbox, AuditCommit)
        self._problems: list[str] = []
        self._items = self._bytes = self._scanned = self._handed_over = 0

    async def check(self) -> None:
        """Check one file against the manifest."""
        await self._read(self._number, None)
        await self._finish([])

    async def compare(self, scan: SegmentScan) -> None:
        """Check the files of one segment, and compare them with the segment of the table.

        A key that is in another segment than during the export differs in both.
        """
        async with Staging(self._auditor.executor) as staging:
            for number in self._auditor.files.get(self._number, ()):
                await self._read(number, staging)
            await self._scan(scan, staging)
            rest = await self._hand_over(staging)
        await self._finish(rest)

    async def _read(self, number: int, staging: Staging | None) -> None:
        auditor = self._auditor
        listed = auditor.export.listed(number)
        file = auditor.export.files.get(number)
        if file is None:
            self._problems.append(f"{listed.name}: it is missing.")
            return
        check = FileCheck(listed, auditor.file_reader, number=number, keep=staging.add if staging else None)
        call = staging.run if staging else partial(asyncio.get_running_loop().run_in_executor, auditor.executor)
        async with aclosing(auditor.source.read(file)) as chunks:
            async for chunk in chunks:
                before = check.items
                await call(check.feed, chunk)
                auditor.meter.bytes += len(chunk)
                if staging is None:  # otherwise the items of the table are the progress
                    auditor.meter.items += check.items - before
        self._problems += await call(check.end)
        self._items += check.items
        self._bytes += check.bytes

    async def _scan(self, scan: SegmentScan, staging: Staging) -> None:
        async with aclosing(scan.pages(self._number)) as pages:
            async for page in pages:
                await staging.run(_add_page, page.records, self._number, self._auditor.table_reader, staging)
                self._scanned += page.items
                self._auditor.meter.items += page.items

    async def _hand_over(self, staging: Staging) -> list[Row]:
        """Commit the rows of the keys for which the sides differ, but for the last piece, which is returned."""
        piece: list[Row] = []
        size = 0
        async with aclosing(staging.differing()) as batches:
            async for rows in batches:
                if size >= PIECE_BYTES:
                    await self._committer.commit_and_wait(START, rows=tuple(piece))
                    piece, size = [], 0
                piece += rows
                size += sum(row.size for row in rows)
                self._handed_over += len(rows)
        return piece

    async def _finish(self, rows: list[Row]) -> None:
        await self._committer.commit(
            START,
            done=True,
            read=self._items,
            bytes=self._bytes,
            rows=tuple(rows),
            handed_over=self._handed_over,
            scanned=self._scanned,
            problems=tuple(self._problems),
        )


def _add_page(records: bytes, segment: int, reader: ItemReader, staging: Staging) -> None:
    rows = []
    for line in records.splitlines():
        item = reader.read(line)
        if isinstance(item, Refused):
            raise JobFailedError(f"An item of segment {segment} of the table can't be read: {item.message}")
        rows.append(Row(item.key, item.fingerprint, segment))
    staging.add(rows)
