"""Scan: the pages of one segment, within the budget, verified and transcoded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import Executor
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial

from ddbio import codec
from ddbio.capacity.item_collections import CollectionTurns
from ddbio.errors import CorruptReplyError
from ddbio.model import MalformedPageError, OutputFormat, Page
from ddbio.options import ScanFilter
from ddbio.pipeline.requests import CostEstimate, Requester
from ddbio.pipeline.tuning import DEFAULT, Tuning
from ddbio.wire.dynamodb import DynamoDB, ScanPlan
from ddbio.wire.replies import credible

FULL_PAGE_UNITS = 128.5
"""The cost of an eventually consistent page of 1 MB, and of the item that crosses its end."""
FIRST_UNITS_PER_ITEM = 0.5
"""The cost of an eventually consistent read of an item of 4 KB; most items are smaller and cost far less."""


@dataclass(eq=False, repr=False)
class SegmentScan:
    """Reads segments of one table or index; `total` is the Scan's TotalSegments.

    With `fingerprint`, pages have one. With the names of the attributes of the `partition_key`, large item collections
    take precedence (see `ddbio.capacity.item_collections`).
    """

    table: str
    what: ScanFilter
    _: KW_ONLY
    total: int
    output: OutputFormat
    dynamodb: DynamoDB
    requester: Requester
    executor: Executor
    fingerprint: bool = False
    partition_key: Sequence[str] = ()
    tuning: Tuning = DEFAULT

    def __post_init__(self) -> None:
        self._plan = ScanPlan(table=self.table, total_segments=self.total, what=self.what)
        whole = FULL_PAGE_UNITS * (2 if self.what.consistent else 1)
        # First pages are estimated separately: those of many empty segments say nothing about later pages.
        self._first_cost = CostEstimate(whole)
        self._next_cost = CostEstimate(whole)
        self._limit = PageLimit(whole, self.tuning.page_seconds)

    async def pages(self, segment: int, after: str = "") -> AsyncGenerator[Page]:
        """The pages of the segment after the key `after` (JSON). Raises WireError where one can't be read."""
        plan = replace(self._plan, segment=segment)
        last_key, cycle = after.encode() or None, _Cycle()
        with CollectionTurns(self.partition_key, self.requester.meter.collections) as turns:
            while True:
                cost = self._first_cost if last_key is None else self._next_cost
                due = turns.due(self.requester.rate)
                page, permit = await self.requester.run(cost.units, partial(self._fetch, plan, last_key), due)
                if page.capacity is not None:  # before it is settled, which lets the next request estimate its cost
                    cost.learn(page.capacity)
                    self._limit.learn(page.scanned, page.capacity)
                permit.settle(page.capacity)
                self.requester.deadline.touch()
                yield page
                last_key = page.last_key
                if last_key is None:
                    return
                if cycle.closes(last_key):
                    raise CorruptReplyError(f"The Scan of segment {segment} has returned to an earlier key.")
                turns.passed(last_key, permit)

    async def _fetch(self, plan: ScanPlan, last_key: bytes | None) -> Page:
        # The budget is looked up now, since the job may have been paused while the request waited.
        limit = self._limit.items(self.requester.rate)
        page = await self._transcoded(await self.dynamodb.scan(plan.body(last_key, limit)))
        if last_key is not None and page.last_key == last_key:
            raise CorruptReplyError("A Scan reply continues at the key where the request began.")
        return page._replace(capacity=credible(page.capacity))

    async def _transcoded(self, reply: bytes | bytearray) -> Page:
        transcode = partial(codec.transcode_page, reply, self.output, self.fingerprint)
        try:
            if len(reply) > self.tuning.threaded_page_bytes or codec.CODEC == "reference":
                return await asyncio.get_running_loop().run_in_executor(self.executor, transcode)
            return transcode()
        except MalformedPageError as error:
            raise CorruptReplyError(f"A Scan reply can't be read: {error}") from error


class PageLimit:
    """Learns the cost of an item from the pages. A whole page costs `whole` capacity units; a page may cost at most
    `seconds` of the budget.
    """

    def __init__(self, whole: float, seconds: float = Tuning.page_seconds) -> None:
        self._whole = whole
        self._seconds = seconds
        self._per_item = FIRST_UNITS_PER_ITEM
        self._affordable = 0.0

    def items(self, rate: float) -> int | None:
        """The `Limit` of a Scan for a budget of `rate` units per second; None where the page needs none."""
        self._affordable = rate * self._seconds or self._affordable  # the last one stands while the job is paused
        if not 0 < self._affordable < self._whole:
            return None
        return max(1, int(self._affordable / self._per_item))

    def learn(self, evaluated: int, units: float) -> None:
        if evaluated:
            self._per_item = max(units / evaluated, 1e-6)


class _Cycle:
    """Detects that keys repeat (Brent's algorithm): it keeps a single key, which is replaced ever more rarely."""

    def __init__(self) -> None:
        self._kept: bytes | None = None
        self._passed, self._most = 0, 1

    def closes(self, key: bytes) -> bool:
        if key == self._kept:
            return True
        self._passed += 1
        if self._passed == self._most:
            self._kept, self._passed, self._most = key, 0, 2 * self._most
        return False
