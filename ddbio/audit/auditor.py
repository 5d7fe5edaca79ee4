"""The auditor: reads the files of an export, and the segments of a table, several at a time, and counts.

Memory: `concurrency` × (a chunk of 1 MiB or a page, its rows, and `stage.CACHE_KIB`), whatever the size of the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor
from contextlib import aclosing
from functools import partial
from typing import TypeVar

from ddbio.audit.export import Export
from ddbio.audit.files import FileCheck
from ddbio.audit.items import ItemReader
from ddbio.audit.stage import Row, Stage
from ddbio.errors import JobFailedError
from ddbio.model import Refused
from ddbio.pipeline.exporting.scanning import SegmentScan
from ddbio.storage.base import Source

T = TypeVar("T")


class Auditor:
    """Compares the files of one export with its manifest; `tell` is called after every step, `found` with problems."""

    def __init__(
        self,
        export: Export,
        source: Source,
        *,
        concurrency: int,
        executor: Executor,
        tell: Callable[[], None],
        found: Callable[[str], None],
    ) -> None:
        self._export = export
        self._source = source
        self._concurrency = concurrency
        self._executor = executor
        self._tell = tell
        self._found = found
        self._reader = export.reader()
        self.items = 0
        """Records found in the files."""
        self.bytes = 0
        """Bytes of the files, as stored."""
        self.scanned = 0
        """Items of the table."""
        self.done = 0
        """Segments (without a table: files) that are done."""

    async def check(self) -> None:
        """Read every file once."""
        await self._each(range(len(self._export.manifest.files)), self._check)

    async def compare(self, scan: SegmentScan, reader: ItemReader, rest: Stage) -> None:
        """Read every file once, and the segments of the table with `reader`; what differs is added to `rest`.

        Each segment is compared separately. A key that is in another segment than it was during the export differs in
        both, and is matched on `rest`.
        """
        files = self._export.by_segment()

        async def compare(segment: int) -> None:
            async with Stage(self._executor) as stage:
                for number in files.get(segment, ()):
                    await self._read(number, stage)
                await self._scan(segment, scan, reader, stage)
                await stage.hand_on(rest)

        await self._each(range(self._export.manifest.segments), compare)

    async def _each(self, splits: Iterable[int], work: Callable[[int], Awaitable[None]]) -> None:
        """Process all splits, `concurrency` at a time; raises the first failure."""
        waiting = iter(splits)

        async def worker() -> None:
            for split in waiting:
                await work(split)
                self.done += 1
                self._tell()

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._concurrency):
                    group.create_task(worker())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _check(self, number: int) -> None:
        await self._read(number, None)

    async def _read(self, number: int, stage: Stage | None) -> None:
        said = self._export.said(number)
        file = self._export.files.get(said.name)
        if file is None:
            self._found(f"{said.name}: it is missing.")
            return
        check = FileCheck(said, self._reader, number=number, keep=stage.add if stage else None)
        call = stage.run if stage else partial(asyncio.get_running_loop().run_in_executor, self._executor)
        async with aclosing(self._source.read(file)) as chunks:
            async for chunk in chunks:
                before = check.items
                await call(check.feed, chunk)
                self.bytes += len(chunk)
                self.items += check.items - before
                self._tell()
        before = check.items
        for problem in await call(check.end):
            self._found(problem)
        self.items += check.items - before

    async def _scan(self, segment: int, scan: SegmentScan, reader: ItemReader, stage: Stage) -> None:
        async with aclosing(scan.pages(segment)) as pages:
            async for page in pages:
                await stage.run(_add_page, page.records, segment, reader, stage)
                self.scanned += page.items
                self._tell()


def _add_page(records: bytes, segment: int, reader: ItemReader, stage: Stage) -> None:
    rows = []
    for line in records.splitlines():
        item = reader.read(line)
        if isinstance(item, Refused):
            raise JobFailedError(f"An item of segment {segment} of the table can't be read: {item.message}")
        rows.append(Row(item.key, item.fingerprint, segment))
    stage.add(rows)
