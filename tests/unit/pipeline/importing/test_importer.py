"""A span that is read while the import fails elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ddbio.capacity import Governor
from ddbio.codec import RecordEncoder
from ddbio.codec.framing import Block
from ddbio.errors import SourceError
from ddbio.ledger.entries import Lease, Split
from ddbio.pipeline.importing.importer import Importer
from ddbio.pipeline.importing.reading import Input
from ddbio.pipeline.importing.sending import Dispatcher
from ddbio.pipeline.lanes import Lanes
from ddbio.pipeline.meter import Meter
from ddbio.pipeline.outbox import Outbox
from ddbio.pipeline.requests import Requester
from tests.kit.fakes import FakeClock


class EmptyFile:
    def location_of(self, split: Split) -> str:
        return split.file

    async def blocks(self, *arguments: Any) -> AsyncIterator[list[Block]]:
        yield []


@asynccontextmanager
async def importer(group: asyncio.TaskGroup, outbox: Outbox) -> AsyncIterator[Importer]:
    clock, meter = FakeClock(), Meter()
    requester, lanes = Requester(Governor(1.0, clock), meter, clock), Lanes(4)
    async with Dispatcher(None, requester=requester, lanes=lanes, meter=meter, clock=clock) as dispatcher:  # type: ignore[arg-type]
        yield Importer(
            inputs=[Input(EmptyFile(), RecordEncoder((), "auto", {}))],  # type: ignore[arg-type]
            dispatcher=dispatcher,
            group=group,
            outbox=outbox,
            meter=meter,
            executor=None,  # type: ignore[arg-type]
            clock=clock,
        )


async def test_a_span_that_ends_after_anothers_failure_settles_itself() -> None:
    outbox, group = Outbox(lambda: None), asyncio.TaskGroup()

    async def fail() -> None:
        raise SourceError("The file was changed.")

    async def work() -> None:
        await asyncio.gather(group.create_task(fail()), return_exceptions=True)
        async with importer(group, outbox) as engine:
            await engine.work(Lease(Split(0), 1))

    with pytest.raises(ExceptionGroup, match="unhandled"):
        async with group:
            working = asyncio.create_task(work())
            await asyncio.Event().wait()
    await working
    (commit,) = outbox.pending()
    assert commit.done
