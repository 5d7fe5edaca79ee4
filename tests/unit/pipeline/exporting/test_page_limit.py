"""Pages and batches that a small budget can pay for."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddbio.capacity import Governor
from ddbio.codec import EncodedRecord, RecordEncoder
from ddbio.codec.framing import Block
from ddbio.pipeline.exporting.scanning import PageLimit
from ddbio.pipeline.importing.batcher import Batch
from ddbio.pipeline.importing.writing import TableWriter
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.requests import CostRatio, Requester
from ddbio.wire.dynamodb import DynamoDB
from ddbio.wire.replies import BatchReply
from tests.kit.fakes import VirtualClock, run_virtual
from tests.kit.fleets import FACTS

WHOLE = 128.5
PAGE_BYTES = 1024 * 1024


def page(limit: int | None, item: int) -> tuple[int, float]:
    """How many items a page has, and its cost, as the service counts."""
    items = min(limit or 10**9, PAGE_BYTES // item + 1)
    return items, ceil(items * item / 4_096) / 2


@given(st.floats(2, 128), st.integers(50, 400 * 1024))
def test_a_page_soon_costs_about_what_a_second_affords(rate: float, item: int) -> None:
    subject = PageLimit(WHOLE)
    for _ in range(12):
        items, units = page(subject.items(rate), item)
        subject.learn(items, units)
    limit = subject.items(rate)
    assert limit is not None
    items, units = page(limit, item)
    assert units <= max(1.3 * rate + 0.5, item / 8_192 + 0.5)
    assert items == 1 or units >= 0.5 * rate


@pytest.mark.parametrize("rate", [WHOLE, 1_000.0, 0.0])
def test_a_budget_that_affords_whole_pages_needs_no_limit(rate: float) -> None:
    assert PageLimit(WHOLE).items(rate) is None


def test_a_pause_leaves_the_limit_as_it_is() -> None:
    subject = PageLimit(WHOLE)
    limit = subject.items(5.0)
    assert limit is not None
    assert subject.items(0.0) == limit


def test_the_cost_ratio_is_learned_smoothly_and_stays_above_1() -> None:
    ratio = CostRatio()
    ratio.learn(0.0, 0.0)  # nothing was served
    assert not ratio.known
    ratio.learn(10, 500)
    assert ratio.value == 50
    for _ in range(90):
        ratio.learn(10, 30)
    assert ratio.value == pytest.approx(3, rel=0.01)
    for _ in range(200):
        ratio.learn(10, 1)
    ratio.learn(0, 0)
    assert ratio.value == pytest.approx(1, rel=0.01)


def test_a_batch_costs_at_most_a_second_of_learned_units() -> None:
    class Service(DynamoDB):
        def __init__(self) -> None:
            return

        async def batch_write(self, table: str, puts: object, size: int) -> BatchReply:
            return BatchReply((), 40.0)

    async def main() -> list[float]:
        governor, meter, clock = Governor(600, VirtualClock()), Meter(), VirtualClock()
        echo = RecordEncoder(FACTS.keys, "dynamodb-json", {})
        requester = Requester(governor, meter, clock)
        writer = TableWriter("T", dynamodb=Service(), requester=requester, meter=meter, echo=echo)
        found = [writer.affordable]
        await writer.write(Batch.of([EncodedRecord(b"{}", b"a", 2_000, Block(0, None, b"{}"), 0, 2)]))
        found.append(writer.affordable)
        governor.set_rate(100)
        found.append(writer.affordable)
        governor.set_rate(0)  # a pause
        return [*found, writer.affordable]

    assert run_virtual(main()) == [600, 30, 5, 5]
