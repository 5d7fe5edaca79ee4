"""Scan: what a page is expected to cost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from ddbio.capacity import Governor, Permit
from ddbio.errors import CorruptReplyError
from ddbio.model import Page
from ddbio.options import ScanFilter
from ddbio.pipeline.exporting.scanning import FULL_PAGE_UNITS, SegmentScan
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.requests import Requester
from tests.kit.fakes import FakeClock

A1, A2 = b'{"id":{"S":"a"},"n":{"N":"1"}}', b'{"id":{"S":"a"},"n":{"N":"2"}}'
EMPTY = Page(b"", 0, 0, 0, None, 0.5, {})
FULL = Page(b"{}\n", 1, 1, 1, b'{"id":{"S":"a"}}', 128.0, {})


class Scripted(Requester):
    """Gives the pages that it was given, and keeps what they were expected to cost."""

    def __init__(self, *pages: Page) -> None:
        self._clock = FakeClock()
        self._bank = Governor(1e9, self._clock)
        super().__init__(self._bank, Meter(), self._clock)
        self._pages = iter(pages)
        self.expected: list[float] = []
        self.due: list[float | None] = []

    async def run(
        self, estimate: Callable[[], float], send: Callable[[], Awaitable[Any]], due: float | None = None
    ) -> tuple[Any, Permit]:
        self.due.append(due)
        self.expected.append(estimate())
        return next(self._pages), await self._bank.acquire(estimate)


async def test_empty_segments_say_nothing_of_the_next_pages_of_others() -> None:
    other = FULL._replace(last_key=b'{"pk":{"S":"behind the first"}}')
    requester = Scripted(FULL, *[EMPTY] * 20, other, EMPTY)
    nothing = cast("Any", None)
    scan = SegmentScan(
        "T", ScanFilter(), total=30, output="jsonl", dynamodb=nothing, requester=requester, executor=nothing
    )
    full = scan.pages(0)
    await anext(full)
    for segment in range(1, 21):
        assert [page async for page in scan.pages(segment)] == [EMPTY]
    assert [page async for page in full] == [other, EMPTY]
    assert requester.expected[:2] == [FULL_PAGE_UNITS, 128.0]
    assert requester.expected[20] == 0.5
    assert requester.expected[21:] == [FULL_PAGE_UNITS, 128.0]


async def test_a_large_item_collection_says_when_its_next_page_is_due() -> None:
    pages = [FULL._replace(last_key=key) for key in (A1, A2)]
    requester = Scripted(*pages, EMPTY)
    nothing = cast("Any", None)
    scan = SegmentScan(
        "T",
        ScanFilter(),
        total=30,
        output="jsonl",
        dynamodb=nothing,
        requester=requester,
        executor=nothing,
        partition_key=["id"],
    )
    assert [page async for page in scan.pages(0)] == [*pages, EMPTY]
    assert requester.due[:2] == [None, None]
    assert requester.due[2] is not None
    assert requester.meter.collections.count == 0


class Canned:
    """Answers each Scan with the next of these replies."""

    def __init__(self, *replies: bytes) -> None:
        self._replies = iter(replies)

    async def scan(self, body: bytes) -> bytes:
        return next(self._replies)


async def pages_of(*replies: bytes) -> list[Page]:
    """What a Scan makes of them; it gives up at the first failure."""
    clock = FakeClock()
    with ThreadPoolExecutor(1) as executor:
        scan = SegmentScan(
            "T",
            ScanFilter(),
            total=1,
            output="jsonl",
            dynamodb=cast("Any", Canned(*replies)),
            requester=Requester(Governor(1e9, clock), Meter(), clock, patience=0),
            executor=executor,
        )
        return [page async for page in scan.pages(0)]


def reply(tail: str) -> bytes:
    return f'{{"Items":[],"Count":0,"ScannedCount":0{tail}}}'.encode()


@pytest.mark.parametrize("units", ["-1", "1e300", "1e999"])
async def test_what_no_page_can_consume_is_not_believed(units: str) -> None:
    [page] = await pages_of(reply(f',"ConsumedCapacity":{{"CapacityUnits":{units}}}'))
    assert page.capacity is None


async def test_a_reply_that_leads_back_to_where_it_began_is_no_page() -> None:
    onward = reply(',"LastEvaluatedKey":{"id":{"S":"a"}}')
    with pytest.raises(CorruptReplyError, match="continues at the key where the request began"):
        await pages_of(onward, onward, reply(""))


@pytest.mark.parametrize("before", [0, 1, 5])
@pytest.mark.parametrize("length", [2, 3, 7])
async def test_a_scan_that_goes_round_in_circles_ends(before: int, length: int) -> None:
    numbers = [*range(before), *(before + number % length for number in range(50))]
    free = ',"ConsumedCapacity":{"CapacityUnits":0},"LastEvaluatedKey":'
    with pytest.raises(CorruptReplyError, match="has returned to an earlier key"):
        await pages_of(*(reply(f'{free}{{"id":{{"S":"{number}"}}}}') for number in numbers))


async def test_a_reply_that_is_no_page_is_told_in_one_sentence() -> None:
    with pytest.raises(CorruptReplyError, match=r"[^.]\.$"):
        await pages_of(b"[]")
